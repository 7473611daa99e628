//! Transfers between accounts, each with an entry under an id of the client's own choice in a ledger; now and then, the total.
//!
//! A transfer that is tried again gets a new id: every attempt is an operation of the history, so a refused attempt that
//! happened after all is found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Statement};

use crate::checkers::bank::{Entry, Final};
use crate::client::{Failure, bounded, connect};
use crate::records::{History, Outcome, TotalRead, Transfer};

/// What every account begins with.
pub const OPENING: i64 = 1000;
/// One operation in so many reads the total.
const TOTAL_EVERY: u32 = 16;
/// A client that was driven to another node looks after this time whether its own is back.
const AWAY_MAX: Duration = Duration::from_secs(3);
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
/// How long the last read may take to succeed.
const READ_WITHIN: Duration = Duration::from_secs(90);

/// Makes the tables anew.
pub async fn setup(urls: &[String], accounts: i64) -> Result<(), String> {
    let statements = [
        "DROP TABLE IF EXISTS bank_ledger".to_string(),
        "DROP TABLE IF EXISTS bank_accounts".into(),
        "CREATE TABLE bank_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)".into(),
        "CREATE TABLE bank_ledger (id uuid PRIMARY KEY, source bigint NOT NULL, target bigint NOT NULL, \
         amount bigint NOT NULL)"
            .into(),
        format!("INSERT INTO bank_accounts SELECT i, {OPENING} FROM generate_series(1, {accounts}) AS i"),
    ];
    let url = urls.first().ok_or("no node to connect to")?;
    let client = connect(url).await.map_err(|e| format!("cannot connect to {url}: {e:?}"))?;
    for sql in &statements {
        client.batch_execute(sql).await.map_err(|e| format!("{sql}: {e:?}"))?;
    }
    Ok(())
}

/// One client, until `stop`. It belongs to a node, and goes to the others while that one is away.
pub async fn run(
    process: usize,
    urls: Arc<Vec<String>>,
    accounts: i64,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
) {
    let mut session: Option<Session> = None;
    let home = process % urls.len();
    while !stop.load(Ordering::Relaxed) {
        if session.as_ref().is_none_or(|s| s.node != home && s.since.elapsed() > AWAY_MAX) {
            session = open(&urls, home, &history).await;
        }
        let Some(s) = &session else {
            sleep(RECONNECT_AFTER).await;
            continue;
        };
        let usable = match rand::random::<u32>() % TOTAL_EVERY {
            0 => s.total(process, &history).await,
            _ => s.transfer(process, accounts, &history).await,
        };
        if !usable {
            session = None;
        }
    }
}

struct Session {
    node: usize,
    since: Instant,
    client: Client,
    balance: Statement,
    add: Statement,
    note: Statement,
}

async fn open(urls: &[String], home: usize, history: &History) -> Option<Session> {
    for i in 0..urls.len() {
        let node = (home + i) % urls.len();
        match Session::open(node, &urls[node]).await {
            Ok(session) => return Some(session),
            Err(e) => history.error(&format!("{} at connect", e.kind())),
        }
    }
    None
}

impl Session {
    async fn open(node: usize, url: &str) -> Result<Session, Failure> {
        let client = connect(url).await?;
        let prepare = |sql| bounded(client.prepare(sql));
        let balance = prepare("SELECT balance FROM bank_accounts WHERE id = $1").await?;
        let add = prepare("UPDATE bank_accounts SET balance = balance + $2 WHERE id = $1").await?;
        let note = prepare("INSERT INTO bank_ledger VALUES ($1::text::uuid, $2, $3, $4)").await?;
        Ok(Session { node, since: Instant::now(), client, balance, add, note })
    }

    /// Reads the total; says whether the connection is still good.
    async fn total(&self, process: usize, history: &History) -> bool {
        let begun = history.now();
        let sql = "SELECT sum(balance)::bigint FROM bank_accounts";
        match bounded(self.client.query_one(sql, &[])).await {
            Ok(row) => {
                let ended = history.now();
                let node = self.node + 1;
                history.total(TotalRead { process, node, begun, ended, total: row.get(0) });
                true
            }
            Err(e) => {
                history.error(&format!("{} at read", e.kind()));
                !e.ends_connection()
            }
        }
    }

    /// Makes a transfer; says whether the connection is still good.
    async fn transfer(&self, process: usize, accounts: i64, history: &History) -> bool {
        let source = 1 + i64::from(rand::random::<u32>()) % accounts;
        let target = 1 + (source + i64::from(rand::random::<u32>()) % (accounts - 1)) % accounts;
        let mut t = Transfer {
            id: rand::random(),
            process,
            node: self.node + 1,
            source,
            target,
            amount: 1 + i64::from(rand::random::<u8>() % 5),
            begun: history.now(),
            ended: Duration::ZERO,
            outcome: Outcome::Acknowledged,
        };
        let mut good = true;
        match self.attempt(&t).await {
            Ok(true) => {}
            // Too poor: nothing was written.
            Ok(false) => return true,
            Err((e, committing)) => {
                good = !e.ends_connection();
                t.outcome = match committing && e.leaves_commit_open() {
                    true => Outcome::Indeterminate(e.kind()),
                    false => Outcome::Refused(e.kind()),
                };
            }
        }
        t.ended = history.now();
        history.transfer(t);
        good
    }

    /// The transaction. Gives whether it wrote, or the failure and whether COMMIT had been sent.
    async fn attempt(&self, t: &Transfer) -> Result<bool, (Failure, bool)> {
        match self.statements(t).await {
            Ok(true) => {}
            Ok(false) => {
                self.roll_back().await.map_err(|e| (e, false))?;
                return Ok(false);
            }
            Err(e) => {
                // A failure here changes nothing: the transaction is refused either way.
                if !e.ends_connection()
                    && let Err(lost) = self.roll_back().await
                {
                    return Err((lost, false));
                }
                return Err((e, false));
            }
        }
        bounded(self.client.batch_execute("COMMIT")).await.map_err(|e| (e, true))?;
        Ok(true)
    }

    async fn roll_back(&self) -> Result<(), Failure> {
        bounded(self.client.batch_execute("ROLLBACK")).await
    }

    async fn statements(&self, t: &Transfer) -> Result<bool, Failure> {
        bounded(self.client.batch_execute("BEGIN")).await?;
        let row = bounded(self.client.query_one(&self.balance, &[&t.source])).await?;
        if row.get::<_, i64>(0) < t.amount {
            return Ok(false);
        }
        bounded(self.client.execute(&self.add, &[&t.source, &-t.amount])).await?;
        bounded(self.client.execute(&self.add, &[&t.target, &t.amount])).await?;
        let id = format!("{:032x}", t.id);
        bounded(self.client.execute(&self.note, &[&id, &t.source, &t.target, &t.amount])).await?;
        Ok(true)
    }
}

/// Reads everything in one transaction, from whichever node gives it first.
pub async fn read_final(urls: &[String]) -> Result<Final, String> {
    let until = Instant::now() + READ_WITHIN;
    loop {
        let mut errors = Vec::new();
        for url in urls {
            match read_from(url).await {
                Ok(end) => return Ok(end),
                Err(e) => errors.push(format!("{url}: {e:?}")),
            }
        }
        if Instant::now() > until {
            return Err(format!("no node gives the final state:\n  {}", errors.join("\n  ")));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn read_from(url: &str) -> Result<Final, Failure> {
    let client = connect(url).await?;
    bounded(client.batch_execute("BEGIN")).await?;
    let ledger =
        bounded(client.query("SELECT id::text, source, target, amount FROM bank_ledger", &[])).await?;
    let balances = bounded(client.query("SELECT id, balance FROM bank_accounts", &[])).await?;
    bounded(client.batch_execute("COMMIT")).await?;
    let entry = |row: &tokio_postgres::Row| {
        let id: String = row.get(0);
        let id = u128::from_str_radix(&id.replace('-', ""), 16).expect("a uuid is 32 digits and dashes");
        Entry { id, source: row.get(1), target: row.get(2), amount: row.get(3) }
    };
    Ok(Final {
        ledger: ledger.iter().map(entry).collect(),
        balances: balances.iter().map(|r| (r.get(0), r.get(1))).collect::<BTreeMap<i64, i64>>(),
    })
}
