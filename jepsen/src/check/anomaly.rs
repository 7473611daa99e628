//! The names of what can be wrong.
//!
//! Cycles have Adya's names, with Elle's suffixes: `-process` if the order of one client's transactions is a part of the
//! proof, `-realtime` if it is that one transaction ended before another began. G-single and G-nonadjacent are, in Elle's
//! newer words, the `-item` ones: nothing here reads by predicate.
//!
//! Sources: Adya, "Weak Consistency", PhD thesis, MIT 1999, chapters 3 and 4; Elle, section 4;
//! <https://jepsen.io/consistency/phenomena>.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A transaction disagrees with its own earlier reads and writes.
    Internal,
    /// A transaction read what it was yet to write.
    FutureRead,
    /// A read saw what nobody wrote.
    GarbageRead,
    /// Aborted read: it saw what a transaction wrote that did not happen.
    G1a,
    /// Intermediate read: it saw what its writer then wrote over.
    G1b,
    /// A write that happened came on top of one that did not.
    DirtyUpdate,
    /// A list has an element twice.
    DuplicateElements,
    /// Two reads of one list, neither of which is the beginning of the other; or one that has a transaction's own appends in
    /// another order than it made them in.
    IncompatibleOrder,
    /// Two transactions read the same version of a key and both wrote over it (P4).
    LostUpdate,
    /// Dependencies that go round.
    Cycle(Class, Order),
    /// No order of the operations on a register explains what they saw.
    NotLinearizable,
}

/// What the edges of a cycle are; each class has none of those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Writes over writes alone.
    G0,
    /// And reads of writes, at least one.
    G1c,
    /// Exactly one anti-dependency: a read that did not see a write.
    GSingle,
    /// Several anti-dependencies, no two of them in a row.
    GNonadjacent,
    /// Anti-dependencies in a row, such as write skew.
    G2Item,
}

/// What besides the data a cycle rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    Data,
    Process,
    Realtime,
}

impl Class {
    pub const ALL: [Class; 5] = [Class::G0, Class::G1c, Class::GSingle, Class::GNonadjacent, Class::G2Item];

    fn name(self) -> &'static str {
        match self {
            Class::G0 => "G0",
            Class::G1c => "G1c",
            Class::GSingle => "G-single",
            Class::GNonadjacent => "G-nonadjacent",
            Class::G2Item => "G2-item",
        }
    }
}

impl Order {
    pub const ALL: [Order; 3] = [Order::Data, Order::Process, Order::Realtime];
}

impl Anomaly {
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::Internal => "internal",
            Anomaly::FutureRead => "future-read",
            Anomaly::GarbageRead => "garbage-read",
            Anomaly::G1a => "G1a",
            Anomaly::G1b => "G1b",
            Anomaly::DirtyUpdate => "dirty-update",
            Anomaly::DuplicateElements => "duplicate-elements",
            Anomaly::IncompatibleOrder => "incompatible-order",
            Anomaly::LostUpdate => "lost-update",
            Anomaly::NotLinearizable => "not-linearizable",
            Anomaly::Cycle(class, Order::Data) => class.name(),
            Anomaly::Cycle(class, Order::Process) => match class {
                Class::G0 => "G0-process",
                Class::G1c => "G1c-process",
                Class::GSingle => "G-single-process",
                Class::GNonadjacent => "G-nonadjacent-process",
                Class::G2Item => "G2-item-process",
            },
            Anomaly::Cycle(class, Order::Realtime) => match class {
                Class::G0 => "G0-realtime",
                Class::G1c => "G1c-realtime",
                Class::GSingle => "G-single-realtime",
                Class::GNonadjacent => "G-nonadjacent-realtime",
                Class::G2Item => "G2-item-realtime",
            },
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
