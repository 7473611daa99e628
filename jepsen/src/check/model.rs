//! The isolation levels, and which anomalies each one proscribes.
//!
//! | level | proscribes | source |
//! | --- | --- | --- |
//! | read committed (PL-2) | G0, G1a, G1b, G1c | Adya, Liskov, O'Neil 2000, section 5 |
//! | snapshot isolation | and G-single, G-nonadjacent, lost update, `internal` | below |
//! | serializable (PL-3) | and G2-item | Adya, Liskov, O'Neil 2000, section 5 |
//! | strict serializable | and every cycle with session or real-time edges | Adya 1999, section 4.5; Herlihy, Wing 1990 |
//!
//! Snapshot isolation: A. Cerone, A. Gotsman, "Analysing Snapshot Isolation", PODC 2016, theorem 9: a history is allowed
//! exactly if every cycle has two anti-dependencies in a row. So write skew (G2-item) is allowed and G-nonadjacent is not
//! (<https://jepsen.io/consistency/phenomena/g-nonadjacent>). `internal` is axiom INT of A. Cerone, G. Bernardi, A. Gotsman,
//! "A Framework for Transactional Consistency Models with Atomic Visibility", CONCUR 2015; Adya's PL-2 has no such rule.
//! Its first-committer-wins rule forbids a lost update even where the order of the two writes is not known (H. Berenson et
//! al., "A Critique of ANSI SQL Isolation Levels", SIGMOD 1995, P4).
//!
//! What is no state of any database (a list with an element twice, two orders of one list, a value that nobody wrote) and
//! what makes an aborted write part of a committed one is forbidden everywhere: Elle, sections 4.2 and 4.3.

use std::fmt;
use std::str::FromStr;

use super::anomaly::{Anomaly, Class, Order};

/// From the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    ReadCommitted,
    SnapshotIsolation,
    Serializable,
    StrictSerializable,
    /// Of single operations: each takes effect at one moment between its invocation and its completion.
    LinearizableRegister,
}

impl Model {
    pub const ALL: [Model; 5] = [
        Model::ReadCommitted,
        Model::SnapshotIsolation,
        Model::Serializable,
        Model::StrictSerializable,
        Model::LinearizableRegister,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Model::ReadCommitted => "read-committed",
            Model::SnapshotIsolation => "snapshot-isolation",
            Model::Serializable => "serializable",
            Model::StrictSerializable => "strict-serializable",
            Model::LinearizableRegister => "linearizable-register",
        }
    }

    pub fn proscribes(self, anomaly: Anomaly) -> bool {
        let least = match anomaly {
            Anomaly::GarbageRead
            | Anomaly::FutureRead
            | Anomaly::G1a
            | Anomaly::G1b
            | Anomaly::DirtyUpdate
            | Anomaly::DuplicateElements
            | Anomaly::IncompatibleOrder
            | Anomaly::Cycle(Class::G0 | Class::G1c, Order::Data) => Model::ReadCommitted,
            Anomaly::Internal
            | Anomaly::LostUpdate
            | Anomaly::Cycle(Class::GSingle | Class::GNonadjacent, Order::Data) => Model::SnapshotIsolation,
            Anomaly::Cycle(Class::G2Item, Order::Data) => Model::Serializable,
            Anomaly::Cycle(_, Order::Process | Order::Realtime) => Model::StrictSerializable,
            Anomaly::NotLinearizable => Model::LinearizableRegister,
        };
        self >= least
    }

    /// Whether it matters when transactions began and ended.
    pub fn is_realtime(self) -> bool {
        self >= Model::StrictSerializable
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(name: &str) -> Result<Model, String> {
        Model::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| {
            let known: Vec<_> = Model::ALL.iter().map(|m| m.name()).collect();
            format!("`{name}` is none of {}", known.join(", "))
        })
    }
}
