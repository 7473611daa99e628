//! WITH: common table expressions, recursive ones, and those that change data.

use std::sync::Arc;

use sqlparser::ast;

use super::scope::Scope;
use super::{Binder, fold};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{Field, LogicalPlan, Schema};
use crate::registry::{CastContext, type_name};
use crate::types::{Oid, SqlType};

/// A CTE in sight.
pub struct CteBinding {
    pub name: String,
    pub id: usize,
    pub schema: Schema,
    pub references: usize,
}

/// A CTE that was bound and waits for its body.
struct Bound {
    id: usize,
    name: String,
    plan: LogicalPlan,
    modifies: bool,
}

impl Binder<'_> {
    pub fn find_cte(&mut self, name: &str) -> Option<(usize, Schema)> {
        let cte = self.ctes.iter_mut().rev().find(|c| c.name == name)?;
        cte.references += 1;
        Some((cte.id, cte.schema.clone()))
    }

    /// Binds the CTEs, then `body` with them in sight, and puts the definitions around it.
    pub fn bind_with(
        &mut self,
        with: &ast::With,
        parent: Option<&Scope<'_>>,
        body: impl FnOnce(&mut Self) -> SqlResult<LogicalPlan>,
    ) -> SqlResult<LogicalPlan> {
        let outside = self.ctes.len();
        let result = self.bind_with_inside(with, parent, body);
        self.ctes.truncate(outside);
        result
    }

    fn bind_with_inside(
        &mut self,
        with: &ast::With,
        parent: Option<&Scope<'_>>,
        body: impl FnOnce(&mut Self) -> SqlResult<LogicalPlan>,
    ) -> SqlResult<LogicalPlan> {
        let first = self.ctes.len();
        let mut bound: Vec<Bound> = Vec::with_capacity(with.cte_tables.len());
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name).into_owned();
            if bound.iter().any(|b| b.name == name) {
                return Err(self.error_at(
                    state::DUPLICATE_ALIAS,
                    format!("WITH query name \"{name}\" specified more than once"),
                    cte.alias.name.span.start,
                ));
            }
            let plan = self.bind_cte(cte, &name, with.recursive, parent)?;
            let schema = plan.schema();
            let id = self.next_cte;
            self.next_cte += 1;
            self.ctes.push(CteBinding { name: name.clone(), id, schema, references: 0 });
            let modifies = matches!(
                without_projection(&plan),
                LogicalPlan::Insert(_) | LogicalPlan::Update(_) | LogicalPlan::Delete(_)
            );
            bound.push(Bound { id, name, plan, modifies });
        }
        let mut plan = body(self)?;
        for (i, cte) in bound.into_iter().enumerate().rev() {
            // What nobody reads is not computed, unless it changes data.
            if self.ctes[first + i].references == 0 && !cte.modifies {
                continue;
            }
            plan = LogicalPlan::With {
                id: cte.id,
                name: cte.name,
                definition: Box::new(cte.plan),
                body: Box::new(plan),
            };
        }
        Ok(plan)
    }

    fn bind_cte(
        &mut self,
        cte: &ast::Cte,
        name: &str,
        recursive: bool,
        parent: Option<&Scope<'_>>,
    ) -> SqlResult<LogicalPlan> {
        let columns = &cte.alias.columns;
        if recursive
            && let ast::SetExpr::SetOperation { op: ast::SetOperator::Union, set_quantifier, left, right } =
                &*cte.query.body
            && cte.query.with.is_none()
            && mentions(right, name)
        {
            let all = matches!(set_quantifier, ast::SetQuantifier::All);
            return self.bind_recursive(name, columns, left, right, all, parent);
        }
        let plan = self.bind_query(&cte.query, parent, true)?;
        rename(plan, columns, name)
    }

    fn bind_recursive(
        &mut self,
        name: &str,
        columns: &[ast::TableAliasColumnDef],
        base: &ast::SetExpr,
        step: &ast::SetExpr,
        all: bool,
        parent: Option<&Scope<'_>>,
    ) -> SqlResult<LogicalPlan> {
        let base = self.bind_set_expr(base, &super::sort::Tail::default(), parent, true)?;
        let base = rename(base, columns, name)?;
        let schema = base.schema();
        let id = self.next_cte;
        self.next_cte += 1;
        self.ctes.push(CteBinding { name: name.into(), id, schema: schema.clone(), references: 0 });
        let step = self.bind_set_expr(step, &super::sort::Tail::default(), parent, false);
        self.ctes.pop();
        let step = self.match_columns(step?, &schema, name)?;
        Ok(LogicalPlan::RecursiveUnion { id, base: Box::new(base), step: Box::new(step), all, schema })
    }

    /// The recursive term must yield the types of the other one.
    fn match_columns(&mut self, step: LogicalPlan, schema: &Schema, name: &str) -> SqlResult<LogicalPlan> {
        let own = step.schema();
        if own.len() != schema.len() {
            return Err(SqlError::new(
                state::SYNTAX_ERROR,
                "each UNION query must have the same number of columns",
            ));
        }
        if own.iter().zip(schema.iter()).all(|(a, b)| a.ty == b.ty) {
            return Ok(step);
        }
        let mut exprs = Vec::with_capacity(own.len());
        for (i, (field, wanted)) in own.iter().zip(schema.iter()).enumerate() {
            let column = Expr::Column { index: i, ty: field.ty };
            let compatible = field.ty.oid == wanted.ty.oid || field.ty.oid == Oid::UNKNOWN;
            let target = SqlType::new(wanted.ty.oid);
            match self.try_coerce(column, target, CastContext::Implicit)? {
                Ok(e) if compatible => exprs.push(e),
                Ok(_) | Err(_) => {
                    return Err(SqlError::new(
                        state::DATATYPE_MISMATCH,
                        format!(
                            "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                            i + 1,
                            type_name(wanted.ty.oid),
                            type_name(field.ty.oid)
                        ),
                    )
                    .with_hint("Cast the output of the non-recursive term to the correct type."));
                }
            }
        }
        Ok(super::sort::project(step, exprs, schema.to_vec()))
    }
}

/// Whether the plan changes data anywhere.
pub fn changes_data(plan: &mut LogicalPlan) -> bool {
    let mut found = matches!(plan, LogicalPlan::Insert(_) | LogicalPlan::Update(_) | LogicalPlan::Delete(_));
    plan.for_each_expr_mut(&mut |e| found |= subquery_changes_data(e));
    plan.for_each_input_mut(&mut |input, _| found |= changes_data(input));
    found
}

fn subquery_changes_data(e: &mut Expr) -> bool {
    let mut found = false;
    if let Expr::Subquery(s) = e {
        found = changes_data(&mut s.plan);
    }
    e.for_each_child_mut(&mut |c| found |= subquery_changes_data(c));
    found
}

fn without_projection(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Project { input, .. } => without_projection(input),
        other => other,
    }
}

/// Gives the first columns new names: `AS t (a, b)`.
pub fn rename(plan: LogicalPlan, columns: &[ast::TableAliasColumnDef], name: &str) -> SqlResult<LogicalPlan> {
    if columns.is_empty() {
        return Ok(plan);
    }
    let schema = plan.schema();
    if columns.len() > schema.len() {
        return Err(SqlError::new(
            state::INVALID_COLUMN_REFERENCE,
            format!(
                "table \"{name}\" has {} columns available but {} columns specified",
                schema.len(),
                columns.len()
            ),
        ));
    }
    let fields: Vec<Field> = schema
        .iter()
        .enumerate()
        .map(|(i, f)| match columns.get(i) {
            Some(c) => Field { name: fold(&c.name).into_owned(), ..f.clone() },
            None => f.clone(),
        })
        .collect();
    let exprs = schema.iter().enumerate().map(|(i, f)| Expr::Column { index: i, ty: f.ty }).collect();
    Ok(LogicalPlan::Project { input: Box::new(plan), exprs, schema: Arc::new(fields) })
}

/// Whether the name may occur as a relation in a query: a cheap look at the printed tree, once per recursive CTE.
fn mentions(query: &ast::SetExpr, name: &str) -> bool {
    let text = query.to_string().to_ascii_lowercase();
    text.match_indices(name).any(|(i, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        !text[..i].ends_with(word) && !text[i + name.len()..].starts_with(word)
    })
}
