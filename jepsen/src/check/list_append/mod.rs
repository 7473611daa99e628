//! Transactions that append to lists and read them.
//!
//! A list tells its own past: whoever read `[1 2 3]` has seen three writes and their order. `versions` takes the order of a
//! key's versions from the longest read of it, and whatever contradicts it is an anomaly; `dependencies` turns the orders
//! into edges; `internal` looks at transactions alone.
//!
//! What must stay true: an append of unknown outcome counts only if a read saw something of its transaction; a failed one
//! never; and an acknowledged one that no read saw comes after everything that the longest read saw, since an element of a
//! list stays in it. Reads of transactions that were not acknowledged are worth nothing.
//!
//! What is allowed is known exactly for serializable and strictly serializable: where nothing is found, any order that the
//! edges allow explains the history. For snapshot isolation that is so unless two transactions appended to a key blindly
//! and no read saw either: which came first would have to be guessed.
//!
//! Source: Elle, sections 4.3 and 5.

mod dependencies;
mod versions;
mod internal;

use crate::history::{History, Txn};

use super::conclude::conclude;
use super::graph::Builder;
use super::model::Model;
use super::report::{Report, Unusable};
use super::writes::{Workload, Writes};

pub fn check(history: &History<Txn>, model: Model) -> Result<Report, Unusable> {
    if model == Model::LinearizableRegister {
        return Err(Unusable::Model { model, workload: Workload::ListAppend.name() });
    }
    let writes = Writes::new(history, Workload::ListAppend)?;
    let mut report = Report::new(model);
    internal::check(history, &mut report);
    let versions = versions::Versions::new(history, &writes, &mut report);
    let mut graph = Builder::new(history.operations.len());
    dependencies::draw(history, &writes, &versions, model, &mut graph);
    conclude(history, &versions.happened, graph, &mut report);
    Ok(report)
}
