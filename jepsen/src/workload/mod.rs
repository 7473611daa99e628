//! What clients do to a database, and what they hold it to: the same for clusters in a simulation and for real processes.
//!
//! A [`Workload`] makes its tables, takes one small step at a time for whatever client asks, looks at everything when all is
//! calm, and judges at the end what clients were told. It speaks through a [`Client`], draws from a [`Chance`], and writes
//! down in its [`Tally`] what it saw; [`Asking`] is one transaction, and [`Told`] what is known of it afterwards. A run opens
//! some workloads of [`ALL`] side by side, each with tables of its own names, and drives them:
//!
//! ```text
//! for text in work.open() { say it }                      once, before anything goes wrong
//! work.step(client, id, chance)                           again and again, by many clients at a time
//! work.last_look(client)                                  when all is calm, through each gateway; again if it fails
//! work.close()                                            once
//! work.tally().take_violations()                          after any of these
//! ```
//!
//! What must stay true: nothing here reads a clock, starts a task or opens a file, and nothing depends on the order of a
//! hash map, so that a simulation can repeat itself. A violation is a value, never a panic: a text that says what was seen
//! and what was promised. Each workload's tests show its checker something that must not be.

mod registry;
pub mod bank;
mod append;
mod backup;
mod bookings;
mod branches;
mod comments;
mod constraints;
mod counters;
mod indexes;
mod limits;
mod long_fork;
mod monotonic;
mod own_writes;
mod past;
mod queue;
mod register;
mod rw_register;
mod savepoints;
mod schema;
mod sequences;
mod set;
mod skew;
mod active;
mod recent;
mod transcript;
mod known;
mod asking;
mod tally;
mod setting;
mod client;
#[cfg(test)]
mod scripted;

use crate::check::{Report, Unusable, Verdict};
use crate::history::{History, Malformed};

pub use asking::{Asking, Told};
pub use client::{Answer, BoxFuture, Chance, Client, Refusal, Row, SplitMix};
pub use registry::{ALL, Registered, find};
pub use setting::{Level, Setting};
pub use tally::{Counts, Tally};
pub use transcript::Transcript;

pub trait Workload: Send + Sync {
    /// The statements that make what the clients need, each a message of its own.
    fn open(&self) -> Vec<String>;

    /// One operation. `id` is unique in the run, and made of letters, digits and dashes.
    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()>;

    /// When all steps have ended: everything can be read, and is right. An error: it could not be read.
    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>>;

    /// After the last looks: judges everything that clients were told.
    fn close(&self) {}

    fn tally(&self) -> &Tally;

    /// What clients asked and were told, in Elle's EDN, if the workload is one of those that Elle knows.
    fn history(&self) -> Option<String> {
        None
    }
}

/// Holds a history against what its checker says of it.
fn judge<V>(
    tally: &Tally,
    history: Result<History<V>, Malformed>,
    check: impl FnOnce(&History<V>) -> Result<Report, Unusable>,
) {
    let report = match history {
        Ok(history) => {
            tally.judged(history.operations.len());
            check(&history).map_err(|e| e.to_string())
        }
        Err(e) => Err(e.to_string()),
    };
    match report {
        Ok(report) if report.verdict() == Verdict::Invalid => tally.violation(report.to_string()),
        Ok(report) if report.verdict() == Verdict::Unknown => tally.undecided(),
        Ok(_) => {}
        Err(e) => tally.violation(format!("the history cannot be judged: {e}")),
    }
}

/// The statement that makes so many rows, each like `row`, in which `i` is its number, from 0.
fn fill(table: &str, row: &str, count: u64) -> String {
    format!("INSERT INTO {table} SELECT {row} FROM generate_series(0, {}) AS i", count - 1)
}

/// What an index gave, in any order, against what the rows say that it must give.
fn differ(index: &str, found: &[Row], expected: impl Iterator<Item = Row>) -> Option<String> {
    let (mut found, mut expected) = (found.to_vec(), expected.collect::<Vec<_>>());
    found.sort();
    expected.sort();
    (found != expected).then(|| format!("{index} says {found:?}, the rows say {expected:?}"))
}

/// Of a value that is a number if anything is right.
fn number(value: &Option<String>) -> Result<i64, Refusal> {
    let parsed = value.as_deref().and_then(|v| v.parse().ok());
    parsed.ok_or_else(|| Refusal::wrong(format!("{value:?} where a number was written")))
}

/// The only value of an answer.
fn first_number(answer: &Answer) -> Result<i64, Refusal> {
    match answer.rows.first().and_then(|row| row.first()) {
        Some(value) => number(value),
        None => Err(Refusal::wrong(format!("{answer:?} where a number was asked for"))),
    }
}

/// A value that is not NULL if anything is right.
fn text(value: &Option<String>) -> Result<String, Refusal> {
    value.clone().ok_or_else(|| Refusal::wrong("NULL where a value was written"))
}
