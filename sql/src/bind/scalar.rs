//! Lone expressions of the catalog: defaults, checks, predicates of indexes.

use std::sync::Arc;

use super::catalog::table_fields;
use super::scope::{Relation, Scope};
use super::select::Clause;
use super::{BindContext, Binder, bind_data_type};
use crate::catalog::{ElementState, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::optimize::TableExprs;
use crate::parse;
use crate::types::{Datum, SqlType};

/// Binds an expression over the public columns of `table`, in descriptor order. `boolean`: it must be a condition.
pub fn bind_scalar(
    context: BindContext<'_>,
    text: &str,
    table: &Arc<TableDescriptor>,
    clause: Clause,
) -> SqlResult<Expr> {
    bind_scalar_text(context, text, Some(table), clause, None)
}

/// Binds a DEFAULT expression, cast to its column's type.
pub fn bind_default(context: BindContext<'_>, text: &str, column: &str, ty: SqlType) -> SqlResult<Expr> {
    bind_scalar_text(context, text, None, Clause::Default, Some((column, ty)))
}

/// How the optimizer reaches the binder.
impl TableExprs for BindContext<'_> {
    fn table_expr(&self, table: &Arc<TableDescriptor>, text: &str) -> SqlResult<Expr> {
        bind_scalar(*self, text, table, Clause::Check)
    }

    fn default_expr(&self, table: &Arc<TableDescriptor>, position: usize) -> SqlResult<Expr> {
        let mut public = table.columns.iter().filter(|c| c.state == ElementState::Public);
        let column =
            public.nth(position).ok_or_else(|| SqlError::internal("no such column to give a default"))?;
        match &column.default {
            Some(text) => bind_default(*self, text, &column.name, column.ty),
            None => Ok(Expr::Const(Datum::Null, column.ty)),
        }
    }
}

/// The type that a type name written in SQL means.
pub fn bind_type_name(text: &str) -> SqlResult<SqlType> {
    bind_data_type(&parse::parse_data_type(text)?)
}

/// The shared part: `target` is the column that takes the value; checks and predicates are conditions.
pub fn bind_scalar_text(
    context: BindContext<'_>,
    text: &str,
    table: Option<&Arc<TableDescriptor>>,
    clause: Clause,
    target: Option<(&str, SqlType)>,
) -> SqlResult<Expr> {
    let tree = parse::parse_expression(text)?;
    let mut binder = Binder::new(context, text);
    let mut scope = Scope::new(None);
    if let Some(table) = table {
        scope.relations.push(Relation::of_table(&*table.name, table, Arc::new(table_fields(table))));
    }
    binder.in_level(clause, |b| {
        let e = b.bind_expr(&tree, &scope).map_err(|e| {
            if clause == Clause::Default && e.code() == state::UNDEFINED_COLUMN {
                return SqlError::new(
                    state::FEATURE_NOT_SUPPORTED,
                    "cannot use column reference in DEFAULT expression",
                );
            }
            e
        })?;
        if contains_subquery(&e) {
            return Err(SqlError::new(
                state::FEATURE_NOT_SUPPORTED,
                format!("cannot use subquery in {}", singular(clause)),
            ));
        }
        match target {
            Some((column, ty)) => b.coerce_assigned(e, ty, column),
            None if matches!(clause, Clause::Check | Clause::IndexPredicate) => {
                b.coerce_to_bool(e, if clause == Clause::Check { "CHECK" } else { "WHERE" })
            }
            None => b.unknown_to_text(e),
        }
    })
}

fn singular(clause: Clause) -> &'static str {
    match clause {
        Clause::Default => "DEFAULT expression",
        Clause::Check => "check constraint",
        Clause::IndexPredicate => "index predicate",
        _ => "expression",
    }
}

pub fn contains_subquery(e: &Expr) -> bool {
    let mut found = false;
    crate::plan::walk::visit_expr(&mut e.clone(), 0, &mut |e, _| found |= matches!(e, Expr::Subquery(_)));
    found
}

/// What a column holds when nothing is given for it: its default, its identity's next value, or NULL.
pub fn bind_column_default(
    context: BindContext<'_>,
    column: &crate::catalog::ColumnDescriptor,
) -> SqlResult<Expr> {
    Binder::new(context, "").default_of(column)
}
