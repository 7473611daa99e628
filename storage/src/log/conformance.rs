//! What every log store must do: one suite, run against each implementation.

use bytes::Bytes;
use proptest::prelude::*;

use super::{HardState, LogBatch, LogEntry, LogOp, LogStore};
use crate::base::{RangeId, StorageError};

pub(super) trait Crashable {
    fn log(&self) -> &dyn LogStore;
    /// The log as it is found after a crash.
    fn crash(self) -> Self;
}

/// Runs every test of the suite against the log that the expression makes.
macro_rules! conformance {
    ($make:expr) => {
        crate::log::conformance::conformance!(@ $make;
            keeps_what_was_appended, later_entries_replace_earlier, answers_are_limited_in_bytes,
            truncation_keeps_the_term_before, a_reset_begins_again, a_destroyed_range_is_gone,
            a_batch_that_leaves_a_gap_is_refused_whole, synced_batches_survive_a_crash, behaves_as_the_model,
        );
    };
    (@ $make:expr; $($name:ident),* $(,)?) => {
        $(#[test] fn $name() { crate::log::conformance::$name(|| $make); })*
    };
}
pub(super) use conformance;

pub(super) const R1: RangeId = RangeId(1);
pub(super) const R2: RangeId = RangeId(2);

/// Entries `from..=to` of one term, with data that tells them apart.
pub(super) fn entries(from: u64, to: u64, term: u64) -> Vec<LogEntry> {
    let entry = |index| LogEntry {
        index,
        term,
        kind: (index % 3) as u8,
        data: Bytes::from(format!("data {index} of {term}")),
        context: if index % 2 == 0 { Bytes::new() } else { Bytes::from_static(b"context") },
    };
    (from..=to).map(entry).collect()
}

pub(super) fn write(log: &dyn LogStore, ops: Vec<(RangeId, LogOp)>) {
    log.write(&LogBatch { ops }, true).expect("written");
}

pub(super) fn append(log: &dyn LogStore, range: RangeId, from: u64, to: u64, term: u64) {
    write(log, vec![(range, LogOp::Append(entries(from, to, term)))]);
}

/// `truncated+1..=last`, each as `index@term`.
pub(super) fn shown(log: &dyn LogStore, range: RangeId) -> String {
    let Some(state) = log.state(range).expect("read") else { return "none".into() };
    let (first, end) = (state.truncated.0 + 1, state.last_index + 1);
    let found = log.entries(range, first, end, u64::MAX).expect("read");
    assert_eq!(found.len() as u64, end - first);
    for entry in &found {
        assert_eq!(entries(entry.index, entry.index, entry.term), std::slice::from_ref(entry));
        assert_eq!(log.term(range, entry.index).expect("read"), Some(entry.term));
    }
    let list: Vec<String> = found.iter().map(|e| format!("{}@{}", e.index, e.term)).collect();
    format!("after {}@{}: {}", state.truncated.0, state.truncated.1, list.join(" "))
}

pub(super) fn keeps_what_was_appended<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let log = c.log();
    assert_eq!((shown(log, R1), log.ranges()), ("none".into(), vec![]));
    append(log, R1, 1, 3, 1);
    let hard_state = HardState { term: 2, vote: 3, commit: 2 };
    write(log, vec![(R2, LogOp::SetHardState(hard_state)), (R1, LogOp::Append(entries(4, 4, 2)))]);
    assert_eq!(shown(log, R1), "after 0@0: 1@1 2@1 3@1 4@2");
    assert_eq!(log.state(R2).expect("read").map(|s| (s.hard_state, s.last_index)), Some((hard_state, 0)));
    assert_eq!(log.ranges(), [R1, R2]);
    assert_eq!(log.term(R1, 0).expect("read"), Some(0));
    assert_eq!(log.term(R1, 5).expect("read"), None);
    assert_eq!(log.entries(R1, 2, 3, u64::MAX).expect("read"), entries(2, 2, 1));
}

pub(super) fn later_entries_replace_earlier<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    append(c.log(), R1, 1, 5, 1);
    append(c.log(), R1, 3, 3, 2);
    assert_eq!(shown(c.log(), R1), "after 0@0: 1@1 2@1 3@2");
    let c = c.crash();
    assert_eq!(shown(c.log(), R1), "after 0@0: 1@1 2@1 3@2");
}

pub(super) fn answers_are_limited_in_bytes<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    append(c.log(), R1, 1, 9, 1);
    assert_eq!(c.log().entries(R1, 2, 9, 0).expect("read").len(), 1, "at least one");
    let some = c.log().entries(R1, 2, 9, 100).expect("read").len();
    assert!((2..7).contains(&some), "{some} entries");
    assert!(c.log().entries(R2, 1, 9, 0).expect("read").is_empty());
    assert!(c.log().entries(R1, 10, 12, 0).expect("read").is_empty());
}

pub(super) fn truncation_keeps_the_term_before<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    append(c.log(), R1, 1, 3, 1);
    append(c.log(), R1, 4, 5, 2);
    write(c.log(), vec![(R1, LogOp::Truncate { first: 4, prev_term: 1 })]);
    assert_eq!(shown(c.log(), R1), "after 3@1: 4@2 5@2");
    write(c.log(), vec![(R1, LogOp::Truncate { first: 2, prev_term: 1 })]);
    assert_eq!(shown(c.log(), R1), "after 3@1: 4@2 5@2", "truncated once is enough");
    assert_eq!(c.log().term(R1, 3).expect("read"), Some(1));
    assert_eq!(c.log().term(R1, 2).expect("read"), None);
    assert!(c.log().entries(R1, 2, 5, u64::MAX).expect("read").is_empty());
    write(c.log(), vec![(R1, LogOp::Truncate { first: 6, prev_term: 2 })]);
    append(c.log(), R1, 6, 6, 3);
    let c = c.crash();
    assert_eq!(shown(c.log(), R1), "after 5@2: 6@3");
}

pub(super) fn a_reset_begins_again<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    append(c.log(), R1, 1, 3, 1);
    let reset = LogOp::Reset { index: 10, term: 4 };
    write(c.log(), vec![(R1, reset), (R1, LogOp::Append(entries(11, 12, 4)))]);
    let c = c.crash();
    assert_eq!(shown(c.log(), R1), "after 10@4: 11@4 12@4");
}

pub(super) fn a_destroyed_range_is_gone<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    append(c.log(), R1, 1, 3, 1);
    append(c.log(), R2, 1, 1, 1);
    write(c.log(), vec![(R1, LogOp::Destroy)]);
    let c = c.crash();
    assert_eq!((shown(c.log(), R1), c.log().ranges()), ("none".into(), vec![R2]));
    append(c.log(), R1, 1, 1, 7);
    assert_eq!(shown(c.log(), R1), "after 0@0: 1@7");
}

pub(super) fn a_batch_that_leaves_a_gap_is_refused_whole<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    append(c.log(), R1, 1, 3, 1);
    write(c.log(), vec![(R1, LogOp::Truncate { first: 3, prev_term: 1 })]);
    let mut odd = entries(4, 5, 1);
    odd[1].index = 7;
    for bad in [
        LogOp::Append(entries(5, 5, 1)),
        LogOp::Append(entries(2, 4, 1)),
        LogOp::Append(odd),
        LogOp::Truncate { first: 9, prev_term: 1 },
    ] {
        let ops = vec![(R2, LogOp::Append(entries(1, 1, 1))), (R1, bad)];
        let refused = c.log().write(&LogBatch { ops }, true);
        assert!(matches!(refused, Err(StorageError::Corruption(_))), "{refused:?}");
    }
    let c = c.crash();
    assert_eq!((shown(c.log(), R1), shown(c.log(), R2)), ("after 2@1: 3@1".into(), "none".into()));
}

pub(super) fn synced_batches_survive_a_crash<C: Crashable>(make: impl Fn() -> C) {
    let mut c = make();
    for round in 0..3 {
        let at = 2 * round + 1;
        let unsynced = LogBatch { ops: vec![(R1, LogOp::Append(entries(at, at, 1)))] };
        c.log().write(&unsynced, false).expect("written");
        append(c.log(), R1, at + 1, at + 1, 1);
        let lost = LogBatch { ops: vec![(R1, LogOp::Append(entries(at + 2, at + 2, 9)))] };
        c.log().write(&lost, false).expect("written");
        c = c.crash();
        let last = c.log().state(R1).expect("read").expect("there").last_index;
        assert!(last > at, "{last} after round {round}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { range: u64, back: u64, count: u64 },
    Truncate { range: u64, ahead: u64 },
    Reset { range: u64 },
    Destroy { range: u64 },
    Crash,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let range = 1..4u64;
    prop_oneof![
        8 => (range.clone(), 0..3u64, 0..4u64).prop_map(|(range, back, count)| Step::Append { range, back, count }),
        3 => (range.clone(), 0..5u64).prop_map(|(range, ahead)| Step::Truncate { range, ahead }),
        1 => range.clone().prop_map(|range| Step::Reset { range }),
        1 => range.prop_map(|range| Step::Destroy { range }),
        1 => Just(Step::Crash),
        1 => Just(Step::Purge),
    ]
}

/// Random steps, each synced, against the in-memory log; crashes and purges change nothing.
pub(super) fn behaves_as_the_model<C: Crashable>(make: impl Fn() -> C) {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        let mut c = make();
        let model = super::MemLog::new();
        for (term, step) in (1..).zip(steps) {
            let bounds = |range| {
                let state = model.state(RangeId(range)).expect("read").unwrap_or_default();
                (state.truncated.0, state.last_index)
            };
            let (range, op) = match step {
                Step::Append { range, back, count } => {
                    let (truncated, last) = bounds(range);
                    let from = (last + 1).saturating_sub(back).max(truncated + 1);
                    (range, LogOp::Append(entries(from, from + count, term)))
                }
                Step::Truncate { range, ahead } => {
                    let (truncated, last) = bounds(range);
                    let first = (truncated + ahead).min(last) + 1;
                    let prev_term = model.term(RangeId(range), first - 1).expect("read").unwrap_or_default();
                    (range, LogOp::Truncate { first, prev_term })
                }
                Step::Reset { range } => (range, LogOp::Reset { index: bounds(range).1 + 5, term }),
                Step::Destroy { range } => (range, LogOp::Destroy),
                Step::Crash => {
                    c = c.crash();
                    continue;
                }
                Step::Purge => {
                    c.log().purge().expect("purged");
                    continue;
                }
            };
            let hard_state = LogOp::SetHardState(HardState { term, vote: range, commit: 0 });
            let ops = match op {
                LogOp::Destroy => vec![(RangeId(range), op)],
                op => vec![(RangeId(range), op), (RangeId(range), hard_state)],
            };
            write(&model, ops.clone());
            write(c.log(), ops);
        }
        let c = c.crash();
        prop_assert_eq!(c.log().ranges(), model.ranges());
        for range in (1..4).map(RangeId) {
            prop_assert_eq!(shown(c.log(), range), shown(&model, range));
            let hard_state = |log: &dyn LogStore| log.state(range).expect("read").map(|s| s.hard_state);
            prop_assert_eq!(hard_state(c.log()), hard_state(&model));
        }
    });
}
