//! Takes calls that must wait (`nextval`, `setval`, `pg_sleep`) out of an expression.
//!
//! The executor evaluates each call's arguments, awaits the call, appends its value to the row, and then evaluates the
//! rest. Calls are made in the order in which the expression would have made them, for every row, also those in an
//! arm of a CASE that is not taken: a sequence may then skip a value, which sequences may always do.

use super::Expr;
use crate::registry::AsyncCall;
use crate::types::SqlType;

/// A call that was taken out; its arguments may refer to the columns of calls before it.
#[derive(Clone, Debug)]
pub struct PendingCall {
    pub call: AsyncCall,
    pub args: Vec<Expr>,
    pub ty: SqlType,
}

impl Expr {
    /// Whether there is anything for [`Expr::split_async`] to do.
    pub fn has_async(&self) -> bool {
        self.any(&mut |e| matches!(e, Expr::Call { function, .. } if function.async_call().is_some()))
    }

    /// Replaces each waiting call by a reference to the column `width + i`, and returns the calls in order of `i`.
    pub fn split_async(&mut self, width: usize) -> Vec<PendingCall> {
        let mut calls = Vec::new();
        self.rewrite(&mut |e| {
            let Expr::Call { function, args, ty } = e else { return };
            let Some(call) = function.async_call() else { return };
            let ty = *ty;
            calls.push(PendingCall { call, args: std::mem::take(args), ty });
            *e = Expr::Column { index: width + calls.len() - 1, ty };
        });
        calls
    }
}
