//! ORDER BY, DISTINCT, LIMIT: what stands at the end of a query.
//!
//! A sort key is a column of the output, found by name or number, or an expression over the row of FROM. Keys that
//! are not in the output are computed beside it and dropped again after the sort.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::tokenizer::Location;

use super::group::same_expr;
use super::scope::{Scope, computed};
use super::select::{Clause, Item};
use super::{Binder, fold, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{LogicalPlan, Schema, SortKey};
use crate::types::{Datum, Oid, SqlType};

/// The clauses of a query after its body.
#[derive(Default)]
pub struct Tail<'q> {
    pub order_by: &'q [ast::OrderByExpr],
    pub limit: Option<&'q ast::Expr>,
    pub offset: Option<&'q ast::Expr>,
    pub with_ties: bool,
    pub locks: &'q [ast::LockClause],
}

/// Where a sort key's value is.
pub enum KeySource {
    /// In that column of the output.
    Output(usize),
    /// An expression over the input row.
    Input(Expr),
}

pub struct Key {
    pub source: KeySource,
    pub descending: bool,
    pub nulls_first: bool,
    pub at: Location,
}

/// The bound ORDER BY, and DISTINCT ON.
#[derive(Default)]
pub struct Order {
    pub keys: Vec<Key>,
    pub distinct_on: Option<Vec<KeySource>>,
}

impl Order {
    /// The expressions over the input row.
    pub fn for_each_expr(&mut self, mut f: impl FnMut(&mut Expr)) {
        let on = self.distinct_on.iter_mut().flatten();
        for source in self.keys.iter_mut().map(|k| &mut k.source).chain(on) {
            if let KeySource::Input(e) = source {
                f(e);
            }
        }
    }
}

impl<'q> Tail<'q> {
    pub fn of(query: &'q ast::Query) -> SqlResult<Self> {
        let mut tail = Tail { locks: &query.locks, ..Tail::default() };
        match query.order_by.as_ref().map(|o| (&o.kind, &o.interpolate)) {
            None => {}
            Some((ast::OrderByKind::Expressions(exprs), None)) => tail.order_by = exprs,
            Some(_) => return Err(SqlError::unsupported("this form of ORDER BY")),
        }
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(SqlError::unsupported("LIMIT BY"));
                }
                tail.limit = limit.as_ref();
                tail.offset = offset.as_ref().map(|o| &o.value);
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(SqlError::new(state::SYNTAX_ERROR, "LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses."));
            }
        }
        if let Some(fetch) = &query.fetch {
            if fetch.percent {
                return Err(SqlError::unsupported("FETCH … PERCENT"));
            }
            if tail.limit.is_some() {
                return Err(SqlError::new(state::SYNTAX_ERROR, "multiple LIMIT clauses not allowed"));
            }
            static ONE: std::sync::LazyLock<ast::Expr> = std::sync::LazyLock::new(|| {
                ast::Expr::Value(ast::Value::Number("1".into(), false).with_empty_span())
            });
            tail.limit = Some(fetch.quantity.as_ref().unwrap_or(&ONE));
            tail.with_ties = fetch.with_ties;
            if tail.with_ties && tail.order_by.is_empty() {
                return Err(SqlError::new(
                    state::SYNTAX_ERROR,
                    "WITH TIES cannot be specified without ORDER BY clause",
                ));
            }
        }
        Ok(tail)
    }
}

/// PostgreSQL's default: NULLs are larger than everything.
pub fn direction(options: &ast::OrderByOptions) -> SqlResult<(bool, bool)> {
    let descending = match &options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        #[allow(unreachable_patterns)]
        Some(_) => return Err(SqlError::unsupported("ORDER BY … USING")),
    };
    Ok((descending, options.nulls_first.unwrap_or(descending)))
}

impl Binder<'_> {
    pub fn bind_order(
        &mut self,
        tail: &Tail<'_>,
        distinct_on: Option<&[ast::Expr]>,
        scope: &Scope<'_>,
        items: &[Item],
    ) -> SqlResult<Order> {
        let mut order = Order::default();
        for o in tail.order_by {
            let (descending, nulls_first) = direction(&o.options)?;
            let source = self.bind_key(&o.expr, scope, items, Clause::OrderBy)?;
            order.keys.push(Key { source, descending, nulls_first, at: start_of(&o.expr) });
        }
        if let Some(exprs) = distinct_on {
            let mut on = Vec::with_capacity(exprs.len());
            for e in exprs {
                on.push(self.bind_key(e, scope, items, Clause::DistinctOn)?);
            }
            order.distinct_on = Some(on);
        }
        Ok(order)
    }

    fn bind_key(
        &mut self,
        expr: &ast::Expr,
        scope: &Scope<'_>,
        items: &[Item],
        clause: Clause,
    ) -> SqlResult<KeySource> {
        if let Some(i) = self.output_column(expr, items, clause)? {
            return Ok(KeySource::Output(i));
        }
        let bound = self.in_clause(clause, |b| {
            let e = b.bind_expr(expr, scope)?;
            b.unknown_to_text(e)
        })?;
        match items.iter().position(|item| same_expr(&item.expr, &bound)) {
            Some(i) => Ok(KeySource::Output(i)),
            None => Ok(KeySource::Input(bound)),
        }
    }

    /// An output column named by a bare name or by its number.
    fn output_column(&self, expr: &ast::Expr, items: &[Item], clause: Clause) -> SqlResult<Option<usize>> {
        match expr {
            ast::Expr::Identifier(ident) => {
                let name = fold(ident);
                let mut found: Option<usize> = None;
                for (i, item) in items.iter().enumerate().filter(|(_, item)| item.field.name == name) {
                    if found.is_some_and(|f| !same_expr(&items[f].expr, &item.expr)) {
                        return Err(self.error_at(
                            state::AMBIGUOUS_COLUMN,
                            format!("{} \"{name}\" is ambiguous", clause.name()),
                            ident.span.start,
                        ));
                    }
                    found.get_or_insert(i);
                }
                Ok(found)
            }
            ast::Expr::Value(v) => self.ordinal(v, items.len(), clause),
            _ => Ok(None),
        }
    }

    /// A number in ORDER BY or GROUP BY is a place in the select list; other constants are refused.
    pub fn ordinal(
        &self,
        value: &ast::ValueWithSpan,
        columns: usize,
        clause: Clause,
    ) -> SqlResult<Option<usize>> {
        match &value.value {
            ast::Value::Placeholder(_) | ast::Value::Null => Ok(None),
            ast::Value::Number(text, _) => match text.parse::<usize>() {
                Ok(n) if (1..=columns).contains(&n) => Ok(Some(n - 1)),
                Ok(n) => Err(self.error_at(
                    state::INVALID_COLUMN_REFERENCE,
                    format!("{} position {n} is not in select list", clause.name()),
                    value.span.start,
                )),
                Err(_) => Err(self.non_integer(value, clause)),
            },
            _ => Err(self.non_integer(value, clause)),
        }
    }

    fn non_integer(&self, value: &ast::ValueWithSpan, clause: Clause) -> SqlError {
        let message = format!("non-integer constant in {}", clause.name());
        self.error_at(state::SYNTAX_ERROR, message, value.span.start)
    }

    /// Projects, sorts, makes distinct and limits.
    pub fn finish_select(
        &mut self,
        mut plan: LogicalPlan,
        items: Vec<Item>,
        order: Order,
        distinct: bool,
        tail: &Tail<'_>,
    ) -> SqlResult<LogicalPlan> {
        if distinct && let Some(key) = order.keys.iter().find(|k| matches!(k.source, KeySource::Input(_))) {
            return Err(self.error_at(
                state::INVALID_COLUMN_REFERENCE,
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                key.at,
            ));
        }
        let (mut exprs, mut fields): (Vec<Expr>, Vec<_>) =
            items.into_iter().map(|item| (item.expr, item.field)).unzip();
        let shown = exprs.len();

        // Keys that are plain columns of the input sort below the projection: nothing to compute twice.
        let below = !distinct && order.distinct_on.is_none() && sorts_below(&order, &exprs);
        let mut ties = None;
        if below {
            let keys: Vec<SortKey> = order
                .keys
                .into_iter()
                .map(|k| SortKey {
                    expr: match k.source {
                        KeySource::Output(i) => exprs[i].clone(),
                        KeySource::Input(e) => e,
                    },
                    descending: k.descending,
                    nulls_first: k.nulls_first,
                })
                .collect();
            if !keys.is_empty() {
                if tail.with_ties {
                    ties = Some(keys.clone());
                }
                plan = LogicalPlan::Sort { input: Box::new(plan), keys };
            }
            if ties.is_some() {
                // The ties are told apart by input columns: limit before projecting.
                plan = self.add_limit(plan, tail, ties)?;
                return Ok(project(plan, exprs, fields));
            }
            plan = project(plan, exprs, fields);
            return self.add_limit(plan, tail, None);
        }
        let mut column = |source: KeySource, exprs: &mut Vec<Expr>| match source {
            KeySource::Output(i) => (i, exprs[i].ty()),
            KeySource::Input(e) => {
                let ty = e.ty();
                fields.push(computed("?column?", ty));
                exprs.push(e);
                (exprs.len() - 1, ty)
            }
        };
        let mut keys = Vec::with_capacity(order.keys.len());
        for k in order.keys {
            let (index, ty) = match k.source {
                KeySource::Input(e) => match exprs[shown..].iter().position(|x| same_expr(x, &e)) {
                    Some(i) => (shown + i, e.ty()),
                    None => column(KeySource::Input(e), &mut exprs),
                },
                output => column(output, &mut exprs),
            };
            keys.push(SortKey {
                expr: Expr::Column { index, ty },
                descending: k.descending,
                nulls_first: k.nulls_first,
            });
        }
        let mut on = None;
        if let Some(sources) = order.distinct_on {
            let mut columns = Vec::with_capacity(sources.len());
            for source in sources {
                let (index, ty) = match source {
                    KeySource::Input(e) => match exprs[shown..].iter().position(|x| same_expr(x, &e)) {
                        Some(i) => (shown + i, e.ty()),
                        None => column(KeySource::Input(e), &mut exprs),
                    },
                    output => column(output, &mut exprs),
                };
                columns.push(Expr::Column { index, ty });
            }
            check_distinct_on(&columns, &keys)?;
            on = Some(columns);
        }
        let hidden = exprs.len() > shown;
        let schema: Vec<_> = fields.clone();
        plan = project(plan, exprs, fields);
        if distinct {
            plan = LogicalPlan::Distinct { input: Box::new(plan), on: None };
        }
        if tail.with_ties {
            ties = Some(keys.clone());
        }
        if !keys.is_empty() {
            plan = LogicalPlan::Sort { input: Box::new(plan), keys };
        }
        if on.is_some() {
            plan = LogicalPlan::Distinct { input: Box::new(plan), on };
        }
        plan = self.add_limit(plan, tail, ties)?;
        if hidden {
            let keep = (0..shown).map(|i| Expr::Column { index: i, ty: schema[i].ty }).collect();
            plan = project(plan, keep, schema[..shown].to_vec());
        }
        Ok(plan)
    }

    /// LIMIT and OFFSET above `plan`.
    pub fn add_limit(
        &mut self,
        plan: LogicalPlan,
        tail: &Tail<'_>,
        with_ties: Option<Vec<SortKey>>,
    ) -> SqlResult<LogicalPlan> {
        let limit = self.bind_count(tail.limit, Clause::Limit)?;
        let offset = self.bind_count(tail.offset, Clause::Offset)?;
        if limit.is_none() && offset.is_none() {
            return Ok(plan);
        }
        Ok(LogicalPlan::Limit { input: Box::new(plan), limit, offset, with_ties })
    }

    fn bind_count(&mut self, expr: Option<&ast::Expr>, clause: Clause) -> SqlResult<Option<Expr>> {
        let Some(expr) = expr else { return Ok(None) };
        let empty = Scope::new(None);
        let at = start_of(expr);
        let bound = self.in_level(clause, |b| b.bind_expr(expr, &empty)).map_err(|e| {
            if e.code() == state::UNDEFINED_COLUMN {
                let message = format!("argument of {} must not contain variables", clause.name());
                return self.error_at(state::INVALID_COLUMN_REFERENCE, message, at);
            }
            e
        })?;
        if let Expr::Const(Datum::Null, _) = bound {
            return Ok(None);
        }
        let from = bound.ty().oid;
        let target = SqlType::new(Oid::INT8);
        let coerced = self.try_coerce(bound, target, crate::registry::CastContext::Assignment);
        match coerced.map_err(|e| self.locate(e, at))? {
            Ok(done) => Ok(Some(done)),
            Err(_) => Err(self.error_at(
                state::DATATYPE_MISMATCH,
                format!(
                    "argument of {} must be type bigint, not type {}",
                    clause.name(),
                    crate::registry::type_name(from)
                ),
                at,
            )),
        }
    }
}

fn sorts_below(order: &Order, exprs: &[Expr]) -> bool {
    order.keys.iter().all(|k| {
        let e = match &k.source {
            KeySource::Output(i) => &exprs[*i],
            KeySource::Input(e) => e,
        };
        matches!(e, Expr::Column { .. })
    })
}

/// DISTINCT ON's expressions must be the first ones of ORDER BY.
fn check_distinct_on(on: &[Expr], keys: &[SortKey]) -> SqlResult<()> {
    let leading = keys.iter().take(on.len());
    if leading.clone().all(|k| on.iter().any(|o| same_expr(o, &k.expr))) {
        return Ok(());
    }
    Err(SqlError::new(
        state::INVALID_COLUMN_REFERENCE,
        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
    ))
}

/// A projection, unless it would change nothing.
pub fn project(plan: LogicalPlan, exprs: Vec<Expr>, fields: Vec<crate::plan::Field>) -> LogicalPlan {
    let schema: Schema = Arc::new(fields);
    LogicalPlan::Project { input: Box::new(plan), exprs, schema }
}
