//! Rows as keys and values, and back.
//!
//! A row is one key-value pair. The key is `table/<table>/<index>` followed by the primary key's columns in an
//! order-preserving encoding ([`key`]); the value holds all other columns by id ([`value`]). A secondary index entry has the
//! index's columns in its key, and what is needed to find the row either behind them or, in a unique index, in its
//! value ([`index`]). [`decode`] turns blocks of pairs into column vectors.
//!
//! What must stay true:
//! - The order of encoded keys is SQL's order, and keys of values that SQL holds equal are equal bytes. Where equal values can
//!   differ (`1.5` and `1.50`, `-0`, `char(n)` padding, intervals) the key has the canonical one, and the value holds
//!   the column too whenever the stored one is not canonical. So every column reads back as it was written.
//! - These bytes are on disk: the golden tests freeze them.
//! - A column that a stored row does not have reads as the column's missing value, or NULL.

pub mod decode;
pub mod index;
pub mod value;
pub mod key;
pub mod datum_value;
pub mod value_ref;
#[cfg(test)]
mod tests;

pub use decode::{PrimaryKeyFinder, RowDecoder, covers};
pub use index::{IndexEncoder, RowBuf, TableCodec};
pub use key::{Direction, KeyKind};
pub use value_ref::{BatchRow, RowSource, ValueRef};

use crate::error::{SqlError, state};

/// What is stored is not what was written.
pub(crate) fn corrupt(what: &str) -> SqlError {
    SqlError::new(state::DATA_CORRUPTED, format!("invalid stored row: {what}"))
}
