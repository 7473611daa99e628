//! A client's connection, and what an error of the driver says about a transaction.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error, NoTls};

/// A paused process still accepts connections: its kernel does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a client waits for a statement before it gives the connection up.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// The server said no, with this SQLSTATE.
    Server(String),
    /// The connection was lost.
    Lost,
    /// No answer in time.
    Timeout,
}

impl Failure {
    pub fn kind(&self) -> String {
        match self {
            Failure::Server(code) => code.clone(),
            Failure::Lost => "lost".into(),
            Failure::Timeout => "timeout".into(),
        }
    }

    /// Whether the answer to a COMMIT leaves open what became of it: the connection went, or the server says so itself
    /// (statement completion unknown, connection failures, shutdown).
    pub fn leaves_commit_open(&self) -> bool {
        match self {
            Failure::Server(code) => code == "40003" || code.starts_with("08") || code.starts_with("57P"),
            Failure::Lost | Failure::Timeout => true,
        }
    }

    /// Whether the connection is of no further use.
    pub fn ends_connection(&self) -> bool {
        !matches!(self, Failure::Server(code) if !code.starts_with("57P") && !code.starts_with("08"))
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        match e.as_db_error() {
            Some(db) => Failure::Server(db.code().code().into()),
            None => Failure::Lost,
        }
    }
}

pub async fn connect(url: &str) -> Result<Client, Failure> {
    let config: Config = url.parse().map_err(Failure::from)?;
    let connected = timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await.map_err(|_| Failure::Timeout)?;
    let (client, connection) = connected?;
    tokio::spawn(async move {
        // Its error reaches whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(client)
}

/// Waits for a statement as long as a client would.
pub async fn bounded<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done.map_err(Failure::from),
        Err(_) => Err(Failure::Timeout),
    }
}
