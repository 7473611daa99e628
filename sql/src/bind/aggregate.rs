//! Calls of aggregates and window functions: put aside in their SELECT's level, a placeholder in their place.

use sqlparser::ast::{self, FunctionArgumentClause};
use sqlparser::tokenizer::Location;

use super::Binder;
use super::functions::Call;
use super::scope::Scope;
use super::select::{Clause, PLACEHOLDER, WINDOW_PLACEHOLDER};
use super::sort::direction;
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::walk::visit_expr;
use crate::plan::{AggregateCall, SortKey, WindowCall};

const WINDOWING_ERROR: &str = "42P20";

impl Binder<'_> {
    pub fn bind_aggregate_or_window(
        &mut self,
        f: &ast::Function,
        list: &ast::FunctionArgumentList,
        name: &str,
        star: bool,
        scope: &Scope<'_>,
        at: Location,
    ) -> SqlResult<Expr> {
        let clause = self.clause();
        let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        let inner = if f.over.is_some() { clause } else { Clause::AggregateArgument };
        let (call, order_by, filter) = self.in_clause(inner, |b| {
            let args = if star { Vec::new() } else { b.bind_arguments(&list.args, scope)? };
            let call = b.resolve_call(name, args, false, at)?;
            let mut order_by = Vec::new();
            for c in &list.clauses {
                let FunctionArgumentClause::OrderBy(keys) = c else {
                    return Err(SqlError::unsupported("this clause of a function call"));
                };
                for k in keys {
                    let (descending, nulls_first) = direction(&k.options)?;
                    let expr = b.bind_expr(&k.expr, scope)?;
                    order_by.push(SortKey { expr: b.unknown_to_text(expr)?, descending, nulls_first });
                }
            }
            let filter = match &f.filter {
                None => None,
                Some(e) => Some(b.bind_condition(e, scope, Clause::Filter, "FILTER")?),
            };
            Ok((call, order_by, filter))
        })?;
        self.check_form(f, &call, list, star, at)?;
        match &f.over {
            Some(over) => {
                if distinct {
                    return Err(self.error_at(
                        state::FEATURE_NOT_SUPPORTED,
                        "DISTINCT is not implemented for window functions",
                        at,
                    ));
                }
                self.put_window(over, call, filter, clause, scope, at)
            }
            None => self.put_aggregate(call, distinct, order_by, filter, clause, at),
        }
    }

    /// What is written like an aggregate must be one.
    fn check_form(
        &self,
        f: &ast::Function,
        call: &Call,
        list: &ast::FunctionArgumentList,
        star: bool,
        at: Location,
    ) -> SqlResult<()> {
        let name = call.function.name;
        if !f.within_group.is_empty() {
            return Err(SqlError::unsupported("WITHIN GROUP"));
        }
        if call.function.is_aggregate() {
            if !star && list.args.is_empty() && call.function.args.is_empty() {
                return Err(self.error_at(
                    state::WRONG_OBJECT_TYPE,
                    format!("{name}(*) must be used to call a parameterless aggregate function"),
                    at,
                ));
            }
            return Ok(());
        }
        let refuse = |message: String| Err(self.error_at(state::WRONG_OBJECT_TYPE, message, at));
        if f.over.is_some() && !call.function.is_window() {
            return refuse(format!(
                "OVER specified, but {name} is not a window function nor an aggregate function"
            ));
        }
        if list.duplicate_treatment.is_some() {
            return refuse(format!("DISTINCT specified, but {name} is not an aggregate function"));
        }
        if f.filter.is_some() {
            return refuse(format!("FILTER specified, but {name} is not an aggregate function"));
        }
        if star {
            return refuse(format!("{name}(*) specified, but {name} is not an aggregate function"));
        }
        if !list.clauses.is_empty() {
            return refuse(format!("ORDER BY specified, but {name} is not an aggregate function"));
        }
        if call.function.is_window() && f.over.is_none() {
            return refuse(format!("window function {name} requires an OVER clause"));
        }
        Ok(())
    }

    fn put_aggregate(
        &mut self,
        call: Call,
        distinct: bool,
        order_by: Vec<SortKey>,
        filter: Option<Expr>,
        clause: Clause,
        at: Location,
    ) -> SqlResult<Expr> {
        if clause == Clause::AggregateArgument {
            return Err(self.error_at(
                state::GROUPING_ERROR,
                "aggregate function calls cannot be nested",
                at,
            ));
        }
        if !clause.allows_aggregates() {
            return Err(self.error_at(
                state::GROUPING_ERROR,
                format!("aggregate functions are not allowed in {}", clause.name()),
                at,
            ));
        }
        if only_outer(&call.args) {
            return Err(
                self.locate(SqlError::unsupported("an aggregate over columns of an outer query only"), at)
            );
        }
        if contains_window(&call.args) {
            return Err(self.error_at(
                state::GROUPING_ERROR,
                "aggregate function calls cannot contain window function calls",
                at,
            ));
        }
        let ty = call.ty;
        let aggregate =
            AggregateCall { function: call.function, args: call.args, distinct, order_by, filter, ty };
        // The same call twice is computed once.
        let known = self.level().aggregates.iter().position(|a| same_aggregate(a, &aggregate));
        let index = known.unwrap_or_else(|| {
            self.level().aggregates.push(aggregate);
            self.level().aggregates.len() - 1
        });
        Ok(Expr::Column { index: PLACEHOLDER + index, ty })
    }

    fn put_window(
        &mut self,
        over: &ast::WindowType,
        call: Call,
        filter: Option<Expr>,
        clause: Clause,
        scope: &Scope<'_>,
        at: Location,
    ) -> SqlResult<Expr> {
        if clause == Clause::WindowDefinition || contains_window(&call.args) {
            return Err(self.error_at(WINDOWING_ERROR, "window function calls cannot be nested", at));
        }
        if clause == Clause::AggregateArgument {
            return Err(self.error_at(
                state::GROUPING_ERROR,
                "aggregate function calls cannot contain window function calls",
                at,
            ));
        }
        if !clause.allows_windows() {
            return Err(self.error_at(
                WINDOWING_ERROR,
                format!("window functions are not allowed in {}", clause.name()),
                at,
            ));
        }
        let definition = self.bind_over(over, scope)?;
        let ty = call.ty;
        let index = WINDOW_PLACEHOLDER + self.level().windows.len();
        self.level().windows.push(WindowCall {
            function: call.function,
            args: call.args,
            partition_by: definition.partition_by,
            order_by: definition.order_by,
            frame: definition.frame,
            filter,
            ty,
        });
        Ok(Expr::Column { index, ty })
    }
}

fn same_aggregate(a: &AggregateCall, b: &AggregateCall) -> bool {
    use super::group::same_expr;
    a.function == b.function
        && a.distinct == b.distinct
        && a.args.len() == b.args.len()
        && a.args.iter().zip(&b.args).all(|(x, y)| same_expr(x, y))
        && a.order_by.is_empty()
        && b.order_by.is_empty()
        && match (&a.filter, &b.filter) {
            (None, None) => true,
            (Some(x), Some(y)) => same_expr(x, y),
            _ => false,
        }
}

/// Reads columns of enclosing rows and none of its own: PostgreSQL computes such an aggregate further out.
fn only_outer(args: &[Expr]) -> bool {
    let (mut own, mut outer) = (false, false);
    for arg in args {
        visit_expr(&mut arg.clone(), 0, &mut |e, level| match e {
            Expr::Column { .. } if level == 0 => own = true,
            Expr::Outer { depth, .. } if *depth == level && level > 0 => own = true,
            Expr::Outer { depth, .. } if *depth > level => outer = true,
            _ => {}
        });
    }
    outer && !own
}

fn contains_window(args: &[Expr]) -> bool {
    let mut found = false;
    for arg in args {
        arg.columns_used(&mut |i| found |= (WINDOW_PLACEHOLDER..super::select::SET_PLACEHOLDER).contains(&i));
    }
    found
}
