//! Joins invocations with completions.
//!
//! What must stay true: a process has at most one open invocation. Where a history has invocations at all, every completion
//! has one; where it has none, completions stand alone and nothing is known of when they began.

use rustc_hash::FxHashMap;

use super::History;
use super::event::{Event, Kind, Value};
use super::names::Names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Fail,
    /// It may have happened, or may happen later, or never.
    Info,
}

#[derive(Clone, Debug)]
pub struct Operation<V> {
    /// The index of its last event, by which people find it in the history.
    pub index: u64,
    pub process: Option<i64>,
    /// Place of the invocation in the order of events, if the history tells.
    pub invoked: Option<u64>,
    /// Place of the completion in the order of events. An operation of unknown outcome has none: it may still happen.
    pub completed: Option<u64>,
    pub outcome: Outcome,
    pub value: V,
}

/// Why events do not make a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("index {0} is there twice")]
    DuplicateIndex(u64),
    #[error("some events have an :index and some have none")]
    MixedIndices,
    #[error("process {process} invokes at {second} while what it invoked at {first} is open")]
    DoubleInvocation { process: String, first: u64, second: u64 },
    #[error("process {process} completes at {index} what it never invoked")]
    NeverInvoked { process: String, index: u64 },
    #[error("what completes at {completed} is not what was invoked at {invoked}")]
    Mismatch { invoked: u64, completed: u64 },
}

impl<V: Value> History<V> {
    /// Of events in the order in which they happened, or in any order if they have indices.
    pub fn new(events: Vec<Event<V>>, names: Names) -> Result<History<V>, Malformed> {
        let events = in_order(events)?;
        let has_invocations = events.iter().any(|(_, e)| e.kind == Kind::Invoke);
        let mut open: FxHashMap<Option<i64>, Operation<V>> = FxHashMap::default();
        let mut operations = Vec::with_capacity(events.len() / 2);
        for (at, (index, event)) in events.into_iter().enumerate() {
            let at = at as u64;
            let process = || event.process.map_or("(none)".into(), |p| p.to_string());
            let outcome = match event.kind {
                Kind::Invoke => {
                    if let Some(first) = open.get(&event.process) {
                        let first = first.index;
                        return Err(Malformed::DoubleInvocation { process: process(), first, second: index });
                    }
                    let operation = Operation {
                        index,
                        process: event.process,
                        invoked: Some(at),
                        completed: None,
                        outcome: Outcome::Info,
                        value: event.value,
                    };
                    open.insert(event.process, operation);
                    continue;
                }
                Kind::Ok => Outcome::Ok,
                Kind::Fail => Outcome::Fail,
                Kind::Info => Outcome::Info,
            };
            let completed = (outcome != Outcome::Info).then_some(at);
            let invocation = open.remove(&event.process);
            if has_invocations && invocation.is_none() {
                return Err(Malformed::NeverInvoked { process: process(), index });
            }
            let (invoked, value) = match invocation {
                None => (None, event.value),
                Some(asked) if outcome == Outcome::Ok => {
                    if !event.value.completes(&asked.value) {
                        return Err(Malformed::Mismatch { invoked: asked.index, completed: index });
                    }
                    (asked.invoked, event.value)
                }
                Some(asked) => (asked.invoked, asked.value),
            };
            operations.push(Operation { index, process: event.process, invoked, completed, outcome, value });
        }
        let mut unfinished: Vec<_> = open.into_values().collect();
        unfinished.sort_by_key(|o| o.index);
        operations.extend(unfinished);
        Ok(History { operations, names, has_invocations, ignored: 0 })
    }
}

/// The events with their indices, sorted by them.
fn in_order<V>(events: Vec<Event<V>>) -> Result<Vec<(u64, Event<V>)>, Malformed> {
    let indexed = events.iter().filter(|e| e.index.is_some()).count();
    if indexed != 0 && indexed != events.len() {
        return Err(Malformed::MixedIndices);
    }
    let mut events: Vec<_> =
        events.into_iter().enumerate().map(|(at, e)| (e.index.unwrap_or(at as u64), e)).collect();
    if !events.is_sorted_by_key(|(index, _)| *index) {
        events.sort_by_key(|(index, _)| *index);
    }
    match events.windows(2).find(|w| w[0].0 == w[1].0) {
        Some(twice) => Err(Malformed::DuplicateIndex(twice[0].0)),
        None => Ok(events),
    }
}
