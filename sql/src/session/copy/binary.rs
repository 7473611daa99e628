//! COPY's binary format: a signature, rows of sized values, a trailer.

use crate::error::{SqlError, SqlResult, state};
use crate::plan::Schema;
use crate::types::{Batch, Datum, binary};

/// Signature, flags, length of the header's extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub const TRAILER: &[u8] = &[0xff, 0xff];
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Takes pieces of data, gives rows.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
    at: usize,
    state: Progress,
}

#[derive(Default, PartialEq)]
enum Progress {
    #[default]
    Header,
    Rows,
    Ended,
}

impl Reader {
    pub fn push(&mut self, data: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(data);
    }

    /// The next row; `None` when there is none (yet).
    pub fn next_row(&mut self, columns: &Schema) -> SqlResult<Option<Vec<Datum>>> {
        if self.state == Progress::Header && !self.header()? {
            return Ok(None);
        }
        if self.state == Progress::Ended {
            return match self.buffer.len() > self.at {
                true => Err(bad("received copy data after EOF marker")),
                false => Ok(None),
            };
        }
        let mut at = self.at;
        let Some(count) = self.take::<2>(&mut at).map(i16::from_be_bytes) else { return Ok(None) };
        if count == -1 {
            (self.state, self.at) = (Progress::Ended, at);
            return Ok(None);
        }
        if count as usize != columns.len() {
            return Err(bad(format!("row field count is {count}, expected {}", columns.len())));
        }
        let mut row = Vec::with_capacity(columns.len());
        for field in columns.iter() {
            let Some(length) = self.take::<4>(&mut at).map(i32::from_be_bytes) else { return Ok(None) };
            if length == -1 {
                row.push(Datum::Null);
                continue;
            }
            let length = usize::try_from(length).map_err(|_| bad("invalid field size"))?;
            let Some(bytes) = self.buffer.get(at..at + length) else { return Ok(None) };
            row.push(binary::receive(field.ty, bytes)?);
            at += length;
        }
        self.at = at;
        Ok(Some(row))
    }

    pub fn finish(&self) -> SqlResult<()> {
        match self.state {
            Progress::Header => Err(bad("COPY file signature not recognized")),
            _ if self.at < self.buffer.len() => Err(bad("unexpected EOF in COPY data")),
            _ => Ok(()),
        }
    }

    fn header(&mut self) -> SqlResult<bool> {
        let mut at = self.at + SIGNATURE.len();
        let Some(signature) = self.buffer.get(self.at..at) else { return Ok(false) };
        if signature != SIGNATURE {
            return Err(bad("COPY file signature not recognized"));
        }
        let (Some(flags), Some(extension)) = (self.take::<4>(&mut at), self.take::<4>(&mut at)) else {
            return Ok(false);
        };
        if u32::from_be_bytes(flags) >> 16 != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        let extension = u32::from_be_bytes(extension) as usize;
        if self.buffer.len() < at + extension {
            return Ok(false);
        }
        (self.state, self.at) = (Progress::Rows, at + extension);
        Ok(true)
    }

    fn take<const N: usize>(&self, at: &mut usize) -> Option<[u8; N]> {
        let bytes = self.buffer.get(*at..*at + N)?.try_into().ok()?;
        *at += N;
        Some(bytes)
    }
}

pub fn write_row(out: &mut Vec<u8>, batch: &Batch, row: usize, fields: &Schema) -> SqlResult<()> {
    out.extend_from_slice(&(fields.len() as i16).to_be_bytes());
    for (column, field) in batch.columns.iter().zip(fields.iter()) {
        let value = column.datum(row);
        if value.is_null() {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        }
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        binary::send(field.ty.oid, &value, out)?;
        let length = (out.len() - at - 4) as i32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(state::BAD_COPY_FILE_FORMAT, message)
}
