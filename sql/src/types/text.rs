//! Text forms of all types: what a client reads and writes, by PostgreSQL's input and output functions.
//!
//! Some forms depend on the session (DateStyle, TimeZone, extra_float_digits) and some on the catalog (regclass):
//! [`TextContext`] carries both.

use std::fmt::Write;
use std::sync::Arc;

use super::datetime::{self, DateOrder, DateStyle, IntervalStyle, TimeZone};
use super::{
    Column, ColumnData, Datum, Numeric, Oid, SqlType, array_text, bytea, float, json, record_text, reg,
    typmod,
};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{element_of, type_name};

/// The settings that text forms depend on.
#[derive(Clone, Debug)]
pub struct FormatSettings {
    pub date_style: DateStyle,
    pub date_order: DateOrder,
    pub interval_style: IntervalStyle,
    pub time_zone: TimeZone,
    pub extra_float_digits: i32,
    /// `bytea_output = escape` rather than `hex`.
    pub bytea_escape: bool,
}

static DEFAULT_SETTINGS: FormatSettings = FormatSettings {
    date_style: DateStyle::Iso,
    date_order: DateOrder::Mdy,
    interval_style: IntervalStyle::Postgres,
    time_zone: TimeZone::UTC,
    extra_float_digits: 1,
    bytea_escape: false,
};

impl FormatSettings {
    pub fn default_ref() -> &'static FormatSettings {
        &DEFAULT_SETTINGS
    }
}

impl Default for FormatSettings {
    fn default() -> Self {
        DEFAULT_SETTINGS.clone()
    }
}

/// Names of catalog objects, for the reg* types.
pub trait ObjectNames: Sync {
    /// The relation's name, quoted, and qualified unless the search path finds it.
    fn relation_name(&self, _oid: Oid) -> Option<String> {
        None
    }
    /// The relation that a possibly qualified name (as written in SQL) means.
    fn relation_oid(&self, _name: &str) -> SqlResult<Option<Oid>> {
        Ok(None)
    }
    fn namespace_name(&self, _oid: Oid) -> Option<String> {
        None
    }
    fn namespace_oid(&self, _name: &str) -> Option<Oid> {
        None
    }
    fn role_name(&self, _oid: Oid) -> Option<String> {
        None
    }
    fn role_oid(&self, _name: &str) -> Option<Oid> {
        None
    }
}

/// No catalog at hand: reg* types show numbers.
pub struct NoNames;

impl ObjectNames for NoNames {}

#[derive(Clone, Copy)]
pub struct TextContext<'a> {
    pub format: &'a FormatSettings,
    /// What `now`, `today` and their like mean as dates.
    pub transaction_time: i64,
    pub names: &'a dyn ObjectNames,
}

impl TextContext<'_> {
    /// Default settings, no catalog.
    pub fn detached() -> TextContext<'static> {
        TextContext { format: &DEFAULT_SETTINGS, transaction_time: 0, names: &NoNames }
    }
}

/// The text form of a value that is not NULL.
pub fn output(oid: Oid, value: &Datum, ctx: &TextContext<'_>) -> String {
    let mut out = String::new();
    write_value(oid, value, ctx, &mut out);
    out
}

/// Appends the text form of a value that is not NULL.
pub fn write_value(oid: Oid, value: &Datum, ctx: &TextContext<'_>, out: &mut String) {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(if *v { 't' } else { 'f' }),
        Datum::Int2(v) => write_integer(i64::from(*v), out),
        Datum::Int4(v) => write_integer(i64::from(*v), out),
        Datum::Int8(v) => write_integer(*v, out),
        Datum::Float4(v) => float::write_f32(*v, ctx.format.extra_float_digits, out),
        Datum::Float8(v) => float::write_f64(*v, ctx.format.extra_float_digits, out),
        Datum::Numeric(v) => write!(out, "{v}").expect("writing to a string"),
        Datum::Text(v) => out.push_str(v),
        Datum::Bytes(v) => bytea::write(v, ctx.format.bytea_escape, out),
        Datum::Date(v) => datetime::write_date(*v, ctx.format, out),
        Datum::Time(v) => datetime::write_time(*v, out),
        Datum::Timestamp(v) if oid == Oid::TIMESTAMPTZ => datetime::write_timestamptz(*v, ctx.format, out),
        Datum::Timestamp(v) => datetime::write_timestamp(*v, ctx.format, out),
        Datum::Interval(v) => datetime::write_interval(v, ctx.format.interval_style, out),
        Datum::Uuid(v) => write_uuid(v, out),
        Datum::Oid(v) => reg::write(oid, *v, ctx.names, out),
        Datum::Array(v) => array_text::write(oid, v, ctx, out),
        Datum::Record(v) => record_text::write(v, ctx, out),
        Datum::Jsonb(v) => json::write(v, out),
    }
}

/// Appends the text form of one row of a column; false, and nothing appended, for NULL.
pub fn write_row(oid: Oid, column: &Column, row: usize, ctx: &TextContext<'_>, out: &mut String) -> bool {
    if column.is_null(row) {
        return false;
    }
    match &column.data {
        ColumnData::Text(v) => out.push_str(v.text(row)),
        ColumnData::Datum(v) => write_value(oid, &v[row], ctx, out),
        ColumnData::Int4(v) => write_integer(i64::from(v[row]), out),
        ColumnData::Int8(v) => write_integer(v[row], out),
        ColumnData::Bytes(v) => bytea::write(v.get(row), ctx.format.bytea_escape, out),
        _ => write_value(oid, &column.datum(row), ctx, out),
    }
    true
}

/// Parses the text form of a value of type `ty`, and fits it to the typmod as an explicit cast does not: strings that
/// are too long are refused.
pub fn input(ty: SqlType, text: &str, ctx: &TextContext<'_>) -> SqlResult<Datum> {
    let value = input_bare(ty, text, ctx)?;
    if ty.typmod < 0 { Ok(value) } else { typmod::apply(value, ty, false) }
}

fn input_bare(ty: SqlType, text: &str, ctx: &TextContext<'_>) -> SqlResult<Datum> {
    let oid = ty.oid;
    Ok(match oid {
        Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::UNKNOWN | Oid::CSTRING | Oid::PG_NODE_TREE => {
            Datum::text(text)
        }
        Oid::BOOL => Datum::Bool(parse_bool(text).ok_or_else(|| invalid(oid, text))?),
        Oid::INT2 => Datum::Int2(parse_integer(oid, text)? as i16),
        Oid::INT4 => Datum::Int4(parse_integer(oid, text)? as i32),
        Oid::INT8 => Datum::Int8(parse_integer(oid, text)?),
        Oid::OID | Oid::XID | Oid::CID => Datum::Oid(reg::parse_oid(oid, text)?),
        Oid::FLOAT4 => Datum::Float4(float::parse_f32(text)?),
        Oid::FLOAT8 => Datum::Float8(float::parse_f64(text)?),
        Oid::NUMERIC => Datum::Numeric(Box::new(Numeric::parse(text)?)),
        Oid::NAME => Datum::text(truncate_name(text)),
        Oid::CHAR => Datum::text(text.chars().next().map_or("", |c| &text[..c.len_utf8()])),
        Oid::BYTEA => Datum::Bytes(bytea::parse(text)?.into()),
        Oid::DATE => Datum::Date(datetime::parse_date(text, ctx)?),
        Oid::TIME => Datum::Time(datetime::parse_time(text, ctx)?),
        Oid::TIMESTAMP => Datum::Timestamp(datetime::parse_timestamp(text, ctx)?),
        Oid::TIMESTAMPTZ => Datum::Timestamp(datetime::parse_timestamptz(text, ctx)?),
        Oid::INTERVAL => Datum::Interval(datetime::parse_interval(text, ty.typmod, ctx)?),
        Oid::UUID => Datum::Uuid(parse_uuid(text).ok_or_else(|| invalid(oid, text))?),
        Oid::JSON => {
            json::parse(text)?;
            Datum::text(text)
        }
        Oid::JSONB => Datum::Jsonb(Arc::new(json::parse(text)?)),
        Oid::VOID => Datum::text(""),
        Oid::INT2VECTOR | Oid::OIDVECTOR => array_text::parse_vector(oid, text, ctx)?,
        Oid::REGCLASS
        | Oid::REGTYPE
        | Oid::REGPROC
        | Oid::REGPROCEDURE
        | Oid::REGNAMESPACE
        | Oid::REGROLE
        | Oid::REGOPER
        | Oid::REGOPERATOR => Datum::Oid(reg::parse(oid, text, ctx.names)?),
        _ => match element_of(oid) {
            Some(element) => array_text::parse(SqlType::with_typmod(element, ty.typmod), text, ctx)?,
            None => return Err(SqlError::unsupported(format!("input of type {}", type_name(oid)))),
        },
    })
}

pub(crate) fn invalid(oid: Oid, text: &str) -> SqlError {
    SqlError::new(
        state::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {}: \"{text}\"", type_name(oid)),
    )
}

/// PostgreSQL's boolean words and their unique prefixes.
pub fn parse_bool(text: &str) -> Option<bool> {
    let word = text.trim_matches(|c: char| c.is_ascii_whitespace()).to_ascii_lowercase();
    let prefix_of = |full: &str| !word.is_empty() && full.starts_with(&word);
    match word.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if prefix_of("true") || prefix_of("yes") => Some(true),
        _ if prefix_of("false") || prefix_of("no") => Some(false),
        _ => None,
    }
}

fn parse_integer(oid: Oid, text: &str) -> SqlResult<i64> {
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let digits = body.strip_prefix(['+', '-']).unwrap_or(body);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid(oid, text));
    }
    let range = match oid {
        Oid::INT2 => i64::from(i16::MIN)..=i64::from(i16::MAX),
        Oid::INT4 => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    body.parse::<i64>().ok().filter(|v| range.contains(v)).ok_or_else(|| {
        SqlError::new(
            state::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type {}", type_name(oid)),
        )
    })
}

/// Names have at most 63 bytes.
pub fn truncate_name(name: &str) -> &str {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

fn write_integer(v: i64, out: &mut String) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut magnitude = v.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (magnitude % 10) as u8;
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    if v < 0 {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

fn write_uuid(bytes: &[u8; 16], out: &mut String) {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write!(out, "{byte:02x}").expect("writing to a string");
    }
}

/// 32 hex digits, with hyphens after any group of four, perhaps in braces.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let body = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut out = [0u8; 16];
    let mut nibbles = 0usize;
    let mut after_hyphen = true;
    for c in body.chars() {
        if c == '-' {
            if after_hyphen || !nibbles.is_multiple_of(4) || nibbles == 32 {
                return None;
            }
            after_hyphen = true;
            continue;
        }
        let digit = c.to_digit(16)? as u8;
        if nibbles == 32 {
            return None;
        }
        out[nibbles / 2] |= if nibbles.is_multiple_of(2) { digit << 4 } else { digit };
        nibbles += 1;
        after_hyphen = false;
    }
    (nibbles == 32 && !after_hyphen).then_some(out)
}
