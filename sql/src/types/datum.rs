//! One value.

use std::sync::Arc;

use super::Oid;
use super::numeric::Numeric;

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
