//! Bytes: encode and decode, digests, single bytes and bits.

use md5::{Digest, Md5};

use super::arguments::{bytes, int, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function};
use crate::types::{Datum, Oid, bytea};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn unrecognized(encoding: &str) -> SqlError {
    SqlError::new(state::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{encoding}\""))
}

fn encode(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (data, encoding) = (bytes(&args[0]), text(&args[1]));
    let mut out = String::new();
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => bytea::write_hex(data, &mut out),
        "base64" => encode_base64(data, &mut out),
        "escape" => encode_escape(data, &mut out),
        _ => return Err(unrecognized(encoding)),
    }
    Ok(Datum::text(&out))
}

/// Lines of 76 characters, as MIME has them.
fn encode_base64(data: &[u8], out: &mut String) {
    let mut line = 0;
    for chunk in data.chunks(3) {
        let group = chunk.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = (group >> (18 - 6 * i)) as usize & 63;
            out.push(if i <= chunk.len() { BASE64[sextet] as char } else { '=' });
        }
        line += 4;
        if line == 76 {
            out.push('\n');
            line = 0;
        }
    }
    if out.ends_with('\n') {
        out.pop();
    }
}

/// As bytea's escape output, except that only zero and high bytes are escaped.
fn encode_escape(data: &[u8], out: &mut String) {
    for &b in data {
        match b {
            0 | 0x80.. => out.push_str(&format!("\\{b:03o}")),
            b'\\' => out.push_str("\\\\"),
            b => out.push(b as char),
        }
    }
}

fn decode(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (source, encoding) = (text(&args[0]), text(&args[1]));
    let data = match encoding.to_ascii_lowercase().as_str() {
        "hex" => bytea::parse_hex(source)?,
        "base64" => decode_base64(source)?,
        "escape" => bytea::parse_escape(source)?,
        _ => return Err(unrecognized(encoding)),
    };
    Ok(Datum::Bytes(data.into()))
}

fn decode_base64(source: &str) -> SqlResult<Vec<u8>> {
    let invalid = |message: String| SqlError::new(state::INVALID_PARAMETER_VALUE, message);
    let mut out = Vec::with_capacity(source.len() / 4 * 3);
    let (mut group, mut count, mut padding) = (0u32, 0, 0);
    for c in source.chars().filter(|c| !c.is_ascii_whitespace()) {
        let sextet = match c {
            '=' if count >= 2 => {
                padding += 1;
                0
            }
            '=' => return Err(invalid("unexpected \"=\" while decoding base64 sequence".to_owned())),
            c => match BASE64.iter().position(|b| *b as char == c) {
                Some(sextet) if padding == 0 => sextet as u32,
                _ => {
                    return Err(invalid(format!(
                        "invalid symbol \"{c}\" found while decoding base64 sequence"
                    )));
                }
            },
        };
        group = group << 6 | sextet;
        count += 1;
        if count == 4 {
            out.extend_from_slice(&group.to_be_bytes()[1..4 - padding.min(2)]);
            (group, count) = (0, 0);
        }
    }
    if count != 0 {
        return Err(invalid("invalid base64 end sequence".to_owned())
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(out)
}

fn md5(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let data = match &args[0] {
        Datum::Text(v) => v.as_bytes(),
        other => bytes(other),
    };
    let mut out = String::new();
    bytea::write_hex(&Md5::digest(data), &mut out);
    Ok(Datum::text(&out))
}

macro_rules! sha {
    ($($name:ident = $digest:ty;)*) => {
        $(fn $name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            Ok(Datum::Bytes(<$digest>::digest(bytes(&args[0])).as_slice().into()))
        })*
    };
}

sha! {
    sha224 = sha2::Sha224;
    sha256 = sha2::Sha256;
    sha384 = sha2::Sha384;
    sha512 = sha2::Sha512;
}

fn out_of_range(index: i64, length: usize) -> SqlError {
    SqlError::new("2202E", format!("index {index} out of valid range, 0..{}", length as i64 - 1))
}

fn get_byte(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (data, index) = (bytes(&args[0]), int(&args[1]));
    let byte = usize::try_from(index).ok().and_then(|i| data.get(i));
    byte.map(|b| Datum::Int4(i32::from(*b))).ok_or_else(|| out_of_range(index, data.len()))
}

fn set_byte(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (mut data, index) = (bytes(&args[0]).to_vec(), int(&args[1]));
    let length = data.len();
    let byte = usize::try_from(index).ok().and_then(|i| data.get_mut(i));
    *byte.ok_or_else(|| out_of_range(index, length))? = int(&args[2]) as u8;
    Ok(Datum::Bytes(data.into()))
}

/// 122 random bits with version 4's marks.
fn random_uuid(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    let bits = u128::from(ctx.session.random()) << 64 | u128::from(ctx.session.random());
    let mut id = bits.to_be_bytes();
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Ok(Datum::Uuid(id))
}

fn convert_from(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    utf8_only(text(&args[1]))?;
    match std::str::from_utf8(bytes(&args[0])) {
        Ok(value) => Ok(Datum::text(value)),
        Err(e) => Err(SqlError::new(
            state::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\" at byte {}", e.valid_up_to()),
        )),
    }
}

fn convert_to(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    utf8_only(text(&args[1]))?;
    Ok(Datum::Bytes(text(&args[0]).as_bytes().into()))
}

fn utf8_only(encoding: &str) -> SqlResult<()> {
    match encoding.to_ascii_lowercase().as_str() {
        "utf8" | "utf-8" | "unicode" => Ok(()),
        _ => Err(SqlError::unsupported(format!("encoding {encoding}"))),
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(1946, "encode", &[Oid::BYTEA, Oid::TEXT], Oid::TEXT, encode),
    Function::row(1947, "decode", &[Oid::TEXT, Oid::TEXT], Oid::BYTEA, decode),
    Function::row(2311, "md5", &[Oid::TEXT], Oid::TEXT, md5),
    Function::row(2321, "md5", &[Oid::BYTEA], Oid::TEXT, md5),
    Function::row(3419, "sha224", &[Oid::BYTEA], Oid::BYTEA, sha224),
    Function::row(3420, "sha256", &[Oid::BYTEA], Oid::BYTEA, sha256),
    Function::row(3421, "sha384", &[Oid::BYTEA], Oid::BYTEA, sha384),
    Function::row(3422, "sha512", &[Oid::BYTEA], Oid::BYTEA, sha512),
    Function::row(721, "get_byte", &[Oid::BYTEA, Oid::INT4], Oid::INT4, get_byte),
    Function::row(722, "set_byte", &[Oid::BYTEA, Oid::INT4, Oid::INT4], Oid::BYTEA, set_byte),
    Function::row(3432, "gen_random_uuid", &[], Oid::UUID, random_uuid).volatile(),
    Function::row(1714, "convert_from", &[Oid::BYTEA, Oid::NAME], Oid::TEXT, convert_from).stable(),
    Function::row(1717, "convert_to", &[Oid::TEXT, Oid::NAME], Oid::BYTEA, convert_to).stable(),
];
