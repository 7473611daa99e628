//! One value.

use std::sync::Arc;

use super::Oid;
use super::numeric::Numeric;
use crate::error::{SqlError, SqlResult, state};

/// A value of any type, or NULL. Which type it is of is known from where it stands; several types share a
/// representation (text, varchar, char(n) and name are all `Text`).
///
/// `PartialEq` is identity of representation, for tests and maps; SQL's comparisons live in the operators.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Box<Numeric>),
    /// Always valid UTF-8 without NUL.
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    /// Days since 2000-01-01; `i32::MAX` and `i32::MIN` are infinity.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 2000-01-01 00:00, without or with time zone (then UTC); the extremes are infinity.
    Timestamp(i64),
    Interval(Interval),
    Uuid([u8; 16]),
    Oid(u32),
    Array(Arc<Array>),
    Record(Arc<Record>),
    Jsonb(Arc<Json>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

/// An array of one or more dimensions; elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub element: Oid,
    /// (length, lower bound) of each dimension; empty for an empty array.
    pub dims: Vec<(i32, i32)>,
    pub elements: Vec<Datum>,
}

/// A row value; the types of its fields travel with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub types: Vec<Oid>,
    pub fields: Vec<Datum>,
}

impl Record {
    /// Rows within one another. Each level doubles the quotes of the text form.
    const MAX_NESTING: usize = 20;

    /// A row of values that may themselves be rows.
    pub fn nest(types: Vec<Oid>, fields: Vec<Datum>) -> SqlResult<Record> {
        if 1 + nesting(&fields) > Self::MAX_NESTING {
            return Err(SqlError::new(
                state::PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "number of rows within one another exceeds the maximum allowed ({})",
                    Self::MAX_NESTING
                ),
            ));
        }
        Ok(Record { types, fields })
    }
}

fn nesting(values: &[Datum]) -> usize {
    let of = |value: &Datum| match value {
        Datum::Record(record) => 1 + nesting(&record.fields),
        // Elements are of one type: where the first is no row, none is.
        Datum::Array(array)
            if matches!(array.elements.iter().find(|e| !e.is_null()), Some(Datum::Record(_))) =>
        {
            nesting(&array.elements)
        }
        _ => 0,
    };
    values.iter().map(of).max().unwrap_or(0)
}

/// A jsonb value. Object keys are unique and in jsonb's order (by length, then bytes).
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Numeric),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Array {
    /// A one-dimensional array, or the empty one.
    pub fn from_elements(element: Oid, elements: Vec<Datum>) -> Array {
        let dims = if elements.is_empty() { Vec::new() } else { vec![(elements.len() as i32, 1)] };
        Array { element, dims, elements }
    }
}

impl Datum {
    pub fn text(s: &str) -> Datum {
        Datum::Text(Arc::from(s))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }
}
