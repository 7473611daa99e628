//! Time zones: regions of the tz database, fixed offsets, and the abbreviations that PostgreSQL knows by default.

use std::sync::Arc;

use super::calendar::{EPOCH_MICROS, MICROS_PER_SECOND};

/// A zone as `SET TimeZone` and `AT TIME ZONE` name it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TimeZone(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Utc,
    Fixed { seconds_east: i32, name: Arc<str> },
    Region { zone: jiff::tz::TimeZone, name: Arc<str> },
}

impl PartialEq for TimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl TimeZone {
    pub const UTC: TimeZone = TimeZone(Kind::Utc);

    pub fn fixed(seconds_east: i32) -> TimeZone {
        let name = fixed_name(seconds_east).into();
        TimeZone(Kind::Fixed { seconds_east, name })
    }

    /// A region (`Europe/Berlin`), an abbreviation (`EST`), or an offset by POSIX's rule (`UTC+3` is west).
    pub fn by_name(name: &str) -> Option<TimeZone> {
        if name.eq_ignore_ascii_case("utc") {
            return Some(TimeZone::UTC);
        }
        if let Some((_, seconds_east)) =
            ABBREVIATIONS.iter().find(|(abbreviation, _)| name.eq_ignore_ascii_case(abbreviation))
        {
            let region = region(name);
            return Some(region.unwrap_or(TimeZone(Kind::Fixed {
                seconds_east: *seconds_east,
                name: name.to_uppercase().into(),
            })));
        }
        region(name).or_else(|| posix(name))
    }

    /// The offset of an abbreviation in a date's text (`… 10:00 EST`), in seconds east.
    pub fn abbreviation(name: &str) -> Option<i32> {
        ABBREVIATIONS.iter().find(|(a, _)| name.eq_ignore_ascii_case(a)).map(|(_, offset)| *offset)
    }

    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Utc => "UTC",
            Kind::Fixed { name, .. } | Kind::Region { name, .. } => name,
        }
    }

    /// Seconds east of UTC at an instant (microseconds since 2000-01-01 UTC).
    pub fn offset_at(&self, utc: i64) -> i32 {
        match &self.0 {
            Kind::Utc => 0,
            Kind::Fixed { seconds_east, .. } => *seconds_east,
            Kind::Region { zone, .. } => zone.to_offset(instant(utc)).seconds(),
        }
    }

    /// The zone's abbreviation at an instant, as `CET`.
    pub fn abbreviation_at(&self, utc: i64) -> String {
        match &self.0 {
            Kind::Utc => "UTC".to_owned(),
            Kind::Fixed { seconds_east, name } => {
                if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    name.to_string()
                } else {
                    short_offset(*seconds_east)
                }
            }
            Kind::Region { zone, .. } => zone.to_offset_info(instant(utc)).abbreviation().to_owned(),
        }
    }

    pub fn is_dst_at(&self, utc: i64) -> bool {
        match &self.0 {
            Kind::Region { zone, .. } => zone.to_offset_info(instant(utc)).dst().is_dst(),
            _ => false,
        }
    }

    /// Local time of an instant.
    pub fn to_local(&self, utc: i64) -> i64 {
        utc + i64::from(self.offset_at(utc)) * MICROS_PER_SECOND
    }

    /// The instant of a local time: in a gap as if the offset before it still held, in an overlap the later.
    pub fn to_utc(&self, local: i64) -> i64 {
        let Kind::Region { zone, .. } = &self.0 else {
            return local - i64::from(self.offset_at(local)) * MICROS_PER_SECOND;
        };
        // Two offsets can be meant only if those a day before and after differ.
        let day = super::MICROS_PER_DAY;
        let shift = |offset: i32| local.saturating_sub(i64::from(offset) * MICROS_PER_SECOND);
        let before = zone.to_offset(instant(local.saturating_sub(day))).seconds();
        let after = zone.to_offset(instant(local.saturating_add(day))).seconds();
        if before == after {
            return shift(before);
        }
        let holds = |offset: i32| self.offset_at(shift(offset)) == offset;
        match (holds(before), holds(after)) {
            (_, true) => shift(after),
            (true, false) | (false, false) => shift(before),
        }
    }
}

fn instant(utc: i64) -> jiff::Timestamp {
    // The rules repeat with the calendar: 400 years are a whole number of weeks.
    const CYCLE: i64 = 146_097 * super::MICROS_PER_DAY;
    const YEARS_8000: i64 = 20 * CYCLE;
    let mut unix = utc.saturating_add(EPOCH_MICROS);
    if unix > YEARS_8000 {
        unix = YEARS_8000 - CYCLE + (unix - YEARS_8000) % CYCLE;
    }
    // Nothing happened to clocks before the first transition.
    let unix = unix.max(-YEARS_8000);
    jiff::Timestamp::from_microsecond(unix).expect("within the library's range")
}

fn region(name: &str) -> Option<TimeZone> {
    let zone = jiff::tz::TimeZone::get(name).ok()?;
    let name = zone.iana_name().unwrap_or(name).into();
    Some(TimeZone(Kind::Region { zone, name }))
}

/// `<letters><sign>hh[:mm[:ss]]`, positive meaning west, or a bare number of hours, positive meaning east.
fn posix(name: &str) -> Option<TimeZone> {
    let split = name.find(|c: char| !c.is_ascii_alphabetic())?;
    let (letters, offset) = name.split_at(split);
    let (sign, digits) = match offset.as_bytes().first()? {
        b'-' => (-1, &offset[1..]),
        b'+' => (1, &offset[1..]),
        _ => (1, offset),
    };
    let mut seconds = 0.0;
    for (part, unit) in digits.split(':').zip([3600.0, 60.0, 1.0]) {
        seconds += part.parse::<f64>().ok().filter(|v| (0.0..168.0).contains(v))? * unit;
    }
    let seconds = sign * seconds as i32;
    if letters.is_empty() {
        return Some(TimeZone::fixed(seconds));
    }
    Some(TimeZone(Kind::Fixed { seconds_east: -seconds, name: name.into() }))
}

/// `<+03>-03`: what PostgreSQL shows for a fixed offset.
fn fixed_name(seconds_east: i32) -> String {
    let east = short_offset(seconds_east);
    let west = short_offset(-seconds_east);
    format!("<{east}>{west}")
}

fn short_offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    if minutes == 0 { format!("{sign}{hours:02}") } else { format!("{sign}{hours:02}:{minutes:02}") }
}

/// The common ones of PostgreSQL's "Default" abbreviation set, in seconds east.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("UTC", 0),
    ("UT", 0),
    ("GMT", 0),
    ("Z", 0),
    ("ZULU", 0),
    ("WET", 0),
    ("WEST", 3600),
    ("BST", 3600),
    ("IST", 7200),
    ("CET", 3600),
    ("MET", 3600),
    ("CEST", 7200),
    ("MEST", 7200),
    ("EET", 7200),
    ("EEST", 10800),
    ("SAST", 7200),
    ("MSK", 10800),
    ("MSD", 14400),
    ("PKT", 18000),
    ("JST", 32400),
    ("KST", 32400),
    ("AEST", 36000),
    ("AEDT", 39600),
    ("ACST", 34200),
    ("AWST", 28800),
    ("NZST", 43200),
    ("NZDT", 46800),
    ("EST", -18000),
    ("EDT", -14400),
    ("CST", -21600),
    ("CDT", -18000),
    ("MST", -25200),
    ("MDT", -21600),
    ("PST", -28800),
    ("PDT", -25200),
    ("AKST", -32400),
    ("AKDT", -28800),
    ("HST", -36000),
    ("AST", -14400),
    ("ADT", -10800),
    ("NST", -12600),
    ("NDT", -9000),
    ("BRT", -10800),
    ("BRST", -7200),
    ("ART", -10800),
    ("CLT", -14400),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::datetime::{MICROS_PER_HOUR, days_from_civil, join_timestamp};

    fn at(month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        let days = days_from_civil(2024, month, day);
        join_timestamp(days, (hour * 60 + minute) * 60 * MICROS_PER_SECOND).expect("a time in range")
    }

    #[test]
    fn local_times_in_gaps_and_overlaps_resolve_as_in_postgresql() {
        let zone = TimeZone::by_name("America/New_York").expect("a known zone");
        // 2024-03-10 02:30 does not exist; 2024-11-03 01:30 exists twice.
        assert_eq!(zone.to_utc(at(3, 10, 2, 30)), at(3, 10, 7, 30));
        assert_eq!(zone.to_utc(at(11, 3, 1, 30)), at(11, 3, 6, 30));
        assert_eq!(zone.to_local(at(7, 1, 12, 0)), at(7, 1, 8, 0));
        assert_eq!(zone.abbreviation_at(at(7, 1, 12, 0)), "EDT");
        assert_eq!(zone.to_utc(at(1, 1, 0, 0)) - at(1, 1, 0, 0), 5 * MICROS_PER_HOUR);
    }
}
