//! Which isolation level a history refutes.
//!
//! `list_append` and `rw_register` find out, from what transactions saw, what must have come before what, and lay it down
//! as a `graph` over transactions; `order` adds what the clients' sessions and clocks say. A cycle in it is a proof that
//! no order of the transactions explains what they saw; `cycles` finds the shortest ones and names them by the edges they
//! are made of. What needs no graph (a read of what was rolled back) the two find themselves. `linear` is for histories of
//! single operations on registers: it looks for an order, and proves by exhaustion that there is none.
//! `model` says which of the `anomaly` names refute which level; `explain` and `svg` show a cycle to people.
//!
//! What must stay true: an anomaly that is reported cannot be explained away, however the operations of unknown outcome
//! ended. What is not found may still be there: a history proves nothing of what it did not look at. Where the history does
//! not tell, or a search would need too much memory, the verdict is `unknown`, never `valid`.
//!
//! Sources: K. Kingsbury, P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020
//! (<https://arxiv.org/abs/2003.10554>); A. Adya, B. Liskov, P. O'Neil, "Generalized Isolation Level Definitions", ICDE
//! 2000. The whole is linear in the length of the history, as theirs is, but for the search inside what is broken.

pub mod list_append;
pub mod rw_register;
pub mod linear;
mod conclude;
mod svg;
mod explain;
mod writes;
mod report;
mod model;
mod cycles;
mod components;
mod order;
mod graph;
mod anomaly;

pub use anomaly::{Anomaly, Class, Order};
pub use cycles::{Cycle, Step};
pub use explain::explain;
pub use graph::{Dependency, Kind, Reason};
pub use model::Model;
pub use report::{EXAMPLES_MAX, Finding, Found, Report, Unusable, Verdict};
pub use svg::draw;
