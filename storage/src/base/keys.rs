//! The map of the key space. Every addressable key begins with one of these bytes:
//!
//! | first byte | what |
//! | --- | --- |
//! | `0x01` | `meta1/<end key>`: range descriptors of the second level; always in the first range |
//! | `0x02` | `meta2/<end key>`: range descriptors of all other ranges |
//! | `0x03` | `system/…`: node registry, settings, counters, catalog, jobs, statistics |
//! | `0x10` | `table/<table id>/<index id>/<columns…>` |
//!
//! Range-local data (transaction records, applied state) is not addressable: it lives in column families of its
//! own, keyed by range or by the key of the record's anchor.
//!
//! A descriptor is stored under its range's *end* key, so that the range that holds key `k` is the first entry
//! above `meta/<k>`. `meta1` describes the ranges that hold `meta2`; the first range always holds all of `meta1`.

use super::{Key, Span};

pub const META1: u8 = 0x01;
pub const META2: u8 = 0x02;
pub const SYSTEM: u8 = 0x03;
pub const TABLE: u8 = 0x10;
/// The end of the addressable key space.
pub const MAX: u8 = 0xfe;

/// The smallest key of the addressable space (the start of the first range): the empty key.
pub fn min_key() -> Key {
    Key::MIN
}

/// The end of the addressable space (the end of the last range).
pub fn max_key() -> Key {
    Key::from(&[MAX][..])
}

/// The whole addressable space.
pub fn everything() -> Span {
    Span::new(min_key(), max_key())
}

/// Where the descriptor of a range that ends at `end` is stored.
///
/// Ranges that end within or before `meta2` are described in `meta1`, all others in `meta2`.
pub fn meta_key(end: &Key) -> Key {
    let level = if **end <= [SYSTEM][..] { META1 } else { META2 };
    let mut v = Vec::with_capacity(end.len() + 1);
    v.push(level);
    v.extend_from_slice(end);
    v.into()
}

/// A key of the system space: `name`, then `suffix` (already order-preserving).
pub fn system_key(name: &str, suffix: &[u8]) -> Key {
    let mut v = Vec::with_capacity(2 + name.len() + suffix.len());
    v.push(SYSTEM);
    v.extend_from_slice(name.as_bytes());
    v.push(b'/');
    v.extend_from_slice(suffix);
    v.into()
}

/// The prefix of one index of a table; the primary key is an index too.
pub fn index_prefix(table: u32, index: u32) -> Key {
    let mut v = Vec::with_capacity(9);
    v.push(TABLE);
    v.extend_from_slice(&table.to_be_bytes());
    v.extend_from_slice(&index.to_be_bytes());
    v.into()
}

/// The prefix of everything that belongs to a table.
pub fn table_prefix(table: u32) -> Key {
    let mut v = Vec::with_capacity(5);
    v.push(TABLE);
    v.extend_from_slice(&table.to_be_bytes());
    v.into()
}
