//! What a command declares that it will touch, before it is evaluated.

use meridian_storage::base::{Key, Span, TxnId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Write,
}

/// One key, or the keys from `start` to `end`.
#[derive(Clone, Debug)]
pub struct LatchSpan {
    pub start: Key,
    /// `None`: the single key `start`.
    pub end: Option<Key>,
    pub access: Access,
}

impl LatchSpan {
    pub fn write_key(key: Key) -> Self {
        LatchSpan { start: key, end: None, access: Access::Write }
    }

    pub fn write(span: &Span) -> Self {
        Self::of(span, Access::Write)
    }

    pub fn read(span: &Span) -> Self {
        Self::of(span, Access::Read)
    }

    pub fn read_key(key: Key) -> Self {
        LatchSpan { start: key, end: None, access: Access::Read }
    }

    fn of(span: &Span, access: Access) -> Self {
        let end = (!span.is_point()).then(|| span.end.clone());
        LatchSpan { start: span.start.clone(), end, access }
    }

    /// The record of a transaction. No addressable key begins with a zero byte.
    pub fn record(txn: TxnId) -> Self {
        let mut key = Vec::with_capacity(17);
        key.push(0);
        key.extend_from_slice(&txn.0.to_be_bytes());
        Self::write_key(key.into())
    }

    /// Everything: all keys and all records.
    pub fn everything() -> Self {
        LatchSpan { start: Key::MIN, end: Some(Key::from(&[0xff][..])), access: Access::Write }
    }

    pub fn conflicts(&self, other: &LatchSpan) -> bool {
        (self.access == Access::Write || other.access == Access::Write)
            && self.overlaps(&other.start, other.end.as_ref())
    }

    /// `end` is `None` for a single key.
    pub fn overlaps(&self, start: &[u8], end: Option<&Key>) -> bool {
        let begins_before = |a_start: &[u8], b_start: &[u8], b_end: Option<&Key>| match b_end {
            Some(end) => a_start < end.as_bytes(),
            None => a_start <= b_start,
        };
        begins_before(&self.start, start, end) && begins_before(start, &self.start, self.end.as_ref())
    }
}
