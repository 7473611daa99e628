//! Taking conditions apart: conjuncts, comparisons of a column with something that does not depend on the row.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::expr::Expr;
use crate::registry::{Body, CastMethod, Function, Volatility, all_operators};
use crate::types::{Datum, Oid, SqlType};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    /// The comparison with its sides exchanged.
    pub fn flipped(self) -> Self {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessEqual => Comparison::GreaterEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterEqual => Comparison::LessEqual,
            same => same,
        }
    }
}

/// The symbol of the operator for which each function stands.
static SYMBOLS: LazyLock<FxHashMap<Oid, &'static str>> =
    LazyLock::new(|| all_operators().iter().map(|o| (o.function, o.name)).collect());

/// The operator symbol that a function stands for, if any.
pub fn symbol(function: &Function) -> Option<&'static str> {
    SYMBOLS.get(&function.oid).copied()
}

/// Which of the six comparisons a function is.
pub fn comparison_of(function: &Function) -> Option<Comparison> {
    if function.args.len() != 2 || function.result != Oid::BOOL {
        return None;
    }
    Some(match symbol(function)? {
        "=" => Comparison::Equal,
        "<>" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterEqual,
        _ => return None,
    })
}

/// Appends the conjuncts of a condition.
pub fn split(e: Expr, out: &mut Vec<Expr>) {
    match e {
        Expr::And(parts) => parts.into_iter().for_each(|p| split(p, out)),
        Expr::Const(Datum::Bool(true), _) => {}
        other => out.push(other),
    }
}

/// One condition out of conjuncts; `None` for none.
pub fn join(mut conjuncts: Vec<Expr>) -> Option<Expr> {
    match conjuncts.len() {
        0 => None,
        1 => conjuncts.pop(),
        _ => Some(Expr::And(conjuncts)),
    }
}

/// The column that an expression is, through casts that change nothing.
pub fn as_column(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { arg, method: CastMethod::Relabel, .. } => as_column(arg),
        _ => None,
    }
}

/// Whether the value is the same for all rows of one execution, and costs no more than a look.
pub fn is_row_free(e: &Expr) -> bool {
    !e.any(&mut |e| match e {
        Expr::Column { .. } | Expr::Subquery(_) => true,
        Expr::Call { function, .. } => {
            function.volatility == Volatility::Volatile || matches!(function.body, Body::Set(_))
        }
        _ => false,
    })
}

pub fn is_volatile(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::Call { function, .. } if function.volatility == Volatility::Volatile))
}

pub fn returns_set(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::Call { function, .. } if function.is_set_returning()))
}

pub fn has_subquery(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::Subquery(_)))
}

/// What a conjunct says about one column.
pub enum Restriction<'e> {
    Compare(Comparison, &'e Expr),
    /// Equal to one of these.
    In(&'e [Expr]),
    /// Equal to an element of this array.
    InArray(&'e Expr),
    IsNull,
    IsNotNull,
}

/// The column and what is said about it, if the conjunct is of that form.
pub fn restriction(e: &Expr) -> Option<(usize, Restriction<'_>)> {
    match e {
        Expr::Call { function, args, .. } => {
            let comparison = comparison_of(function)?;
            let [left, right] = args.as_slice() else { return None };
            if let (Some(column), true) = (as_column(left), is_row_free(right)) {
                return Some((column, Restriction::Compare(comparison, right)));
            }
            if let (Some(column), true) = (as_column(right), is_row_free(left)) {
                return Some((column, Restriction::Compare(comparison.flipped(), left)));
            }
            None
        }
        Expr::IsNull { arg, negated } => {
            let said = if *negated { Restriction::IsNotNull } else { Restriction::IsNull };
            Some((as_column(arg)?, said))
        }
        Expr::ArrayCompare { left, op, array, all: false } => {
            if comparison_of(op)? != Comparison::Equal {
                return None;
            }
            let column = as_column(left)?;
            match &**array {
                Expr::Array { elements, .. } if elements.iter().all(is_row_free) => {
                    Some((column, Restriction::In(elements)))
                }
                array if is_row_free(array) => Some((column, Restriction::InArray(array))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A boolean constant.
pub fn boolean(value: bool) -> Expr {
    Expr::Const(Datum::Bool(value), SqlType::new(Oid::BOOL))
}
