//! The workload: transfers between accounts, each with a row in a ledger, and audits that read everything at once.
//!
//! What is checked: an acknowledged transfer is in the ledger, a refused one is not, one whose outcome the client never
//! learnt may be either; the balances are exactly what the ledger says; in every snapshot that an audit sees, too; and an
//! audit sees every transfer that was acknowledged before it began.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_storage::base::{BoxFuture, Key};
use meridian_storage::store::testing::Chance;
use parking_lot::Mutex;

use super::ask::{Failure, on_machine};
use super::{Workload, kv_bank, sql_bank};
use crate::simulate::cluster::Cluster;
use crate::simulate::coverage::Coverage;
use crate::simulate::machine::Up;

pub const ACCOUNTS: u64 = 10;
pub const OPENING: i64 = 100;
pub const MAX_ATTEMPTS: u32 = 20;

/// What the client knows of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Pending,
    Acknowledged,
    Refused,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub from: u64,
    pub to: u64,
    pub amount: i64,
    outcome: Outcome,
}

/// How a transfer reads what it will change.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Optimistic: validated at the commit.
    Plain,
    /// `SELECT … FOR UPDATE`, one by one.
    Locking,
    /// Both at once.
    Many,
    /// Changes everything, then thinks better of it.
    Regretted,
}

/// How the bank speaks to the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deeds {
    Sql,
    Keys,
}

pub struct Bank {
    cluster: Arc<Cluster>,
    deeds: Deeds,
    transfers: Mutex<BTreeMap<String, Transfer>>,
}

/// All of the bank, as one snapshot shows it.
#[derive(Debug)]
pub struct Books {
    pub balances: BTreeMap<u64, i64>,
    pub ledger: BTreeMap<String, (u64, u64, i64)>,
}

impl Workload for Bank {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        match self.deeds {
            Deeds::Sql => Box::pin(sql_bank::open(up)),
            Deeds::Keys => Box::pin(kv_bank::open(&up.db)),
        }
    }

    fn split_keys(&self) -> Vec<Key> {
        match self.deeds {
            Deeds::Sql => Vec::new(),
            Deeds::Keys => kv_bank::split_keys(),
        }
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if chance.percent(10) { self.audit(&up).await } else { self.transfer(id, chance, up).await }
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let before = self.known();
            let books = read_books(self.deeds, up.clone()).await;
            let books = books.unwrap_or_else(|e| panic!("the last audit failed: {e:?}"));
            self.check(&books, &before);
        })
    }
}

impl Bank {
    pub fn new(cluster: Arc<Cluster>, deeds: Deeds) -> Arc<Self> {
        Arc::new(Bank { cluster, deeds, transfers: Mutex::default() })
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
        self.transfers.lock().insert(id.clone(), transfer);
        let (coverage, name, deeds) = (self.cluster.world.coverage.clone(), id.clone(), self.deeds);
        let gateway = up.clone();
        let done = on_machine(&up, "session", async move {
            match deeds {
                Deeds::Sql => sql_bank::transfer(&gateway, transfer, style, &name, &coverage)
                    .await
                    .map_err(Failure::from),
                Deeds::Keys => kv_bank::transfer(&gateway, transfer, style, &name, &coverage)
                    .await
                    .map_err(Failure::from),
            }
        });
        let outcome = match done.await {
            Some(Ok(true)) => Outcome::Acknowledged,
            Some(Ok(false)) => Outcome::Refused,
            Some(Err(e)) => {
                e.must_be_expected(&id);
                self.cluster.world.trace.say(format_args!("{id} {e:?}"));
                if e.code == "40003" { Outcome::Unknown } else { Outcome::Refused }
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
        self.transfers.lock().get_mut(&id).expect("just entered").outcome = outcome;
    }

    /// Reads everything in one transaction. What cannot be read now proves nothing.
    async fn audit(&self, up: &Up) {
        let before = self.known();
        match on_machine(up, "audit", read_books(self.deeds, up.clone())).await {
            Some(Ok(books)) => {
                Coverage::add(&self.cluster.world.coverage.audits);
                self.cluster.world.trace.say(format_args!("audit of {} rows", books.ledger.len()));
                self.check(&books, &before);
            }
            Some(Err(e)) => {
                e.must_be_expected("audit");
                self.cluster.world.trace.say(format_args!("audit: {e:?}"));
            }
            // A machine that dies answers nothing.
            None => {}
        }
    }

    fn known(&self) -> BTreeMap<String, Transfer> {
        self.transfers.lock().clone()
    }

    /// `before`: what was known of all transfers when the audit began.
    fn check(&self, books: &Books, before: &BTreeMap<String, Transfer>) {
        for (id, transfer) in before {
            let found = books.ledger.contains_key(id);
            match transfer.outcome {
                Outcome::Acknowledged => assert!(found, "acknowledged, but not there: {id} {transfer:?}"),
                Outcome::Refused => assert!(!found, "refused, but there: {id} {transfer:?}"),
                Outcome::Pending | Outcome::Unknown => {}
            }
        }
        let mut expected: BTreeMap<u64, i64> = (0..ACCOUNTS).map(|a| (a, OPENING)).collect();
        let transfers = self.known();
        for (id, (from, to, amount)) in &books.ledger {
            let sent = transfers.get(id).unwrap_or_else(|| panic!("nobody sent {id}"));
            assert_eq!((sent.from, sent.to, sent.amount), (*from, *to, *amount), "{id}");
            *expected.entry(*from).or_default() -= amount;
            *expected.entry(*to).or_default() += amount;
        }
        assert_eq!(books.balances, expected, "the balances are not what the ledger says");
        let total: i64 = books.balances.values().sum();
        assert_eq!(total, OPENING * ACCOUNTS as i64, "money was made or lost");
    }
}

async fn read_books(deeds: Deeds, up: Up) -> Result<Books, Failure> {
    match deeds {
        Deeds::Sql => Ok(sql_bank::read_books(&up).await?),
        Deeds::Keys => Ok(kv_bank::read_books(&up).await?),
    }
}
