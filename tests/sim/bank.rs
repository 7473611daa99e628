//! The workload: transfers between accounts, each with a row in a ledger, and audits that read everything at once.
//!
//! What is checked: an acknowledged transfer is in the ledger, a refused one is not, one whose outcome the client never
//! learnt may be either; the balances are exactly what the ledger says; in every snapshot that an audit sees, too; and an
//! audit sees every transfer that was acknowledged before it began.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use meridian_storage::base::keys::TABLE;
use meridian_storage::base::{Key, Runtime, Span};
use meridian_storage::store::testing::Chance;
use meridian_txn::{
    Db, LockStrength, ScanOptions, Txn, TxnError, TxnErrorKind, TxnOptions, TxnResult, WaitPolicy,
};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::stats::Stats;

pub const ACCOUNTS: u64 = 10;
const OPENING: i64 = 100;
const MAX_ATTEMPTS: u32 = 20;

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
    from: u64,
    to: u64,
    amount: i64,
    outcome: Outcome,
}

/// How a transfer reads what it will change.
#[derive(Clone, Copy, Debug)]
enum Style {
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
struct Books {
    balances: BTreeMap<u64, i64>,
    ledger: BTreeMap<String, (u64, u64, i64)>,
}

pub fn account_key(account: u64) -> Key {
    Key::from([&[TABLE, b'a'][..], &account.to_be_bytes()].concat())
}

pub fn ledger_key(id: &str) -> Key {
    Key::from([&[TABLE, b'l'][..], id.as_bytes()].concat())
}

impl Bank {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Bank { cluster, transfers: Mutex::default(), closing: Mutex::new(false) })
    }

    /// Where ranges may be split: between and at accounts, and in the ledger.
    pub fn split_keys() -> Vec<Key> {
        let ledger = (0..4).map(|client| ledger_key(&format!("c{client}")));
        (0..ACCOUNTS).map(account_key).chain(ledger).collect()
    }

    pub async fn open(&self, db: &Db) {
        let opened = db.run(TxnOptions::default(), |txn: Txn| async move {
            (0..ACCOUNTS).for_each(|a| txn.put(account_key(a), number(OPENING)));
            Ok(())
        });
        opened.await.expect("nothing has gone wrong yet");
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
                up.process.spawn(
                    "audit",
                    Box::pin(async move {
                        bank.audit(&up.db).await;
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

    async fn transfer(&self, id: String, chance: &mut Chance, up: crate::machine::Up) {
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
        let (stats, key) = (self.cluster.world.stats.clone(), ledger_key(&id));
        up.process.spawn(
            "session",
            Box::pin(async move {
                let done = run_transfer(&up.db, transfer, style, key, &stats).await;
                let _ = tx.send(done);
            }),
        );
        let outcome = match rx.await {
            Ok(Ok(true)) => Outcome::Acknowledged,
            Ok(Ok(false)) => Outcome::Refused,
            Ok(Err(e)) if e.kind == TxnErrorKind::Ambiguous => Outcome::Unknown,
            Ok(Err(e)) => {
                assert!(e.kind != TxnErrorKind::Internal, "transfer {id}: {e:?}");
                self.cluster.world.trace.say(format_args!("{id} {:?} {}", e.kind, e.message));
                Outcome::Refused
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
    async fn audit(&self, db: &Db) {
        let before = self.known();
        match read_books(db).await {
            Ok(books) => {
                Stats::add(&self.cluster.world.stats.audits);
                self.cluster.world.trace.say(format_args!("audit of {} rows", books.ledger.len()));
                self.check(&books, &before);
            }
            Err(e) => {
                assert!(e.kind != TxnErrorKind::Internal, "audit: {e:?}");
                self.cluster.world.trace.say(format_args!("audit: {e}"));
            }
        }
    }

    /// When all is calm, everything must be readable.
    pub async fn final_audit(&self, db: &Db) {
        let before = self.known();
        let books = read_books(db).await.unwrap_or_else(|e| panic!("the last audit failed: {e:?}"));
        self.check(&books, &before);
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

/// Whether it was carried out; `false`: there was not enough, or it was taken back.
async fn run_transfer(db: &Db, t: Transfer, style: Style, ledger: Key, stats: &Stats) -> TxnResult<bool> {
    let txn = db.begin(TxnOptions::default());
    for attempt in 0.. {
        let tried = match write_transfer(&txn, t, style, &ledger).await {
            Ok(true) => txn.commit().await.map(|_| true),
            other => other,
        };
        match tried {
            Ok(true) => return Ok(true),
            Ok(false) => {
                txn.rollback().await;
                return Ok(false);
            }
            Err(e) if e.is_retryable() && txn.can_restart() && attempt < MAX_ATTEMPTS => {
                Stats::add(&stats.retries);
                txn.restart();
            }
            Err(e) => {
                txn.rollback().await;
                return Err(e);
            }
        }
    }
    unreachable!("the attempts are counted")
}

async fn write_transfer(txn: &Txn, t: Transfer, style: Style, ledger: &Key) -> TxnResult<bool> {
    let (from, to) = (account_key(t.from), account_key(t.to));
    txn.begin_statement();
    let (a, b) = match style {
        Style::Plain => (txn.get(&from).await?, txn.get(&to).await?),
        Style::Locking | Style::Regretted => {
            let lock = (LockStrength::Update, WaitPolicy::Block);
            (txn.get_locked(&from, lock.0, lock.1).await?, txn.get_locked(&to, lock.0, lock.1).await?)
        }
        Style::Many => {
            let mut both = txn.get_many(&[from.clone(), to.clone()], None).await?.into_iter();
            (both.next().flatten(), both.next().flatten())
        }
    };
    let (a, b) = (parse(a), parse(b));
    if a < t.amount {
        return Ok(false);
    }
    txn.put(from, number(a - t.amount));
    txn.put(to, number(b + t.amount));
    txn.put(ledger.clone(), Bytes::from(format!("{} {} {}", t.from, t.to, t.amount)));
    Ok(!matches!(style, Style::Regretted))
}

async fn read_books(db: &Db) -> Result<Books, TxnError> {
    let options = TxnOptions { read_only: true, ..TxnOptions::default() };
    db.run(options, |txn: Txn| async move {
        let of = |kind: u8| Span::prefix(Key::from(&[TABLE, kind][..]));
        let accounts = txn.scan(of(b'a'), ScanOptions::default()).collect().await?;
        let ledger = txn.scan(of(b'l'), ScanOptions::default()).collect().await?;
        let balances = accounts.into_iter().map(|(key, value)| {
            let account = u64::from_be_bytes(key[2..].try_into().expect("an account's key"));
            (account, parse(Some(value)))
        });
        let rows = ledger.into_iter().map(|(key, value)| {
            let text = String::from_utf8_lossy(&value).into_owned();
            let mut words = text.split(' ').map(|w| w.parse::<i64>().expect("a number"));
            let mut next = || words.next().expect("three numbers");
            let row = (next() as u64, next() as u64, next());
            (String::from_utf8_lossy(&key[2..]).into_owned(), row)
        });
        Ok(Books { balances: balances.collect(), ledger: rows.collect() })
    })
    .await
}

fn number(n: i64) -> Bytes {
    Bytes::from(n.to_string())
}

fn parse(value: Option<Bytes>) -> i64 {
    let value = value.expect("every account exists");
    String::from_utf8_lossy(&value).parse().expect("a number")
}
