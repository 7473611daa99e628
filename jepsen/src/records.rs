//! What the clients saw, in the order in which it ended.
//!
//! What must stay true: an operation is recorded before its client goes on, with what is *known* about it: acknowledged,
//! refused (it surely did not happen) or indeterminate. When in doubt, it is indeterminate.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// COMMIT was acknowledged.
    Acknowledged,
    /// It did not happen: the server refused it (by SQLSTATE), or COMMIT was never sent (`lost`, `timeout`).
    Refused(String),
    /// COMMIT was sent and its answer did not come, or the server itself did not know.
    Indeterminate(String),
}

/// A movement of money, in one transaction with its entry in the ledger.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub id: u128,
    pub process: usize,
    pub node: usize,
    pub source: i64,
    pub target: i64,
    pub amount: i64,
    pub begun: Duration,
    pub ended: Duration,
    pub outcome: Outcome,
}

/// The sum of all accounts, read in one statement while transfers ran.
#[derive(Clone, Debug)]
pub struct TotalRead {
    pub process: usize,
    pub node: usize,
    pub begun: Duration,
    pub ended: Duration,
    pub total: i64,
}

#[derive(Default)]
pub struct Records {
    pub transfers: Vec<Transfer>,
    pub totals: Vec<TotalRead>,
    /// Everything that went wrong for a client, by SQLSTATE or kind.
    pub errors: BTreeMap<String, u64>,
}

pub struct History {
    started: Instant,
    records: Mutex<Records>,
}

impl History {
    pub fn new() -> Self {
        History { started: Instant::now(), records: Mutex::default() }
    }

    /// Time since the beginning of the history.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn transfer(&self, t: Transfer) {
        let mut records = self.records.lock();
        match &t.outcome {
            Outcome::Acknowledged => {}
            Outcome::Refused(why) => *records.errors.entry(why.clone()).or_default() += 1,
            Outcome::Indeterminate(why) => {
                *records.errors.entry(format!("{why} at commit")).or_default() += 1;
            }
        }
        records.transfers.push(t);
    }

    pub fn total(&self, r: TotalRead) {
        self.records.lock().totals.push(r);
    }

    pub fn error(&self, kind: &str) {
        *self.records.lock().errors.entry(kind.into()).or_default() += 1;
    }

    pub fn with<R>(&self, look: impl FnOnce(&Records) -> R) -> R {
        look(&self.records.lock())
    }
}

impl Records {
    /// As EDN maps, one operation a line, in the vocabulary of Elle and Knossos.
    pub fn edn(&self) -> String {
        let mut out = String::new();
        for t in &self.transfers {
            let (kind, error) = match &t.outcome {
                Outcome::Acknowledged => ("ok", None),
                Outcome::Refused(e) => ("fail", Some(e)),
                Outcome::Indeterminate(e) => ("info", Some(e)),
            };
            let _ = write!(
                out,
                "{{:type :{kind}, :f :transfer, :process {}, :node {}, :begun {}, :time {}, \
                 :value {{:id \"{:032x}\", :from {}, :to {}, :amount {}}}",
                t.process,
                t.node,
                t.begun.as_nanos(),
                t.ended.as_nanos(),
                t.id,
                t.source,
                t.target,
                t.amount
            );
            let _ = match error {
                Some(e) => writeln!(out, ", :error {e:?}}}"),
                None => writeln!(out, "}}"),
            };
        }
        for r in &self.totals {
            let _ = writeln!(
                out,
                "{{:type :ok, :f :total, :process {}, :node {}, :begun {}, :time {}, :value {}}}",
                r.process,
                r.node,
                r.begun.as_nanos(),
                r.ended.as_nanos(),
                r.total
            );
        }
        out
    }
}
