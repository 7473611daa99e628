//! The encoding of one value inside a row's value. Compact, not ordered; its length is known from outside.
//!
//! | type | bytes |
//! | --- | --- |
//! | bool | 1 |
//! | int2/4/8, date, time, timestamp | little-endian two's complement in 0 (zero), 1, 2, 4 or 8 bytes |
//! | oid, float4 / float8 | 4 / 8, little-endian |
//! | text, bytea | the bytes |
//! | uuid | 16 |
//! | numeric | sign and scale (2), weight (2), base-10000 digits (2 each) |
//! | interval | months (4), days (4), microseconds (8) |
//! | array | element type (4), dimensions (1), (length, lower bound) each, then per element: length + 1 as varint (0 = NULL), bytes |
//!
//! Integers of all widths share one encoding, so that widening a column's type rewrites nothing.

use std::sync::Arc;

use super::{ValueRef, corrupt};
use crate::error::{SqlError, SqlResult};
use crate::types::datum::Array;
use crate::types::numeric::{Numeric, Sign};
use crate::types::{Column, ColumnData, Datum, Interval, Oid};

/// Appends a value, which is not NULL.
pub fn encode(out: &mut Vec<u8>, value: ValueRef<'_>) -> SqlResult<()> {
    match value {
        ValueRef::Bool(v) => out.push(v.into()),
        ValueRef::Int2(v) => encode_int(out, v.into()),
        ValueRef::Int4(v) | ValueRef::Date(v) => encode_int(out, v.into()),
        ValueRef::Int8(v) | ValueRef::Time(v) | ValueRef::Timestamp(v) => encode_int(out, v),
        ValueRef::Oid(v) => out.extend_from_slice(&v.to_le_bytes()),
        ValueRef::Float4(v) => out.extend_from_slice(&v.to_le_bytes()),
        ValueRef::Float8(v) => out.extend_from_slice(&v.to_le_bytes()),
        ValueRef::Text(v) | ValueRef::Bytes(v) => out.extend_from_slice(v),
        ValueRef::Other(Datum::Uuid(v)) => out.extend_from_slice(v),
        ValueRef::Other(Datum::Numeric(n)) => encode_numeric(out, n),
        ValueRef::Other(Datum::Interval(i)) => {
            out.extend_from_slice(&i.months.to_le_bytes());
            out.extend_from_slice(&i.days.to_le_bytes());
            out.extend_from_slice(&i.micros.to_le_bytes());
        }
        ValueRef::Other(Datum::Array(a)) => encode_array(out, a)?,
        other => return Err(SqlError::unsupported(format!("storing the value {other:?}"))),
    }
    Ok(())
}

fn encode_int(out: &mut Vec<u8>, v: i64) {
    if v == 0 {
    } else if let Ok(v) = i8::try_from(v) {
        out.push(v as u8);
    } else if let Ok(v) = i16::try_from(v) {
        out.extend_from_slice(&v.to_le_bytes());
    } else if let Ok(v) = i32::try_from(v) {
        out.extend_from_slice(&v.to_le_bytes());
    } else {
        out.extend_from_slice(&v.to_le_bytes());
    }
}

fn decode_int(bytes: &[u8]) -> SqlResult<i64> {
    Ok(match *bytes {
        [] => 0,
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(corrupt("integer of odd length")),
    })
}

fn narrow<T: TryFrom<i64>>(v: i64) -> SqlResult<T> {
    T::try_from(v).map_err(|_| corrupt("integer out of its type's range"))
}

fn fixed<const N: usize>(bytes: &[u8]) -> SqlResult<[u8; N]> {
    bytes.try_into().map_err(|_| corrupt("value of wrong length"))
}

/// The value of type `ty` in `bytes`.
pub fn decode(ty: Oid, bytes: &[u8]) -> SqlResult<Datum> {
    Ok(match ty {
        Oid::BOOL => Datum::Bool(fixed::<1>(bytes)?[0] != 0),
        Oid::INT2 => Datum::Int2(narrow(decode_int(bytes)?)?),
        Oid::INT4 => Datum::Int4(narrow(decode_int(bytes)?)?),
        Oid::INT8 => Datum::Int8(decode_int(bytes)?),
        Oid::DATE => Datum::Date(narrow(decode_int(bytes)?)?),
        Oid::TIME => Datum::Time(decode_int(bytes)?),
        Oid::TIMESTAMP | Oid::TIMESTAMPTZ => Datum::Timestamp(decode_int(bytes)?),
        Oid::FLOAT4 => Datum::Float4(f32::from_le_bytes(fixed(bytes)?)),
        Oid::FLOAT8 => Datum::Float8(f64::from_le_bytes(fixed(bytes)?)),
        Oid::OID | Oid::REGCLASS | Oid::REGTYPE | Oid::REGPROC | Oid::REGNAMESPACE | Oid::REGROLE => {
            Datum::Oid(u32::from_le_bytes(fixed(bytes)?))
        }
        Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME | Oid::CHAR | Oid::JSON | Oid::JSONB => {
            Datum::text(std::str::from_utf8(bytes).map_err(|_| corrupt("text is not UTF-8"))?)
        }
        Oid::BYTEA => Datum::Bytes(bytes.into()),
        Oid::UUID => Datum::Uuid(fixed(bytes)?),
        Oid::NUMERIC => Datum::Numeric(Box::new(decode_numeric(bytes)?)),
        Oid::INTERVAL => {
            let all: [u8; 16] = fixed(bytes)?;
            Datum::Interval(Interval {
                months: i32::from_le_bytes(fixed(&all[..4])?),
                days: i32::from_le_bytes(fixed(&all[4..8])?),
                micros: i64::from_le_bytes(fixed(&all[8..])?),
            })
        }
        _ => Datum::Array(Arc::new(decode_array(bytes)?)),
    })
}

/// As [`decode`], appending to a column in the representation of `ty`.
pub fn decode_into(ty: Oid, bytes: &[u8], column: &mut Column) -> SqlResult<()> {
    match &mut column.data {
        ColumnData::Int4(v) => v.push(narrow(decode_int(bytes)?)?),
        ColumnData::Date(v) => v.push(narrow(decode_int(bytes)?)?),
        ColumnData::Int8(v) | ColumnData::Timestamp(v) => v.push(decode_int(bytes)?),
        ColumnData::Int2(v) => v.push(narrow(decode_int(bytes)?)?),
        ColumnData::Float8(v) => v.push(f64::from_le_bytes(fixed(bytes)?)),
        ColumnData::Float4(v) => v.push(f32::from_le_bytes(fixed(bytes)?)),
        ColumnData::Bool(v) => v.push(fixed::<1>(bytes)?[0] != 0),
        ColumnData::Text(v) | ColumnData::Bytes(v) => v.push(bytes),
        ColumnData::Datum(v) => v.push(decode(ty, bytes)?),
    }
    if let Some(bits) = &mut column.validity {
        bits.push(true);
    }
    Ok(())
}

fn encode_numeric(out: &mut Vec<u8>, n: &Numeric) {
    let (sign, weight) = match n.sign {
        Sign::Positive => (0u16, n.weight),
        Sign::Negative => (1, n.weight),
        Sign::NaN => (2, 0),
        Sign::Infinity => (2, 1),
        Sign::NegativeInfinity => (2, -1),
    };
    debug_assert!(n.scale < 1 << 14, "PostgreSQL's largest display scale is 16383");
    out.extend_from_slice(&(sign << 14 | n.scale & 0x3fff).to_le_bytes());
    out.extend_from_slice(&weight.to_le_bytes());
    for digit in &n.digits {
        out.extend_from_slice(&digit.to_le_bytes());
    }
}

fn decode_numeric(bytes: &[u8]) -> SqlResult<Numeric> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| corrupt("short numeric"))?;
    let flags = u16::from_le_bytes([head[0], head[1]]);
    let weight = i16::from_le_bytes([head[2], head[3]]);
    let (sign, weight) = match (flags >> 14, weight) {
        (0, w) => (Sign::Positive, w),
        (1, w) => (Sign::Negative, w),
        (2, 0) => (Sign::NaN, 0),
        (2, 1) => (Sign::Infinity, 0),
        (2, -1) => (Sign::NegativeInfinity, 0),
        _ => return Err(corrupt("unknown sign of a numeric")),
    };
    let (digits, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(corrupt("numeric of odd length"));
    }
    let digits = digits.iter().map(|d| i16::from_le_bytes(*d)).collect();
    Ok(Numeric { sign, weight, scale: flags & 0x3fff, digits })
}

fn encode_array(out: &mut Vec<u8>, a: &Array) -> SqlResult<()> {
    out.extend_from_slice(&a.element.0.to_le_bytes());
    out.push(a.dims.len() as u8);
    for (length, lower) in &a.dims {
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&lower.to_le_bytes());
    }
    let mut one = Vec::new();
    for element in &a.elements {
        if element.is_null() {
            out.push(0);
            continue;
        }
        one.clear();
        encode(&mut one, ValueRef::from(element))?;
        put_varint(out, one.len() as u64 + 1);
        out.extend_from_slice(&one);
    }
    Ok(())
}

fn decode_array(mut bytes: &[u8]) -> SqlResult<Array> {
    let input = &mut bytes;
    let element = Oid(u32::from_le_bytes(split(input, 4).and_then(fixed)?));
    let count = split(input, 1)?[0];
    let mut dims = Vec::with_capacity(count.into());
    for _ in 0..count {
        let length = i32::from_le_bytes(split(input, 4).and_then(fixed)?);
        let lower = i32::from_le_bytes(split(input, 4).and_then(fixed)?);
        dims.push((length, lower));
    }
    let mut elements = Vec::new();
    while !input.is_empty() {
        elements.push(match take_varint(input)? {
            0 => Datum::Null,
            n => decode(element, split(input, n as usize - 1)?)?,
        });
    }
    Ok(Array { element, dims, elements })
}

fn split<'a>(input: &mut &'a [u8], n: usize) -> SqlResult<&'a [u8]> {
    let (head, rest) = input.split_at_checked(n).ok_or_else(|| corrupt("short value"))?;
    *input = rest;
    Ok(head)
}

/// Seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

pub(crate) fn take_varint(input: &mut &[u8]) -> SqlResult<u64> {
    let mut v = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or_else(|| corrupt("short varint"))?;
        *input = rest;
        v |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(v);
        }
    }
    Err(corrupt("endless varint"))
}
