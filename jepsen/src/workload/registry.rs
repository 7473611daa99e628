//! The workloads that there are, by name.

use std::sync::Arc;

use super::setting::{Level, Setting};
use super::{
    Workload, append, backup, bank, bookings, branches, comments, constraints, counters, indexes, limits,
    long_fork, monotonic, own_writes, past, queue, register, rw_register, savepoints, schema, sequences, set,
    skew,
};

/// A workload that there is.
pub struct Registered {
    pub name: &'static str,
    /// What clients do.
    pub about: &'static str,
    /// The isolation levels of which the run may choose one.
    pub levels: &'static [Level],
    pub make: fn(Setting) -> Arc<dyn Workload>,
}

const SERIALIZABLE: &[Level] = &[Level::Serializable];

/// By name.
pub static ALL: &[Registered] = &[
    Registered {
        name: "append",
        about: "Transactions that read and append to lists, at any isolation level; no cycle may be in what they saw",
        levels: &Level::ALL,
        make: |setting| Arc::new(append::Append::new(setting)),
    },
    Registered {
        name: "backup",
        about: "Readers that take their time while money moves: they see one moment, and nothing is taken away from them",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(backup::Backup::new(setting)),
    },
    Registered {
        name: "bank",
        about: "Transfers, each with a row in a ledger, and audits",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(bank::Bank::new(setting)),
    },
    Registered {
        name: "bookings",
        about: "Rooms that are booked if a query finds them free: no two bookings overlap",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(bookings::Bookings::new(setting)),
    },
    Registered {
        name: "branches",
        about: "A bank whose accounts are deleted, inserted and moved between tables: the total stays",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(branches::Branches::new(setting)),
    },
    Registered {
        name: "comments",
        about: "Writers one after the other in different places: who sees the second sees the first",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(comments::Comments::new(setting)),
    },
    Registered {
        name: "constraints",
        about: "Rows that refer to one another, and values that are unique, at every isolation level",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(constraints::Constraints::new(setting)),
    },
    Registered {
        name: "counters",
        about: "Increments at any isolation level: none is lost, none comes twice",
        levels: &Level::ALL,
        make: |setting| Arc::new(counters::Counters::new(setting)),
    },
    Registered {
        name: "indexes",
        about: "Indexes of every kind, compared with the rows in many transactions",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(indexes::Indexes::new(setting)),
    },
    Registered {
        name: "limits",
        about: "Rows that may be added as long as there are few: no two transactions see room for the same one",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(limits::Limits::new(setting)),
    },
    Registered {
        name: "long-fork",
        about: "Readers of several counters: no two disagree about the order of the increments",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(long_fork::LongFork::new(setting)),
    },
    Registered {
        name: "monotonic",
        about: "Counters that grow, read through any gateway, at any isolation level: they never go back",
        levels: &Level::ALL,
        make: |setting| Arc::new(monotonic::Monotonic::new(setting)),
    },
    Registered {
        name: "own-writes",
        about: "Rows that are written through one gateway and read through another, at any isolation level",
        levels: &Level::ALL,
        make: |setting| Arc::new(own_writes::OwnWrites::new(setting)),
    },
    Registered {
        name: "past",
        about: "What was there at a time is remembered, and asked for AS OF SYSTEM TIME later, through any gateway",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(past::Past::new(setting)),
    },
    Registered {
        name: "queue",
        about: "Workers that take jobs with SKIP LOCKED, NOWAIT and timeouts, at any isolation level: each is done once",
        levels: &Level::ALL,
        make: |setting| Arc::new(queue::Queue::new(setting)),
    },
    Registered {
        name: "register",
        about: "Single registers that are read, written and compared-and-set: they are linearizable",
        levels: &Level::ALL,
        make: |setting| Arc::new(register::Register::new(setting)),
    },
    Registered {
        name: "rw-register",
        about: "Transactions that read and write registers, at any isolation level; no cycle may be in what they saw",
        levels: &Level::ALL,
        make: |setting| Arc::new(rw_register::RwRegister::new(setting)),
    },
    Registered {
        name: "savepoints",
        about: "Large transactions with nested savepoints: exactly what they kept is there",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(savepoints::Savepoints::new(setting)),
    },
    Registered {
        name: "schema",
        about: "Columns and indexes that come and go under the rows that are changed",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(schema::Schema::new(setting)),
    },
    Registered {
        name: "sequences",
        about: "Numbers that are given out once, and upserts that add up",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(sequences::Sequences::new(setting)),
    },
    Registered {
        name: "set",
        about: "Rows that are only added, a few at a time: all that were acknowledged are there",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(set::Set::new(setting)),
    },
    Registered {
        name: "skew",
        about: "Constraints over rows of which each transaction changes one",
        levels: SERIALIZABLE,
        make: |setting| Arc::new(skew::Skew::new(setting)),
    },
];

/// The workload of this name.
pub fn find(name: &str) -> Option<&'static Registered> {
    ALL.iter().find(|w| w.name == name)
}
