//! A history as it is made: what clients asked and were told, in that order.
//!
//! What must stay true: every operation is entered before its first message is sent, and completed after its last answer
//! came; each is a process of its own, so that nothing is claimed of sessions.

use crate::history::{Event, History, Kind, Malformed, MicroOp, Names, Seen, Txn, Value};

use super::asking::Told;

#[derive(Clone, Debug)]
pub struct Transcript<V> {
    pub names: Names,
    events: Vec<Event<V>>,
    processes: i64,
}

impl<V> Default for Transcript<V> {
    fn default() -> Self {
        Transcript { names: Names::default(), events: Vec::new(), processes: 0 }
    }
}

/// An operation that was asked for and of which nothing is known yet.
#[derive(Clone, Debug)]
pub struct Asked<V> {
    process: i64,
    value: V,
}

impl<V: Value> Transcript<V> {
    /// What is asked for.
    pub fn begin(&mut self, value: V) -> Asked<V> {
        self.processes += 1;
        self.enter(self.processes, Kind::Invoke, value.clone());
        Asked { process: self.processes, value }
    }

    /// What became of it. `seen` puts into what was asked what was answered.
    pub fn end<T>(
        &mut self,
        Asked { process, value }: Asked<V>,
        told: Told<T>,
        seen: impl FnOnce(&mut Names, V, T) -> V,
    ) {
        match told {
            Told::Done(answer) => {
                let seen = seen(&mut self.names, value, answer);
                self.enter(process, Kind::Ok, seen);
            }
            Told::Refused(_) => self.enter(process, Kind::Fail, value),
            Told::Unknown(_) => self.enter(process, Kind::Info, value),
        }
    }

    /// What surely does not happen.
    pub fn never(&mut self, value: V) {
        let Asked { process, value } = self.begin(value);
        self.enter(process, Kind::Fail, value);
    }

    fn enter(&mut self, process: i64, kind: Kind, value: V) {
        self.events.push(Event { index: None, process: Some(process), kind, time: None, value });
    }

    /// In the order in which they happened.
    pub fn events(&self) -> &[Event<V>] {
        &self.events
    }

    pub fn history(&self) -> Result<History<V>, Malformed> {
        History::new(self.events.clone(), self.names.clone())
    }

    pub fn edn(&self) -> String {
        self.names.write_events(&self.events)
    }
}

/// A transaction as it was asked for, with what its reads saw, in their order.
pub fn answered(mut asked: Txn, answers: impl IntoIterator<Item = Seen>) -> Txn {
    let reads = asked.iter_mut().filter_map(|op| match op {
        MicroOp::Read { seen, .. } => Some(seen),
        _ => None,
    });
    reads.zip(answers).for_each(|(seen, answer)| *seen = answer);
    asked
}
