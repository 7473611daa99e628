//! Binary forms of all types, as PostgreSQL's send and receive functions have them: what drivers exchange.

use std::sync::Arc;

use super::{
    Array, Datum, Interval, Numeric, Oid, SqlType, json, numeric::Digits, numeric::Sign, text, typmod,
};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{element_of, type_name};

/// Appends the binary form of a value that is not NULL.
pub fn send(oid: Oid, value: &Datum, out: &mut Vec<u8>) -> SqlResult<()> {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Int4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Int8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Numeric(v) => send_numeric(v, out),
        Datum::Text(v) => out.extend_from_slice(v.as_bytes()),
        Datum::Bytes(v) => out.extend_from_slice(v),
        Datum::Date(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Time(v) | Datum::Timestamp(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Interval(v) => {
            out.extend_from_slice(&v.micros.to_be_bytes());
            out.extend_from_slice(&v.days.to_be_bytes());
            out.extend_from_slice(&v.months.to_be_bytes());
        }
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Array(v) => send_array(v, out)?,
        Datum::Record(v) => {
            out.extend_from_slice(&(v.fields.len() as i32).to_be_bytes());
            for (field, ty) in v.fields.iter().zip(&v.types) {
                out.extend_from_slice(&ty.0.to_be_bytes());
                send_sized(*ty, field, out)?;
            }
        }
        Datum::Jsonb(v) => {
            debug_assert_eq!(oid, Oid::JSONB);
            out.push(1);
            let mut form = String::new();
            json::write(v, &mut form);
            out.extend_from_slice(form.as_bytes());
        }
    }
    Ok(())
}

/// The length (-1 for NULL) and the value.
fn send_sized(oid: Oid, value: &Datum, out: &mut Vec<u8>) -> SqlResult<()> {
    if value.is_null() {
        out.extend_from_slice(&(-1i32).to_be_bytes());
        return Ok(());
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    send(oid, value, out)?;
    let length = i32::try_from(out.len() - at - 4)
        .map_err(|_| SqlError::new(state::PROGRAM_LIMIT_EXCEEDED, "value too large for the protocol"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn send_numeric(n: &Numeric, out: &mut Vec<u8>) {
    let sign: u16 = match n.sign {
        Sign::Positive => 0x0000,
        Sign::Negative => 0x4000,
        Sign::NaN => 0xC000,
        Sign::Infinity => 0xD000,
        Sign::NegativeInfinity => 0xF000,
    };
    out.extend_from_slice(&(n.digits.len() as u16).to_be_bytes());
    out.extend_from_slice(&n.weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    // PostgreSQL's infinities carry this mark where others have their scale.
    let scale = if n.is_infinite() { 0x20 } else { n.scale };
    out.extend_from_slice(&scale.to_be_bytes());
    for digit in &n.digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

fn send_array(array: &Array, out: &mut Vec<u8>) -> SqlResult<()> {
    let has_null = array.elements.iter().any(Datum::is_null);
    out.extend_from_slice(&(array.dims.len() as i32).to_be_bytes());
    out.extend_from_slice(&i32::from(has_null).to_be_bytes());
    out.extend_from_slice(&array.element.0.to_be_bytes());
    for (length, lower) in &array.dims {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&lower.to_be_bytes());
    }
    array.elements.iter().try_for_each(|e| send_sized(array.element, e, out))
}

/// Reads a value of type `ty` from its binary form, and fits it to the typmod.
pub fn receive(ty: SqlType, bytes: &[u8]) -> SqlResult<Datum> {
    let mut reader = Reader { rest: bytes };
    let value = receive_bare(ty.oid, &mut reader)?;
    if !reader.rest.is_empty() {
        return Err(incorrect(ty.oid));
    }
    if ty.typmod < 0 { Ok(value) } else { typmod::apply(value, ty, false) }
}

fn incorrect(oid: Oid) -> SqlError {
    SqlError::new(
        state::INVALID_BINARY_REPRESENTATION,
        format!("incorrect binary data format for type {}", type_name(oid)),
    )
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> SqlResult<&'a [u8]> {
        let (head, tail) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| SqlError::new(state::PROTOCOL_VIOLATION, "insufficient data left in message"))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> SqlResult<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("`take` gives as many bytes as asked"))
    }

    fn i16(&mut self) -> SqlResult<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> SqlResult<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> SqlResult<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> SqlResult<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn text(&mut self) -> SqlResult<&'a str> {
        let text = std::str::from_utf8(self.all()).map_err(|e| invalid_utf8(e.valid_up_to()))?;
        if text.contains('\0') {
            return Err(SqlError::new(
                state::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ));
        }
        Ok(text)
    }
}

fn invalid_utf8(at: usize) -> SqlError {
    SqlError::new(
        state::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\" at byte {at}"),
    )
}

fn receive_bare(oid: Oid, r: &mut Reader<'_>) -> SqlResult<Datum> {
    Ok(match oid {
        Oid::BOOL => Datum::Bool(r.array::<1>()?[0] != 0),
        Oid::INT2 => Datum::Int2(r.i16()?),
        Oid::INT4 => Datum::Int4(r.i32()?),
        Oid::INT8 => Datum::Int8(r.i64()?),
        Oid::FLOAT4 => Datum::Float4(r.array().map(f32::from_be_bytes)?),
        Oid::FLOAT8 => Datum::Float8(r.array().map(f64::from_be_bytes)?),
        Oid::NUMERIC => Datum::Numeric(Box::new(receive_numeric(r)?)),
        Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME | Oid::CHAR | Oid::UNKNOWN | Oid::CSTRING => {
            Datum::text(r.text()?)
        }
        Oid::JSON => text::input(SqlType::new(oid), r.text()?, &text::TextContext::detached())?,
        Oid::JSONB => {
            if r.array::<1>()?[0] != 1 {
                return Err(SqlError::new(state::PROTOCOL_VIOLATION, "unsupported jsonb version number"));
            }
            Datum::Jsonb(Arc::new(json::parse(r.text()?)?))
        }
        Oid::BYTEA => Datum::Bytes(r.all().into()),
        Oid::DATE => Datum::Date(r.i32()?),
        Oid::TIME => Datum::Time(r.i64()?),
        Oid::TIMESTAMP | Oid::TIMESTAMPTZ => Datum::Timestamp(r.i64()?),
        Oid::INTERVAL => {
            let micros = r.i64()?;
            let days = r.i32()?;
            Datum::Interval(Interval { months: r.i32()?, days, micros })
        }
        Oid::UUID => Datum::Uuid(r.array()?),
        Oid::OID
        | Oid::XID
        | Oid::CID
        | Oid::REGCLASS
        | Oid::REGTYPE
        | Oid::REGPROC
        | Oid::REGPROCEDURE
        | Oid::REGNAMESPACE
        | Oid::REGROLE
        | Oid::REGOPER
        | Oid::REGOPERATOR => Datum::Oid(r.u32()?),
        Oid::VOID => {
            r.all();
            Datum::text("")
        }
        _ if element_of(oid).is_some() => receive_array(oid, r)?,
        _ => return Err(SqlError::unsupported(format!("binary input of type {}", type_name(oid)))),
    })
}

fn receive_numeric(r: &mut Reader<'_>) -> SqlResult<Numeric> {
    let invalid =
        || SqlError::new(state::INVALID_BINARY_REPRESENTATION, "invalid value in external \"numeric\" value");
    let count = r.i16()?;
    let weight = r.i16()?;
    let sign = r.i16()? as u16;
    let scale = r.i16()?;
    let digits = (0..count.max(0)).map(|_| r.i16()).collect::<SqlResult<Digits>>()?;
    if !(0..=16_383).contains(&scale) || digits.iter().any(|d| !(0..10_000).contains(d)) {
        return Err(invalid());
    }
    match sign {
        // Digits beyond the display scale are cut, as PostgreSQL does.
        0x0000 | 0x4000 => {
            Numeric::from_digits(sign == 0x4000, i32::from(weight), 16_383, digits)?.trunc(i32::from(scale))
        }
        0xC000 => Ok(Numeric::nan()),
        0xD000 => Ok(Numeric::special(Sign::Infinity)),
        0xF000 => Ok(Numeric::special(Sign::NegativeInfinity)),
        _ => Err(invalid()),
    }
}

fn receive_array(oid: Oid, r: &mut Reader<'_>) -> SqlResult<Datum> {
    let dimensions = r.i32()?;
    let _has_null = r.i32()?;
    let element = Oid(r.u32()?);
    let invalid = |message: String| Err(SqlError::new(state::INVALID_BINARY_REPRESENTATION, message));
    if !(0..=6).contains(&dimensions) {
        return invalid(format!("invalid number of dimensions: {dimensions}"));
    }
    if element_of(oid) != Some(element) {
        return Err(SqlError::new(state::DATATYPE_MISMATCH, "wrong element type"));
    }
    let mut dims = Vec::with_capacity(dimensions as usize);
    let mut count = 1usize;
    for _ in 0..dimensions {
        let (length, lower) = (r.i32()?, r.i32()?);
        if length < 0 {
            return invalid(format!("invalid array length: {length}"));
        }
        count = count.saturating_mul(length as usize);
        dims.push((length, lower));
    }
    if dims.is_empty() || count == 0 {
        return Ok(Datum::Array(Arc::new(Array::from_elements(element, Vec::new()))));
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        let length = r.i32()?;
        if length < 0 {
            elements.push(Datum::Null);
            continue;
        }
        let mut inner = Reader { rest: r.take(length as usize)? };
        elements.push(receive_bare(element, &mut inner)?);
        if !inner.rest.is_empty() {
            return Err(incorrect(element));
        }
    }
    Ok(Datum::Array(Arc::new(Array { element, dims, elements })))
}
