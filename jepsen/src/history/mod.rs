//! A history: what every client asked, when, and what it was told.
//!
//! `event` is what a client or a file says, one thing at a time; `pair` joins each invocation with its completion into an
//! operation; `read` and `write` are their EDN; `micro` and `register` are the two kinds of values an operation can have: a
//! transaction of micro-operations, or one operation on one register; `names` turns keys and elements into numbers.
//!
//! What must stay true: an operation is `Ok` only if its client was told so, `Fail` only if it surely did not happen, and
//! everything else is `Info`: it may happen at any time after its invocation, or never.
//!
//! The vocabulary is Jepsen's: <https://github.com/jepsen-io/history>.

mod read;
mod write;
mod pair;
mod register;
mod micro;
mod event;
mod names;

pub use event::{Event, Kind, Value};
pub use micro::{MicroOp, Seen, Txn};
pub use names::{Names, Symbol};
pub use pair::{Malformed, Operation, Outcome};
pub use read::ReadError;
pub use register::{RegisterFn, RegisterOp};

/// Operations in the order of their last events.
#[derive(Clone, Debug)]
pub struct History<V> {
    pub operations: Vec<Operation<V>>,
    pub names: Names,
    /// Whether the history says when operations began; without it there is no real-time order.
    pub has_invocations: bool,
    /// Events that no client made, such as a nemesis's.
    pub ignored: usize,
}
