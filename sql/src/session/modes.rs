//! The modes of a transaction, isolation level and read-only: SET TRANSACTION, SET SESSION CHARACTERISTICS, and what is
//! set under the names `transaction_isolation` and `transaction_read_only`.
//!
//! What must stay true: once a statement has been counted in a transaction, or a savepoint stands in it, its isolation
//! level does not change and read-only does not become read-write. A level that does not exist here becomes the next
//! stricter one, never a weaker one.

use meridian_txn::Isolation;

use super::Session;
use super::client::Severity;
use super::settings::{isolation_name, parse_bool};
use super::statement::Delivery;
use super::transaction::State;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::{IsolationLevel, TransactionModes};

pub(super) fn level(l: IsolationLevel) -> Isolation {
    match l {
        // As in PostgreSQL, the next stricter level that exists.
        IsolationLevel::ReadUncommitted | IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        IsolationLevel::RepeatableRead => Isolation::Snapshot,
        IsolationLevel::Serializable => Isolation::Serializable,
    }
}

pub(super) fn level_name(i: Isolation) -> &'static str {
    match i {
        Isolation::ReadCommitted => "read committed",
        Isolation::Snapshot => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

impl Session {
    pub(super) fn set_transaction(
        &mut self,
        session: bool,
        modes: TransactionModes,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        if session {
            let in_transaction = self.settings_transaction(delivery)?;
            let on_off = |b: bool| if b { "on" } else { "off" };
            if let Some(l) = modes.isolation {
                self.settings.set(
                    "default_transaction_isolation",
                    Some(level_name(level(l))),
                    false,
                    in_transaction,
                )?;
            }
            if let Some(r) = modes.read_only {
                self.settings.set("default_transaction_read_only", Some(on_off(r)), false, in_transaction)?;
            }
            if let Some(d) = modes.deferrable {
                self.settings.set(
                    "default_transaction_deferrable",
                    Some(on_off(d)),
                    false,
                    in_transaction,
                )?;
            }
            delivery.client.complete("SET");
            return Ok(());
        }
        if !self.state.in_block() {
            delivery.client.notice(
                Severity::Warning,
                &SqlError::new(
                    state::NO_ACTIVE_SQL_TRANSACTION,
                    "SET TRANSACTION can only be used in transaction blocks",
                ),
            );
            delivery.client.complete("SET");
            return Ok(());
        }
        self.change_modes(modes)?;
        delivery.client.complete("SET");
        Ok(())
    }

    /// Changes the running block's modes, as far as that is still possible.
    fn change_modes(&mut self, modes: TransactionModes) -> SqlResult<()> {
        let State::Block(active) = &self.state else { return Ok(()) };
        let isolation = modes.isolation.map_or(active.isolation, level);
        let read_only = modes.read_only.unwrap_or(active.read_only);
        let used = active.statements > 0 || !active.savepoints.is_empty();
        if used {
            if isolation != active.isolation {
                return Err(late_isolation());
            }
            if active.read_only && !read_only {
                return Err(SqlError::new(
                    state::ACTIVE_SQL_TRANSACTION,
                    "transaction read-write mode must be set before any query",
                ));
            }
            if let State::Block(active) = &mut self.state {
                active.read_only = read_only;
            }
            return Ok(());
        }
        // Nothing has happened in it yet: another one takes its place.
        let active = self.begin_active(Some(isolation), Some(read_only), modes.deferrable)?;
        self.state = State::Block(active);
        Ok(())
    }

    /// `SET transaction_isolation = …`, which is `SET TRANSACTION ISOLATION LEVEL …`.
    pub(super) fn set_transaction_setting(&mut self, name: &str, value: Option<&str>) -> SqlResult<()> {
        let value = value.unwrap_or_default();
        let bad = || {
            SqlError::new(
                state::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"{name}\": \"{value}\""),
            )
        };
        let mut modes = TransactionModes::default();
        if name == "transaction_isolation" {
            modes.isolation = Some(match isolation_name(value).ok_or_else(bad)? {
                "serializable" => IsolationLevel::Serializable,
                "repeatable read" => IsolationLevel::RepeatableRead,
                _ => IsolationLevel::ReadCommitted,
            });
        } else {
            modes.read_only = Some(parse_bool(value).ok_or_else(bad)?);
        }
        self.change_modes(modes)
    }
}

pub(super) fn late_isolation() -> SqlError {
    SqlError::new(
        state::ACTIVE_SQL_TRANSACTION,
        "SET TRANSACTION ISOLATION LEVEL must be called before any query",
    )
}
