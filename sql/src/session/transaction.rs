//! The state of a session's transaction, as ReadyForQuery reports it.
//!
//! ```text
//!            statement              BEGIN
//!   Idle ───────────────▶ Implicit ───────▶ Block ◀──────────────┐
//!    ▲  ◀─── end of message ──┘               │ error            │ ROLLBACK TO
//!    │                                        ▼                  │
//!    └────────── COMMIT / ROLLBACK ──────── Failed ──────────────┘
//! ```
//!
//! What must stay true: in `Failed` nothing runs but ROLLBACK, COMMIT (which rolls back) and ROLLBACK TO; the transaction's writes
//! are never committed from there.

use meridian_txn::{Isolation, Savepoint, Txn};

/// What the client sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionStatus {
    Idle,
    InBlock,
    Failed,
}

/// The transaction of a session.
#[derive(Default)]
pub enum State {
    #[default]
    Idle,
    /// Around the statements of one message, or of one pipeline up to its Sync.
    Implicit(Active),
    /// Between BEGIN and COMMIT or ROLLBACK.
    Block(Active),
    /// A block in which a statement failed.
    Failed(Active),
}

pub struct Active {
    pub txn: Txn,
    pub isolation: Isolation,
    pub read_only: bool,
    /// Microseconds since 2000-01-01 UTC: `now()`.
    pub started: i64,
    /// Statements that ran to their end: while there are none, a serialization failure can be retried unseen.
    pub statements: u64,
    /// The first statement has begun: the snapshot is that of its beginning, not of BEGIN's.
    pub has_snapshot: bool,
    pub savepoints: Vec<NamedSavepoint>,
    /// Names of this transaction's portals are forgotten with it.
    pub has_ddl: bool,
}

pub struct NamedSavepoint {
    pub name: String,
    pub savepoint: Savepoint,
    pub settings_mark: usize,
    pub catalog_mark: crate::catalog::CatalogSavepoint,
}

impl State {
    pub fn status(&self) -> TransactionStatus {
        match self {
            State::Idle | State::Implicit(_) => TransactionStatus::Idle,
            State::Block(_) => TransactionStatus::InBlock,
            State::Failed(_) => TransactionStatus::Failed,
        }
    }

    pub fn active(&self) -> Option<&Active> {
        match self {
            State::Idle => None,
            State::Implicit(a) | State::Block(a) | State::Failed(a) => Some(a),
        }
    }

    pub fn active_mut(&mut self) -> Option<&mut Active> {
        match self {
            State::Idle => None,
            State::Implicit(a) | State::Block(a) | State::Failed(a) => Some(a),
        }
    }

    pub fn in_block(&self) -> bool {
        matches!(self, State::Block(_) | State::Failed(_))
    }
}
