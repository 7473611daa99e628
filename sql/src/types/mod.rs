//! SQL types and values: PostgreSQL's, with its OIDs.
//!
//! A type is an OID and a modifier, as in PostgreSQL, so that user-defined types can join without a new enum
//! variant. A value is a [`Datum`]; many values of one type are a [`Column`]; rows of several columns a [`Batch`].

pub mod text;
pub mod binary;
pub mod array_text;
pub mod record_text;
pub mod reg;
pub mod datetime;
pub mod json;
pub mod float;
pub mod bytea;
pub mod typmod;
pub mod compare;
pub mod column;
pub mod datum;
pub mod hybrid;
pub mod numeric;
pub mod oid;

pub use column::{Batch, Bitmap, Column, ColumnData, VarBytes};
pub use datum::{Array, Datum, Interval, Json, Record};
pub use numeric::Numeric;
pub use oid::Oid;

/// A type as an expression or a column has it: PostgreSQL's (type OID, typmod) pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SqlType {
    pub oid: Oid,
    /// PostgreSQL's encoding: -1 for none; varchar/char: length + 4; numeric: ((precision << 16) | scale) + 4.
    pub typmod: i32,
}

impl SqlType {
    pub const fn new(oid: Oid) -> Self {
        SqlType { oid, typmod: -1 }
    }

    pub const fn with_typmod(oid: Oid, typmod: i32) -> Self {
        SqlType { oid, typmod }
    }
}
