//! The proleptic Gregorian calendar over days since 2000-01-01, and the limits of each type.

use crate::error::{SqlError, SqlResult, state};

pub const MICROS_PER_DAY: i64 = 86_400_000_000;
pub const MICROS_PER_HOUR: i64 = 3_600_000_000;
pub const MICROS_PER_MINUTE: i64 = 60_000_000;
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// 2000-01-01 in days and microseconds since the Unix epoch.
pub const EPOCH_DAYS: i64 = 10_957;
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROS_PER_DAY;
/// The Julian day of 2000-01-01.
pub const EPOCH_JULIAN: i64 = 2_451_545;

pub const DATE_INFINITY: i32 = i32::MAX;
pub const DATE_NEG_INFINITY: i32 = i32::MIN;
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN;
/// 4714-11-24 BC.
pub const MIN_DATE: i64 = -EPOCH_JULIAN;
/// The day after 5874897-12-31.
pub const END_DATE: i64 = 2_147_483_494 - EPOCH_JULIAN;
pub const MIN_TIMESTAMP: i64 = -211_813_488_000_000_000;
/// 294277-01-01.
pub const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;

/// Astronomical year (0 = 1 BC), month 1-12, day 1-31.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CivilDate {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockTime {
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
}

/// Days since 2000-01-01 of a date; month and day may lie outside their ranges only by what the calendar adds up.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March, so that the leap day is the last (H. Hinnant, "chrono-compatible low-level date
    // algorithms").
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - EPOCH_DAYS
}

pub fn civil_from_days(days: i64) -> CivilDate {
    let z = days + EPOCH_DAYS + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    CivilDate { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

pub fn is_leap_year(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap_year(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 = Sunday.
pub fn day_of_week(days: i64) -> i64 {
    (days + 6).rem_euclid(7)
}

/// 1 = January 1st.
pub fn day_of_year(days: i64) -> i64 {
    days - days_from_civil(civil_from_days(days).year, 1, 1) + 1
}

/// ISO 8601 week-numbering year and week.
pub fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of the week decides its year.
    let thursday = days - (day_of_week(days) + 6) % 7 + 3;
    let year = civil_from_days(thursday).year;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// The Monday on which an ISO year's week begins.
pub fn iso_week_start(year: i64, week: i64) -> i64 {
    let january_4th = days_from_civil(year, 1, 4);
    january_4th - (day_of_week(january_4th) + 6) % 7 + (week - 1) * 7
}

pub fn clock_from_micros(micros: i64) -> ClockTime {
    ClockTime {
        hour: micros / MICROS_PER_HOUR,
        minute: micros / MICROS_PER_MINUTE % 60,
        second: micros / MICROS_PER_SECOND % 60,
        micros: micros % MICROS_PER_SECOND,
    }
}

impl ClockTime {
    pub fn to_micros(self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros
    }
}

/// Days and microseconds of the day of a finite timestamp.
pub fn split_timestamp(t: i64) -> (i64, i64) {
    (t.div_euclid(MICROS_PER_DAY), t.rem_euclid(MICROS_PER_DAY))
}

pub fn is_finite(t: i64) -> bool {
    t != TIMESTAMP_INFINITY && t != TIMESTAMP_NEG_INFINITY
}

pub fn timestamp_out_of_range() -> SqlError {
    SqlError::new(state::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

pub fn date_out_of_range() -> SqlError {
    SqlError::new(state::DATETIME_FIELD_OVERFLOW, "date out of range")
}

pub fn interval_out_of_range() -> SqlError {
    SqlError::new(state::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

/// A timestamp of days and microseconds, if it is in range.
pub fn join_timestamp(days: i64, micros: i64) -> SqlResult<i64> {
    let t = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros);
    if (i128::from(MIN_TIMESTAMP)..i128::from(END_TIMESTAMP)).contains(&t) {
        Ok(t as i64)
    } else {
        Err(timestamp_out_of_range())
    }
}

pub fn check_timestamp(t: i64) -> SqlResult<i64> {
    if (MIN_TIMESTAMP..END_TIMESTAMP).contains(&t) { Ok(t) } else { Err(timestamp_out_of_range()) }
}

pub fn check_date(days: i64) -> SqlResult<i32> {
    if (MIN_DATE..END_DATE).contains(&days) { Ok(days as i32) } else { Err(date_out_of_range()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_civil_dates_are_inverse() {
        for days in (MIN_DATE..END_DATE).step_by(999_983) {
            let date = civil_from_days(days);
            assert_eq!(days_from_civil(date.year, date.month, date.day), days);
        }
        assert_eq!(days_from_civil(2000, 1, 1), 0);
        assert_eq!(days_from_civil(-4713, 11, 24), MIN_DATE);
        assert_eq!(civil_from_days(59), CivilDate { year: 2000, month: 2, day: 29 });
    }

    #[test]
    fn iso_weeks_follow_the_thursday() {
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_from_civil(2018, 12, 31)), (2019, 1));
        assert_eq!(iso_week_start(2020, 53), days_from_civil(2020, 12, 28));
    }
}
