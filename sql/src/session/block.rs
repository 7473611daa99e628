//! Transaction blocks: BEGIN, COMMIT, ROLLBACK and AND CHAIN, and the savepoints inside: SAVEPOINT, RELEASE, ROLLBACK TO.
//!
//! These are the transitions between the states of [`super::transaction`] that a client asks for by name; how a
//! transaction begins and ends underneath is told there. A savepoint marks three things: the transaction's writes, the
//! session's settings, the transaction's copy of the catalog; and it begins a subtransaction, with which the portals made
//! in it end. Names may repeat; the youngest of a name is meant.
//!
//! What must stay true:
//! - COMMIT is acknowledged only after the commit. One that fails leaves no block behind; one of a failed block rolls
//!   back and says so in its tag.
//! - A savepoint's marks are taken together and gone back to together. ROLLBACK TO keeps the savepoint that it names,
//!   drops the younger ones, and is the only way from a failed block back into a running one.

use meridian_storage::base::Timestamp;

use super::Session;
use super::characteristics::Modes;
use super::client::{Client, Severity};
use super::transaction::{NamedSavepoint, State};
use crate::bind::fold;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::TransactionModes;
use crate::parse::ast::Ident;

impl Session {
    pub(super) async fn begin(
        &mut self,
        modes: TransactionModes,
        as_of: Option<Timestamp>,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        self.begin_block(modes, as_of, client)?;
        self.load_past_or_end(client).await?;
        client.complete("BEGIN");
        Ok(())
    }

    fn begin_block(
        &mut self,
        modes: TransactionModes,
        as_of: Option<Timestamp>,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        match std::mem::take(&mut self.state) {
            State::Idle => {
                let mut new = self.modes().with(modes);
                if let Some(at) = as_of {
                    new = new.in_past(at, modes.read_only)?;
                }
                let active = self.begin_active(new)?;
                self.state = State::Block(active);
            }
            // In a string of several statements: what ran before belongs to the block.
            State::Implicit(active) => {
                self.state = State::Implicit(active);
                self.change_modes_at(modes, as_of)?;
                if let Some(active) = self.take_active() {
                    self.state = State::Block(active);
                }
            }
            block => {
                self.state = block;
                client.notice(
                    Severity::Warning,
                    &SqlError::new(
                        state::ACTIVE_SQL_TRANSACTION,
                        "there is already a transaction in progress",
                    ),
                );
                self.change_modes_at(modes, as_of)?;
            }
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self, chain: bool, client: &mut dyn Client) -> SqlResult<()> {
        match std::mem::take(&mut self.state) {
            State::Block(active) => {
                if let Err(e) = self.commit_active(&active).await {
                    self.abandon(active, client).await;
                    return Err(e);
                }
                self.after_transaction(true, client);
                self.chain(chain, active.modes, client).await?;
                client.complete("COMMIT");
            }
            State::Failed(active) => {
                let again = active.modes;
                self.abandon(active, client).await;
                self.chain(chain, again, client).await?;
                client.complete("ROLLBACK");
            }
            other => {
                self.state = other;
                if chain {
                    return Err(outside_block("COMMIT AND CHAIN"));
                }
                client.notice(
                    Severity::Warning,
                    &SqlError::new(state::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"),
                );
                self.commit_implicit(client).await?;
                client.complete("COMMIT");
            }
        }
        Ok(())
    }

    pub(super) async fn rollback(&mut self, chain: bool, client: &mut dyn Client) -> SqlResult<()> {
        match std::mem::take(&mut self.state) {
            State::Block(active) | State::Failed(active) => {
                let again = active.modes;
                self.abandon(active, client).await;
                self.chain(chain, again, client).await?;
            }
            other => {
                self.state = other;
                if chain {
                    return Err(outside_block("ROLLBACK AND CHAIN"));
                }
                client.notice(
                    Severity::Warning,
                    &SqlError::new(state::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"),
                );
                if let Some(active) = self.take_active() {
                    self.abandon(active, client).await;
                }
            }
        }
        client.complete("ROLLBACK");
        Ok(())
    }

    /// AND CHAIN: another block of the same modes.
    async fn chain(&mut self, chain: bool, modes: Modes, client: &mut dyn Client) -> SqlResult<()> {
        if chain {
            let active = self.begin_active(modes)?;
            self.state = State::Block(active);
            self.load_past_or_end(client).await?;
        }
        Ok(())
    }

    pub(super) fn savepoint(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let (settings_mark, catalog_mark) = (self.settings.mark(), self.catalog.savepoint());
        match &mut self.state {
            State::Block(active) => {
                let savepoint = active.txn.savepoint();
                let name = fold(name).into_owned();
                let subtransaction = active.begin_subtransaction();
                active.savepoints.push(NamedSavepoint {
                    name,
                    subtransaction,
                    read_only: active.modes.read_only,
                    savepoint,
                    settings_mark,
                    catalog_mark,
                });
                client.complete("SAVEPOINT");
                Ok(())
            }
            _ => Err(outside_block("SAVEPOINT")),
        }
    }

    pub(super) fn release(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let State::Block(active) = &mut self.state else { return Err(outside_block("RELEASE SAVEPOINT")) };
        let name = fold(name).into_owned();
        let at = active.savepoints.iter().rposition(|s| s.name == name).ok_or_else(|| no_savepoint(&name))?;
        let released = active.savepoints[at].subtransaction;
        active.modes.read_only = active.savepoints[at].read_only;
        active.txn.release(active.savepoints[at].savepoint);
        active.savepoints.truncate(at);
        let around = active.subtransaction();
        self.hand_portals_over(released, around);
        client.complete("RELEASE");
        Ok(())
    }

    pub(super) fn rollback_to(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let (State::Block(active) | State::Failed(active)) = &mut self.state else {
            return Err(outside_block("ROLLBACK TO SAVEPOINT"));
        };
        let name = fold(name).into_owned();
        let at = active.savepoints.iter().rposition(|s| s.name == name).ok_or_else(|| no_savepoint(&name))?;
        active.savepoints.truncate(at + 1);
        let NamedSavepoint { subtransaction, savepoint, read_only, settings_mark, catalog_mark, .. } =
            active.savepoints[at];
        active.txn.rollback_to(savepoint);
        active.modes.read_only = read_only;
        self.catalog.rollback_to(catalog_mark);
        self.drop_portals_of(subtransaction);
        for (name, value) in self.settings.undo_to(settings_mark, false) {
            client.parameter_status(name, &value);
        }
        if let Some(active) = self.take_active() {
            self.state = State::Block(active);
        }
        client.complete("ROLLBACK");
        Ok(())
    }
}

/// The error of a statement that has a meaning only in a transaction block.
pub(super) fn outside_block(what: &str) -> SqlError {
    SqlError::new(state::NO_ACTIVE_SQL_TRANSACTION, format!("{what} can only be used in transaction blocks"))
}

fn no_savepoint(name: &str) -> SqlError {
    SqlError::new(state::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}
