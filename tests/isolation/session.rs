//! A session of a script: one statement at a time, which may be left waiting.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::wire::{Message, Wire, field, query};

pub struct Session {
    /// `None` while a statement waits.
    wire: Option<Wire>,
    waiting: Option<JoinHandle<(Wire, String)>>,
}

impl Session {
    pub async fn open(to: SocketAddr, settings: &str) -> Session {
        let mut session = Session { wire: Some(Wire::session(to).await), waiting: None };
        let answer = session.run(settings).await;
        assert!(!answer.contains("ERROR"), "{settings}: {answer}");
        session
    }

    /// Begins a statement. The session must not be waiting.
    pub fn begin(&mut self, sql: &str) {
        let mut wire = self.wire.take().expect("the session is not waiting");
        let bytes = query(sql.as_bytes());
        self.waiting = Some(tokio::spawn(async move {
            wire.send(&bytes).await;
            let (messages, open) = wire.answer().await;
            assert!(open, "the connection was lost: {messages:?}");
            (wire, describe(&messages))
        }));
    }

    /// The answer to the statement that was begun, if it comes in time.
    pub async fn answer(&mut self, within: Duration) -> Option<String> {
        let waiting = self.waiting.as_mut()?;
        let (wire, answer) =
            tokio::time::timeout(within, waiting).await.ok()?.expect("the session's task ends well");
        self.wire = Some(wire);
        self.waiting = None;
        Some(answer)
    }

    /// A statement that does not wait for other sessions.
    pub async fn run(&mut self, sql: &str) -> String {
        self.begin(sql);
        self.answer(Duration::from_secs(60)).await.unwrap_or_else(|| panic!("no answer: {sql}"))
    }
}

/// Rows, then the command's tag; or the error's code.
fn describe(messages: &[Message]) -> String {
    let mut parts = Vec::new();
    for (kind, body) in messages {
        match kind {
            b'D' => parts.push(format!("({})", values(body).join(", "))),
            b'C' => parts.push(String::from_utf8_lossy(body).trim_end_matches('\0').to_string()),
            b'E' => parts.push(format!("ERROR {}", named(&field(body, b'C')))),
            _ => {}
        }
    }
    parts.join(" ")
}

fn values(mut row: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    row = &row[2..];
    while let Some((length, rest)) = row.split_first_chunk() {
        row = rest;
        let length = i32::from_be_bytes(*length);
        if length < 0 {
            out.push("null".into());
            continue;
        }
        let (value, rest) = row.split_at(length as usize);
        out.push(String::from_utf8_lossy(value).into_owned());
        row = rest;
    }
    out
}

/// The code with PostgreSQL's name of the condition.
fn named(code: &str) -> String {
    let name = match code {
        "23503" => "foreign_key_violation",
        "23505" => "unique_violation",
        "25P02" => "in_failed_sql_transaction",
        "40001" => "serialization_failure",
        "40P01" => "deadlock_detected",
        "55P03" => "lock_not_available",
        _ => return code.into(),
    };
    format!("{code} {name}")
}
