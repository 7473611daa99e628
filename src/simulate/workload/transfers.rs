//! The two deeds of a bank on keys - a transfer, an audit: transactions without SQL.

use bytes::Bytes;
use meridian_jepsen::workload::bank::books::{Books, OPENING, Transfer};
use meridian_storage::base::keys::TABLE;
use meridian_storage::base::{Key, Span};
use meridian_txn::{Db, LockStrength, ScanOptions, Txn, TxnOptions, TxnResult, WaitPolicy};

use crate::simulate::coverage::Coverage;
use crate::simulate::machine::Up;

pub const ACCOUNTS: u64 = 10;
const MAX_ATTEMPTS: u32 = 20;

/// How a transfer reads what it will change.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Optimistic: validated at the commit.
    Plain,
    /// Locked first, one by one.
    Locking,
    /// Both at once.
    Many,
    /// Changes everything, then thinks better of it.
    Regretted,
}

fn account_key(account: u64) -> Key {
    Key::from([&[TABLE, b'a'][..], &account.to_be_bytes()].concat())
}

fn ledger_key(id: &str) -> Key {
    Key::from([&[TABLE, b'l'][..], id.as_bytes()].concat())
}

/// Where ranges may be split, besides at accounts.
pub fn split_keys() -> Vec<Key> {
    (0..4).map(|client| ledger_key(&format!("c{client}"))).collect()
}

pub async fn open(db: &Db) {
    let opened = db.run(TxnOptions::default(), |txn: Txn| async move {
        (0..ACCOUNTS).for_each(|a| txn.put(account_key(a), number(OPENING)));
        Ok(())
    });
    opened.await.expect("nothing has gone wrong yet");
}

/// Whether it was carried out; `false`: there was not enough, or it was taken back.
pub async fn transfer(up: &Up, t: Transfer, style: Style, id: &str, coverage: &Coverage) -> TxnResult<bool> {
    let (db, ledger) = (&up.db, ledger_key(id));
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
                Coverage::add(&coverage.retries);
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

pub async fn read_books(up: &Up) -> TxnResult<Books> {
    let db = &up.db;
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
