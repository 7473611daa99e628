//! The value of a row: columns by id, so that one is found without decoding the others.
//!
//! ```text
//! format | present | nulls | present ids… | null ids… | ends… | data
//! ```
//!
//! `format` is 0 for a value without columns (and then all there is); else `10`, plus `01` if ids and counts take four
//! bytes rather than one, plus `00`, `02` or `04` for ends (offsets into `data`) of one, two or four bytes. Numbers are
//! little-endian, ids ascend. NULL columns are listed only where an absent column would read as something else.
//!
//! All rows that a table's current schema writes have equal bytes up to the ends, as long as the same columns are NULL:
//! [`Layout`] is worked out once for a run of such rows.

use smallvec::SmallVec;

use super::{ValueRef, corrupt, datum_value};
use crate::error::SqlResult;

const FORMAT: u8 = 0x10;
const WIDE_IDS: u8 = 0x01;
const ENDS_2: u8 = 0x02;
const ENDS_4: u8 = 0x04;

/// Encodes the values of one row. Kept and reused, so that no row allocates.
#[derive(Default)]
pub struct ValueBuilder {
    ids: Vec<u32>,
    nulls: Vec<u32>,
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl ValueBuilder {
    pub fn clear(&mut self) {
        self.ids.clear();
        self.nulls.clear();
        self.ends.clear();
        self.data.clear();
    }

    /// Columns are added in ascending order of id.
    pub fn add(&mut self, id: u32, value: ValueRef<'_>) -> SqlResult<()> {
        debug_assert!(self.ids.last().is_none_or(|last| *last < id), "ids ascend");
        datum_value::encode(&mut self.data, value)?;
        self.ids.push(id);
        self.ends.push(self.data.len() as u32);
        Ok(())
    }

    pub fn add_null(&mut self, id: u32) {
        self.nulls.push(id);
    }

    pub fn finish(&self, out: &mut Vec<u8>) {
        if self.ids.is_empty() && self.nulls.is_empty() {
            out.push(0);
            return;
        }
        let largest = self.ids.iter().chain(&self.nulls).copied().max().unwrap_or(0);
        let wide = largest > 0xff || self.ids.len() > 0xff || self.nulls.len() > 0xff;
        let ends = match self.data.len() {
            0..=0xff => 0,
            0x100..=0xffff => ENDS_2,
            _ => ENDS_4,
        };
        out.reserve(8 + 2 * self.ids.len() + self.data.len());
        out.push(FORMAT | ends | if wide { WIDE_IDS } else { 0 });
        let mut id = |n: u32| {
            if wide {
                out.extend_from_slice(&n.to_le_bytes());
            } else {
                out.push(n as u8);
            }
        };
        id(self.ids.len() as u32);
        id(self.nulls.len() as u32);
        self.ids.iter().chain(&self.nulls).for_each(|n| id(*n));
        for end in &self.ends {
            match ends {
                0 => out.push(*end as u8),
                ENDS_2 => out.extend_from_slice(&(*end as u16).to_le_bytes()),
                _ => out.extend_from_slice(&end.to_le_bytes()),
            }
        }
        out.extend_from_slice(&self.data);
    }
}

/// Where a wanted column stands in a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    Present(u32),
    Null,
    Absent,
}

/// The places of the wanted columns in all values that begin with the same header.
#[derive(Default)]
pub struct Layout {
    /// Everything before the ends.
    header: SmallVec<[u8; 32]>,
    present: u32,
    pub slots: SmallVec<[Slot; 16]>,
}

impl Layout {
    /// Makes this the layout of `value` and returns the value's ends and data.
    pub fn read<'a>(&mut self, wanted: &[u32], value: &'a [u8]) -> SqlResult<Body<'a>> {
        if self.header.is_empty() || !value.starts_with(&self.header) {
            self.resolve(wanted, value)?;
        }
        if value[0] == 0 {
            return Ok(Body { ends: &[], width: 1, data: &[] });
        }
        let width: usize = match value[0] & (ENDS_2 | ENDS_4) {
            0 => 1,
            ENDS_2 => 2,
            _ => 4,
        };
        let rest = &value[self.header.len()..];
        let (ends, data) =
            rest.split_at_checked(self.present as usize * width).ok_or_else(|| corrupt("short value"))?;
        Ok(Body { ends, width, data })
    }

    fn resolve(&mut self, wanted: &[u32], value: &[u8]) -> SqlResult<()> {
        self.slots.clear();
        self.header.clear();
        let format = *value.first().ok_or_else(|| corrupt("empty value"))?;
        if format == 0 {
            self.header.push(0);
            self.present = 0;
            self.slots.extend(wanted.iter().map(|_| Slot::Absent));
            return Ok(());
        }
        if format & !0x07 != FORMAT {
            return Err(corrupt("unknown format of a value"));
        }
        let width = if format & WIDE_IDS == 0 { 1 } else { 4 };
        let number = |n: usize| -> SqlResult<u32> {
            let at = 1 + n * width;
            let bytes = value.get(at..at + width).ok_or_else(|| corrupt("short value"))?;
            Ok(if width == 1 {
                bytes[0].into()
            } else {
                u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            })
        };
        let present = number(0)? as usize;
        let nulls = number(1)? as usize;
        let header = 1 + (2 + present + nulls) * width;
        let header = value.get(..header).ok_or_else(|| corrupt("short value"))?;
        let mut ids = SmallVec::<[u32; 16]>::with_capacity(present + nulls);
        for n in 0..present + nulls {
            ids.push(number(2 + n)?);
        }
        self.present = present as u32;
        self.header.extend_from_slice(header);
        for want in wanted {
            self.slots.push(match ids.iter().position(|id| id == want) {
                Some(n) if n < present => Slot::Present(n as u32),
                Some(_) => Slot::Null,
                None => Slot::Absent,
            });
        }
        Ok(())
    }
}

/// The part of a value that differs from row to row.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    ends: &'a [u8],
    width: usize,
    data: &'a [u8],
}

impl<'a> Body<'a> {
    /// The bytes of the `n`th present column.
    pub fn get(&self, n: u32) -> SqlResult<&'a [u8]> {
        let n = n as usize;
        let start = if n == 0 { 0 } else { self.end(n - 1) };
        self.data.get(start..self.end(n)).ok_or_else(|| corrupt("column outside its value"))
    }

    fn end(&self, n: usize) -> usize {
        let at = n * self.width;
        match self.width {
            1 => self.ends[at].into(),
            2 => u16::from_le_bytes([self.ends[at], self.ends[at + 1]]).into(),
            _ => u32::from_le_bytes([self.ends[at], self.ends[at + 1], self.ends[at + 2], self.ends[at + 3]])
                as usize,
        }
    }
}
