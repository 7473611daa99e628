//! Reads a history of what clients asked of a database and were told, and says which isolation level it refutes.
//!
//! `check` holds the checkers: dependency graphs over transactions in the manner of Elle, and a search for an order of
//! single operations in the manner of Wing and Gong. They are pure functions of a `history`; `edn` is the form in which
//! Jepsen and Elle exchange histories.
//!
//! What must stay true: nothing here reads a clock, starts a thread or opens a file, so that the simulator can check what
//! it made in the same process. A module uses only those declared below it.

pub mod check;
pub mod history;
pub mod edn;
