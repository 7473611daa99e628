//! An atomic batch of writes, in the byte form in which it travels through the Raft log.
//!
//! Each operation is `kind: u8, cf: u8, varint key length, key, [varint value length, value]`. A batch is built once,
//! at the leaseholder, and its bytes are what every replica applies.

use bytes::Bytes;

use super::Cf;
use crate::base::{StorageError, StorageResult};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// One operation of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchOp<'a> {
    Put {
        cf: Cf,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        cf: Cf,
        key: &'a [u8],
    },
    /// Deletes `[start, end)`.
    DeleteRange {
        cf: Cf,
        start: &'a [u8],
        end: &'a [u8],
    },
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WriteBatch {
    repr: Vec<u8>,
    count: usize,
}

impl WriteBatch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        WriteBatch { repr: Vec::with_capacity(bytes), count: 0 }
    }

    pub fn put(&mut self, cf: Cf, key: &[u8], value: &[u8]) {
        self.header(PUT, cf);
        self.bytes(key);
        self.bytes(value);
    }

    /// As [`WriteBatch::put`], with a value that comes in two parts.
    pub fn put_concat(&mut self, cf: Cf, key: &[u8], head: &[u8], tail: &[u8]) {
        self.header(PUT, cf);
        self.bytes(key);
        self.varint(head.len() + tail.len());
        self.repr.extend_from_slice(head);
        self.repr.extend_from_slice(tail);
    }

    pub fn delete(&mut self, cf: Cf, key: &[u8]) {
        self.header(DELETE, cf);
        self.bytes(key);
    }

    pub fn delete_range(&mut self, cf: Cf, start: &[u8], end: &[u8]) {
        self.header(DELETE_RANGE, cf);
        self.bytes(start);
        self.bytes(end);
    }

    /// Appends all of `other`'s operations.
    pub fn append(&mut self, other: &WriteBatch) {
        self.repr.extend_from_slice(&other.repr);
        self.count += other.count;
    }

    /// Appends a batch in byte form, checked on the way. If `admit` refuses an operation, or the bytes are malformed,
    /// nothing is appended; false says that it was refused.
    pub fn append_encoded(
        &mut self,
        bytes: &[u8],
        mut admit: impl FnMut(&BatchOp<'_>) -> bool,
    ) -> StorageResult<bool> {
        let mut count = 0;
        for op in Ops(bytes) {
            if !admit(&op?) {
                return Ok(false);
            }
            count += 1;
        }
        self.repr.extend_from_slice(bytes);
        self.count += count;
        Ok(true)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn clear(&mut self) {
        self.repr.clear();
        self.count = 0;
    }

    /// The bytes, as they go into the log.
    pub fn as_bytes(&self) -> &[u8] {
        &self.repr
    }

    pub fn into_bytes(self) -> Bytes {
        self.repr.into()
    }

    /// Checks the bytes of a batch and takes them over. An error is corruption: the log's checksums passed.
    pub fn from_bytes(bytes: &[u8]) -> StorageResult<Self> {
        let mut count = 0;
        for op in Ops(bytes) {
            op?;
            count += 1;
        }
        Ok(WriteBatch { repr: bytes.to_vec(), count })
    }

    /// The operations in order. Panics cannot happen: a batch is checked when it is made from bytes.
    pub fn ops(&self) -> impl Iterator<Item = BatchOp<'_>> {
        Ops(&self.repr).map_while(Result::ok)
    }

    /// The operations of a batch in byte form, without copying it.
    pub fn ops_of(bytes: &[u8]) -> impl Iterator<Item = StorageResult<BatchOp<'_>>> {
        Ops(bytes)
    }

    fn header(&mut self, kind: u8, cf: Cf) {
        self.count += 1;
        self.repr.push(kind);
        self.repr.push(cf as u8);
    }

    fn bytes(&mut self, b: &[u8]) {
        self.varint(b.len());
        self.repr.extend_from_slice(b);
    }

    fn varint(&mut self, mut n: usize) {
        while n >= 0x80 {
            self.repr.push((n as u8 & 0x7f) | 0x80);
            n >>= 7;
        }
        self.repr.push(n as u8);
    }
}

struct Ops<'a>(&'a [u8]);

impl<'a> Ops<'a> {
    fn take(&mut self) -> Option<&'a [u8]> {
        let (mut n, mut shift) = (0usize, 0u32);
        loop {
            let (&b, rest) = self.0.split_first()?;
            self.0 = rest;
            n |= ((b & 0x7f) as usize).checked_shl(shift)?;
            if b & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn op(&mut self) -> Option<BatchOp<'a>> {
        let (&[kind, cf], rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        let cf = Cf::from_u8(cf)?;
        match kind {
            PUT => Some(BatchOp::Put { cf, key: self.take()?, value: self.take()? }),
            DELETE => Some(BatchOp::Delete { cf, key: self.take()? }),
            DELETE_RANGE => Some(BatchOp::DeleteRange { cf, start: self.take()?, end: self.take()? }),
            _ => None,
        }
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = StorageResult<BatchOp<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let op = self.op();
        if op.is_none() {
            self.0 = &[];
        }
        Some(op.ok_or_else(|| StorageError::Corruption("a write batch is malformed".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let long = vec![7u8; 300];
        let mut b = WriteBatch::new();
        b.put(Cf::Data, b"k", &long);
        b.delete(Cf::Lock, b"");
        b.delete_range(Cf::State, b"a", b"z");
        let again = WriteBatch::from_bytes(b.as_bytes()).expect("well formed");
        assert_eq!(b, again);
        let ops: Vec<_> = again.ops().collect();
        assert_eq!(
            ops,
            [
                BatchOp::Put { cf: Cf::Data, key: b"k", value: &long },
                BatchOp::Delete { cf: Cf::Lock, key: b"" },
                BatchOp::DeleteRange { cf: Cf::State, start: b"a", end: b"z" },
            ]
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut b = WriteBatch::new();
        b.put(Cf::Data, b"key", b"value");
        for n in 1..b.as_bytes().len() {
            assert!(WriteBatch::from_bytes(&b.as_bytes()[..n]).is_err(), "{n} bytes");
        }
        assert!(WriteBatch::from_bytes(&[9, 0, 0]).is_err());
        assert!(WriteBatch::from_bytes(&[1, 77, 0, 0]).is_err());
    }
}
