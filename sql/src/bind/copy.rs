//! COPY: the table side of it. COPY FROM is an INSERT whose input is a computed relation, the rows that the session has
//! parsed; COPY TO is a SELECT of the columns.

use std::sync::Arc;

use sqlparser::ast;

use super::insert::Target;
use super::scope::{computed, public_columns};
use super::{BindContext, Binder, QueryKind, fold};
use crate::catalog::ColumnDescriptor;
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{Insert, LogicalPlan, Schema};

/// The computed relation that COPY FROM reads: the session supplies its rows.
pub const SUPPLIED_ROWS: &str = "session.supplied";

/// What a COPY FROM needs: its plan, and the columns that the data gives, in the data's order.
pub struct CopyTarget {
    pub plan: LogicalPlan,
    pub columns: Schema,
    pub table: Arc<crate::catalog::TableDescriptor>,
}

/// What a COPY TO sends.
pub struct CopiedQuery {
    pub plan: LogicalPlan,
    pub fields: Schema,
    pub kind: QueryKind,
    /// Neither changes nor locks rows.
    pub read_only: bool,
}

/// Binds COPY table (columns) FROM.
pub fn bind_copy_from(
    context: BindContext<'_>,
    source: &str,
    name: &ast::ObjectName,
    columns: &[ast::Ident],
) -> SqlResult<CopyTarget> {
    let mut binder = Binder::new(context, source);
    let table = binder.resolve_target(name, "copy to")?;
    let targets = binder.copy_columns(&table, columns)?;
    let fields = targets.iter().map(|t| computed(t.column.name.clone(), t.column.ty)).collect();
    let columns: Schema = Arc::new(fields);
    let public: Vec<&ColumnDescriptor> = public_columns(&table).collect();
    let given = |place: usize| targets.iter().position(|t| t.place == place);
    let mut values = Vec::with_capacity(public.len());
    for (place, column) in public.iter().enumerate() {
        values.push(match given(place) {
            Some(index) => Expr::Column { index, ty: column.ty },
            None => binder.default_of(column)?,
        });
    }
    let checks = binder.bind_checks(&table)?;
    let input = LogicalPlan::VirtualScan { name: SUPPLIED_ROWS.into(), schema: columns.clone() };
    let insert = Insert { table: table.clone(), values, input, on_conflict: None, checks, returning: None };
    drop(targets);
    Ok(CopyTarget { plan: LogicalPlan::Insert(Box::new(insert)), columns, table: table.clone() })
}

/// Binds the query of COPY query TO.
pub fn bind_copied(query: &ast::Query, source: &str, context: BindContext<'_>) -> SqlResult<CopiedQuery> {
    let mut binder = Binder::new(context, source);
    let (kind, plan) = binder.bind_top_query(query)?;
    let fields = match kind {
        QueryKind::Select => plan.schema(),
        _ => plan.returned_schema().ok_or_else(|| {
            SqlError::new(state::FEATURE_NOT_SUPPORTED, "COPY query must have a RETURNING clause")
        })?,
    };
    Ok(CopiedQuery { plan, fields, kind, read_only: kind == QueryKind::Select && !binder.writes })
}

impl Binder<'_> {
    fn copy_columns<'t>(
        &self,
        table: &'t crate::catalog::TableDescriptor,
        columns: &[ast::Ident],
    ) -> SqlResult<Vec<Target<'t>>> {
        if columns.is_empty() {
            let shown = public_columns(table).enumerate().filter(|(_, c)| !c.hidden);
            return Ok(shown.map(|(place, column)| Target { place, column }).collect());
        }
        let mut targets: Vec<Target<'t>> = Vec::with_capacity(columns.len());
        for ident in columns {
            let name = fold(ident);
            let (place, column) = self.target_column(table, &name, ident.span.start)?;
            if targets.iter().any(|t| t.place == place) {
                return Err(self.error_at(
                    state::DUPLICATE_COLUMN,
                    format!("column \"{name}\" specified more than once"),
                    ident.span.start,
                ));
            }
            targets.push(Target { place, column });
        }
        Ok(targets)
    }
}
