//! What functions and operators may ask of their session: an immutable view, made anew when settings, the
//! transaction's modes or the catalog change.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use meridian_storage::base::BoxFuture;
use meridian_txn::Txn;
use parking_lot::Mutex;

use super::characteristics::{Modes, Progress};
use super::node::POSTGRES_EPOCH_MICROS;
use super::{Session, Settings, SqlNode};
use crate::catalog::sequence::SessionSequences;
use crate::catalog::virtual_tables::{SessionInfo, SettingInfo};
use crate::catalog::{Catalog, DatabaseId, SchemaId, TableDescriptor, TableId, virtual_tables};
use crate::error::{SqlError, SqlResult, state};
use crate::exec::Surroundings;
use crate::registry::context::{DefinitionKind, VisibleKind};
use crate::registry::{EvalContext, SessionFunctions};
use crate::types::text::{FormatSettings, ObjectNames, TextContext};
use crate::types::{Batch, Oid};

/// currval() and lastval().
#[derive(Default)]
pub struct SequenceState(Mutex<SessionSequences>);

impl SequenceState {
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// What set_config() changes while a statement runs, in order. The statement sees it at once; the session takes it over
/// when the statement has succeeded, and forgets it when it has failed.
#[derive(Default)]
pub struct SettingChanges(Mutex<Vec<SettingChange>>);

#[derive(Clone)]
pub struct SettingChange {
    pub name: String,
    /// `None`: back to the default.
    pub value: Option<String>,
    /// What SHOW would give then.
    pub shown: String,
    pub local: bool,
}

impl SettingChanges {
    pub fn take(&self) -> Vec<SettingChange> {
        std::mem::take(&mut *self.0.lock())
    }

    pub fn forget(&self) {
        self.0.lock().clear();
    }
}

/// The session as a statement sees it.
pub struct View {
    node: Arc<SqlNode>,
    catalog: Arc<Catalog>,
    settings: Settings,
    generation: u64,
    modes: Modes,
    user: String,
    database: DatabaseId,
    database_name: String,
    pid: u32,
    search_path: Vec<SchemaId>,
    sequences: Arc<SequenceState>,
    changes: Arc<SettingChanges>,
    /// Rows that COPY FROM has parsed, for its plan to read.
    supplied: Mutex<Vec<Batch>>,
}

impl View {
    pub(super) fn new(session: &Session, catalog: Arc<Catalog>) -> Self {
        let path = &session.settings.cached().search_path;
        let search_path = path
            .iter()
            .filter_map(|name| catalog.schema_named(session.database, name).map(|s| s.id))
            .collect();
        View {
            node: session.node.clone(),
            settings: session.settings.clone(),
            generation: session.settings.cached().generation,
            modes: session.modes(),
            user: session.user.clone(),
            database: session.database,
            database_name: session.database_name.clone(),
            pid: session.pid,
            search_path,
            sequences: session.sequences.clone(),
            catalog,
            changes: session.setting_changes.clone(),
            supplied: Mutex::default(),
        }
    }

    pub fn is_current(&self, catalog: &Arc<Catalog>, generation: u64, modes: Modes) -> bool {
        self.generation == generation && self.modes == modes && Arc::ptr_eq(&self.catalog, catalog)
    }

    pub fn search_path(&self) -> &[SchemaId] {
        &self.search_path
    }

    pub fn text(&self) -> TextContext<'_> {
        TextContext { format: self.format_settings(), transaction_time: self.node.now(), names: self }
    }

    /// For literals at planning time; no transaction.
    pub fn planning_eval(&self) -> EvalContext<'_> {
        let now = self.node.now();
        EvalContext {
            transaction_time: now,
            statement_time: now,
            params: &[],
            format: self.format_settings(),
            session: self,
            outer: &[],
        }
    }

    /// Gives COPY FROM's plan its next rows.
    pub fn supply(&self, rows: Batch) {
        self.supplied.lock().push(rows);
    }

    fn format_settings(&self) -> &FormatSettings {
        &self.settings.cached().format
    }

    fn relation(&self, name: &str) -> SqlResult<Option<&Arc<TableDescriptor>>> {
        let parts = super::settings::split_qualified(name)?;
        Ok(match parts.as_slice() {
            [name] => self.search_path.iter().find_map(|s| self.catalog.relation(*s, name)),
            [schema, name] => {
                let schema = self.catalog.schema_named(self.database, schema);
                schema.and_then(|s| self.catalog.relation(s.id, name))
            }
            _ => None,
        })
    }

    /// Sequences stand outside of transactions; a read-only one changes them as little as anything else.
    fn check_writes(&self, what: &str) -> SqlResult<()> {
        match self.modes.read_only {
            true => Err(super::transaction::read_only(what)),
            false => Ok(()),
        }
    }

    fn sequence(&self, oid: Oid) -> SqlResult<&Arc<TableDescriptor>> {
        let table = self.catalog.tables.get(&TableId(oid.0)).ok_or_else(|| {
            SqlError::new(state::UNDEFINED_TABLE, format!("relation with OID {oid} does not exist"))
        })?;
        if table.sequence().is_none() {
            return Err(SqlError::new(
                state::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a sequence", table.name),
            ));
        }
        Ok(table)
    }
}

impl ObjectNames for View {
    fn relation_name(&self, oid: Oid) -> Option<String> {
        let (schema, name) = match self.catalog.tables.get(&TableId(oid.0)) {
            Some(t) => (t.schema, t.name.clone()),
            None => match self.catalog.index_by_oid(oid) {
                Some((table, index)) => (table.schema, index.name.clone()),
                None => return virtual_tables::name_of(oid).map(|(_, name)| name.to_string()),
            },
        };
        let visible = self.search_path.iter().find(|s| self.catalog.name_taken(**s, &name)) == Some(&schema);
        Some(match visible {
            true => quote(&name),
            false => format!("{}.{}", quote(self.catalog.schema_name(schema)), quote(&name)),
        })
    }

    fn relation_oid(&self, name: &str) -> SqlResult<Option<Oid>> {
        if let Some(table) = self.relation(name)? {
            return Ok(Some(Oid(table.id.0)));
        }
        let parts = super::settings::split_qualified(name)?;
        let index = |schema: SchemaId, name: &str| self.catalog.index_named(schema, name).map(|(_, i)| i.oid);
        Ok(match parts.as_slice() {
            [name] => self
                .search_path
                .iter()
                .find_map(|s| index(*s, name))
                .or_else(|| virtual_tables::oid_of("pg_catalog", name)),
            [schema, name] => self
                .catalog
                .schema_named(self.database, schema)
                .and_then(|s| index(s.id, name))
                .or_else(|| virtual_tables::oid_of(schema, name)),
            _ => None,
        })
    }

    fn namespace_name(&self, oid: Oid) -> Option<String> {
        self.catalog.schemas.get(&SchemaId(oid.0)).map(|s| quote(&s.name))
    }

    fn namespace_oid(&self, name: &str) -> Option<Oid> {
        self.catalog.schema_named(self.database, name).map(|s| Oid(s.id.0))
    }

    fn role_name(&self, oid: Oid) -> Option<String> {
        self.catalog.roles.values().find(|r| r.oid == oid).map(|r| quote(&r.name))
    }

    fn role_oid(&self, name: &str) -> Option<Oid> {
        self.catalog.role_named(name).map(|r| r.oid)
    }
}

impl SessionFunctions for View {
    fn object_names(&self) -> &dyn ObjectNames {
        self
    }

    fn clock(&self) -> Option<i64> {
        Some(self.node.now())
    }

    fn random(&self) -> u64 {
        self.node.runtime().random()
    }

    fn current_user(&self) -> &str {
        &self.user
    }

    fn current_database(&self) -> &str {
        &self.database_name
    }

    fn search_path(&self) -> Vec<String> {
        self.search_path.iter().map(|s| self.catalog.schema_name(*s).to_string()).collect()
    }

    fn backend_pid(&self) -> i32 {
        self.pid as i32
    }

    fn setting(&self, name: &str) -> SqlResult<Option<String>> {
        let changes = self.changes.0.lock();
        if let Some(change) = changes.iter().rev().find(|c| c.name.eq_ignore_ascii_case(name)) {
            return Ok(Some(change.shown.clone()));
        }
        if name.eq_ignore_ascii_case("meridian.clock") {
            return Ok(Some(self.node.clock_state()));
        }
        if name.eq_ignore_ascii_case("meridian.consistency") {
            return Ok(Some(self.node.consistency.clone()));
        }
        Ok(shown(self.modes, &self.settings, &name.to_ascii_lowercase()))
    }

    fn set_setting(&self, name: &str, value: Option<&str>, local: bool) -> SqlResult<String> {
        // Checked on a copy now, taken over when the statement ends.
        let (mut settings, mut modes) = (self.settings.clone(), self.modes);
        let mut set = |name: &str, value: Option<&str>, local: bool| {
            let lower = name.to_ascii_lowercase();
            match Modes::default_of(settings.cached()).mentioned(&lower, value)? {
                Some(mentioned) => modes = modes.change(mentioned, Progress::Queried)?,
                None => drop(settings.set(name, value, local, false)?),
            }
            Ok::<_, SqlError>(shown(modes, &settings, &lower).unwrap_or_default())
        };
        let mut changes = self.changes.0.lock();
        for change in changes.iter() {
            set(&change.name, change.value.as_deref(), change.local)?;
        }
        let shown = set(name, value, local)?;
        // Of the same kind only the last counts; a statement may change a setting in each of its rows.
        changes.retain(|c| c.local != local || !c.name.eq_ignore_ascii_case(name));
        let value = value.map(|_| shown.clone());
        changes.push(SettingChange { name: name.into(), value, shown: shown.clone(), local });
        Ok(shown)
    }

    fn currval(&self, sequence: Oid) -> SqlResult<i64> {
        let table = self.sequence(sequence)?;
        self.sequences.0.lock().currval(table.id, &table.name)
    }

    fn lastval(&self) -> SqlResult<i64> {
        self.sequences.0.lock().lastval()
    }

    fn serial_sequence(&self, table: &str, column: &str) -> SqlResult<Option<String>> {
        let found = self.relation(table)?.ok_or_else(|| {
            SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{table}\" does not exist"))
        })?;
        let column = found.column_named(column).ok_or_else(|| {
            SqlError::new(
                state::UNDEFINED_COLUMN,
                format!("column \"{column}\" of relation \"{}\" does not exist", found.name),
            )
        })?;
        let sequence = column.owned_sequence.and_then(|id| self.catalog.tables.get(&id));
        Ok(sequence.map(|s| format!("{}.{}", quote(self.catalog.schema_name(s.schema)), quote(&s.name))))
    }

    fn definition(&self, kind: DefinitionKind, oid: Oid, column: i32) -> SqlResult<Option<String>> {
        virtual_tables::definition(&self.catalog, self.database, kind, oid, column)
    }

    fn is_visible(&self, kind: VisibleKind, oid: Oid) -> Option<bool> {
        if kind != VisibleKind::Relation {
            return Some(true);
        }
        let (schema, name) = match self.catalog.tables.get(&TableId(oid.0)) {
            Some(t) => (t.schema, t.name.as_str()),
            None => match self.catalog.index_by_oid(oid) {
                Some((table, index)) => (table.schema, index.name.as_str()),
                None => return virtual_tables::name_of(oid).map(|(schema, _)| schema == "pg_catalog"),
            },
        };
        Some(self.search_path.iter().find(|s| self.catalog.name_taken(**s, name)) == Some(&schema))
    }

    fn start_time(&self) -> Option<i64> {
        Some(self.node.started)
    }
}

impl Surroundings for View {
    fn functions(&self) -> &dyn SessionFunctions {
        self
    }

    fn format(&self) -> &FormatSettings {
        self.format_settings()
    }

    fn monotonic(&self) -> Duration {
        self.node.clock().monotonic()
    }

    fn next_value(&self, sequence: Oid) -> BoxFuture<'_, SqlResult<i64>> {
        Box::pin(async move {
            self.check_writes("nextval()")?;
            let table = self.sequence(sequence)?;
            let value = self.node.catalog.sequences().next_value(table).await?;
            self.sequences.0.lock().note(table.id, value, true);
            Ok(value)
        })
    }

    fn set_value(&self, sequence: Oid, value: i64, called: bool) -> BoxFuture<'_, SqlResult<()>> {
        Box::pin(async move {
            self.check_writes("setval()")?;
            let table = self.sequence(sequence)?;
            self.node.catalog.sequences().set_value(table, value, called).await?;
            if called {
                self.sequences.0.lock().note(table.id, value, false);
            }
            Ok(())
        })
    }

    fn row_ids(&self, table: TableId, count: u64) -> BoxFuture<'_, SqlResult<Range<i64>>> {
        Box::pin(self.node.catalog.sequences().row_ids(table, count))
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.node.runtime().sleep(time)
    }

    fn virtual_table<'a>(&'a self, txn: &'a Txn, name: &'a str) -> BoxFuture<'a, SqlResult<Vec<Batch>>> {
        if name == crate::bind::SUPPLIED_ROWS {
            let rows = std::mem::take(&mut *self.supplied.lock());
            return Box::pin(async move { Ok(rows) });
        }
        Box::pin(async move {
            let source = virtual_tables::Source {
                catalog: &self.catalog,
                cache: &self.node.catalog,
                database: self.database,
                txn,
                node: self,
            };
            virtual_tables::rows(&source, name).await
        })
    }
}

impl virtual_tables::NodeState for View {
    fn sessions(&self) -> Vec<SessionInfo> {
        let sessions = self.node.sessions.lock();
        let info = |(pid, activity): (&u32, &Arc<super::Activity>)| {
            let now = activity.now.lock().clone();
            SessionInfo {
                pid: *pid as i32,
                user: activity.user.clone(),
                database: activity.database.clone(),
                application: now.application,
                state: now.state,
                query: now.query.to_string(),
                started: activity.started,
                transaction_started: Some(activity.transaction.load(Ordering::Relaxed))
                    .filter(|began| *began > 0)
                    .map(|began| (began / 1000) as i64 - POSTGRES_EPOCH_MICROS),
                query_started: Some(now.query_start),
            }
        };
        sessions.iter().map(info).collect()
    }

    fn settings(&self) -> Vec<SettingInfo> {
        super::settings::DEFINITIONS
            .iter()
            .map(|d| SettingInfo {
                name: d.report.unwrap_or(d.name).into(),
                value: shown(self.modes, &self.settings, d.name).unwrap_or_default(),
                default: d.default.into(),
                description: d.description.into(),
                kind: super::settings::kind_name(d.kind),
                read_only: d.read_only,
            })
            .collect()
    }
}

/// A setting's value, or that of a transaction's mode.
fn shown(modes: Modes, settings: &Settings, name: &str) -> Option<String> {
    modes.shown(name).map(String::from).or_else(|| settings.get(name))
}

/// A name as SQL would have to write it.
fn quote(name: &str) -> String {
    let plain = name
        .bytes()
        .enumerate()
        .all(|(i, b)| b.is_ascii_lowercase() || b == b'_' || (i > 0 && (b.is_ascii_digit() || b == b'$')));
    if plain && !name.is_empty() { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
