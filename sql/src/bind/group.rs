//! GROUP BY: which expressions group, and what select list, HAVING and ORDER BY become above the aggregation.

use sqlparser::ast;

use super::grouping_sets::{self, Groups};
use super::scope::{Scope, computed, public_columns};
use super::select::{Clause, GROUPING_PLACEHOLDER, Item, PLACEHOLDER, WINDOW_PLACEHOLDER};
use super::sort::Order;
use super::{Binder, fold, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::walk::visit_expr;
use crate::plan::{Field, LogicalPlan};

impl Binder<'_> {
    /// The expressions of GROUP BY: numbers and names of output columns, or expressions over FROM's row.
    pub fn bind_group_by(
        &mut self,
        group_by: &ast::GroupByExpr,
        scope: &Scope<'_>,
        items: &[Item],
    ) -> SqlResult<Groups> {
        let exprs = match group_by {
            ast::GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
            ast::GroupByExpr::Expressions(..) => return Err(SqlError::unsupported("GROUP BY … WITH")),
            ast::GroupByExpr::All(_) => return Err(SqlError::unsupported("GROUP BY ALL")),
        };
        let mut groups = Groups { exprs: Vec::with_capacity(exprs.len()), sets: None };
        if exprs.is_empty() {
            return Ok(groups);
        }
        self.level().grouped = true;
        let mut sets = Vec::with_capacity(exprs.len());
        for e in exprs {
            sets.push(self.bind_group_item(e, scope, items, &mut groups.exprs)?);
        }
        if sets.iter().any(|s| s.len() != 1) {
            groups.sets = Some(grouping_sets::combine(sets)?);
        }
        Ok(groups)
    }

    pub fn bind_group(&mut self, e: &ast::Expr, scope: &Scope<'_>, items: &[Item]) -> SqlResult<Expr> {
        match e {
            ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) => {
                return Err(SqlError::unsupported("grouping sets within grouping sets"));
            }
            ast::Expr::Value(v) => {
                if let Some(i) = self.ordinal(v, items.len(), Clause::GroupBy)? {
                    return self.group_output(&items[i]);
                }
            }
            // A column of FROM comes before an output column of the same name.
            ast::Expr::Identifier(ident) => {
                let name = fold(ident);
                if matches!(scope.find_column(&name), super::scope::Found::No)
                    && let Some(item) = items.iter().find(|item| item.field.name == name)
                {
                    return self.group_output(item);
                }
            }
            _ => {}
        }
        self.in_clause(Clause::GroupBy, |b| {
            let bound = b.bind_expr(e, scope)?;
            b.unknown_to_text(bound).map_err(|err| b.locate(err, start_of(e)))
        })
    }

    fn group_output(&mut self, item: &Item) -> SqlResult<Expr> {
        let mut aggregated = false;
        visit_expr(&mut item.expr.clone(), 0, &mut |e, level| {
            aggregated |= level == 0
                && matches!(e, Expr::Column { index, .. } if (PLACEHOLDER..WINDOW_PLACEHOLDER).contains(index));
        });
        if aggregated {
            return Err(self.error_at(
                state::GROUPING_ERROR,
                "aggregate functions are not allowed in GROUP BY",
                item.at,
            ));
        }
        self.unknown_to_text(item.expr.clone())
    }

    /// The aggregation, and everything above it moved to its output row.
    pub fn group(
        &mut self,
        mut input: LogicalPlan,
        mut groups: Groups,
        scope: &Scope<'_>,
        items: &mut [Item],
        having: Option<&mut Expr>,
        order: &mut Order,
    ) -> SqlResult<LogicalPlan> {
        if groups.sets.is_none() {
            let mut used = Vec::new();
            items.iter().for_each(|item| item.expr.columns_used(&mut |i| used.push(i)));
            having.iter().for_each(|e| e.columns_used(&mut |i| used.push(i)));
            order.for_each_expr(|e| e.columns_used(&mut |i| used.push(i)));
            self.add_dependent_groups(&mut groups.exprs, &used, scope);
        }
        let groupings = std::mem::take(&mut self.level().groupings);
        self.check_groupings(&groupings, &groups.exprs)?;
        let aggregates = std::mem::take(&mut self.level().aggregates);
        let exprs = &groups.exprs;
        let mut fields: Vec<Field> = exprs
            .iter()
            .map(|g| match g {
                Expr::Column { index, ty } => Field {
                    name: scope.describe(*index).rsplit('.').next().unwrap_or_default().to_string(),
                    ty: *ty,
                    origin: super::select::origin_of(scope, *index),
                },
                other => computed("group", other.ty()),
            })
            .collect();
        fields.extend(aggregates.iter().map(|a| computed(a.function.name, a.ty)));

        let layout = Layout { groups: exprs, aggregates: aggregates.len() };
        let mut failed = None;
        {
            let mut place = |e: &mut Expr| regroup(e, &layout, 0, &mut failed);
            items.iter_mut().for_each(|item| place(&mut item.expr));
            having.into_iter().for_each(&mut place);
            order.for_each_expr(&mut place);
            let mut windows = std::mem::take(&mut self.level().windows);
            for w in &mut windows {
                w.args.iter_mut().for_each(&mut place);
                w.partition_by.iter_mut().for_each(&mut place);
                w.order_by.iter_mut().for_each(|k| place(&mut k.expr));
                w.filter.iter_mut().for_each(&mut place);
            }
            self.level().windows = windows;
            let mut sets = std::mem::take(&mut self.level().sets);
            sets.iter_mut().flat_map(|s| &mut s.args).for_each(&mut place);
            self.level().sets = sets;
        }
        if let Some(ungrouped) = failed {
            return Err(self.ungrouped(ungrouped, scope));
        }
        if let Some(sets) = &groups.sets {
            self.count_copies(input.size().saturating_mul(sets.len()))?;
        }
        Ok(grouping_sets::aggregate(input, groups, aggregates, &groupings, fields))
    }

    fn ungrouped(&mut self, failed: Ungrouped, scope: &Scope<'_>) -> SqlError {
        let name = scope.describe(failed.index);
        let message = if failed.in_subquery {
            format!("subquery uses ungrouped column \"{name}\" from outer query")
        } else {
            format!(
                "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
            )
        };
        let at = self.level().references.iter().find(|(i, _)| *i == failed.index).map(|(_, at)| *at);
        match at {
            Some(at) => self.error_at(state::GROUPING_ERROR, message, at),
            None => SqlError::new(state::GROUPING_ERROR, message),
        }
    }

    /// If a table's whole primary key groups, its other columns have one value per group, too.
    fn add_dependent_groups(&mut self, groups: &mut Vec<Expr>, used: &[usize], scope: &Scope<'_>) {
        for relation in &scope.relations {
            let Some(table) = &relation.table else { continue };
            if !table.primary.is_primary_key {
                continue;
            }
            let position = |id| public_columns(table).position(|c| c.id == id).map(|i| relation.first + i);
            let grouped = |index: usize| {
                groups.iter().any(|g| matches!(g, Expr::Column { index: i, .. } if *i == index))
            };
            if !table.primary.key.iter().all(|k| position(k.column).is_some_and(grouped)) {
                continue;
            }
            for (i, field) in relation.fields.iter().enumerate() {
                let index = relation.first + i;
                let there = groups.iter().any(|g| matches!(g, Expr::Column { index: j, .. } if *j == index));
                if !there && used.contains(&index) {
                    groups.push(Expr::Column { index, ty: field.ty });
                }
            }
        }
    }
}

struct Ungrouped {
    index: usize,
    in_subquery: bool,
}

/// The output row of an aggregation: groups, aggregates, GROUPING calls.
struct Layout<'g> {
    groups: &'g [Expr],
    aggregates: usize,
}

impl Layout<'_> {
    fn place(&self, placeholder: usize) -> usize {
        match placeholder {
            i if i >= GROUPING_PLACEHOLDER => {
                self.groups.len() + self.aggregates + (i - GROUPING_PLACEHOLDER)
            }
            i => self.groups.len() + (i - PLACEHOLDER),
        }
    }
}

/// Moves an expression from the input row of an aggregation to its output row. `level`: how many subqueries deep.
fn regroup(e: &mut Expr, layout: &Layout<'_>, level: usize, failed: &mut Option<Ungrouped>) {
    if level == 0
        && let Some(i) = layout.groups.iter().position(|g| same_expr(g, e))
    {
        *e = Expr::Column { index: i, ty: e.ty() };
        return;
    }
    match e {
        Expr::Column { index, .. } if level == 0 => {
            if (PLACEHOLDER..WINDOW_PLACEHOLDER).contains(index) {
                *index = layout.place(*index);
            } else if *index < PLACEHOLDER {
                failed.get_or_insert(Ungrouped { index: *index, in_subquery: false });
            }
        }
        Expr::Outer { depth, index, .. } if level > 0 && *depth == level => {
            let at = *index;
            match layout.groups.iter().position(|g| matches!(g, Expr::Column { index, .. } if *index == at)) {
                Some(i) => *index = i,
                None => {
                    failed.get_or_insert(Ungrouped { index: at, in_subquery: true });
                }
            }
        }
        Expr::Subquery(s) => {
            if let crate::expr::SubqueryKind::Compare { left, .. } = &mut s.kind {
                left.iter_mut().for_each(|l| regroup(l, layout, level, failed));
            }
            s.plan.visit_exprs_mut(level + 1, &mut |inner, at| {
                if matches!(inner, Expr::Outer { .. }) {
                    regroup(inner, layout, at, failed);
                }
            });
        }
        other => other.for_each_child_mut(&mut |child| regroup(child, layout, level, failed)),
    }
}

/// Whether two bound expressions are written alike; subqueries never are.
pub fn same_expr(a: &Expr, b: &Expr) -> bool {
    let all = |x: &[Expr], y: &[Expr]| x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_expr(x, y));
    match (a, b) {
        (Expr::Const(x, t), Expr::Const(y, u)) => t == u && x == y,
        (Expr::Column { index: x, .. }, Expr::Column { index: y, .. }) => x == y,
        (Expr::Outer { depth: d, index: x, .. }, Expr::Outer { depth: e, index: y, .. }) => d == e && x == y,
        (Expr::Param { index: x, ty: t }, Expr::Param { index: y, ty: u }) => x == y && t == u,
        (Expr::Call { function: f, args: x, ty: t }, Expr::Call { function: g, args: y, ty: u }) => {
            f == g && t == u && all(x, y)
        }
        (Expr::Cast { arg: x, to: t, explicit: e, .. }, Expr::Cast { arg: y, to: u, explicit: g, .. }) => {
            t == u && e == g && same_expr(x, y)
        }
        (Expr::And(x), Expr::And(y)) | (Expr::Or(x), Expr::Or(y)) => all(x, y),
        (Expr::Not(x), Expr::Not(y)) => same_expr(x, y),
        (Expr::IsNull { arg: x, negated: n }, Expr::IsNull { arg: y, negated: m }) => {
            n == m && same_expr(x, y)
        }
        (Expr::IsTruth { arg: x, value: v, negated: n }, Expr::IsTruth { arg: y, value: w, negated: m }) => {
            n == m && v == w && same_expr(x, y)
        }
        (
            Expr::IsDistinct { left: a, right: b, negated: n, .. },
            Expr::IsDistinct { left: c, right: d, negated: m, .. },
        ) => n == m && same_expr(a, c) && same_expr(b, d),
        (Expr::Case { arms: x, otherwise: o, ty: t }, Expr::Case { arms: y, otherwise: p, ty: u }) => {
            t == u
                && x.len() == y.len()
                && x.iter().zip(y).all(|(x, y)| same_expr(&x.0, &y.0) && same_expr(&x.1, &y.1))
                && same_expr(o, p)
        }
        (Expr::Coalesce { args: x, ty: t }, Expr::Coalesce { args: y, ty: u }) => t == u && all(x, y),
        (
            Expr::MinMax { args: x, greatest: g, ty: t, .. },
            Expr::MinMax { args: y, greatest: h, ty: u, .. },
        ) => g == h && t == u && all(x, y),
        (
            Expr::ArrayCompare { left: a, op: f, array: b, all: x },
            Expr::ArrayCompare { left: c, op: g, array: d, all: y },
        ) => f == g && x == y && same_expr(a, c) && same_expr(b, d),
        (Expr::Array { elements: x, ty: t }, Expr::Array { elements: y, ty: u })
        | (Expr::Row { fields: x, ty: t }, Expr::Row { fields: y, ty: u }) => t == u && all(x, y),
        (Expr::Subscript { array: a, index: i, .. }, Expr::Subscript { array: b, index: j, .. }) => {
            same_expr(a, b) && same_expr(i, j)
        }
        (Expr::Field { record: a, index: i, .. }, Expr::Field { record: b, index: j, .. }) => {
            i == j && same_expr(a, b)
        }
        _ => false,
    }
}
