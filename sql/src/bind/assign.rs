//! What INSERT and UPDATE share: targets, values for columns, defaults, checks, RETURNING.

use std::sync::Arc;

use sqlparser::ast::{self, AssignmentTarget};
use sqlparser::tokenizer::Location;

use super::expr::{column_subqueries, row_fields};
use super::name::{fold, object_name_parts};
use super::scalar::bind_scalar_text;
use super::scope::{Scope, public_columns};
use super::select::Clause;
use super::{Binder, start_of};
use crate::catalog::{ColumnDescriptor, ColumnId, Identity, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::Schema;
use crate::types::{Datum, Oid, SqlType};

impl Binder<'_> {
    /// The position (among public columns) and descriptor of a column to write to.
    pub fn target_column<'t>(
        &self,
        table: &'t TableDescriptor,
        name: &str,
        at: Location,
    ) -> SqlResult<(usize, &'t ColumnDescriptor)> {
        public_columns(table).enumerate().find(|(_, c)| c.name == name && !c.hidden).ok_or_else(|| {
            self.error_at(
                state::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
                at,
            )
        })
    }

    /// What a column holds when nothing is given for it.
    pub fn default_of(&mut self, column: &ColumnDescriptor) -> SqlResult<Expr> {
        if let Some(text) = &column.default {
            return bind_scalar_text(
                self.context,
                text,
                None,
                Clause::Default,
                Some((&column.name, column.ty)),
            );
        }
        if let Some(sequence) = column.owned_sequence.filter(|_| column.identity.is_some()) {
            return self.next_value(sequence.0, column);
        }
        // The hidden row id, too: the executor numbers the rows.
        Ok(Expr::Const(Datum::Null, column.ty))
    }

    fn next_value(&mut self, sequence: u32, column: &ColumnDescriptor) -> SqlResult<Expr> {
        let arg = Expr::Const(Datum::Oid(sequence), SqlType::new(Oid::REGCLASS));
        let next = self.call("nextval", vec![arg], Location::empty())?;
        self.coerce_assigned(next, column.ty, &column.name)
    }

    /// A value given for a column: DEFAULT, or an expression cast to the column's type.
    pub fn bind_value_for(
        &mut self,
        value: &ast::Expr,
        column: &ColumnDescriptor,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        if is_default(value) {
            return self.default_of(column);
        }
        if column.identity == Some(Identity::Always) {
            return Err(generated_always(&column.name));
        }
        let bound = self.bind_expr(value, scope)?;
        self.assign(bound, column, start_of(value))
    }

    pub fn assign(&mut self, value: Expr, column: &ColumnDescriptor, at: Location) -> SqlResult<Expr> {
        self.coerce_assigned(value, column.ty, &column.name).map_err(|e| self.locate(e, at))
    }

    /// The SET list of UPDATE and ON CONFLICT.
    pub fn bind_assignments(
        &mut self,
        assignments: &[ast::Assignment],
        table: &Arc<TableDescriptor>,
        scope: &Scope<'_>,
    ) -> SqlResult<Vec<(ColumnId, Expr)>> {
        let mut done: Vec<(ColumnId, Expr)> = Vec::with_capacity(assignments.len());
        for a in assignments {
            let mut given = Vec::new();
            match &a.target {
                AssignmentTarget::ColumnName(name) => {
                    let column = self.assignment_target(table, name)?;
                    given.push((column.id, self.bind_updated(&a.value, column, scope)?));
                }
                AssignmentTarget::Tuple(names) => {
                    let columns = names
                        .iter()
                        .map(|n| self.assignment_target(table, n))
                        .collect::<SqlResult<Vec<_>>>()?;
                    given = self.bind_row_assignment(&a.value, &columns, scope)?;
                }
            }
            for (id, value) in given {
                if done.iter().any(|(d, _)| *d == id) {
                    let name = table.columns.iter().find(|c| c.id == id).map_or("?", |c| c.name.as_str());
                    return Err(SqlError::new(
                        state::SYNTAX_ERROR,
                        format!("multiple assignments to same column \"{name}\""),
                    ));
                }
                done.push((id, value));
            }
        }
        Ok(done)
    }

    fn assignment_target<'t>(
        &self,
        table: &'t TableDescriptor,
        name: &ast::ObjectName,
    ) -> SqlResult<&'t ColumnDescriptor> {
        let parts = object_name_parts(name)?;
        let at = parts.first().map_or(Location::empty(), |p| p.span.start);
        match parts.as_slice() {
            [column] => Ok(self.target_column(table, &fold(column), at)?.1),
            [first, ..] => {
                self.target_column(table, &fold(first), at)?;
                Err(SqlError::unsupported("assigning to a field of a column"))
            }
            [] => Err(SqlError::internal("an assignment without a target")),
        }
    }

    fn bind_updated(
        &mut self,
        value: &ast::Expr,
        column: &ColumnDescriptor,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        if column.identity == Some(Identity::Always) && !is_default(value) {
            return Err(SqlError::new(
                "428C9",
                format!("column \"{}\" can only be updated to DEFAULT", column.name),
            )
            .with_detail(format!(
                "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
                column.name
            )));
        }
        self.bind_value_for(value, column, scope)
    }

    /// `(a, b) = (x, y)` and `(a, b) = (SELECT x, y …)`.
    fn bind_row_assignment(
        &mut self,
        value: &ast::Expr,
        columns: &[&ColumnDescriptor],
        scope: &Scope<'_>,
    ) -> SqlResult<Vec<(ColumnId, Expr)>> {
        let count_error =
            || SqlError::new(state::SYNTAX_ERROR, "number of columns does not match number of values");
        let mut done = Vec::with_capacity(columns.len());
        let single = std::slice::from_ref(value);
        let fields = match value {
            ast::Expr::Function(f) if is_row_call(f) => {
                let ast::FunctionArguments::List(list) = &f.args else { return Err(count_error()) };
                let fields: Option<Vec<&ast::Expr>> = list
                    .args
                    .iter()
                    .map(|a| match a {
                        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Some(e),
                        _ => None,
                    })
                    .collect();
                fields.ok_or_else(count_error)?
            }
            ast::Expr::Subquery(query) => {
                let plan = self.bind_query(query, Some(scope), true)?;
                let values = column_subqueries(plan);
                if values.len() != columns.len() {
                    return Err(self.locate(count_error(), start_of(value)));
                }
                for (value_of, column) in values.into_iter().zip(columns) {
                    done.push((column.id, self.assign(value_of, column, start_of(value))?));
                }
                return Ok(done);
            }
            other => row_fields(other).unwrap_or(single).iter().collect(),
        };
        if fields.len() != columns.len() {
            return Err(self.locate(count_error(), start_of(value)));
        }
        for (e, column) in fields.into_iter().zip(columns) {
            done.push((column.id, self.bind_updated(e, column, scope)?));
        }
        Ok(done)
    }

    /// The table's CHECK constraints over a row of its public columns.
    pub fn bind_checks(&mut self, table: &Arc<TableDescriptor>) -> SqlResult<Vec<(String, Expr)>> {
        let mut checks = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let bound = bind_scalar_text(self.context, &check.expr, Some(table), Clause::Check, None)?;
            checks.push((check.name.clone(), bound));
        }
        Ok(checks)
    }

    pub fn bind_returning(
        &mut self,
        returning: Option<&[ast::SelectItem]>,
        scope: &Scope<'_>,
    ) -> SqlResult<Option<(Vec<Expr>, Schema)>> {
        let Some(list) = returning else { return Ok(None) };
        let items = self.in_level(Clause::Returning, |b| b.bind_select_list(list, scope))?;
        let mut exprs = Vec::with_capacity(items.len());
        let mut fields = Vec::with_capacity(items.len());
        for item in items {
            let expr = self.unknown_to_text(item.expr)?;
            fields.push(crate::plan::Field { ty: expr.ty(), ..item.field });
            exprs.push(expr);
        }
        Ok(Some((exprs, Arc::new(fields))))
    }
}

pub fn generated_always(column: &str) -> SqlError {
    SqlError::new("428C9", format!("cannot insert a non-DEFAULT value into column \"{column}\""))
        .with_detail(format!("Column \"{column}\" is an identity column defined as GENERATED ALWAYS."))
        .with_hint("Use OVERRIDING SYSTEM VALUE to override.")
}

/// The keyword DEFAULT, which the grammar gives as a name.
pub fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
}

fn is_row_call(f: &ast::Function) -> bool {
    matches!(f.name.0.as_slice(), [ast::ObjectNamePart::Identifier(i)] if i.value.eq_ignore_ascii_case("row"))
}
