//! Dates, times, timestamps and intervals: calendar, time zones, text forms, arithmetic.
//!
//! Days and microseconds count from 2000-01-01, as PostgreSQL's do; the range is PostgreSQL's too (4714 BC to 294276 AD
//! for timestamps). Zone rules come from the tz database; the calendar arithmetic is our own, since the range exceeds
//! that of the libraries.

pub mod parse;
pub mod parse_interval;
pub mod arithmetic;
pub mod format;
pub mod zone;
pub mod calendar;

pub use arithmetic::*;
pub use calendar::*;
pub use format::{write_date, write_interval, write_time, write_timestamp, write_timestamptz};
pub use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub use parse_interval::parse_interval;
pub use zone::TimeZone;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DateStyle {
    Iso,
    Sql,
    Postgres,
    German,
}

/// How `1/2/2003` is read, and which comes first in non-ISO output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}
