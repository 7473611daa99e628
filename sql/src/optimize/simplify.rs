//! Constants and truth values: what can be computed or decided without a row.
//!
//! - An immutable function, operator or cast of constants becomes its value - unless computing it fails: then it stays,
//!   and fails when (and only if) it is executed.
//! - NOT moves into comparisons; TRUE and FALSE disappear from AND and OR; nested ANDs and ORs become one.
//! - `a = 1 OR a = 2` becomes `a IN (1, 2)`, which an index can answer.

use super::conjuncts::{Comparison, Restriction, comparison_of, restriction};
use crate::expr::Expr;
use crate::expr::eval::eval_row;
use crate::plan::LogicalPlan;
use crate::registry::{Body, CastMethod, EvalContext, Volatility, negator};
use crate::types::{Datum, Oid, SqlType};

/// Simplifies every expression of the plan.
pub fn simplify(plan: &mut LogicalPlan) {
    plan.visit_exprs_mut(0, &mut |e, _| {
        if !matches!(e, Expr::Const(..) | Expr::Column { .. } | Expr::Param { .. } | Expr::Outer { .. }) {
            simplify_expr(e);
        }
    });
    drop_true_filters(plan);
}

fn drop_true_filters(plan: &mut LogicalPlan) {
    while let LogicalPlan::Filter { input, predicate: Expr::Const(Datum::Bool(true), _) } = plan {
        let inner = std::mem::replace(
            &mut **input,
            LogicalPlan::Values { rows: Vec::new(), schema: std::sync::Arc::new(Vec::new()) },
        );
        *plan = inner;
    }
    plan.for_each_input_mut(&mut |input, _| drop_true_filters(input));
}

/// Simplifies one expression.
pub fn simplify_expr(e: &mut Expr) {
    e.rewrite(&mut step);
}

fn is_const(e: &Expr) -> bool {
    matches!(e, Expr::Const(..))
}

fn step(e: &mut Expr) {
    match e {
        Expr::And(parts) => junction(parts, true).into_iter().for_each(|new| *e = new),
        Expr::Or(parts) => {
            if let Some(new) = junction(parts, false) {
                *e = new;
            } else if let Some(new) = as_in_list(parts) {
                *e = new;
            }
        }
        Expr::Not(arg) => {
            if let Some(new) = negated(arg) {
                *e = new;
            }
        }
        Expr::Call { function, args, .. }
            if function.volatility == Volatility::Immutable
                && matches!(function.body, Body::Scalar { .. } | Body::Typed(_))
                && args.iter().all(is_const) =>
        {
            fold(e);
        }
        Expr::Cast { arg, method, .. } if is_const(arg) => {
            // The text form of a value can depend on settings, which can change before the plan is run.
            let immutable = match method {
                CastMethod::Relabel | CastMethod::Typmod => true,
                CastMethod::Function(f) => f.volatility == Volatility::Immutable,
                _ => false,
            };
            if immutable {
                fold(e);
            }
        }
        Expr::IsNull { arg, .. } | Expr::IsTruth { arg, .. } if is_const(arg) => fold(e),
        Expr::Coalesce { args, .. } => {
            args.retain(|a| !matches!(a, Expr::Const(Datum::Null, _)));
            if let Some(Expr::Const(..)) = args.first() {
                *e = args.swap_remove(0);
            } else if args.is_empty() {
                let ty = e.ty();
                *e = Expr::Const(Datum::Null, ty);
            }
        }
        Expr::Case { arms, otherwise, .. } => {
            arms.retain(|(when, _)| !matches!(when, Expr::Const(Datum::Bool(false) | Datum::Null, _)));
            match arms.first() {
                None => {
                    *e =
                        std::mem::replace(&mut **otherwise, Expr::Const(Datum::Null, SqlType::new(Oid::BOOL)))
                }
                Some((Expr::Const(Datum::Bool(true), _), _)) => *e = arms.swap_remove(0).1,
                _ => {}
            }
        }
        _ => {}
    }
}

fn fold(e: &mut Expr) {
    let ty = e.ty();
    if let Ok(value) = eval_row(e, &[], &EvalContext::detached()) {
        *e = Expr::Const(value, ty);
    }
}

/// AND (`conjunction`) or OR: flat, without its neutral element; `Some` if it is decided or has one part.
fn junction(parts: &mut Vec<Expr>, conjunction: bool) -> Option<Expr> {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts.drain(..) {
        match part {
            Expr::And(inner) if conjunction => flat.extend(inner),
            Expr::Or(inner) if !conjunction => flat.extend(inner),
            Expr::Const(Datum::Bool(value), _) if value == conjunction => {}
            other => flat.push(other),
        }
    }
    let absorbing = |p: &Expr| matches!(p, Expr::Const(Datum::Bool(v), _) if *v != conjunction);
    if flat.iter().any(absorbing) {
        return Some(super::conjuncts::boolean(!conjunction));
    }
    match flat.len() {
        0 => Some(super::conjuncts::boolean(conjunction)),
        1 => flat.pop(),
        _ => {
            *parts = flat;
            None
        }
    }
}

fn negated(arg: &mut Expr) -> Option<Expr> {
    Some(match arg {
        Expr::Const(Datum::Bool(v), _) => super::conjuncts::boolean(!*v),
        Expr::Const(Datum::Null, ty) => Expr::Const(Datum::Null, *ty),
        Expr::Not(inner) => (**inner).clone(),
        Expr::IsNull { arg, negated } => Expr::IsNull { arg: arg.clone(), negated: !*negated },
        Expr::IsTruth { arg, value, negated } => {
            Expr::IsTruth { arg: arg.clone(), value: *value, negated: !*negated }
        }
        Expr::IsDistinct { left, right, equal, negated } => {
            Expr::IsDistinct { left: left.clone(), right: right.clone(), equal, negated: !*negated }
        }
        Expr::Call { function, args, ty } => {
            comparison_of(function)?;
            Expr::Call { function: negator(function)?, args: std::mem::take(args), ty: *ty }
        }
        Expr::And(parts) => Expr::Or(not_all(parts)),
        Expr::Or(parts) => Expr::And(not_all(parts)),
        _ => return None,
    })
}

fn not_all(parts: &mut Vec<Expr>) -> Vec<Expr> {
    let negate = |mut part: Expr| match negated(&mut part) {
        Some(new) => new,
        None => Expr::Not(Box::new(part)),
    };
    parts.drain(..).map(negate).collect()
}

/// `a = x OR a = y OR …` over one column and one operator.
fn as_in_list(parts: &[Expr]) -> Option<Expr> {
    let mut elements = Vec::with_capacity(parts.len());
    let mut same: Option<(usize, &'static crate::registry::Function, Expr, SqlType)> = None;
    for part in parts {
        let (column, said) = restriction(part)?;
        let Restriction::Compare(Comparison::Equal, value) = said else { return None };
        let Expr::Call { function, args, .. } = part else { return None };
        // The column has to be on the left: the list takes the operator as it is.
        if super::conjuncts::as_column(&args[0]) != Some(column) {
            return None;
        }
        match &same {
            None => same = Some((column, function, args[0].clone(), value.ty())),
            Some((c, f, _, ty)) if *c == column && f == function && ty.oid == value.ty().oid => {}
            Some(_) => return None,
        }
        elements.push(value.clone());
    }
    let (_, op, left, ty) = same?;
    let array = crate::registry::array_of(ty.oid)?;
    let array = Box::new(Expr::Array { elements, ty: SqlType::new(array) });
    Some(Expr::ArrayCompare { left: Box::new(left), op, array, all: false })
}
