//! PREPARE, EXECUTE and DEALLOCATE: prepared statements by way of SQL.
//!
//! They share one space of names with those of the extended protocol, so that either can use what the other has made;
//! what both keep is told in [`super::prepared`].
//!
//! What must stay true: PREPARE shows errors of names and types at once. EXECUTE's arguments are expressions without
//! tables, computed before the statement runs; the statement goes the way of every other, with its own retries, row limit
//! and tag.
//! It is never an EXECUTE, which could come back to itself without end.

use std::sync::Arc;

use super::client::Client;
use super::exprs::Texts;
use super::prepared::{Prepared, Running};
use super::set_show::dotted_name;
use super::statement::Delivery;
use super::{Session, classify};
use crate::bind::{self, fold};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr as BoundExpr;
use crate::parse::ParsedStatement;
use crate::parse::ast::{self, Expr, Ident, ObjectName};
use crate::plan::{Field, LogicalPlan, Schema};
use crate::types::{Datum, Oid, SqlType};
use crate::{exec, optimize};

impl Session {
    pub(super) async fn prepare(
        &mut self,
        name: &Ident,
        types: &[ast::DataType],
        parsed: &ParsedStatement,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        let name = fold(name).into_owned();
        if self.prepared.contains_key(&name) {
            return Err(SqlError::new(
                state::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let hints =
            types.iter().map(|t| bind::bind_data_type(t).map(|t| t.oid)).collect::<SqlResult<Vec<Oid>>>()?;
        let inner = parsed.inner()?;
        let text = parsed.text().to_string();
        let mut prepared = Prepared::new(&text, Some(inner), Some(hints));
        prepared.from_sql = true;
        let prepared = Arc::new(prepared);
        self.planned_anew(&prepared).await?;
        self.prepared.insert(name, prepared);
        client.complete("PREPARE");
        Ok(())
    }

    /// The fields of the rows that EXECUTE returns; none if there is nothing of that name yet.
    pub(super) fn execute_fields(&mut self, name: &ObjectName) -> SqlResult<Option<Schema>> {
        let name = dotted_name(name)?;
        if !self.prepared.contains_key(&name) {
            return Ok(None);
        }
        let prepared = self.statement_to_execute(&name)?;
        self.result_fields(&prepared)
    }

    /// What the protocol has prepared may itself be an EXECUTE, and names change hands: of its own, for instance.
    fn statement_to_execute(&self, name: &str) -> SqlResult<Arc<Prepared>> {
        let prepared = self.statement_named(name)?;
        if prepared.parsed.as_ref().is_some_and(|p| classify::executes_another(&p.statement)) {
            return Err(SqlError::unsupported("EXECUTE of a prepared statement that is an EXECUTE itself"));
        }
        Ok(prepared)
    }

    pub(super) async fn execute_prepared(
        &mut self,
        name: &ObjectName,
        arguments: &[Expr],
        source: &str,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Running> {
        let name = dotted_name(name)?;
        let prepared = self.statement_to_execute(&name)?;
        let planned = self.planned_anew(&prepared).await?;
        let types = planned.params();
        // As in PostgreSQL, nobody looks at the arguments of a statement that takes none.
        let params = if types.is_empty() {
            self.no_params.clone()
        } else if types.len() == arguments.len() {
            self.argument_values(arguments, source, types, delivery.client).await?
        } else {
            return Err(wrong_number(&name, types.len(), arguments.len()));
        };
        let inner = Delivery {
            client: delivery.client,
            formats: delivery.formats,
            describe: delivery.describe,
            max_rows: delivery.max_rows,
            autocommit: delivery.autocommit,
        };
        self.run(&prepared, &params, inner).await
    }

    /// The values of EXECUTE's arguments: constants as they stand, anything else as a query of one row.
    async fn argument_values(
        &mut self,
        arguments: &[Expr],
        source: &str,
        types: &[Oid],
        client: &mut dyn Client,
    ) -> SqlResult<Arc<[Datum]>> {
        let bound = self.with_bind_context(|context| {
            let one = |(i, (e, ty)): (usize, (&Expr, &Oid))| {
                bind::bind_execute_argument(context, source, e, i + 1, SqlType::new(*ty))
            };
            arguments.iter().zip(types).enumerate().map(one).collect::<SqlResult<Vec<_>>>()
        })?;
        let constant = |e: &BoundExpr| match e {
            BoundExpr::Const(value, _) => Some(value.clone()),
            _ => None,
        };
        if let Some(values) = bound.iter().map(constant).collect::<Option<Vec<Datum>>>() {
            return Ok(values.into());
        }
        let field = |e: &BoundExpr| Field { name: String::new(), ty: e.ty(), origin: None };
        let schema = Arc::new(bound.iter().map(field).collect());
        let row = LogicalPlan::Values { rows: vec![bound], schema };
        let snapshot = self.catalog.snapshot();
        let plan = self.with_bind_context(|c| optimize::optimize(row, &snapshot, 0, &Texts(c)))?;
        self.admit_block().await?;
        self.ensure_transaction()?;
        let ctx = self.exec_context(&self.no_params.clone(), None).await?;
        let mut operator = exec::execute(&Arc::new(plan), ctx);
        let batch = self.guarded(operator.next()).await?;
        drop(operator);
        // The statement runs with them, and a retry of it keeps them.
        self.take_setting_changes(client)?;
        let batch = batch.ok_or_else(|| SqlError::internal("a row of arguments is missing"))?;
        Ok(batch.columns.iter().map(|c| c.datum(0)).collect())
    }

    pub(super) fn deallocate(&mut self, name: &Ident, client: &mut dyn Client) -> SqlResult<()> {
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
}

fn wrong_number(name: &str, expected: usize, given: usize) -> SqlError {
    SqlError::new(
        state::SYNTAX_ERROR,
        format!("wrong number of parameters for prepared statement \"{name}\""),
    )
    .with_detail(format!("Expected {expected} parameters but got {given}."))
}
