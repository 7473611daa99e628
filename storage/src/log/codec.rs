//! The form of the disk log's records.
//!
//! A record is one batch: `checksum u32, length u32, number u64, synced u64, operations`, little-endian, padded with
//! zeros to a multiple of 8. The checksum (CRC-32C) covers everything behind it but the padding.
//!
//! - `number` counts the records of the whole log, so that a stale record of a recycled file is never taken for a new one.
//! - `synced` is the last number that was known to be durable when the record was written. It tells a torn tail from
//!   damage: what a later record calls synced cannot have been torn.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{HardState, LogBatch, LogEntry, LogOp};
use crate::base::RangeId;

pub(super) const HEADER_LEN: usize = 24;
pub(super) const ALIGN: usize = 8;
const ENTRY_HEADER_LEN: usize = 8 + 8 + 1 + 4 + 4;
/// Beyond all numbers that count anything here (entries, records, segments). What says otherwise makes no sense, and the
/// number after any number below it is a number.
pub(super) const BEYOND: u64 = 1 << 62;

const APPEND: u8 = 1;
const HARD_STATE: u8 = 2;
const TRUNCATE: u8 = 3;
const RESET: u8 = 4;
const DESTROY: u8 = 5;
const IMAGE: u8 = 6;
const END: u8 = 7;

/// Where an entry stands within its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryPlace {
    pub index: u64,
    pub term: u64,
    pub offset: u32,
}

pub(super) type Places = SmallVec<[EntryPlace; 1]>;

/// What an operation means for the index.
#[derive(Debug)]
pub(super) enum IndexOp {
    Append(Places),
    HardState(HardState),
    Truncate {
        first: u64,
        prev_term: u64,
    },
    Reset {
        index: u64,
        term: u64,
    },
    Destroy,
    /// All of a range's log, written again so that older segments can go.
    Image {
        hard_state: HardState,
        truncated: (u64, u64),
        entries: Places,
    },
}

/// All of a range's log.
pub(super) struct Image {
    pub hard_state: HardState,
    pub truncated: (u64, u64),
    pub entries: Vec<LogEntry>,
}

/// Builds one record in a buffer that is used again and again.
#[derive(Default)]
pub(super) struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// Begins a record. What [`Encoder::finish`] fills in is left open.
    pub fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.resize(HEADER_LEN, 0);
    }

    pub fn batch(&mut self, batch: &LogBatch, ops: &mut Vec<(RangeId, IndexOp)>) {
        for (range, op) in &batch.ops {
            let index_op = match op {
                LogOp::Append(entries) => {
                    self.op(APPEND, *range);
                    IndexOp::Append(self.entries(entries))
                }
                LogOp::SetHardState(hard_state) => {
                    self.op(HARD_STATE, *range);
                    self.hard_state(hard_state);
                    IndexOp::HardState(*hard_state)
                }
                LogOp::Truncate { first, prev_term } => {
                    self.op(TRUNCATE, *range);
                    self.numbers(&[*first, *prev_term]);
                    IndexOp::Truncate { first: *first, prev_term: *prev_term }
                }
                LogOp::Reset { index, term } => {
                    self.op(RESET, *range);
                    self.numbers(&[*index, *term]);
                    IndexOp::Reset { index: *index, term: *term }
                }
                LogOp::Destroy => {
                    self.op(DESTROY, *range);
                    IndexOp::Destroy
                }
            };
            ops.push((*range, index_op));
        }
    }

    pub fn image(&mut self, range: RangeId, image: &Image) -> IndexOp {
        self.op(IMAGE, range);
        self.hard_state(&image.hard_state);
        self.numbers(&[image.truncated.0, image.truncated.1]);
        let entries = self.entries(&image.entries);
        IndexOp::Image { hard_state: image.hard_state, truncated: image.truncated, entries }
    }

    /// Says that the segment is complete.
    pub fn end(&mut self) {
        self.op(END, RangeId(0));
    }

    /// Bytes of the finished record, padding included.
    pub fn len(&self) -> usize {
        self.buffer.len().next_multiple_of(ALIGN)
    }

    /// The record, padded, and its length without the padding.
    pub fn finish(&mut self, number: u64, synced: u64) -> (&[u8], u32) {
        let length = u32::try_from(self.buffer.len()).expect("a batch is far smaller than 4 GiB");
        self.buffer[4..8].copy_from_slice(&length.to_le_bytes());
        self.buffer[8..16].copy_from_slice(&number.to_le_bytes());
        self.buffer[16..24].copy_from_slice(&synced.to_le_bytes());
        let checksum = crc32c::crc32c(&self.buffer[4..]);
        self.buffer[0..4].copy_from_slice(&checksum.to_le_bytes());
        self.buffer.resize(self.len(), 0);
        (&self.buffer, length)
    }

    /// Gives back the room of an unusually large record.
    pub fn trim(&mut self) {
        const KEPT: usize = 1 << 20;
        if self.buffer.capacity() > 4 * KEPT {
            self.buffer = Vec::with_capacity(KEPT);
        }
    }

    fn op(&mut self, kind: u8, range: RangeId) {
        self.buffer.push(kind);
        self.numbers(&[range.0]);
    }

    fn numbers(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|n| self.buffer.extend_from_slice(&n.to_le_bytes()));
    }

    fn hard_state(&mut self, h: &HardState) {
        self.numbers(&[h.term, h.vote, h.commit]);
    }

    fn entries(&mut self, entries: &[LogEntry]) -> Places {
        let mut places = Places::with_capacity(entries.len());
        self.buffer.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        for e in entries {
            places.push(EntryPlace { index: e.index, term: e.term, offset: self.buffer.len() as u32 });
            self.numbers(&[e.index, e.term]);
            self.buffer.push(e.kind);
            self.buffer.extend_from_slice(&(e.data.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&(e.context.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&e.data);
            self.buffer.extend_from_slice(&e.context);
        }
        places
    }
}

/// A record whose checksum is right.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub number: u64,
    /// The last number that was durable when it was written.
    pub synced: u64,
    /// Header included, padding not.
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that begins at the start of `bytes`, if it is whole and sound.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (number, synced, length) = peek(bytes)?;
        let bytes = bytes.get(..length)?;
        let (checksum, covered) = bytes.split_first_chunk::<4>()?;
        let sound = u32::from_le_bytes(*checksum) == crc32c::crc32c(covered);
        sound.then_some(Record { number, synced, bytes })
    }

    pub fn padded_len(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGN)
    }

    pub fn unpadded_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_end(&self) -> bool {
        self.bytes.get(HEADER_LEN) == Some(&END)
    }

    /// `None` if the operations make no sense although the checksum is right.
    pub fn ops(&self) -> Option<Vec<(RangeId, IndexOp)>> {
        let mut cursor = Cursor { bytes: self.bytes, at: HEADER_LEN };
        let mut ops = Vec::new();
        while cursor.at < self.bytes.len() {
            ops.push(cursor.op()?);
        }
        Some(ops)
    }

    /// The entry at `offset`.
    pub fn entry(&self, offset: u32) -> Option<LogEntry> {
        Cursor { bytes: self.bytes, at: offset as usize }.entry()
    }
}

/// Number, synced number and length of what may be a record; cheap, and no proof.
pub(super) fn peek(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    let mut cursor = Cursor { bytes, at: 4 };
    let length = cursor.u32()? as usize;
    let (number, synced) = (cursor.u64()?, cursor.u64()?);
    (length > HEADER_LEN && length <= bytes.len()).then_some((number, synced, length))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn index(&mut self) -> Option<u64> {
        self.u64().filter(|index| *index < BEYOND)
    }

    fn op(&mut self) -> Option<(RangeId, IndexOp)> {
        let kind = self.u8()?;
        let range = RangeId(self.u64()?);
        let op = match kind {
            APPEND => IndexOp::Append(self.places()?),
            HARD_STATE => IndexOp::HardState(self.hard_state()?),
            TRUNCATE => IndexOp::Truncate { first: self.index()?, prev_term: self.u64()? },
            RESET => IndexOp::Reset { index: self.index()?, term: self.u64()? },
            DESTROY => IndexOp::Destroy,
            IMAGE => IndexOp::Image {
                hard_state: self.hard_state()?,
                truncated: (self.index()?, self.u64()?),
                entries: self.places()?,
            },
            _ => return None,
        };
        Some((range, op))
    }

    fn hard_state(&mut self) -> Option<HardState> {
        Some(HardState { term: self.u64()?, vote: self.u64()?, commit: self.u64()? })
    }

    /// Entries whose indexes follow one another, from 1 on at least.
    fn places(&mut self) -> Option<Places> {
        let count = self.u32()?;
        let mut places = Places::new();
        for _ in 0..count {
            let offset = self.at as u32;
            let (index, term) = (self.index()?, self.u64()?);
            let follows = places.last().map_or(index > 0, |before: &EntryPlace| index == before.index + 1);
            follows.then_some(())?;
            self.at += 1;
            let (data, context) = (self.u32()? as usize, self.u32()? as usize);
            self.at = self.at.checked_add(data)?.checked_add(context)?;
            (self.at <= self.bytes.len()).then_some(())?;
            places.push(EntryPlace { index, term, offset });
        }
        Some(places)
    }

    fn entry(&mut self) -> Option<LogEntry> {
        let (index, term, kind) = (self.u64()?, self.u64()?, self.u8()?);
        let (data, context) = (self.u32()? as usize, self.u32()? as usize);
        let data_end = self.at.checked_add(data)?;
        let both = Bytes::copy_from_slice(self.bytes.get(self.at..data_end.checked_add(context)?)?);
        Some(LogEntry { index, term, kind, data: both.slice(..data), context: both.slice(data..) })
    }
}

/// What an entry occupies in a record.
pub(super) fn encoded_len(entry: &LogEntry) -> usize {
    ENTRY_HEADER_LEN + entry.data.len() + entry.context.len()
}
