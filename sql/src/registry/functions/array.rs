//! Functions and operators of arrays.

use std::sync::Arc;

use super::arguments::{array, int, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{CallTypes, EvalContext, Function, element_of};
use crate::types::compare::compare_typed;
use crate::types::{Array, Datum, Oid, text as forms};

fn wrap(array: Array) -> Datum {
    Datum::Array(Arc::new(array))
}

fn element_type(types: &CallTypes<'_>) -> Oid {
    element_of(types.result.oid).unwrap_or(Oid::TEXT)
}

fn one_dimension(a: &Array) -> SqlResult<()> {
    if a.dims.len() > 1 {
        return Err(SqlError::new(
            state::DATETIME_FIELD_OVERFLOW,
            "argument must be empty or one-dimensional array",
        ));
    }
    Ok(())
}

fn searchable(a: &Array) -> SqlResult<()> {
    if a.dims.len() > 1 {
        return Err(SqlError::unsupported("searching for elements in multidimensional arrays"));
    }
    Ok(())
}

fn append(_: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Array(a) = &args[0] else {
        return Ok(wrap(Array::from_elements(element_type(types), vec![args[1].clone()])));
    };
    one_dimension(a)?;
    let lower = a.dims.first().map_or(1, |d| d.1);
    let mut elements = a.elements.clone();
    elements.push(args[1].clone());
    Ok(wrap(Array { element: a.element, dims: vec![(elements.len() as i32, lower)], elements }))
}

fn prepend(_: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Array(a) = &args[1] else {
        return Ok(wrap(Array::from_elements(element_type(types), vec![args[0].clone()])));
    };
    one_dimension(a)?;
    let lower = a.dims.first().map_or(1, |d| d.1);
    let elements: Vec<Datum> = std::iter::once(args[0].clone()).chain(a.elements.iter().cloned()).collect();
    Ok(wrap(Array { element: a.element, dims: vec![(elements.len() as i32, lower)], elements }))
}

fn cat(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (a, b) = match (&args[0], &args[1]) {
        (Datum::Array(a), Datum::Array(b)) => (a, b),
        (Datum::Null, other) | (other, Datum::Null) => return Ok(other.clone()),
        _ => return Err(SqlError::internal("array_cat of something else than arrays")),
    };
    if a.dims.is_empty() {
        return Ok(args[1].clone());
    }
    if b.dims.is_empty() {
        return Ok(args[0].clone());
    }
    let incompatible = || {
        SqlError::new("2202E", "cannot concatenate incompatible arrays")
            .with_detail("Arrays with differing dimensions are not compatible for concatenation.")
    };
    let dims = match a.dims.len() as i32 - b.dims.len() as i32 {
        0 if a.dims[1..] == b.dims[1..] => {
            let mut dims = a.dims.clone();
            dims[0].0 += b.dims[0].0;
            dims
        }
        // An array of a dimension less is one more member.
        1 if a.dims[1..] == b.dims[..] => {
            let mut dims = a.dims.clone();
            dims[0].0 += 1;
            dims
        }
        -1 if b.dims[1..] == a.dims[..] => {
            let mut dims = b.dims.clone();
            dims[0].0 += 1;
            dims
        }
        _ => return Err(incompatible()),
    };
    let elements = a.elements.iter().chain(&b.elements).cloned().collect();
    Ok(wrap(Array { element: a.element, dims, elements }))
}

fn dimension(args: &[Datum]) -> Option<(i32, i32)> {
    usize::try_from(int(&args[1]) - 1).ok().and_then(|d| array(&args[0]).dims.get(d).copied())
}

fn length(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(dimension(args).map_or(Datum::Null, |(length, _)| Datum::Int4(length)))
}

fn lower(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(dimension(args).map_or(Datum::Null, |(_, lower)| Datum::Int4(lower)))
}

fn upper(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(dimension(args).map_or(Datum::Null, |(length, lower)| Datum::Int4(lower + length - 1)))
}

fn ndims(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let n = array(&args[0]).dims.len();
    Ok(if n == 0 { Datum::Null } else { Datum::Int4(n as i32) })
}

fn dims(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let dims = &array(&args[0]).dims;
    let shown: String =
        dims.iter().map(|(length, lower)| format!("[{lower}:{}]", lower + length - 1)).collect();
    Ok(if dims.is_empty() { Datum::Null } else { Datum::text(&shown) })
}

fn cardinality(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(array(&args[0]).elements.len() as i32))
}

/// Equal, with NULL equal to NULL.
fn same(element: Oid, a: &Datum, b: &Datum) -> bool {
    match (a.is_null(), b.is_null()) {
        (true, true) => true,
        (false, false) => compare_typed(element, a, b).is_eq(),
        _ => false,
    }
}

fn position(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Array(a) = &args[0] else { return Ok(Datum::Null) };
    searchable(a)?;
    let lower = i64::from(a.dims.first().map_or(1, |d| d.1));
    let start = match args.get(2) {
        Some(Datum::Null) => {
            return Err(SqlError::new(state::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"));
        }
        Some(start) => (int(start) - lower).max(0) as usize,
        None => 0,
    };
    let found = a.elements.iter().skip(start).position(|e| same(a.element, e, &args[1]));
    Ok(found.map_or(Datum::Null, |at| Datum::Int4((lower + (at + start) as i64) as i32)))
}

fn positions(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Array(a) = &args[0] else { return Ok(Datum::Null) };
    searchable(a)?;
    let lower = a.dims.first().map_or(1, |d| d.1);
    let hits = a.elements.iter().enumerate().filter(|(_, e)| same(a.element, e, &args[1]));
    let found = hits.map(|(i, _)| Datum::Int4(lower + i as i32)).collect();
    Ok(wrap(Array::from_elements(Oid::INT4, found)))
}

fn remove(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Array(a) = &args[0] else { return Ok(Datum::Null) };
    if a.dims.len() > 1 {
        return Err(SqlError::unsupported("removing elements from multidimensional arrays"));
    }
    let kept: Vec<Datum> = a.elements.iter().filter(|e| !same(a.element, e, &args[1])).cloned().collect();
    if kept.len() == a.elements.len() {
        return Ok(args[0].clone());
    }
    let lower = a.dims.first().map_or(1, |d| d.1);
    let mut out = Array::from_elements(a.element, kept);
    out.dims.iter_mut().for_each(|d| d.1 = lower);
    Ok(wrap(out))
}

fn replace(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Array(a) = &args[0] else { return Ok(Datum::Null) };
    let replaced = |e: &Datum| if same(a.element, e, &args[1]) { args[2].clone() } else { e.clone() };
    let elements = a.elements.iter().map(replaced).collect();
    Ok(wrap(Array { element: a.element, dims: a.dims.clone(), elements }))
}

fn trim(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (a, n) = (array(&args[0]), int(&args[1]));
    let length = a.dims.first().map_or(0, |d| d.0);
    if !(0..=i64::from(length)).contains(&n) {
        return Err(SqlError::new(
            "2202E",
            format!("number of elements to trim must be between 0 and {length}"),
        ));
    }
    let kept = length - n as i32;
    if kept == 0 {
        return Ok(wrap(Array::from_elements(a.element, Vec::new())));
    }
    let row = a.elements.len() / length.max(1) as usize;
    let mut dims = a.dims.clone();
    dims.iter_mut().for_each(|d| d.1 = 1);
    dims[0].0 = kept;
    Ok(wrap(Array { element: a.element, dims, elements: a.elements[..row * kept as usize].to_vec() }))
}

fn fill(_: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let not_null = |message: &str| SqlError::new(state::NULL_VALUE_NOT_ALLOWED, message);
    let Datum::Array(lengths) = &args[1] else {
        return Err(not_null("dimension array or low bound array cannot be null"));
    };
    let bounds = match args.get(2) {
        Some(Datum::Array(bounds)) => Some(bounds),
        Some(_) => return Err(not_null("dimension array or low bound array cannot be null")),
        None => None,
    };
    let mut dims = Vec::new();
    let mut count = 1usize;
    for (i, length) in lengths.elements.iter().enumerate() {
        if length.is_null() {
            return Err(not_null("dimension values cannot be null"));
        }
        let length = int(length);
        let lower = bounds.and_then(|b| b.elements.get(i)).filter(|b| !b.is_null()).map_or(1, int);
        count = count.saturating_mul(usize::try_from(length).unwrap_or(0));
        dims.push((length as i32, lower as i32));
    }
    if count > 1 << 27 {
        return Err(SqlError::new(state::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed"));
    }
    if count == 0 || dims.is_empty() {
        return Ok(wrap(Array::from_elements(element_type(types), Vec::new())));
    }
    Ok(wrap(Array { element: element_type(types), dims, elements: vec![args[0].clone(); count] }))
}

fn contains_all(whole: &Array, part: &Array) -> bool {
    part.elements.iter().all(|p| {
        !p.is_null()
            && whole.elements.iter().any(|e| !e.is_null() && compare_typed(whole.element, e, p).is_eq())
    })
}

fn contains(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(contains_all(array(&args[0]), array(&args[1]))))
}

fn contained(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(contains_all(array(&args[1]), array(&args[0]))))
}

fn overlap(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (a, b) = (array(&args[0]), array(&args[1]));
    let in_b = |e: &Datum| b.elements.iter().any(|x| !x.is_null() && compare_typed(a.element, e, x).is_eq());
    Ok(Datum::Bool(a.elements.iter().any(|e| !e.is_null() && in_b(e))))
}

fn to_string(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (Datum::Array(a), Datum::Text(delimiter)) = (&args[0], &args[1]) else { return Ok(Datum::Null) };
    let null = args.get(2).filter(|n| !n.is_null()).map(text);
    let mut out = String::new();
    let mut first = true;
    for element in &a.elements {
        if element.is_null() && null.is_none() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push_str(delimiter);
        }
        match (element, null) {
            (Datum::Null, Some(null)) => out.push_str(null),
            (element, _) => forms::write_value(a.element, element, &ctx.text(), &mut out),
        }
    }
    Ok(Datum::text(&out))
}

/// The parts of a text; a NULL delimiter splits into characters.
fn parts(args: &[Datum]) -> Option<Vec<Datum>> {
    let Datum::Text(value) = &args[0] else { return None };
    let null = args.get(2).filter(|n| !n.is_null()).map(text);
    let item = |part: &str| if null == Some(part) { Datum::Null } else { Datum::text(part) };
    if value.is_empty() {
        return Some(Vec::new());
    }
    Some(match &args[1] {
        Datum::Text(delimiter) if delimiter.is_empty() => vec![item(value)],
        Datum::Text(delimiter) => value.split(&**delimiter).map(item).collect(),
        _ => value.chars().map(|c| item(c.encode_utf8(&mut [0; 4]))).collect(),
    })
}

fn from_string(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(parts(args).map_or(Datum::Null, |parts| wrap(Array::from_elements(Oid::TEXT, parts))))
}

fn string_to_table(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<Vec<Datum>>> {
    Ok(parts(args).unwrap_or_default().into_iter().map(|p| vec![p]).collect())
}

/// `width_bucket(value, thresholds)`: how many thresholds are at or below the value.
fn width_bucket(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let thresholds = array(&args[1]);
    if thresholds.elements.iter().any(Datum::is_null) {
        return Err(SqlError::new(state::NULL_VALUE_NOT_ALLOWED, "thresholds array must not contain NULLs"));
    }
    let below =
        thresholds.elements.partition_point(|t| compare_typed(thresholds.element, t, &args[0]).is_le());
    Ok(Datum::Int4(below as i32))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::typed(378, "array_append", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLE], Oid::ANYCOMPATIBLEARRAY, append).lax(),
    Function::typed(379, "array_prepend", &[Oid::ANYCOMPATIBLE, Oid::ANYCOMPATIBLEARRAY], Oid::ANYCOMPATIBLEARRAY, prepend).lax(),
    Function::typed(383, "array_cat", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLEARRAY], Oid::ANYCOMPATIBLEARRAY, cat).lax(),
    Function::row(2176, "array_length", &[Oid::ANYARRAY, Oid::INT4], Oid::INT4, length),
    Function::row(2091, "array_lower", &[Oid::ANYARRAY, Oid::INT4], Oid::INT4, lower),
    Function::row(2092, "array_upper", &[Oid::ANYARRAY, Oid::INT4], Oid::INT4, upper),
    Function::row(748, "array_ndims", &[Oid::ANYARRAY], Oid::INT4, ndims),
    Function::row(747, "array_dims", &[Oid::ANYARRAY], Oid::TEXT, dims),
    Function::row(3179, "cardinality", &[Oid::ANYARRAY], Oid::INT4, cardinality),
    Function::typed(3277, "array_position", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLE], Oid::INT4, position).lax(),
    Function::typed(3278, "array_position", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLE, Oid::INT4], Oid::INT4, position).lax(),
    Function::typed(3279, "array_positions", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLE], Oid::INT4_ARRAY, positions).lax(),
    Function::typed(3167, "array_remove", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLE], Oid::ANYCOMPATIBLEARRAY, remove).lax(),
    Function::typed(3168, "array_replace", &[Oid::ANYCOMPATIBLEARRAY, Oid::ANYCOMPATIBLE, Oid::ANYCOMPATIBLE], Oid::ANYCOMPATIBLEARRAY, replace).lax(),
    Function::typed(6172, "trim_array", &[Oid::ANYARRAY, Oid::INT4], Oid::ANYARRAY, trim),
    Function::typed(1193, "array_fill", &[Oid::ANYELEMENT, Oid::INT4_ARRAY], Oid::ANYARRAY, fill).lax(),
    Function::typed(1286, "array_fill", &[Oid::ANYELEMENT, Oid::INT4_ARRAY, Oid::INT4_ARRAY], Oid::ANYARRAY, fill).lax(),
    Function::row(2748, "arraycontains", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, contains),
    Function::row(2749, "arraycontained", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, contained),
    Function::row(2747, "arrayoverlap", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, overlap),
    Function::row(395, "array_to_string", &[Oid::ANYARRAY, Oid::TEXT], Oid::TEXT, to_string).stable(),
    Function::row(384, "array_to_string", &[Oid::ANYARRAY, Oid::TEXT, Oid::TEXT], Oid::TEXT, to_string).stable().lax(),
    Function::row(394, "string_to_array", &[Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, from_string).lax(),
    Function::row(376, "string_to_array", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, from_string).lax(),
    Function::set(6160, "string_to_table", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, string_to_table).lax(),
    Function::set(6161, "string_to_table", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, string_to_table).lax(),
    Function::typed(3218, "width_bucket", &[Oid::ANYCOMPATIBLE, Oid::ANYCOMPATIBLEARRAY], Oid::INT4, width_bucket),
];
