//! Rows of a scan in one buffer: no allocation per row, and the same bytes in memory and on the wire.

use std::fmt;

use bytes::Bytes;

use super::wire::{Input, Malformed, Wire};

/// Rows in scan order, back to back: key, value, key, value, …
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KvBlock {
    data: Bytes,
    /// For each row, where its key ends and where its value ends. Never decreasing, never beyond `data`.
    ends: Vec<(u32, u32)>,
}

impl KvBlock {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    fn start(&self, row: usize) -> usize {
        if row == 0 { 0 } else { self.ends[row - 1].1 as usize }
    }

    pub fn key(&self, row: usize) -> &[u8] {
        &self.data[self.start(row)..self.ends[row].0 as usize]
    }

    pub fn value(&self, row: usize) -> &[u8] {
        &self.data[self.ends[row].0 as usize..self.ends[row].1 as usize]
    }

    /// As [`value`](Self::value), keeping the whole block alive.
    pub fn value_bytes(&self, row: usize) -> Bytes {
        self.data.slice(self.ends[row].0 as usize..self.ends[row].1 as usize)
    }

    /// As [`key`](Self::key), keeping the whole block alive.
    pub fn key_bytes(&self, row: usize) -> Bytes {
        self.data.slice(self.start(row)..self.ends[row].0 as usize)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + '_ {
        (0..self.len()).map(|row| (self.key(row), self.value(row)))
    }
}

impl From<meridian_storage::mvcc::KvBlock> for KvBlock {
    /// Without copying.
    fn from(block: meridian_storage::mvcc::KvBlock) -> Self {
        let (data, ends) = block.into_parts();
        KvBlock { data: data.into(), ends }
    }
}

impl fmt::Debug for KvBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(k, v)| (k.escape_ascii().to_string(), v.escape_ascii().to_string())))
            .finish()
    }
}

#[derive(Default)]
pub struct KvBlockBuilder {
    data: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

/// The most bytes in one block: offsets are 32 bits, and messages have to end.
pub const MAX_BLOCK_BYTES: usize = 1 << 30;

impl KvBlockBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// The caller stops well before [`MAX_BLOCK_BYTES`].
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.data.extend_from_slice(key);
        let key_end = self.data.len();
        self.data.extend_from_slice(value);
        assert!(self.data.len() <= MAX_BLOCK_BYTES, "a scan ends at its byte limit");
        self.ends.push((key_end as u32, self.data.len() as u32));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn build(self) -> KvBlock {
        KvBlock { data: self.data.into(), ends: self.ends }
    }
}

impl Wire for KvBlock {
    fn put(&self, out: &mut Vec<u8>) {
        self.data.put(out);
        self.ends.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, Malformed> {
        let block = KvBlock { data: Wire::take(input)?, ends: Wire::take(input)? };
        let mut at = 0;
        for &(key_end, value_end) in &block.ends {
            if key_end < at || value_end < key_end {
                return Err(Malformed);
            }
            at = value_end;
        }
        if at as usize == block.data.len() { Ok(block) } else { Err(Malformed) }
    }
}
