//! Input of dates, times and timestamps: ISO 8601 and the many looser forms that PostgreSQL takes.
//!
//! As in PostgreSQL, the text is cut into fields (dates, times, numbers, words, zones) whose order hardly matters, and
//! each field says which parts it gives.

use super::calendar::*;
use super::zone::TimeZone;
use super::{DateOrder, calendar};
use crate::error::{SqlError, SqlResult, state};
use crate::types::text::TextContext;

/// What was read. Missing parts stay `None`.
#[derive(Default)]
struct Parts {
    date: Option<(i64, i64, i64)>,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    time: Option<i64>,
    /// Hour of a 12-hour clock still to be corrected: Some(true) = PM.
    pm: Option<bool>,
    bc: bool,
    /// A year of two digits as it was written: with BC it is meant so.
    short_year: Option<i64>,
    offset: Option<i32>,
    zone: Option<TimeZone>,
    special: Option<Special>,
}

#[derive(Clone, Copy, PartialEq)]
enum Special {
    Infinity,
    NegativeInfinity,
    Epoch,
    Now,
    /// Midnight, so many days from today.
    Day(i64),
}

pub fn parse_date(text: &str, ctx: &TextContext<'_>) -> SqlResult<i32> {
    let parts = Parts::read(text, "date", ctx)?;
    match parts.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::NegativeInfinity) => return Ok(DATE_NEG_INFINITY),
        Some(Special::Epoch) => return Ok(-(EPOCH_DAYS as i32)),
        Some(Special::Now) => return check_date(today(ctx)),
        Some(Special::Day(days)) => return check_date(today(ctx) + days),
        None => {}
    }
    let days = parts.days(text, "date", ctx)?;
    if !(MIN_DATE..END_DATE).contains(&days) {
        return Err(SqlError::new(state::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{text}\"")));
    }
    Ok(days as i32)
}

pub fn parse_time(text: &str, ctx: &TextContext<'_>) -> SqlResult<i64> {
    let parts = Parts::read(text, "time", ctx)?;
    match parts.special {
        Some(Special::Now) => {
            return Ok(split_timestamp(ctx.format.time_zone.to_local(ctx.transaction_time)).1);
        }
        Some(_) => return Err(invalid(text, "time")),
        None => {}
    }
    parts.clock(text)?.ok_or_else(|| invalid(text, "time"))
}

pub fn parse_timestamp(text: &str, ctx: &TextContext<'_>) -> SqlResult<i64> {
    let parts = Parts::read(text, "timestamp", ctx)?;
    match parts.special {
        Some(Special::Now) => Ok(ctx.format.time_zone.to_local(ctx.transaction_time)),
        Some(special) => parts.special_local(special, text, ctx),
        None => parts.local(text, "timestamp", ctx),
    }
}

pub fn parse_timestamptz(text: &str, ctx: &TextContext<'_>) -> SqlResult<i64> {
    let name = "timestamp with time zone";
    let parts = Parts::read(text, name, ctx)?;
    let zone = parts.zone.as_ref().unwrap_or(&ctx.format.time_zone);
    let local = match parts.special {
        Some(Special::Now) => return Ok(ctx.transaction_time),
        Some(Special::Epoch) => return Ok(-EPOCH_MICROS),
        Some(special) => {
            let local = parts.special_local(special, text, ctx)?;
            if !is_finite(local) {
                return Ok(local);
            }
            local
        }
        None => parts.local(text, name, ctx)?,
    };
    let utc = match parts.offset {
        Some(seconds) => local - i64::from(seconds) * MICROS_PER_SECOND,
        None => zone.to_utc(local),
    };
    check_timestamp(utc).map_err(|_| out_of_range(text))
}

fn today(ctx: &TextContext<'_>) -> i64 {
    split_timestamp(ctx.format.time_zone.to_local(ctx.transaction_time)).0
}

fn invalid(text: &str, name: &str) -> SqlError {
    SqlError::new(state::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type {name}: \"{text}\""))
}

fn field_out_of_range(text: &str) -> SqlError {
    SqlError::new(state::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}

fn out_of_range(text: &str) -> SqlError {
    SqlError::new(state::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{text}\""))
}

impl Parts {
    fn special_local(&self, special: Special, text: &str, ctx: &TextContext<'_>) -> SqlResult<i64> {
        Ok(match special {
            Special::Infinity => TIMESTAMP_INFINITY,
            Special::NegativeInfinity => TIMESTAMP_NEG_INFINITY,
            Special::Epoch => -EPOCH_MICROS,
            Special::Now => ctx.format.time_zone.to_local(ctx.transaction_time),
            Special::Day(days) => join_timestamp(today(ctx) + days, self.clock(text)?.unwrap_or(0))?,
        })
    }

    fn local(&self, text: &str, name: &str, ctx: &TextContext<'_>) -> SqlResult<i64> {
        let days = self.days(text, name, ctx)?;
        let micros = self.clock(text)?.unwrap_or(0);
        join_timestamp(days, micros).map_err(|_| out_of_range(text))
    }

    fn clock(&self, text: &str) -> SqlResult<Option<i64>> {
        let Some(mut micros) = self.time else { return Ok(None) };
        if let Some(pm) = self.pm {
            let hour = micros / MICROS_PER_HOUR;
            if hour > 12 || hour == 0 && pm {
                return Err(field_out_of_range(text));
            }
            if pm && hour < 12 {
                micros += 12 * MICROS_PER_HOUR;
            } else if !pm && hour == 12 {
                micros -= 12 * MICROS_PER_HOUR;
            }
        }
        if micros > MICROS_PER_DAY {
            return Err(field_out_of_range(text));
        }
        Ok(Some(micros))
    }

    fn days(&self, text: &str, name: &str, ctx: &TextContext<'_>) -> SqlResult<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - EPOCH_JULIAN);
        }
        if let (Some(year), Some(day)) = (self.year, self.day_of_year) {
            let length = if is_leap_year(year) { 366 } else { 365 };
            if !(1..=length).contains(&day) {
                return Err(field_out_of_range(text));
            }
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        let (mut year, month, day) = match self.date {
            Some(date) => date,
            None => match (self.year, self.month, self.day) {
                (Some(year), Some(month), Some(day)) => (year, month, day),
                _ => return Err(invalid(text, name)),
            },
        };
        if self.bc {
            if self.short_year.unwrap_or(year) <= 0 {
                return Err(field_out_of_range(text));
            }
            year = 1 - self.short_year.unwrap_or(year);
        } else if year == 0 {
            return Err(field_out_of_range(text));
        }
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            let hint = "Perhaps you need a different \"datestyle\" setting.";
            let _ = ctx;
            return Err(field_out_of_range(text).with_hint(hint));
        }
        if day > days_in_month(year, month) || year.abs() > 6_000_000 {
            return Err(field_out_of_range(text));
        }
        Ok(days_from_civil(year, month, day))
    }

    fn read(text: &str, name: &str, ctx: &TextContext<'_>) -> SqlResult<Parts> {
        let mut parts = Parts::default();
        let mut rest = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if rest.is_empty() {
            return Err(invalid(text, name));
        }
        while !rest.is_empty() {
            let first = rest.as_bytes()[0];
            let consumed = match first {
                b'0'..=b'9' => parts.digits(rest, text, name, ctx)?,
                b'+' | b'-' => parts.signed(rest).ok_or_else(|| invalid(text, name))?,
                _ if first.is_ascii_alphabetic() => parts.word(rest, text, name, ctx)?,
                b',' | b'(' | b')' | b'/' | b'.' => 1,
                _ if first.is_ascii_whitespace() => 1,
                _ => return Err(invalid(text, name)),
            };
            rest = &rest[consumed..];
        }
        Ok(parts)
    }

    /// A field that begins with a digit: a time, a date, or a bare number. Returns its length.
    fn digits(&mut self, rest: &str, text: &str, name: &str, ctx: &TextContext<'_>) -> SqlResult<usize> {
        let bytes = rest.as_bytes();
        let run = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        match bytes.get(run) {
            Some(b':') => {
                let (micros, length) = parse_clock(rest).ok_or_else(|| invalid(text, name))?;
                if micros < 0 {
                    return Err(field_out_of_range(text));
                }
                self.set_time(micros, text, name)?;
                Ok(length)
            }
            Some(&separator @ (b'-' | b'/' | b'.')) if self.date.is_none() && self.julian.is_none() => {
                let length =
                    bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == separator).count();
                // `2020-01-01T10:00`: the T ends the date.
                let body = &rest[..length];
                let body = match body.find(['T', 't']) {
                    Some(at) if body[..at].bytes().all(|b| !b.is_ascii_alphabetic()) => &body[..at],
                    _ => body,
                };
                if self.time.is_none() && separator == b'.' && body.matches('.').count() == 1 {
                    return self.year_and_day(body, text, name);
                }
                self.date_field(body, separator as char, text, name, ctx)?;
                Ok(body.len())
            }
            _ => {
                self.number(&rest[..run], text, name)?;
                Ok(run)
            }
        }
    }

    fn set_time(&mut self, micros: i64, text: &str, name: &str) -> SqlResult<()> {
        if self.time.replace(micros).is_some() {
            return Err(invalid(text, name));
        }
        Ok(())
    }

    /// `1999.008`: year and day of the year.
    fn year_and_day(&mut self, body: &str, text: &str, name: &str) -> SqlResult<usize> {
        let (year, day) = body.split_once('.').ok_or_else(|| invalid(text, name))?;
        if year.len() != 4 || day.len() != 3 {
            return Err(invalid(text, name));
        }
        self.year = year.parse().ok();
        self.day_of_year = day.parse().ok();
        Ok(body.len())
    }

    fn date_field(
        &mut self,
        body: &str,
        separator: char,
        text: &str,
        name: &str,
        ctx: &TextContext<'_>,
    ) -> SqlResult<()> {
        let fields: Vec<&str> = body.split(separator).collect();
        let number = |s: &str| s.parse::<i64>().map_err(|_| invalid(text, name));
        if let Some(at) = fields.iter().position(|f| f.starts_with(|c: char| c.is_ascii_alphabetic())) {
            let month = month_by_name(fields[at]).ok_or_else(|| invalid(text, name))?;
            let numbers: Vec<&str> =
                fields.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, f)| *f).collect();
            let &[first, second] = numbers.as_slice() else { return Err(invalid(text, name)) };
            let year_first = first.len() > 2 || ctx.format.date_order == DateOrder::Ymd && second.len() <= 2;
            let (year, day) = if year_first { (first, second) } else { (second, first) };
            self.date = Some((self.full_year(year, number(year)?), month, number(day)?));
            return Ok(());
        }
        match fields.as_slice() {
            [a, b, c] => {
                let (x, y, z) = (number(a)?, number(b)?, number(c)?);
                self.date = Some(if a.len() > 2 || ctx.format.date_order == DateOrder::Ymd {
                    (self.full_year(a, x), y, z)
                } else if ctx.format.date_order == DateOrder::Dmy {
                    (self.full_year(c, z), y, x)
                } else {
                    (self.full_year(c, z), x, y)
                });
                Ok(())
            }
            [year, day] if year.len() == 4 && day.len() == 3 => {
                self.year = Some(number(year)?);
                self.day_of_year = Some(number(day)?);
                Ok(())
            }
            _ => Err(invalid(text, name)),
        }
    }

    /// Two digits mean 1970 to 2069.
    fn full_year(&mut self, digits: &str, year: i64) -> i64 {
        if digits.len() > 2 {
            return year;
        }
        self.short_year = Some(year);
        match year {
            0..70 => year + 2000,
            _ => year + 1900,
        }
    }

    /// A run of digits without separators.
    fn number(&mut self, digits: &str, text: &str, name: &str) -> SqlResult<()> {
        let number = |s: &str| s.parse::<i64>().map_err(|_| invalid(text, name));
        let has_date = self.date.is_some() || self.julian.is_some() || self.day_of_year.is_some();
        let time_only = name == "time" && self.time.is_none();
        match digits.len() {
            8 if !has_date && self.month.is_none() => {
                self.date = Some((number(&digits[..4])?, number(&digits[4..6])?, number(&digits[6..])?));
            }
            6 if !has_date && !time_only && self.month.is_none() => {
                let year = self.full_year(&digits[..2], number(&digits[..2])?);
                self.date = Some((year, number(&digits[2..4])?, number(&digits[4..])?));
            }
            7 if !has_date && self.month.is_none() => {
                self.year = Some(number(&digits[..4])?);
                self.day_of_year = Some(number(&digits[4..])?);
            }
            4 | 6 if time_only || has_date && self.time.is_none() => {
                let clock = ClockTime {
                    hour: number(&digits[..2])?,
                    minute: number(&digits[2..4])?,
                    second: if digits.len() == 6 { number(&digits[4..])? } else { 0 },
                    micros: 0,
                };
                if clock.hour > 24 || clock.minute > 59 || clock.second > 60 {
                    return Err(field_out_of_range(text));
                }
                self.time = Some(clock.to_micros());
            }
            // `10 PM`; or the day and year around a month's name.
            1 | 2 if has_date && self.time.is_none() => self.time = Some(number(digits)? * MICROS_PER_HOUR),
            1 | 2 if self.day.is_none() && !has_date => self.day = Some(number(digits)?),
            _ if self.year.is_none() && !has_date => {
                self.year = Some(self.full_year(digits, number(digits)?))
            }
            _ => return Err(invalid(text, name)),
        }
        Ok(())
    }

    /// A numeric zone: `+01`, `-0330`, `+05:30`, `-03:30:15`; or `-infinity`.
    fn signed(&mut self, rest: &str) -> Option<usize> {
        let negative = rest.starts_with('-');
        if rest[1..].to_ascii_lowercase().starts_with("infinity") {
            let special = if negative { Special::NegativeInfinity } else { Special::Infinity };
            self.special = Some(special);
            return Some("+infinity".len());
        }
        // An offset stands behind a time.
        self.time?;
        let body = &rest[1..];
        let length = body.bytes().take_while(|b| b.is_ascii_digit() || *b == b':').count();
        let body = &body[..length];
        let fields: Vec<&str> = body.split(':').collect();
        let (hours, minutes, seconds) = match fields.as_slice() {
            [one] if one.len() <= 2 => (one.parse::<i32>().ok()?, 0, 0),
            [one] if one.len() <= 4 => {
                let (hours, minutes) = one.split_at(one.len() - 2);
                (hours.parse().ok()?, minutes.parse().ok()?, 0)
            }
            [one] if one.len() == 6 => {
                (one[..2].parse().ok()?, one[2..4].parse().ok()?, one[4..].parse().ok()?)
            }
            [hours, minutes] => (hours.parse().ok()?, minutes.parse().ok()?, 0),
            [hours, minutes, seconds] => (hours.parse().ok()?, minutes.parse().ok()?, seconds.parse().ok()?),
            _ => return None,
        };
        if hours > 15 || minutes > 59 || seconds > 59 {
            return None;
        }
        let magnitude: i32 = (hours * 60 + minutes) * 60 + seconds;
        self.offset = Some(if negative { -magnitude } else { magnitude });
        Some(length + 1)
    }

    fn word(&mut self, rest: &str, text: &str, name: &str, ctx: &TextContext<'_>) -> SqlResult<usize> {
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = rest[..letters].to_ascii_lowercase();
        if let Some(known) = self.known_word(&word, &rest[letters..]) {
            return if known { Ok(letters) } else { Err(invalid(text, name)) };
        }
        if let Some(month) = month_by_name(&word) {
            // `Jan-08-1999` is a date in one field.
            let separated = rest.as_bytes().get(letters).is_some_and(|b| matches!(b, b'-' | b'/'));
            if separated && rest.as_bytes().get(letters + 1).is_some_and(u8::is_ascii_digit) {
                let separator = rest.as_bytes()[letters] as char;
                let length =
                    rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == separator as u8).count();
                self.date_field(&rest[..length], separator, text, name, ctx)?;
                return Ok(length);
            }
            if self.month.replace(month).is_some() {
                return Err(invalid(text, name));
            }
            return Ok(letters);
        }
        self.zone_word(rest, text, name)
    }

    /// Words of fixed meaning; `Some(false)`: known but misplaced.
    fn known_word(&mut self, word: &str, after: &str) -> Option<bool> {
        match word {
            "am" => self.pm = Some(false),
            "pm" => self.pm = Some(true),
            "bc" => self.bc = true,
            "ad" | "at" | "on" => {}
            "t" if after.starts_with(|c: char| c.is_ascii_digit()) => {}
            "z" | "utc" | "gmt" | "zulu" if !after.starts_with(['+', '-', '/']) => self.offset = Some(0),
            "infinity" => self.special = Some(Special::Infinity),
            "epoch" => self.special = Some(Special::Epoch),
            "now" => self.special = Some(Special::Now),
            "today" => self.special = Some(Special::Day(0)),
            "tomorrow" => self.special = Some(Special::Day(1)),
            "yesterday" => self.special = Some(Special::Day(-1)),
            "allballs" => {
                self.time = Some(0);
                self.offset = Some(0);
            }
            "j" | "jd" => return None,
            _ if is_day_name(word) => {}
            _ => return None,
        }
        Some(true)
    }

    fn zone_word(&mut self, rest: &str, text: &str, name: &str) -> SqlResult<usize> {
        if let Some(digits) = rest.strip_prefix(['J', 'j']) {
            let length = digits.bytes().take_while(u8::is_ascii_digit).count();
            if length > 0 && self.date.is_none() {
                self.julian = digits[..length].parse().ok();
                return Ok(length + 1);
            }
        }
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+');
        let length = rest.bytes().take_while(|b| is_part(b)).count();
        let word = &rest[..length];
        if let Some(seconds) = TimeZone::abbreviation(word) {
            self.offset = Some(seconds);
            return Ok(length);
        }
        match TimeZone::by_name(word) {
            Some(zone) => {
                self.zone = Some(zone);
                Ok(length)
            }
            None if word.contains('/') => Err(SqlError::new(
                state::INVALID_PARAMETER_VALUE,
                format!("time zone \"{}\" not recognized", word.to_lowercase()),
            )),
            None => Err(invalid(text, name)),
        }
    }
}

/// `h:mm[:ss[.ffffff]]`: microseconds and the length read; -1 microseconds if a field is out of range.
pub(super) fn parse_clock(text: &str) -> Option<(i64, usize)> {
    let length = text.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.')).count();
    let mut fields = text[..length].split(':');
    let hour: i64 = fields.next()?.parse().ok()?;
    let minute: i64 = fields.next()?.parse().ok()?;
    let (second, micros) = match fields.next() {
        Some(seconds) => parse_seconds(seconds)?,
        None => (0, 0),
    };
    if fields.next().is_some() {
        return None;
    }
    let in_range = minute < 60 && second <= 60 && hour <= 24;
    let total = calendar::ClockTime { hour, minute, second, micros }.to_micros();
    Some((if in_range && total <= MICROS_PER_DAY { total } else { -1 }, length))
}

/// `ss[.ffffff…]`, rounded to microseconds.
pub(super) fn parse_seconds(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if fraction.is_empty() {
        return Some((whole, 0));
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros = (format!("0.{fraction}").parse::<f64>().ok()? * 1e6).round_ties_even() as i64;
    Some((whole + micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND))
}

fn month_by_name(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.to_ascii_lowercase();
    let matches =
        |full: &&str| **full == word || full[..3] == word || (word == "sept" && full.starts_with("sept"));
    MONTHS.iter().position(matches).map(|i| i as i64 + 1)
}

fn is_day_name(word: &str) -> bool {
    const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    const SHORT: [&str; 5] = ["tues", "wednes", "weds", "thur", "thurs"];
    DAYS.iter().any(|d| *d == word || d[..3] == *word) || SHORT.contains(&word)
}
