//! Builds the rows of a computed relation, column by name.

use std::sync::Arc;

use crate::plan::Schema;
use crate::types::column::BATCH_ROWS;
use crate::types::{Array, Batch, Column, Datum, Oid};

/// Rows so far. Columns that a row does not set are NULL.
pub struct Rows {
    schema: Schema,
    row: Vec<Datum>,
    columns: Vec<Column>,
    rows: usize,
    full: Vec<Batch>,
}

impl Rows {
    pub fn new(schema: &Schema) -> Self {
        let mut rows =
            Rows { schema: schema.clone(), row: Vec::new(), columns: Vec::new(), rows: 0, full: Vec::new() };
        rows.begin();
        rows
    }

    fn begin(&mut self) {
        self.row = vec![Datum::Null; self.schema.len()];
        self.columns = self.schema.iter().map(|f| Column::for_type(f.ty.oid)).collect();
        self.rows = 0;
    }

    /// Sets a column of the current row.
    pub fn set(&mut self, name: &str, value: impl IntoDatum) -> &mut Self {
        let column = self.schema.iter().position(|f| f.name == name);
        let column = column.expect("a column that columns.txt lists");
        self.row[column] = value.into_datum(self.schema[column].ty.oid);
        self
    }

    /// Sets several columns to one value.
    pub fn set_all(&mut self, names: &[&str], value: impl IntoDatum + Clone) -> &mut Self {
        names.iter().for_each(|name| {
            self.set(name, value.clone());
        });
        self
    }

    /// Ends the current row.
    pub fn push(&mut self) {
        for (column, value) in self.columns.iter_mut().zip(&mut self.row) {
            column.push(value);
            *value = Datum::Null;
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let columns = std::mem::take(&mut self.columns).into_iter().map(Arc::new).collect();
        self.full.push(Batch { columns, rows: self.rows });
        self.begin();
    }

    pub fn finish(mut self) -> Vec<Batch> {
        if self.rows > 0 {
            self.flush();
        }
        self.full
    }
}

/// A Rust value as a value of the column's type.
pub trait IntoDatum {
    fn into_datum(self, ty: Oid) -> Datum;
}

impl IntoDatum for Datum {
    fn into_datum(self, _: Oid) -> Datum {
        self
    }
}

impl IntoDatum for bool {
    fn into_datum(self, ty: Oid) -> Datum {
        // information_schema's yes_or_no.
        if ty == Oid::BOOL { Datum::Bool(self) } else { Datum::text(if self { "YES" } else { "NO" }) }
    }
}

impl IntoDatum for &str {
    fn into_datum(self, _: Oid) -> Datum {
        Datum::text(self)
    }
}

impl IntoDatum for &String {
    fn into_datum(self, _: Oid) -> Datum {
        Datum::text(self)
    }
}

impl IntoDatum for String {
    fn into_datum(self, _: Oid) -> Datum {
        Datum::text(&self)
    }
}

/// `"char"`
impl IntoDatum for char {
    fn into_datum(self, _: Oid) -> Datum {
        Datum::text(self.encode_utf8(&mut [0; 4]))
    }
}

impl IntoDatum for Oid {
    fn into_datum(self, ty: Oid) -> Datum {
        i64::from(self.0).into_datum(ty)
    }
}

impl IntoDatum for i32 {
    fn into_datum(self, ty: Oid) -> Datum {
        i64::from(self).into_datum(ty)
    }
}

impl IntoDatum for u32 {
    fn into_datum(self, ty: Oid) -> Datum {
        i64::from(self).into_datum(ty)
    }
}

impl IntoDatum for i64 {
    fn into_datum(self, ty: Oid) -> Datum {
        match ty {
            Oid::INT2 => Datum::Int2(self as i16),
            Oid::INT4 => Datum::Int4(self as i32),
            Oid::INT8 => Datum::Int8(self),
            Oid::FLOAT4 => Datum::Float4(self as f32),
            Oid::FLOAT8 => Datum::Float8(self as f64),
            Oid::TIMESTAMPTZ => Datum::Timestamp(self),
            Oid::TEXT | Oid::VARCHAR | Oid::NAME => Datum::text(&self.to_string()),
            _ => Datum::Oid(self as u32),
        }
    }
}

impl IntoDatum for f64 {
    fn into_datum(self, ty: Oid) -> Datum {
        if ty == Oid::FLOAT4 { Datum::Float4(self as f32) } else { Datum::Float8(self) }
    }
}

impl<T: IntoDatum> IntoDatum for Option<T> {
    fn into_datum(self, ty: Oid) -> Datum {
        self.map_or(Datum::Null, |v| v.into_datum(ty))
    }
}

/// An array or vector type.
impl<T: IntoDatum> IntoDatum for Vec<T> {
    fn into_datum(self, ty: Oid) -> Datum {
        let element = match ty {
            Oid::INT2VECTOR => Oid::INT2,
            Oid::OIDVECTOR => Oid::OID,
            _ => crate::registry::element_of(ty).unwrap_or(Oid::TEXT),
        };
        let elements = self.into_iter().map(|v| v.into_datum(element)).collect();
        let mut array = Array::from_elements(element, elements);
        if matches!(ty, Oid::INT2VECTOR | Oid::OIDVECTOR) {
            // Vectors count from 0.
            array.dims = vec![(array.elements.len() as i32, 0)];
        }
        Datum::Array(Arc::new(array))
    }
}
