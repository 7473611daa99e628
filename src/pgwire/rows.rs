//! DataRow messages straight from column batches.
//!
//! The hot path of every query: fixed-width values are written without an intermediate string, text is copied once.

use bytes::{BufMut, BytesMut};
use meridian_sql::error::SqlResult;
use meridian_sql::plan::Field;
use meridian_sql::session::{Format, column_format};
use meridian_sql::types::text::{TextContext, write_row};
use meridian_sql::types::{Batch, Column, ColumnData, binary};

/// Reused between values.
#[derive(Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    text: String,
    itoa: itoa::Buffer,
}

pub fn encode(
    out: &mut BytesMut,
    scratch: &mut Scratch,
    batch: &Batch,
    fields: &[Field],
    formats: &[Format],
    text: &TextContext<'_>,
) -> SqlResult<()> {
    let whole = out.len();
    for row in 0..batch.rows {
        let at = super::backend::begin(out, b'D');
        out.put_u16(batch.columns.len() as u16);
        for (i, column) in batch.columns.iter().enumerate() {
            let done = value(out, scratch, column, row, &fields[i], column_format(formats, i), text);
            if let Err(e) = done {
                // Half a message must not go out.
                out.truncate(whole);
                return Err(e);
            }
        }
        super::backend::end(out, at);
    }
    Ok(())
}

fn value(
    out: &mut BytesMut,
    scratch: &mut Scratch,
    column: &Column,
    row: usize,
    field: &Field,
    format: Format,
    text: &TextContext<'_>,
) -> SqlResult<()> {
    if column.is_null(row) {
        out.put_i32(-1);
        return Ok(());
    }
    match (format, &column.data) {
        (_, ColumnData::Text(v)) => sized(out, v.get(row)),
        (Format::Binary, ColumnData::Bytes(v)) => sized(out, v.get(row)),
        (Format::Text, ColumnData::Int2(v)) => sized(out, scratch.itoa.format(v[row]).as_bytes()),
        (Format::Text, ColumnData::Int4(v)) => sized(out, scratch.itoa.format(v[row]).as_bytes()),
        (Format::Text, ColumnData::Int8(v)) => sized(out, scratch.itoa.format(v[row]).as_bytes()),
        (Format::Text, ColumnData::Bool(v)) => sized(out, if v[row] { b"t" } else { b"f" }),
        (Format::Binary, ColumnData::Int2(v)) => sized(out, &v[row].to_be_bytes()),
        (Format::Binary, ColumnData::Int4(v)) => sized(out, &v[row].to_be_bytes()),
        (Format::Binary, ColumnData::Int8(v)) => sized(out, &v[row].to_be_bytes()),
        (Format::Binary, ColumnData::Bool(v)) => sized(out, &[v[row].into()]),
        (Format::Binary, ColumnData::Float8(v)) => sized(out, &v[row].to_be_bytes()),
        (Format::Binary, ColumnData::Timestamp(v)) => sized(out, &v[row].to_be_bytes()),
        (Format::Binary, ColumnData::Date(v)) => sized(out, &v[row].to_be_bytes()),
        (Format::Text, _) => {
            scratch.text.clear();
            write_row(field.ty.oid, column, row, text, &mut scratch.text);
            sized(out, scratch.text.as_bytes());
        }
        (Format::Binary, _) => {
            scratch.bytes.clear();
            binary::send(field.ty.oid, &column.datum(row), &mut scratch.bytes)?;
            sized(out, &scratch.bytes);
        }
    }
    Ok(())
}

fn sized(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}
