//! Subqueries that stayed in expressions, and references to enclosing rows: both become slots or columns.
//!
//! A subquery that does not look at the row around it is computed once, into a slot ([`InitPlan`]); `left op ANY (it)`
//! becomes a comparison with an array in the slot. One that does look is computed for every row by an [`ApplyNode`] below
//! the expression's operator, and the expression reads the column that it appends.
//!
//! A [`Scope`] stands for the row of one enclosing level while the levels inside it are planned, and collects which of
//! its columns they need in which slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::Builder;
use super::cost;
use crate::error::{SqlError, SqlResult};
use crate::expr::{Expr, Subquery, SubqueryKind};
use crate::plan::physical::*;
use crate::plan::{Field, LogicalPlan};
use crate::registry::array_of;
use crate::types::{Datum, Oid, SqlType};

/// The row of an enclosing level.
#[derive(Default)]
pub struct Scope {
    /// Slots by column.
    bindings: BTreeMap<usize, usize>,
}

impl Scope {
    /// (slot, column) of what the inner levels read.
    pub fn into_bindings(self) -> Vec<(usize, usize)> {
        self.bindings.into_iter().map(|(column, slot)| (slot, column)).collect()
    }
}

/// The subplans of one operator's expressions.
struct RowPlans {
    /// Columns of the row before theirs.
    width: usize,
    plans: Vec<SubPlan>,
}

impl Builder<'_> {
    pub(super) fn new_slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// Converts an expression that must not contain subqueries over its own row.
    pub fn convert(&mut self, e: &mut Expr) -> SqlResult<()> {
        let mut rows = RowPlans { width: 0, plans: Vec::new() };
        self.convert_in(e, &mut rows)?;
        if rows.plans.is_empty() {
            return Ok(());
        }
        Err(SqlError::unsupported("a correlated subquery in this place"))
    }

    /// Converts expressions over `input`'s rows; the result yields those rows, with what the expressions need behind.
    pub fn prepare(&mut self, mut input: Node, exprs: &mut [&mut Expr]) -> SqlResult<Node> {
        let mut rows = RowPlans { width: input.schema.len(), plans: Vec::new() };
        for e in exprs.iter_mut() {
            self.convert_in(e, &mut rows)?;
        }
        if !rows.plans.is_empty() {
            input = self.apply(input, rows.plans);
        }
        if exprs.iter().any(|e| e.has_async()) {
            input = self.calls(input, exprs);
        }
        Ok(input)
    }

    fn apply(&mut self, input: Node, subplans: Vec<SubPlan>) -> Node {
        let mut fields = input.schema.to_vec();
        let field = |p: &SubPlan| Field { name: "?column?".into(), ty: SqlType::new(p.ty), origin: None };
        fields.extend(subplans.iter().map(field));
        let e = input.estimate;
        let each: f64 = subplans.iter().map(|p| p.plan.estimate.total).sum();
        let estimate = Estimate { total: e.total + e.rows * each, ..e };
        self.node(NodeKind::Apply(Arc::new(ApplyNode { input, subplans })), Arc::new(fields), estimate)
    }

    fn calls(&mut self, input: Node, exprs: &mut [&mut Expr]) -> Node {
        let mut fields = input.schema.to_vec();
        let mut calls = Vec::new();
        for e in exprs {
            for pending in e.split_async(fields.len()) {
                fields.push(Field { name: "?column?".into(), ty: pending.ty, origin: None });
                calls.push((pending.call, pending.args));
            }
        }
        let e = input.estimate;
        let estimate = Estimate { total: e.total + e.rows * cost::ROW, ..e };
        self.node(NodeKind::Calls(Arc::new(CallsNode { input, calls })), Arc::new(fields), estimate)
    }

    fn convert_in(&mut self, e: &mut Expr, rows: &mut RowPlans) -> SqlResult<()> {
        match e {
            Expr::Outer { depth, index, ty } => {
                let level = self.scopes.len().checked_sub(*depth);
                let level =
                    level.ok_or_else(|| SqlError::internal("a reference beyond the outermost query"))?;
                let slot = match self.scopes[level].bindings.get(index) {
                    Some(slot) => *slot,
                    None => {
                        let slot = self.new_slot();
                        self.scopes[level].bindings.insert(*index, slot);
                        slot
                    }
                };
                *e = Expr::Param { index: slot, ty: *ty };
                Ok(())
            }
            Expr::Subquery(subquery) => {
                let null = Expr::Const(Datum::Null, SqlType::new(Oid::BOOL));
                let placeholder = Subquery {
                    kind: SubqueryKind::Exists,
                    plan: LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) },
                    ty: SqlType::new(Oid::BOOL),
                };
                let subquery = std::mem::replace(&mut **subquery, placeholder);
                *e = null;
                *e = self.subquery(subquery, rows)?;
                Ok(())
            }
            other => {
                let mut result = Ok(());
                other.for_each_child_mut(&mut |child| {
                    if result.is_ok() {
                        result = self.convert_in(child, rows);
                    }
                });
                result
            }
        }
    }

    /// What stands in an expression for a subquery.
    fn subquery(&mut self, subquery: Subquery, rows: &mut RowPlans) -> SqlResult<Expr> {
        let Subquery { kind, plan, ty } = subquery;
        let constant = !plan.is_correlated() && !reads_cte(&plan);
        let plan = match kind {
            // One row decides.
            SubqueryKind::Exists => LogicalPlan::Limit {
                input: Box::new(plan),
                limit: Some(Expr::Const(Datum::Int8(1), SqlType::new(Oid::INT8))),
                offset: None,
                with_ties: None,
            },
            _ => plan,
        };
        self.scopes.push(Scope::default());
        let node = self.block(plan);
        let bindings = self.scopes.pop().expect("the scope just pushed").into_bindings();
        let node = node?;
        let element = node.schema.first().map_or(Oid::INVALID, |f| f.ty.oid);
        let once = bindings.is_empty();
        let kind = match kind {
            SubqueryKind::Scalar => SubPlanKind::Scalar,
            SubqueryKind::Exists => SubPlanKind::Exists,
            SubqueryKind::Array => SubPlanKind::Array(element),
            SubqueryKind::Compare { mut left, ops, all } => {
                for e in &mut left {
                    self.convert_in(e, rows)?;
                }
                if let ([op], true) = (ops.as_slice(), once) {
                    let array = array_of(element).unwrap_or(Oid::ANYARRAY);
                    let kind = SubPlanKind::Array(element);
                    let plan = SubPlan { kind, plan: node, bindings, ty: array };
                    let array = self.init_plan(plan, constant, SqlType::new(array));
                    let left = Box::new(left.swap_remove(0));
                    return Ok(Expr::ArrayCompare { left, op, array: Box::new(array), all });
                }
                SubPlanKind::Compare { left, ops, all }
            }
        };
        let compares = matches!(kind, SubPlanKind::Compare { .. });
        let plan = SubPlan { kind, plan: node, bindings, ty: ty.oid };
        if once && !compares {
            return Ok(self.init_plan(plan, constant, ty));
        }
        rows.plans.push(plan);
        Ok(Expr::Column { index: rows.width + rows.plans.len() - 1, ty })
    }

    fn init_plan(&mut self, plan: SubPlan, constant: bool, ty: SqlType) -> Expr {
        let slot = self.new_slot();
        self.pending.push(InitPlan { slot, plan, constant });
        Expr::Param { index: slot, ty }
    }

    /// `Ok`: the conjunct, converted, needs nothing but its row. `Err`: it has subqueries over the row (or calls that
    /// wait), and is as it was.
    pub(super) fn without_row_subqueries(&mut self, mut conjunct: Expr) -> SqlResult<Result<Expr, Expr>> {
        if conjunct.has_async() || depends_on_row(&conjunct) {
            return Ok(Err(conjunct));
        }
        self.convert(&mut conjunct)?;
        Ok(Ok(conjunct))
    }
}

/// Whether a subquery in the expression looks at the expression's row, or must be computed beside it.
pub(super) fn depends_on_row(e: &Expr) -> bool {
    e.any(&mut |e| match e {
        Expr::Subquery(s) => {
            let mut found = false;
            s.plan.clone().visit_outer_mut(1, &mut |_| found = true);
            found || matches!(&s.kind, SubqueryKind::Compare { ops, .. } if ops.len() > 1)
        }
        _ => false,
    })
}

/// Whether the plan reads a CTE, at any depth.
fn reads_cte(plan: &LogicalPlan) -> bool {
    if matches!(plan, LogicalPlan::CteScan { .. }) {
        return true;
    }
    let mut found = false;
    plan.for_each_input(&mut |input, _| found |= reads_cte(input));
    if !found {
        plan.clone().for_each_expr_mut(&mut |e| {
            found |= e.any(&mut |e| matches!(e, Expr::Subquery(s) if reads_cte(&s.plan)));
        });
    }
    found
}
