//! One thing that a client did: it asked, or it was told.

use std::fmt;

use super::names::Names;
use crate::edn::Edn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client sends its request.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen and never will.
    Fail,
    /// Nobody knows.
    Info,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event<V> {
    /// Its place in the history. Either all events have one or none has.
    pub index: Option<u64>,
    /// A client, which does one thing at a time. Without one, completions belong to the last invocation without one, and
    /// nothing is known of sessions.
    pub process: Option<i64>,
    pub kind: Kind,
    /// Nanoseconds since the beginning, for people: the order of events is that of their indices.
    pub time: Option<i64>,
    pub value: V,
}

/// What operations of a history are about.
pub trait Value: Clone + fmt::Debug {
    /// From the `:f`, the `:key` and the `:value` of an event. `None` if no client made it.
    fn read(
        f: Option<&Edn<'_>>,
        key: Option<&Edn<'_>>,
        value: Option<&Edn<'_>>,
        kind: Kind,
        names: &mut Names,
    ) -> Result<Option<Self>, String>;

    /// `:f … :value …`, and `:key …` where there is one.
    fn write(&self, names: &Names, out: &mut String);

    /// Whether this can be what became of an invocation: the same requests in the same order.
    fn completes(&self, invocation: &Self) -> bool;
}
