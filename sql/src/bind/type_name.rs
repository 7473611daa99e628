//! Type names of the syntax tree to types with modifiers.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, IntervalFields, ObjectName, TimezoneInfo,
};

use super::name::{dotted, fold, object_name_parts};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{array_of, element_of, type_by_name};
use crate::types::{Oid, SqlType};

/// The type that a type name of the grammar means.
pub fn bind_data_type(ty: &DataType) -> SqlResult<SqlType> {
    let plain = |oid| Ok(SqlType::new(oid));
    match ty {
        DataType::Bool | DataType::Boolean => plain(Oid::BOOL),
        DataType::Int2(_) | DataType::SmallInt(_) => plain(Oid::INT2),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => plain(Oid::INT4),
        DataType::Int8(_) | DataType::BigInt(_) => plain(Oid::INT8),
        DataType::Real | DataType::Float4 => plain(Oid::FLOAT4),
        DataType::Float8 | DataType::DoublePrecision => plain(Oid::FLOAT8),
        DataType::Double(ExactNumberInfo::None) => plain(Oid::FLOAT8),
        DataType::Float(info) => float(info),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info),
        DataType::Text => plain(Oid::TEXT),
        DataType::Varchar(l) | DataType::CharacterVarying(l) | DataType::CharVarying(l) => {
            Ok(SqlType::with_typmod(Oid::VARCHAR, length(l.as_ref(), "varchar")?.map_or(-1, |n| n + 4)))
        }
        DataType::Char(l) | DataType::Character(l) => {
            Ok(SqlType::with_typmod(Oid::BPCHAR, length(l.as_ref(), "char")?.unwrap_or(1) + 4))
        }
        DataType::Bytea => plain(Oid::BYTEA),
        DataType::Uuid => plain(Oid::UUID),
        DataType::JSON => plain(Oid::JSON),
        DataType::JSONB => plain(Oid::JSONB),
        DataType::Date => plain(Oid::DATE),
        DataType::Regclass => plain(Oid::REGCLASS),
        DataType::Time(precision, zone) => {
            Ok(SqlType::with_typmod(if zoned(zone) { Oid::TIMETZ } else { Oid::TIME }, seconds(*precision)))
        }
        DataType::Timestamp(precision, zone) => Ok(SqlType::with_typmod(
            if zoned(zone) { Oid::TIMESTAMPTZ } else { Oid::TIMESTAMP },
            seconds(*precision),
        )),
        DataType::Interval { fields, precision } => {
            Ok(SqlType::with_typmod(Oid::INTERVAL, interval_typmod(fields.as_ref(), *precision)))
        }
        DataType::Array(def) => array(def),
        DataType::Custom(name, modifiers) => named(name, modifiers),
        DataType::Trigger => plain(Oid::TRIGGER),
        other => named_text(&other.to_string()),
    }
}

fn zoned(zone: &TimezoneInfo) -> bool {
    matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
}

/// PostgreSQL keeps at most microseconds.
fn seconds(precision: Option<u64>) -> i32 {
    precision.map_or(-1, |p| p.min(6) as i32)
}

fn length(length: Option<&CharacterLength>, name: &str) -> SqlResult<Option<i32>> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length: 0, .. }) => Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("length for type {name} must be at least 1"),
        )),
        Some(CharacterLength::IntegerLength { length, .. }) if *length <= 10_485_760 => {
            Ok(Some(*length as i32))
        }
        Some(CharacterLength::IntegerLength { .. }) => Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("length for type {name} cannot exceed 10485760"),
        )),
        Some(CharacterLength::Max) => {
            Err(SqlError::new(state::SYNTAX_ERROR, "syntax error at or near \"max\""))
        }
    }
}

fn float(info: &ExactNumberInfo) -> SqlResult<SqlType> {
    let bits = match info {
        ExactNumberInfo::None => 53,
        ExactNumberInfo::Precision(p) | ExactNumberInfo::PrecisionAndScale(p, _) => *p,
    };
    match bits {
        0 => Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            "precision for type float must be at least 1 bit",
        )),
        1..=24 => Ok(SqlType::new(Oid::FLOAT4)),
        25..=53 => Ok(SqlType::new(Oid::FLOAT8)),
        _ => Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            "precision for type float must be less than 54 bits",
        )),
    }
}

fn numeric(info: &ExactNumberInfo) -> SqlResult<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::new(Oid::NUMERIC)),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    if !(1..=1000).contains(&precision) {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        ));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("NUMERIC scale {scale} must be between -1000 and 1000"),
        ));
    }
    let typmod = ((precision as i32) << 16 | (scale as i32 & 0x7ff)) + 4;
    Ok(SqlType::with_typmod(Oid::NUMERIC, typmod))
}

/// PostgreSQL's INTERVAL_TYPMOD(precision, range): a mask of fields above sixteen bits of precision.
fn interval_typmod(fields: Option<&IntervalFields>, precision: Option<u64>) -> i32 {
    const YEAR: i32 = 1 << 2;
    const MONTH: i32 = 1 << 1;
    const DAY: i32 = 1 << 3;
    const HOUR: i32 = 1 << 10;
    const MINUTE: i32 = 1 << 11;
    const SECOND: i32 = 1 << 12;
    const FULL_RANGE: i32 = 0x7fff;
    const FULL_PRECISION: i32 = 0xffff;
    let range = match fields {
        None if precision.is_none() => return -1,
        None => FULL_RANGE,
        Some(IntervalFields::Year) => YEAR,
        Some(IntervalFields::Month) => MONTH,
        Some(IntervalFields::Day) => DAY,
        Some(IntervalFields::Hour) => HOUR,
        Some(IntervalFields::Minute) => MINUTE,
        Some(IntervalFields::Second) => SECOND,
        Some(IntervalFields::YearToMonth) => YEAR | MONTH,
        Some(IntervalFields::DayToHour) => DAY | HOUR,
        Some(IntervalFields::DayToMinute) => DAY | HOUR | MINUTE,
        Some(IntervalFields::DayToSecond) => DAY | HOUR | MINUTE | SECOND,
        Some(IntervalFields::HourToMinute) => HOUR | MINUTE,
        Some(IntervalFields::HourToSecond) => HOUR | MINUTE | SECOND,
        Some(IntervalFields::MinuteToSecond) => MINUTE | SECOND,
    };
    range << 16 | precision.map_or(FULL_PRECISION, |p| p.min(6) as i32)
}

fn array(def: &ArrayElemTypeDef) -> SqlResult<SqlType> {
    let element = match def {
        ArrayElemTypeDef::SquareBracket(element, _)
        | ArrayElemTypeDef::AngleBracket(element)
        | ArrayElemTypeDef::Parenthesis(element)
        | ArrayElemTypeDef::Qualified(element, _) => bind_data_type(element)?,
        ArrayElemTypeDef::None => return Err(SqlError::unsupported("an array without an element type")),
    };
    if element_of(element.oid).is_some() {
        return Ok(element);
    }
    let oid = array_of(element.oid).ok_or_else(|| {
        SqlError::new(
            state::UNDEFINED_OBJECT,
            format!("could not find array type for data type {}", crate::registry::type_name(element.oid)),
        )
    })?;
    Ok(SqlType::with_typmod(oid, element.typmod))
}

fn named(name: &ObjectName, modifiers: &[String]) -> SqlResult<SqlType> {
    let parts = object_name_parts(name)?;
    let (last, schema) = parts.split_last().ok_or_else(|| SqlError::internal("a type without a name"))?;
    let folded = fold(last);
    let in_catalog = schema.is_empty() || (schema.len() == 1 && fold(schema[0]) == "pg_catalog");
    // `"char"` in quotes is another type than `char`.
    let found = if !in_catalog {
        None
    } else if last.quote_style.is_some() {
        type_by_name(&format!("\"{folded}\""))
    } else {
        type_by_name(&folded)
    };
    let Some(oid) = found else {
        return Err(SqlError::new(
            state::UNDEFINED_OBJECT,
            format!("type \"{}\" does not exist", dotted(&parts)),
        ));
    };
    with_modifiers(oid, modifiers)
}

fn named_text(text: &str) -> SqlResult<SqlType> {
    let lower = text.to_ascii_lowercase();
    let name = lower.split('(').next().unwrap_or(&lower);
    type_by_name(name.trim())
        .map(SqlType::new)
        .ok_or_else(|| SqlError::new(state::UNDEFINED_OBJECT, format!("type \"{lower}\" does not exist")))
}

fn with_modifiers(oid: Oid, modifiers: &[String]) -> SqlResult<SqlType> {
    let number = |i: usize| modifiers.get(i).and_then(|m| m.trim().parse::<i64>().ok());
    let Some(first) = number(0) else { return Ok(SqlType::new(oid)) };
    match oid {
        Oid::VARCHAR | Oid::BPCHAR => {
            let l = CharacterLength::IntegerLength { length: first.max(0) as u64, unit: None };
            let n = length(Some(&l), if oid == Oid::VARCHAR { "varchar" } else { "char" })?;
            Ok(SqlType::with_typmod(oid, n.map_or(-1, |n| n + 4)))
        }
        Oid::NUMERIC => numeric(&match number(1) {
            Some(s) => ExactNumberInfo::PrecisionAndScale(first.max(0) as u64, s),
            None => ExactNumberInfo::Precision(first.max(0) as u64),
        }),
        Oid::TIME | Oid::TIMETZ | Oid::TIMESTAMP | Oid::TIMESTAMPTZ => {
            Ok(SqlType::with_typmod(oid, seconds(Some(first.max(0) as u64))))
        }
        _ => Err(SqlError::new(
            state::SYNTAX_ERROR,
            format!("type modifier is not allowed for type \"{}\"", crate::registry::type_name(oid)),
        )),
    }
}
