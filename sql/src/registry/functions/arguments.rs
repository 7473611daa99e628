//! Reading arguments: the registry's types guarantee which variant an argument is.

use std::sync::Arc;

use crate::types::{Array, Datum, Interval, Json, Numeric};

pub(super) use super::integer::int;

pub(super) fn text(value: &Datum) -> &str {
    match value {
        Datum::Text(v) => v,
        other => unreachable!("a text argument is {other:?}"),
    }
}

pub(super) fn bytes(value: &Datum) -> &[u8] {
    match value {
        Datum::Bytes(v) => v,
        other => unreachable!("a bytea argument is {other:?}"),
    }
}

pub(super) fn boolean(value: &Datum) -> bool {
    match value {
        Datum::Bool(v) => *v,
        other => unreachable!("a boolean argument is {other:?}"),
    }
}

pub(super) fn float(value: &Datum) -> f64 {
    match value {
        Datum::Float8(v) => *v,
        Datum::Float4(v) => f64::from(*v),
        other => unreachable!("a float argument is {other:?}"),
    }
}

pub(super) fn numeric(value: &Datum) -> &Numeric {
    match value {
        Datum::Numeric(v) => v,
        other => unreachable!("a numeric argument is {other:?}"),
    }
}

pub(super) fn date(value: &Datum) -> i32 {
    match value {
        Datum::Date(v) => *v,
        other => unreachable!("a date argument is {other:?}"),
    }
}

/// A timestamp of either kind, or a time: microseconds.
pub(super) fn micros(value: &Datum) -> i64 {
    match value {
        Datum::Timestamp(v) | Datum::Time(v) => *v,
        other => unreachable!("a timestamp argument is {other:?}"),
    }
}

pub(super) fn interval(value: &Datum) -> &Interval {
    match value {
        Datum::Interval(v) => v,
        other => unreachable!("an interval argument is {other:?}"),
    }
}

pub(super) fn array(value: &Datum) -> &Arc<Array> {
    match value {
        Datum::Array(v) => v,
        other => unreachable!("an array argument is {other:?}"),
    }
}

pub(super) fn json(value: &Datum) -> &Json {
    match value {
        Datum::Jsonb(v) => v,
        other => unreachable!("a jsonb argument is {other:?}"),
    }
}

pub(super) fn from_numeric(value: Numeric) -> Datum {
    Datum::Numeric(Box::new(value))
}
