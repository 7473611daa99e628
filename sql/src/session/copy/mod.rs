//! COPY, both ways, in text, CSV and binary format.
//!
//! COPY FROM parses the client's data into batches and runs an INSERT plan over each, all in one transaction, so that defaults,
//! constraints, indexes and foreign keys are those of INSERT. COPY TO is a query whose rows are written differently.

mod binary;
mod lines;
mod options;

use std::sync::Arc;

use lines::{RowFields, Splitter};
use meridian_storage::base::runtime::yield_now;
use options::{CopyFormat, CopyOptions};

use super::client::Format;
use super::exprs::Texts;
use super::statement::Delivery;
use super::surroundings::View;
use super::transaction::{State, read_only};
use super::{FLUSH_AT, Session};
use crate::bind::{self, BindContext, CopiedQuery, CopyTarget};
use crate::error::{SqlError, SqlResult, state};
use crate::exec::{self, ExecContext, ROW_BYTES_MAX};
use crate::optimize;
use crate::parse::{ParsedStatement, ast};
use crate::plan::Schema;
use crate::plan::physical::PhysicalPlan;
use crate::types::{Batch, Column, Datum, text};

/// Rows that go through the INSERT plan at once, and the bytes of data after which fewer do.
const BATCH_ROWS: usize = 2048;
const BATCH_BYTES: usize = 1 << 20;
/// Longest text of one row: a row may take twice the bytes that it is stored in, as bytea in hexadecimal does.
const ROW_TEXT_MAX: usize = 2 * ROW_BYTES_MAX;
/// Bytes of data after which other sessions may run.
const YIELD_BYTES: usize = 1 << 20;

impl Session {
    pub(super) async fn copy(
        &mut self,
        statement: &ast::Statement,
        parsed: &ParsedStatement,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        let ast::Statement::Copy { source, to, target, options, legacy_options, values: _ } = statement
        else {
            return Err(SqlError::internal("COPY expected"));
        };
        match target {
            ast::CopyTarget::Stdin | ast::CopyTarget::Stdout => {}
            ast::CopyTarget::File { .. } => {
                return Err(SqlError::unsupported("COPY with a file of the server").with_hint(
                    "Use COPY … FROM STDIN or TO STDOUT; psql's \\copy does so for local files.",
                ));
            }
            ast::CopyTarget::Program { .. } => return Err(SqlError::unsupported("COPY with a program")),
        }
        let options = CopyOptions::new(options, legacy_options)?;
        self.ensure_transaction()?;
        let rows = match (to, source) {
            (false, ast::CopySource::Table { table_name, columns }) => {
                if self.state.active().is_some_and(|a| a.modes.read_only) {
                    return Err(read_only("COPY FROM"));
                }
                self.copy_from(table_name, columns, parsed, options, delivery).await?
            }
            (false, ast::CopySource::Query(_)) => {
                return Err(SqlError::new(state::SYNTAX_ERROR, "COPY query FROM is not possible"));
            }
            (true, source) => self.copy_to(source, parsed, options, delivery).await?,
        };
        if let Some(active) = self.state.active_mut() {
            active.statements += 1;
        }
        if delivery.autocommit && matches!(self.state, State::Implicit(_)) {
            self.commit_implicit(delivery.client).await?;
        }
        delivery.client.complete(&format!("COPY {rows}"));
        Ok(())
    }

    async fn copy_from(
        &mut self,
        name: &ast::ObjectName,
        columns: &[ast::Ident],
        parsed: &ParsedStatement,
        options: CopyOptions,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<u64> {
        let CopyTarget { mut plan, columns, table } =
            self.with_bind_context(|context| bind::bind_copy_from(context, &parsed.source, name, columns))?;
        let snapshot = self.catalog.snapshot();
        let tables = plan.tables(&snapshot);
        let plan = Arc::new(self.with_bind_context(|c| optimize::optimize(plan, &snapshot, 0, &Texts(c)))?);
        self.use_tables(&tables).await?;
        let view = self.view();
        let ctx = self.exec_context(&self.no_params.clone(), None).await?;
        let mut sink =
            Sink { plan, ctx, view, columns: columns.clone(), batch: Vec::new(), bytes: 0, rows: 0 };
        sink.clear();

        let format = if options.format == CopyFormat::Binary { Format::Binary } else { Format::Text };
        delivery.client.copy_in_begin(format, columns.len());
        let mut since_yield = 0;
        if options.format == CopyFormat::Binary {
            let mut reader = binary::Reader::default();
            while let Some(data) = self.next_piece(delivery, &mut since_yield).await? {
                reader.push(&data);
                while let Some(row) =
                    reader.next_row(&columns).map_err(|e| located(e, &table.name, reader.line))?
                {
                    sink.push(&row, reader.row_bytes);
                    self.drain_if_full(&mut sink).await?;
                }
            }
            reader.finish(&columns).map_err(|e| located(e, &table.name, reader.line))?;
        } else {
            let mut splitter = Splitter::new(options.clone());
            let (mut row, mut header) = (RowFields::default(), options.header);
            let mut done = false;
            while !done {
                match self.next_piece(delivery, &mut since_yield).await? {
                    Some(data) => splitter.push(&data),
                    None => {
                        splitter.push(b"");
                        splitter.finish();
                        done = true;
                    }
                }
                while splitter.next_row(&mut row).map_err(|e| located(e, &table.name, splitter.line))? {
                    if std::mem::take(&mut header) {
                        continue;
                    }
                    let values =
                        sink.parse(&row, &options).map_err(|e| located(e, &table.name, splitter.line))?;
                    sink.push(&values, row.bytes());
                    self.drain_if_full(&mut sink).await?;
                }
            }
        }
        self.drain(&mut sink).await?;
        Ok(sink.rows)
    }

    /// The next of the client's data. What comes without a pause is not waited for, so that now and then the thread is left
    /// to others, and a request to cancel is heard.
    async fn next_piece(
        &mut self,
        delivery: &mut Delivery<'_>,
        since_yield: &mut usize,
    ) -> SqlResult<Option<bytes::Bytes>> {
        if *since_yield >= YIELD_BYTES {
            *since_yield = 0;
            let others = async {
                yield_now().await;
                Ok(())
            };
            self.guarded(others).await?;
        }
        let next = delivery.client.copy_in_next();
        let piece = self.guarded(next).await?;
        *since_yield += piece.as_ref().map_or(0, bytes::Bytes::len);
        Ok(piece)
    }

    async fn drain_if_full(&mut self, sink: &mut Sink) -> SqlResult<()> {
        if sink.batch.first().map_or(0, Column::len) >= BATCH_ROWS || sink.bytes >= BATCH_BYTES {
            self.drain(sink).await?;
        }
        Ok(())
    }

    /// Runs the INSERT plan over the rows that have been collected.
    async fn drain(&mut self, sink: &mut Sink) -> SqlResult<()> {
        let Some(batch) = sink.take() else { return Ok(()) };
        sink.view.supply(batch);
        let mut operator = exec::execute(&sink.plan, sink.ctx.clone());
        while self.guarded(operator.next()).await?.is_some() {}
        sink.rows += operator.affected().unwrap_or(0);
        let flushed = sink.ctx.txn().flush_if_large();
        self.guarded(async { flushed.await.map_err(SqlError::from) }).await
    }

    async fn copy_to(
        &mut self,
        source: &ast::CopySource,
        parsed: &ParsedStatement,
        options: CopyOptions,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<u64> {
        let CopiedQuery { mut plan, fields, kind, read_only } = match source {
            ast::CopySource::Query(query) => {
                self.with_bind_context(|context| bind::bind_copied(query, &parsed.source, context))?
            }
            ast::CopySource::Table { table_name, columns } => {
                let select = select_of(table_name, columns);
                let inner = crate::parse::parse_single(&select)?;
                let Some(crate::parse::Statement::Sql(sql)) = inner.as_ref().map(|p| &p.statement) else {
                    return Err(SqlError::internal("COPY TO is a query"));
                };
                let ast::Statement::Query(query) = &**sql else {
                    return Err(SqlError::internal("COPY TO is a query"));
                };
                self.with_bind_context(|context| bind::bind_copied(query, &select, context))?
            }
        };
        self.check_read_only(kind, read_only)?;
        let snapshot = self.catalog.snapshot();
        let tables = plan.tables(&snapshot);
        let plan = Arc::new(self.with_bind_context(|c| optimize::optimize(plan, &snapshot, 0, &Texts(c)))?);
        self.use_tables(&tables).await?;
        let view = self.view();
        let ctx = self.exec_context(&self.no_params.clone(), None).await?;
        let format = if options.format == CopyFormat::Binary { Format::Binary } else { Format::Text };
        delivery.client.copy_out_begin(format, fields.len());
        let mut out = Vec::new();
        if options.format == CopyFormat::Binary {
            out.extend_from_slice(binary::HEADER);
        } else if options.header {
            header(&mut out, &fields, &options);
        }
        let mut operator = exec::execute(&plan, ctx);
        let mut rows = 0;
        while let Some(batch) = self.guarded(operator.next()).await? {
            for row in 0..batch.rows {
                write_row(&mut out, &batch, row, &fields, &options, &view)?;
                delivery.client.copy_out_data(&out);
                out.clear();
            }
            rows += batch.rows as u64;
            if delivery.client.pending() > FLUSH_AT {
                if let Some(active) = self.state.active() {
                    active.txn.note_result_sent();
                }
                let flushed = delivery.client.flush();
                self.guarded(flushed).await?;
            }
        }
        if options.format == CopyFormat::Binary {
            out.extend_from_slice(binary::TRAILER);
        }
        if !out.is_empty() {
            delivery.client.copy_out_data(&out);
        }
        delivery.client.copy_out_end();
        Ok(rows)
    }

    pub(super) fn with_bind_context<T>(
        &mut self,
        work: impl FnOnce(BindContext<'_>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        let view = self.view();
        let snapshot = self.catalog.snapshot();
        let eval = view.planning_eval();
        work(BindContext {
            catalog: &snapshot,
            database: self.database,
            search_path: view.search_path(),
            virtual_tables: crate::catalog::virtual_tables::lookup,
            eval: &eval,
        })
    }
}

/// Where COPY FROM's rows collect.
struct Sink {
    plan: Arc<PhysicalPlan>,
    ctx: ExecContext,
    view: Arc<View>,
    columns: Schema,
    batch: Vec<Column>,
    bytes: usize,
    rows: u64,
}

impl Sink {
    fn clear(&mut self) {
        self.batch = self.columns.iter().map(|f| Column::for_type(f.ty.oid)).collect();
        self.bytes = 0;
    }

    /// `bytes`: of the data that the row has come as.
    fn push(&mut self, row: &[Datum], bytes: usize) {
        for (column, value) in self.batch.iter_mut().zip(row) {
            column.push(value);
        }
        self.bytes += bytes + 16 * row.len();
    }

    fn take(&mut self) -> Option<Batch> {
        let rows = self.batch.first().map_or(0, Column::len);
        if rows == 0 {
            return None;
        }
        let columns = std::mem::take(&mut self.batch).into_iter().map(Arc::new).collect();
        self.clear();
        Some(Batch { columns, rows })
    }

    /// A row's fields as values of the columns' types.
    fn parse(&self, row: &RowFields, options: &CopyOptions) -> SqlResult<Vec<Datum>> {
        if row.len() > self.columns.len() {
            return Err(SqlError::new(state::BAD_COPY_FILE_FORMAT, "extra data after last expected column"));
        }
        let context = self.view.text();
        let mut values = Vec::with_capacity(self.columns.len());
        for (i, field) in self.columns.iter().enumerate() {
            if i >= row.len() {
                return Err(SqlError::new(
                    state::BAD_COPY_FILE_FORMAT,
                    format!("missing data for column \"{}\"", field.name),
                ));
            }
            let value = match row.get(i)? {
                None if options.force_not_null.contains(&field.name) => Some(options.null.as_str()),
                Some(v) if v == options.null && options.force_null.contains(&field.name) => None,
                value => value,
            };
            values.push(match value {
                None => Datum::Null,
                Some(v) => text::input(field.ty, v, &context)
                    .map_err(|e| e.with_context(format!("column {}: \"{v}\"", field.name)))?,
            });
        }
        Ok(values)
    }
}

/// A row that will not fit into the table, refused before its end is known. `bytes`: what has come of it.
fn row_too_big(bytes: usize) -> SqlError {
    SqlError::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("row is too big: size {bytes} or more, maximum size {ROW_TEXT_MAX}"),
    )
}

/// PostgreSQL's CONTEXT line of an error in COPY's data; there is none for the binary format's header, line 0.
fn located(e: SqlError, table: &str, line: u64) -> SqlError {
    if line == 0 {
        return e;
    }
    let context = match &e.fields().context {
        Some(column) => format!("COPY {table}, line {line}, {column}"),
        None => format!("COPY {table}, line {line}"),
    };
    e.with_context(context)
}

fn select_of(table: &ast::ObjectName, columns: &[ast::Ident]) -> String {
    if columns.is_empty() {
        return format!("SELECT * FROM {table}");
    }
    let list: Vec<String> = columns.iter().map(|c| c.to_string()).collect();
    format!("SELECT {} FROM {table}", list.join(", "))
}

fn header(out: &mut Vec<u8>, fields: &Schema, o: &CopyOptions) {
    for (i, f) in fields.iter().enumerate() {
        if i > 0 {
            out.push(o.delimiter);
        }
        match o.format {
            CopyFormat::Csv => lines::write_csv(out, &f.name, o, false, fields.len() == 1),
            _ => lines::write_text(out, &f.name, o),
        }
    }
    out.push(b'\n');
}

fn write_row(
    out: &mut Vec<u8>,
    batch: &Batch,
    row: usize,
    fields: &Schema,
    o: &CopyOptions,
    view: &View,
) -> SqlResult<()> {
    if o.format == CopyFormat::Binary {
        return binary::write_row(out, batch, row, fields);
    }
    let context = view.text();
    let mut value = String::new();
    for (i, (column, field)) in batch.columns.iter().zip(fields.iter()).enumerate() {
        if i > 0 {
            out.push(o.delimiter);
        }
        value.clear();
        if !text::write_row(field.ty.oid, column, row, &context, &mut value) {
            out.extend_from_slice(o.null.as_bytes());
            continue;
        }
        match o.format {
            CopyFormat::Csv => {
                let force = o.force_quote_all || o.force_quote.contains(&field.name);
                lines::write_csv(out, &value, o, force, fields.len() == 1);
            }
            _ => lines::write_text(out, &value, o),
        }
    }
    out.push(b'\n');
    Ok(())
}
