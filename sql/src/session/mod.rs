//! A client's session: takes statements, runs each in the right transaction, hands results to its [`Client`].
//!
//! Reading order: `simple` and `extended` are the two ways in; both end in `statement`, which plans, runs and, where that is
//! invisible to the client, retries. `classify` tells from the tree whether a statement has a plan. One that has none goes to
//! `utility`, which hands it to the module of its kind: `prepare`, `cursor` and `copy` are what their names say;
//! `change_schema` leads to [`crate::schema_change`]; `maintenance` is VACUUM, ANALYZE and LOCK TABLE; `set_show` reaches the
//! settings, `block` moves between the states of a transaction, `modes` changes its `characteristics`: isolation, and whether
//! it writes; `past` leads to other times; `text_rows` sends what they answer, `stored` keeps what the client does not want yet. `transaction` is the
//! status machine; `admission` holds back what would only fail; `startup` reads what a connection asks for.
//!
//! A module names only those declared below it, but for `statement`, which sends EXPLAIN's lines through `text_rows`. Methods of
//! [`Session`] are called upwards in three places: `statement` runs what has no plan through `utility`, and what answers at
//! once through `stored` (EXECUTE runs a statement, and a statement may be an EXECUTE), `prepare`, `cursor` and `statement` ask
//! `extended` for a statement by its name, or for the fields of one, and `transaction` waits by `statement`'s rule, so that it can be cancelled.
//!
//! What must stay true:
//! - A result is acknowledged (CommandComplete before a flush) only after what it claims has happened. A statement outside a
//!   transaction block is acknowledged after its commit; several statements in one message or pipeline are one
//!   transaction, acknowledged with ReadyForQuery, as in PostgreSQL.
//! - After an error nothing of the transaction remains but, in a block, the right to roll back.
//! - A serialization failure is retried here exactly when no row of the transaction's statements has left the machine and no
//!   earlier statement's answer depended on the lost snapshot.

mod simple;
mod extended;
mod utility;
mod prepare;
mod cursor;
mod copy;
mod change_schema;
mod maintenance;
mod set_show;
mod block;
mod modes;
mod text_rows;
mod stored;
mod statement;
mod retry;
mod past;
mod classify;
mod surroundings;
mod exprs;
mod prepared;
mod transaction;
mod characteristics;
mod node;
mod admission;
mod startup;
mod settings;
mod date_style;
mod client;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{DatabaseId, SessionCatalog};
use crate::error::{SqlError, SqlResult, state};
use crate::types::Datum;

pub use crate::cancel::{CancelHandle, Guard};
pub use client::{Client, FLUSH_AT, Format, Severity, column_format, type_len};
pub use extended::Described;
pub use node::{Activity, ActivityNow, Counters, POSTGRES_EPOCH_MICROS, SqlNode};
pub use settings::{SERVER_VERSION, Settings};
pub use transaction::TransactionStatus;

use characteristics::Modes;
use prepared::{Portal, Prepared};
use surroundings::{SettingChanges, View};
use transaction::{Active, State};

/// What a client's startup message says.
pub struct SessionOptions {
    pub parameters: BTreeMap<String, String>,
}

pub struct Session {
    node: Arc<SqlNode>,
    user: String,
    database: DatabaseId,
    database_name: String,
    pid: u32,
    registration: Option<node::Registration>,
    settings: Settings,
    catalog: SessionCatalog,
    state: State,
    prepared: BTreeMap<String, Arc<Prepared>>,
    portals: BTreeMap<String, Portal>,
    cancel: Arc<CancelHandle>,
    /// When the running statement's time is up, by the monotonic clock.
    deadline: Option<std::time::Duration>,
    /// What functions see of the session; made anew when settings, modes or catalog change.
    view: Option<Arc<View>>,
    setting_changes: Arc<SettingChanges>,
    /// currval() and lastval().
    sequences: Arc<surroundings::SequenceState>,
    activity: Arc<Activity>,
    no_params: Arc<[Datum]>,
}

impl Session {
    pub async fn start(node: Arc<SqlNode>, options: SessionOptions) -> SqlResult<Session> {
        let parameters = options.parameters;
        let user = parameters.get("user").cloned().unwrap_or_default();
        if user != "postgres" {
            return Err(SqlError::new(
                state::INVALID_AUTHORIZATION,
                format!("role \"{user}\" does not exist"),
            )
            .with_hint("The only user is postgres."));
        }
        let database_name =
            parameters.get("database").filter(|d| !d.is_empty()).cloned().unwrap_or(user.clone());
        let database =
            node.catalog.current().database_named(&database_name).map(|d| d.id).ok_or_else(|| {
                SqlError::new(
                    state::INVALID_CATALOG_NAME,
                    format!("database \"{database_name}\" does not exist"),
                )
            })?;
        let catalog = SessionCatalog::new(node.catalog.clone());
        let mut settings = Settings::new(&user);
        for (name, value) in &parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => startup::apply_options(&mut settings, value)?,
                name => settings.set_at_startup(name, value)?,
            }
        }
        let started = node.now();
        let activity = Arc::new(Activity {
            user: user.clone(),
            database: database_name.clone(),
            started,
            ..Default::default()
        });
        Ok(Session {
            node,
            user,
            database,
            database_name,
            pid: 0,
            registration: None,
            settings,
            catalog,
            state: State::Idle,
            prepared: BTreeMap::new(),
            deadline: None,
            portals: BTreeMap::new(),
            cancel: Arc::default(),
            view: None,
            setting_changes: Arc::default(),
            sequences: Arc::default(),
            activity,
            no_params: Arc::from([]),
        })
    }

    /// The settings that the client is told of at the start.
    pub fn reported_settings(&self) -> Vec<(&'static str, String)> {
        self.settings.reported()
    }

    pub fn cancel_handle(&self) -> Arc<CancelHandle> {
        self.cancel.clone()
    }

    /// The number by which other sessions know this one; given once, by the server.
    pub fn set_backend_pid(&mut self, pid: u32) {
        self.pid = pid;
        self.registration = Some(node::Registration::new(self.node.clone(), pid, self.activity.clone()));
    }

    pub fn status(&self) -> TransactionStatus {
        self.state.status()
    }

    /// How long the client may leave a transaction idle.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.settings.cached().idle_in_transaction_timeout
    }

    /// To be told of every error that the client is given: ends the implicit transaction, or fails the block. The client is
    /// told of the settings that go back with it.
    pub async fn fail(&mut self, error: &SqlError, client: &mut dyn Client) {
        *self.node.counters.errors.lock().entry(error.code()).or_default() += 1;
        tracing::debug!(code = error.code(), %error, query = %self.activity.now.lock().query, "given to the client");
        self.setting_changes.forget();
        match std::mem::take(&mut self.state) {
            State::Idle => {}
            State::Implicit(active) => self.abandon(active, client).await,
            State::Block(mut active) => {
                let lost = [state::SERIALIZATION_FAILURE, state::DEADLOCK_DETECTED].contains(&error.code());
                if active.place.take().is_some() && lost {
                    self.node.admission.ended(false, self.node.clock());
                }
                let mark = active.savepoints.last().map_or(0, |s| s.settings_mark);
                for (name, value) in self.settings.undo_to(mark, false) {
                    client.parameter_status(name, &value);
                }
                // Nothing of it can be kept: others need not wait for the client to say so.
                if active.savepoints.is_empty() {
                    active.txn.rollback().await;
                }
                self.state = State::Failed(active);
            }
            State::Failed(active) => self.state = State::Failed(active),
        }
    }

    /// Ends the session: what is not committed is rolled back.
    pub async fn close(mut self) {
        if self.state.active().is_some()
            && let Some(active) = self.take_active()
        {
            active.txn.rollback().await;
            Counters::add(&self.node.counters.rollbacks);
        }
    }

    fn take_active(&mut self) -> Option<Active> {
        match std::mem::take(&mut self.state) {
            State::Idle => None,
            State::Implicit(a) | State::Block(a) | State::Failed(a) => Some(a),
        }
    }

    /// The running transaction's modes, or those that one would begin with.
    fn modes(&self) -> Modes {
        let default = || Modes::default_of(self.settings.cached());
        self.state.active().map_or_else(default, |a| a.modes)
    }

    fn view(&mut self) -> Arc<View> {
        let catalog = self.catalog.snapshot();
        let generation = self.settings.cached().generation;
        if let Some(view) = &self.view
            && view.is_current(&catalog, generation, self.modes())
        {
            return view.clone();
        }
        let view = Arc::new(View::new(self, catalog));
        self.view = Some(view.clone());
        view
    }
}
