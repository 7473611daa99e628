//! Arithmetic and conversions of dates, times, timestamps and intervals.

use super::arguments::{date, float, int, interval, micros, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function};
use crate::types::datetime::*;
use crate::types::{Datum, Interval, Oid};

fn ts(t: i64) -> Datum {
    Datum::Timestamp(t)
}

fn checked_interval(value: Option<Interval>) -> SqlResult<Datum> {
    value.map(Datum::Interval).ok_or_else(interval_out_of_range)
}

fn negated(i: &Interval) -> SqlResult<Interval> {
    i.checked_neg().ok_or_else(interval_out_of_range)
}

fn date_plus(days: i32, by: i64) -> SqlResult<Datum> {
    if days == DATE_INFINITY || days == DATE_NEG_INFINITY {
        return Ok(Datum::Date(days));
    }
    check_date(i64::from(days) + by).map(Datum::Date)
}

fn date_pl_int(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    date_plus(date(&args[0]), int(&args[1]))
}

fn int_pl_date(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    date_plus(date(&args[1]), int(&args[0]))
}

fn date_mi_int(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    date_plus(date(&args[0]), -int(&args[1]))
}

fn date_mi_date(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let infinite = |d: i32| d == DATE_INFINITY || d == DATE_NEG_INFINITY;
    let (a, b) = (date(&args[0]), date(&args[1]));
    if infinite(a) || infinite(b) {
        return Err(SqlError::new(state::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"));
    }
    Ok(Datum::Int4(a - b))
}

fn date_pl_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval(date_to_timestamp(date(&args[0]))?, interval(&args[1])).map(ts)
}

fn interval_pl_date(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    date_pl_interval(ctx, &[args[1].clone(), args[0].clone()])
}

fn date_mi_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval(date_to_timestamp(date(&args[0]))?, &negated(interval(&args[1]))?).map(ts)
}

fn date_pl_time(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (day, time) = match (&args[0], &args[1]) {
        (Datum::Date(day), time) => (*day, micros(time)),
        (time, day) => (date(day), micros(time)),
    };
    match date_to_timestamp(day)? {
        t if is_finite(t) => check_timestamp(t + time).map(ts),
        t => Ok(ts(t)),
    }
}

fn timestamp_pl_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval(micros(&args[0]), interval(&args[1])).map(ts)
}

fn interval_pl_timestamp(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval(micros(&args[1]), interval(&args[0])).map(ts)
}

fn timestamp_mi_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval(micros(&args[0]), &negated(interval(&args[1]))?).map(ts)
}

fn timestamptz_pl_interval(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval_in_zone(micros(&args[0]), interval(&args[1]), &ctx.format.time_zone).map(ts)
}

fn interval_pl_timestamptz(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval_in_zone(micros(&args[1]), interval(&args[0]), &ctx.format.time_zone).map(ts)
}

fn timestamptz_mi_interval(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    add_interval_in_zone(micros(&args[0]), &negated(interval(&args[1]))?, &ctx.format.time_zone).map(ts)
}

fn timestamp_mi(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    subtract_timestamps(micros(&args[0]), micros(&args[1])).map(Datum::Interval)
}

fn time_plus(time: i64, by: i64) -> Datum {
    Datum::Time((i128::from(time) + i128::from(by)).rem_euclid(i128::from(MICROS_PER_DAY)) as i64)
}

fn time_pl_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(time_plus(micros(&args[0]), interval(&args[1]).micros))
}

fn interval_pl_time(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(time_plus(micros(&args[1]), interval(&args[0]).micros))
}

fn time_mi_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(time_plus(micros(&args[0]), interval(&args[1]).micros.wrapping_neg()))
}

fn time_mi_time(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Interval(Interval { months: 0, days: 0, micros: micros(&args[0]) - micros(&args[1]) }))
}

fn interval_pl(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    checked_interval(interval(&args[0]).checked_add(interval(&args[1])))
}

fn interval_mi(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (a, b) = (interval(&args[0]), interval(&args[1]));
    let difference = || {
        Some(Interval {
            months: a.months.checked_sub(b.months)?,
            days: a.days.checked_sub(b.days)?,
            micros: a.micros.checked_sub(b.micros)?,
        })
    };
    checked_interval(difference())
}

fn interval_um(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    checked_interval(interval(&args[0]).checked_neg())
}

fn interval_mul(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    interval(&args[0]).scale(float(&args[1])).map(Datum::Interval)
}

fn mul_d_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    interval(&args[1]).scale(float(&args[0])).map(Datum::Interval)
}

fn interval_div(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    match float(&args[1]) {
        0.0 => Err(SqlError::new(state::DIVISION_BY_ZERO, "division by zero")),
        divisor => interval(&args[0]).divide(divisor).map(Datum::Interval),
    }
}

fn justified(args: &[Datum], justify: fn(&Interval) -> Interval) -> SqlResult<Datum> {
    Ok(Datum::Interval(justify(interval(&args[0]))))
}

fn do_justify_hours(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    justified(args, justify_hours)
}

fn do_justify_days(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    justified(args, justify_days)
}

fn do_justify_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    justified(args, justify_interval)
}

fn age_timestamps(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    age(micros(&args[0]), micros(&args[1])).map(Datum::Interval)
}

fn local(ctx: &EvalContext<'_>, t: i64) -> i64 {
    if is_finite(t) { ctx.format.time_zone.to_local(t) } else { t }
}

fn age_timestamptzs(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    age(local(ctx, micros(&args[0])), local(ctx, micros(&args[1]))).map(Datum::Interval)
}

/// Midnight of the transaction's day, in local time.
fn today(ctx: &EvalContext<'_>) -> i64 {
    split_timestamp(local(ctx, ctx.transaction_time)).0
}

fn age_timestamp(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    age(join_timestamp(today(ctx), 0)?, micros(&args[0])).map(Datum::Interval)
}

fn age_timestamptz(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    age(join_timestamp(today(ctx), 0)?, local(ctx, micros(&args[0]))).map(Datum::Interval)
}

fn now(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(ts(ctx.transaction_time))
}

fn statement_timestamp(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(ts(ctx.statement_time))
}

fn clock_timestamp(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(ts(ctx.session.clock().unwrap_or(ctx.statement_time)))
}

fn current_date(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Date(today(ctx) as i32))
}

fn local_timestamp(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(ts(local(ctx, ctx.transaction_time)))
}

fn local_time(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Time(split_timestamp(local(ctx, ctx.transaction_time)).1))
}

fn is_finite_value(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(match &args[0] {
        Datum::Date(d) => *d != DATE_INFINITY && *d != DATE_NEG_INFINITY,
        Datum::Timestamp(t) => is_finite(*t),
        _ => true,
    }))
}

/// `(s1, e1) OVERLAPS (s2, e2)`; ends may be NULL, and be given in either order.
fn overlaps(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let period = |a: &Datum, b: &Datum| -> Option<(i64, Option<i64>)> {
        match (a, b) {
            (Datum::Null, Datum::Null) => None,
            (Datum::Null, t) | (t, Datum::Null) => Some((micros(t), None)),
            (a, b) => Some((micros(a).min(micros(b)), Some(micros(a).max(micros(b))))),
        }
    };
    let (Some((s1, e1)), Some((s2, e2))) = (period(&args[0], &args[1]), period(&args[2], &args[3])) else {
        return Ok(Datum::Null);
    };
    Ok(match s1.cmp(&s2) {
        std::cmp::Ordering::Equal if e1.is_some() && e2.is_some() => Datum::Bool(true),
        std::cmp::Ordering::Equal => Datum::Null,
        std::cmp::Ordering::Greater => e2.map_or(Datum::Null, |e| Datum::Bool(s1 < e)),
        std::cmp::Ordering::Less => e1.map_or(Datum::Null, |e| Datum::Bool(s2 < e)),
    })
}

/// A period may be given by its start and length.
fn overlaps_lengths(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let end = |start: &Datum, end: &Datum| match (start, end) {
        (start, Datum::Interval(_)) if start.is_null() => Ok(Datum::Null),
        (Datum::Timestamp(t), Datum::Interval(i)) => add_interval(*t, i).map(ts),
        (Datum::Time(t), Datum::Interval(i)) => Ok(time_plus(*t, i.micros)),
        (_, end) => Ok(end.clone()),
    };
    let (first, second) = (end(&args[0], &args[1])?, end(&args[2], &args[3])?);
    overlaps(ctx, &[args[0].clone(), first, args[2].clone(), second])
}

fn overlaps_lengths_zoned(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let end = |start: &Datum, end: &Datum| match (start, end) {
        (Datum::Timestamp(t), Datum::Interval(i)) => {
            add_interval_in_zone(*t, i, &ctx.format.time_zone).map(ts)
        }
        (_, Datum::Interval(_)) => Ok(Datum::Null),
        (_, end) => Ok(end.clone()),
    };
    let (first, second) = (end(&args[0], &args[1])?, end(&args[2], &args[3])?);
    overlaps(ctx, &[args[0].clone(), first, args[2].clone(), second])
}

fn zone_named(name: &str) -> SqlResult<TimeZone> {
    TimeZone::by_name(name).ok_or_else(|| {
        SqlError::new(state::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
    })
}

fn zone_of(value: &Datum) -> SqlResult<TimeZone> {
    match value {
        Datum::Interval(i) if i.months != 0 || i.days != 0 => Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!(
                "interval time zone \"{}\" must not include months or days",
                crate::types::text::output(
                    Oid::INTERVAL,
                    value,
                    &crate::types::text::TextContext::detached()
                )
            ),
        )),
        Datum::Interval(i) => Ok(TimeZone::fixed((i.micros / MICROS_PER_SECOND) as i32)),
        name => zone_named(text(name)),
    }
}

/// `timestamp AT TIME ZONE zone`.
fn timestamp_at_zone(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let t = micros(&args[1]);
    if is_finite(t) { check_timestamp(zone_of(&args[0])?.to_utc(t)).map(ts) } else { Ok(ts(t)) }
}

/// `timestamptz AT TIME ZONE zone`.
fn timestamptz_at_zone(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let t = micros(&args[1]);
    if is_finite(t) { check_timestamp(zone_of(&args[0])?.to_local(t)).map(ts) } else { Ok(ts(t)) }
}

fn date_to_ts(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    date_to_timestamp(date(&args[0])).map(ts)
}

fn date_to_tstz(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    match date_to_timestamp(date(&args[0]))? {
        t if is_finite(t) => check_timestamp(ctx.format.time_zone.to_utc(t)).map(ts),
        t => Ok(ts(t)),
    }
}

fn ts_to_date(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Date(timestamp_to_date(micros(&args[0]))))
}

fn tstz_to_date(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Date(timestamp_to_date(local(ctx, micros(&args[0])))))
}

fn time_of_day(t: i64) -> Datum {
    if is_finite(t) { Datum::Time(split_timestamp(t).1) } else { Datum::Null }
}

fn ts_to_time(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(time_of_day(micros(&args[0])))
}

fn tstz_to_time(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(time_of_day(local(ctx, micros(&args[0]))))
}

fn ts_to_tstz(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let t = micros(&args[0]);
    if is_finite(t) { check_timestamp(ctx.format.time_zone.to_utc(t)).map(ts) } else { Ok(ts(t)) }
}

fn tstz_to_ts(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(ts(local(ctx, micros(&args[0]))))
}

fn time_to_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Interval(Interval { months: 0, days: 0, micros: micros(&args[0]) }))
}

fn interval_to_time(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Time(interval(&args[0]).micros.rem_euclid(MICROS_PER_DAY)))
}

fn epoch_to_tstz(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let seconds = float(&args[0]);
    if seconds.is_nan() {
        return Err(SqlError::new(state::DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(ts(if seconds > 0.0 { TIMESTAMP_INFINITY } else { TIMESTAMP_NEG_INFINITY }));
    }
    let micros = ((seconds - (EPOCH_DAYS * 86_400) as f64) * 1e6).round_ties_even();
    if micros < MIN_TIMESTAMP as f64 || micros >= END_TIMESTAMP as f64 {
        return Err(SqlError::new(
            state::DATETIME_FIELD_OVERFLOW,
            format!("timestamp out of range: \"{seconds}\""),
        ));
    }
    Ok(ts(micros as i64))
}

fn civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let astronomical = match year {
        0 => return None,
        y if y < 0 => y + 1,
        y => y,
    };
    let valid = (1..=12).contains(&month) && (1..=days_in_month(astronomical, month)).contains(&day);
    valid.then(|| days_from_civil(astronomical, month, day))
}

fn make_date(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (year, month, day) = (int(&args[0]), int(&args[1]), int(&args[2]));
    let days = civil(year, month, day).ok_or_else(|| {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        SqlError::new(state::DATETIME_FIELD_OVERFLOW, message)
    })?;
    check_date(days).map(Datum::Date).map_err(|_| {
        let message = format!("date out of range: {year}-{month:02}-{day:02}");
        SqlError::new(state::DATETIME_FIELD_OVERFLOW, message)
    })
}

fn clock(hour: i64, minute: i64, second: f64) -> SqlResult<i64> {
    let total = (hour * 60 + minute) * MICROS_PER_MINUTE + (second * 1e6).round_ties_even() as i64;
    let valid = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    if !valid || total > MICROS_PER_DAY {
        return Err(SqlError::new(
            state::DATETIME_FIELD_OVERFLOW,
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        ));
    }
    Ok(total)
}

fn make_time(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    clock(int(&args[0]), int(&args[1]), float(&args[2])).map(Datum::Time)
}

fn make_local(args: &[Datum]) -> SqlResult<i64> {
    let (year, month, day) = (int(&args[0]), int(&args[1]), int(&args[2]));
    let days = civil(year, month, day).ok_or_else(|| {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        SqlError::new(state::DATETIME_FIELD_OVERFLOW, message)
    })?;
    join_timestamp(days, clock(int(&args[3]), int(&args[4]), float(&args[5]))?)
}

fn make_timestamp(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    make_local(args).map(ts)
}

fn make_timestamptz(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let local = make_local(args)?;
    let utc = match args.get(6) {
        Some(zone) => zone_named(text(zone))?.to_utc(local),
        None => ctx.format.time_zone.to_utc(local),
    };
    check_timestamp(utc).map(ts)
}

/// Years, months, weeks, days, hours, minutes, seconds; those not given are zero.
fn make_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let part = |i: usize| args.get(i).map_or(0, int);
    let seconds = args.get(6).map_or(0.0, float);
    if !seconds.is_finite() {
        return Err(interval_out_of_range());
    }
    let months = part(0) * 12 + part(1);
    let days = part(2) * 7 + part(3);
    let micros =
        part(4) * MICROS_PER_HOUR + part(5) * MICROS_PER_MINUTE + (seconds * 1e6).round_ties_even() as i64;
    match (i32::try_from(months), i32::try_from(days)) {
        (Ok(months), Ok(days)) => Ok(Datum::Interval(Interval { months, days, micros })),
        _ => Err(interval_out_of_range()),
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(1141, "date_pli", &[Oid::DATE, Oid::INT4], Oid::DATE, date_pl_int),
    Function::row(2550, "integer_pl_date", &[Oid::INT4, Oid::DATE], Oid::DATE, int_pl_date),
    Function::row(1142, "date_mii", &[Oid::DATE, Oid::INT4], Oid::DATE, date_mi_int),
    Function::row(1140, "date_mi", &[Oid::DATE, Oid::DATE], Oid::INT4, date_mi_date),
    Function::row(2071, "date_pl_interval", &[Oid::DATE, Oid::INTERVAL], Oid::TIMESTAMP, date_pl_interval),
    Function::row(2546, "interval_pl_date", &[Oid::INTERVAL, Oid::DATE], Oid::TIMESTAMP, interval_pl_date),
    Function::row(2072, "date_mi_interval", &[Oid::DATE, Oid::INTERVAL], Oid::TIMESTAMP, date_mi_interval),
    Function::row(1272, "datetime_pl", &[Oid::DATE, Oid::TIME], Oid::TIMESTAMP, date_pl_time),
    Function::row(1296, "timedate_pl", &[Oid::TIME, Oid::DATE], Oid::TIMESTAMP, date_pl_time),
    Function::row(2032, "timestamp_pl_interval", &[Oid::TIMESTAMP, Oid::INTERVAL], Oid::TIMESTAMP, timestamp_pl_interval),
    Function::row(2548, "interval_pl_timestamp", &[Oid::INTERVAL, Oid::TIMESTAMP], Oid::TIMESTAMP, interval_pl_timestamp),
    Function::row(2033, "timestamp_mi_interval", &[Oid::TIMESTAMP, Oid::INTERVAL], Oid::TIMESTAMP, timestamp_mi_interval),
    Function::row(1189, "timestamptz_pl_interval", &[Oid::TIMESTAMPTZ, Oid::INTERVAL], Oid::TIMESTAMPTZ, timestamptz_pl_interval).stable(),
    Function::row(2549, "interval_pl_timestamptz", &[Oid::INTERVAL, Oid::TIMESTAMPTZ], Oid::TIMESTAMPTZ, interval_pl_timestamptz).stable(),
    Function::row(1190, "timestamptz_mi_interval", &[Oid::TIMESTAMPTZ, Oid::INTERVAL], Oid::TIMESTAMPTZ, timestamptz_mi_interval).stable(),
    Function::row(2031, "timestamp_mi", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::INTERVAL, timestamp_mi),
    Function::row(1188, "timestamptz_mi", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::INTERVAL, timestamp_mi),
    Function::row(1747, "time_pl_interval", &[Oid::TIME, Oid::INTERVAL], Oid::TIME, time_pl_interval),
    Function::row(1848, "interval_pl_time", &[Oid::INTERVAL, Oid::TIME], Oid::TIME, interval_pl_time),
    Function::row(1748, "time_mi_interval", &[Oid::TIME, Oid::INTERVAL], Oid::TIME, time_mi_interval),
    Function::row(1690, "time_mi_time", &[Oid::TIME, Oid::TIME], Oid::INTERVAL, time_mi_time),
    Function::row(1169, "interval_pl", &[Oid::INTERVAL, Oid::INTERVAL], Oid::INTERVAL, interval_pl),
    Function::row(1170, "interval_mi", &[Oid::INTERVAL, Oid::INTERVAL], Oid::INTERVAL, interval_mi),
    Function::row(1168, "interval_um", &[Oid::INTERVAL], Oid::INTERVAL, interval_um),
    Function::row(1618, "interval_mul", &[Oid::INTERVAL, Oid::FLOAT8], Oid::INTERVAL, interval_mul),
    Function::row(1624, "mul_d_interval", &[Oid::FLOAT8, Oid::INTERVAL], Oid::INTERVAL, mul_d_interval),
    Function::row(1326, "interval_div", &[Oid::INTERVAL, Oid::FLOAT8], Oid::INTERVAL, interval_div),
    Function::row(1175, "justify_hours", &[Oid::INTERVAL], Oid::INTERVAL, do_justify_hours),
    Function::row(1295, "justify_days", &[Oid::INTERVAL], Oid::INTERVAL, do_justify_days),
    Function::row(2711, "justify_interval", &[Oid::INTERVAL], Oid::INTERVAL, do_justify_interval),
    Function::row(2058, "age", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::INTERVAL, age_timestamps),
    Function::row(1199, "age", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::INTERVAL, age_timestamptzs),
    Function::row(2059, "age", &[Oid::TIMESTAMP], Oid::INTERVAL, age_timestamp).stable(),
    Function::row(1386, "age", &[Oid::TIMESTAMPTZ], Oid::INTERVAL, age_timestamptz).stable(),
    Function::row(1299, "now", &[], Oid::TIMESTAMPTZ, now).stable(),
    Function::row(2647, "transaction_timestamp", &[], Oid::TIMESTAMPTZ, now).stable(),
    Function::row(2648, "statement_timestamp", &[], Oid::TIMESTAMPTZ, statement_timestamp).stable(),
    Function::row(2649, "clock_timestamp", &[], Oid::TIMESTAMPTZ, clock_timestamp).volatile(),
    Function::row(9010, "current_date", &[], Oid::DATE, current_date).stable(),
    Function::row(9011, "current_timestamp", &[], Oid::TIMESTAMPTZ, now).stable(),
    Function::row(9012, "localtimestamp", &[], Oid::TIMESTAMP, local_timestamp).stable(),
    Function::row(9013, "localtime", &[], Oid::TIME, local_time).stable(),
    Function::row(1373, "isfinite", &[Oid::DATE], Oid::BOOL, is_finite_value),
    Function::row(2048, "isfinite", &[Oid::TIMESTAMP], Oid::BOOL, is_finite_value),
    Function::row(1389, "isfinite", &[Oid::TIMESTAMPTZ], Oid::BOOL, is_finite_value),
    Function::row(1390, "isfinite", &[Oid::INTERVAL], Oid::BOOL, is_finite_value),
    Function::row(2041, "overlaps", &[Oid::TIMESTAMP, Oid::TIMESTAMP, Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, overlaps).lax(),
    Function::row(1304, "overlaps", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, overlaps).lax(),
    Function::row(1308, "overlaps", &[Oid::TIME, Oid::TIME, Oid::TIME, Oid::TIME], Oid::BOOL, overlaps).lax(),
    Function::row(2069, "timezone", &[Oid::TEXT, Oid::TIMESTAMP], Oid::TIMESTAMPTZ, timestamp_at_zone),
    Function::row(2070, "timezone", &[Oid::INTERVAL, Oid::TIMESTAMP], Oid::TIMESTAMPTZ, timestamp_at_zone),
    Function::row(1159, "timezone", &[Oid::TEXT, Oid::TIMESTAMPTZ], Oid::TIMESTAMP, timestamptz_at_zone),
    Function::row(1026, "timezone", &[Oid::INTERVAL, Oid::TIMESTAMPTZ], Oid::TIMESTAMP, timestamptz_at_zone),
    Function::row(2024, "timestamp", &[Oid::DATE], Oid::TIMESTAMP, date_to_ts),
    Function::row(1174, "timestamptz", &[Oid::DATE], Oid::TIMESTAMPTZ, date_to_tstz).stable(),
    Function::row(2029, "date", &[Oid::TIMESTAMP], Oid::DATE, ts_to_date),
    Function::row(1178, "date", &[Oid::TIMESTAMPTZ], Oid::DATE, tstz_to_date).stable(),
    Function::row(1316, "time", &[Oid::TIMESTAMP], Oid::TIME, ts_to_time),
    Function::row(2019, "time", &[Oid::TIMESTAMPTZ], Oid::TIME, tstz_to_time).stable(),
    Function::row(2028, "timestamptz", &[Oid::TIMESTAMP], Oid::TIMESTAMPTZ, ts_to_tstz).stable(),
    Function::row(2027, "timestamp", &[Oid::TIMESTAMPTZ], Oid::TIMESTAMP, tstz_to_ts).stable(),
    Function::row(1370, "interval", &[Oid::TIME], Oid::INTERVAL, time_to_interval),
    Function::row(1419, "time", &[Oid::INTERVAL], Oid::TIME, interval_to_time),
    Function::row(2025, "timestamp", &[Oid::DATE, Oid::TIME], Oid::TIMESTAMP, date_pl_time),
    Function::row(1158, "to_timestamp", &[Oid::FLOAT8], Oid::TIMESTAMPTZ, epoch_to_tstz),
    Function::row(3846, "make_date", &[Oid::INT4, Oid::INT4, Oid::INT4], Oid::DATE, make_date),
    Function::row(3847, "make_time", &[Oid::INT4, Oid::INT4, Oid::FLOAT8], Oid::TIME, make_time),
    Function::row(3461, "make_timestamp", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::FLOAT8], Oid::TIMESTAMP, make_timestamp),
    Function::row(3462, "make_timestamptz", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::FLOAT8], Oid::TIMESTAMPTZ, make_timestamptz).stable(),
    Function::row(3463, "make_timestamptz", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::FLOAT8, Oid::TEXT], Oid::TIMESTAMPTZ, make_timestamptz).stable(),
    Function::row(9020, "make_interval", &[], Oid::INTERVAL, make_interval),
    Function::row(9021, "make_interval", &[Oid::INT4], Oid::INTERVAL, make_interval),
    Function::row(9022, "make_interval", &[Oid::INT4, Oid::INT4], Oid::INTERVAL, make_interval),
    Function::row(9023, "make_interval", &[Oid::INT4, Oid::INT4, Oid::INT4], Oid::INTERVAL, make_interval),
    Function::row(9024, "make_interval", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4], Oid::INTERVAL, make_interval),
    Function::row(9025, "make_interval", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4], Oid::INTERVAL, make_interval),
    Function::row(9026, "make_interval", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4], Oid::INTERVAL, make_interval),
    Function::row(3464, "make_interval", &[Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::INT4, Oid::FLOAT8], Oid::INTERVAL, make_interval),
    Function::row(2044, "overlaps", &[Oid::TIMESTAMP, Oid::INTERVAL, Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, overlaps_lengths).lax(),
    Function::row(2043, "overlaps", &[Oid::TIMESTAMP, Oid::TIMESTAMP, Oid::TIMESTAMP, Oid::INTERVAL], Oid::BOOL, overlaps_lengths).lax(),
    Function::row(2042, "overlaps", &[Oid::TIMESTAMP, Oid::INTERVAL, Oid::TIMESTAMP, Oid::INTERVAL], Oid::BOOL, overlaps_lengths).lax(),
    Function::row(1307, "overlaps", &[Oid::TIMESTAMPTZ, Oid::INTERVAL, Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, overlaps_lengths_zoned).stable().lax(),
    Function::row(1306, "overlaps", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ, Oid::INTERVAL], Oid::BOOL, overlaps_lengths_zoned).stable().lax(),
    Function::row(1305, "overlaps", &[Oid::TIMESTAMPTZ, Oid::INTERVAL, Oid::TIMESTAMPTZ, Oid::INTERVAL], Oid::BOOL, overlaps_lengths_zoned).stable().lax(),
    Function::row(1311, "overlaps", &[Oid::TIME, Oid::INTERVAL, Oid::TIME, Oid::TIME], Oid::BOOL, overlaps_lengths).lax(),
    Function::row(1310, "overlaps", &[Oid::TIME, Oid::TIME, Oid::TIME, Oid::INTERVAL], Oid::BOOL, overlaps_lengths).lax(),
    Function::row(1309, "overlaps", &[Oid::TIME, Oid::INTERVAL, Oid::TIME, Oid::INTERVAL], Oid::BOOL, overlaps_lengths).lax(),
];
