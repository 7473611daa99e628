//! to_char of dates and times, and to_date / to_timestamp by the same templates.

use super::arguments::{interval, micros, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function};
use crate::types::datetime::*;
use crate::types::{Datum, Oid};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// The fields of templates, longer ones before their prefixes. Case matters only where both are listed.
#[rustfmt::skip]
const FIELDS: &[&str] = &[
    "A.D.", "a.d.", "AD", "ad", "A.M.", "a.m.", "AM", "am", "B.C.", "b.c.", "BC", "bc", "P.M.", "p.m.", "PM", "pm",
    "CC", "DAY", "Day", "day", "DDD", "DD", "DY", "Dy", "dy", "D", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "HH24",
    "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM", "MONTH", "Month", "month", "MON",
    "Mon", "mon", "MS", "OF", "Q", "RM", "rm", "SSSSS", "SSSS", "SS", "TZH", "TZM", "TZ", "tz", "US", "WW", "W",
    "Y,YYY", "YYYY", "YYY", "YY", "Y",
];

enum Token<'t> {
    Field { name: &'static str, fill: bool, ordinal: Option<bool> },
    Literal(&'t str),
}

/// Cuts a template into fields (with FM before and TH behind) and literal text.
fn tokens(template: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = template;
    let mut fill = true;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("FM").or(rest.strip_prefix("fm")) {
            (fill, rest) = (false, after);
            continue;
        }
        if let Some(after) = rest.strip_prefix("TM").or(rest.strip_prefix("FX")) {
            rest = after;
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push(Token::Literal(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let exact = FIELDS.iter().find(|f| rest.starts_with(**f));
        let any_case = || {
            let same = |f: &&&str| rest.get(..f.len()).is_some_and(|r| r.eq_ignore_ascii_case(f));
            FIELDS.iter().find(same)
        };
        match exact.or_else(any_case) {
            Some(name) => {
                rest = &rest[name.len()..];
                let upper = rest.starts_with("TH");
                let ordinal = (upper || rest.starts_with("th")).then_some(upper);
                if ordinal.is_some() {
                    rest = &rest[2..];
                }
                out.push(Token::Field { name, fill, ordinal });
                fill = true;
            }
            None => {
                let width = rest.chars().next().map_or(1, char::len_utf8);
                out.push(Token::Literal(&rest[..width]));
                rest = &rest[width..];
            }
        }
    }
    out
}

/// What the fields show: a date and time, or an interval, which has no calendar.
struct Moment {
    date: CivilDate,
    days: Option<i64>,
    clock: ClockTime,
    zone: Option<(i32, String)>,
}

fn number(value: i64, width: usize, fill: bool) -> String {
    if !fill {
        return value.to_string();
    }
    if value < 0 { format!("-{:0width$}", -value) } else { format!("{value:0width$}") }
}

fn ordinal_suffix(value: &str) -> &'static str {
    let digits = value.as_bytes();
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match digits.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

fn cased(name: &str, like: &str) -> String {
    match like.as_bytes() {
        [a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => name.to_uppercase(),
        [a, ..] if a.is_ascii_uppercase() => name.to_owned(),
        _ => name.to_lowercase(),
    }
}

impl Moment {
    fn of(local: i64) -> Moment {
        let (days, time) = split_timestamp(local);
        Moment { date: civil_from_days(days), days: Some(days), clock: clock_from_micros(time), zone: None }
    }

    fn field(&self, name: &str, fill: bool) -> String {
        let CivilDate { year, month, day } = self.date;
        let ClockTime { hour, minute, second, micros } = self.clock;
        let shown_year = if year <= 0 && self.days.is_some() { 1 - year } else { year };
        let days = self.days.unwrap_or(0);
        let padded = |s: String| if fill { format!("{s:<9}") } else { s };
        match name {
            "HH24" => number(hour, 2, fill),
            "HH" | "HH12" => number(if hour % 12 == 0 { 12 } else { hour % 12 }, 2, fill),
            "MI" => number(minute, 2, fill),
            "SS" => number(second, 2, fill),
            "MS" | "FF3" => number(micros / 1000, 3, true),
            "US" | "FF6" => number(micros, 6, true),
            "FF1" => number(micros / 100_000, 1, true),
            "FF2" => number(micros / 10_000, 2, true),
            "FF4" => number(micros / 100, 4, true),
            "FF5" => number(micros / 10, 5, true),
            "SSSS" | "SSSSS" => ((hour * 60 + minute) * 60 + second).to_string(),
            "AM" | "PM" => if hour % 24 >= 12 { "PM" } else { "AM" }.to_owned(),
            "am" | "pm" => if hour % 24 >= 12 { "pm" } else { "am" }.to_owned(),
            "A.M." | "P.M." => if hour % 24 >= 12 { "P.M." } else { "A.M." }.to_owned(),
            "a.m." | "p.m." => if hour % 24 >= 12 { "p.m." } else { "a.m." }.to_owned(),
            "AD" | "BC" => if year <= 0 { "BC" } else { "AD" }.to_owned(),
            "ad" | "bc" => if year <= 0 { "bc" } else { "ad" }.to_owned(),
            "A.D." | "B.C." => if year <= 0 { "B.C." } else { "A.D." }.to_owned(),
            "a.d." | "b.c." => if year <= 0 { "b.c." } else { "a.d." }.to_owned(),
            "YYYY" => number(shown_year, 4, fill),
            "YYY" => number(shown_year % 1000, 3, fill),
            "YY" => number(shown_year % 100, 2, fill),
            "Y" => (shown_year % 10).to_string(),
            "Y,YYY" => format!("{},{:03}", shown_year / 1000, shown_year % 1000),
            "IYYY" => number(iso_week(days).0, 4, fill),
            "IYY" => number(iso_week(days).0 % 1000, 3, fill),
            "IY" => number(iso_week(days).0 % 100, 2, fill),
            "I" => (iso_week(days).0 % 10).to_string(),
            "IW" => number(iso_week(days).1, 2, fill),
            "IDDD" => number(days - iso_week_start(iso_week(days).0, 1) + 1, 3, fill),
            "ID" => ((day_of_week(days) + 6) % 7 + 1).to_string(),
            "MM" => number(month, 2, fill),
            "MONTH" | "Month" | "month" => padded(cased(month_name(month), name)),
            "MON" | "Mon" | "mon" => cased(&month_name(month)[..3.min(month_name(month).len())], name),
            "RM" | "rm" => {
                let roman = ROMAN.get((month - 1).rem_euclid(12) as usize).copied().unwrap_or("");
                let roman = if name == "rm" { roman.to_lowercase() } else { roman.to_owned() };
                if fill { format!("{roman:<4}") } else { roman }
            }
            "DD" => number(day, 2, fill),
            "DDD" => number(day_of_year(days), 3, fill),
            "D" => (day_of_week(days) + 1).to_string(),
            "DAY" | "Day" | "day" => padded(cased(DAYS[day_of_week(days) as usize], name)),
            "DY" | "Dy" | "dy" => cased(&DAYS[day_of_week(days) as usize][..3], name),
            "WW" => number((day_of_year(days) - 1) / 7 + 1, 2, fill),
            "W" => ((day - 1) / 7 + 1).to_string(),
            "Q" => ((month - 1) / 3 + 1).to_string(),
            "CC" => {
                let century = if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) };
                number(century, 2, fill)
            }
            "J" => (days + EPOCH_JULIAN).to_string(),
            _ => self.zone_field(name),
        }
    }

    fn zone_field(&self, name: &str) -> String {
        let Some((offset, abbreviation)) = &self.zone else { return String::new() };
        match name {
            "TZ" => abbreviation.to_uppercase(),
            "tz" => abbreviation.to_lowercase(),
            "TZH" => format!("{}{:02}", if *offset < 0 { '-' } else { '+' }, offset.abs() / 3600),
            "TZM" => format!("{:02}", offset.abs() / 60 % 60),
            _ => {
                let mut out = String::new();
                format_offset(*offset, &mut out);
                out
            }
        }
    }

    fn show(&self, template: &str) -> String {
        let mut out = String::new();
        for token in tokens(template) {
            match token {
                Token::Literal(literal) => out.push_str(literal),
                Token::Field { name, fill, ordinal } => {
                    let shown = self.field(name, fill);
                    out.push_str(&shown);
                    match ordinal {
                        Some(true) => out.push_str(&ordinal_suffix(&shown).to_uppercase()),
                        Some(false) => out.push_str(ordinal_suffix(&shown)),
                        None => {}
                    }
                }
            }
        }
        out
    }
}

fn month_name(month: i64) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|m| MONTHS.get(m)).copied().unwrap_or("")
}

fn format_offset(seconds: i32, out: &mut String) {
    crate::types::datetime::format::write_offset(seconds, out);
}

fn timestamp_to_char(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let t = micros(&args[0]);
    if !is_finite(t) || text(&args[1]).is_empty() {
        return Ok(Datum::Null);
    }
    Ok(Datum::text(&Moment::of(t).show(text(&args[1]))))
}

fn timestamptz_to_char(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let t = micros(&args[0]);
    if !is_finite(t) || text(&args[1]).is_empty() {
        return Ok(Datum::Null);
    }
    let zone = &ctx.format.time_zone;
    let mut moment = Moment::of(zone.to_local(t));
    moment.zone = Some((zone.offset_at(t), zone.abbreviation_at(t)));
    Ok(Datum::text(&moment.show(text(&args[1]))))
}

fn interval_to_char(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let i = interval(&args[0]);
    if text(&args[1]).is_empty() {
        return Ok(Datum::Null);
    }
    let date =
        CivilDate { year: i64::from(i.months / 12), month: i64::from(i.months % 12), day: i64::from(i.days) };
    let moment = Moment { date, days: None, clock: clock_from_micros(i.micros), zone: None };
    Ok(Datum::text(&moment.show(text(&args[1]))))
}

/// What was read by a template.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    seconds_of_day: Option<i64>,
    pm: Option<bool>,
    bc: bool,
    offset_hours: Option<i64>,
    offset_minutes: i64,
}

fn invalid_value(value: &str, field: &str) -> SqlError {
    SqlError::new(state::INVALID_DATETIME_FORMAT, format!("invalid value \"{value}\" for \"{field}\""))
}

/// The number in front, of at most `width` digits unless a separator follows the field.
fn take_number<'t>(rest: &mut &'t str, width: usize, field: &str) -> SqlResult<(i64, &'t str)> {
    *rest = rest.trim_start();
    let sign = usize::from(rest.starts_with(['-', '+']));
    let digits = rest[sign..].bytes().take(width).take_while(u8::is_ascii_digit).count();
    let taken = &rest[..sign + digits];
    if digits == 0 {
        let shown: String = rest.chars().take(width).collect();
        return Err(invalid_value(&shown, field).with_detail("Value must be an integer."));
    }
    *rest = &rest[sign + digits..];
    let value = taken.parse().map_err(|_| invalid_value(taken, field))?;
    Ok((value, taken))
}

fn take_name(rest: &mut &str, names: &[&str], short: bool, field: &str) -> SqlResult<i64> {
    for (i, name) in names.iter().enumerate() {
        let name = if short { &name[..3] } else { name };
        if rest.get(..name.len()).is_some_and(|r| r.eq_ignore_ascii_case(name)) {
            *rest = &rest[name.len()..];
            return Ok(i as i64);
        }
    }
    let shown: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    Err(invalid_value(&shown, field)
        .with_detail("The given value did not match any of the allowed values for this field."))
}

impl Read {
    fn by(source: &str, template: &str) -> SqlResult<Read> {
        let mut read = Read::default();
        let mut rest = source.trim_start();
        let tokens = tokens(template);
        for (i, token) in tokens.iter().enumerate() {
            match token {
                Token::Literal(literal) => {
                    // A separator stands for any separator; a letter takes any character.
                    let is_separator = |c: char| !c.is_alphanumeric();
                    if literal.chars().all(is_separator) {
                        rest = rest.trim_start();
                        if rest.starts_with(|c: char| is_separator(c) && c != '+' && c != '-')
                            || (rest.starts_with('-') && literal.contains('-'))
                        {
                            rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
                        }
                    } else {
                        rest = rest
                            .char_indices()
                            .nth(literal.chars().count())
                            .map_or("", |(at, _)| &rest[at..]);
                    }
                }
                Token::Field { name, fill, .. } => {
                    let open = !fill || !matches!(tokens.get(i + 1), Some(Token::Field { .. }));
                    read.field(name, &mut rest, open)?;
                }
            }
        }
        Ok(read)
    }

    fn field(&mut self, name: &str, rest: &mut &str, open: bool) -> SqlResult<()> {
        let mut number = |width: usize| take_number(rest, if open && width > 3 { 9 } else { width }, name);
        match name {
            "YYYY" | "IYYY" => self.year = Some(number(4)?.0),
            "YYY" | "YY" | "Y" => {
                let (value, taken) = number(name.len())?;
                // The year nearest to 2020 that ends so.
                self.year = Some(match taken.len() {
                    1..=2 if value < 70 => value + 2000,
                    1..=2 => value + 1900,
                    3 if value < 520 => value + 2000,
                    3 => value + 1000,
                    _ => value,
                });
            }
            "MM" => self.month = Some(number(2)?.0),
            "DD" => self.day = Some(number(2)?.0),
            "DDD" => self.day_of_year = Some(number(3)?.0),
            "J" => self.julian = Some(number(9)?.0),
            "HH24" | "HH" | "HH12" => self.hour = number(2)?.0,
            "MI" => self.minute = number(2)?.0,
            "SS" => self.second = number(2)?.0,
            "SSSS" | "SSSSS" => self.seconds_of_day = Some(number(5)?.0),
            "MS" => {
                let (value, taken) = number(3)?;
                self.micros = value * 10i64.pow(6 - taken.len() as u32);
            }
            "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                let (value, taken) = number(6)?;
                self.micros = value * 10i64.pow(6 - taken.len().min(6) as u32);
            }
            "TZH" => self.offset_hours = Some(number(2)?.0),
            "TZM" => self.offset_minutes = number(2)?.0,
            "Q" | "D" | "ID" | "W" | "WW" | "IW" | "CC" => {
                number(2)?;
            }
            "MONTH" | "Month" | "month" => {
                *rest = rest.trim_start();
                let full = take_name(rest, &MONTHS, false, name);
                self.month = Some(full.or_else(|_| take_name(rest, &MONTHS, true, name))? + 1);
            }
            "MON" | "Mon" | "mon" => {
                *rest = rest.trim_start();
                self.month = Some(take_name(rest, &MONTHS, true, name)? + 1);
            }
            "DAY" | "Day" | "day" => {
                take_name(rest, &DAYS, false, name)?;
            }
            "DY" | "Dy" | "dy" => {
                take_name(rest, &DAYS, true, name)?;
            }
            "AM" | "PM" | "am" | "pm" | "A.M." | "P.M." | "a.m." | "p.m." => {
                let lower = rest.trim_start().to_ascii_lowercase();
                self.pm = Some(lower.starts_with('p'));
                let width = if lower.get(1..2) == Some(".") { 4 } else { 2 };
                *rest = rest.trim_start().get(width..).unwrap_or("");
            }
            "AD" | "BC" | "ad" | "bc" | "A.D." | "B.C." | "a.d." | "b.c." => {
                let lower = rest.trim_start().to_ascii_lowercase();
                self.bc = lower.starts_with('b');
                let width = if lower.get(1..2) == Some(".") { 4 } else { 2 };
                *rest = rest.trim_start().get(width..).unwrap_or("");
            }
            other => return Err(SqlError::unsupported(format!("template field \"{other}\" for reading"))),
        }
        Ok(())
    }

    fn out_of_range(source: &str) -> SqlError {
        SqlError::new(
            state::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range: \"{source}\""),
        )
    }

    fn days(&self, source: &str) -> SqlResult<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - EPOCH_JULIAN);
        }
        let mut year = self.year.unwrap_or(if self.bc { 1 } else { 0 });
        if self.bc {
            year = 1 - year;
        } else if self.year.is_none() || year == 0 {
            // Without a year PostgreSQL takes 1 BC.
            year = 0;
        }
        if let Some(day) = self.day_of_year {
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return Err(Self::out_of_range(source));
        }
        Ok(days_from_civil(year, month, day))
    }

    fn time(&self, source: &str) -> SqlResult<i64> {
        if let Some(seconds) = self.seconds_of_day {
            return Ok(seconds * MICROS_PER_SECOND);
        }
        let hour = match self.pm {
            Some(_) if !(1..=12).contains(&self.hour) => {
                return Err(SqlError::new(
                    state::INVALID_DATETIME_FORMAT,
                    format!("hour \"{}\" is invalid for the 12-hour clock", self.hour),
                )
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            Some(pm) => self.hour % 12 + if pm { 12 } else { 0 },
            None => self.hour,
        };
        if hour > 24 || self.minute > 59 || self.second > 59 {
            return Err(Self::out_of_range(source));
        }
        Ok(ClockTime { hour, minute: self.minute, second: self.second, micros: self.micros }.to_micros())
    }
}

fn to_date(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let source = text(&args[0]);
    let days = Read::by(source, text(&args[1]))?.days(source)?;
    check_date(days).map(Datum::Date)
}

fn to_timestamp(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let source = text(&args[0]);
    let read = Read::by(source, text(&args[1]))?;
    let local = join_timestamp(read.days(source)?, read.time(source)?)?;
    let utc = match read.offset_hours {
        Some(hours) => {
            let minutes = hours.abs() * 60 + read.offset_minutes;
            local - hours.signum() * minutes * MICROS_PER_MINUTE
        }
        None => ctx.format.time_zone.to_utc(local),
    };
    check_timestamp(utc).map(Datum::Timestamp)
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(2049, "to_char", &[Oid::TIMESTAMP, Oid::TEXT], Oid::TEXT, timestamp_to_char).stable(),
    Function::row(1770, "to_char", &[Oid::TIMESTAMPTZ, Oid::TEXT], Oid::TEXT, timestamptz_to_char).stable(),
    Function::row(1768, "to_char", &[Oid::INTERVAL, Oid::TEXT], Oid::TEXT, interval_to_char).stable(),
    Function::row(1780, "to_date", &[Oid::TEXT, Oid::TEXT], Oid::DATE, to_date).stable(),
    Function::row(1778, "to_timestamp", &[Oid::TEXT, Oid::TEXT], Oid::TIMESTAMPTZ, to_timestamp).stable(),
];
