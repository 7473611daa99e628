//! From the rewritten algebra to operators: one recursive walk, bottom-up results, top-down wishes.
//!
//! A parent says what it would like ([`Want`]: an order, only so many rows); a child that can give the order for
//! less than sorting costs says so ([`Ordering`]). Expressions are converted on the way: subqueries and references to enclosing rows
//! become slots (see [`super::subquery`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TableExprs;
use super::conjuncts;
use super::cost;
use super::statistics::{self, FUNCTION_ROWS, blind_selectivity};
use super::subquery::Scope;
use crate::catalog::Catalog;
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::physical::*;
use crate::plan::{LogicalPlan, Schema, SortKey};
use crate::types::Datum;

/// One key of a wanted order, over the columns of the node's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderColumn {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// What a parent would like of a child.
#[derive(Clone, Default)]
pub struct Want {
    pub order: Vec<OrderColumn>,
    /// About how many rows will be read.
    pub rows: Option<f64>,
    /// No more rows than this are read (plus the offset), for sure.
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    /// Without the order nothing has to be sorted.
    pub optional: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordering {
    /// The rows come in the order that was wanted (if one was).
    AsWanted,
    Unknown,
}

pub struct Builder<'a> {
    pub catalog: &'a Catalog,
    pub exprs: &'a dyn TableExprs,
    params: usize,
    pub(super) slots: usize,
    nodes: usize,
    /// Enclosing rows, innermost last.
    pub(super) scopes: Vec<Scope>,
    /// Subplans that are to be computed above what is being built.
    pub(super) pending: Vec<InitPlan>,
    /// Names and estimates of the CTEs in sight.
    pub(super) ctes: BTreeMap<usize, (String, Estimate)>,
}

impl<'a> Builder<'a> {
    pub fn new(catalog: &'a Catalog, params: usize, exprs: &'a dyn TableExprs) -> Self {
        Builder {
            catalog,
            exprs,
            params,
            slots: params,
            nodes: 0,
            scopes: Vec::new(),
            pending: Vec::new(),
            ctes: BTreeMap::new(),
        }
    }

    pub fn finish(mut self, plan: LogicalPlan) -> SqlResult<PhysicalPlan> {
        let plan = super::join_order::reorder(&self, plan);
        let root = self.block(plan)?;
        let point = crate::exec::point::is_point(&root);
        Ok(PhysicalPlan {
            root,
            params: self.params,
            slots: self.slots,
            nodes: self.nodes,
            catalog_version: self.catalog.version,
            point,
        })
    }

    pub fn node(&mut self, kind: NodeKind, schema: Schema, estimate: Estimate) -> Node {
        self.nodes += 1;
        Node { id: self.nodes - 1, kind, schema, estimate }
    }

    /// A plan whose once-computed subplans stand at its top.
    pub fn block(&mut self, plan: LogicalPlan) -> SqlResult<Node> {
        let mark = self.pending.len();
        let node = self.build(plan)?;
        Ok(self.with_init_plans(node, mark))
    }

    pub(super) fn with_init_plans(&mut self, input: Node, mark: usize) -> Node {
        let plans = self.pending.split_off(mark);
        if plans.is_empty() {
            return input;
        }
        let (schema, estimate) = (input.schema.clone(), input.estimate);
        self.node(NodeKind::InitPlans(Arc::new(InitPlansNode { input, plans })), schema, estimate)
    }

    pub fn build(&mut self, plan: LogicalPlan) -> SqlResult<Node> {
        Ok(self.build_for(plan, &Want::default())?.0)
    }

    pub fn build_for(&mut self, plan: LogicalPlan, want: &Want) -> SqlResult<(Node, Ordering)> {
        let unordered = |node: Node| Ok((node, Ordering::Unknown));
        match plan {
            LogicalPlan::Scan(scan) => self.access(&scan, Vec::new(), want),
            LogicalPlan::Filter { input, predicate } => self.filter(*input, predicate, want),
            LogicalPlan::Project { input, exprs, schema } => self.project(*input, exprs, schema, want),
            LogicalPlan::Sort { input, keys } => self.sort(*input, keys, want),
            LogicalPlan::Limit { input, limit, offset, with_ties } => {
                self.limit(*input, limit, offset, with_ties, want)
            }
            LogicalPlan::Values { rows, schema } => unordered(self.values(rows, schema)?),
            LogicalPlan::VirtualScan { name, schema } => {
                let estimate = leaf(100.0, &schema);
                let kind = NodeKind::VirtualScan(Arc::new(VirtualScanNode { name }));
                unordered(self.node(kind, schema, estimate))
            }
            LogicalPlan::FunctionScan { calls, ordinality, schema } => {
                unordered(self.function_scan(calls, ordinality, schema)?)
            }
            join @ LogicalPlan::Join { .. } => self.join(join, Vec::new(), want),
            LogicalPlan::Aggregate { input, groups, aggregates, schema } => {
                self.aggregate(*input, groups, aggregates, schema, want)
            }
            LogicalPlan::Window { input, calls, schema } => unordered(self.window(*input, calls, schema)?),
            LogicalPlan::Distinct { input, on } => self.distinct(*input, on, want),
            LogicalPlan::SetOp { op, all, left, right, schema } => {
                unordered(self.set_op(op, all, *left, *right, schema)?)
            }
            LogicalPlan::With { id, name, definition, body } => {
                unordered(self.with(id, name, *definition, *body)?)
            }
            LogicalPlan::CteScan { id, schema } => {
                let (name, estimate) = self.ctes.get(&id).cloned().unwrap_or_default();
                let kind = NodeKind::CteScan(Arc::new(CteScanNode { cte: id, name }));
                let total = estimate.rows * cost::ROW;
                unordered(self.node(kind, schema, Estimate { startup: 0.0, total, ..estimate }))
            }
            LogicalPlan::RecursiveUnion { id, base, step, all, schema } => {
                unordered(self.recursive(id, *base, *step, all, schema)?)
            }
            LogicalPlan::Insert(insert) => unordered(self.insert(*insert)?),
            LogicalPlan::Update(update) => unordered(self.update(*update)?),
            LogicalPlan::Delete(delete) => unordered(self.delete(*delete)?),
        }
    }

    fn filter(&mut self, input: LogicalPlan, predicate: Expr, want: &Want) -> SqlResult<(Node, Ordering)> {
        let mut all = Vec::new();
        conjuncts::split(predicate, &mut all);
        match input {
            LogicalPlan::Scan(scan) => {
                // What depends on the row through a subquery stays above the scan.
                let mut below = Vec::new();
                let mut above = Vec::new();
                for conjunct in all {
                    match self.without_row_subqueries(conjunct)? {
                        Ok(plain) => below.push(plain),
                        Err(other) => above.push(other),
                    }
                }
                let pass = if above.is_empty() { want.clone() } else { Want { limit: None, ..want.clone() } };
                let (node, ordering) = self.access(&scan, below, &pass)?;
                Ok((self.filter_over(node, above)?, ordering))
            }
            join @ LogicalPlan::Join { .. } => self.join(join, all, want),
            input => {
                let pass = Want { limit: None, ..want.clone() };
                let (node, ordering) = self.build_for(input, &pass)?;
                Ok((self.filter_over(node, all)?, ordering))
            }
        }
    }

    /// Filters a node's rows, subqueries in the conditions included.
    pub(super) fn filter_over(&mut self, input: Node, mut conjuncts: Vec<Expr>) -> SqlResult<Node> {
        if conjuncts.is_empty() {
            return Ok(input);
        }
        let schema = input.schema.clone();
        let input = self.prepare(input, &mut conjuncts.iter_mut().collect::<Vec<_>>())?;
        let selectivity: f64 = conjuncts.iter().map(blind_selectivity).product();
        let e = input.estimate;
        let estimate = Estimate {
            rows: (e.rows * selectivity).max(1.0),
            total: e.total + e.rows * cost::CALL * conjuncts.len() as f64,
            ..e
        };
        let wider = input.schema.len() > schema.len();
        let predicate = conjuncts::join(conjuncts).unwrap_or_else(|| conjuncts::boolean(true));
        let full = input.schema.clone();
        let node = self.node(NodeKind::Filter(Arc::new(FilterNode { input, predicate })), full, estimate);
        Ok(if wider { self.first_columns(node, schema) } else { node })
    }

    /// Keeps the first columns of a node's rows.
    pub(super) fn first_columns(&mut self, input: Node, schema: Schema) -> Node {
        let columns = schema.iter().enumerate().map(|(index, f)| Expr::Column { index, ty: f.ty });
        let exprs = columns.collect();
        let estimate = input.estimate;
        self.node(NodeKind::Project(Arc::new(ProjectNode { input, exprs })), schema, estimate)
    }

    fn project(
        &mut self,
        input: LogicalPlan,
        mut exprs: Vec<Expr>,
        schema: Schema,
        want: &Want,
    ) -> SqlResult<(Node, Ordering)> {
        let sets = exprs.iter().any(conjuncts::returns_set);
        let order: Option<Vec<OrderColumn>> = want
            .order
            .iter()
            .map(|o| Some(OrderColumn { column: conjuncts::as_column(&exprs[o.column])?, ..*o }))
            .collect();
        let below = Want {
            order: order.clone().unwrap_or_default(),
            limit: want.limit.clone().filter(|_| !sets && (order.is_some())),
            offset: want.offset.clone(),
            rows: want.rows.filter(|_| order.is_some()),
            optional: want.optional,
        };
        let (input, ordering) = self.build_for(input, &below)?;
        let ordering = if order.is_some() && !sets { ordering } else { Ordering::Unknown };
        let node = self.project_over(input, &mut exprs, schema)?;
        Ok((node, ordering))
    }

    pub(super) fn project_over(
        &mut self,
        input: Node,
        exprs: &mut Vec<Expr>,
        schema: Schema,
    ) -> SqlResult<Node> {
        let mut input = self.prepare(input, &mut exprs.iter_mut().collect::<Vec<_>>())?;
        if exprs.iter().any(conjuncts::returns_set) {
            input = self.project_set(input, exprs);
        }
        let e = input.estimate;
        let estimate = Estimate {
            total: e.total
                + e.rows
                    * cost::CALL
                    * exprs.iter().filter(|x| conjuncts::as_column(x).is_none()).count() as f64,
            width: schema.iter().map(|f| statistics::type_width(f.ty)).sum(),
            ..e
        };
        let identity = exprs.len() == input.schema.len()
            && exprs.iter().enumerate().all(|(i, e)| matches!(e, Expr::Column { index, .. } if *index == i));
        if identity {
            return Ok(Node { schema, ..input });
        }
        let exprs = std::mem::take(exprs);
        Ok(self.node(NodeKind::Project(Arc::new(ProjectNode { input, exprs })), schema, estimate))
    }

    /// Computes the set-returning functions in `exprs`: the input's columns, then a column for each.
    fn project_set(&mut self, input: Node, exprs: &mut [Expr]) -> Node {
        let mut all: Vec<Expr> =
            input.schema.iter().enumerate().map(|(index, f)| Expr::Column { index, ty: f.ty }).collect();
        let mut fields = input.schema.to_vec();
        for e in exprs {
            e.rewrite(&mut |e| {
                if let Expr::Call { function, ty, .. } = e
                    && function.is_set_returning()
                {
                    let ty = *ty;
                    fields.push(crate::plan::Field { name: function.name.into(), ty, origin: None });
                    let column = Expr::Column { index: all.len(), ty };
                    all.push(std::mem::replace(e, column));
                }
            });
        }
        let e = input.estimate;
        let rows = e.rows * FUNCTION_ROWS;
        let estimate = Estimate { rows, total: e.total + rows * cost::ROW, ..e };
        let node = ProjectNode { input, exprs: all };
        self.node(NodeKind::ProjectSet(Arc::new(node)), Arc::new(fields), estimate)
    }

    fn values(&mut self, mut rows: Vec<Vec<Expr>>, schema: Schema) -> SqlResult<Node> {
        let estimate = leaf(rows.len() as f64, &schema);
        let calls = rows.iter().flatten().any(Expr::has_async);
        for e in rows.iter_mut().flatten() {
            self.convert(e)?;
        }
        if !calls {
            return Ok(self.node(NodeKind::Values(Arc::new(ValuesNode { rows })), schema, estimate));
        }
        let mut inputs = Vec::new();
        for mut row in rows {
            let one = self.one_row();
            inputs.push(self.project_over(one, &mut row, schema.clone())?);
        }
        if inputs.len() == 1 {
            return Ok(inputs.remove(0));
        }
        Ok(self.node(NodeKind::Append(Arc::new(AppendNode { inputs })), schema, estimate))
    }

    /// One row without columns.
    pub(super) fn one_row(&mut self) -> Node {
        let values = ValuesNode { rows: vec![Vec::new()] };
        let schema: Schema = Arc::new(Vec::new());
        let estimate = leaf(1.0, &schema);
        self.node(NodeKind::Values(Arc::new(values)), schema, estimate)
    }

    fn function_scan(
        &mut self,
        mut calls: Vec<(&'static crate::registry::Function, Vec<Expr>)>,
        ordinality: bool,
        schema: Schema,
    ) -> SqlResult<Node> {
        for e in calls.iter_mut().flat_map(|(_, args)| args) {
            self.convert(e)?;
        }
        let estimate = leaf(FUNCTION_ROWS, &schema);
        let node = FunctionScanNode { calls, ordinality };
        Ok(self.node(NodeKind::FunctionScan(Arc::new(node)), schema, estimate))
    }

    fn sort(
        &mut self,
        input: LogicalPlan,
        mut keys: Vec<SortKey>,
        want: &Want,
    ) -> SqlResult<(Node, Ordering)> {
        // Later occurrences of a column, and constants, say nothing.
        let mut seen = Vec::new();
        keys.retain(|k| match conjuncts::as_column(&k.expr) {
            Some(column) if seen.contains(&column) => false,
            Some(column) => {
                seen.push(column);
                true
            }
            None => !matches!(k.expr, Expr::Const(..) | Expr::Param { .. }),
        });
        if keys.is_empty() {
            return self.build_for(input, want);
        }
        let order: Option<Vec<OrderColumn>> = keys
            .iter()
            .map(|k| {
                let column = conjuncts::as_column(&k.expr)?;
                Some(OrderColumn { column, descending: k.descending, nulls_first: k.nulls_first })
            })
            .collect();
        let wish = match &order {
            Some(order) => Want { order: order.clone(), optional: false, ..want.clone() },
            None => Want::default(),
        };
        // With a limit, only the rows that are kept may be locked: above the sort.
        let locking =
            (want.limit.is_some() && super::locking::locks_one_table(&input)).then(|| input.clone());
        let mark = self.pending.len();
        let (input, ordering) = self.build_for(input, &wish)?;
        let given = match &order {
            Some(order) => want.order.is_empty() || order.starts_with(&want.order),
            None => want.order.is_empty(),
        };
        let result = if given { Ordering::AsWanted } else { Ordering::Unknown };
        if order.is_some() && ordering == Ordering::AsWanted {
            return Ok((input, result));
        }
        if let Some(plan) = locking {
            self.pending.truncate(mark);
            return Ok((self.locked_sort(plan, keys, want)?, result));
        }
        let limits = (want.limit.clone(), want.offset.clone(), want.rows);
        let limits = if want.order.is_empty() { limits } else { (None, None, None) };
        Ok((self.sort_over(input, keys, limits)?, result))
    }

    pub(super) fn sort_over(
        &mut self,
        input: Node,
        mut keys: Vec<SortKey>,
        (limit, offset, wanted): (Option<Expr>, Option<Expr>, Option<f64>),
    ) -> SqlResult<Node> {
        let schema = input.schema.clone();
        let input = self.prepare(input, &mut keys.iter_mut().map(|k| &mut k.expr).collect::<Vec<_>>())?;
        let e = input.estimate;
        let total = e.total + cost::sort(e.rows, wanted.unwrap_or(e.rows));
        let estimate = Estimate { startup: total, total: total + e.rows * cost::ROW, ..e };
        let wider = input.schema.len() > schema.len();
        let full = input.schema.clone();
        let node = SortNode { input, keys, limit, offset };
        let node = self.node(NodeKind::Sort(Arc::new(node)), full, estimate);
        Ok(if wider { self.first_columns(node, schema) } else { node })
    }

    fn limit(
        &mut self,
        input: LogicalPlan,
        mut limit: Option<Expr>,
        mut offset: Option<Expr>,
        mut with_ties: Option<Vec<SortKey>>,
        want: &Want,
    ) -> SqlResult<(Node, Ordering)> {
        for e in limit.iter_mut().chain(&mut offset) {
            self.convert(e)?;
        }
        for key in with_ties.iter_mut().flatten() {
            self.convert(&mut key.expr)?;
        }
        let count = |e: &Option<Expr>| match e {
            Some(Expr::Const(Datum::Int8(n), _)) => Some((*n).max(0) as f64),
            _ => None,
        };
        let rows = limit.as_ref().map(|_| count(&limit).unwrap_or(100.0) + count(&offset).unwrap_or(0.0));
        // A limit inside a limit: the inner one counts for what is below it.
        let wish = Want {
            order: want.order.clone(),
            rows,
            limit: limit.clone().filter(|_| with_ties.is_none()),
            offset: offset.clone().filter(|_| limit.is_some()),
            optional: want.optional,
        };
        let (input, ordering) = self.build_for(input, &wish)?;
        let schema = input.schema.clone();
        let e = input.estimate;
        let share = rows.map_or(1.0, |r| (r / e.rows).min(1.0));
        let estimate = Estimate {
            rows: (e.rows * share).max(1.0),
            total: e.startup + (e.total - e.startup) * share,
            ..e
        };
        let node = LimitNode { input, limit, offset, with_ties };
        Ok((self.node(NodeKind::Limit(Arc::new(node)), schema, estimate), ordering))
    }

    fn with(
        &mut self,
        id: usize,
        name: String,
        definition: LogicalPlan,
        body: LogicalPlan,
    ) -> SqlResult<Node> {
        let eager = super::inline::writes(&definition);
        let definition = self.block(definition)?;
        self.ctes.insert(id, (name.clone(), definition.estimate));
        let body = self.block(body)?;
        let (schema, b) = (body.schema.clone(), body.estimate);
        let estimate = Estimate { total: b.total + definition.estimate.total, ..b };
        let node = WithNode { cte: id, name, eager, definition, body };
        Ok(self.node(NodeKind::With(Arc::new(node)), schema, estimate))
    }

    fn recursive(
        &mut self,
        id: usize,
        base: LogicalPlan,
        step: LogicalPlan,
        all: bool,
        schema: Schema,
    ) -> SqlResult<Node> {
        let base = self.block(base)?;
        let name = self.ctes.get(&id).map_or_else(String::new, |c| c.0.clone());
        self.ctes.insert(id, (name, base.estimate));
        let step = self.block(step)?;
        let (b, s) = (base.estimate, step.estimate);
        let estimate = Estimate {
            rows: b.rows + 10.0 * s.rows,
            startup: b.startup,
            total: b.total + 10.0 * s.total,
            width: b.width,
        };
        let node = RecursiveUnionNode { cte: id, base, step, all };
        Ok(self.node(NodeKind::RecursiveUnion(Arc::new(node)), schema, estimate))
    }
}

pub(super) fn leaf(rows: f64, schema: &Schema) -> Estimate {
    let width = schema.iter().map(|f| statistics::type_width(f.ty)).sum();
    Estimate { rows, startup: 0.0, total: rows * cost::ROW, width }
}
