//! Aggregates that collect: string_agg, array_agg, json(b)_agg, json(b)_object_agg.

use std::sync::Arc;

use super::arguments::{bytes, text};
use super::json::{key_text, to_json, to_json_text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{Accumulator, AggregateDef, CallTypes, EvalContext, Function, element_of};
use crate::types::{Array, Datum, Json, Oid, SqlType, json};

static STRING_AGG: AggregateDef = AggregateDef { new: |_| Box::new(StringAgg(None)) };
static BYTES_AGG: AggregateDef = AggregateDef { new: |_| Box::new(BytesAgg(None)) };
static ARRAY_AGG: AggregateDef = AggregateDef { new: |types| Box::new(ArrayAgg::new(types)) };
static JSON_AGG: AggregateDef = AggregateDef { new: |types| Box::new(JsonAgg::new(types, false)) };
static JSONB_AGG: AggregateDef = AggregateDef { new: |types| Box::new(JsonAgg::new(types, true)) };
static JSON_OBJECT_AGG: AggregateDef =
    AggregateDef { new: |types| Box::new(JsonObjectAgg::new(types, false)) };
static JSONB_OBJECT_AGG: AggregateDef =
    AggregateDef { new: |types| Box::new(JsonObjectAgg::new(types, true)) };

struct StringAgg(Option<String>);

impl Accumulator for StringAgg {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() {
            return Ok(());
        }
        match &mut self.0 {
            None => self.0 = Some(text(&args[0]).to_owned()),
            Some(sum) => {
                if let Datum::Text(delimiter) = &args[1] {
                    sum.push_str(delimiter);
                }
                sum.push_str(text(&args[0]));
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(self.0.as_deref().map_or(Datum::Null, Datum::text))
    }

    fn size(&self) -> usize {
        64 + self.0.as_ref().map_or(0, String::capacity)
    }
}

struct BytesAgg(Option<Vec<u8>>);

impl Accumulator for BytesAgg {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() {
            return Ok(());
        }
        match &mut self.0 {
            None => self.0 = Some(bytes(&args[0]).to_vec()),
            Some(sum) => {
                if let Datum::Bytes(delimiter) = &args[1] {
                    sum.extend_from_slice(delimiter);
                }
                sum.extend_from_slice(bytes(&args[0]));
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(self.0.as_ref().map_or(Datum::Null, |b| Datum::Bytes(b.as_slice().into())))
    }

    fn size(&self) -> usize {
        64 + self.0.as_ref().map_or(0, Vec::capacity)
    }
}

/// Values into an array, or arrays into one of a dimension more.
struct ArrayAgg {
    element: Oid,
    of_arrays: bool,
    values: Vec<Datum>,
}

impl ArrayAgg {
    fn new(types: &CallTypes<'_>) -> Self {
        let element = element_of(types.result.oid).unwrap_or(Oid::TEXT);
        let of_arrays = types.args.first().is_some_and(|t| t.oid == types.result.oid);
        ArrayAgg { element, of_arrays, values: Vec::new() }
    }
}

impl Accumulator for ArrayAgg {
    fn add(&mut self, _: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if self.of_arrays && args[0].is_null() {
            return Err(SqlError::new(state::NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays"));
        }
        self.values.push(args[0].clone());
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        if self.values.is_empty() {
            return Ok(Datum::Null);
        }
        let array = if self.of_arrays {
            Array::nest(self.element, &self.values)?
        } else {
            Array::from_elements(self.element, self.values.clone())
        };
        Ok(Datum::Array(Arc::new(array)))
    }

    fn size(&self) -> usize {
        64 + self.values.len() * 48
    }
}

struct JsonAgg {
    ty: SqlType,
    binary: bool,
    values: Vec<Json>,
    /// The text form, for json.
    text: String,
    rows: usize,
}

impl JsonAgg {
    fn new(types: &CallTypes<'_>, binary: bool) -> Self {
        let ty = types.args.first().copied().unwrap_or(SqlType::new(Oid::TEXT));
        JsonAgg { ty, binary, values: Vec::new(), text: String::new(), rows: 0 }
    }
}

impl Accumulator for JsonAgg {
    fn add(&mut self, ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        self.rows += 1;
        if self.binary {
            self.values.push(to_json(self.ty.oid, &args[0], ctx)?);
        } else {
            self.text.push_str(if self.rows == 1 { "[" } else { ", " });
            to_json_text(self.ty.oid, &args[0], ctx, &mut self.text)?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(match (self.rows, self.binary) {
            (0, _) => Datum::Null,
            (_, true) => Datum::Jsonb(Arc::new(Json::Array(self.values.clone()))),
            (_, false) => Datum::text(&format!("{}]", self.text)),
        })
    }

    fn size(&self) -> usize {
        64 + self.text.capacity() + self.values.len() * 64
    }
}

struct JsonObjectAgg {
    types: [SqlType; 2],
    binary: bool,
    members: Vec<(String, Json)>,
    text: String,
    rows: usize,
}

impl JsonObjectAgg {
    fn new(types: &CallTypes<'_>, binary: bool) -> Self {
        let ty = |i: usize| types.args.get(i).copied().unwrap_or(SqlType::new(Oid::TEXT));
        JsonObjectAgg { types: [ty(0), ty(1)], binary, members: Vec::new(), text: String::new(), rows: 0 }
    }
}

impl Accumulator for JsonObjectAgg {
    fn add(&mut self, ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()> {
        if args[0].is_null() {
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "field name must not be null"));
        }
        let key = key_text(self.types[0].oid, &args[0], ctx);
        self.rows += 1;
        if self.binary {
            self.members.push((key, to_json(self.types[1].oid, &args[1], ctx)?));
        } else {
            self.text.push_str(if self.rows == 1 { "{ " } else { ", " });
            json::write_string(&key, &mut self.text);
            self.text.push_str(" : ");
            to_json_text(self.types[1].oid, &args[1], ctx, &mut self.text)?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &EvalContext<'_>) -> SqlResult<Datum> {
        Ok(match (self.rows, self.binary) {
            (0, _) => Datum::Null,
            (_, true) => Datum::Jsonb(Arc::new(json::object(self.members.clone()))),
            (_, false) => Datum::text(&format!("{} }}", self.text)),
        })
    }

    fn size(&self) -> usize {
        64 + self.text.capacity() + self.members.len() * 96
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::aggregate(3538, "string_agg", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, &STRING_AGG),
    Function::aggregate(3545, "string_agg", &[Oid::BYTEA, Oid::BYTEA], Oid::BYTEA, &BYTES_AGG),
    Function::aggregate(2335, "array_agg", &[Oid::ANYNONARRAY], Oid::ANYARRAY, &ARRAY_AGG),
    Function::aggregate(4053, "array_agg", &[Oid::ANYARRAY], Oid::ANYARRAY, &ARRAY_AGG),
    Function::aggregate(3175, "json_agg", &[Oid::ANYELEMENT], Oid::JSON, &JSON_AGG).stable(),
    Function::aggregate(3267, "jsonb_agg", &[Oid::ANYELEMENT], Oid::JSONB, &JSONB_AGG).stable(),
    Function::aggregate(3197, "json_object_agg", &[Oid::ANY, Oid::ANY], Oid::JSON, &JSON_OBJECT_AGG).stable(),
    Function::aggregate(3270, "jsonb_object_agg", &[Oid::ANY, Oid::ANY], Oid::JSONB, &JSONB_OBJECT_AGG),
];
