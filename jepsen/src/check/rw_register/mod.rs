//! Transactions that write registers and read them; every value is written to a key once.
//!
//! A register forgets: a read tells who wrote last and nothing of those before. The order of a key's versions is known only
//! in part, from what `versions` may infer: every version comes after the initial one, and a transaction that read a version
//! and then wrote the key wrote over what it read. `dependencies` makes edges of it, `internal` looks at transactions alone,
//! and `reads` at who wrote what was read.
//!
//! What must stay true: nothing is inferred that only a serializable database would do. With `Options` the caller may
//! declare that single keys are better than that; the cycles that rest on it carry it in their names. An order of versions
//! that goes round needs no name of its own: its writers form a G0.
//!
//! Source: Elle, section 5.2, and the options of its `rw-register` workload, `:linearizable-keys?` and `:sequential-keys?`.

mod dependencies;
mod versions;
mod reads;
mod internal;

use crate::history::{History, Txn};

use super::conclude::conclude;
use super::graph::Builder;
use super::model::Model;
use super::report::{Report, Unusable};
use super::writes::{Workload, Writes};

/// What is taken for granted of each key by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What one client does to a key takes effect in the order in which it does it. Without it, only the real-time and
    /// session edges between transactions say so.
    pub sequential_keys: bool,
    /// What was done to a key before something else began took effect before it.
    pub linearizable_keys: bool,
}

impl Options {
    /// What a model implies anyway: each key of a strictly serializable database is linearizable.
    pub fn of(model: Model) -> Options {
        Options { sequential_keys: model.is_realtime(), linearizable_keys: model.is_realtime() }
    }
}

/// The options count where the model looks at sessions and real time.
pub fn check(history: &History<Txn>, model: Model, options: Options) -> Result<Report, Unusable> {
    if model == Model::LinearizableRegister {
        return Err(Unusable::Model { model, workload: Workload::RwRegister.name() });
    }
    let writes = Writes::new(history, Workload::RwRegister)?;
    let mut report = Report::new(model);
    internal::check(history, &mut report);
    let happened = reads::check(history, &writes, &mut report);
    let versions = versions::Versions::new(history, &writes, &happened, options);
    let mut graph = Builder::new(history.operations.len());
    dependencies::draw(&writes, &happened, &versions, &mut graph);
    conclude(history, &happened, graph, &mut report);
    Ok(report)
}
