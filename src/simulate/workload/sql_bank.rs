//! The bank's two deeds - a transfer, an audit - in SQL.

use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::session::Session;
use meridian_sql::testing::{Answer, query};

use super::bank::{ACCOUNTS, Books, MAX_ATTEMPTS, OPENING, Style, Transfer};
use crate::simulate::coverage::Coverage;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;

pub async fn open(up: &Up) {
    let rows: Vec<String> = (0..ACCOUNTS).map(|a| format!("({a}, {OPENING})")).collect();
    let mut session = connect(up).await.expect("the catalog is open");
    for text in [
        "CREATE TABLE accounts (id int8 PRIMARY KEY, balance int8 NOT NULL CHECK (balance >= 0))".to_string(),
        "CREATE TABLE ledger (id text PRIMARY KEY, source int8 NOT NULL, target int8 NOT NULL, amount int8 NOT NULL)"
            .to_string(),
        format!("INSERT INTO accounts VALUES {}", rows.join(", ")),
    ] {
        let done = query(&mut session, &text).await;
        done.unwrap_or_else(|e| panic!("{text}: {e:?}"));
    }
    session.close().await;
}

/// Whether it was carried out; `false`: it was taken back. An error in code 40003 leaves that open.
pub async fn transfer(up: &Up, t: Transfer, style: Style, id: &str, coverage: &Coverage) -> SqlResult<bool> {
    let mut session = connect(up).await?;
    for attempt in 0.. {
        match attempt_transfer(&mut session, t, style, id).await {
            Err(e) if e.code() == "40001" && attempt < MAX_ATTEMPTS => Coverage::add(&coverage.retries),
            Err(e) => {
                session.close().await;
                return Err(e);
            }
            Ok(done) => {
                session.close().await;
                return Ok(done);
            }
        }
        query(&mut session, "ROLLBACK").await?;
    }
    unreachable!("the attempts are counted")
}

async fn attempt_transfer(session: &mut Session, t: Transfer, style: Style, id: &str) -> SqlResult<bool> {
    let Transfer { from, to, amount, .. } = t;
    let debit = format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}");
    let credit = format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}");
    let note = format!("INSERT INTO ledger VALUES ('{id}', {from}, {to}, {amount})");
    if let Style::Many = style {
        // One message: an implicit transaction, committed before the first answer leaves.
        query(session, &format!("{debit}; {credit}; {note}")).await?;
        return Ok(true);
    }
    query(session, "BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
    if let Style::Locking = style {
        let lock = format!("SELECT balance FROM accounts WHERE id IN ({from}, {to}) FOR UPDATE");
        let found = query(session, &lock).await?;
        assert_eq!(found.rows.len(), 2, "both accounts exist");
    }
    for text in [&debit, &credit] {
        let done = query(session, text).await?;
        assert_eq!(done.tags, ["UPDATE 1"], "{text}");
    }
    query(session, &note).await?;
    let end = if let Style::Regretted = style { "ROLLBACK" } else { "COMMIT" };
    let ended = query(session, end).await?;
    assert_eq!(ended.tags, [end]);
    Ok(end == "COMMIT")
}

pub async fn read_books(up: &Up) -> Result<Books, SqlError> {
    let mut session = connect(up).await?;
    for _ in 0..MAX_ATTEMPTS {
        match try_read(&mut session).await {
            Err(e) if e.code() == "40001" => {
                query(&mut session, "ROLLBACK").await?;
            }
            done => {
                session.close().await;
                return done;
            }
        }
    }
    Err(SqlError::new("40001", "the audit could not be serialized"))
}

async fn try_read(session: &mut Session) -> SqlResult<Books> {
    query(session, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    let accounts = query(session, "SELECT id, balance FROM accounts").await?;
    let ledger = query(session, "SELECT source, target, amount, id FROM ledger").await?;
    query(session, "COMMIT").await?;
    let number = |v: &Option<String>| v.as_deref().and_then(|v| v.parse::<i64>().ok()).expect("a number");
    let balances = accounts.rows.iter().map(|row| (number(&row[0]) as u64, number(&row[1]))).collect();
    let entry = |row: &Vec<Option<String>>| {
        let id = row[3].clone().expect("an id");
        (id, (number(&row[0]) as u64, number(&row[1]) as u64, number(&row[2])))
    };
    let unique = rows_are_unique(&ledger);
    assert!(unique, "the ledger shows a transfer twice");
    Ok(Books { balances, ledger: ledger.rows.iter().map(entry).collect() })
}

fn rows_are_unique(answer: &Answer) -> bool {
    let ids: std::collections::BTreeSet<_> = answer.rows.iter().map(|row| &row[3]).collect();
    ids.len() == answer.rows.len()
}
