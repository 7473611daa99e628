//! Type modifiers: what `varchar(10)`, `numeric(8,2)`, `timestamp(3)`, `interval day to second` do to a value.

use std::sync::Arc;

use super::{Array, Datum, Oid, SqlType};
use crate::error::{SqlError, SqlResult, state};

/// Fields of an interval typmod (the bits of PostgreSQL's INTERVAL_MASK).
const YEAR: i32 = 1 << 2;
const MONTH: i32 = 1 << 1;
const DAY: i32 = 1 << 3;
const HOUR: i32 = 1 << 10;
const MINUTE: i32 = 1 << 11;
const SECOND: i32 = 1 << 12;
const FULL_RANGE: i32 = 0x7FFF;
const FULL_PRECISION: i32 = 0xFFFF;

/// The typmod of varchar(n) and char(n).
pub fn length(n: i32) -> i32 {
    n + 4
}

pub fn numeric(precision: i32, scale: i32) -> i32 {
    ((precision << 16) | (scale & 0x7ff)) + 4
}

/// (precision, scale) of a numeric typmod; the scale may be negative.
pub fn numeric_parts(typmod: i32) -> (i32, i32) {
    let bits = typmod - 4;
    let scale = ((bits & 0x7ff) ^ 1024) - 1024;
    ((bits >> 16) & 0xffff, scale)
}

/// The typmod that a type's parenthesised numbers mean, as in `numeric(8,2)`; no numbers: -1 (char: 1).
pub fn from_numbers(oid: Oid, numbers: &[i64]) -> SqlResult<i32> {
    let invalid = |message: String| Err(SqlError::new(state::INVALID_PARAMETER_VALUE, message));
    match (oid, numbers) {
        (_, []) => Ok(-1),
        (Oid::VARCHAR | Oid::BPCHAR, [n]) => {
            let name = if oid == Oid::VARCHAR { "varchar" } else { "char" };
            match *n {
                n if n < 1 => invalid(format!("length for type {name} must be at least 1")),
                n if n > 10_485_760 => invalid(format!("length for type {name} cannot exceed 10485760")),
                n => Ok(length(n as i32)),
            }
        }
        (Oid::NUMERIC, [p] | [p, _]) if !(1..=1000).contains(p) => {
            invalid(format!("NUMERIC precision {p} must be between 1 and 1000"))
        }
        (Oid::NUMERIC, [_, s]) if !(-1000..=1000).contains(s) => {
            invalid(format!("NUMERIC scale {s} must be between -1000 and 1000"))
        }
        (Oid::NUMERIC, [p]) => Ok(numeric(*p as i32, 0)),
        (Oid::NUMERIC, [p, s]) => Ok(numeric(*p as i32, *s as i32)),
        (Oid::NUMERIC, _) => invalid("invalid NUMERIC type modifier".into()),
        (Oid::TIME | Oid::TIMETZ | Oid::TIMESTAMP | Oid::TIMESTAMPTZ, [n]) => Ok((*n).clamp(0, 6) as i32),
        (Oid::INTERVAL, [n]) => Ok(interval(FULL_RANGE, Some((*n).clamp(0, 6) as i32))),
        _ => Err(SqlError::new(
            state::SYNTAX_ERROR,
            format!("type modifier is not allowed for type \"{}\"", crate::registry::type_name(oid)),
        )),
    }
}

fn interval(range: i32, precision: Option<i32>) -> i32 {
    (range << 16) | precision.unwrap_or(FULL_PRECISION)
}

/// The typmod of `interval <fields> [(precision)]`; `fields` as written, such as "day to second".
pub fn interval_fields(fields: &str, precision: Option<i32>) -> Option<i32> {
    let range = match fields.to_ascii_lowercase().as_str() {
        "year" => YEAR,
        "month" => MONTH,
        "day" => DAY,
        "hour" => HOUR,
        "minute" => MINUTE,
        "second" => SECOND,
        "year to month" => YEAR | MONTH,
        "day to hour" => DAY | HOUR,
        "day to minute" => DAY | HOUR | MINUTE,
        "day to second" => DAY | HOUR | MINUTE | SECOND,
        "hour to minute" => HOUR | MINUTE,
        "hour to second" => HOUR | MINUTE | SECOND,
        "minute to second" => MINUTE | SECOND,
        _ => return None,
    };
    Some(interval(range, precision))
}

pub fn format_interval(typmod: i32) -> String {
    let range = (typmod >> 16) & FULL_RANGE;
    let precision = typmod & FULL_PRECISION;
    let names = [
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "year to month",
        "day to hour",
        "day to minute",
        "day to second",
        "hour to minute",
        "hour to second",
        "minute to second",
    ];
    let fields =
        names.iter().find(|n| interval_fields(n, None).is_some_and(|m| (m >> 16) & FULL_RANGE == range));
    let fields = fields.map_or(String::new(), |f| format!(" {f}"));
    let precision = if precision == FULL_PRECISION { String::new() } else { format!("({precision})") };
    format!("interval{fields}{precision}")
}

/// Fits a value of type `ty.oid` to `ty.typmod`. An explicit cast cuts strings that are too long; an assignment
/// refuses them, except for trailing blanks.
pub fn apply(value: Datum, ty: SqlType, explicit: bool) -> SqlResult<Datum> {
    if ty.typmod < 0 {
        return Ok(value);
    }
    match (ty.oid, value) {
        (Oid::VARCHAR, Datum::Text(s)) => varchar(s, (ty.typmod - 4) as usize, explicit),
        (Oid::BPCHAR, Datum::Text(s)) => bpchar(s, (ty.typmod - 4) as usize, explicit),
        (Oid::NUMERIC, Datum::Numeric(n)) => {
            let (precision, scale) = numeric_parts(ty.typmod);
            Ok(Datum::Numeric(Box::new(n.apply_typmod(precision, scale)?)))
        }
        (Oid::TIME, Datum::Time(t)) => Ok(Datum::Time(round_micros(t, ty.typmod))),
        (Oid::TIMESTAMP | Oid::TIMESTAMPTZ, Datum::Timestamp(t)) if t != i64::MAX && t != i64::MIN => {
            Ok(Datum::Timestamp(round_micros(t, ty.typmod)))
        }
        (Oid::INTERVAL, Datum::Interval(i)) => Ok(Datum::Interval(apply_interval(i, ty.typmod))),
        (oid, Datum::Array(a)) if crate::registry::element_of(oid).is_some() => {
            let element = SqlType::with_typmod(a.element, ty.typmod);
            let elements = a
                .elements
                .iter()
                .map(|e| apply(e.clone(), element, explicit))
                .collect::<SqlResult<Vec<_>>>()?;
            Ok(Datum::Array(Arc::new(Array { element: a.element, dims: a.dims.clone(), elements })))
        }
        (_, value) => Ok(value),
    }
}

fn varchar(s: Arc<str>, limit: usize, explicit: bool) -> SqlResult<Datum> {
    match split_at_char(&s, limit) {
        None => Ok(Datum::Text(s)),
        Some((kept, rest)) if explicit || rest.bytes().all(|b| b == b' ') => Ok(Datum::text(kept)),
        Some(_) => Err(too_long("character varying", limit)),
    }
}

fn bpchar(s: Arc<str>, limit: usize, explicit: bool) -> SqlResult<Datum> {
    match split_at_char(&s, limit) {
        None => {
            let missing = limit - s.chars().count();
            if missing == 0 {
                Ok(Datum::Text(s))
            } else {
                Ok(Datum::text(&format!("{s}{}", " ".repeat(missing))))
            }
        }
        Some((kept, rest)) if explicit || rest.bytes().all(|b| b == b' ') => Ok(Datum::text(kept)),
        Some(_) => Err(too_long("character", limit)),
    }
}

fn too_long(name: &str, limit: usize) -> SqlError {
    SqlError::new(state::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {name}({limit})"))
}

/// Splits after `limit` characters, if there are more.
fn split_at_char(s: &str, limit: usize) -> Option<(&str, &str)> {
    if s.len() <= limit {
        return None;
    }
    s.char_indices().nth(limit).map(|(at, _)| s.split_at(at))
}

/// Rounds to `digits` fractional digits of a second, halves away from zero.
fn round_micros(t: i64, digits: i32) -> i64 {
    let unit = 10i64.pow((6 - digits.clamp(0, 6)) as u32);
    if t >= 0 { (t + unit / 2) / unit * unit } else { -((-t + unit / 2) / unit * unit) }
}

fn apply_interval(mut i: super::Interval, typmod: i32) -> super::Interval {
    let range = (typmod >> 16) & FULL_RANGE;
    let precision = typmod & FULL_PRECISION;
    const HOUR_MICROS: i64 = 3_600_000_000;
    const MINUTE_MICROS: i64 = 60_000_000;
    if range != FULL_RANGE {
        let finest_time = if range & SECOND != 0 {
            1
        } else if range & MINUTE != 0 {
            MINUTE_MICROS
        } else if range & HOUR != 0 {
            HOUR_MICROS
        } else {
            i64::MAX
        };
        i.micros = if finest_time == i64::MAX { 0 } else { i.micros / finest_time * finest_time };
        if range & (DAY | HOUR | MINUTE | SECOND) == 0 {
            i.days = 0;
        }
        if range == YEAR {
            i.months = i.months / 12 * 12;
        }
    }
    if precision != FULL_PRECISION {
        i.micros = round_micros(i.micros, precision);
    }
    i
}
