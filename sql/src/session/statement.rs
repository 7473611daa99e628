//! Runs one statement: transaction, plan, execution, result, commit.

use meridian_storage::probe;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Session;
use super::characteristics::Modes;
use super::classify::{answers_at_once, ends_failed, is_utility};
use super::client::{Client, FLUSH_AT, Format};
use super::exprs::Texts;
use super::node::Counters;
use super::past::clause_of;
use super::prepared::{ExplainFlags, PlanKey, Planned, PlannedQuery, Prepared, Running, Suspended};
use super::retry::MAX_ATTEMPTS;
use super::transaction::{State, read_only};
use crate::bind::{self, BindContext, BoundQuery, BoundStatement, QueryKind};
use crate::cancel::Guard;
use crate::catalog::TableDescriptor;
use crate::error::{SqlError, SqlResult, state};
use crate::exec::{self, ExecContext, Operator};
use crate::optimize;
use crate::parse::Statement;
use crate::types::{Batch, Datum};

/// How a statement's result is to be handed over.
pub struct Delivery<'a> {
    pub client: &'a mut dyn Client,
    pub formats: &'a [Format],
    /// RowDescription goes before the rows (simple protocol).
    pub describe: bool,
    /// 0: all rows.
    pub max_rows: usize,
    /// The statement is a transaction of its own, to be committed before it is acknowledged.
    pub autocommit: bool,
}

/// What one run of a plan came to.
enum Outcome {
    Tag(String),
    Suspended(Box<Suspended>),
}

impl Session {
    /// Runs a statement that is not suspended, to its end or its row limit.
    pub(super) async fn run(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: Delivery<'_>,
    ) -> SqlResult<Running> {
        let outer = self.start_timer();
        let result = self.run_in_time(prepared, params, delivery).await;
        self.deadline = outer;
        result
    }

    /// Whether the rows are all there before the first of them is handed over, however few are wanted. What changes data
    /// does so once, and as a whole.
    async fn is_run_at_once(&mut self, prepared: &Arc<Prepared>, statement: &Statement) -> SqlResult<bool> {
        if answers_at_once(statement) || is_utility(statement) {
            return Ok(answers_at_once(statement));
        }
        let planned = self.planned_anew(prepared).await?;
        Ok(matches!(&*planned, Planned::Query(query) if query.changes_data && query.output.is_some()))
    }

    /// The statement's time begins, unless it is within another's (EXECUTE). Returns the deadline to go back to.
    fn start_timer(&mut self) -> Option<Duration> {
        let outer = self.deadline;
        if outer.is_none()
            && let Some(limit) = self.settings.cached().statement_timeout
        {
            self.deadline = Some(self.node.clock().monotonic().saturating_add(limit));
        }
        outer
    }

    async fn run_in_time(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        mut delivery: Delivery<'_>,
    ) -> SqlResult<Running> {
        let Some(parsed) = &prepared.parsed else {
            delivery.client.empty_query();
            return Ok(Running::Finished);
        };
        self.refuse_in_failed(&parsed.statement)?;
        self.enter_past(parsed).await?;
        if delivery.max_rows > 0 && self.is_run_at_once(prepared, &parsed.statement).await? {
            let fields = self.result_fields(prepared)?.unwrap_or_default();
            // Its transaction ends at Sync: what fails on the way to the client must not have been committed.
            let stored = self.run_whole(prepared, params, delivery.client).await?;
            return self.deliver(stored, &fields, delivery).await;
        }
        Counters::add(&self.node.counters.statements);
        self.note_activity(&prepared.text);
        if is_utility(&parsed.statement) {
            let running = self.utility(prepared, params, &mut delivery).await?;
            // Of COPY's query, for instance, or of a cursor's.
            self.take_setting_changes(delivery.client)?;
            return Ok(running);
        }
        self.admit_block().await?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.ensure_transaction()?;
            let mark = delivery.client.mark();
            let (savepoint, settings_mark) = (self.statement_savepoint(), self.settings.mark());
            let modes = self.modes();
            let attempted = self.attempt(prepared, params, &mut delivery).await;
            if attempted.is_ok() {
                self.keep_statement(savepoint);
            }
            match attempted {
                Ok(Outcome::Tag(tag)) => {
                    delivery.client.complete(&tag);
                    return Ok(Running::Finished);
                }
                Ok(Outcome::Suspended(s)) => {
                    // Its rows have been seen: the transaction cannot begin again unnoticed.
                    if let Some(active) = self.state.active_mut() {
                        active.statements += 1;
                    }
                    delivery.client.portal_suspended();
                    return Ok(Running::Suspended(s));
                }
                Err(e) => {
                    if attempt >= MAX_ATTEMPTS || !self.may_retry(&e) || !delivery.client.rewind(mark) {
                        self.undo_statement(savepoint);
                        return Err(e);
                    }
                    probe!("statement: tried again unseen");
                    Counters::add(&self.node.counters.retries);
                    self.setting_changes.forget();
                    // The client has not been told of them, or no longer.
                    self.settings.undo_to(settings_mark, false);
                    if let Some(active) = self.state.active_mut() {
                        active.modes = modes;
                    }
                    self.prepare_retry(savepoint, attempt).await?;
                }
            }
        }
    }

    /// A statement that is not a plan. Where it changes the schema and is a transaction of its own, what stands in its
    /// way is met by doing it again from the start: a failed schema change leaves nothing behind.
    async fn utility(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Running> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mark = delivery.client.mark();
            let error = match self.run_utility(prepared, params, delivery).await {
                Ok(running) => return Ok(running),
                Err(e) => e,
            };
            let in_the_way = matches!(error.code(), state::SERIALIZATION_FAILURE | state::DEADLOCK_DETECTED);
            let alone = delivery.autocommit
                && matches!(&self.state, State::Implicit(active) if active.has_ddl && active.statements <= 1 && !active.txn.is_committed() && !active.txn.is_unknown());
            if !in_the_way || !alone || attempt >= MAX_ATTEMPTS || !delivery.client.rewind(mark) {
                return Err(error);
            }
            Counters::add(&self.node.counters.retries);
            self.setting_changes.forget();
            if let Some(active) = self.take_active() {
                self.abandon(active, delivery.client).await;
            }
            self.pause_before(attempt).await?;
        }
    }

    /// One attempt, including the commit where the statement is its own transaction.
    async fn attempt(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Outcome> {
        let outcome = self.run_plan(prepared, params, delivery).await?;
        self.take_setting_changes(delivery.client)?;
        if let Outcome::Tag(_) = outcome {
            if delivery.autocommit && matches!(self.state, State::Implicit(_)) {
                self.commit_implicit(delivery.client).await?;
            } else if let Some(active) = self.state.active_mut() {
                active.statements += 1;
            }
        }
        Ok(outcome)
    }

    /// What set_config() changed while the statement ran.
    pub(super) fn take_setting_changes(&mut self, client: &mut dyn Client) -> SqlResult<()> {
        for change in self.setting_changes.take() {
            let in_transaction = self.state.active().is_some();
            if change.local && !in_transaction {
                continue;
            }
            let (name, value) = (change.name.to_ascii_lowercase(), change.value.as_deref());
            let modes = Modes::default_of(self.settings.cached());
            if let Some(mentioned) = modes.mentioned(&name, value)? {
                self.change_modes(mentioned)?;
                continue;
            }
            let reported = self.settings.set(&change.name, value, change.local, in_transaction)?;
            if let Some((name, value)) = reported {
                client.parameter_status(name, &value);
            }
        }
        Ok(())
    }

    async fn run_plan(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Outcome> {
        let planned = self.planned_anew(prepared).await?;
        match &*planned {
            Planned::Query(query) => {
                self.check_read_only(query.kind, query.read_only)?;
                self.use_tables(&query.tables).await?;
                if let (Some(fields), true) = (&query.output, delivery.describe) {
                    delivery.client.describe_rows(fields, delivery.formats);
                }
                let mut statement = self.exec_statement()?;
                if delivery.max_rows > 0 && !query.changes_data {
                    // It may go on when others have run.
                    statement = statement.as_of_now();
                }
                let ctx = ExecContext::new(Arc::new(statement), params.clone());
                let operator = exec::execute(&query.plan, ctx);
                self.drive(operator, planned.clone(), None, 0, delivery).await
            }
            Planned::Explain { explain, query } => self.run_explain(*explain, query, params, delivery).await,
            Planned::Utility { .. } => Err(SqlError::internal("a utility statement reached the executor")),
        }
    }

    /// Pulls rows from a running plan until its end or the row limit.
    async fn drive(
        &mut self,
        mut operator: Box<dyn Operator>,
        planned: Arc<Planned>,
        mut rest: Option<Batch>,
        already: u64,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Outcome> {
        let Planned::Query(query) = &*planned else {
            return Err(SqlError::internal("only queries are driven"));
        };
        let view = self.view();
        let limit = if delivery.max_rows == 0 { u64::MAX } else { delivery.max_rows as u64 };
        let mut sent = 0u64;
        loop {
            let batch = match rest.take() {
                Some(batch) => Some(batch),
                None => self.guarded(operator.next()).await?,
            };
            let Some(batch) = batch else { break };
            let Some(fields) = &query.output else { continue };
            let (now, later) = split(batch, (limit - sent) as usize);
            sent += now.rows as u64;
            delivery.client.rows(&now, fields, delivery.formats, &view.text())?;
            if delivery.client.pending() > FLUSH_AT {
                if let Some(active) = self.state.active() {
                    active.txn.note_result_sent();
                }
                let flushed = delivery.client.flush();
                self.guarded(flushed).await?;
            }
            if later.is_some() || sent == limit {
                return Ok(Outcome::Suspended(Box::new(Suspended {
                    operator,
                    planned: planned.clone(),
                    rest: later,
                    sent: already + sent,
                    unseen: None,
                })));
            }
        }
        // A portal that was run in pieces counts only the last one, as PostgreSQL does.
        let count = operator.affected().filter(|_| already == 0).unwrap_or(sent);
        Ok(Outcome::Tag(tag(query.kind, count)))
    }

    /// Goes on with a suspended portal.
    pub(super) async fn resume(
        &mut self,
        suspended: Suspended,
        mut delivery: Delivery<'_>,
    ) -> SqlResult<Running> {
        let Suspended { operator, planned, rest, sent, unseen: _ } = suspended;
        let outer = self.start_timer();
        let driven = self.drive(operator, planned, rest, sent, &mut delivery).await;
        self.deadline = outer;
        let outcome = driven?;
        self.take_setting_changes(delivery.client)?;
        match outcome {
            Outcome::Tag(tag) => {
                delivery.client.complete(&tag);
                Ok(Running::Finished)
            }
            Outcome::Suspended(s) => {
                delivery.client.portal_suspended();
                Ok(Running::Suspended(s))
            }
        }
    }

    async fn run_explain(
        &mut self,
        flags: ExplainFlags,
        query: &PlannedQuery,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Outcome> {
        if flags.analyze {
            self.check_read_only(query.kind, query.read_only)?;
        }
        self.use_tables(&query.tables).await?;
        let ctx = self.exec_context(params, flags.analyze.then_some(query.plan.nodes)).await?;
        let mut elapsed = None;
        if flags.analyze {
            let clock = self.node.clock().clone();
            let begin = clock.monotonic();
            let mut operator = exec::execute(&query.plan, ctx.clone());
            while self.guarded(operator.next()).await?.is_some() {}
            elapsed = Some(clock.monotonic() - begin);
        }
        let options = exec::ExplainOptions {
            verbose: flags.verbose,
            costs: flags.costs,
            timing: flags.timing,
            json: flags.json,
            execution: elapsed,
        };
        let lines = exec::explain(&query.plan, &ctx, &options);
        super::text_rows::send_lines(delivery, "QUERY PLAN", &lines, &self.view())?;
        Ok(Outcome::Tag("EXPLAIN".into()))
    }

    /// Runs a piece of a statement so that a cancel request or the statement timeout ends it.
    pub(super) fn guarded<T, F>(&self, work: F) -> impl Future<Output = SqlResult<T>> + use<T, F>
    where
        F: Future<Output = SqlResult<T>>,
    {
        let guard = self.guard();
        async move { guard.run(work).await }
    }

    pub(super) fn guard(&self) -> Guard {
        let limit = self.settings.cached().statement_timeout;
        let from_now = |limit| self.node.clock().monotonic().saturating_add(limit);
        Guard {
            cancel: self.cancel.clone(),
            db: self.node.db.clone(),
            deadline: self.deadline.or_else(|| limit.map(from_now)),
        }
    }

    /// As [`planned`](Self::planned); a name that is not found may have been made on another node a moment ago, so the
    /// newest catalog is asked for before the client is told.
    pub(super) async fn planned_anew(&mut self, prepared: &Arc<Prepared>) -> SqlResult<Arc<Planned>> {
        if let Some(parsed) = &prepared.parsed
            && let Some(clause) = clause_of(parsed)
            && !self.catalog.is_past()
        {
            return self.planned_in_past(prepared, clause, &parsed.source).await;
        }
        let before = self.catalog.snapshot().version;
        match self.planned(prepared) {
            Err(e) if is_missing_name(&e) => {
                self.catalog.refresh().await?;
                if self.catalog.snapshot().version == before {
                    return Err(e);
                }
                self.planned(prepared)
            }
            planned => planned,
        }
    }

    /// The statement's plan: kept, or made now. Of a statement AS OF SYSTEM TIME that does not run yet, the last one.
    pub(super) fn planned(&mut self, prepared: &Arc<Prepared>) -> SqlResult<Arc<Planned>> {
        if !self.catalog.is_past()
            && prepared.parsed.as_ref().is_some_and(|parsed| clause_of(parsed).is_some())
        {
            return prepared.last_plan().ok_or_else(|| SqlError::internal("it has never been planned"));
        }
        let snapshot = self.catalog.snapshot();
        let key = PlanKey {
            catalog_version: snapshot.version,
            overlay: self.catalog.overlay_generation(),
            settings: self.settings.cached().generation,
        };
        if let Some(planned) = prepared.planned(key) {
            return Ok(planned);
        }
        let Some(parsed) = &prepared.parsed else {
            return prepared.keep(key, Planned::Utility { params: Vec::new() });
        };
        let view = self.view();
        let eval = view.planning_eval();
        let context = BindContext {
            catalog: &snapshot,
            database: self.database,
            search_path: view.search_path(),
            virtual_tables: crate::catalog::virtual_tables::lookup,
            eval: &eval,
        };
        let plan = |mut q: BoundQuery| -> SqlResult<PlannedQuery> {
            let tables = q.plan.tables(&snapshot);
            let plan = optimize::optimize(q.plan, &snapshot, q.params.len(), &Texts(context))?;
            Ok(PlannedQuery {
                kind: q.kind,
                plan: Arc::new(plan),
                tables,
                output: q.output,
                params: q.params,
                read_only: q.read_only,
                changes_data: q.changes_data,
            })
        };
        let planned = match bind::bind_statement(parsed, context, prepared.hints.as_deref())? {
            BoundStatement::Query(q) => Planned::Query(plan(q)?),
            BoundStatement::Explain(e, q) => {
                Planned::Explain { explain: ExplainFlags::of(e)?, query: plan(q)? }
            }
            BoundStatement::Utility(Statement::DeclareCursor(d)) => {
                let query = bind::bind_declared(d, &parsed.source, context, prepared.hints.as_deref())?;
                Planned::Utility { params: query.params }
            }
            BoundStatement::Utility(_) => Planned::Utility { params: Vec::new() },
        };
        prepared.keep(key, planned)
    }

    /// From here to the end of the transaction, nobody changes these tables' descriptors.
    pub(super) async fn use_tables(&mut self, tables: &[Arc<TableDescriptor>]) -> SqlResult<()> {
        let Some(active) = self.state.active() else { return Ok(()) };
        if self.catalog.use_tables_at_once(&active.txn, tables)? {
            return Ok(());
        }
        let (guard, txn) = (self.guard(), active.txn.clone());
        guard.run(self.catalog.use_tables(&txn, tables)).await
    }

    pub(super) async fn exec_context(
        &mut self,
        params: &Arc<[Datum]>,
        statistics: Option<usize>,
    ) -> SqlResult<ExecContext> {
        let mut statement = self.exec_statement()?;
        if let Some(nodes) = statistics {
            statement = statement.with_statistics(nodes);
        }
        Ok(ExecContext::new(Arc::new(statement), params.clone()))
    }

    pub(super) fn exec_statement(&mut self) -> SqlResult<exec::Statement> {
        let view = self.view();
        let now = self.node.now();
        let active =
            self.state.active().ok_or_else(|| SqlError::internal("a statement runs in a transaction"))?;
        Ok(exec::Statement::new(
            active.txn.clone(),
            self.catalog.snapshot(),
            view,
            self.cancel.flag().clone(),
            active.started,
            now,
        ))
    }

    pub(super) fn check_read_only(&self, kind: QueryKind, only_reads: bool) -> SqlResult<()> {
        if !only_reads && self.state.active().is_some_and(|a| a.modes.read_only) {
            let verb = match kind {
                QueryKind::Select => "SELECT FOR UPDATE",
                QueryKind::Insert => "INSERT",
                QueryKind::Update => "UPDATE",
                QueryKind::Delete => "DELETE",
            };
            return Err(read_only(verb));
        }
        Ok(())
    }

    /// What pg_stat_activity shows.
    pub(super) fn note_activity(&self, query: &Arc<str>) {
        let mut now = self.activity.now.lock();
        now.query = query.clone();
        now.query_start = self.node.now();
    }

    fn refuse_in_failed(&self, statement: &Statement) -> SqlResult<()> {
        if matches!(self.state, State::Failed(_)) && !ends_failed(statement) {
            return Err(SqlError::new(
                state::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }
}

fn is_missing_name(e: &SqlError) -> bool {
    [state::UNDEFINED_TABLE, state::UNDEFINED_COLUMN, state::INVALID_SCHEMA_NAME, state::UNDEFINED_OBJECT]
        .contains(&e.code())
}

/// The command tag of a plan.
fn tag(kind: QueryKind, rows: u64) -> String {
    match kind {
        QueryKind::Select => format!("SELECT {rows}"),
        QueryKind::Insert => format!("INSERT 0 {rows}"),
        QueryKind::Update => format!("UPDATE {rows}"),
        QueryKind::Delete => format!("DELETE {rows}"),
    }
}

/// The first `n` rows, and the others if there are any.
pub(super) fn split(batch: Batch, n: usize) -> (Batch, Option<Batch>) {
    if batch.rows <= n {
        return (batch, None);
    }
    let head = exec::slice(&batch, 0, n);
    let tail = exec::slice(&batch, n, batch.rows);
    (head, Some(tail))
}
