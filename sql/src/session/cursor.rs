//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE, over the same portals as the extended protocol.
//!
//! Cursors go forward only and end with their transaction: backward fetches and WITH HOLD are refused.
//!
//! What must stay true: a cursor sees its tables as they were when it was declared, whatever its transaction does
//! afterwards. It ends with the subtransaction in which it was declared, so that no rows are fetched that
//! ROLLBACK TO has taken back. RELEASE hands it to the one around. One that is older than the savepoint stays, where it is.
//!
//! Under READ COMMITTED "when it was declared" is as exact as the clocks of the nodes: a cursor that meets what may have been
//! committed before begins again on a later snapshot, as long as it has shown nothing; after that it fails (40001).

use std::sync::Arc;

use super::block::outside_block;
use super::client::Client;
use super::node::Counters;
use super::prepared::{Planned, PlannedQuery, Portal, Prepared, Running, Suspended, cannot_run};
use super::retry::MAX_ATTEMPTS;
use super::statement::{Delivery, split};
use super::transaction::SubtransactionId;
use super::{FLUSH_AT, Session};
use crate::bind::fold;
use crate::error::{SqlError, SqlResult, state};
use crate::exec::{self, ExecContext};
use crate::parse::{DeclareCursor, FetchCount, FetchCursor, ast};
use crate::plan::Schema;
use crate::types::{Batch, Datum};

/// How many cursors may fetch one from the next: each runs within the one before, on the same stack.
const MAX_DEPTH: usize = 3;

impl Session {
    /// Of what is made now.
    pub(super) fn subtransaction(&self) -> SubtransactionId {
        self.state.active().map(|a| a.subtransaction()).unwrap_or_default()
    }

    /// Portals made in a subtransaction, or in one within it, end.
    pub(super) fn drop_portals_of(&mut self, subtransaction: SubtransactionId) {
        self.portals.retain(|_, p| p.made_in < subtransaction);
    }

    /// As if portals of a subtransaction, and of those within it, had been made in the one around it.
    pub(super) fn hand_portals_over(&mut self, from: SubtransactionId, to: SubtransactionId) {
        for portal in self.portals.values_mut().filter(|p| p.made_in >= from) {
            portal.made_in = to;
        }
    }

    /// The cursor begins here, though it reads nothing yet: with its plan, its tables pinned, and what the transaction sees.
    pub(super) async fn declare_cursor(
        &mut self,
        d: &DeclareCursor,
        declaration: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        let name = fold(&d.name).into_owned();
        if d.hold {
            return Err(SqlError::unsupported("DECLARE CURSOR … WITH HOLD"));
        }
        if d.scroll == Some(true) {
            return Err(SqlError::unsupported("DECLARE … SCROLL CURSOR"));
        }
        if d.binary {
            return Err(SqlError::unsupported("DECLARE … BINARY CURSOR"));
        }
        // Several statements in one message of the simple protocol are a block.
        let message = delivery.describe && !delivery.autocommit;
        if !self.state.in_block() && !message {
            return Err(outside_block("DECLARE CURSOR"));
        }
        if self.portals.contains_key(&name) {
            return Err(SqlError::new(state::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        let Some(parsed) = &declaration.parsed else { return Ok(()) };
        // Its query has the parameters that the declaration has been given.
        let types = self.planned_anew(declaration).await?.params().to_vec();
        let hints = declaration.hints.as_ref().map(|_| types);
        self.admit_block().await?;
        let mut attempt = 0;
        let (prepared, fields, running) = loop {
            attempt += 1;
            let prepared = Arc::new(Prepared::new(parsed.text(), Some(parsed.inner()?), hints.clone()));
            let planned = self.planned_anew(&prepared).await?;
            let Planned::Query(query) = &*planned else {
                return Err(SqlError::internal("a cursor is a query"));
            };
            // Only now: the tables may have been made elsewhere a moment ago, and are to be in the snapshot.
            self.ensure_transaction()?;
            let savepoint = self.statement_savepoint();
            match self.begin_query(&planned, query, params).await {
                Ok(begun) => {
                    self.keep_statement(savepoint);
                    break (prepared, query.output.clone(), Running::Suspended(begun));
                }
                // A table was changed while it was being pinned, for instance.
                Err(e) if attempt < MAX_ATTEMPTS && self.may_retry(&e) => {
                    Counters::add(&self.node.counters.retries);
                    self.prepare_retry(savepoint, attempt).await?;
                }
                Err(e) => {
                    self.undo_statement(savepoint);
                    return Err(e);
                }
            }
        };
        let params = params.clone();
        let made_in = self.subtransaction();
        let portal = Portal { prepared, fields, params, formats: Vec::new(), made_in, running };
        self.portals.insert(name, portal);
        // What it sees is of this attempt of the transaction.
        self.count_statement();
        delivery.client.complete("DECLARE CURSOR");
        Ok(())
    }

    /// The fields of the rows that FETCH returns; MOVE returns none.
    pub(super) fn fetch_fields(&self, f: &FetchCursor) -> Option<Schema> {
        let portal = self.portals.get(&*fold(&f.cursor)).filter(|_| !f.only_move)?;
        portal.fields.clone()
    }

    pub(super) async fn fetch(&mut self, f: &FetchCursor, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        let name = fold(&f.cursor).into_owned();
        let backward = || {
            SqlError::new(state::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
                .with_hint("Declare it with SCROLL option to enable backward scan.")
        };
        let count = match f.count {
            FetchCount::Relative(n) if n > 0 => n as u64,
            FetchCount::All { backward: false } => u64::MAX,
            _ => return Err(backward()),
        };
        let portal = self.portals.get(&name).ok_or_else(|| {
            SqlError::new(state::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
        })?;
        let fields = portal.fields.clone().ok_or_else(|| without_rows(&name))?;
        // A portal of the protocol begins here, and perhaps the transaction with it.
        if matches!(portal.running, Running::NotStarted) {
            self.admit_block().await?;
            self.ensure_transaction()?;
        }
        let fetched = self.fetch_from(&name, &fields, count, f.only_move, delivery).await;
        if fetched.is_err()
            && let Some(portal) = self.portals.get_mut(&name)
        {
            portal.running = Running::Failed;
        }
        fetched
    }

    async fn fetch_from(
        &mut self,
        name: &str,
        fields: &Schema,
        count: u64,
        only_move: bool,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        let portal = self.portals.get_mut(name).ok_or_else(|| cannot_run(name))?;
        let (prepared, params) = (portal.prepared.clone(), portal.params.clone());
        let running = match std::mem::replace(&mut portal.running, Running::Active) {
            Running::NotStarted => self.open(&prepared, &params, delivery.client).await?,
            // Among others a FETCH that leads back to itself.
            Running::Active | Running::Failed => return Err(cannot_run(name)),
            begun => begun,
        };
        let (running, batches) = self.collect_in_one_piece(running, count).await?;
        if let Some(portal) = self.portals.get_mut(name) {
            portal.running = running;
        }
        // What has been fetched cannot be taken back: the transaction cannot begin again unnoticed.
        self.count_statement();
        let rows: usize = batches.iter().map(|b| b.rows).sum();
        if !only_move {
            let view = self.view();
            if delivery.describe {
                delivery.client.describe_rows(fields, delivery.formats);
            }
            for batch in &batches {
                delivery.client.rows(batch, fields, delivery.formats, &view.text())?;
                if delivery.client.pending() > FLUSH_AT {
                    let flushed = delivery.client.flush();
                    self.guarded(flushed).await?;
                }
            }
        }
        delivery.client.complete(&format!("{} {rows}", if only_move { "MOVE" } else { "FETCH" }));
        Ok(())
    }

    /// Begins to run what a cursor is over: a query bit by bit, what answers at once to its end.
    async fn open(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        client: &mut dyn Client,
    ) -> SqlResult<Running> {
        if let Some(parsed) = &prepared.parsed {
            self.enter_past(parsed).await?;
        }
        let planned = self.planned_anew(prepared).await?;
        // What changes data does so once, and as a whole: nothing of it is run again, or at a moment.
        let Some(query) = planned.query().filter(|query| !query.changes_data) else {
            let within = self.portals.values().filter(|p| matches!(p.running, Running::Active)).count();
            if within > MAX_DEPTH {
                return Err(SqlError::new(state::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                    .with_hint("The cursor fetches from others, one from the next."));
            }
            return Ok(Running::Stored(self.run_whole(prepared, params, client).await?));
        };
        Ok(Running::Suspended(self.begin_query(&planned, query, params).await?))
    }

    /// A query that has read nothing yet. Whenever it does, it sees what the transaction sees now.
    async fn begin_query(
        &mut self,
        planned: &Arc<Planned>,
        query: &PlannedQuery,
        params: &Arc<[Datum]>,
    ) -> SqlResult<Box<Suspended>> {
        self.check_read_only(query.kind, query.read_only)?;
        self.use_tables(&query.tables).await?;
        let statement = self.exec_statement()?.as_of_now();
        let ctx = ExecContext::new(Arc::new(statement), params.clone());
        let operator = exec::execute(&query.plan, ctx.clone());
        Ok(Box::new(Suspended { operator, planned: planned.clone(), rest: None, sent: 0, unseen: Some(ctx) }))
    }

    fn count_statement(&mut self) {
        if let Some(active) = self.state.active_mut() {
            active.statements += 1;
        }
    }

    /// As [`collect`](Self::collect). What has shown nothing yet begins anew on a later snapshot rather than fail.
    async fn collect_in_one_piece(
        &mut self,
        mut running: Running,
        max: u64,
    ) -> SqlResult<(Running, Vec<Batch>)> {
        let Running::Suspended(begun) = &mut running else { return self.collect(running, max).await };
        let planned = begun.planned.clone();
        let (Some(mut ctx), Planned::Query(query)) = (begun.unseen.take(), &*planned) else {
            return self.collect(running, max).await;
        };
        let mut attempt = 1;
        loop {
            let error = match self.collect(running, max).await {
                Err(e) if e.code() == state::SERIALIZATION_FAILURE && attempt < MAX_ATTEMPTS => e,
                done => return done,
            };
            let Some(moved) = ctx.statement.moved() else { return Err(error) };
            attempt += 1;
            Counters::add(&self.node.counters.retries);
            self.setting_changes.forget();
            ctx = ExecContext::new(Arc::new(moved), ctx.params.clone());
            let operator = exec::execute(&query.plan, ctx.clone());
            let (planned, unseen) = (planned.clone(), None);
            running =
                Running::Suspended(Box::new(Suspended { operator, planned, rest: None, sent: 0, unseen }));
        }
    }

    /// Up to `max` rows, and what remains to be run.
    async fn collect(&mut self, running: Running, max: u64) -> SqlResult<(Running, Vec<Batch>)> {
        let mut running = running;
        let mut out = Vec::new();
        let mut left = max;
        while left > 0 {
            let batch = match &mut running {
                Running::Suspended(s) => match s.rest.take() {
                    Some(batch) => Some(batch),
                    None => self.guarded(s.operator.next()).await?,
                },
                Running::Stored(s) => s.rows.pop_front(),
                Running::NotStarted | Running::Active | Running::Failed | Running::Finished => None,
            };
            let Some(batch) = batch else {
                if let Running::Suspended(_) = running {
                    running = Running::Finished;
                }
                break;
            };
            let (now, later) = split(batch, usize::try_from(left).unwrap_or(usize::MAX));
            left -= now.rows as u64;
            out.push(now);
            match &mut running {
                Running::Suspended(s) => s.rest = later,
                Running::Stored(s) => later.into_iter().for_each(|rows| s.rows.push_front(rows)),
                _ => {}
            }
        }
        Ok((running, out))
    }

    pub(super) fn close_cursor(
        &mut self,
        cursor: &ast::CloseCursor,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        match cursor {
            ast::CloseCursor::All => {
                self.portals.clear();
                client.complete("CLOSE CURSOR ALL");
            }
            ast::CloseCursor::Specific { name } => {
                let name = fold(name).into_owned();
                if self.portals.remove(&name).is_none() {
                    return Err(SqlError::new(
                        state::INVALID_CURSOR_NAME,
                        format!("cursor \"{name}\" does not exist"),
                    ));
                }
                client.complete("CLOSE CURSOR");
            }
        }
        Ok(())
    }
}

fn without_rows(cursor: &str) -> SqlError {
    SqlError::new(
        state::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("cursor \"{cursor}\" is of a statement without rows"),
    )
}
