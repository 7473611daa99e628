//! The unseen retry: whether a statement that failed may run once more, and from where.
//!
//! What must stay true: the client cannot tell a retried statement from one that waited. Nothing of the failed attempt is
//! left, neither in the transaction nor on the way to the client.

use std::future::Future;
use std::time::Duration;

use meridian_txn::Isolation;

use super::Session;
use super::transaction::State;
use crate::error::{SqlError, SqlResult, state};

/// How often a statement is tried before its serialization failure is given to the client.
pub(super) const MAX_ATTEMPTS: u32 = 50;

impl Session {
    /// READ COMMITTED restarts a statement from here; the others restart the transaction. It ends with the statement: as
    /// long as there is one, the transaction keeps what every write has overwritten.
    pub(super) fn statement_savepoint(&self) -> Option<meridian_txn::Savepoint> {
        let active = self.state.active()?;
        (active.modes.isolation == Isolation::ReadCommitted).then(|| active.txn.savepoint())
    }

    /// The statement has run: nobody goes back to where it began.
    pub(super) fn keep_statement(&self, savepoint: Option<meridian_txn::Savepoint>) {
        if let (Some(active), Some(savepoint)) = (self.state.active(), savepoint) {
            active.txn.release(savepoint);
        }
    }

    /// The statement has failed, and is not run again. A block may wait long for its end, without what was written in
    /// vain; any other transaction ends at once.
    pub(super) fn undo_statement(&self, savepoint: Option<meridian_txn::Savepoint>) {
        if let (State::Block(active), Some(savepoint)) = (&self.state, savepoint) {
            active.txn.rollback_to(savepoint);
            active.txn.release(savepoint);
        }
    }

    /// Whether running the statement once more is invisible to the client, but for the time.
    pub(super) fn may_retry(&self, e: &SqlError) -> bool {
        if e.code() != state::SERIALIZATION_FAILURE {
            return false;
        }
        let Some(active) = self.state.active() else { return false };
        // What has become of the schema since the time that is read would be the same.
        if active.has_ddl || active.modes.as_of.is_some() {
            return false;
        }
        // A transaction that another has aborted keeps nothing that a savepoint could go back to.
        (active.modes.isolation == Isolation::ReadCommitted
            && (active.savepoints.is_empty() || !active.txn.has_failed()))
            || (active.statements == 0 && active.savepoints.is_empty() && active.txn.can_restart())
    }

    pub(super) async fn prepare_retry(
        &mut self,
        savepoint: Option<meridian_txn::Savepoint>,
        attempt: u32,
    ) -> SqlResult<()> {
        if let Some(active) = self.state.active() {
            match savepoint {
                Some(sp)
                    if active.statements > 0
                        || !active.savepoints.is_empty()
                        || !active.txn.can_restart() =>
                {
                    active.txn.rollback_to(sp);
                    // The next attempt begins with one of its own.
                    active.txn.release(sp);
                }
                _ => {
                    active.txn.restart();
                    self.catalog.rollback();
                }
            }
        }
        if attempt > 2 {
            self.pause_before(attempt).await?;
        }
        Ok(())
    }

    /// Those in each other's way part by chance.
    pub(super) fn pause_before(&self, attempt: u32) -> impl Future<Output = SqlResult<()>> + use<> {
        let spread = self.node.runtime().random() % (1 << attempt.min(6));
        let pause = self.node.runtime().sleep(Duration::from_micros(200 * (spread + 1)));
        self.guarded(async {
            pause.await;
            Ok(())
        })
    }
}
