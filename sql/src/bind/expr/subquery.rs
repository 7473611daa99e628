//! Subqueries in expressions.

use sqlparser::ast;

use crate::bind::scope::Scope;
use crate::bind::{Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::{Expr, Subquery, SubqueryKind};
use crate::plan::LogicalPlan;
use crate::registry::array_of;
use crate::types::{Oid, SqlType};

use super::operator::row_fields;

impl Binder<'_> {
    pub fn bind_scalar_subquery(&mut self, query: &ast::Query, scope: &Scope<'_>) -> SqlResult<Expr> {
        let plan = self.beside(|b| b.bind_query(query, Some(scope), true))?;
        let ty = self.sole_column(&plan, query)?;
        Ok(subquery(SubqueryKind::Scalar, plan, ty))
    }

    pub fn bind_exists(&mut self, query: &ast::Query, negated: bool, scope: &Scope<'_>) -> SqlResult<Expr> {
        let plan = self.beside(|b| b.bind_query(query, Some(scope), true))?;
        let exists = subquery(SubqueryKind::Exists, plan, SqlType::new(Oid::BOOL));
        Ok(if negated { Expr::Not(Box::new(exists)) } else { exists })
    }

    /// `ARRAY(SELECT …)`
    pub fn bind_array_subquery(&mut self, query: &ast::Query, scope: &Scope<'_>) -> SqlResult<Expr> {
        let plan = self.beside(|b| b.bind_query(query, Some(scope), true))?;
        let element = self.sole_column(&plan, query)?;
        let array = if crate::registry::element_of(element.oid).is_some() {
            Some(element.oid)
        } else {
            array_of(element.oid)
        };
        let array = array.ok_or_else(|| {
            SqlError::new(
                state::UNDEFINED_OBJECT,
                format!(
                    "could not find array type for data type {}",
                    crate::registry::type_name(element.oid)
                ),
            )
        })?;
        Ok(subquery(SubqueryKind::Array, plan, SqlType::with_typmod(array, element.typmod)))
    }

    /// `x IN (SELECT …)` is `x = ANY (SELECT …)`.
    pub fn bind_in_subquery(
        &mut self,
        arg: &ast::Expr,
        query: &ast::Query,
        negated: bool,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let any = self.bind_compare_subquery(arg, "=", query, false, scope)?;
        Ok(if negated { Expr::Not(Box::new(any)) } else { any })
    }

    /// `x op ANY|ALL (SELECT …)`, `(x, y) op ANY|ALL (SELECT …)`.
    pub fn bind_compare_subquery(
        &mut self,
        arg: &ast::Expr,
        op: &str,
        query: &ast::Query,
        all: bool,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let at = start_of(arg);
        let mut left = Vec::new();
        match row_fields(arg) {
            Some(fields) => {
                for e in fields {
                    left.push(self.bind_expr(e, scope)?);
                }
            }
            None => left.push(self.bind_expr(arg, scope)?),
        }
        let plan = self.beside(|b| b.bind_query(query, Some(scope), true))?;
        let schema = plan.schema();
        if schema.len() != left.len() {
            let message = if schema.len() < left.len() {
                "subquery has too few columns"
            } else {
                "subquery has too many columns"
            };
            return Err(self.error_at(state::SYNTAX_ERROR, message, at));
        }
        let mut operands = Vec::with_capacity(left.len());
        let mut ops = Vec::with_capacity(left.len());
        let mut wanted = Vec::with_capacity(left.len());
        for (e, field) in left.into_iter().zip(schema.iter()) {
            let (function, l, r) =
                self.comparison(op, e.ty().oid, field.ty.oid).map_err(|err| self.locate(err, at))?;
            operands.push(self.coerce_implicitly(e, SqlType::new(l)).map_err(|err| self.locate(err, at))?);
            ops.push(function);
            let ty = if r == field.ty.oid { field.ty } else { SqlType::new(r) };
            wanted.push(crate::plan::Field { ty, ..field.clone() });
        }
        let plan = self.convert_columns(plan, &wanted, "IN")?;
        let kind = SubqueryKind::Compare { left: operands, ops, all };
        Ok(subquery(kind, plan, SqlType::new(Oid::BOOL)))
    }

    /// `(x, y) = (SELECT a, b …)`: compared with the only row; NULL if there is none.
    pub fn bind_row_subquery(
        &mut self,
        left: &[ast::Expr],
        op: &str,
        query: &ast::Query,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let at = left.first().map_or(sqlparser::tokenizer::Location::empty(), start_of);
        let mut fields = Vec::with_capacity(left.len());
        for e in left {
            fields.push(self.bind_expr(e, scope)?);
        }
        let plan = self.beside(|b| b.bind_query(query, Some(scope), true))?;
        let columns = column_subqueries(plan);
        if columns.len() != fields.len() {
            let few = columns.len() < fields.len();
            let message = if few { "subquery has too few columns" } else { "subquery has too many columns" };
            return Err(self.error_at(state::SYNTAX_ERROR, message, at));
        }
        self.compare_pairs(op, fields.into_iter().zip(columns).collect(), at)
    }

    fn sole_column(&self, plan: &LogicalPlan, query: &ast::Query) -> SqlResult<SqlType> {
        match plan.schema().as_slice() {
            [field] => Ok(field.ty),
            _ => Err(self.error_at(
                state::SYNTAX_ERROR,
                "subquery must return only one column",
                start_of(query),
            )),
        }
    }
}

fn subquery(kind: SubqueryKind, plan: LogicalPlan, ty: SqlType) -> Expr {
    Expr::Subquery(Box::new(Subquery { kind, plan, ty }))
}

/// One scalar subquery for each column of a plan; all see the same snapshot, so that together they are its one row.
pub fn column_subqueries(plan: LogicalPlan) -> Vec<Expr> {
    let schema = plan.schema();
    let column = |i: usize| {
        let field = schema[i].clone();
        let ty = field.ty;
        let expr = Expr::Column { index: i, ty };
        let one = crate::bind::sort::project(plan.clone(), vec![expr], vec![field]);
        subquery(SubqueryKind::Scalar, one, ty)
    };
    (0..schema.len()).map(column).collect()
}
