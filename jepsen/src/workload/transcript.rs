//! A history as it is made: what clients asked and were told, in that order.
//!
//! What must stay true: every operation is entered before its first message is sent, and completed after its last answer
//! came; each is a process of its own, so that nothing is claimed of sessions.

use crate::history::{Event, History, Kind, Malformed, Names, Value};

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

impl<V: Value> Transcript<V> {
    /// What is asked for. Gives the process.
    pub fn begin(&mut self, asked: V) -> i64 {
        self.processes += 1;
        self.enter(self.processes, Kind::Invoke, asked);
        self.processes
    }

    /// What became of it. `seen` puts into what was asked what was answered.
    pub fn end<T>(
        &mut self,
        process: i64,
        asked: V,
        told: Told<T>,
        seen: impl FnOnce(&mut Names, V, T) -> V,
    ) {
        match told {
            Told::Done(answer) => {
                let seen = seen(&mut self.names, asked, answer);
                self.enter(process, Kind::Ok, seen);
            }
            Told::Refused(_) => self.enter(process, Kind::Fail, asked),
            Told::Unknown(_) => self.enter(process, Kind::Info, asked),
        }
    }

    /// What surely does not happen.
    pub fn never(&mut self, value: V) {
        let process = self.begin(value.clone());
        self.enter(process, Kind::Fail, value);
    }

    fn enter(&mut self, process: i64, kind: Kind, value: V) {
        self.events.push(Event { index: None, process: Some(process), kind, time: None, value });
    }

    pub fn history(&self) -> Result<History<V>, Malformed> {
        History::new(self.events.clone(), self.names.clone())
    }

    pub fn edn(&self) -> String {
        self.names.write_events(&self.events)
    }
}
