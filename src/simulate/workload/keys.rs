//! The bank of `meridian-jepsen`, below SQL: transfers between accounts, each with a row in a ledger, and audits that read
//! everything at once, on keys and values.

use std::sync::Arc;

use meridian_jepsen::workload::bank::books::{Outcome, Transfer, Transfers};
use meridian_storage::base::{BoxFuture, Key};
use meridian_storage::store::testing::Chance;
use meridian_txn::TxnError;

use super::Workload;
use super::client::on_machine;
use super::transfers::{self, ACCOUNTS, Style};
use crate::simulate::cluster::Cluster;
use crate::simulate::coverage::Coverage;
use crate::simulate::machine::{Up, World};

pub struct Keys {
    cluster: Arc<Cluster>,
    transfers: Transfers,
}

impl Workload for Keys {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(transfers::open(&up.db))
    }

    fn split_keys(&self) -> Vec<Key> {
        transfers::split_keys()
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if chance.percent(10) { self.audit(&up).await } else { self.transfer(id, chance, up).await }
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let before = self.transfers.known();
            let books = transfers::read_books(up).await;
            let books = books.unwrap_or_else(|e| panic!("the last audit failed: {e:?}"));
            hold(self.transfers.check(&books, ACCOUNTS, &before));
        })
    }
}

impl Keys {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Keys { cluster, transfers: Transfers::default() })
    }

    async fn transfer(&self, id: String, chance: &mut Chance, up: Up) {
        let from = chance.below(ACCOUNTS);
        let to = (from + 1 + chance.below(ACCOUNTS - 1)) % ACCOUNTS;
        let transfer = Transfer { from, to, amount: 1 + chance.below(30) as i64, outcome: Outcome::Pending };
        let style = match chance.below(10) {
            0..4 => Style::Plain,
            4..7 => Style::Locking,
            7..9 => Style::Many,
            _ => Style::Regretted,
        };
        self.transfers.enter(&id, transfer);
        let (coverage, name) = (self.cluster.world.coverage.clone(), id.clone());
        let gateway = up.clone();
        let done = on_machine(&up, "session", async move {
            transfers::transfer(&gateway, transfer, style, &name, &coverage).await
        });
        let outcome = match done.await {
            Some(Ok(true)) => Outcome::Acknowledged,
            Some(Ok(false)) => Outcome::Refused,
            Some(Err(e)) => {
                must_be_expected(&self.cluster.world, &e, &id);
                self.cluster.world.trace.say(format_args!("{id} {e:?}"));
                if e.sqlstate() == "40003" { Outcome::Unknown } else { Outcome::Refused }
            }
            None => Outcome::Unknown,
        };
        let coverage = &self.cluster.world.coverage;
        Coverage::add(match outcome {
            Outcome::Acknowledged => &coverage.commits,
            Outcome::Refused => &coverage.refused,
            _ => &coverage.unknown,
        });
        self.cluster.world.trace.say(format_args!("{id} {transfer:?} {style:?} {outcome:?}"));
        self.transfers.end(&id, outcome);
    }

    /// Reads everything in one transaction. What cannot be read now proves nothing.
    async fn audit(&self, up: &Up) {
        let before = self.transfers.known();
        let gateway = up.clone();
        match on_machine(up, "audit", async move { transfers::read_books(&gateway).await }).await {
            Some(Ok(books)) => {
                Coverage::add(&self.cluster.world.coverage.audits);
                self.cluster.world.trace.say(format_args!("audit of {} rows", books.ledger.len()));
                hold(self.transfers.check(&books, ACCOUNTS, &before));
            }
            Some(Err(e)) => {
                must_be_expected(&self.cluster.world, &e, "audit");
                self.cluster.world.trace.say(format_args!("audit: {e:?}"));
            }
            // A machine that dies answers nothing.
            None => {}
        }
    }
}

fn hold(violations: Vec<String>) {
    assert!(violations.is_empty(), "keys: {}", violations.join("; "));
}

/// Faults may make a request fail, but only in ways that a client can make sense of.
fn must_be_expected(world: &World, e: &TxnError, what: &str) {
    const EXPECTED: [&str; 5] = ["40001", "40003", "40P01", "57P03", "57P01"];
    let misread = world.is_of_a_disk(e.sqlstate(), &e.message);
    assert!(misread || EXPECTED.contains(&e.sqlstate()), "{what}: {e:?}");
}
