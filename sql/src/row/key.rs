//! The order-preserving encoding of values in keys.
//!
//! Each value is a marker byte (`01` NULL first, `02` a value, `03` NULL last) and, for a value, a payload that is
//! complemented byte by byte in descending columns:
//!
//! | kind | payload |
//! | --- | --- |
//! | bool | one byte |
//! | int2/4/8, date, time, timestamp | big-endian, sign bit flipped |
//! | oid | big-endian |
//! | float4/8 | IEEE bits, flipped so that they order; `-0` as `0`, one NaN above all |
//! | text | the bytes (never NUL), `00`; `char(n)` without trailing blanks |
//! | bytea | `00` escaped as `00 ff`, end `00 01` |
//! | uuid | sixteen bytes |
//! | numeric | class byte (−∞, −, 0, +, ∞, NaN), weight, base-10000 digits plus one, `00 00`; complemented if negative |
//! | interval | its length in microseconds with 30-day months, as 128 bits |
//! | array | elements with marker `02`, or `03` for NULL; end `01`; number of dimensions; their lengths and lower bounds |
//!
//! No payload is a proper prefix of another of its kind, so columns can be put one behind the other.

use super::{ValueRef, corrupt};
use crate::error::{SqlError, SqlResult};
use crate::types::datum::Array;
use crate::types::numeric::{Numeric, Sign};
use crate::types::{Column, ColumnData, Datum, Interval, Oid};

const NULL_FIRST: u8 = 0x01;
const VALUE: u8 = 0x02;
const NULL_LAST: u8 = 0x03;
const DAY_MICROS: i128 = 86_400_000_000;

/// How one column of an index is ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Direction {
    pub descending: bool,
    pub nulls_first: bool,
}

impl Direction {
    pub const ASC: Direction = Direction { descending: false, nulls_first: false };
    pub const DESC: Direction = Direction { descending: true, nulls_first: true };

    fn null_marker(self) -> u8 {
        if self.nulls_first { NULL_FIRST } else { NULL_LAST }
    }

    fn mask(self) -> u8 {
        if self.descending { 0xff } else { 0 }
    }
}

/// The encodings, by what the type's values look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    /// char(n): trailing blanks do not count.
    BlankPadded,
    Bytes,
    Date,
    Time,
    Timestamp,
    Oid,
    Uuid,
    Numeric,
    Interval,
    Array,
}

impl KeyKind {
    /// `None` for types that have no order that we know (json, records, …).
    pub fn of(ty: Oid) -> Option<KeyKind> {
        Some(match ty {
            Oid::BOOL => KeyKind::Bool,
            Oid::INT2 => KeyKind::Int2,
            Oid::INT4 => KeyKind::Int4,
            Oid::INT8 => KeyKind::Int8,
            Oid::FLOAT4 => KeyKind::Float4,
            Oid::FLOAT8 => KeyKind::Float8,
            Oid::TEXT | Oid::VARCHAR | Oid::NAME | Oid::CHAR => KeyKind::Text,
            Oid::BPCHAR => KeyKind::BlankPadded,
            Oid::BYTEA => KeyKind::Bytes,
            Oid::DATE => KeyKind::Date,
            Oid::TIME => KeyKind::Time,
            Oid::TIMESTAMP | Oid::TIMESTAMPTZ => KeyKind::Timestamp,
            Oid::OID | Oid::REGCLASS | Oid::REGTYPE | Oid::REGPROC | Oid::REGNAMESPACE | Oid::REGROLE => {
                KeyKind::Oid
            }
            Oid::UUID => KeyKind::Uuid,
            Oid::NUMERIC => KeyKind::Numeric,
            Oid::INTERVAL => KeyKind::Interval,
            Oid::BOOL_ARRAY
            | Oid::INT2_ARRAY
            | Oid::INT4_ARRAY
            | Oid::INT8_ARRAY
            | Oid::FLOAT8_ARRAY
            | Oid::TEXT_ARRAY
            | Oid::VARCHAR_ARRAY
            | Oid::NAME_ARRAY
            | Oid::OID_ARRAY
            | Oid::NUMERIC_ARRAY => KeyKind::Array,
            _ => return None,
        })
    }

    /// Whether a key may hold less than the value: the stored value must then be looked at first.
    pub fn may_be_lossy(self) -> bool {
        matches!(
            self,
            KeyKind::Float4
                | KeyKind::Float8
                | KeyKind::BlankPadded
                | KeyKind::Numeric
                | KeyKind::Interval
                | KeyKind::Array
        )
    }

    /// Whether decoding the key would give something other than `value`.
    pub fn is_lossy(self, value: ValueRef<'_>) -> bool {
        match (self, value) {
            (_, ValueRef::Null) => false,
            (KeyKind::Float4, ValueRef::Float4(v)) => v == 0.0 && v.is_sign_negative(),
            (KeyKind::Float8, ValueRef::Float8(v)) => v == 0.0 && v.is_sign_negative(),
            (KeyKind::BlankPadded, ValueRef::Text(v)) => v.last() == Some(&b' '),
            (KeyKind::Numeric, ValueRef::Other(Datum::Numeric(n))) => n.scale != minimal_scale(n),
            (KeyKind::Interval, ValueRef::Other(Datum::Interval(i))) => {
                *i != interval_from_span(interval_span(*i))
            }
            (KeyKind::Array, _) => true,
            _ => false,
        }
    }
}

/// Appends one column of a key.
pub fn encode(out: &mut Vec<u8>, kind: KeyKind, direction: Direction, value: ValueRef<'_>) -> SqlResult<()> {
    if value.is_null() {
        out.push(direction.null_marker());
        return Ok(());
    }
    out.push(VALUE);
    let start = out.len();
    encode_payload(out, kind, value)?;
    if direction.descending {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
    Ok(())
}

fn encode_payload(out: &mut Vec<u8>, kind: KeyKind, value: ValueRef<'_>) -> SqlResult<()> {
    match (kind, value) {
        (_, ValueRef::Bool(v)) => out.push(v.into()),
        (_, ValueRef::Int2(v)) => out.extend_from_slice(&flip16(v).to_be_bytes()),
        (_, ValueRef::Int4(v) | ValueRef::Date(v)) => out.extend_from_slice(&flip32(v).to_be_bytes()),
        (_, ValueRef::Int8(v) | ValueRef::Time(v) | ValueRef::Timestamp(v)) => {
            out.extend_from_slice(&flip64(v).to_be_bytes());
        }
        (_, ValueRef::Oid(v)) => out.extend_from_slice(&v.to_be_bytes()),
        (_, ValueRef::Float4(v)) => out.extend_from_slice(&order_f32(v).to_be_bytes()),
        (_, ValueRef::Float8(v)) => out.extend_from_slice(&order_f64(v).to_be_bytes()),
        (KeyKind::BlankPadded, ValueRef::Text(v)) => {
            let kept = v.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
            out.extend_from_slice(&v[..kept]);
            out.push(0);
        }
        (_, ValueRef::Text(v)) => {
            out.extend_from_slice(v);
            out.push(0);
        }
        (_, ValueRef::Bytes(v)) => encode_bytes(out, v),
        (_, ValueRef::Other(Datum::Uuid(v))) => out.extend_from_slice(v),
        (_, ValueRef::Other(Datum::Numeric(n))) => encode_numeric(out, n),
        (_, ValueRef::Other(Datum::Interval(i))) => {
            let span = interval_span(*i) as u128 ^ (1 << 127);
            out.extend_from_slice(&span.to_be_bytes());
        }
        (_, ValueRef::Other(Datum::Array(a))) => encode_array(out, a)?,
        (kind, value) => {
            return Err(SqlError::unsupported(format!("a key of kind {kind:?} with value {value:?}")));
        }
    }
    Ok(())
}

/// Takes one column off the front of a key. Where the key is lossy this is the canonical value.
pub fn decode(input: &mut &[u8], kind: KeyKind, direction: Direction) -> SqlResult<Datum> {
    if !take_marker(input)? {
        return Ok(Datum::Null);
    }
    let mask = direction.mask();
    Ok(match kind {
        KeyKind::Bool => Datum::Bool(take::<1>(input, mask)?[0] != 0),
        KeyKind::Int2 => Datum::Int2(unflip16(u16::from_be_bytes(take(input, mask)?))),
        KeyKind::Int4 => Datum::Int4(unflip32(u32::from_be_bytes(take(input, mask)?))),
        KeyKind::Int8 => Datum::Int8(unflip64(u64::from_be_bytes(take(input, mask)?))),
        KeyKind::Date => Datum::Date(unflip32(u32::from_be_bytes(take(input, mask)?))),
        KeyKind::Time => Datum::Time(unflip64(u64::from_be_bytes(take(input, mask)?))),
        KeyKind::Timestamp => Datum::Timestamp(unflip64(u64::from_be_bytes(take(input, mask)?))),
        KeyKind::Oid => Datum::Oid(u32::from_be_bytes(take(input, mask)?)),
        KeyKind::Float4 => Datum::Float4(unorder_f32(u32::from_be_bytes(take(input, mask)?))),
        KeyKind::Float8 => Datum::Float8(unorder_f64(u64::from_be_bytes(take(input, mask)?))),
        KeyKind::Uuid => Datum::Uuid(take(input, mask)?),
        KeyKind::Interval => {
            let span = (u128::from_be_bytes(take(input, mask)?) ^ (1 << 127)) as i128;
            Datum::Interval(interval_from_span(span))
        }
        KeyKind::Text | KeyKind::BlankPadded => {
            let raw = take_text(input, mask)?;
            if mask == 0 {
                Datum::text(std::str::from_utf8(raw).map_err(|_| corrupt("key is not UTF-8"))?)
            } else {
                let plain: Vec<u8> = raw.iter().map(|b| !b).collect();
                Datum::text(std::str::from_utf8(&plain).map_err(|_| corrupt("key is not UTF-8"))?)
            }
        }
        KeyKind::Bytes => {
            let mut plain = Vec::new();
            take_bytes(input, mask, Some(&mut plain))?;
            Datum::Bytes(plain.into())
        }
        KeyKind::Numeric => Datum::Numeric(Box::new(take_numeric(input, mask)?)),
        KeyKind::Array => return Err(corrupt("an array stands only in its key")),
    })
}

/// As [`decode`], appending to a column of the kind's representation.
pub fn decode_into(
    input: &mut &[u8],
    kind: KeyKind,
    direction: Direction,
    column: &mut Column,
) -> SqlResult<()> {
    let saved = *input;
    if !take_marker(input)? {
        column.push(&Datum::Null);
        return Ok(());
    }
    let mask = direction.mask();
    match (kind, &mut column.data) {
        (KeyKind::Int4, ColumnData::Int4(v)) | (KeyKind::Date, ColumnData::Date(v)) => {
            v.push(unflip32(u32::from_be_bytes(take(input, mask)?)));
        }
        (KeyKind::Int8, ColumnData::Int8(v)) | (KeyKind::Timestamp, ColumnData::Timestamp(v)) => {
            v.push(unflip64(u64::from_be_bytes(take(input, mask)?)));
        }
        (KeyKind::Int2, ColumnData::Int2(v)) => v.push(unflip16(u16::from_be_bytes(take(input, mask)?))),
        (KeyKind::Text | KeyKind::BlankPadded, ColumnData::Text(v)) => {
            let raw = take_text(input, mask)?;
            v.bytes.extend(raw.iter().map(|b| b ^ mask));
            v.end_value();
        }
        _ => {
            *input = saved;
            let datum = decode(input, kind, direction)?;
            column.push(&datum);
            return Ok(());
        }
    }
    if let Some(bits) = &mut column.validity {
        bits.push(true);
    }
    Ok(())
}

/// Moves past one column of a key.
pub fn skip(input: &mut &[u8], kind: KeyKind, direction: Direction) -> SqlResult<()> {
    if !take_marker(input)? {
        return Ok(());
    }
    skip_payload(input, kind, direction.mask())
}

/// Appends one encoded column as it would be encoded in another direction.
pub fn transcode(out: &mut Vec<u8>, encoded: &[u8], from: Direction, to: Direction) -> SqlResult<()> {
    let (&marker, payload) = encoded.split_first().ok_or_else(|| corrupt("short key"))?;
    if marker != VALUE {
        out.push(to.null_marker());
        return Ok(());
    }
    out.push(VALUE);
    let flip = from.mask() ^ to.mask();
    out.extend(payload.iter().map(|b| b ^ flip));
    Ok(())
}

/// False for NULL.
fn take_marker(input: &mut &[u8]) -> SqlResult<bool> {
    let (&marker, rest) = input.split_first().ok_or_else(|| corrupt("short key"))?;
    *input = rest;
    match marker {
        VALUE => Ok(true),
        NULL_FIRST | NULL_LAST => Ok(false),
        _ => Err(corrupt("unknown marker in key")),
    }
}

fn take<const N: usize>(input: &mut &[u8], mask: u8) -> SqlResult<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or_else(|| corrupt("short key"))?;
    *input = rest;
    Ok(head.map(|b| b ^ mask))
}

/// The bytes of a text, still masked, without the end mark.
fn take_text<'a>(input: &mut &'a [u8], mask: u8) -> SqlResult<&'a [u8]> {
    let end = memchr::memchr(mask, input).ok_or_else(|| corrupt("text without end in key"))?;
    let raw = &input[..end];
    *input = &input[end + 1..];
    Ok(raw)
}

fn encode_bytes(out: &mut Vec<u8>, mut v: &[u8]) {
    while let Some(zero) = memchr::memchr(0, v) {
        out.extend_from_slice(&v[..=zero]);
        out.push(0xff);
        v = &v[zero + 1..];
    }
    out.extend_from_slice(v);
    out.extend_from_slice(&[0x00, 0x01]);
}

fn take_bytes(input: &mut &[u8], mask: u8, mut plain: Option<&mut Vec<u8>>) -> SqlResult<()> {
    loop {
        let zero = memchr::memchr(mask, input).ok_or_else(|| corrupt("bytes without end in key"))?;
        let next = input.get(zero + 1).ok_or_else(|| corrupt("bytes without end in key"))? ^ mask;
        if let Some(plain) = &mut plain {
            plain.extend(input[..zero].iter().map(|b| b ^ mask));
            if next == 0xff {
                plain.push(0);
            }
        }
        *input = &input[zero + 2..];
        match next {
            0x01 => return Ok(()),
            0xff => {}
            _ => return Err(corrupt("bad escape in key")),
        }
    }
}

const CLASS_NEGATIVE_INFINITY: u8 = 0;
const CLASS_NEGATIVE: u8 = 1;
const CLASS_ZERO: u8 = 2;
const CLASS_POSITIVE: u8 = 3;
const CLASS_INFINITY: u8 = 4;
const CLASS_NAN: u8 = 5;

fn encode_numeric(out: &mut Vec<u8>, n: &Numeric) {
    let class = match n.sign {
        Sign::NaN => CLASS_NAN,
        Sign::Infinity => CLASS_INFINITY,
        Sign::NegativeInfinity => CLASS_NEGATIVE_INFINITY,
        _ if n.digits.is_empty() => CLASS_ZERO,
        Sign::Positive => CLASS_POSITIVE,
        Sign::Negative => CLASS_NEGATIVE,
    };
    out.push(class);
    if !matches!(class, CLASS_NEGATIVE | CLASS_POSITIVE) {
        return;
    }
    let start = out.len();
    out.extend_from_slice(&flip16(n.weight).to_be_bytes());
    for digit in &n.digits {
        out.extend_from_slice(&(*digit as u16 + 1).to_be_bytes());
    }
    out.extend_from_slice(&[0, 0]);
    if class == CLASS_NEGATIVE {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

fn take_numeric(input: &mut &[u8], mask: u8) -> SqlResult<Numeric> {
    let class = take::<1>(input, mask)?[0];
    let special = |sign| Ok(Numeric { sign, weight: 0, scale: 0, digits: Default::default() });
    let (sign, mask) = match class {
        CLASS_NEGATIVE_INFINITY => return special(Sign::NegativeInfinity),
        CLASS_INFINITY => return special(Sign::Infinity),
        CLASS_NAN => return special(Sign::NaN),
        CLASS_ZERO => return special(Sign::Positive),
        CLASS_POSITIVE => (Sign::Positive, mask),
        CLASS_NEGATIVE => (Sign::Negative, !mask),
        _ => return Err(corrupt("unknown numeric class in key")),
    };
    let weight = unflip16(u16::from_be_bytes(take(input, mask)?));
    let mut digits = Vec::new();
    loop {
        match u16::from_be_bytes(take(input, mask)?) {
            0 => break,
            digit => digits.push((digit - 1) as i16),
        }
    }
    let mut n = Numeric { sign, weight, scale: 0, digits: digits.into() };
    n.scale = minimal_scale(&n);
    Ok(n)
}

/// The fewest digits after the decimal point that show the whole value.
fn minimal_scale(n: &Numeric) -> u16 {
    let Some(last) = n.digits.last() else { return 0 };
    let groups = n.digits.len() as i32 - 1 - i32::from(n.weight);
    let zeros = match last {
        d if d % 10 != 0 => 0,
        d if d % 100 != 0 => 1,
        d if d % 1000 != 0 => 2,
        _ => 3,
    };
    (groups * 4 - zeros).max(0) as u16
}

fn interval_span(i: Interval) -> i128 {
    (i128::from(i.months) * 30 + i128::from(i.days)) * DAY_MICROS + i128::from(i.micros)
}

/// The canonical interval of that length: days and microseconds.
fn interval_from_span(span: i128) -> Interval {
    let days = span / DAY_MICROS;
    match i32::try_from(days) {
        Ok(days) => Interval { months: 0, days, micros: (span % DAY_MICROS) as i64 },
        // Beyond the range of days: never the interval that was encoded, so the value holds it.
        Err(_) => Interval {
            months: (days / 30) as i32,
            days: (days % 30) as i32,
            micros: (span % DAY_MICROS) as i64,
        },
    }
}

fn encode_array(out: &mut Vec<u8>, a: &Array) -> SqlResult<()> {
    let kind = KeyKind::of(a.element)
        .ok_or_else(|| SqlError::unsupported(format!("an array of type {} in a key", a.element)))?;
    out.push(element_code(kind));
    for element in &a.elements {
        encode(out, kind, Direction::ASC, ValueRef::from(element))?;
    }
    out.push(NULL_FIRST);
    out.push(a.dims.len() as u8);
    for (length, _) in &a.dims {
        out.extend_from_slice(&flip32(*length).to_be_bytes());
    }
    for (_, lower) in &a.dims {
        out.extend_from_slice(&flip32(*lower).to_be_bytes());
    }
    Ok(())
}

/// Elements of one array column are all of one type, so that this byte does not disturb the order.
fn element_code(kind: KeyKind) -> u8 {
    ELEMENT_KINDS.iter().position(|k| *k == kind).expect("every kind is listed") as u8
}

/// By their code on disk: append only.
const ELEMENT_KINDS: [KeyKind; 17] = [
    KeyKind::Bool,
    KeyKind::Int2,
    KeyKind::Int4,
    KeyKind::Int8,
    KeyKind::Float4,
    KeyKind::Float8,
    KeyKind::Text,
    KeyKind::BlankPadded,
    KeyKind::Bytes,
    KeyKind::Date,
    KeyKind::Time,
    KeyKind::Timestamp,
    KeyKind::Oid,
    KeyKind::Uuid,
    KeyKind::Numeric,
    KeyKind::Interval,
    KeyKind::Array,
];

fn skip_array(input: &mut &[u8], mask: u8) -> SqlResult<()> {
    let kind = *ELEMENT_KINDS
        .get(take::<1>(input, mask)?[0] as usize)
        .ok_or_else(|| corrupt("unknown element kind in key"))?;
    // In a descending column the elements' markers are complemented with the rest of the payload.
    loop {
        let (&marker, rest) = input.split_first().ok_or_else(|| corrupt("short key"))?;
        match marker ^ mask {
            NULL_FIRST => {
                *input = rest;
                break;
            }
            NULL_LAST => *input = rest,
            VALUE => {
                *input = rest;
                skip_payload(input, kind, mask)?;
            }
            _ => return Err(corrupt("unknown marker in array key")),
        }
    }
    let dims = take::<1>(input, mask)?[0] as usize;
    *input = input.get(dims * 8..).ok_or_else(|| corrupt("short key"))?;
    Ok(())
}

fn skip_payload(input: &mut &[u8], kind: KeyKind, mask: u8) -> SqlResult<()> {
    match kind {
        KeyKind::Bool => take::<1>(input, mask).map(|_| ()),
        KeyKind::Int2 => take::<2>(input, mask).map(|_| ()),
        KeyKind::Int4 | KeyKind::Date | KeyKind::Oid | KeyKind::Float4 => take::<4>(input, mask).map(|_| ()),
        KeyKind::Int8 | KeyKind::Time | KeyKind::Timestamp | KeyKind::Float8 => {
            take::<8>(input, mask).map(|_| ())
        }
        KeyKind::Uuid | KeyKind::Interval => take::<16>(input, mask).map(|_| ()),
        KeyKind::Text | KeyKind::BlankPadded => take_text(input, mask).map(|_| ()),
        KeyKind::Bytes => take_bytes(input, mask, None),
        KeyKind::Numeric => take_numeric(input, mask).map(|_| ()),
        KeyKind::Array => skip_array(input, mask),
    }
}

fn flip16(v: i16) -> u16 {
    v as u16 ^ (1 << 15)
}
fn flip32(v: i32) -> u32 {
    v as u32 ^ (1 << 31)
}
fn flip64(v: i64) -> u64 {
    v as u64 ^ (1 << 63)
}
fn unflip16(v: u16) -> i16 {
    (v ^ (1 << 15)) as i16
}
fn unflip32(v: u32) -> i32 {
    (v ^ (1 << 31)) as i32
}
fn unflip64(v: u64) -> i64 {
    (v ^ (1 << 63)) as i64
}

fn order_f32(v: f32) -> u32 {
    let bits = if v.is_nan() { f32::NAN.to_bits() & !(1 << 31) } else { (v + 0.0).to_bits() };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}
fn unorder_f32(v: u32) -> f32 {
    f32::from_bits(if v >> 31 == 1 { v & !(1 << 31) } else { !v })
}
fn order_f64(v: f64) -> u64 {
    // Adding 0.0 makes -0.0 positive and changes nothing else.
    let bits = if v.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { (v + 0.0).to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}
fn unorder_f64(v: u64) -> f64 {
    f64::from_bits(if v >> 63 == 1 { v & !(1 << 63) } else { !v })
}
