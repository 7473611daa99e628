//! extract, date_part, date_trunc and date_bin.

use super::arguments::{date, from_numeric, interval, micros, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function, type_name};
use crate::types::datetime::*;
use crate::types::{Datum, Interval, Numeric, Oid};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Julian,
    IsoYear,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Epoch,
    Zone,
    ZoneHour,
    ZoneMinute,
}

impl Unit {
    fn parse(name: &str, ty: Oid) -> SqlResult<Unit> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds"
            | "microsecon" => Unit::Microseconds,
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds"
            | "millisecon" => Unit::Milliseconds,
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
            "d" | "day" | "days" => Unit::Day,
            "w" | "week" | "weeks" => Unit::Week,
            "mon" | "mons" | "month" | "months" => Unit::Month,
            "qtr" | "quarter" => Unit::Quarter,
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
            "dec" | "decs" | "decade" | "decades" => Unit::Decade,
            "c" | "cent" | "century" | "centuries" => Unit::Century,
            "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
            "julian" | "j" | "jd" => Unit::Julian,
            "isoyear" => Unit::IsoYear,
            "dow" => Unit::DayOfWeek,
            "isodow" => Unit::IsoDayOfWeek,
            "doy" => Unit::DayOfYear,
            "epoch" => Unit::Epoch,
            "timezone" => Unit::Zone,
            "timezone_h" | "timezone_hour" => Unit::ZoneHour,
            "timezone_m" | "timezone_minute" => Unit::ZoneMinute,
            _ => {
                return Err(SqlError::new(
                    state::INVALID_PARAMETER_VALUE,
                    format!("unit \"{}\" not recognized for type {}", name.to_lowercase(), type_name(ty)),
                ));
            }
        })
    }
}

fn unsupported(name: &str, ty: Oid) -> SqlError {
    SqlError::new(
        state::FEATURE_NOT_SUPPORTED,
        format!("unit \"{}\" not supported for type {}", name.to_lowercase(), type_name(ty)),
    )
}

/// A part of a value: a decimal, or that of an infinity.
enum Part {
    Value(i128, u16),
    Exact(Numeric),
    Infinite(bool),
    Null,
}

impl Part {
    fn int(v: i64) -> Part {
        Part::Value(i128::from(v), 0)
    }

    fn numeric(self) -> Datum {
        use crate::types::numeric::Sign;
        match self {
            Part::Value(v, scale) => from_numeric(Numeric::from_i128(v, scale)),
            Part::Exact(n) => from_numeric(n),
            Part::Infinite(true) => from_numeric(Numeric::special(Sign::Infinity)),
            Part::Infinite(false) => from_numeric(Numeric::special(Sign::NegativeInfinity)),
            Part::Null => Datum::Null,
        }
    }

    fn float(self) -> Datum {
        match self {
            Part::Value(v, scale) => Datum::Float8(v as f64 / 10f64.powi(i32::from(scale))),
            Part::Exact(n) => Datum::Float8(n.to_f64()),
            Part::Infinite(true) => Datum::Float8(f64::INFINITY),
            Part::Infinite(false) => Datum::Float8(f64::NEG_INFINITY),
            Part::Null => Datum::Null,
        }
    }
}

/// Parts of the clock.
fn clock_part(unit: Unit, time: i64) -> Option<Part> {
    let clock = clock_from_micros(time);
    let in_minute = i128::from(clock.second * MICROS_PER_SECOND + clock.micros);
    Some(match unit {
        Unit::Microseconds => Part::Value(in_minute, 0),
        Unit::Milliseconds => Part::Value(in_minute, 3),
        Unit::Second => Part::Value(in_minute, 6),
        Unit::Minute => Part::int(clock.minute),
        Unit::Hour => Part::int(clock.hour),
        _ => return None,
    })
}

/// Parts of the calendar; the year 0 is shown as -1.
fn date_part_of(unit: Unit, days: i64) -> Option<Part> {
    let CivilDate { year, month, day } = civil_from_days(days);
    let era = |length: i64| {
        if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) }
    };
    Some(Part::int(match unit {
        Unit::Day => day,
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Week => iso_week(days).1,
        Unit::Year => {
            if year > 0 {
                year
            } else {
                year - 1
            }
        }
        Unit::Decade => year.div_euclid(10),
        Unit::Century => era(100),
        Unit::Millennium => era(1000),
        Unit::Julian => days + EPOCH_JULIAN,
        Unit::IsoYear => {
            let iso = iso_week(days).0;
            if iso > 0 { iso } else { iso - 1 }
        }
        Unit::DayOfWeek => day_of_week(days),
        Unit::IsoDayOfWeek => (day_of_week(days) + 6) % 7 + 1,
        Unit::DayOfYear => day_of_year(days),
        _ => return None,
    }))
}

/// Of an infinite timestamp only what grows for ever is known.
fn infinite_part(unit: Unit, positive: bool) -> Part {
    match unit {
        Unit::Year
        | Unit::Decade
        | Unit::Century
        | Unit::Millennium
        | Unit::Julian
        | Unit::IsoYear
        | Unit::Epoch => Part::Infinite(positive),
        _ => Part::Null,
    }
}

/// `zone`: seconds east, for timestamptz, whose `local` time is given beside.
fn timestamp_part(name: &str, t: i64, zone: Option<(i32, i64)>, ty: Oid) -> SqlResult<Part> {
    let unit = Unit::parse(name, ty)?;
    if !is_finite(t) {
        return Ok(infinite_part(unit, t > 0));
    }
    let local = zone.map_or(t, |(_, local)| local);
    let (days, time) = split_timestamp(local);
    if let Some(part) = clock_part(unit, time) {
        return Ok(part);
    }
    match (unit, zone) {
        (Unit::Epoch, _) => Ok(Part::Value(i128::from(t) + i128::from(EPOCH_MICROS), 6)),
        (Unit::Julian, _) => {
            let fraction = Numeric::from(time).div(&Numeric::from(MICROS_PER_DAY))?;
            Ok(Part::Exact(Numeric::from(days + EPOCH_JULIAN).add(&fraction)?))
        }
        (Unit::Zone, Some((offset, _))) => Ok(Part::int(i64::from(offset))),
        (Unit::ZoneHour, Some((offset, _))) => Ok(Part::int(i64::from(offset / 3600))),
        (Unit::ZoneMinute, Some((offset, _))) => Ok(Part::int(i64::from(offset / 60 % 60))),
        (unit, _) => date_part_of(unit, days).ok_or_else(|| unsupported(name, ty)),
    }
}

fn interval_part(name: &str, i: &Interval) -> SqlResult<Part> {
    let unit = Unit::parse(name, Oid::INTERVAL)?;
    if let Some(part) = clock_part(unit, i.micros) {
        return Ok(part);
    }
    let (years, months) = (i64::from(i.months / 12), i64::from(i.months % 12));
    Ok(Part::int(match unit {
        Unit::Day => i64::from(i.days),
        Unit::Month => months,
        Unit::Quarter => months / 3 + 1,
        Unit::Year => years,
        Unit::Decade => years / 10,
        Unit::Century => years / 100,
        Unit::Millennium => years / 1000,
        Unit::Epoch => {
            // A year counts 365.25 days, a month 30.
            let seconds =
                i128::from(years) * 31_557_600 + (i128::from(months) * 30 + i128::from(i.days)) * 86_400;
            return Ok(Part::Value(seconds * 1_000_000 + i128::from(i.micros), 6));
        }
        _ => return Err(unsupported(name, Oid::INTERVAL)),
    }))
}

fn part(ctx: &EvalContext<'_>, args: &[Datum], zoned: bool) -> SqlResult<Part> {
    let name = text(&args[0]);
    match &args[1] {
        Datum::Timestamp(t) if zoned => {
            let offset = if is_finite(*t) { ctx.format.time_zone.offset_at(*t) } else { 0 };
            let local = t.saturating_add(i64::from(offset) * MICROS_PER_SECOND);
            timestamp_part(name, *t, Some((offset, local)), Oid::TIMESTAMPTZ)
        }
        Datum::Timestamp(t) => timestamp_part(name, *t, None, Oid::TIMESTAMP),
        Datum::Time(t) => {
            let unit = Unit::parse(name, Oid::TIME)?;
            if unit == Unit::Epoch {
                return Ok(Part::Value(i128::from(*t), 6));
            }
            clock_part(unit, *t).ok_or_else(|| unsupported(name, Oid::TIME))
        }
        Datum::Interval(i) => interval_part(name, i),
        day => {
            let day = date(day);
            let unit = Unit::parse(name, Oid::DATE)?;
            if day == DATE_INFINITY || day == DATE_NEG_INFINITY {
                return Ok(infinite_part(unit, day > 0));
            }
            if unit == Unit::Epoch {
                return Ok(Part::int((i64::from(day) + EPOCH_DAYS) * 86_400));
            }
            date_part_of(unit, i64::from(day)).ok_or_else(|| unsupported(name, Oid::DATE))
        }
    }
}

fn extract(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    part(ctx, args, false).map(Part::numeric)
}

fn extract_zoned(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    part(ctx, args, true).map(Part::numeric)
}

fn date_part(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    part(ctx, args, false).map(Part::float)
}

fn date_part_zoned(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    part(ctx, args, true).map(Part::float)
}

/// date_part of a date works on its midnight.
fn date_part_date(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let midnight = date_to_timestamp(date(&args[1]))?;
    date_part(ctx, &[args[0].clone(), Datum::Timestamp(midnight)])
}

/// The start of the unit that holds a local time; and whether only whole days are left.
fn truncate(name: &str, t: i64, ty: Oid) -> SqlResult<(i64, bool)> {
    let unit = Unit::parse(name, ty)?;
    let (days, time) = split_timestamp(t);
    let CivilDate { year, month, .. } = civil_from_days(days);
    let clock = |unit: i64| join_timestamp(days, time / unit * unit).map(|t| (t, false));
    let start_of_era = |length: i64| {
        // Centuries begin with the year 1.
        let first = if year > 0 {
            (year + length - 1) / length * length - (length - 1)
        } else {
            -((length - 1 - (year - 1)) / length) * length + 1
        };
        days_from_civil(first, 1, 1)
    };
    let day = match unit {
        Unit::Microseconds => return Ok((t, false)),
        Unit::Milliseconds => return clock(1000),
        Unit::Second => return clock(MICROS_PER_SECOND),
        Unit::Minute => return clock(MICROS_PER_MINUTE),
        Unit::Hour => return clock(MICROS_PER_HOUR),
        Unit::Day => days,
        Unit::Week => days - (day_of_week(days) + 6) % 7,
        Unit::Month => days_from_civil(year, month, 1),
        Unit::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        Unit::Year => days_from_civil(year, 1, 1),
        Unit::Decade => days_from_civil(year.div_euclid(10) * 10, 1, 1),
        Unit::Century => start_of_era(100),
        Unit::Millennium => start_of_era(1000),
        _ => return Err(unsupported(name, ty)),
    };
    join_timestamp(day, 0).map(|t| (t, true))
}

fn trunc_timestamp(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let t = micros(&args[1]);
    if !is_finite(t) {
        return Ok(Datum::Timestamp(t));
    }
    truncate(text(&args[0]), t, Oid::TIMESTAMP).map(|(t, _)| Datum::Timestamp(t))
}

fn trunc_in_zone(name: &str, t: i64, zone: &TimeZone) -> SqlResult<Datum> {
    if !is_finite(t) {
        return Ok(Datum::Timestamp(t));
    }
    let offset = zone.offset_at(t);
    let (start, whole_days) = truncate(name, t + i64::from(offset) * MICROS_PER_SECOND, Oid::TIMESTAMPTZ)?;
    // Below a day the offset stays as it was; a day begins by the zone's own rules.
    let utc = if whole_days { zone.to_utc(start) } else { start - i64::from(offset) * MICROS_PER_SECOND };
    check_timestamp(utc).map(Datum::Timestamp)
}

fn trunc_timestamptz(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    trunc_in_zone(text(&args[0]), micros(&args[1]), &ctx.format.time_zone)
}

fn trunc_timestamptz_zone(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let name = text(&args[2]);
    let zone = TimeZone::by_name(name).ok_or_else(|| {
        SqlError::new(state::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
    })?;
    trunc_in_zone(text(&args[0]), micros(&args[1]), &zone)
}

fn trunc_interval(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (name, i) = (text(&args[0]), interval(&args[1]));
    let clock = |unit: i64| Interval { micros: i.micros / unit * unit, ..*i };
    let months = |unit: i32| Interval { months: i.months / unit * unit, days: 0, micros: 0 };
    Ok(Datum::Interval(match Unit::parse(name, Oid::INTERVAL)? {
        Unit::Microseconds => *i,
        Unit::Milliseconds => clock(1000),
        Unit::Second => clock(MICROS_PER_SECOND),
        Unit::Minute => clock(MICROS_PER_MINUTE),
        Unit::Hour => clock(MICROS_PER_HOUR),
        Unit::Day => Interval { micros: 0, ..*i },
        Unit::Month => months(1),
        Unit::Quarter => months(3),
        Unit::Year => months(12),
        Unit::Decade => months(120),
        Unit::Century => months(1200),
        Unit::Millennium => months(12_000),
        Unit::Week => {
            return Err(unsupported(name, Oid::INTERVAL).with_detail("Months usually have fractional weeks."));
        }
        _ => return Err(unsupported(name, Oid::INTERVAL)),
    }))
}

fn bin(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (stride, source, origin) = (interval(&args[0]), micros(&args[1]), micros(&args[2]));
    if !is_finite(source) {
        return Ok(Datum::Timestamp(source));
    }
    if !is_finite(origin) {
        return Err(SqlError::new(state::DATETIME_FIELD_OVERFLOW, "origin out of range"));
    }
    if stride.months != 0 {
        return Err(SqlError::new(
            state::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let width = i128::from(stride.days) * i128::from(MICROS_PER_DAY) + i128::from(stride.micros);
    if width <= 0 {
        return Err(SqlError::new(state::DATETIME_FIELD_OVERFLOW, "stride must be greater than zero"));
    }
    let offset = (i128::from(source) - i128::from(origin)).div_euclid(width) * width;
    let start = i64::try_from(i128::from(origin) + offset).map_err(|_| timestamp_out_of_range())?;
    Ok(Datum::Timestamp(start))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(6199, "extract", &[Oid::TEXT, Oid::DATE], Oid::NUMERIC, extract),
    Function::row(6200, "extract", &[Oid::TEXT, Oid::TIME], Oid::NUMERIC, extract),
    Function::row(6202, "extract", &[Oid::TEXT, Oid::TIMESTAMP], Oid::NUMERIC, extract),
    Function::row(6203, "extract", &[Oid::TEXT, Oid::TIMESTAMPTZ], Oid::NUMERIC, extract_zoned).stable(),
    Function::row(6204, "extract", &[Oid::TEXT, Oid::INTERVAL], Oid::NUMERIC, extract),
    Function::row(1384, "date_part", &[Oid::TEXT, Oid::DATE], Oid::FLOAT8, date_part_date),
    Function::row(1385, "date_part", &[Oid::TEXT, Oid::TIME], Oid::FLOAT8, date_part),
    Function::row(2021, "date_part", &[Oid::TEXT, Oid::TIMESTAMP], Oid::FLOAT8, date_part),
    Function::row(1171, "date_part", &[Oid::TEXT, Oid::TIMESTAMPTZ], Oid::FLOAT8, date_part_zoned).stable(),
    Function::row(1172, "date_part", &[Oid::TEXT, Oid::INTERVAL], Oid::FLOAT8, date_part),
    Function::row(2020, "date_trunc", &[Oid::TEXT, Oid::TIMESTAMP], Oid::TIMESTAMP, trunc_timestamp),
    Function::row(1217, "date_trunc", &[Oid::TEXT, Oid::TIMESTAMPTZ], Oid::TIMESTAMPTZ, trunc_timestamptz).stable(),
    Function::row(1284, "date_trunc", &[Oid::TEXT, Oid::TIMESTAMPTZ, Oid::TEXT], Oid::TIMESTAMPTZ, trunc_timestamptz_zone).stable(),
    Function::row(1218, "date_trunc", &[Oid::TEXT, Oid::INTERVAL], Oid::INTERVAL, trunc_interval),
    Function::row(6177, "date_bin", &[Oid::INTERVAL, Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::TIMESTAMP, bin),
    Function::row(6178, "date_bin", &[Oid::INTERVAL, Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::TIMESTAMPTZ, bin),
];
