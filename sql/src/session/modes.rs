//! SET TRANSACTION, SET SESSION CHARACTERISTICS, and what is set under the names of a transaction's modes,
//! `transaction_isolation` and the like.
//!
//! What must stay true: the modes of a message's or a pipeline's transaction count as those of a block do, and a block
//! that begins within takes them over. How modes may change is told in [`super::characteristics`].

use meridian_storage::base::Timestamp;

use super::Session;
use super::characteristics::{Modes, Progress, level, level_name};
use super::client::{Client, Severity};
use super::statement::Delivery;
use super::transaction::State;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::TransactionModes;

impl Session {
    pub(super) async fn set_transaction(
        &mut self,
        session: bool,
        modes: TransactionModes,
        as_of: Option<Timestamp>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        if session {
            self.set_characteristics(modes, delivery)?;
        } else if self.stands_alone(delivery) {
            warn_outside_block("SET TRANSACTION", delivery.client);
        } else {
            self.settings_transaction(delivery)?;
            self.change_modes_at(modes, as_of)?;
            self.load_past().await?;
        }
        delivery.client.complete("SET");
        Ok(())
    }

    fn set_characteristics(&mut self, modes: TransactionModes, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        let in_transaction = self.settings_transaction(delivery)?;
        let on_off = |b: bool| if b { "on" } else { "off" };
        let values = [
            ("default_transaction_isolation", modes.isolation.map(|l| level_name(level(l)))),
            ("default_transaction_read_only", modes.read_only.map(on_off)),
            ("default_transaction_deferrable", modes.deferrable.map(on_off)),
        ];
        for (name, value) in values {
            if value.is_some() {
                self.settings.set(name, value, false, in_transaction)?;
            }
        }
        Ok(())
    }

    /// Whether a transaction that begins with the statement would end with it.
    fn stands_alone(&self, delivery: &Delivery<'_>) -> bool {
        delivery.autocommit && matches!(self.state, State::Idle)
    }

    /// As [`change_modes`](Self::change_modes), and perhaps to the past, whose catalog is then to be loaded.
    pub(super) fn change_modes_at(
        &mut self,
        mentioned: TransactionModes,
        as_of: Option<Timestamp>,
    ) -> SqlResult<()> {
        let Some(at) = as_of else { return self.change_modes(mentioned) };
        self.move_to_past(at, mentioned.read_only)?;
        self.change_modes(mentioned)
    }

    /// Changes the running transaction's modes, as far as that is still possible.
    pub(super) fn change_modes(&mut self, mentioned: TransactionModes) -> SqlResult<()> {
        let Some(active) = self.state.active() else { return Ok(()) };
        let (progress, started) = (active.progress(), active.started);
        let modes = active.modes.change(mentioned, progress)?;
        if modes == active.modes {
            return Ok(());
        }
        // Where nothing has happened in it yet, another one takes its place.
        let other = match progress {
            Progress::Fresh => Some(self.begin_active(modes)?),
            Progress::Queried | Progress::Nested => None,
        };
        if let Some(active) = self.state.active_mut() {
            match other {
                Some(other) => {
                    *active = other;
                    active.started = started;
                }
                None => active.modes = modes,
            }
        }
        Ok(())
    }

    /// `SET transaction_isolation = …`, which is `SET TRANSACTION ISOLATION LEVEL …`, and the like; `false`: not a
    /// mode's name. DEFAULT is what a new transaction would have.
    pub(super) fn set_mode(
        &mut self,
        name: &str,
        value: Option<&str>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<bool> {
        let default = Modes::default_of(self.settings.cached());
        let Some(mentioned) = default.mentioned(name, value)? else { return Ok(false) };
        if !self.stands_alone(delivery) {
            self.settings_transaction(delivery)?;
            self.change_modes(mentioned)?;
        } else if value.is_none() && mentioned.isolation.is_some() {
            warn_outside_block("RESET TRANSACTION", delivery.client);
        }
        Ok(true)
    }
}

/// The warning of a statement that means nothing where no transaction block is.
pub(super) fn warn_outside_block(what: &str, client: &mut dyn Client) {
    let text = format!("{what} can only be used in transaction blocks");
    client.notice(Severity::Warning, &SqlError::new(state::NO_ACTIVE_SQL_TRANSACTION, text));
}
