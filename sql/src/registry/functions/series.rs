//! Functions that make rows: generate_series, generate_subscripts, unnest, pg_partition_ancestors.

use super::arguments::{array, from_numeric, int, interval, micros, numeric};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{CallTypes, EvalContext, Function};
use crate::types::datetime::{add_interval, add_interval_in_zone};
use crate::types::{Datum, Interval, Numeric, Oid};

/// A limit on rows that are made in memory at once; a series beyond it is a mistake more often than not.
const MAX_ROWS: usize = 100_000_000;

type Rows = SqlResult<Vec<Vec<Datum>>>;

fn push(rows: &mut Vec<Vec<Datum>>, value: Datum) -> SqlResult<()> {
    if rows.len() >= MAX_ROWS {
        return Err(SqlError::new(state::PROGRAM_LIMIT_EXCEEDED, "too many rows from one function call"));
    }
    rows.push(vec![value]);
    Ok(())
}

fn zero_step() -> SqlError {
    SqlError::new(state::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

fn integers(_: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> Rows {
    let (start, stop) = (int(&args[0]), int(&args[1]));
    let step = args.get(2).map_or(1, int);
    if step == 0 {
        return Err(zero_step());
    }
    let wrap = |v: i64| if types.result.oid == Oid::INT4 { Datum::Int4(v as i32) } else { Datum::Int8(v) };
    let mut rows = Vec::new();
    let mut value = start;
    while if step > 0 { value <= stop } else { value >= stop } {
        push(&mut rows, wrap(value))?;
        match value.checked_add(step) {
            Some(next) => value = next,
            None => break,
        }
    }
    Ok(rows)
}

/// There are no partitions: nothing has ancestors.
fn no_rows(_: &EvalContext<'_>, _: &CallTypes<'_>, _: &[Datum]) -> Rows {
    Ok(Vec::new())
}

fn numerics(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> Rows {
    let (start, stop) = (numeric(&args[0]), numeric(&args[1]));
    let step = args.get(2).map_or_else(|| Numeric::from(1), |s| numeric(s).clone());
    for (value, name) in [(start, "start"), (stop, "stop"), (&step, "step size")] {
        let what = if name == "step size" { name.to_owned() } else { format!("{name} value") };
        if value.is_nan() {
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, format!("{what} cannot be NaN")));
        }
        if value.is_infinite() {
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, format!("{what} cannot be infinity")));
        }
    }
    if step.is_zero() {
        return Err(zero_step());
    }
    let mut rows = Vec::new();
    let mut value = start.clone();
    while if step.is_negative() { value.compare(stop).is_ge() } else { value.compare(stop).is_le() } {
        push(&mut rows, from_numeric(value.clone()))?;
        value = value.add(&step)?;
    }
    Ok(rows)
}

fn times(args: &[Datum], add: &dyn Fn(i64, &Interval) -> SqlResult<i64>) -> Rows {
    let (start, stop, step) = (micros(&args[0]), micros(&args[1]), interval(&args[2]));
    let span = step.span();
    if span == 0 {
        return Err(zero_step());
    }
    let mut rows = Vec::new();
    let mut value = start;
    while if span > 0 { value <= stop } else { value >= stop } {
        push(&mut rows, Datum::Timestamp(value))?;
        value = add(value, step)?;
    }
    Ok(rows)
}

fn timestamps(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> Rows {
    times(args, &add_interval)
}

fn timestamptzs(ctx: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> Rows {
    times(args, &|t, step| add_interval_in_zone(t, step, &ctx.format.time_zone))
}

fn unnest(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> Rows {
    Ok(array(&args[0]).elements.iter().map(|e| vec![e.clone()]).collect())
}

fn subscripts(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> Rows {
    let dimension = int(&args[1]);
    let reverse = args.get(2) == Some(&Datum::Bool(true));
    let dims = &array(&args[0]).dims;
    let Some(&(length, lower)) = usize::try_from(dimension - 1).ok().and_then(|d| dims.get(d)) else {
        return Ok(Vec::new());
    };
    let mut rows: Vec<Vec<Datum>> = (lower..lower + length).map(|i| vec![Datum::Int4(i)]).collect();
    if reverse {
        rows.reverse();
    }
    Ok(rows)
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::set(1067, "generate_series", &[Oid::INT4, Oid::INT4], Oid::INT4, integers),
    Function::set(1066, "generate_series", &[Oid::INT4, Oid::INT4, Oid::INT4], Oid::INT4, integers),
    Function::set(1069, "generate_series", &[Oid::INT8, Oid::INT8], Oid::INT8, integers),
    Function::set(1068, "generate_series", &[Oid::INT8, Oid::INT8, Oid::INT8], Oid::INT8, integers),
    Function::set(3260, "generate_series", &[Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, numerics),
    Function::set(3259, "generate_series", &[Oid::NUMERIC, Oid::NUMERIC, Oid::NUMERIC], Oid::NUMERIC, numerics),
    Function::set(938, "generate_series", &[Oid::TIMESTAMP, Oid::TIMESTAMP, Oid::INTERVAL], Oid::TIMESTAMP, timestamps),
    Function::set(939, "generate_series", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ, Oid::INTERVAL], Oid::TIMESTAMPTZ, timestamptzs).stable(),
    Function::set(2331, "unnest", &[Oid::ANYARRAY], Oid::ANYELEMENT, unnest),
    Function::set(3425, "pg_partition_ancestors", &[Oid::REGCLASS], Oid::REGCLASS, no_rows).volatile(),
    Function::set(1192, "generate_subscripts", &[Oid::ANYARRAY, Oid::INT4], Oid::INT4, subscripts),
    Function::set(1191, "generate_subscripts", &[Oid::ANYARRAY, Oid::INT4, Oid::BOOL], Oid::INT4, subscripts),
];
