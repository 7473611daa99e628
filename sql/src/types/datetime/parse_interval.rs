//! Input of intervals: `1 year 2 mons 3 days 04:05:06`, `@ 1 day ago`, `P1Y2M`, `1-2`, `1.5 weeks`.

use super::calendar::*;
use super::parse::parse_seconds;
use crate::error::{SqlError, SqlResult, state};
use crate::types::Interval;
use crate::types::text::TextContext;

/// `typmod` of `interval day`, `interval hour to minute` and so on says what a number without unit means.
pub fn parse_interval(text: &str, typmod: i32, ctx: &TextContext<'_>) -> SqlResult<Interval> {
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let mut sum = Sum::default();
    let read = if body.starts_with(['P', 'p']) {
        sum.iso8601(&body[1..])
    } else {
        let sql_negative = ctx.format.interval_style == super::IntervalStyle::SqlStandard;
        sum.verbose(body, typmod, sql_negative)
    };
    match read {
        Some(()) => sum.finish().ok_or_else(|| {
            if sum.fields_fit() {
                return interval_out_of_range();
            }
            SqlError::new(
                state::DATETIME_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{text}\""),
            )
        }),
        None => Err(SqlError::new(
            state::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{text}\""),
        )),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Unit {
    Month(i64),
    Day(i64),
    Micros(i64),
}

/// What was read so far; fractions of a unit spill into the next smaller ones as in PostgreSQL.
#[derive(Default, Clone, Copy)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

impl Sum {
    fn finish(self) -> Option<Interval> {
        Some(Interval {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            micros: i64::try_from(self.micros).ok()?,
        })
    }

    /// Whether years, days and hours would each fit the fields that PostgreSQL reads them into.
    fn fields_fit(&self) -> bool {
        let limit = i128::from(i32::MAX);
        self.months.abs() / 12 <= limit && self.days.abs() <= limit && i64::try_from(self.micros).is_ok()
    }

    /// Adds `whole.fraction` units; `fraction` carries the sign of the number.
    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) {
        match unit {
            Unit::Month(n) => {
                self.months += i128::from(whole) * i128::from(n);
                if n >= 12 {
                    // Fractions of years round to whole months.
                    self.months += (fraction * n as f64).round_ties_even() as i128;
                } else {
                    self.add_days(fraction * n as f64 * 30.0);
                }
            }
            Unit::Day(n) => {
                self.days += i128::from(whole) * i128::from(n);
                self.add_days(fraction * n as f64);
            }
            Unit::Micros(n) => {
                self.micros += i128::from(whole) * i128::from(n);
                self.micros += (fraction * n as f64).round_ties_even() as i128;
            }
        }
    }

    fn add_days(&mut self, days: f64) {
        let whole = days.trunc();
        self.days += whole as i128;
        self.micros += ((days - whole) * MICROS_PER_DAY as f64).round_ties_even() as i128;
    }

    fn negate(&mut self) {
        (self.months, self.days, self.micros) = (-self.months, -self.days, -self.micros);
    }

    fn verbose(&mut self, body: &str, typmod: i32, sql_negative: bool) -> Option<()> {
        let mut fields =
            body.split(|c: char| c.is_ascii_whitespace() || c == '@').filter(|f| !f.is_empty()).peekable();
        fields.peek()?;
        let leading_minus = sql_negative && body.starts_with('-') && !body[1..].contains(['-', '+']);
        let mut pending: Option<(i64, f64)> = None;
        for field in fields {
            if let Some((whole, fraction)) = pending {
                if let Some(unit) = unit_by_name(field) {
                    self.add(whole, fraction, unit);
                    pending = None;
                    continue;
                }
                // `1 02:03:04`: a number before a time means days.
                if !field.contains(':') {
                    return None;
                }
                self.add(whole, fraction, Unit::Day(1));
                pending = None;
            }
            if field.eq_ignore_ascii_case("ago") {
                self.negate();
                continue;
            }
            if field.contains(':') {
                let micros = signed_clock(field, typmod)?;
                self.micros += i128::from(micros);
            } else if let Some(months) = years_and_months(field) {
                self.months += i128::from(months);
            } else {
                pending = self.number_field(field)?;
            }
        }
        if let Some((whole, fraction)) = pending {
            self.add(whole, fraction, default_unit(typmod));
        }
        if leading_minus {
            // SQL's style: one leading sign is for all fields.
            let negated_first =
                Sum { months: -self.months.abs(), days: -self.days.abs(), micros: -self.micros.abs() };
            *self = negated_first;
        }
        Some(())
    }

    /// A number, or numbers with their units glued on (`1y`, `4h30m`): the number that still waits for its unit.
    #[expect(clippy::option_option, reason = "nothing waits, or the field is wrong")]
    fn number_field(&mut self, field: &str) -> Option<Option<(i64, f64)>> {
        let mut rest = field;
        while !rest.is_empty() {
            let end = number_length(rest)?;
            let (whole, fraction) = split_number(&rest[..end])?;
            rest = &rest[end..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            if letters == 0 {
                return if rest.is_empty() { Some(Some((whole, fraction))) } else { None };
            }
            self.add(whole, fraction, unit_by_name(&rest[..letters])?);
            rest = &rest[letters..];
        }
        Some(None)
    }

    /// `1Y2M3DT4H5M6S` or `0001-02-03T04:05:06`, after the P.
    fn iso8601(&mut self, body: &str) -> Option<()> {
        let (date, time) = body.split_once(['T', 't']).map_or((body, None), |(d, t)| (d, Some(t)));
        if date.is_empty() && time.is_none_or(str::is_empty) {
            return None;
        }
        let date_unit = |c: char| match c {
            'Y' => Some(Unit::Month(12)),
            'M' => Some(Unit::Month(1)),
            'W' => Some(Unit::Day(7)),
            'D' => Some(Unit::Day(1)),
            _ => None,
        };
        let time_unit = |c: char| match c {
            'H' => Some(Unit::Micros(MICROS_PER_HOUR)),
            'M' => Some(Unit::Micros(MICROS_PER_MINUTE)),
            'S' => Some(Unit::Micros(MICROS_PER_SECOND)),
            _ => None,
        };
        if date.bytes().skip(1).any(|b| b == b'-') && !date.bytes().any(|b| b.is_ascii_alphabetic()) {
            let fields: Vec<i64> = date.split('-').map(|f| f.parse().ok()).collect::<Option<_>>()?;
            for (value, unit) in fields.iter().zip([Unit::Month(12), Unit::Month(1), Unit::Day(1)]) {
                self.add(*value, 0.0, unit);
            }
        } else {
            self.designated(date, &date_unit)?;
        }
        match time {
            Some(time) if time.contains(':') => self.micros += i128::from(signed_clock(time, -1)?),
            Some(time) => self.designated(time, &time_unit)?,
            None => {}
        }
        Some(())
    }

    fn designated(&mut self, mut rest: &str, unit: &dyn Fn(char) -> Option<Unit>) -> Option<()> {
        while !rest.is_empty() {
            let end = number_length(rest)?;
            let (whole, fraction) = split_number(&rest[..end])?;
            let designator = rest[end..].chars().next()?;
            self.add(whole, fraction, unit(designator.to_ascii_uppercase())?);
            rest = &rest[end + 1..];
        }
        Some(())
    }
}

fn number_length(text: &str) -> Option<usize> {
    let signs = usize::from(text.starts_with(['+', '-']));
    let digits = text[signs..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let mut length = signs + digits;
    // An exponent, unless the `e` begins a unit.
    let tail = &text.as_bytes()[length..];
    if digits > 0 && matches!(tail.first(), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(tail.get(1), Some(b'+' | b'-')));
        let exponent = tail[1 + sign..].iter().take_while(|b| b.is_ascii_digit()).count();
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    (digits > 0).then_some(length)
}

fn split_number(text: &str) -> Option<(i64, f64)> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if !plain {
        let value: f64 = text.parse().ok()?;
        return (value.abs() < 9e18).then_some((value.trunc() as i64, value.fract()));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let whole = match whole.trim_start_matches(['+', '-']) {
        "" => 0,
        digits => digits.parse::<i64>().ok()?,
    };
    let fraction: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    Some(if negative { (-whole, -fraction) } else { (whole, fraction) })
}

/// `[-]h:mm[:ss[.f]]`; with `minute to second` the two fields of `1:02` are minutes and seconds.
fn signed_clock(field: &str, typmod: i32) -> Option<i64> {
    let (sign, body) = match field.as_bytes().first()? {
        b'-' => (-1, &field[1..]),
        b'+' => (1, &field[1..]),
        _ => (1, field),
    };
    let fields: Vec<&str> = body.split(':').collect();
    const MINUTE_TO_SECOND: i32 = (1 << 11) | (1 << 12);
    let minutes_first = typmod >= 0 && (typmod >> 16) & 0x7fff == MINUTE_TO_SECOND;
    let (hours, minutes, seconds) = match fields.as_slice() {
        [m, s] if minutes_first || s.contains('.') => ("0", *m, *s),
        [h, m] => (*h, *m, "0"),
        [h, m, s] => (*h, *m, *s),
        _ => return None,
    };
    let hours: i64 = hours.parse().ok()?;
    let minutes: i64 = minutes.parse().ok()?;
    let (seconds, micros) = parse_seconds(seconds)?;
    if minutes > 59 || seconds > 60 {
        return None;
    }
    let hours = hours.checked_mul(MICROS_PER_HOUR)?;
    Some(sign * hours.checked_add(minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND + micros)?)
}

/// SQL's `years-months`.
fn years_and_months(field: &str) -> Option<i64> {
    let (sign, body) = match field.as_bytes().first()? {
        b'-' => (-1, &field[1..]),
        b'+' => (1, &field[1..]),
        _ => (1, field),
    };
    let (years, months) = body.split_once('-')?;
    let (years, months): (i64, i64) = (years.parse().ok()?, months.parse().ok()?);
    (0..12).contains(&months).then(|| sign * (years * 12 + months))
}

/// What a bare number means: by the last field of the typmod, else seconds.
fn default_unit(typmod: i32) -> Unit {
    let range = if typmod < 0 { 0x7fff } else { (typmod >> 16) & 0x7fff };
    match range {
        0x7fff => Unit::Micros(MICROS_PER_SECOND),
        r if r & (1 << 12) != 0 => Unit::Micros(MICROS_PER_SECOND),
        r if r & (1 << 11) != 0 => Unit::Micros(MICROS_PER_MINUTE),
        r if r & (1 << 10) != 0 => Unit::Micros(MICROS_PER_HOUR),
        r if r & (1 << 3) != 0 => Unit::Day(1),
        r if r & (1 << 1) != 0 => Unit::Month(1),
        r if r & (1 << 2) != 0 => Unit::Month(12),
        _ => Unit::Micros(MICROS_PER_SECOND),
    }
}

fn unit_by_name(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" | "microsec" | "microsecs" => {
            Unit::Micros(1)
        }
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" | "millisec" | "millisecs" => {
            Unit::Micros(1000)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(MICROS_PER_SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MICROS_PER_MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(MICROS_PER_HOUR),
        "d" | "day" | "days" => Unit::Day(1),
        "w" | "week" | "weeks" => Unit::Day(7),
        "mon" | "mons" | "month" | "months" => Unit::Month(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Month(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Month(120),
        "c" | "cent" | "century" | "centuries" => Unit::Month(1200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Month(12_000),
        _ => return None,
    })
}
