//! What has come of a workload so far: how its transactions ended, errors by SQLSTATE, and violations.
//!
//! What must stay true: a violation is recorded where it is seen and kept until somebody takes it; an error that is neither
//! a fault's nor excused by the statement is a violation, too.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::client::Refusal;

/// Violations that are kept; beyond, they are counted.
const KEPT: usize = 100;
/// Faults may make a request fail, but only in ways that a client can make sense of. Besides, connections may be lost
/// (class 08).
const EXPECTED: [&str; 5] = ["40001", "40003", "40P01", "57P01", "57P03"];

/// How often what happened.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Transactions by what their clients know of them.
    pub done: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Attempts of the same again.
    pub retries: u64,
    /// Looks at everything at once.
    pub looks: u64,
    /// Operations of which a history was judged.
    pub judged: u64,
    /// Histories of which nothing could be said: the search for an order was too long.
    pub undecided: u64,
    pub violations: u64,
    /// By SQLSTATE.
    pub errors: BTreeMap<String, u64>,
}

#[derive(Default)]
pub struct Tally {
    /// SQLSTATEs that the faults of this run may give to any statement.
    excused: Vec<String>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    counts: Counts,
    violations: Vec<String>,
}

impl Tally {
    pub fn new(excused: Vec<String>) -> Self {
        Tally { excused, inner: Mutex::default() }
    }

    pub fn counts(&self) -> Counts {
        self.inner.lock().counts.clone()
    }

    /// Those since the last call.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().violations)
    }

    /// What was seen, and what was promised.
    pub fn violation(&self, text: impl Into<String>) {
        let mut inner = self.inner.lock();
        inner.counts.violations += 1;
        if inner.violations.len() < KEPT {
            inner.violations.push(text.into());
        }
    }

    pub fn violations(&self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|text| self.violation(text));
    }

    /// `excused`: SQLSTATEs that the statement itself may give.
    pub(super) fn error(&self, refusal: &Refusal, excused: &[&str]) {
        let code = refusal.code.as_str();
        *self.inner.lock().counts.errors.entry(code.into()).or_default() += 1;
        let known = excused.contains(&code) || self.excused.iter().any(|c| c == code);
        if !known && !EXPECTED.contains(&code) && !code.starts_with("08") {
            self.violation(format!("no fault excuses the error {code}: {}", refusal.message));
        }
    }

    pub(super) fn done(&self) {
        self.inner.lock().counts.done += 1;
    }

    pub(super) fn refused(&self) {
        self.inner.lock().counts.refused += 1;
    }

    pub(super) fn unknown(&self) {
        self.inner.lock().counts.unknown += 1;
    }

    pub fn retried(&self) {
        self.inner.lock().counts.retries += 1;
    }

    pub fn looked(&self) {
        self.inner.lock().counts.looks += 1;
    }

    pub fn judged(&self, operations: usize) {
        self.inner.lock().counts.judged += operations as u64;
    }

    pub fn undecided(&self) {
        self.inner.lock().counts.undecided += 1;
    }
}
