//! One SELECT: FROM, WHERE, GROUP BY, HAVING, windows, the select list, DISTINCT, ORDER BY.
//!
//! The select list, HAVING and ORDER BY are first bound over the row of FROM. Aggregates, window functions and
//! set-returning functions that occur in them are put aside in the [`Level`], and a column beyond [`PLACEHOLDER`]
//! stands in for each; when all are known, the placeholders and the columns are moved to the positions that they have
//! in the row that the operators below yield (`group`, `window`).

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::tokenizer::Location;

use super::locks::LockRequest;
use super::scope::{Scope, computed};
use super::sort::Tail;
use super::{Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{AggregateCall, Field, JoinKind, LogicalPlan, Schema, WindowCall};
use crate::registry::Function;
use crate::types::{Oid, SqlType};

/// Column positions from here on stand for calls that were put aside.
pub const PLACEHOLDER: usize = 1 << 40;
/// Calls of GROUPING.
pub const GROUPING_PLACEHOLDER: usize = PLACEHOLDER + (1 << 39);
pub const WINDOW_PLACEHOLDER: usize = 1 << 41;
pub const SET_PLACEHOLDER: usize = 1 << 42;

/// Where in its statement an expression stands; decides what may occur in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clause {
    Select,
    OrderBy,
    DistinctOn,
    Having,
    Where,
    JoinOn,
    From,
    GroupBy,
    Limit,
    Offset,
    Values,
    Insert,
    Update,
    Returning,
    Filter,
    AggregateArgument,
    WindowDefinition,
    Default,
    Check,
    IndexPredicate,
    ExecuteParameter,
    AsOf,
}

impl Clause {
    pub fn allows_aggregates(self) -> bool {
        matches!(
            self,
            Clause::Select | Clause::OrderBy | Clause::DistinctOn | Clause::Having | Clause::WindowDefinition
        )
    }

    pub fn allows_windows(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::DistinctOn)
    }

    pub fn allows_sets(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::DistinctOn)
    }

    /// As "… are not allowed in …" says it.
    pub fn name(self) -> &'static str {
        match self {
            Clause::Select => "SELECT",
            Clause::OrderBy => "ORDER BY",
            Clause::DistinctOn => "DISTINCT ON",
            Clause::Having => "HAVING",
            Clause::Where => "WHERE",
            Clause::JoinOn => "JOIN conditions",
            Clause::From => "functions in FROM",
            Clause::GroupBy => "GROUP BY",
            Clause::Limit => "LIMIT",
            Clause::Offset => "OFFSET",
            Clause::Values => "VALUES",
            Clause::Insert => "VALUES",
            Clause::Update => "UPDATE",
            Clause::Returning => "RETURNING",
            Clause::Filter => "FILTER",
            Clause::AggregateArgument => "aggregate function calls",
            Clause::WindowDefinition => "window definitions",
            Clause::Default => "DEFAULT expressions",
            Clause::Check => "check constraints",
            Clause::IndexPredicate => "index predicates",
            Clause::ExecuteParameter => "EXECUTE parameters",
            Clause::AsOf => "AS OF SYSTEM TIME",
        }
    }
}

/// What is put aside while one SELECT is bound.
pub struct Level {
    pub clause: Clause,
    pub aggregates: Vec<AggregateCall>,
    pub windows: Vec<WindowCall>,
    pub sets: Vec<SetCall>,
    /// The arguments of GROUPING calls.
    pub groupings: Vec<Vec<Expr>>,
    /// WINDOW w AS (…).
    pub named_windows: Vec<super::window::NamedWindow>,
    /// Columns of this level's row as they were named, for errors about grouping.
    pub references: Vec<(usize, Location)>,
    /// There is a GROUP BY or HAVING.
    pub grouped: bool,
}

pub struct SetCall {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub ty: SqlType,
}

impl Level {
    pub fn new(clause: Clause) -> Self {
        Level {
            clause,
            aggregates: Vec::new(),
            windows: Vec::new(),
            sets: Vec::new(),
            groupings: Vec::new(),
            named_windows: Vec::new(),
            references: Vec::new(),
            grouped: false,
        }
    }
}

/// An item of the select list.
pub struct Item {
    pub expr: Expr,
    pub field: Field,
    pub at: Location,
}

impl Binder<'_> {
    pub fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::new(Clause::Select));
        }
        self.levels.last_mut().expect("a level was just pushed")
    }

    pub fn clause(&self) -> Clause {
        self.levels.last().map_or(Clause::Select, |l| l.clause)
    }

    /// Runs `f` with expressions standing in `clause`.
    pub fn in_clause<R>(
        &mut self,
        clause: Clause,
        f: impl FnOnce(&mut Self) -> SqlResult<R>,
    ) -> SqlResult<R> {
        let before = std::mem::replace(&mut self.level().clause, clause);
        let result = f(self);
        self.level().clause = before;
        result
    }

    /// Runs `f` in a level of its own and gives back what was put aside.
    pub fn in_level<R>(&mut self, clause: Clause, f: impl FnOnce(&mut Self) -> SqlResult<R>) -> SqlResult<R> {
        self.levels.push(Level::new(clause));
        let result = f(self);
        self.levels.pop();
        result
    }

    pub fn bind_select(
        &mut self,
        select: &ast::Select,
        tail: &Tail<'_>,
        parent: Option<&Scope<'_>>,
        resolve_unknown: bool,
    ) -> SqlResult<LogicalPlan> {
        refuse_foreign_syntax(select)?;
        self.in_level(Clause::Select, |b| b.bind_select_in_level(select, tail, parent, resolve_unknown))
    }

    fn bind_select_in_level(
        &mut self,
        select: &ast::Select,
        tail: &Tail<'_>,
        parent: Option<&Scope<'_>>,
        resolve_unknown: bool,
    ) -> SqlResult<LogicalPlan> {
        let locks = self.lock_requests(tail, Some(select))?;
        let mut from = self.bind_from(&select.from, parent, &locks)?;
        LockRequest::check_all_used(&locks, self)?;
        let scope = from.take_scope(parent);
        let mut plan = from.plan;
        if let Some(condition) = &select.selection {
            let predicate = self.bind_condition(condition, &scope, Clause::Where, "WHERE")?;
            plan = LogicalPlan::Filter { input: Box::new(plan), predicate };
        }
        self.bind_named_windows(&select.named_window, &scope)?;
        let mut items = self.bind_select_list(&select.projection, &scope)?;
        let groups = self.bind_group_by(&select.group_by, &scope, &items)?;
        let mut having = match &select.having {
            Some(condition) => Some(self.bind_condition(condition, &scope, Clause::Having, "HAVING")?),
            None => None,
        };
        let distinct_on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => Some(exprs.as_slice()),
            _ => None,
        };
        let mut order = self.bind_order(tail, distinct_on, &scope, &items)?;

        if resolve_unknown {
            for item in &mut items {
                if item.field.ty.oid == Oid::UNKNOWN {
                    let expr = std::mem::replace(&mut item.expr, Expr::And(Vec::new()));
                    item.expr = self.unknown_to_text(expr)?;
                    item.field.ty = item.expr.ty();
                }
            }
        }
        self.refuse_locks_on_computed_rows(&locks)?;
        let mut width = scope.width();
        let grouped = self.level().grouped || having.is_some() || !self.level().aggregates.is_empty();
        if grouped {
            plan = self.group(plan, groups, &scope, &mut items, having.as_mut(), &mut order)?;
            width = plan.schema().len();
            if let Some(predicate) = having {
                plan = LogicalPlan::Filter { input: Box::new(plan), predicate };
            }
        }
        plan = self.add_windows(plan, width, &mut items, &mut order)?;
        plan = self.add_sets(plan, &mut items, &mut order);
        let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        self.finish_select(plan, items, order, distinct, tail)
    }

    /// A boolean expression of a clause.
    pub fn bind_condition(
        &mut self,
        condition: &ast::Expr,
        scope: &Scope<'_>,
        clause: Clause,
        name: &str,
    ) -> SqlResult<Expr> {
        self.in_clause(clause, |b| {
            let predicate = b.bind_expr(condition, scope)?;
            b.coerce_to_bool(predicate, name).map_err(|e| b.locate(e, start_of(condition)))
        })
    }

    /// The select list, `*` expanded.
    pub fn bind_select_list(&mut self, list: &[ast::SelectItem], scope: &Scope<'_>) -> SqlResult<Vec<Item>> {
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            match item {
                ast::SelectItem::UnnamedExpr(expr) => {
                    if self.expand_field_star(expr, scope, &mut items)? {
                        continue;
                    }
                    items.push(self.bind_item(expr, None, scope)?);
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(self.bind_item(expr, Some(alias), scope)?);
                }
                ast::SelectItem::Wildcard(options) => {
                    let at = options.wildcard_token.0.span.start;
                    let columns = scope.star();
                    if columns.is_empty() && scope.relations.is_empty() {
                        return Err(self.error_at(
                            state::SYNTAX_ERROR,
                            "SELECT * with no tables specified is not valid",
                            at,
                        ));
                    }
                    for (expr, field) in columns {
                        self.note_reference(&expr, at);
                        items.push(Item { expr, field, at });
                    }
                }
                ast::SelectItem::QualifiedWildcard(kind, _) => self.expand_star(kind, scope, &mut items)?,
                ast::SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::unsupported("several aliases for one expression"));
                }
            }
        }
        Ok(items)
    }

    fn bind_item(
        &mut self,
        expr: &ast::Expr,
        alias: Option<&ast::Ident>,
        scope: &Scope<'_>,
    ) -> SqlResult<Item> {
        let at = start_of(expr);
        let bound = self.bind_expr(expr, scope)?;
        let origin = match (&bound, scope.relations.first()) {
            (Expr::Column { index, .. }, Some(_)) => origin_of(scope, *index),
            _ => None,
        };
        let name = match alias {
            // sqlparser takes a string for an alias; PostgreSQL does not.
            Some(alias) if alias.quote_style == Some('\'') => {
                return Err(SqlError::new(
                    state::SYNTAX_ERROR,
                    format!("syntax error at or near \"'{}'\"", alias.value),
                ));
            }
            Some(alias) => super::fold(alias).into_owned(),
            None => super::names_out::name_of(expr),
        };
        let field = Field { name, ty: bound.ty(), origin };
        Ok(Item { expr: bound, field, at })
    }

    /// `t.*`
    fn expand_star(
        &mut self,
        kind: &ast::SelectItemQualifiedWildcardKind,
        scope: &Scope<'_>,
        items: &mut Vec<Item>,
    ) -> SqlResult<()> {
        let ast::SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
            return Err(SqlError::unsupported("row expansion of an expression"));
        };
        let parts = super::name::object_name_parts(name)?;
        let at = parts.first().map_or(Location::empty(), |p| p.span.start);
        let (schema, relation) = match parts.as_slice() {
            [relation] => (None, *relation),
            [schema, relation] => (Some(super::fold(schema)), *relation),
            _ => return Err(SqlError::unsupported("a qualified * with so many names")),
        };
        let folded = super::fold(relation);
        let Some((depth, found)) = scope.find_relation(schema.as_deref(), &folded) else {
            return Err(self.missing_from_entry(scope, &folded, at));
        };
        for (expr, field) in found.shown() {
            let expr = super::scope::outward(expr, depth);
            self.note_reference(&expr, at);
            items.push(Item { expr, field: field.clone(), at });
        }
        Ok(())
    }

    /// `t.*` where the grammar gives it as an expression.
    fn expand_field_star(
        &mut self,
        expr: &ast::Expr,
        scope: &Scope<'_>,
        items: &mut Vec<Item>,
    ) -> SqlResult<bool> {
        let ast::Expr::QualifiedWildcard(name, _) = expr else { return Ok(false) };
        let kind = ast::SelectItemQualifiedWildcardKind::ObjectName(name.clone());
        self.expand_star(&kind, scope, items)?;
        Ok(true)
    }

    /// Set-returning functions of the select list: a lateral scan of all of them beside the row.
    fn add_sets(
        &mut self,
        plan: LogicalPlan,
        items: &mut [Item],
        order: &mut super::sort::Order,
    ) -> LogicalPlan {
        let sets = std::mem::take(&mut self.level().sets);
        if sets.is_empty() {
            return plan;
        }
        let left = plan.schema();
        let width = left.len();
        let mut fields: Vec<Field> = left.to_vec();
        let mut own = Vec::new();
        let mut calls = Vec::new();
        for call in sets {
            own.push(computed(call.function.name, call.ty));
            // The arguments look at the row to the left.
            let args = call.args.into_iter().map(super::scope::one_level_in).collect();
            calls.push((call.function, args));
        }
        fields.extend(own.iter().cloned());
        let place = |index: usize| match index {
            i if i >= SET_PLACEHOLDER => width + (i - SET_PLACEHOLDER),
            i => i,
        };
        for item in items.iter_mut() {
            item.expr.map_columns(&mut { place });
        }
        order.for_each_expr(|e| e.map_columns(&mut { place }));
        LogicalPlan::Join {
            kind: JoinKind::Cross,
            left: Box::new(plan),
            right: Box::new(LogicalPlan::FunctionScan { calls, ordinality: false, schema: Arc::new(own) }),
            on: None,
            lateral: true,
            schema: Arc::new(fields),
        }
    }

    /// Remembers where a column of this level's row was named.
    pub fn note_reference(&mut self, expr: &Expr, at: Location) {
        if let Expr::Column { index, .. } = expr {
            let index = *index;
            self.level().references.push((index, at));
        }
    }
}

/// Table and attribute number of a column of the scope's row.
pub fn origin_of(scope: &Scope<'_>, index: usize) -> Option<(u32, i16)> {
    scope
        .relations
        .iter()
        .find(|r| (r.first..r.first + r.fields.len()).contains(&index))
        .and_then(|r| r.fields[index - r.first].origin)
}

/// The plan of a SELECT without FROM.
pub fn single_row() -> LogicalPlan {
    LogicalPlan::Values { rows: vec![Vec::new()], schema: Schema::default() }
}

fn refuse_foreign_syntax(select: &ast::Select) -> SqlResult<()> {
    let foreign = [
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "SELECT AS VALUE"),
        (select.exclude.is_some(), "EXCLUDE"),
    ];
    match foreign.iter().find(|(there, _)| *there) {
        Some((_, name)) => Err(SqlError::unsupported(name)),
        None => Ok(()),
    }
}
