//! The codec of versions' values: one byte that says what the version is, then the value.
//!
//! - A tombstone is not an empty value: index entries have empty values.
//! - A version that was *written as an intent* is marked for good, although its commit may have left it where it is. It
//!   reads like any other; but while files are compacted, nobody can know whether a marked version was aborted by a
//!   deletion in another file, so it may not stand for the versions beneath it (see [`thresholds`](super::thresholds)).

use crate::base::{StorageError, StorageResult};

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;
/// Set in what was written as an intent.
const PROVISIONAL: u8 = 2;

/// Bytes before the value itself.
pub const HEADER_LEN: usize = 1;

/// How a version came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Committed when it was written.
    Committed,
    /// Written as an intent.
    Provisional,
}

/// The stored form, in two parts: header and value. `None` is a tombstone.
pub fn parts(value: Option<&[u8]>, origin: Origin) -> ([u8; HEADER_LEN], &[u8]) {
    let mark = if origin == Origin::Provisional { PROVISIONAL } else { 0 };
    match value {
        None => ([TOMBSTONE | mark], &[]),
        Some(v) => ([VALUE | mark], v),
    }
}

/// The value, or `None` for a tombstone.
pub fn decode(stored: &[u8]) -> StorageResult<Option<&[u8]>> {
    match stored {
        [header, value @ ..] if header & !PROVISIONAL == VALUE => Ok(Some(value)),
        [header] if header & !PROVISIONAL == TOMBSTONE => Ok(None),
        _ => Err(StorageError::Corruption(format!("\"{}\" is not a version's value", stored.escape_ascii()))),
    }
}

/// Whether the version was committed when it was written.
pub fn is_committed_at_once(stored: &[u8]) -> bool {
    matches!(stored, [TOMBSTONE] | [VALUE, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen() {
        use Origin::{Committed, Provisional};
        assert_eq!(parts(None, Committed), ([0], &b""[..]));
        assert_eq!(parts(Some(b"v"), Committed), ([1], &b"v"[..]));
        assert_eq!(parts(None, Provisional), ([2], &b""[..]));
        assert_eq!(parts(Some(b""), Provisional), ([3], &b""[..]));
        assert_eq!(decode(&[2]).expect("valid"), None);
        assert_eq!(decode(&[3, 7]).expect("valid"), Some(&[7][..]));
        assert_eq!(decode(&[0]).expect("valid"), None);
        assert_eq!(decode(&[1]).expect("valid"), Some(&b""[..]));
    }

    #[test]
    fn damage_is_corruption() {
        for stored in [&[][..], &[0, 1], &[2, 1], &[4], &[0xff, 0]] {
            assert!(matches!(decode(stored), Err(StorageError::Corruption(_))), "{stored:?}");
        }
    }
}
