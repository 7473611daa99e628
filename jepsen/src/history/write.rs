//! Histories to EDN, one event a line: what `read` gives back, and what Elle and Knossos take.

use std::fmt::Write;

use super::event::{Event, Value};
use super::names::Names;

impl<V: Value> Event<V> {
    pub fn write(&self, names: &Names, out: &mut String) {
        out.push('{');
        if let Some(index) = self.index {
            let _ = write!(out, ":index {index}, ");
        }
        if let Some(time) = self.time {
            let _ = write!(out, ":time {time}, ");
        }
        let _ = write!(out, ":type :{}, ", self.kind.name());
        if let Some(process) = self.process {
            let _ = write!(out, ":process {process}, ");
        }
        self.value.write(names, out);
        out.push('}');
    }
}

impl Names {
    /// A whole history.
    pub fn write_events<V: Value>(&self, events: &[Event<V>]) -> String {
        let mut out = String::new();
        for event in events {
            event.write(self, &mut out);
            out.push('\n');
        }
        out
    }
}
