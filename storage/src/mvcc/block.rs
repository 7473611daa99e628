//! Rows as a scan returns them: one block of bytes and the offsets into it.
//!
//! No row costs an allocation of its own, and the block is what travels between nodes.

use bytes::Bytes;

use crate::base::{StorageError, StorageResult};

/// Keys and values, in the order in which they were read. Below 4 GiB.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KvBlock {
    bytes: Vec<u8>,
    /// For each row, where its key ends (and its value begins) and where its value ends (and the next key begins).
    ends: Vec<(u32, u32)>,
}

impl KvBlock {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1].1 };
        &self.bytes[start as usize..self.ends[row].0 as usize]
    }

    pub fn value(&self, row: usize) -> &[u8] {
        let (start, end) = self.ends[row];
        &self.bytes[start as usize..end as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map(|row| (self.key(row), self.value(row)))
    }

    /// The bytes of all rows, and for each row where its key and its value end.
    pub fn into_parts(self) -> (Vec<u8>, Vec<(u32, u32)>) {
        (self.bytes, self.ends)
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.push_value_after_key(value);
    }

    /// Where a key may be written in place, before [`KvBlock::push_value_after_key`].
    pub(super) fn key_space(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends a row whose key has just been written to [`KvBlock::key_space`].
    pub(super) fn push_value_after_key(&mut self, value: &[u8]) {
        let key_end = self.offset();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.offset()));
    }

    /// Takes back the last row.
    pub(super) fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().map_or(0, |end| end.1 as usize));
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a block is limited to far less than 4 GiB")
    }

    /// The block as it travels: `row count, ends, bytes`, little-endian.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(4 + 8 * self.ends.len() + self.bytes.len());
        out.extend_from_slice(&(self.ends.len() as u32).to_le_bytes());
        for (key_end, value_end) in &self.ends {
            out.extend_from_slice(&key_end.to_le_bytes());
            out.extend_from_slice(&value_end.to_le_bytes());
        }
        out.extend_from_slice(&self.bytes);
        out.into()
    }

    /// Checks every offset, so that no accessor of a decoded block can fail.
    pub fn decode(encoded: &[u8]) -> StorageResult<Self> {
        Self::parse(encoded).ok_or_else(|| StorageError::Corruption("a block of rows is malformed".into()))
    }

    fn parse(encoded: &[u8]) -> Option<Self> {
        let (&rows, rest) = encoded.split_first_chunk::<4>()?;
        let rows = u32::from_le_bytes(rows) as usize;
        let (offsets, bytes) = rest.split_at_checked(rows.checked_mul(8)?)?;
        let mut ends = Vec::with_capacity(rows);
        let mut last = 0;
        for pair in offsets.chunks_exact(8) {
            let (&key_end, value_end) = pair.split_first_chunk::<4>()?;
            let (&value_end, _) = value_end.split_first_chunk::<4>()?;
            let (key_end, value_end) = (u32::from_le_bytes(key_end), u32::from_le_bytes(value_end));
            (last <= key_end && key_end <= value_end).then_some(())?;
            ends.push((key_end, value_end));
            last = value_end;
        }
        (last as usize == bytes.len()).then(|| KvBlock { bytes: bytes.to_vec(), ends })
    }
}

impl std::fmt::Debug for KvBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let escaped = |(k, v): (&[u8], &[u8])| (k.escape_ascii().to_string(), v.escape_ascii().to_string());
        f.debug_map().entries(self.iter().map(escaped)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_and_travel() {
        let mut b = KvBlock::new();
        b.push(b"a", b"1");
        b.push(b"", b"");
        b.push(b"ccc", b"333");
        let again = KvBlock::decode(&b.encode()).expect("well formed");
        let rows: Vec<_> = again.iter().collect();
        assert_eq!(rows, [(&b"a"[..], &b"1"[..]), (b"", b""), (b"ccc", b"333")]);
        b.pop();
        b.pop();
        assert_eq!((b.len(), b.size()), (1, 2));
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut b = KvBlock::new();
        b.push(b"key", b"value");
        let encoded = b.encode();
        for n in 0..encoded.len() {
            assert!(KvBlock::decode(&encoded[..n]).is_err(), "{n} bytes");
        }
    }
}
