//! JSON values from SQL values; more of json and jsonb as it comes.

use std::sync::Arc;

use super::arguments::{int, json as jsonb, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{CallTypes, EvalContext, Function, type_info};
use crate::types::{Array, Datum, Json, Numeric, Oid, json, text as forms};

/// The member name that a value makes.
pub(super) fn key_text(ty: Oid, value: &Datum, ctx: &EvalContext<'_>) -> String {
    match value {
        Datum::Bool(v) => v.to_string(),
        value => forms::output(ty, value, &ctx.text()),
    }
}

/// The jsonb of a value.
pub(super) fn to_json(ty: Oid, value: &Datum, ctx: &EvalContext<'_>) -> SqlResult<Json> {
    Ok(match value {
        Datum::Null => Json::Null,
        Datum::Bool(v) => Json::Bool(*v),
        Datum::Jsonb(v) => (**v).clone(),
        Datum::Text(v) if ty == Oid::JSON => json::parse(v)?,
        Datum::Array(array) => nested(array, &array.dims, &mut array.elements.iter(), ctx)?,
        Datum::Record(record) => {
            let mut members = Vec::new();
            for (i, (field, ty)) in record.fields.iter().zip(&record.types).enumerate() {
                members.push((format!("f{}", i + 1), to_json(*ty, field, ctx)?));
            }
            json::object(members)
        }
        value => {
            let form = json_form(ty, value, ctx);
            let number = type_info(ty).is_some_and(|t| t.category == b'N');
            match number.then(|| Numeric::parse(&form)) {
                Some(Ok(n)) if !n.is_special() => Json::Number(n),
                _ => Json::String(form),
            }
        }
    })
}

fn nested(
    array: &Array,
    dims: &[(i32, i32)],
    elements: &mut dyn Iterator<Item = &Datum>,
    ctx: &EvalContext<'_>,
) -> SqlResult<Json> {
    let Some(((length, _), inner)) = dims.split_first() else { return Ok(Json::Array(Vec::new())) };
    let items = (0..*length).map(|_| match inner {
        [] => to_json(array.element, elements.next().unwrap_or(&Datum::Null), ctx),
        inner => nested(array, inner, &mut *elements, ctx),
    });
    items.collect::<SqlResult<Vec<_>>>().map(Json::Array)
}

/// Text forms inside JSON: timestamps are ISO 8601 with a T.
fn json_form(ty: Oid, value: &Datum, ctx: &EvalContext<'_>) -> String {
    match ty {
        Oid::DATE | Oid::TIMESTAMP | Oid::TIMESTAMPTZ => {
            let mut settings = ctx.format.clone();
            settings.date_style = crate::types::datetime::DateStyle::Iso;
            let context = forms::TextContext { format: &settings, ..ctx.text() };
            let form = forms::output(ty, value, &context).replacen(' ', "T", 1);
            // Offsets have minutes here.
            match (ty, form.rfind(['+', '-'])) {
                (Oid::TIMESTAMPTZ, Some(at)) if at > 10 && form.len() - at == 3 => format!("{form}:00"),
                _ => form,
            }
        }
        _ => forms::output(ty, value, &ctx.text()),
    }
}

/// Appends the json (text) of a value.
pub(super) fn to_json_text(ty: Oid, value: &Datum, ctx: &EvalContext<'_>, out: &mut String) -> SqlResult<()> {
    match value {
        Datum::Text(v) if ty == Oid::JSON => out.push_str(v),
        Datum::Array(array) => write_nested(array, &array.dims, &mut array.elements.iter(), ctx, out)?,
        Datum::Record(record) => {
            out.push('{');
            for (i, (field, ty)) in record.fields.iter().zip(&record.types).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                json::write_string(&format!("f{}", i + 1), out);
                out.push(':');
                to_json_text(*ty, field, ctx, out)?;
            }
            out.push('}');
        }
        value => json::write(&to_json(ty, value, ctx)?, out),
    }
    Ok(())
}

fn write_nested(
    array: &Array,
    dims: &[(i32, i32)],
    elements: &mut dyn Iterator<Item = &Datum>,
    ctx: &EvalContext<'_>,
    out: &mut String,
) -> SqlResult<()> {
    let Some(((length, _), inner)) = dims.split_first() else {
        out.push_str("[]");
        return Ok(());
    };
    out.push('[');
    for i in 0..*length {
        if i > 0 {
            out.push(',');
        }
        if inner.is_empty() {
            to_json_text(array.element, elements.next().unwrap_or(&Datum::Null), ctx, out)?;
        } else {
            write_nested(array, inner, elements, ctx, out)?;
        }
    }
    out.push(']');
    Ok(())
}

fn wrap(value: Json) -> Datum {
    Datum::Jsonb(Arc::new(value))
}

fn make_jsonb(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    to_json(types.args[0].oid, &args[0], ctx).map(wrap)
}

fn make_json(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut out = String::new();
    to_json_text(types.args[0].oid, &args[0], ctx, &mut out)?;
    Ok(Datum::text(&out))
}

fn build_array(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let items =
        args.iter().zip(types.args).map(|(a, t)| to_json(t.oid, a, ctx)).collect::<SqlResult<Vec<_>>>()?;
    Ok(wrap(Json::Array(items)))
}

fn build_json_array(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut out = String::from("[");
    for (i, (value, ty)) in args.iter().zip(types.args).enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        to_json_text(ty.oid, value, ctx, &mut out)?;
    }
    out.push(']');
    Ok(Datum::text(&out))
}

/// Keys and values alternate.
fn object_members(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<String>> {
    if !args.len().is_multiple_of(2) {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            "argument list must have even number of elements",
        )
        .with_hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let mut keys = Vec::new();
    for (i, pair) in args.chunks(2).enumerate() {
        if pair[0].is_null() {
            return Err(SqlError::new(
                state::INVALID_PARAMETER_VALUE,
                format!("argument {} cannot be null", 2 * i + 1),
            ));
        }
        keys.push(key_text(types.args[2 * i].oid, &pair[0], ctx));
    }
    Ok(keys)
}

fn build_object(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let keys = object_members(ctx, types, args)?;
    let mut members = Vec::new();
    for (i, key) in keys.into_iter().enumerate() {
        members.push((key, to_json(types.args[2 * i + 1].oid, &args[2 * i + 1], ctx)?));
    }
    Ok(wrap(json::object(members)))
}

fn build_json_object(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let keys = object_members(ctx, types, args)?;
    let mut out = String::from("{");
    for (i, key) in keys.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        json::write_string(key, &mut out);
        out.push_str(" : ");
        to_json_text(types.args[2 * i + 1].oid, &args[2 * i + 1], ctx, &mut out)?;
    }
    out.push('}');
    Ok(Datum::text(&out))
}

/// A member or an item by what the operator was given.
enum Step<'a> {
    Key(&'a str),
    Index(i64),
}

fn step<'j>(value: &'j Json, step: &Step<'_>) -> Option<&'j Json> {
    match (value, step) {
        (Json::Object(members), Step::Key(key)) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
        (Json::Array(items), Step::Index(i)) => {
            let at = if *i < 0 { items.len() as i64 + i } else { *i };
            usize::try_from(at).ok().and_then(|at| items.get(at))
        }
        _ => None,
    }
}

fn follow<'j>(mut value: &'j Json, path: &Array) -> Option<&'j Json> {
    for part in &path.elements {
        let Datum::Text(part) = part else { return None };
        value = match value {
            Json::Array(_) => step(value, &Step::Index(part.trim().parse().ok()?))?,
            _ => step(value, &Step::Key(part))?,
        };
    }
    Some(value)
}

/// A value as `->>` shows it: strings without quotes, null as NULL.
fn as_text(value: &Json) -> Datum {
    match value {
        Json::Null => Datum::Null,
        Json::String(s) => Datum::text(s),
        other => {
            let mut out = String::new();
            json::write(other, &mut out);
            Datum::text(&out)
        }
    }
}

fn argument_step(value: &Datum) -> Step<'_> {
    match value {
        Datum::Text(key) => Step::Key(key),
        index => Step::Index(int(index)),
    }
}

fn get(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(step(jsonb(&args[0]), &argument_step(&args[1])).map_or(Datum::Null, |v| wrap(v.clone())))
}

fn get_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(step(jsonb(&args[0]), &argument_step(&args[1])).map_or(Datum::Null, as_text))
}

fn get_path(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(follow(jsonb(&args[0]), super::arguments::array(&args[1])).map_or(Datum::Null, |v| wrap(v.clone())))
}

fn get_path_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(follow(jsonb(&args[0]), super::arguments::array(&args[1])).map_or(Datum::Null, as_text))
}

/// json keeps no parsed form: parse, take, write.
fn json_get(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = json::parse(text(&args[0]))?;
    Ok(step(&value, &argument_step(&args[1])).map_or(Datum::Null, compact))
}

fn json_get_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = json::parse(text(&args[0]))?;
    Ok(step(&value, &argument_step(&args[1])).map_or(Datum::Null, as_text))
}

fn json_get_path(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = json::parse(text(&args[0]))?;
    Ok(follow(&value, super::arguments::array(&args[1])).map_or(Datum::Null, compact))
}

fn json_get_path_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = json::parse(text(&args[0]))?;
    Ok(follow(&value, super::arguments::array(&args[1])).map_or(Datum::Null, as_text))
}

fn compact(value: &Json) -> Datum {
    let mut out = String::new();
    json::write(value, &mut out);
    Datum::text(&out)
}

fn contains(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(includes(jsonb(&args[0]), jsonb(&args[1]), true)))
}

fn contained(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(includes(jsonb(&args[1]), jsonb(&args[0]), true)))
}

/// `@>`: an array contains a bare scalar at the top only.
fn includes(whole: &Json, part: &Json, top: bool) -> bool {
    match (whole, part) {
        (Json::Object(members), Json::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| members.iter().any(|(k, v)| k == key && includes(v, value, false))),
        (Json::Array(items), Json::Array(wanted)) => {
            wanted.iter().all(|w| items.iter().any(|i| includes(i, w, false)))
        }
        (Json::Array(items), scalar) if top && !matches!(scalar, Json::Object(_)) => {
            items.iter().any(|i| crate::types::compare::compare_json(i, scalar).is_eq())
        }
        (a, b) => crate::types::compare::compare_json(a, b).is_eq(),
    }
}

fn has_key(value: &Json, key: &str) -> bool {
    match value {
        Json::Object(members) => members.iter().any(|(k, _)| k == key),
        Json::Array(items) => items.iter().any(|i| matches!(i, Json::String(s) if s == key)),
        Json::String(s) => s == key,
        _ => false,
    }
}

fn exists(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(has_key(jsonb(&args[0]), text(&args[1]))))
}

fn exists_any(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let keys = &super::arguments::array(&args[1]).elements;
    Ok(Datum::Bool(keys.iter().any(|k| matches!(k, Datum::Text(k) if has_key(jsonb(&args[0]), k)))))
}

fn exists_all(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let keys = &super::arguments::array(&args[1]).elements;
    Ok(Datum::Bool(keys.iter().all(|k| !matches!(k, Datum::Text(k) if !has_key(jsonb(&args[0]), k)))))
}

fn concat(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let items = |value: &Json| match value {
        Json::Array(items) => items.clone(),
        other => vec![other.clone()],
    };
    Ok(wrap(match (jsonb(&args[0]), jsonb(&args[1])) {
        (Json::Object(a), Json::Object(b)) => json::object(a.iter().chain(b).cloned().collect()),
        (a, b) => Json::Array([items(a), items(b)].concat()),
    }))
}

fn delete(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let scalar = || Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot delete from scalar"));
    Ok(wrap(match (jsonb(&args[0]), &args[1]) {
        (Json::Object(members), Datum::Text(key)) => {
            Json::Object(members.iter().filter(|(k, _)| **k != **key).cloned().collect())
        }
        (Json::Array(items), Datum::Text(key)) => Json::Array(
            items.iter().filter(|i| !matches!(i, Json::String(s) if **s == **key)).cloned().collect(),
        ),
        (Json::Object(_), Datum::Int4(_)) => {
            let message = "cannot delete from object using integer index";
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, message));
        }
        (Json::Array(items), index) => {
            let at = int(index);
            let at = if at < 0 { items.len() as i64 + at } else { at };
            Json::Array(
                items.iter().enumerate().filter(|(i, _)| *i as i64 != at).map(|(_, v)| v.clone()).collect(),
            )
        }
        _ => return scalar(),
    }))
}

fn array_length(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let parsed;
    let value = match &args[0] {
        Datum::Jsonb(v) => &**v,
        other => {
            parsed = json::parse(text(other))?;
            &parsed
        }
    };
    match value {
        Json::Array(items) => Ok(Datum::Int4(items.len() as i32)),
        Json::Object(_) => {
            Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot get array length of a non-array"))
        }
        _ => Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot get array length of a scalar")),
    }
}

fn type_of(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let parsed;
    let value = match &args[0] {
        Datum::Jsonb(v) => &**v,
        other => {
            parsed = json::parse(text(other))?;
            &parsed
        }
    };
    Ok(Datum::text(match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }))
}

fn elements(value: &Json) -> SqlResult<&[Json]> {
    match value {
        Json::Array(items) => Ok(items),
        Json::Object(_) => {
            Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot extract elements from an object"))
        }
        _ => Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot extract elements from a scalar")),
    }
}

fn array_elements(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<Vec<Datum>>> {
    Ok(elements(jsonb(&args[0]))?.iter().map(|v| vec![wrap(v.clone())]).collect())
}

fn array_elements_text(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<Vec<Datum>>> {
    Ok(elements(jsonb(&args[0]))?.iter().map(|v| vec![as_text(v)]).collect())
}

fn object_keys(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<Vec<Datum>>> {
    match jsonb(&args[0]) {
        Json::Object(members) => Ok(members.iter().map(|(k, _)| vec![Datum::text(k)]).collect()),
        Json::Array(_) => {
            Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot call jsonb_object_keys on an array"))
        }
        _ => Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "cannot call jsonb_object_keys on a scalar")),
    }
}

/// `jsonb::int4` and so on.
fn to_sql(_: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let target = types.result.oid;
    let value = jsonb(&args[0]);
    match (value, target) {
        (Json::Bool(v), Oid::BOOL) => Ok(Datum::Bool(*v)),
        (Json::Number(n), target) if target != Oid::BOOL => {
            let out_of_range =
                |name: &str| SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"));
            let integer = |name: &str| n.to_i64().ok_or_else(|| out_of_range(name));
            match target {
                Oid::INT2 => {
                    i16::try_from(integer("smallint")?).map(Datum::Int2).map_err(|_| out_of_range("smallint"))
                }
                Oid::INT4 => {
                    i32::try_from(integer("integer")?).map(Datum::Int4).map_err(|_| out_of_range("integer"))
                }
                Oid::INT8 => integer("bigint").map(Datum::Int8),
                Oid::FLOAT4 => Ok(Datum::Float4(n.to_f64() as f32)),
                Oid::FLOAT8 => Ok(Datum::Float8(n.to_f64())),
                _ => Ok(super::arguments::from_numeric(n.clone())),
            }
        }
        (value, target) => {
            let kind = match value {
                Json::Null => "null",
                Json::Bool(_) => "boolean",
                Json::Number(_) => "numeric",
                Json::String(_) => "string",
                Json::Array(_) => "array",
                Json::Object(_) => "object",
            };
            let name = crate::registry::type_name(target);
            Err(SqlError::new(
                state::INVALID_PARAMETER_VALUE,
                format!("cannot cast jsonb {kind} to type {name}"),
            ))
        }
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::typed(3787, "to_jsonb", &[Oid::ANYELEMENT], Oid::JSONB, make_jsonb).stable(),
    Function::typed(3176, "to_json", &[Oid::ANYELEMENT], Oid::JSON, make_json).stable(),
    Function::typed(3153, "array_to_json", &[Oid::ANYARRAY], Oid::JSON, make_json).stable(),
    Function::typed(3155, "row_to_json", &[Oid::RECORD], Oid::JSON, make_json).stable(),
    Function::typed(3271, "jsonb_build_array", &[Oid::ANY], Oid::JSONB, build_array).stable().lax().variadic(),
    Function::typed(3272, "jsonb_build_array", &[], Oid::JSONB, build_array).stable().lax(),
    Function::typed(3198, "json_build_array", &[Oid::ANY], Oid::JSON, build_json_array).stable().lax().variadic(),
    Function::typed(3199, "json_build_array", &[], Oid::JSON, build_json_array).stable().lax(),
    Function::typed(3273, "jsonb_build_object", &[Oid::ANY], Oid::JSONB, build_object).stable().lax().variadic(),
    Function::typed(3274, "jsonb_build_object", &[], Oid::JSONB, build_object).stable().lax(),
    Function::typed(3200, "json_build_object", &[Oid::ANY], Oid::JSON, build_json_object).stable().lax().variadic(),
    Function::typed(3201, "json_build_object", &[], Oid::JSON, build_json_object).stable().lax(),
    Function::row(3478, "jsonb_object_field", &[Oid::JSONB, Oid::TEXT], Oid::JSONB, get),
    Function::row(3215, "jsonb_array_element", &[Oid::JSONB, Oid::INT4], Oid::JSONB, get),
    Function::row(3214, "jsonb_object_field_text", &[Oid::JSONB, Oid::TEXT], Oid::TEXT, get_text),
    Function::row(3216, "jsonb_array_element_text", &[Oid::JSONB, Oid::INT4], Oid::TEXT, get_text),
    Function::row(3217, "jsonb_extract_path", &[Oid::JSONB, Oid::TEXT_ARRAY], Oid::JSONB, get_path).variadic(),
    Function::row(3940, "jsonb_extract_path_text", &[Oid::JSONB, Oid::TEXT_ARRAY], Oid::TEXT, get_path_text).variadic(),
    Function::row(3947, "json_object_field", &[Oid::JSON, Oid::TEXT], Oid::JSON, json_get),
    Function::row(3949, "json_array_element", &[Oid::JSON, Oid::INT4], Oid::JSON, json_get),
    Function::row(3948, "json_object_field_text", &[Oid::JSON, Oid::TEXT], Oid::TEXT, json_get_text),
    Function::row(3950, "json_array_element_text", &[Oid::JSON, Oid::INT4], Oid::TEXT, json_get_text),
    Function::row(3951, "json_extract_path", &[Oid::JSON, Oid::TEXT_ARRAY], Oid::JSON, json_get_path).variadic(),
    Function::row(3953, "json_extract_path_text", &[Oid::JSON, Oid::TEXT_ARRAY], Oid::TEXT, json_get_path_text).variadic(),
    Function::row(4046, "jsonb_contains", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, contains),
    Function::row(4050, "jsonb_contained", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, contained),
    Function::row(4047, "jsonb_exists", &[Oid::JSONB, Oid::TEXT], Oid::BOOL, exists),
    Function::row(4048, "jsonb_exists_any", &[Oid::JSONB, Oid::TEXT_ARRAY], Oid::BOOL, exists_any),
    Function::row(4049, "jsonb_exists_all", &[Oid::JSONB, Oid::TEXT_ARRAY], Oid::BOOL, exists_all),
    Function::row(3301, "jsonb_concat", &[Oid::JSONB, Oid::JSONB], Oid::JSONB, concat),
    Function::row(3302, "jsonb_delete", &[Oid::JSONB, Oid::TEXT], Oid::JSONB, delete),
    Function::row(3303, "jsonb_delete", &[Oid::JSONB, Oid::INT4], Oid::JSONB, delete),
    Function::row(3207, "jsonb_array_length", &[Oid::JSONB], Oid::INT4, array_length),
    Function::row(3956, "json_array_length", &[Oid::JSON], Oid::INT4, array_length),
    Function::row(3210, "jsonb_typeof", &[Oid::JSONB], Oid::TEXT, type_of),
    Function::row(3968, "json_typeof", &[Oid::JSON], Oid::TEXT, type_of),
    Function::set(3219, "jsonb_array_elements", &[Oid::JSONB], Oid::JSONB, array_elements),
    Function::set(3465, "jsonb_array_elements_text", &[Oid::JSONB], Oid::TEXT, array_elements_text),
    Function::set(3931, "jsonb_object_keys", &[Oid::JSONB], Oid::TEXT, object_keys),
    Function::typed(3556, "bool", &[Oid::JSONB], Oid::BOOL, to_sql),
    Function::typed(3450, "int2", &[Oid::JSONB], Oid::INT2, to_sql),
    Function::typed(3451, "int4", &[Oid::JSONB], Oid::INT4, to_sql),
    Function::typed(3452, "int8", &[Oid::JSONB], Oid::INT8, to_sql),
    Function::typed(3453, "float4", &[Oid::JSONB], Oid::FLOAT4, to_sql),
    Function::typed(2580, "float8", &[Oid::JSONB], Oid::FLOAT8, to_sql),
    Function::typed(3449, "numeric", &[Oid::JSONB], Oid::NUMERIC, to_sql),
];
