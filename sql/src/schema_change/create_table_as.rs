//! CREATE TABLE AS: the table, and in it the rows of a query, in one transaction.

use std::sync::Arc;

use super::SchemaContext;
use super::columns::{self, plain};
use super::constraints::Constraints;
use super::create_table::{empty, finish, refuse_options, target};
use crate::bind::{bind_query, fold};
use crate::catalog::TableDescriptor;
use crate::error::{SqlError, SqlResult, state};
use crate::exec::{self, ExecContext};
use crate::optimize::optimize;
use crate::parse::ParsedStatement;
use crate::parse::ast::CreateTable;
use crate::plan::Schema;
use crate::plan::physical::PhysicalPlan;
use crate::row::{BatchRow, RowBuf, TableCodec};
use crate::types::{Batch, Column, Oid, SqlType};

/// Answers `SELECT n`, as PostgreSQL does.
pub async fn execute(
    ctx: &mut SchemaContext<'_>,
    create: &CreateTable,
    parsed: &ParsedStatement,
) -> SqlResult<String> {
    refuse_options(create)?;
    let Some((schema, name)) = target(ctx, create)? else { return Ok("CREATE TABLE AS".into()) };
    let query = create.query.as_ref().ok_or_else(|| SqlError::internal("CREATE TABLE AS without a query"))?;
    let (plan, output, tables) = {
        let snapshot = ctx.snapshot();
        let eval = ctx.eval();
        let context = ctx.bind(&snapshot, &eval);
        let mut plan = bind_query(query, &parsed.source, context)?;
        let (output, tables) = (plan.schema(), plan.tables(&snapshot));
        (Arc::new(optimize(plan, &snapshot, 0, &context)?), output, tables)
    };
    let mut table = empty(ctx, schema, name).await?;
    set_columns(&mut table, &output, create)?;
    let id = finish(ctx, table, Constraints::default(), Vec::new()).await?;
    ctx.guard.run(ctx.catalog.use_tables(ctx.txn, &tables)).await?;
    let snapshot = ctx.snapshot();
    let table = snapshot.tables.get(&id).ok_or_else(|| SqlError::internal("the new table is gone"))?;
    let rows = insert(ctx, table, &plan).await?;
    Ok(format!("SELECT {rows}"))
}

fn set_columns(table: &mut TableDescriptor, output: &Schema, create: &CreateTable) -> SqlResult<()> {
    let names: Vec<String> = create.columns.iter().map(|c| fold(&c.name).into_owned()).collect();
    if names.len() > output.len() {
        return Err(SqlError::new(state::SYNTAX_ERROR, "too many column names were specified"));
    }
    for (n, field) in output.iter().enumerate() {
        let name = names.get(n).unwrap_or(&field.name).clone();
        columns::check_system_name(&name)?;
        if table.columns.iter().any(|c| c.name == name) {
            return Err(SqlError::new(
                state::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        let ty = if field.ty.oid == Oid::UNKNOWN { SqlType::new(Oid::TEXT) } else { field.ty };
        let id = columns::next_id(table);
        table.columns.push(plain(id, name, ty));
    }
    Ok(())
}

/// Writes the query's rows. There is nothing to check: the table has no constraints, and its row ids are new.
async fn insert(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    plan: &Arc<PhysicalPlan>,
) -> SqlResult<u64> {
    let codec = TableCodec::new(table)?;
    let mut buf = RowBuf::default();
    let now = ctx.eval().statement_time;
    let cancel = ctx.cancel.clone();
    let statement =
        exec::Statement::new(ctx.txn.clone(), ctx.snapshot(), ctx.session.clone(), cancel, now, now);
    let mut operator = exec::execute(plan, ExecContext::new(Arc::new(statement), Arc::from([])));
    let mut count = 0;
    while let Some(batch) = ctx.guard.run(operator.next()).await? {
        let ids = ctx.session.row_ids(table.id, batch.rows as u64).await?;
        let mut columns = batch.columns;
        // The row id is the last column.
        columns
            .push(Arc::new(Column { data: crate::types::ColumnData::Int8(ids.collect()), validity: None }));
        let rows = Batch { columns, rows: batch.rows };
        for row in 0..rows.rows {
            let source = BatchRow { batch: &rows, row };
            ctx.txn.put(codec.primary.encode_key(&source)?, codec.primary.encode_value(&source, &mut buf)?);
        }
        ctx.txn.flush_if_large().await?;
        count += rows.rows as u64;
    }
    Ok(count)
}
