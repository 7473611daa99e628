//! The workload: transfers between accounts, each with a row in a ledger, and audits that read everything at once.
//!
//! What is checked: an acknowledged transfer is in the ledger, a refused one is not, one whose outcome the client never
//! learnt may be either; the balances are exactly what the ledger says; in every snapshot that an audit sees, too; and an
//! audit sees every transfer that was acknowledged before it began.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use meridian_sql::error::SqlError;
use meridian_storage::base::keys::TABLE;
use meridian_storage::base::{Key, Runtime, Span};
use meridian_storage::store::testing::Chance;
use meridian_txn::{ScanOptions, TxnError, TxnOptions};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::machine::Up;
use crate::stats::Stats;
use crate::{kv_bank, sql_bank};

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

/// An error as a client sees it.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    #[expect(dead_code, reason = "for the trace")]
    text: String,
}

impl From<TxnError> for Failure {
    fn from(e: TxnError) -> Self {
        Failure { code: e.sqlstate(), text: e.message }
    }
}

impl From<SqlError> for Failure {
    fn from(e: SqlError) -> Self {
        Failure { code: e.code(), text: e.message().into() }
    }
}

impl Failure {
    /// Faults may make a request fail, but only in ways that a client can make sense of.
    fn must_be_expected(&self, what: &str) {
        const EXPECTED: [&str; 7] = ["40001", "40003", "40P01", "55P03", "57P03", "23514", "57P01"];
        assert!(EXPECTED.contains(&self.code), "{what}: {self:?}");
    }
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

pub struct Bank {
    cluster: Arc<Cluster>,
    transfers: Mutex<BTreeMap<String, Transfer>>,
    closing: Mutex<bool>,
}

/// All of the bank, as one snapshot shows it.
#[derive(Debug)]
pub struct Books {
    pub balances: BTreeMap<u64, i64>,
    pub ledger: BTreeMap<String, (u64, u64, i64)>,
}

impl Bank {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Bank { cluster, transfers: Mutex::default(), closing: Mutex::new(false) })
    }

    /// Opens the accounts; where ranges may be split from now on.
    pub async fn open(&self, up: &Up) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.cluster.world.sql {
            sql_bank::open(up).await;
            // Other machines look for new tables only once in a while.
            for (_, up) in self.cluster.all_up() {
                let node = up.sql.get().expect("the gateways are open");
                node.catalog.refresh().await.expect("nothing has gone wrong yet");
            }
        } else {
            kv_bank::open(&up.db).await;
            keys.extend(kv_bank::split_keys());
        }
        let txn = up.db.begin(TxnOptions { read_only: true, ..TxnOptions::default() });
        let all = txn.scan(Span::prefix(Key::from(&[TABLE][..])), ScanOptions::default());
        let all = all.collect().await.expect("nothing has gone wrong yet");
        keys.extend(all.into_iter().map(|(key, _)| key));
        keys
    }

    /// One client after the other ends when the bank closes.
    pub async fn client(self: Arc<Self>, name: u64, mut chance: Chance) {
        let runtime = self.cluster.world.runtime.clone();
        for n in 0.. {
            runtime.sleep(Duration::from_micros(chance.below(40_000))).await;
            if *self.closing.lock() {
                return;
            }
            let Some((_, up)) = self.cluster.any_up(&mut chance) else { continue };
            if chance.percent(10) {
                let (tx, rx) = oneshot::channel();
                let bank = self.clone();
                let process = up.process.clone();
                process.spawn(
                    "audit",
                    Box::pin(async move {
                        bank.audit(&up).await;
                        let _ = tx.send(());
                    }),
                );
                // A machine that dies answers nothing.
                let _ = rx.await;
                continue;
            }
            self.transfer(format!("c{name}-{n:05}"), &mut chance, up).await;
        }
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
        let (tx, rx) = oneshot::channel();
        let (stats, name, sql) = (self.cluster.world.stats.clone(), id.clone(), self.cluster.world.sql);
        let process = up.process.clone();
        process.spawn(
            "session",
            Box::pin(async move {
                let done = if sql {
                    sql_bank::transfer(&up, transfer, style, &name, &stats).await.map_err(Failure::from)
                } else {
                    kv_bank::transfer(&up, transfer, style, &name, &stats).await.map_err(Failure::from)
                };
                let _ = tx.send(done);
            }),
        );
        let outcome = match rx.await {
            Ok(Ok(true)) => Outcome::Acknowledged,
            Ok(Ok(false)) => Outcome::Refused,
            Ok(Err(e)) => {
                e.must_be_expected(&id);
                self.cluster.world.trace.say(format_args!("{id} {e:?}"));
                if e.code == "40003" { Outcome::Unknown } else { Outcome::Refused }
            }
            Err(_) => Outcome::Unknown,
        };
        let stats = &self.cluster.world.stats;
        Stats::add(match outcome {
            Outcome::Acknowledged => &stats.commits,
            Outcome::Refused => &stats.refused,
            _ => &stats.unknown,
        });
        self.cluster.world.trace.say(format_args!("{id} {transfer:?} {style:?} {outcome:?}"));
        self.transfers.lock().get_mut(&id).expect("just entered").outcome = outcome;
    }

    pub fn close(&self) {
        *self.closing.lock() = true;
    }

    /// Reads everything in one transaction. What cannot be read now proves nothing.
    async fn audit(&self, up: &Up) {
        let before = self.known();
        match self.read_books(up).await {
            Ok(books) => {
                Stats::add(&self.cluster.world.stats.audits);
                self.cluster.world.trace.say(format_args!("audit of {} rows", books.ledger.len()));
                self.check(&books, &before);
            }
            Err(e) => {
                e.must_be_expected("audit");
                self.cluster.world.trace.say(format_args!("audit: {e:?}"));
            }
        }
    }

    /// When all is calm, everything must be readable.
    pub async fn final_audit(&self, up: &Up) {
        let before = self.known();
        let books = self.read_books(up).await.unwrap_or_else(|e| panic!("the last audit failed: {e:?}"));
        self.check(&books, &before);
    }

    async fn read_books(&self, up: &Up) -> Result<Books, Failure> {
        match self.cluster.world.sql {
            true => Ok(sql_bank::read_books(up).await?),
            false => Ok(kv_bank::read_books(up).await?),
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
