//! The codec of versions' values: one byte that says what the version is, then the value.
//!
//! A tombstone is not an empty value: index entries have empty values.

use crate::base::{StorageError, StorageResult};

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;

/// Bytes before the value itself.
pub const HEADER_LEN: usize = 1;

/// The stored form, in two parts: header and value. `None` is a tombstone.
pub fn parts(value: Option<&[u8]>) -> ([u8; HEADER_LEN], &[u8]) {
    match value {
        None => ([TOMBSTONE], &[]),
        Some(v) => ([VALUE], v),
    }
}

/// The value, or `None` for a tombstone.
pub fn decode(stored: &[u8]) -> StorageResult<Option<&[u8]>> {
    match stored {
        [VALUE, value @ ..] => Ok(Some(value)),
        [TOMBSTONE] => Ok(None),
        _ => Err(StorageError::Corruption(format!("\"{}\" is not a version's value", stored.escape_ascii()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen() {
        assert_eq!(parts(None), ([0], &b""[..]));
        assert_eq!(parts(Some(b"")), ([1], &b""[..]));
        assert_eq!(parts(Some(b"v")), ([1], &b"v"[..]));
        assert_eq!(decode(&[0]).expect("valid"), None);
        assert_eq!(decode(&[1]).expect("valid"), Some(&b""[..]));
    }

    #[test]
    fn damage_is_corruption() {
        for stored in [&[][..], &[0, 1], &[2], &[0xff, 0]] {
            assert!(matches!(decode(stored), Err(StorageError::Corruption(_))), "{stored:?}");
        }
    }
}
