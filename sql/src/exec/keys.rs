//! Rows as byte keys: what sorting, grouping, hashing and DISTINCT compare.
//!
//! The order-preserving encoding of index keys is used for all of them, so equality and order here are the same
//! as in the indexes: values that SQL holds equal have equal bytes, and bytes order as the values do. Types without
//! an order of their own in that encoding (json, records) are encoded here: records field by field, the others are refused.

use crate::error::{SqlError, SqlResult, state};
use crate::registry::type_name;
use crate::row::ValueRef;
use crate::row::key::{Direction, KeyKind, encode};
use crate::types::datum::Json;
use crate::types::{Batch, Column, Datum, Oid};

/// How one column of a key is encoded.
#[derive(Clone, Copy, Debug)]
pub struct KeyColumn {
    kind: Option<KeyKind>,
    ty: Oid,
    direction: Direction,
}

impl KeyColumn {
    /// For equality only.
    pub fn equality(ty: Oid) -> Self {
        KeyColumn { kind: KeyKind::of(ty), ty, direction: Direction::ASC }
    }

    pub fn ordered(ty: Oid, descending: bool, nulls_first: bool) -> Self {
        KeyColumn { kind: KeyKind::of(ty), ty, direction: Direction { descending, nulls_first } }
    }

    pub fn encode(&self, out: &mut Vec<u8>, value: ValueRef<'_>) -> SqlResult<()> {
        match (self.kind, value) {
            (Some(kind), value) => encode(out, kind, self.direction, value),
            (None, ValueRef::Null) => encode(out, KeyKind::Bool, self.direction, value),
            (None, ValueRef::Other(Datum::Record(fields))) => {
                out.push(0x02);
                let start = out.len();
                for field in fields.fields.iter() {
                    encode_field(out, field)?;
                }
                out.push(0x00);
                if self.direction.descending {
                    out[start..].iter_mut().for_each(|b| *b = !*b);
                }
                Ok(())
            }
            (None, ValueRef::Other(Datum::Array(array))) => {
                encode(out, KeyKind::Array, self.direction, ValueRef::Other(&Datum::Array(array.clone())))
            }
            (None, ValueRef::Other(Datum::Jsonb(json))) => {
                out.push(0x02);
                let start = out.len();
                encode_json(out, json)?;
                if self.direction.descending {
                    out[start..].iter_mut().for_each(|b| *b = !*b);
                }
                Ok(())
            }
            (None, ValueRef::Text(_)) if self.ty != Oid::JSON => {
                encode(out, KeyKind::Text, self.direction, value)
            }
            _ => Err(SqlError::new(
                state::UNDEFINED_FUNCTION,
                format!("could not identify an ordering operator for type {}", type_name(self.ty)),
            )),
        }
    }
}

/// A value whose type is known only from itself.
fn encode_field(out: &mut Vec<u8>, value: &Datum) -> SqlResult<()> {
    let ty = match value {
        Datum::Null | Datum::Bool(_) => Oid::BOOL,
        Datum::Int2(_) => Oid::INT2,
        Datum::Int4(_) => Oid::INT4,
        Datum::Int8(_) => Oid::INT8,
        Datum::Float4(_) => Oid::FLOAT4,
        Datum::Float8(_) => Oid::FLOAT8,
        Datum::Numeric(_) => Oid::NUMERIC,
        Datum::Text(_) => Oid::TEXT,
        Datum::Bytes(_) => Oid::BYTEA,
        Datum::Date(_) => Oid::DATE,
        Datum::Time(_) => Oid::TIME,
        Datum::Timestamp(_) => Oid::TIMESTAMP,
        Datum::Interval(_) => Oid::INTERVAL,
        Datum::Uuid(_) => Oid::UUID,
        Datum::Oid(_) => Oid::OID,
        Datum::Array(_) => Oid::INT4_ARRAY,
        Datum::Jsonb(_) => Oid::JSONB,
        _ => Oid::RECORD,
    };
    KeyColumn::equality(ty).encode(out, ValueRef::from(value))
}

/// jsonb in its own order: by kind, then arrays and objects by size before content.
fn encode_json(out: &mut Vec<u8>, json: &Json) -> SqlResult<()> {
    let text =
        |out: &mut Vec<u8>, s: &str| encode(out, KeyKind::Text, Direction::ASC, ValueRef::Text(s.as_bytes()));
    match json {
        Json::Null => out.push(1),
        Json::String(s) => {
            out.push(2);
            text(out, s)?;
        }
        Json::Number(n) => {
            out.push(3);
            let number = Datum::Numeric(Box::new(n.clone()));
            encode(out, KeyKind::Numeric, Direction::ASC, ValueRef::from(&number))?;
        }
        Json::Bool(b) => out.extend([4, *b as u8]),
        Json::Array(elements) => {
            out.push(5);
            out.extend_from_slice(&(elements.len() as u32).to_be_bytes());
            for element in elements {
                encode_json(out, element)?;
            }
        }
        Json::Object(pairs) => {
            out.push(6);
            out.extend_from_slice(&(pairs.len() as u32).to_be_bytes());
            for (key, value) in pairs {
                text(out, key)?;
                encode_json(out, value)?;
            }
        }
    }
    Ok(())
}

/// How a row becomes a key.
#[derive(Clone, Debug)]
pub struct KeyEncoder {
    columns: Vec<KeyColumn>,
}

impl KeyEncoder {
    pub fn new(columns: Vec<KeyColumn>) -> Self {
        KeyEncoder { columns }
    }

    /// For equality of rows of these types.
    pub fn equality(types: impl IntoIterator<Item = Oid>) -> Self {
        KeyEncoder { columns: types.into_iter().map(KeyColumn::equality).collect() }
    }

    /// Appends the key of row `row` of the columns.
    pub fn encode<C: AsRef<Column>>(&self, out: &mut Vec<u8>, columns: &[C], row: usize) -> SqlResult<()> {
        for (key, column) in self.columns.iter().zip(columns) {
            key.encode(out, ValueRef::of_column(column.as_ref(), row))?;
        }
        Ok(())
    }

    pub fn encode_row(&self, out: &mut Vec<u8>, row: &[Datum]) -> SqlResult<()> {
        for (key, value) in self.columns.iter().zip(row) {
            key.encode(out, ValueRef::from(value))?;
        }
        Ok(())
    }

    /// Appends the key of a whole row of a batch.
    pub fn encode_batch_row(&self, out: &mut Vec<u8>, batch: &Batch, row: usize) -> SqlResult<()> {
        self.encode(out, &batch.columns, row)
    }
}
