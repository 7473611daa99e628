//! A borrowed value: what encoders take, so that a row can be encoded out of column vectors without building [`Datum`]s.

use crate::types::{Batch, Column, ColumnData, Datum};

#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    /// Valid UTF-8 without NUL.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Oid(u32),
    /// Everything else; never one of the above.
    Other(&'a Datum),
}

impl<'a> From<&'a Datum> for ValueRef<'a> {
    fn from(d: &'a Datum) -> Self {
        match d {
            Datum::Null => ValueRef::Null,
            Datum::Bool(v) => ValueRef::Bool(*v),
            Datum::Int2(v) => ValueRef::Int2(*v),
            Datum::Int4(v) => ValueRef::Int4(*v),
            Datum::Int8(v) => ValueRef::Int8(*v),
            Datum::Float4(v) => ValueRef::Float4(*v),
            Datum::Float8(v) => ValueRef::Float8(*v),
            Datum::Text(v) => ValueRef::Text(v.as_bytes()),
            Datum::Bytes(v) => ValueRef::Bytes(v),
            Datum::Date(v) => ValueRef::Date(*v),
            Datum::Time(v) => ValueRef::Time(*v),
            Datum::Timestamp(v) => ValueRef::Timestamp(*v),
            Datum::Oid(v) => ValueRef::Oid(*v),
            other => ValueRef::Other(other),
        }
    }
}

impl<'a> ValueRef<'a> {
    /// The value of one row of a column.
    pub fn of_column(column: &'a Column, row: usize) -> Self {
        if column.is_null(row) {
            return ValueRef::Null;
        }
        match &column.data {
            ColumnData::Bool(v) => ValueRef::Bool(v[row]),
            ColumnData::Int2(v) => ValueRef::Int2(v[row]),
            ColumnData::Int4(v) => ValueRef::Int4(v[row]),
            ColumnData::Int8(v) => ValueRef::Int8(v[row]),
            ColumnData::Float4(v) => ValueRef::Float4(v[row]),
            ColumnData::Float8(v) => ValueRef::Float8(v[row]),
            ColumnData::Text(v) => ValueRef::Text(v.get(row)),
            ColumnData::Bytes(v) => ValueRef::Bytes(v.get(row)),
            ColumnData::Date(v) => ValueRef::Date(v[row]),
            ColumnData::Timestamp(v) => ValueRef::Timestamp(v[row]),
            ColumnData::Datum(v) => ValueRef::from(&v[row]),
        }
    }

    pub fn is_null(self) -> bool {
        matches!(self, ValueRef::Null)
    }
}

/// A row to encode: the table's public columns in descriptor order.
pub trait RowSource {
    fn value(&self, position: usize) -> ValueRef<'_>;
}

impl RowSource for [Datum] {
    fn value(&self, position: usize) -> ValueRef<'_> {
        ValueRef::from(&self[position])
    }
}

impl RowSource for Vec<Datum> {
    fn value(&self, position: usize) -> ValueRef<'_> {
        ValueRef::from(&self[position])
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub struct BatchRow<'a> {
    pub batch: &'a Batch,
    pub row: usize,
}

impl RowSource for BatchRow<'_> {
    fn value(&self, position: usize) -> ValueRef<'_> {
        ValueRef::of_column(&self.batch.columns[position], self.row)
    }
}
