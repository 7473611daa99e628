//! Walking and rewriting expression trees.
//!
//! A subquery's plan is not entered: its expressions belong to other rows. Only the left-hand expressions of
//! `left op ANY (subquery)` are children.

use super::{Expr, SubqueryKind};

impl Expr {
    /// Calls `f` on each direct child.
    pub fn for_each_child<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        match self {
            Expr::Const(..) | Expr::Column { .. } | Expr::Outer { .. } | Expr::Param { .. } => {}
            Expr::Call { args, .. } | Expr::Coalesce { args, .. } | Expr::MinMax { args, .. } => {
                args.iter().for_each(f)
            }
            Expr::And(args) | Expr::Or(args) => args.iter().for_each(f),
            Expr::Array { elements, .. } => elements.iter().for_each(f),
            Expr::Row { fields, .. } => fields.iter().for_each(f),
            Expr::Cast { arg, .. }
            | Expr::Not(arg)
            | Expr::IsNull { arg, .. }
            | Expr::IsTruth { arg, .. }
            | Expr::Field { record: arg, .. } => f(arg),
            Expr::IsDistinct { left, right, .. } => {
                f(left);
                f(right);
            }
            Expr::Case { arms, otherwise, .. } => {
                for (when, then) in arms {
                    f(when);
                    f(then);
                }
                f(otherwise);
            }
            Expr::ArrayCompare { left, array, .. } => {
                f(left);
                f(array);
            }
            Expr::Subscript { array, index, .. } => {
                f(array);
                f(index);
            }
            Expr::Subquery(s) => {
                if let SubqueryKind::Compare { left, .. } = &s.kind {
                    left.iter().for_each(f);
                }
            }
        }
    }

    /// Calls `f` on each direct child, for changing it in place.
    pub fn for_each_child_mut(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        match self {
            Expr::Const(..) | Expr::Column { .. } | Expr::Outer { .. } | Expr::Param { .. } => {}
            Expr::Call { args, .. } | Expr::Coalesce { args, .. } | Expr::MinMax { args, .. } => {
                args.iter_mut().for_each(f)
            }
            Expr::And(args) | Expr::Or(args) => args.iter_mut().for_each(f),
            Expr::Array { elements, .. } => elements.iter_mut().for_each(f),
            Expr::Row { fields, .. } => fields.iter_mut().for_each(f),
            Expr::Cast { arg, .. }
            | Expr::Not(arg)
            | Expr::IsNull { arg, .. }
            | Expr::IsTruth { arg, .. }
            | Expr::Field { record: arg, .. } => f(arg),
            Expr::IsDistinct { left, right, .. } => {
                f(left);
                f(right);
            }
            Expr::Case { arms, otherwise, .. } => {
                for (when, then) in arms {
                    f(when);
                    f(then);
                }
                f(otherwise);
            }
            Expr::ArrayCompare { left, array, .. } => {
                f(left);
                f(array);
            }
            Expr::Subscript { array, index, .. } => {
                f(array);
                f(index);
            }
            Expr::Subquery(s) => {
                if let SubqueryKind::Compare { left, .. } = &mut s.kind {
                    left.iter_mut().for_each(f);
                }
            }
        }
    }

    /// Whether `test` holds for this expression or anything in it.
    pub fn any(&self, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
        if test(self) {
            return true;
        }
        let mut found = false;
        self.for_each_child(&mut |child| found = found || child.any(test));
        found
    }

    /// Calls `f` on every expression of the tree, children first; `f` may replace it.
    pub fn rewrite(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        self.for_each_child_mut(&mut |child| child.rewrite(f));
        f(self);
    }
}
