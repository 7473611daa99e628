//! From the algebra to operators: what gathers rows - groups, windows, duplicates, set operations.

use std::sync::Arc;

use super::build::{Builder, OrderColumn, Ordering, Want};
use super::{conjuncts, cost, statistics};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::physical::*;
use crate::plan::{LogicalPlan, Schema, SetOp};
use crate::types::Datum;

impl Builder<'_> {
    pub(super) fn aggregate(
        &mut self,
        input: LogicalPlan,
        mut groups: Vec<Expr>,
        mut aggregates: Vec<crate::plan::AggregateCall>,
        schema: Schema,
        want: &Want,
    ) -> SqlResult<(Node, Ordering)> {
        // Input in the order of the groups needs no table of groups, and keeps the order.
        let columns: Option<Vec<usize>> = groups.iter().map(conjuncts::as_column).collect();
        let mut input = input;
        let wish = match &columns {
            Some(columns) if !columns.is_empty() => group_order(columns, want),
            _ => extreme(&mut input, &groups, &aggregates).unwrap_or_default(),
        };
        let ordered_groups = !groups.is_empty();
        let (input, ordering) = self.build_for(input, &wish)?;
        let sorted = ordered_groups && !wish.order.is_empty() && ordering == Ordering::AsWanted;
        let mut exprs: Vec<&mut Expr> = groups.iter_mut().collect();
        for call in &mut aggregates {
            exprs.extend(call.args.iter_mut());
            exprs.extend(call.order_by.iter_mut().map(|k| &mut k.expr));
            exprs.extend(call.filter.iter_mut());
        }
        let input = self.prepare(input, &mut exprs)?;
        let method = match (groups.is_empty(), sorted) {
            (true, _) => AggregateMethod::Plain,
            (false, true) => AggregateMethod::Sorted,
            (false, false) => AggregateMethod::Hash,
        };
        let e = input.estimate;
        let rows =
            if groups.is_empty() { 1.0 } else { (e.rows / 5.0).clamp(1.0, 200.0f64.max(e.rows / 20.0)) };
        let total = e.total + e.rows * cost::CALL * (groups.len() + aggregates.len()) as f64;
        let estimate = Estimate {
            rows,
            startup: if sorted { e.startup } else { total },
            total: total + rows * cost::ROW,
            width: schema.iter().map(|f| statistics::type_width(f.ty)).sum(),
        };
        let node = AggregateNode { input, groups, aggregates, method };
        let keeps = sorted
            && want.order.iter().enumerate().all(|(i, o)| {
                wish.order
                    .get(i)
                    .is_some_and(|w| columns.as_ref().is_some_and(|c| c.get(o.column) == Some(&w.column)))
            });
        let ordering = if keeps { Ordering::AsWanted } else { Ordering::Unknown };
        Ok((self.node(NodeKind::Aggregate(Arc::new(node)), schema, estimate), ordering))
    }

    pub(super) fn window(
        &mut self,
        input: LogicalPlan,
        mut calls: Vec<crate::plan::WindowCall>,
        schema: Schema,
    ) -> SqlResult<Node> {
        let input = self.build(input)?;
        let width = input.schema.len();
        let mut exprs: Vec<&mut Expr> = Vec::new();
        for call in &mut calls {
            exprs.extend(call.args.iter_mut());
            exprs.extend(call.partition_by.iter_mut());
            exprs.extend(call.order_by.iter_mut().map(|k| &mut k.expr));
            exprs.extend(call.filter.iter_mut());
            if let Some(frame) = &mut call.frame {
                use crate::plan::FrameBound::{Following, Preceding};
                for bound in [&mut frame.start, &mut frame.end] {
                    if let Preceding(e) | Following(e) = bound {
                        exprs.push(e);
                    }
                }
            }
        }
        let input = self.prepare(input, &mut exprs)?;
        let e = input.estimate;
        let total = e.total + cost::sort(e.rows, e.rows) + e.rows * cost::CALL * calls.len() as f64;
        let estimate = Estimate { startup: total, total: total + e.rows * cost::ROW, ..e };
        let extra = input.schema.len() - width;
        if extra == 0 {
            return Ok(self.node(NodeKind::Window(Arc::new(WindowNode { input, calls })), schema, estimate));
        }
        // Columns of subqueries stand between the input's and the results.
        let mut fields = input.schema.to_vec();
        fields.extend(schema[width..].iter().cloned());
        let node = WindowNode { input, calls };
        let node = self.node(NodeKind::Window(Arc::new(node)), Arc::new(fields), estimate);
        let column = |(i, f): (usize, &crate::plan::Field)| Expr::Column {
            index: if i < width { i } else { i + extra },
            ty: f.ty,
        };
        let exprs = schema.iter().enumerate().map(column).collect();
        Ok(self.node(NodeKind::Project(Arc::new(ProjectNode { input: node, exprs })), schema, estimate))
    }

    pub(super) fn distinct(
        &mut self,
        input: LogicalPlan,
        mut on: Option<Vec<Expr>>,
        want: &Want,
    ) -> SqlResult<(Node, Ordering)> {
        let wish = Want { limit: None, offset: None, ..want.clone() };
        let (input, ordering) = self.build_for(input, &wish)?;
        let schema = input.schema.clone();
        let input = match &mut on {
            Some(exprs) => self.prepare(input, &mut exprs.iter_mut().collect::<Vec<_>>())?,
            None => input,
        };
        let e = input.estimate;
        let estimate = Estimate { rows: (e.rows / 5.0).max(1.0), total: e.total + e.rows * cost::CALL, ..e };
        let wider = input.schema.len() > schema.len();
        let full = input.schema.clone();
        let node = self.node(NodeKind::Distinct(Arc::new(DistinctNode { input, on })), full, estimate);
        Ok((if wider { self.first_columns(node, schema) } else { node }, ordering))
    }

    pub(super) fn set_op(
        &mut self,
        op: SetOp,
        all: bool,
        left: LogicalPlan,
        right: LogicalPlan,
        schema: Schema,
    ) -> SqlResult<Node> {
        if op == SetOp::Union {
            let mut inputs = Vec::new();
            self.union_inputs(left, all, &mut inputs)?;
            self.union_inputs(right, all, &mut inputs)?;
            let sum = |f: fn(&Estimate) -> f64| inputs.iter().map(|n: &Node| f(&n.estimate)).sum::<f64>();
            let estimate = Estimate {
                rows: sum(|e| e.rows),
                startup: inputs.first().map_or(0.0, |n| n.estimate.startup),
                total: sum(|e| e.total),
                width: inputs.first().map_or(0.0, |n| n.estimate.width),
            };
            let append =
                self.node(NodeKind::Append(Arc::new(AppendNode { inputs })), schema.clone(), estimate);
            if all {
                return Ok(append);
            }
            let e = Estimate { total: estimate.total + estimate.rows * cost::CALL, ..estimate };
            return Ok(self.node(
                NodeKind::Distinct(Arc::new(DistinctNode { input: append, on: None })),
                schema,
                e,
            ));
        }
        let (left, right) = (self.build(left)?, self.build(right)?);
        let (l, r) = (left.estimate, right.estimate);
        let total = l.total + r.total + (l.rows + r.rows) * cost::CALL;
        let estimate = Estimate { rows: (l.rows / 2.0).max(1.0), startup: total, total, width: l.width };
        let node = SetOpNode { op, all, left, right };
        Ok(self.node(NodeKind::SetOp(Arc::new(node)), schema, estimate))
    }

    /// Nested unions become one, if duplicates are treated alike (or removed above anyway).
    fn union_inputs(&mut self, plan: LogicalPlan, all: bool, out: &mut Vec<Node>) -> SqlResult<()> {
        match plan {
            LogicalPlan::SetOp { op: SetOp::Union, all: inner, left, right, .. } if inner || !all => {
                self.union_inputs(*left, all, out)?;
                self.union_inputs(*right, all, out)
            }
            other => {
                out.push(self.build(other)?);
                Ok(())
            }
        }
    }
}

/// For `min` or `max` of a stored column alone: the first row in the right order tells. An index that has the order will
/// read one row; without one, all rows are read as ever. NULLs are taken out: they are no extremes.
fn extreme(
    input: &mut LogicalPlan,
    groups: &[Expr],
    aggregates: &[crate::plan::AggregateCall],
) -> Option<Want> {
    let [call] = aggregates else { return None };
    let descending = match call.function.name {
        "min" => false,
        "max" => true,
        _ => return None,
    };
    if !groups.is_empty() || call.filter.is_some() {
        return None;
    }
    let [Expr::Column { index: column, .. }] = call.args.as_slice() else { return None };
    let stored = match &*input {
        LogicalPlan::Scan(_) => true,
        LogicalPlan::Filter { input, predicate } => {
            matches!(**input, LogicalPlan::Scan(_)) && !conjuncts::has_subquery(predicate)
        }
        _ => false,
    };
    if !stored {
        return None;
    }
    let present = Expr::IsNull { arg: Box::new(call.args[0].clone()), negated: true };
    match input {
        plan if !super::unnest::can_be_null_column(plan, *column) => {}
        LogicalPlan::Filter { predicate, .. } => {
            let old = std::mem::replace(predicate, conjuncts::boolean(true));
            *predicate = Expr::And(vec![old, present]);
        }
        scan => {
            let nothing = LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) };
            let inner = std::mem::replace(scan, nothing);
            *scan = LogicalPlan::Filter { input: Box::new(inner), predicate: present };
        }
    }
    let one = Expr::Const(Datum::Int8(1), crate::types::SqlType::new(crate::types::Oid::INT8));
    Some(Want {
        order: vec![OrderColumn { column: *column, descending, nulls_first: descending }],
        rows: Some(1.0),
        limit: Some(one),
        offset: None,
        optional: true,
    })
}

/// The order in which grouping needs no table: the wanted one where it is over the groups, the other groups behind.
fn group_order(columns: &[usize], want: &Want) -> Want {
    let mut order: Vec<OrderColumn> = Vec::new();
    for o in &want.order {
        match columns.get(o.column) {
            Some(&column) => order.push(OrderColumn { column, ..*o }),
            None => break,
        }
    }
    for &column in columns {
        if order.iter().all(|o| o.column != column) {
            order.push(OrderColumn { column, descending: false, nulls_first: false });
        }
    }
    Want { order, optional: want.order.is_empty(), ..Want::default() }
}
