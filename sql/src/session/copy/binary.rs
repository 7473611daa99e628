//! COPY's binary format: a signature, rows of sized values, a trailer.
//!
//! What must stay true: a value is taken when it is whole, and read once, however many pieces its row comes in; what is kept of
//! one that is not whole is bounded by [`ROW_TEXT_MAX`].

use super::{ROW_TEXT_MAX, row_too_big};
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
    /// 1-based number of the row, or trailer, that was begun last, for errors; 0 within the header.
    pub line: u64,
    /// Bytes of the values of the row that was given last.
    pub row_bytes: usize,
}

#[derive(Default)]
enum Progress {
    #[default]
    Header,
    /// Between two rows.
    Rows,
    /// Within a row: its values so far, and their bytes.
    Row {
        values: Vec<Datum>,
        bytes: usize,
    },
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
        loop {
            match &mut self.state {
                Progress::Header => {
                    if !self.header()? {
                        return Ok(None);
                    }
                }
                Progress::Ended if self.buffer.len() > self.at => {
                    return Err(bad("received copy data after EOF marker"));
                }
                Progress::Ended => return Ok(None),
                Progress::Rows => {
                    let mut at = self.at;
                    let Some(count) = self.take::<2>(&mut at).map(i16::from_be_bytes) else {
                        return Ok(None);
                    };
                    self.at = at;
                    self.line += 1;
                    if count == -1 {
                        self.state = Progress::Ended;
                    } else if count as usize != columns.len() {
                        return Err(bad(format!("row field count is {count}, expected {}", columns.len())));
                    } else {
                        self.state = Progress::Row { values: Vec::with_capacity(columns.len()), bytes: 0 };
                    }
                }
                Progress::Row { values, bytes } => {
                    let (mut taken, mut size) = (std::mem::take(values), *bytes);
                    while let Some(field) = columns.get(taken.len()) {
                        let in_column = |e: SqlError| e.with_context(format!("column {}", field.name));
                        let Some(value) = self.value(&mut size).map_err(in_column)? else {
                            self.state = Progress::Row { values: taken, bytes: size };
                            return Ok(None);
                        };
                        taken.push(match value {
                            Some(at) => binary::receive(field.ty, &self.buffer[at]).map_err(in_column)?,
                            None => Datum::Null,
                        });
                    }
                    self.state = Progress::Rows;
                    self.row_bytes = size;
                    return Ok(Some(taken));
                }
            }
        }
    }

    /// Where the next value stands, which is thereby consumed; the inner `None` for NULL, the outer while it is not whole. `row`
    /// counts the row's bytes.
    fn value(&mut self, row: &mut usize) -> SqlResult<Option<Option<std::ops::Range<usize>>>> {
        let mut at = self.at;
        let Some(length) = self.take::<4>(&mut at).map(i32::from_be_bytes) else { return Ok(None) };
        if length == -1 {
            self.at = at;
            return Ok(Some(None));
        }
        let length = usize::try_from(length).map_err(|_| bad("invalid field size"))?;
        if *row + length > ROW_TEXT_MAX {
            return Err(row_too_big(*row + length));
        }
        let end = at + length;
        if self.buffer.len() < end {
            return Ok(None);
        }
        *row += length;
        self.at = end;
        Ok(Some(Some(at..end)))
    }

    pub fn finish(&self, columns: &Schema) -> SqlResult<()> {
        match &self.state {
            Progress::Header => Err(bad("COPY file signature not recognized")),
            Progress::Row { values, .. } => {
                let e = bad("unexpected EOF in COPY data");
                Err(match columns.get(values.len()) {
                    Some(field) => e.with_context(format!("column {}", field.name)),
                    None => e,
                })
            }
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
        if extension > ROW_TEXT_MAX {
            return Err(bad("invalid COPY file header (wrong length)"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Field;
    use crate::types::{Oid, SqlType};

    fn columns() -> Schema {
        Schema::new(
            ["a", "b", "c"]
                .map(|name| Field { name: name.into(), ty: SqlType::new(Oid::TEXT), origin: None })
                .into(),
        )
    }

    fn sized(out: &mut Vec<u8>, value: &[u8]) {
        out.extend_from_slice(&(value.len() as i32).to_be_bytes());
        out.extend_from_slice(value);
    }

    #[test]
    fn rows_survive_any_cut() {
        let mut data = HEADER.to_vec();
        for n in 0..2 {
            data.extend_from_slice(&3i16.to_be_bytes());
            sized(&mut data, format!("row {n}").as_bytes());
            data.extend_from_slice(&(-1i32).to_be_bytes());
            sized(&mut data, b"");
        }
        data.extend_from_slice(TRAILER);
        let row = |n| vec![Datum::Text(format!("row {n}").into()), Datum::Null, Datum::Text("".into())];
        for n in 1..data.len() {
            let (mut reader, mut rows) = (Reader::default(), Vec::new());
            for piece in data.chunks(n) {
                reader.push(piece);
                while let Some(row) = reader.next_row(&columns()).expect("well formed") {
                    rows.push(row);
                }
            }
            reader.finish(&columns()).expect("it has ended");
            assert_eq!(rows, [row(0), row(1)], "pieces of {n}");
        }
    }

    /// What has been read of a row is not kept as bytes, and not read again.
    #[test]
    fn values_are_consumed_one_by_one() {
        let mut reader = Reader::default();
        reader.push(HEADER);
        let mut data = 3i16.to_be_bytes().to_vec();
        sized(&mut data, b"one");
        data.extend_from_slice(b"\0");
        reader.push(&data);
        assert_eq!(reader.next_row(&columns()).expect("well formed"), None);
        assert_eq!(reader.buffer.len() - reader.at, 1);
    }

    #[test]
    fn a_value_that_is_too_long_is_refused_by_its_length() {
        let mut reader = Reader::default();
        reader.push(HEADER);
        reader.push(&3i16.to_be_bytes());
        reader.push(&(ROW_TEXT_MAX as i32 + 1).to_be_bytes());
        assert_eq!(reader.next_row(&columns()).expect_err("too long").code(), "54000");
    }
}
