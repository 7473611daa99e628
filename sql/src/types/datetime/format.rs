//! Output of dates, times and intervals in the styles of DateStyle and IntervalStyle.

use std::fmt::Write;

use super::calendar::*;
use super::{DateOrder, DateStyle, IntervalStyle};
use crate::types::Interval;
use crate::types::text::FormatSettings;

const DAY_NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTH_NAMES: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

macro_rules! put {
    ($out:expr, $($arg:tt)*) => { write!($out, $($arg)*).expect("writing to a string") };
}

pub fn write_date(days: i32, format: &FormatSettings, out: &mut String) {
    match days {
        DATE_INFINITY => return out.push_str("infinity"),
        DATE_NEG_INFINITY => return out.push_str("-infinity"),
        _ => {}
    }
    let date = civil_from_days(i64::from(days));
    match format.date_style {
        DateStyle::Postgres => {
            let (first, second) = day_and_month(&date, format.date_order);
            put!(out, "{first:02}-{second:02}-{:04}", shown_year(&date));
        }
        _ => write_civil(&date, format, out),
    }
    write_era(&date, out);
}

pub fn write_time(micros: i64, out: &mut String) {
    write_clock(clock_from_micros(micros), out);
}

pub fn write_timestamp(t: i64, format: &FormatSettings, out: &mut String) {
    if !write_infinity(t, out) {
        write_instant(t, None, format, out);
    }
}

pub fn write_timestamptz(t: i64, format: &FormatSettings, out: &mut String) {
    if !write_infinity(t, out) {
        let offset = format.time_zone.offset_at(t);
        let local = t + i64::from(offset) * MICROS_PER_SECOND;
        write_instant(local, Some((offset, t)), format, out);
    }
}

fn write_infinity(t: i64, out: &mut String) -> bool {
    match t {
        TIMESTAMP_INFINITY => out.push_str("infinity"),
        TIMESTAMP_NEG_INFINITY => out.push_str("-infinity"),
        _ => return false,
    }
    true
}

/// Years are counted from 1 on both sides of the era.
fn shown_year(date: &CivilDate) -> i64 {
    if date.year <= 0 { 1 - date.year } else { date.year }
}

fn write_era(date: &CivilDate, out: &mut String) {
    if date.year <= 0 {
        out.push_str(" BC");
    }
}

fn day_and_month(date: &CivilDate, order: DateOrder) -> (i64, i64) {
    if order == DateOrder::Dmy { (date.day, date.month) } else { (date.month, date.day) }
}

fn write_civil(date: &CivilDate, format: &FormatSettings, out: &mut String) {
    let year = shown_year(date);
    match format.date_style {
        DateStyle::Iso => {
            if year < 10_000 {
                push_two(out, year / 100);
                push_two(out, year % 100);
            } else {
                put!(out, "{year}");
            }
            out.push('-');
            push_two(out, date.month);
            out.push('-');
            push_two(out, date.day);
        }
        DateStyle::German => put!(out, "{:02}.{:02}.{year:04}", date.day, date.month),
        DateStyle::Sql | DateStyle::Postgres => {
            let (first, second) = day_and_month(date, format.date_order);
            put!(out, "{first:02}/{second:02}/{year:04}");
        }
    }
}

fn push_two(out: &mut String, value: i64) {
    out.push((b'0' + (value / 10) as u8) as char);
    out.push((b'0' + (value % 10) as u8) as char);
}

fn write_clock(clock: ClockTime, out: &mut String) {
    push_two(out, clock.hour);
    out.push(':');
    push_two(out, clock.minute);
    out.push(':');
    push_two(out, clock.second);
    write_fraction(clock.micros, out);
}

/// `.123`, without trailing zeros; nothing for zero.
fn write_fraction(micros: i64, out: &mut String) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        put!(out, ".{}", digits.trim_end_matches('0'));
    }
}

/// `zone`: the offset in seconds east and the instant, for timestamps with time zone.
fn write_instant(local: i64, zone: Option<(i32, i64)>, format: &FormatSettings, out: &mut String) {
    let (days, micros) = split_timestamp(local);
    let date = civil_from_days(days);
    let clock = clock_from_micros(micros);
    if format.date_style == DateStyle::Postgres {
        let month = MONTH_NAMES[date.month as usize - 1];
        let day_name = DAY_NAMES[day_of_week(days) as usize];
        if format.date_order == DateOrder::Dmy {
            put!(out, "{day_name} {:02} {month} ", date.day);
        } else {
            put!(out, "{day_name} {month} {:02} ", date.day);
        }
        write_clock(clock, out);
        put!(out, " {:04}", shown_year(&date));
    } else {
        write_civil(&date, format, out);
        out.push(' ');
        write_clock(clock, out);
    }
    if let Some((offset, instant)) = zone {
        if format.date_style == DateStyle::Iso {
            write_offset(offset, out);
        } else {
            put!(out, " {}", format.time_zone.abbreviation_at(instant));
        }
    }
    write_era(&date, out);
}

/// `+01`, `-03:30`, `+00:19:32`.
pub fn write_offset(seconds_east: i32, out: &mut String) {
    let (hours, minutes, seconds) =
        (seconds_east.abs() / 3600, seconds_east.abs() / 60 % 60, seconds_east.abs() % 60);
    put!(out, "{}{hours:02}", if seconds_east < 0 { '-' } else { '+' });
    if minutes != 0 || seconds != 0 {
        put!(out, ":{minutes:02}");
    }
    if seconds != 0 {
        put!(out, ":{seconds:02}");
    }
}

pub fn write_interval(interval: &Interval, style: IntervalStyle, out: &mut String) {
    let parts = IntervalParts::of(interval);
    match style {
        IntervalStyle::Postgres => parts.write_postgres(out),
        IntervalStyle::PostgresVerbose => parts.write_verbose(out),
        IntervalStyle::SqlStandard => parts.write_sql_standard(out),
        IntervalStyle::Iso8601 => parts.write_iso8601(out),
    }
}

struct IntervalParts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl IntervalParts {
    fn of(i: &Interval) -> Self {
        IntervalParts {
            years: i64::from(i.months / 12),
            months: i64::from(i.months % 12),
            days: i64::from(i.days),
            hours: i.micros / MICROS_PER_HOUR,
            minutes: i.micros / MICROS_PER_MINUTE % 60,
            seconds: i.micros / MICROS_PER_SECOND % 60,
            micros: i.micros % MICROS_PER_SECOND,
        }
    }

    fn time_is_zero(&self) -> bool {
        self.hours == 0 && self.minutes == 0 && self.seconds == 0 && self.micros == 0
    }

    fn time_is_negative(&self) -> bool {
        self.hours < 0 || self.minutes < 0 || self.seconds < 0 || self.micros < 0
    }

    fn write_time(&self, out: &mut String) {
        put!(out, "{:02}:{:02}:{:02}", self.hours.abs(), self.minutes.abs(), self.seconds.abs());
        write_fraction(self.micros.abs(), out);
    }

    fn write_postgres(&self, out: &mut String) {
        let start = out.len();
        // A positive part behind a negative one carries its sign.
        let mut after_negative = false;
        for (value, unit) in [(self.years, "year"), (self.months, "mon"), (self.days, "day")] {
            if value == 0 {
                continue;
            }
            if out.len() > start {
                out.push(' ');
            }
            let sign = if after_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            put!(out, "{sign}{value} {unit}{plural}");
            after_negative = value < 0;
        }
        if out.len() > start && self.time_is_zero() {
            return;
        }
        if out.len() > start {
            out.push(' ');
        }
        if self.time_is_negative() {
            out.push('-');
        } else if after_negative {
            out.push('+');
        }
        self.write_time(out);
    }

    fn write_verbose(&self, out: &mut String) {
        let start = out.len();
        out.push('@');
        // The first part decides whether all is shown as so long "ago".
        let mut ago: Option<bool> = None;
        let units = [
            (self.years, "year"),
            (self.months, "mon"),
            (self.days, "day"),
            (self.hours, "hour"),
            (self.minutes, "min"),
        ];
        for (value, unit) in units {
            if value == 0 {
                continue;
            }
            let negative = *ago.get_or_insert(value < 0);
            let shown = if negative { -value } else { value };
            put!(out, " {shown} {unit}{}", if shown == 1 { "" } else { "s" });
        }
        if self.seconds != 0 || self.micros != 0 {
            let below_zero = self.seconds < 0 || self.micros < 0;
            let negative = *ago.get_or_insert(below_zero);
            put!(out, " {}{}", if below_zero != negative { "-" } else { "" }, self.seconds.abs());
            write_fraction(self.micros.abs(), out);
            let singular = self.seconds.abs() == 1 && self.micros == 0;
            put!(out, " sec{}", if singular { "" } else { "s" });
        }
        if out.len() == start + 1 {
            out.push_str(" 0");
        }
        if ago == Some(true) {
            out.push_str(" ago");
        }
    }

    fn write_sql_standard(&self, out: &mut String) {
        let year_month = self.years != 0 || self.months != 0;
        let day_time = self.days != 0 || !self.time_is_zero();
        let has_negative = self.years < 0 || self.months < 0 || self.days < 0 || self.time_is_negative();
        let has_positive = self.years > 0
            || self.months > 0
            || self.days > 0
            || (!self.time_is_zero() && !self.time_is_negative());
        if !year_month && !day_time {
            return out.push('0');
        }
        if (has_negative && has_positive) || (year_month && day_time) {
            // Not SQL's any more: every part with its sign.
            let sign = |negative: bool| if negative { '-' } else { '+' };
            put!(
                out,
                "{}{}-{}",
                sign(self.years < 0 || self.months < 0),
                self.years.abs(),
                self.months.abs()
            );
            put!(out, " {}{} ", sign(self.days < 0), self.days.abs());
            put!(out, "{}{}", sign(self.time_is_negative()), self.hours.abs());
            put!(out, ":{:02}:{:02}", self.minutes.abs(), self.seconds.abs());
            return write_fraction(self.micros.abs(), out);
        }
        if has_negative {
            out.push('-');
        }
        if year_month {
            return put!(out, "{}-{}", self.years.abs(), self.months.abs());
        }
        if self.days != 0 {
            put!(out, "{} ", self.days.abs());
        }
        put!(out, "{}:{:02}:{:02}", self.hours.abs(), self.minutes.abs(), self.seconds.abs());
        write_fraction(self.micros.abs(), out);
    }

    fn write_iso8601(&self, out: &mut String) {
        let start = out.len();
        out.push('P');
        for (value, unit) in [(self.years, 'Y'), (self.months, 'M'), (self.days, 'D')] {
            if value != 0 {
                put!(out, "{value}{unit}");
            }
        }
        if !self.time_is_zero() {
            out.push('T');
            for (value, unit) in [(self.hours, 'H'), (self.minutes, 'M')] {
                if value != 0 {
                    put!(out, "{value}{unit}");
                }
            }
            if self.seconds != 0 || self.micros != 0 {
                let negative = self.seconds < 0 || self.micros < 0;
                put!(out, "{}{}", if negative { "-" } else { "" }, self.seconds.abs());
                write_fraction(self.micros.abs(), out);
                out.push('S');
            }
        }
        if out.len() == start + 1 {
            out.push_str("T0S");
        }
    }
}
