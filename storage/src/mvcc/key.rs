//! The codec of version keys: `escaped key ++ 00 01 ++ inverted timestamp`.
//!
//! What must stay true (and is frozen by the golden test):
//! - encoded keys sort as `(key ascending, timestamp descending)`;
//! - a zero byte of the key becomes `00 ff`, so that the terminator `00 01` is below whatever may follow in a longer key;
//! - the timestamp is 12 bytes, `!wall` and `!logical`, big-endian: the *key part* of a version is all but its last
//!   12 bytes, found without parsing.
//!
//! The key part alone (with its terminator) is the key of the lock family and the start of a record's key, so one
//! pair of bounds serves all families that move with a range.

use bytes::Bytes;

use crate::base::{Span, StorageError, StorageResult, Timestamp, TxnId};
use crate::engine::{KEY_TERMINATOR as TERMINATOR, VERSION_SUFFIX_LEN as TS_LEN, split_timestamp};

/// Above the terminator and below any continuation of a longer key.
const AFTER_TERMINATOR: [u8; 2] = [0, 2];

/// Appends the escaped key and its terminator.
pub fn push_key(key: &[u8], out: &mut Vec<u8>) {
    // Keys hold many zero bytes (numbers in big-endian form), so no branch depends on them.
    let start = out.len();
    out.resize(start + 2 * key.len() + TERMINATOR.len(), 0);
    let space = &mut out[start..];
    let mut n = 0;
    for &b in key {
        let pair = &mut space[n..n + 2];
        pair[0] = b;
        pair[1] = 0xff;
        n += 1 + usize::from(b == 0);
    }
    space[n..n + 2].copy_from_slice(&TERMINATOR);
    out.truncate(start + n + 2);
}

/// The key part: escaped key and terminator, with room for a timestamp.
pub fn encode_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * key.len() + TERMINATOR.len() + TS_LEN);
    push_key(key, &mut out);
    out
}

/// The key of the version of `key` at `ts`.
pub fn encode_version(key: &[u8], ts: Timestamp) -> Vec<u8> {
    let mut out = encode_key(key);
    push_timestamp(ts, &mut out);
    out
}

/// Appends the inverted timestamp to a key part.
pub fn push_timestamp(ts: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&(!ts.wall).to_be_bytes());
    out.extend_from_slice(&(!ts.logical).to_be_bytes());
}

/// A version key's key part and timestamp.
pub fn split_version(raw: &[u8]) -> StorageResult<(&[u8], Timestamp)> {
    split_timestamp(raw).ok_or_else(|| malformed(raw))
}

/// Appends the key whose key part this is.
pub fn decode_key(part: &[u8], out: &mut Vec<u8>) -> StorageResult<()> {
    let Some(escaped) = part.strip_suffix(&TERMINATOR) else { return Err(malformed(part)) };
    out.reserve(escaped.len());
    // From one zero byte to the next: what stands between is copied as it is.
    let mut rest = escaped;
    while let Some(zero) = memchr::memchr(0, rest) {
        let (plain, tail) = rest.split_at(zero + 1);
        out.extend_from_slice(plain);
        rest = tail.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Turns a key part into the least encoded key above all its versions.
pub(super) fn after_versions(part: &mut [u8]) {
    if let Some(end) = part.last_chunk_mut::<2>() {
        *end = AFTER_TERMINATOR;
    }
}

/// The bounds of a span's entries in the families keyed by a key part: data, locks and records.
pub fn bounds(span: &Span) -> (Bytes, Bytes) {
    (encode_key(&span.start).into(), encode_key(&span.end).into())
}

/// The key of a transaction's record: it moves with the range that holds its anchor.
pub fn record_key(anchor: &[u8], txn: TxnId) -> Vec<u8> {
    let mut out = encode_key(anchor);
    out.extend_from_slice(&txn.0.to_be_bytes());
    out
}

pub(super) fn malformed(raw: &[u8]) -> StorageError {
    StorageError::Corruption(format!("\"{}\" is not the key of a version", raw.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// These bytes are on disks. A change here is a change of the storage format.
    #[test]
    fn frozen() {
        let golden = [
            (&b""[..], Timestamp::ZERO, "0001ffffffffffffffffffffffff"),
            (b"k", Timestamp::new(1, 2), "6b0001fffffffffffffffefffffffd"),
            (b"a\0b", Timestamp::MAX, "6100ff620001000000000000000000000000"),
            (
                b"\x10\0\0\0\x07",
                Timestamp::new(0x0102030405060708, 9),
                "1000ff00ff00ff070001fefdfcfbfaf9f8f7fffffff6",
            ),
        ];
        for (key, ts, expected) in golden {
            assert_eq!(hex(&encode_version(key, ts)), expected);
        }
        assert_eq!(hex(&record_key(b"k", TxnId(3))), "6b000100000000000000000000000000000003");
    }

    #[test]
    fn damage_is_corruption() {
        for raw in [&b""[..], b"short", b"no terminator before the stamp"] {
            assert!(matches!(split_version(raw), Err(StorageError::Corruption(_))));
        }
        assert!(decode_key(b"x", &mut Vec::new()).is_err());
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()];
        prop::collection::vec(byte, 0..12)
    }

    fn ts() -> impl Strategy<Value = Timestamp> {
        (any::<u64>(), any::<u32>()).prop_map(|(wall, logical)| Timestamp::new(wall, logical))
    }

    proptest! {
        #[test]
        fn decodes_to_what_was_encoded(key in key(), ts in ts()) {
            let raw = encode_version(&key, ts);
            let (part, again) = split_version(&raw).expect("well formed");
            let mut decoded = b"kept".to_vec();
            decode_key(part, &mut decoded).expect("well formed");
            prop_assert_eq!(again, ts);
            prop_assert_eq!(decoded, [&b"kept"[..], &key].concat());
        }

        #[test]
        fn sorts_by_key_then_newest_first(a in key(), a_ts in ts(), b in key(), b_ts in ts()) {
            let raw = encode_version(&a, a_ts).cmp(&encode_version(&b, b_ts));
            prop_assert_eq!(raw, a.cmp(&b).then(b_ts.cmp(&a_ts)));
            let mut after = encode_key(&a);
            after_versions(&mut after);
            prop_assert_eq!(after > encode_version(&b, b_ts), a >= b);
        }
    }
}
