//! The characteristics of a transaction - isolation level, read-only, deferrable - as values: how they change, and the
//! names under which SET, SHOW and set_config() know them.
//!
//! What must stay true: once a transaction has a snapshot, or a savepoint stands in it, its isolation level and whether
//! it is deferrable do not change, and read-only does not become read-write; nor does it ever while the past is read. A level that does not exist here becomes
//! the next stricter one, never a weaker one.

use meridian_storage::base::Timestamp;
use meridian_txn::Isolation;

use super::settings::{Cached, isolation_name, parse_bool};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::{IsolationLevel, TransactionModes};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Modes {
    pub isolation: Isolation,
    pub read_only: bool,
    pub deferrable: bool,
    /// It reads the past, and nothing else.
    pub as_of: Option<Timestamp>,
}

/// How far a transaction has got: what of its modes may still change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    Fresh,
    /// It has a snapshot.
    Queried,
    /// A savepoint stands in it.
    Nested,
}

impl Modes {
    /// Of new transactions.
    pub fn default_of(settings: &Cached) -> Modes {
        Modes {
            isolation: settings.isolation,
            read_only: settings.read_only,
            deferrable: settings.deferrable,
            as_of: None,
        }
    }

    /// With what is mentioned, at a transaction's beginning.
    pub fn with(self, mentioned: TransactionModes) -> Modes {
        Modes {
            isolation: mentioned.isolation.map_or(self.isolation, level),
            read_only: mentioned.read_only.unwrap_or(self.read_only),
            deferrable: mentioned.deferrable.unwrap_or(self.deferrable),
            as_of: self.as_of,
        }
    }

    /// With what is mentioned, if it may still change.
    pub fn change(self, mentioned: TransactionModes, progress: Progress) -> SqlResult<Modes> {
        let new = self.with(mentioned);
        if self.as_of.is_some() && !new.read_only {
            let message = "a transaction AS OF SYSTEM TIME can only read";
            return Err(SqlError::new(state::READ_ONLY_SQL_TRANSACTION, message));
        }
        let late = |what: &str| Err(SqlError::new(state::ACTIVE_SQL_TRANSACTION, what));
        match progress {
            Progress::Fresh => {}
            Progress::Queried if new.isolation != self.isolation => {
                return late("SET TRANSACTION ISOLATION LEVEL must be called before any query");
            }
            Progress::Nested if new.isolation != self.isolation => {
                return late("SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction");
            }
            Progress::Queried if self.read_only && !new.read_only => {
                return late("transaction read-write mode must be set before any query");
            }
            Progress::Nested if self.read_only && !new.read_only => {
                return late("cannot set transaction read-write mode inside a read-only transaction");
            }
            // Also to what it is already.
            Progress::Queried if mentioned.deferrable.is_some() => {
                return late("SET TRANSACTION [NOT] DEFERRABLE must be called before any query");
            }
            Progress::Nested if mentioned.deferrable.is_some() => {
                return late("SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction");
            }
            Progress::Queried | Progress::Nested => {}
        }
        Ok(new)
    }

    /// Those of a transaction that reads the past; `read_only`: what is said of that besides.
    pub fn in_past(self, at: Timestamp, read_only: Option<bool>) -> SqlResult<Modes> {
        if read_only == Some(false) {
            let message = "AS OF SYSTEM TIME specified with READ WRITE mode";
            return Err(SqlError::new(state::SYNTAX_ERROR, message));
        }
        Ok(Modes { read_only: true, as_of: Some(at), ..self })
    }

    /// As SHOW gives it; `None`: not a mode's name.
    pub fn shown(self, name: &str) -> Option<&'static str> {
        let on_off = |b: bool| if b { "on" } else { "off" };
        match name {
            "transaction_isolation" => Some(level_name(self.isolation)),
            "transaction_read_only" => Some(on_off(self.read_only)),
            "transaction_deferrable" => Some(on_off(self.deferrable)),
            _ => None,
        }
    }

    /// What setting `name` to a value mentions, or to these modes' own where it is `None`: DEFAULT. `None`: not a mode's
    /// name.
    pub fn mentioned(self, name: &str, value: Option<&str>) -> SqlResult<Option<TransactionModes>> {
        let Some(own) = self.shown(name) else { return Ok(None) };
        let value = value.unwrap_or(own);
        let on = || {
            let bad = || format!("parameter \"{name}\" requires a Boolean value");
            parse_bool(value).ok_or_else(|| SqlError::new(state::INVALID_PARAMETER_VALUE, bad()))
        };
        let mut mentioned = TransactionModes::default();
        match name {
            "transaction_isolation" => mentioned.isolation = Some(level_named(name, value)?),
            "transaction_read_only" => mentioned.read_only = Some(on()?),
            _ => mentioned.deferrable = Some(on()?),
        }
        Ok(Some(mentioned))
    }
}

fn level_named(name: &str, value: &str) -> SqlResult<IsolationLevel> {
    match isolation_name(value) {
        Some("serializable") => Ok(IsolationLevel::Serializable),
        Some("repeatable read") => Ok(IsolationLevel::RepeatableRead),
        Some(_) => Ok(IsolationLevel::ReadCommitted),
        None => {
            let bad = format!("invalid value for parameter \"{name}\": \"{value}\"");
            let hint = "Available values: serializable, repeatable read, read committed, read uncommitted.";
            Err(SqlError::new(state::INVALID_PARAMETER_VALUE, bad).with_hint(hint))
        }
    }
}

pub fn level(l: IsolationLevel) -> Isolation {
    match l {
        // As in PostgreSQL, the next stricter level that exists.
        IsolationLevel::ReadUncommitted | IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        IsolationLevel::RepeatableRead => Isolation::Snapshot,
        IsolationLevel::Serializable => Isolation::Serializable,
    }
}

pub fn level_name(i: Isolation) -> &'static str {
    match i {
        Isolation::ReadCommitted => "read committed",
        Isolation::Snapshot => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}
