//! The state of a session's transaction, as ReadyForQuery reports it, and how it begins and ends.
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

use std::sync::atomic::Ordering;

use meridian_txn::rpc::KvError;
use meridian_txn::{Isolation, Savepoint, Txn, TxnError, TxnOptions};

use super::Session;
use super::admission::Place;
use super::characteristics::{Modes, Progress};
use super::client::Client;
use super::node::Counters;
use crate::error::{SqlError, SqlResult, state};

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
    pub modes: Modes,
    /// Microseconds since 2000-01-01 UTC: `now()`.
    pub started: i64,
    /// Statements that ran to their end: while there are none, a serialization failure can be retried unseen.
    pub statements: u64,
    /// The first statement has begun: the snapshot is that of its beginning, not of BEGIN's.
    pub has_snapshot: bool,
    pub savepoints: Vec<NamedSavepoint>,
    /// The youngest there has been.
    last_subtransaction: SubtransactionId,
    /// It has changed the catalog: beginning it again would lose that.
    pub has_ddl: bool,
    /// A statement AS OF SYSTEM TIME has begun it: it is for that statement.
    pub of_past_statement: bool,
    /// Of a block that can lose a conflict, from its first statement on.
    pub place: Option<Place>,
}

/// What begins with a savepoint. Numbers grow within a transaction, so that what began later has the greater one; the
/// transaction itself has the number 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct SubtransactionId(u32);

pub struct NamedSavepoint {
    pub name: String,
    pub subtransaction: SubtransactionId,
    /// Before it: what is made read-only within it is so only there.
    pub read_only: bool,
    pub savepoint: Savepoint,
    pub settings_mark: usize,
    pub catalog_mark: crate::catalog::CatalogSavepoint,
}

impl Active {
    pub fn progress(&self) -> Progress {
        match self.savepoints.is_empty() {
            false => Progress::Nested,
            true if self.has_snapshot => Progress::Queried,
            true => Progress::Fresh,
        }
    }

    /// In which what happens now happens.
    pub fn subtransaction(&self) -> SubtransactionId {
        self.savepoints.last().map(|s| s.subtransaction).unwrap_or_default()
    }

    pub fn begin_subtransaction(&mut self) -> SubtransactionId {
        self.last_subtransaction.0 += 1;
        self.last_subtransaction
    }
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

/// The error of what a read-only transaction cannot do.
pub fn read_only(what: &str) -> SqlError {
    let message = format!("cannot execute {what} in a read-only transaction");
    SqlError::new(state::READ_ONLY_SQL_TRANSACTION, message)
}

impl Session {
    /// Begins the implicit transaction unless there is one already, and the statement within it.
    pub(super) fn ensure_transaction(&mut self) -> SqlResult<()> {
        let begins = matches!(self.state, State::Idle);
        if begins {
            let active = self.begin_active(self.modes())?;
            self.state = State::Implicit(active);
        }
        let lock_timeout = self.settings.cached().lock_timeout;
        if let Some(active) = self.state.active_mut() {
            debug_assert!(
                !active.savepoints.is_empty() || !active.txn.has_savepoints(),
                "a statement's savepoint ends with it"
            );
            active.txn.set_lock_timeout(lock_timeout);
            self.catalog.set_lock_timeout(lock_timeout);
            active.txn.begin_statement();
            // One that began with BEGIN, or with a SET before in its pipeline, may have waited for its client since.
            if !begins && !active.has_snapshot {
                active.txn.take_snapshot();
            }
            active.has_snapshot = true;
        }
        Ok(())
    }

    /// Before a block takes its snapshot: waits while too many are failing one another.
    pub(super) async fn admit_block(&mut self) -> SqlResult<()> {
        match &self.state {
            State::Block(a)
                if !a.has_snapshot && !a.modes.read_only && a.modes.isolation != Isolation::ReadCommitted => {
            }
            _ => return Ok(()),
        }
        let node = self.node.clone();
        let enter = async move { Ok(node.admission.enter(node.clock(), &**node.runtime()).await) };
        let place = self.guarded(enter).await?;
        if let State::Block(active) = &mut self.state {
            active.place = Some(place);
        }
        Ok(())
    }

    /// Of modes that lead to the past, the catalog is to be loaded next ([`load_past`](Self::load_past)).
    pub(super) fn begin_active(&mut self, modes: Modes) -> SqlResult<Active> {
        let fenced = |reason| TxnError::from(KvError::fenced(self.node.db.node(), reason));
        self.node.clock().check().map_err(fenced)?;
        let Modes { isolation, read_only, deferrable, as_of } = modes;
        let options = TxnOptions { isolation, read_only, deferrable, as_of, ..TxnOptions::default() };
        let txn = self.node.db.begin(options);
        self.activity.transaction.store(txn.read_timestamp().wall, Ordering::Relaxed);
        Ok(Active {
            txn,
            modes,
            started: self.node.now(),
            statements: 0,
            has_snapshot: false,
            savepoints: Vec::new(),
            last_subtransaction: SubtransactionId::default(),
            has_ddl: false,
            of_past_statement: false,
            place: None,
        })
    }

    /// Commits the implicit transaction; its error is the statement's.
    pub(super) async fn commit_implicit(&mut self, client: &mut dyn Client) -> SqlResult<()> {
        if !matches!(self.state, State::Implicit(_)) {
            return Ok(());
        }
        let Some(active) = self.take_active() else { return Ok(()) };
        match self.commit_active(&active).await {
            Ok(()) => {
                self.after_transaction(true, client);
                Ok(())
            }
            Err(e) => {
                // Still there, so that a retry can restart it and `fail` can end it.
                self.state = State::Implicit(active);
                Err(e)
            }
        }
    }

    pub(super) async fn commit_active(&mut self, active: &Active) -> SqlResult<()> {
        self.catalog.before_commit(&active.txn).await?;
        let committed = active.txn.commit().await;
        if active.place.is_some() {
            let lost = committed.as_ref().is_err_and(|e| e.is_retryable());
            self.node.admission.ended(!lost, self.node.clock());
        }
        match committed {
            Ok(_) => {
                Counters::add(&self.node.counters.commits);
                self.catalog.after_commit().await
            }
            Err(e) => {
                if e.kind == meridian_txn::TxnErrorKind::Ambiguous {
                    // It may have happened: what others see of the schema must be asked for.
                    self.catalog.give_up();
                    if let Err(error) = self.catalog.refresh().await {
                        tracing::debug!(%error, "the catalog is loaded later");
                    }
                }
                Err(e.into())
            }
        }
    }

    /// Tells the client of settings that changed back; forgets the transaction's portals.
    pub(super) fn after_transaction(&mut self, committed: bool, client: &mut dyn Client) {
        self.activity.transaction.store(0, Ordering::Relaxed);
        self.portals.clear();
        for (name, value) in self.settings.end_transaction(committed) {
            client.parameter_status(name, &value);
        }
    }

    /// Rolls back and forgets a transaction.
    pub(super) async fn abandon(&mut self, active: Active, client: &mut dyn Client) {
        active.txn.rollback().await;
        Counters::add(&self.node.counters.rollbacks);
        self.catalog.rollback();
        self.after_transaction(false, client);
    }
}
