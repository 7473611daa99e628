//! Sums and differences of dates, timestamps and intervals.

use super::calendar::*;
use super::zone::TimeZone;
use crate::error::SqlResult;
use crate::types::Interval;

/// Midnight of a date as a timestamp; infinities stay infinite.
pub fn date_to_timestamp(days: i32) -> SqlResult<i64> {
    match days {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_NEG_INFINITY => Ok(TIMESTAMP_NEG_INFINITY),
        days => join_timestamp(i64::from(days), 0).map_err(|_| {
            crate::error::SqlError::new(
                crate::error::state::DATETIME_FIELD_OVERFLOW,
                "date out of range for timestamp",
            )
        }),
    }
}

/// As [`date_to_timestamp`], for comparisons: dates beyond the timestamps count as infinite.
pub fn date_to_timestamp_saturating(days: i32) -> i64 {
    date_to_timestamp(days).unwrap_or(if days > 0 { TIMESTAMP_INFINITY } else { TIMESTAMP_NEG_INFINITY })
}

pub fn timestamp_to_date(t: i64) -> i32 {
    match t {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEG_INFINITY => DATE_NEG_INFINITY,
        t => split_timestamp(t).0 as i32,
    }
}

/// `timestamp + interval`: months first (cut to the month's last day), then days, then time.
pub fn add_interval(t: i64, interval: &Interval) -> SqlResult<i64> {
    if !is_finite(t) {
        return Ok(t);
    }
    let (days, micros) = split_timestamp(t);
    let days = add_months(days, i64::from(interval.months)) + i64::from(interval.days);
    let t = join_timestamp(days, micros)?;
    t.checked_add(interval.micros).ok_or_else(timestamp_out_of_range).and_then(check_timestamp)
}

/// `timestamptz + interval`: months and days by the zone's calendar, time by the clock of the world.
pub fn add_interval_in_zone(t: i64, interval: &Interval, zone: &TimeZone) -> SqlResult<i64> {
    if !is_finite(t) {
        return Ok(t);
    }
    let mut t = t;
    if interval.months != 0 || interval.days != 0 {
        let (days, micros) = split_timestamp(zone.to_local(t));
        let days = add_months(days, i64::from(interval.months)) + i64::from(interval.days);
        t = zone.to_utc(join_timestamp(days, micros)?);
    }
    t.checked_add(interval.micros).ok_or_else(timestamp_out_of_range).and_then(check_timestamp)
}

fn add_months(days: i64, months: i64) -> i64 {
    if months == 0 {
        return days;
    }
    let date = civil_from_days(days);
    let total = date.year * 12 + date.month - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_from_civil(year, month, date.day.min(days_in_month(year, month)))
}

/// `a - b` of timestamps: days and time.
pub fn subtract_timestamps(a: i64, b: i64) -> SqlResult<Interval> {
    if !is_finite(a) || !is_finite(b) {
        return Err(crate::error::SqlError::new(
            crate::error::state::DATETIME_FIELD_OVERFLOW,
            "cannot subtract infinite timestamps",
        ));
    }
    let micros = a.checked_sub(b).ok_or_else(interval_out_of_range)?;
    Ok(justify_hours(&Interval { months: 0, days: 0, micros }))
}

/// `age(a, b)` of local times: years and months, days, time.
pub fn age(a: i64, b: i64) -> SqlResult<Interval> {
    if !is_finite(a) || !is_finite(b) {
        return Err(crate::error::SqlError::new(
            crate::error::state::DATETIME_FIELD_OVERFLOW,
            "cannot subtract infinite timestamps",
        ));
    }
    let negative = a < b;
    let (late, early) = if negative { (b, a) } else { (a, b) };
    let ((late_days, late_micros), (early_days, early_micros)) =
        (split_timestamp(late), split_timestamp(early));
    let (x, y) = (civil_from_days(late_days), civil_from_days(early_days));
    let mut months = (x.year - y.year) * 12 + x.month - y.month;
    let mut days = x.day - y.day;
    let mut micros = late_micros - early_micros;
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // Borrowed days are those of the month of the earlier one (of the later, when counting backwards).
        let month = if negative { x } else { y };
        let _ = month;
        days += days_in_month(y.year, y.month);
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    Ok(Interval { months: (sign * months) as i32, days: (sign * days) as i32, micros: sign * micros })
}

impl Interval {
    pub fn checked_add(&self, other: &Interval) -> Option<Interval> {
        Some(Interval {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            micros: self.micros.checked_add(other.micros)?,
        })
    }

    pub fn checked_neg(&self) -> Option<Interval> {
        Some(Interval {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }

    /// Fractions spill into smaller units: of months into days (30 each), of days into time.
    pub fn scale(&self, factor: f64) -> SqlResult<Interval> {
        let months = f64::from(self.months) * factor;
        let days = f64::from(self.days) * factor;
        self.rebuild(months, days, self.micros as f64 * factor)
    }

    pub fn divide(&self, divisor: f64) -> SqlResult<Interval> {
        let months = f64::from(self.months) / divisor;
        let days = f64::from(self.days) / divisor;
        self.rebuild(months, days, self.micros as f64 / divisor)
    }

    fn rebuild(&self, months: f64, days: f64, micros: f64) -> SqlResult<Interval> {
        let fits = |v: f64| v.is_finite() && v > f64::from(i32::MIN) && v < f64::from(i32::MAX);
        if !fits(months) || !fits(days) {
            return Err(interval_out_of_range());
        }
        // PostgreSQL rounds the spilled days to microseconds before it splits them.
        let tidy = |v: f64| (v * 1e6).round_ties_even() / 1e6;
        let spilled_days = tidy((months - months.trunc()) * 30.0);
        let mut seconds = tidy((days - days.trunc() + spilled_days - spilled_days.trunc()) * 86_400.0);
        let mut extra_days = 0.0;
        if seconds.abs() >= 86_400.0 {
            extra_days = (seconds / 86_400.0).trunc();
            seconds -= extra_days * 86_400.0;
        }
        let micros = (micros + seconds * 1e6).round_ties_even();
        if micros.abs() >= 9.2e18 {
            return Err(interval_out_of_range());
        }
        Ok(Interval {
            months: months.trunc() as i32,
            days: (days.trunc() + spilled_days.trunc() + extra_days) as i32,
            micros: micros as i64,
        })
    }
}

/// 24 hours become days.
pub fn justify_hours(i: &Interval) -> Interval {
    let mut days = i64::from(i.days) + i.micros / MICROS_PER_DAY;
    let mut micros = i.micros % MICROS_PER_DAY;
    if days > 0 && micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    } else if days < 0 && micros > 0 {
        micros -= MICROS_PER_DAY;
        days += 1;
    }
    Interval { months: i.months, days: days as i32, micros }
}

/// 30 days become months.
pub fn justify_days(i: &Interval) -> Interval {
    let mut months = i64::from(i.months) + i64::from(i.days / 30);
    let mut days = i.days % 30;
    if months > 0 && days < 0 {
        days += 30;
        months -= 1;
    } else if months < 0 && days > 0 {
        days -= 30;
        months += 1;
    }
    Interval { months: months as i32, days, micros: i.micros }
}

/// Both, and one sign for all parts.
pub fn justify_interval(i: &Interval) -> Interval {
    let mut out = *i;
    // First the days, in case the hours' carry would overflow them.
    if (out.days > 0 && out.micros > 0) || (out.days < 0 && out.micros < 0) {
        out.months += out.days / 30;
        out.days %= 30;
    }
    let whole_days = out.micros / MICROS_PER_DAY;
    out.days += whole_days as i32;
    out.micros %= MICROS_PER_DAY;
    out.months += out.days / 30;
    out.days %= 30;
    if out.months > 0 && (out.days < 0 || (out.days == 0 && out.micros < 0)) {
        out.days += 30;
        out.months -= 1;
    } else if out.months < 0 && (out.days > 0 || (out.days == 0 && out.micros > 0)) {
        out.days -= 30;
        out.months += 1;
    }
    if out.days > 0 && out.micros < 0 {
        out.micros += MICROS_PER_DAY;
        out.days -= 1;
    } else if out.days < 0 && out.micros > 0 {
        out.micros -= MICROS_PER_DAY;
        out.days += 1;
    }
    out
}
