//! Statements that are not plans: transaction control, settings, prepared statements, maintenance; and the way to schema changes.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use meridian_txn::Isolation;

use super::client::{Client, Severity};
use super::prepared::{Portal, Prepared, Running};
use super::settings::{isolation_name, parse_bool, unrecognized};
use super::statement::Delivery;
use super::surroundings::View;
use super::transaction::{NamedSavepoint, State};
use super::{Counters, Session};
use crate::bind::{fold, object_name_parts};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{self, Expr, Ident, ObjectName};
use crate::parse::{IsolationLevel, Statement, TransactionModes};
use crate::plan::{Field, Schema};
use crate::schema_change;
use crate::types::{Batch, Column, Datum, Oid, SqlType};

/// Whether the statement is run from its tree rather than from a plan.
pub fn is_utility(statement: &Statement) -> bool {
    match statement {
        Statement::Sql(sql) => !matches!(
            **sql,
            ast::Statement::Query(_)
                | ast::Statement::Insert(_)
                | ast::Statement::Update(_)
                | ast::Statement::Delete(_)
                | ast::Statement::Merge(_)
        ),
        Statement::Explain(_) => false,
        _ => true,
    }
}

/// Whether the statement is allowed in a failed transaction block.
pub fn ends_failed(statement: &Statement) -> bool {
    matches!(statement, Statement::Sql(sql)
        if matches!(**sql, ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }))
}

/// VACUUM and the like cannot run among other statements.
pub fn refuse_in_implicit_block(statement: &Statement, allowed: bool) -> SqlResult<()> {
    match statement {
        Statement::Vacuum(v) if !allowed && !v.only_analyze => Err(SqlError::new(
            state::ACTIVE_SQL_TRANSACTION,
            "VACUUM cannot be executed from a multi-command string",
        )),
        _ => Ok(()),
    }
}

/// The tag of a portal that is executed again after its end.
pub fn finished_tag(prepared: &Prepared) -> &'static str {
    match prepared.parsed.as_ref().map(|p| &p.statement) {
        Some(Statement::Sql(sql)) => match **sql {
            ast::Statement::Insert(_) => "INSERT 0 0",
            ast::Statement::Update(_) => "UPDATE 0",
            ast::Statement::Delete(_) => "DELETE 0",
            _ => "SELECT 0",
        },
        _ => "SELECT 0",
    }
}

fn level(l: IsolationLevel) -> Isolation {
    match l {
        // As in PostgreSQL, the next stricter level that exists.
        IsolationLevel::ReadUncommitted | IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        IsolationLevel::RepeatableRead => Isolation::Snapshot,
        IsolationLevel::Serializable => Isolation::Serializable,
    }
}

fn level_name(i: Isolation) -> &'static str {
    match i {
        Isolation::ReadCommitted => "read committed",
        Isolation::Snapshot => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// Text columns of those names.
pub fn text_fields(names: &[&str]) -> Schema {
    let field = |name: &&str| Field { name: name.to_string(), ty: SqlType::new(Oid::TEXT), origin: None };
    Arc::new(names.iter().map(field).collect())
}

/// A result of text columns.
fn send_table(
    delivery: &mut Delivery<'_>,
    names: &[&str],
    rows: &[Vec<String>],
    view: &View,
) -> SqlResult<()> {
    let fields = text_fields(names);
    let columns = (0..names.len()).map(|i| {
        let mut c = Column::for_type(Oid::TEXT);
        rows.iter().for_each(|r| c.push(&Datum::text(&r[i])));
        Arc::new(c)
    });
    let batch = Batch { columns: columns.collect(), rows: rows.len() };
    if delivery.describe {
        delivery.client.describe_rows(&fields, delivery.formats);
    }
    delivery.client.rows(&batch, &fields, delivery.formats, &view.text())
}

pub fn send_lines(delivery: &mut Delivery<'_>, name: &str, lines: &[String], view: &View) -> SqlResult<()> {
    let rows: Vec<Vec<String>> = lines.iter().map(|l| vec![l.clone()]).collect();
    send_table(delivery, &[name], &rows, view)
}

impl Session {
    /// The fields of the rows that a statement without a plan returns.
    pub(super) fn utility_fields(&mut self, statement: &Statement) -> SqlResult<Option<Schema>> {
        Ok(match statement {
            Statement::Sql(sql) => match &**sql {
                ast::Statement::ShowVariable { variable } => match show_name(variable).as_str() {
                    "all" => Some(text_fields(&["name", "setting", "description"])),
                    name => Some(text_fields(&[&super::settings::definition(name)
                        .map_or(name.to_string(), |d| d.report.unwrap_or(d.name).to_string())])),
                },
                ast::Statement::Execute { name: Some(name), .. } => {
                    let prepared = self.statement_named(&one_name(name)?)?;
                    let planned = self.planned(&prepared)?;
                    match &*planned {
                        super::prepared::Planned::Query(q) => q.output.clone(),
                        _ => None,
                    }
                }
                _ => None,
            },
            Statement::Fetch(f) => match self.portals.get(&*fold(&f.cursor)) {
                Some(portal) if !f.only_move => {
                    let prepared = portal.prepared.clone();
                    match &*self.planned(&prepared)? {
                        super::prepared::Planned::Query(q) => q.output.clone(),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        })
    }

    pub(super) fn run_utility<'a>(
        &'a mut self,
        prepared: &'a Arc<Prepared>,
        params: &'a Arc<[Datum]>,
        delivery: &'a mut Delivery<'_>,
    ) -> BoxFuture<'a, SqlResult<()>> {
        Box::pin(self.dispatch_utility(prepared, params, delivery))
    }

    async fn dispatch_utility(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        let Some(parsed) = &prepared.parsed else { return Ok(()) };
        match &parsed.statement {
            Statement::Begin(modes) => self.begin(*modes, delivery.client).await,
            Statement::SetTransaction { session, modes } => {
                self.set_transaction(*session, *modes, delivery.client)
            }
            Statement::Vacuum(v) => self.vacuum(v, delivery.client).await,
            Statement::DeclareCursor(d) => self.declare_cursor(d, parsed, delivery.client).await,
            Statement::Fetch(f) => self.fetch(f, delivery).await,
            Statement::Prepare { name, types, statement: _ } => {
                self.prepare(name, types, parsed, delivery.client)
            }
            Statement::SetConstraints { .. } => {
                // Nothing is deferrable yet: constraints are checked at once, which is what was asked for or safer.
                delivery.client.complete("SET CONSTRAINTS");
                Ok(())
            }
            Statement::Checkpoint => {
                delivery.client.complete("CHECKPOINT");
                Ok(())
            }
            Statement::Reindex => {
                delivery.client.complete("REINDEX");
                Ok(())
            }
            Statement::Sql(sql) => match &**sql {
                ast::Statement::Commit { chain, .. } => self.commit(*chain, delivery.client).await,
                ast::Statement::Rollback { chain, savepoint: None } => {
                    self.rollback(*chain, delivery.client).await
                }
                ast::Statement::Rollback { savepoint: Some(name), .. } => {
                    self.rollback_to(name, delivery.client)
                }
                ast::Statement::Savepoint { name } => self.savepoint(name, delivery.client),
                ast::Statement::ReleaseSavepoint { name } => self.release(name, delivery.client),
                ast::Statement::Set(set) => self.set(set, delivery.client),
                ast::Statement::Reset(reset) => self.reset(&reset.reset, delivery.client),
                ast::Statement::ShowVariable { variable } => self.show(variable, delivery),
                ast::Statement::Discard { object_type } => self.discard(object_type, delivery.client),
                ast::Statement::Deallocate { name, .. } => self.deallocate(name, delivery.client),
                ast::Statement::Execute { name: Some(name), parameters, .. } => {
                    self.execute_prepared(name, parameters, &parsed.source, delivery).await
                }
                ast::Statement::Close { cursor } => self.close_cursor(cursor, delivery.client),
                ast::Statement::Copy { .. } => self.copy(sql, parsed, delivery).await,
                ast::Statement::Lock(_) => self.lock_table(delivery.client),
                _ => self.change_schema(parsed, params, delivery).await,
            },
            Statement::AlterSequence(_) | Statement::SplitAt(_) => {
                self.change_schema(parsed, params, delivery).await
            }
            Statement::Explain(_) => Err(SqlError::unsupported("EXPLAIN of this statement")),
        }
    }

    async fn begin(&mut self, modes: TransactionModes, client: &mut dyn Client) -> SqlResult<()> {
        match std::mem::take(&mut self.state) {
            State::Idle => {
                let active =
                    self.begin_active(modes.isolation.map(level), modes.read_only, modes.deferrable)?;
                self.state = State::Block(active);
            }
            // In a string of several statements: what ran before belongs to the block.
            State::Implicit(mut active) => {
                if active.statements > 0 && modes.isolation.is_some_and(|l| level(l) != active.isolation) {
                    self.state = State::Implicit(active);
                    return Err(late_isolation());
                }
                if active.statements == 0 {
                    active.txn.rollback().await;
                    active =
                        self.begin_active(modes.isolation.map(level), modes.read_only, modes.deferrable)?;
                }
                self.state = State::Block(active);
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
            }
        }
        client.complete("BEGIN");
        Ok(())
    }

    async fn commit(&mut self, chain: bool, client: &mut dyn Client) -> SqlResult<()> {
        match std::mem::take(&mut self.state) {
            State::Block(active) => {
                if let Err(e) = self.commit_active(&active).await {
                    self.abandon(active).await;
                    return Err(e);
                }
                self.after_transaction(true, client);
                self.chain(chain, &active)?;
                client.complete("COMMIT");
            }
            State::Failed(active) => {
                let again = (active.isolation, active.read_only);
                self.abandon(active).await;
                self.chain_modes(chain, again)?;
                client.complete("ROLLBACK");
            }
            other => {
                self.state = other;
                if chain {
                    return Err(SqlError::new(
                        state::NO_ACTIVE_SQL_TRANSACTION,
                        "COMMIT AND CHAIN can only be used in transaction blocks",
                    ));
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

    async fn rollback(&mut self, chain: bool, client: &mut dyn Client) -> SqlResult<()> {
        match std::mem::take(&mut self.state) {
            State::Block(active) | State::Failed(active) => {
                let again = (active.isolation, active.read_only);
                active.txn.rollback().await;
                Counters::add(&self.node.counters.rollbacks);
                self.catalog.rollback();
                self.after_transaction(false, client);
                self.chain_modes(chain, again)?;
            }
            other => {
                self.state = other;
                client.notice(
                    Severity::Warning,
                    &SqlError::new(state::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"),
                );
                if let Some(active) = self.take_active() {
                    self.abandon(active).await;
                }
            }
        }
        client.complete("ROLLBACK");
        Ok(())
    }

    fn chain(&mut self, chain: bool, before: &super::transaction::Active) -> SqlResult<()> {
        self.chain_modes(chain, (before.isolation, before.read_only))
    }

    fn chain_modes(&mut self, chain: bool, (isolation, read_only): (Isolation, bool)) -> SqlResult<()> {
        if chain {
            let active = self.begin_active(Some(isolation), Some(read_only), None)?;
            self.state = State::Block(active);
        }
        Ok(())
    }

    fn savepoint(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let (settings_mark, catalog_mark) = (self.settings.mark(), self.catalog.savepoint());
        match &mut self.state {
            State::Block(active) => {
                let savepoint = active.txn.savepoint();
                let name = fold(name).into_owned();
                active.savepoints.push(NamedSavepoint { name, savepoint, settings_mark, catalog_mark });
                client.complete("SAVEPOINT");
                Ok(())
            }
            _ => Err(outside_block("SAVEPOINT")),
        }
    }

    fn release(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let State::Block(active) = &mut self.state else { return Err(outside_block("RELEASE SAVEPOINT")) };
        let name = fold(name).into_owned();
        let at = active.savepoints.iter().rposition(|s| s.name == name).ok_or_else(|| no_savepoint(&name))?;
        active.txn.release(active.savepoints[at].savepoint);
        active.savepoints.truncate(at);
        client.complete("RELEASE");
        Ok(())
    }

    fn rollback_to(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let mut active = match std::mem::take(&mut self.state) {
            State::Block(a) | State::Failed(a) => a,
            other => {
                self.state = other;
                return Err(outside_block("ROLLBACK TO SAVEPOINT"));
            }
        };
        let name = fold(name).into_owned();
        let Some(at) = active.savepoints.iter().rposition(|s| s.name == name) else {
            // The block has failed, also if it had not before.
            self.state = State::Failed(active);
            return Err(no_savepoint(&name));
        };
        active.savepoints.truncate(at + 1);
        let s = &active.savepoints[at];
        active.txn.rollback_to(s.savepoint);
        self.catalog.rollback_to(s.catalog_mark);
        for (name, value) in self.settings.undo_to(s.settings_mark, false) {
            client.parameter_status(name, &value);
        }
        self.state = State::Block(active);
        client.complete("ROLLBACK");
        Ok(())
    }

    fn set_transaction(
        &mut self,
        session: bool,
        modes: TransactionModes,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        if session {
            let in_transaction = self.state.in_block();
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
            client.complete("SET");
            return Ok(());
        }
        if !self.state.in_block() {
            client.notice(
                Severity::Warning,
                &SqlError::new(
                    state::NO_ACTIVE_SQL_TRANSACTION,
                    "SET TRANSACTION can only be used in transaction blocks",
                ),
            );
            client.complete("SET");
            return Ok(());
        }
        self.change_modes(modes)?;
        client.complete("SET");
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

    fn set(&mut self, set: &ast::Set, client: &mut dyn Client) -> SqlResult<()> {
        match set {
            ast::Set::SingleAssignment { scope, variable, values, .. } => {
                let local = matches!(scope, Some(ast::ContextModifier::Local));
                let name = dotted_name(variable)?;
                self.set_one(&name, setting_value(values)?.as_deref(), local, client)?;
            }
            ast::Set::SetTimeZone { local, value } => {
                let value = match value {
                    Expr::Identifier(i) if ["local", "default"].contains(&&*fold(i)) => None,
                    e => Some(setting_text(e)?),
                };
                self.set_one("timezone", value.as_deref(), *local, client)?;
            }
            ast::Set::SetNames { charset_name, .. } => {
                let name = charset_name.value.clone();
                self.set_one("client_encoding", Some(&name), false, client)?;
            }
            ast::Set::SetNamesDefault {} => self.set_one("client_encoding", None, false, client)?,
            ast::Set::SetSessionAuthorization(param) => {
                let own = match &param.kind {
                    ast::SetSessionAuthorizationParamKind::Default => true,
                    ast::SetSessionAuthorizationParamKind::User(user) => fold(user) == self.user,
                };
                if !own {
                    return Err(SqlError::unsupported("SET SESSION AUTHORIZATION to another user"));
                }
            }
            ast::Set::SetRole { role_name, .. } => {
                if role_name.as_ref().is_some_and(|r| fold(r) != self.user && fold(r) != "none") {
                    return Err(SqlError::unsupported("SET ROLE to another role"));
                }
            }
            _ => return Err(SqlError::unsupported(format!("SET in this form ({set})"))),
        }
        client.complete("SET");
        Ok(())
    }

    fn set_one(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        let in_block = self.state.in_block();
        let lower = name.to_ascii_lowercase();
        if lower == "transaction_isolation" || lower == "transaction_read_only" {
            return self.set_transaction_setting(&lower, value);
        }
        if local && self.state.active().is_none() {
            client.notice(
                Severity::Warning,
                &SqlError::new(
                    state::NO_ACTIVE_SQL_TRANSACTION,
                    "SET LOCAL can only be used in transaction blocks",
                ),
            );
            return Ok(());
        }
        let in_transaction = in_block || matches!(self.state, State::Implicit(_));
        if let Some((name, value)) = self.settings.set(name, value, local, in_transaction)? {
            client.parameter_status(name, &value);
        }
        Ok(())
    }

    /// `SET transaction_isolation = …`, which is `SET TRANSACTION ISOLATION LEVEL …`.
    fn set_transaction_setting(&mut self, name: &str, value: Option<&str>) -> SqlResult<()> {
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

    fn reset(&mut self, reset: &ast::Reset, client: &mut dyn Client) -> SqlResult<()> {
        match reset {
            ast::Reset::ALL => {
                self.settings.reset_all(self.state.in_block());
                for (name, value) in self.settings.reported() {
                    client.parameter_status(name, &value);
                }
            }
            ast::Reset::SessionAuthorization => {}
            ast::Reset::ConfigurationParameter(name) => {
                let name = dotted_name(name)?;
                if name.eq_ignore_ascii_case("role") {
                    client.complete("RESET");
                    return Ok(());
                }
                self.set_one(&name, None, false, client)?;
            }
        }
        client.complete("RESET");
        Ok(())
    }

    fn show(&mut self, variable: &[Ident], delivery: &mut Delivery<'_>) -> SqlResult<()> {
        let view = self.view();
        let name = show_name(variable);
        if name == "all" {
            let rows: Vec<Vec<String>> =
                self.settings.all().into_iter().map(|(n, v, d)| vec![n, v, d.to_string()]).collect();
            send_table(delivery, &["name", "setting", "description"], &rows, &view)?;
        } else {
            let value = self.setting_now(&name).ok_or_else(|| unrecognized(&name))?;
            let shown = super::settings::definition(&name)
                .map_or(name.clone(), |d| d.report.unwrap_or(d.name).to_string());
            send_table(delivery, &[&shown], &[vec![value]], &view)?;
        }
        delivery.client.complete("SHOW");
        Ok(())
    }

    /// A setting's value, those of the running transaction included.
    pub(super) fn setting_now(&self, name: &str) -> Option<String> {
        let active = self.state.active();
        let on_off = |b: bool| if b { "on" } else { "off" }.to_string();
        match (name.to_ascii_lowercase().as_str(), active) {
            ("transaction_isolation", Some(a)) => Some(level_name(a.isolation).into()),
            ("transaction_isolation", None) => self.settings.get("default_transaction_isolation"),
            ("transaction_read_only", Some(a)) => Some(on_off(a.read_only)),
            ("transaction_read_only", None) => self.settings.get("default_transaction_read_only"),
            ("meridian.consistency", _) => Some(self.node.consistency.clone()),
            (name, _) => self.settings.get(name),
        }
    }

    fn discard(&mut self, what: &ast::DiscardObject, client: &mut dyn Client) -> SqlResult<()> {
        let tag = match what {
            ast::DiscardObject::ALL => {
                if self.state.in_block() {
                    return Err(SqlError::new(
                        state::ACTIVE_SQL_TRANSACTION,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.prepared.clear();
                self.portals.clear();
                self.settings.reset_all(false);
                for (name, value) in self.settings.reported() {
                    client.parameter_status(name, &value);
                }
                self.sequences.clear();
                "DISCARD ALL"
            }
            ast::DiscardObject::PLANS => "DISCARD PLANS",
            ast::DiscardObject::SEQUENCES => {
                self.sequences.clear();
                "DISCARD SEQUENCES"
            }
            ast::DiscardObject::TEMP => "DISCARD TEMP",
        };
        client.complete(tag);
        Ok(())
    }

    fn prepare(
        &mut self,
        name: &Ident,
        types: &[ast::DataType],
        parsed: &crate::parse::ParsedStatement,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        let name = fold(name).into_owned();
        if self.prepared.contains_key(&name) {
            return Err(SqlError::new(
                state::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let hints = types
            .iter()
            .map(|t| crate::bind::bind_data_type(t).map(|t| t.oid))
            .collect::<SqlResult<Vec<Oid>>>()?;
        let inner = parsed.inner()?;
        let text = parsed.text().to_string();
        let mut prepared = Prepared::new(&text, Some(inner), hints);
        prepared.from_sql = true;
        let prepared = Arc::new(prepared);
        self.planned(&prepared)?;
        self.prepared.insert(name, prepared);
        client.complete("PREPARE");
        Ok(())
    }

    async fn execute_prepared(
        &mut self,
        name: &ObjectName,
        arguments: &[Expr],
        source: &str,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        let name = one_name(name)?;
        let prepared = self.statement_named(&name)?;
        let planned = self.planned(&prepared)?;
        let types = planned.params().to_vec();
        if types.len() != arguments.len() {
            return Err(SqlError::new(
                state::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                types.len(),
                arguments.len()
            )));
        }
        let params = self.constant_arguments(arguments, source, &types)?;
        let inner = Delivery {
            client: delivery.client,
            formats: delivery.formats,
            describe: delivery.describe,
            max_rows: 0,
            autocommit: delivery.autocommit,
        };
        self.run(&prepared, &params, inner).await?;
        Ok(())
    }

    /// The values of EXECUTE's arguments: expressions without tables.
    fn constant_arguments(
        &mut self,
        arguments: &[Expr],
        source: &str,
        types: &[Oid],
    ) -> SqlResult<Arc<[Datum]>> {
        let view = self.view();
        let snapshot = self.catalog.snapshot();
        let eval = view.planning_eval();
        let context = crate::bind::BindContext {
            catalog: &snapshot,
            database: self.database,
            search_path: view.search_path(),
            virtual_tables: crate::catalog::virtual_tables::lookup,
            eval: &eval,
        };
        let values = arguments.iter().zip(types).map(|(e, ty)| {
            let bound = crate::bind::bind_argument(context, source, e, SqlType::new(*ty))?;
            crate::expr::eval::eval_row(&bound, &[], &eval)
        });
        values.collect::<SqlResult<Vec<Datum>>>().map(Arc::from)
    }

    fn deallocate(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
        let folded = fold(name).into_owned();
        if folded == "all" && name.quote_style.is_none() {
            self.prepared.clear();
            client.complete("DEALLOCATE ALL");
            return Ok(());
        }
        if self.prepared.remove(&folded).is_none() {
            return Err(SqlError::new(
                state::INVALID_SQL_STATEMENT_NAME,
                format!("prepared statement \"{folded}\" does not exist"),
            ));
        }
        client.complete("DEALLOCATE");
        Ok(())
    }

    fn lock_table(&mut self, client: &mut dyn Client) -> SqlResult<()> {
        if !self.state.in_block() {
            return Err(outside_block("LOCK TABLE"));
        }
        let _ = client;
        Err(SqlError::unsupported("LOCK TABLE")
            .with_hint("Serializable transactions need no table locks; SELECT … FOR UPDATE locks rows."))
    }

    async fn vacuum(&mut self, v: &crate::parse::Vacuum, client: &mut dyn Client) -> SqlResult<()> {
        if !v.only_analyze && self.state.in_block() {
            return Err(SqlError::new(
                state::ACTIVE_SQL_TRANSACTION,
                "VACUUM cannot run inside a transaction block",
            ));
        }
        // Dead versions go by themselves, in compactions: VACUUM has nothing to do but what ANALYZE does.
        if v.analyze || v.only_analyze {
            self.ensure_transaction()?;
            let view = self.view();
            let (database, path) = (self.database, view.search_path().to_vec());
            let Some(active) = self.state.active() else { return Ok(()) };
            let txn = active.txn.clone();
            let snapshot = self.catalog.snapshot();
            for id in schema_change::analyze_targets(&snapshot, database, &path, &v.tables)? {
                let ctx = self.exec_context(&self.no_params.clone(), None).await?;
                let Some(table) = snapshot.tables.get(&id) else { continue };
                let statistics = {
                    let work = crate::exec::analyze::analyze(&ctx, table);
                    self.guarded(work).await?
                };
                schema_change::store_statistics(&txn, &mut self.catalog, id, statistics)?;
            }
            if !self.state.in_block() {
                self.commit_implicit(client).await?;
            }
        }
        client.complete(if v.only_analyze { "ANALYZE" } else { "VACUUM" });
        Ok(())
    }

    async fn change_schema(
        &mut self,
        parsed: &crate::parse::ParsedStatement,
        _params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        self.ensure_transaction()?;
        let view = self.view();
        let in_block = self.state.in_block();
        let Some(active) = self.state.active_mut() else {
            return Err(SqlError::internal("a statement runs in a transaction"));
        };
        if active.read_only {
            return Err(SqlError::new(
                state::READ_ONLY_SQL_TRANSACTION,
                "cannot execute a schema change in a read-only transaction",
            ));
        }
        active.has_ddl = true;
        let txn = active.txn.clone();
        let mut notices = Vec::new();
        let cancel = self.cancel.clone();
        let done = {
            let context = schema_change::SchemaContext {
                db: &self.node.db,
                txn: &txn,
                catalog: &mut self.catalog,
                database: self.database,
                search_path: view.search_path(),
                user: &self.user,
                session: view.clone(),
                // Several statements in one message are a transaction together.
                in_block: in_block || !delivery.autocommit,
                cancel: cancel.flag().clone(),
                notices: &mut notices,
            };
            schema_change::execute(context, parsed).await
        };
        for notice in &notices {
            delivery.client.notice(Severity::Notice, notice);
        }
        let tag = done?;
        if let Some(active) = self.state.active_mut() {
            active.statements += 1;
        }
        if delivery.autocommit {
            self.commit_implicit(delivery.client).await?;
        }
        delivery.client.complete(&tag);
        Ok(())
    }
}

impl Session {
    /// Makes a portal by another name than the protocol's, for DECLARE.
    pub(super) fn new_portal(prepared: Arc<Prepared>, params: Arc<[Datum]>) -> Portal {
        Portal { prepared, params, formats: Vec::new(), running: Running::NotStarted }
    }
}

fn late_isolation() -> SqlError {
    SqlError::new(
        state::ACTIVE_SQL_TRANSACTION,
        "SET TRANSACTION ISOLATION LEVEL must be called before any query",
    )
}

pub(super) fn outside_block(what: &str) -> SqlError {
    SqlError::new(state::NO_ACTIVE_SQL_TRANSACTION, format!("{what} can only be used in transaction blocks"))
}

fn no_savepoint(name: &str) -> SqlError {
    SqlError::new(state::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}

fn show_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|w| fold(w).into_owned()).collect();
    match words.join(" ").as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        "session authorization" => "session_authorization".into(),
        _ => words.join("."),
    }
}

fn one_name(name: &ObjectName) -> SqlResult<String> {
    dotted_name(name)
}

fn dotted_name(name: &ObjectName) -> SqlResult<String> {
    let parts: Vec<String> = object_name_parts(name)?.into_iter().map(|p| fold(p).into_owned()).collect();
    Ok(parts.join("."))
}

/// The text of what is assigned to a setting; `None` for DEFAULT. A list is joined as PostgreSQL does.
fn setting_value(values: &[Expr]) -> SqlResult<Option<String>> {
    if let [Expr::Identifier(i)] = values
        && i.quote_style.is_none()
        && i.value.eq_ignore_ascii_case("default")
    {
        return Ok(None);
    }
    let parts = values.iter().map(setting_text).collect::<SqlResult<Vec<String>>>()?;
    if let [one] = parts.as_slice() {
        return Ok(Some(one.clone()));
    }
    // Names keep their quotes, so that the list reads back the same.
    let quoted = parts.iter().map(|p| {
        let plain = p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain { p.clone() } else { format!("\"{}\"", p.replace('"', "\"\"")) }
    });
    Ok(Some(quoted.collect::<Vec<_>>().join(", ")))
}

fn setting_text(e: &Expr) -> SqlResult<String> {
    use ast::Value::*;
    Ok(match e {
        Expr::Value(v) => match &v.value {
            Number(n, _) => n.to_string(),
            SingleQuotedString(s) | EscapedStringLiteral(s) | DoubleQuotedString(s) => s.clone(),
            DollarQuotedString(s) => s.value.clone(),
            Boolean(b) => if *b { "on" } else { "off" }.into(),
            other => {
                return Err(SqlError::new(
                    state::SYNTAX_ERROR,
                    format!("syntax error at or near \"{other}\""),
                ));
            }
        },
        Expr::Identifier(i) => fold(i).into_owned(),
        Expr::CompoundIdentifier(parts) => {
            parts.iter().map(|p| fold(p).into_owned()).collect::<Vec<_>>().join(".")
        }
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => format!("-{}", setting_text(expr)?),
        Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => setting_text(expr)?,
        Expr::Interval(i) => setting_text(&i.value)?,
        other => {
            return Err(SqlError::new(state::SYNTAX_ERROR, format!("syntax error at or near \"{other}\"")));
        }
    })
}
