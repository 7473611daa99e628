//! Encodes what the server sends, into one growing buffer per connection.

use bytes::{BufMut, BytesMut};
use meridian_sql::error::{ErrorFields, SqlError};
use meridian_sql::plan::Field;
use meridian_sql::session::{Format, Severity, TransactionStatus, column_format, type_len};
use meridian_sql::types::Oid;

/// Begins a message; [`end`] fills in its length.
pub fn begin(out: &mut BytesMut, kind: u8) -> usize {
    out.put_u8(kind);
    out.put_i32(0);
    out.len() - 4
}

pub fn end(out: &mut BytesMut, at: usize) {
    let length = (out.len() - at) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// A message without a body.
pub fn bare(out: &mut BytesMut, kind: u8) {
    out.put_slice(&[kind, 0, 0, 0, 4]);
}

pub fn cstring(out: &mut BytesMut, s: &str) {
    // A NUL inside would end the string early and break the framing of what follows.
    out.extend(s.bytes().filter(|b| *b != 0));
    out.put_u8(0);
}

pub fn parse_complete(out: &mut BytesMut) {
    bare(out, b'1');
}

pub fn bind_complete(out: &mut BytesMut) {
    bare(out, b'2');
}

pub fn close_complete(out: &mut BytesMut) {
    bare(out, b'3');
}

pub fn no_data(out: &mut BytesMut) {
    bare(out, b'n');
}

pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    out.put_slice(&[b'Z', 0, 0, 0, 5]);
    out.put_u8(match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InBlock => b'T',
        TransactionStatus::Failed => b'E',
    });
}

pub fn command_complete(out: &mut BytesMut, tag: &str) {
    let at = begin(out, b'C');
    cstring(out, tag);
    end(out, at);
}

pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    let at = begin(out, b'S');
    cstring(out, name);
    cstring(out, value);
    end(out, at);
}

pub fn parameter_description(out: &mut BytesMut, types: &[Oid]) {
    let at = begin(out, b't');
    out.put_u16(types.len() as u16);
    for t in types {
        out.put_u32(t.0);
    }
    end(out, at);
}

pub fn row_description(out: &mut BytesMut, fields: &[Field], formats: &[Format]) {
    let at = begin(out, b'T');
    out.put_u16(fields.len() as u16);
    for (i, f) in fields.iter().enumerate() {
        cstring(out, &f.name);
        let (table, column) = f.origin.unwrap_or((0, 0));
        out.put_u32(table);
        out.put_i16(column);
        // The type of an untyped literal is text to the outside.
        let oid = if f.ty.oid == Oid::UNKNOWN { Oid::TEXT } else { f.ty.oid };
        out.put_u32(oid.0);
        out.put_i16(type_len(oid));
        out.put_i32(f.ty.typmod);
        out.put_i16(column_format(formats, i) as i16);
    }
    end(out, at);
}

pub fn copy_response(out: &mut BytesMut, kind: u8, format: Format, columns: usize) {
    let at = begin(out, kind);
    out.put_u8(format as u8);
    out.put_u16(columns as u16);
    for _ in 0..columns {
        out.put_u16(format as u16);
    }
    end(out, at);
}

pub fn error(out: &mut BytesMut, e: &SqlError) {
    severity_message(out, b'E', "ERROR", e.fields());
}

/// An error after which the connection is closed.
pub fn fatal(out: &mut BytesMut, e: &SqlError) {
    severity_message(out, b'E', "FATAL", e.fields());
}

pub fn notice(out: &mut BytesMut, severity: Severity, e: &SqlError) {
    let severity = match severity {
        Severity::Notice => "NOTICE",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    severity_message(out, b'N', severity, e.fields());
}

fn severity_message(out: &mut BytesMut, kind: u8, severity: &str, e: &ErrorFields) {
    let at = begin(out, kind);
    let mut field = |code: u8, value: &str| {
        out.put_u8(code);
        cstring(out, value);
    };
    field(b'S', severity);
    field(b'V', severity);
    field(b'C', e.code);
    field(b'M', &e.message);
    let position = e.position.map(|p| p.to_string());
    let optional = [
        (b'D', &e.detail),
        (b'H', &e.hint),
        (b'P', &position),
        (b'W', &e.context),
        (b's', &e.schema),
        (b't', &e.table),
        (b'c', &e.column),
        (b'd', &e.data_type),
        (b'n', &e.constraint),
    ];
    for (code, value) in optional {
        if let Some(value) = value {
            field(code, value);
        }
    }
    out.put_u8(0);
    end(out, at);
}
