//! Lone expressions without columns and parameters: the arguments of EXECUTE and the keys of SPLIT AT, each for a place that has
//! its type, and the time of AS OF SYSTEM TIME, which may be said in several.

use sqlparser::ast;

use super::scalar::contains_subquery;
use super::scope::Scope;
use super::select::Clause;
use super::{BindContext, Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::registry::{CastContext, type_name};
use crate::types::SqlType;

/// Binds an expression, cast to the type that takes it.
pub fn bind_argument(context: BindContext<'_>, source: &str, e: &ast::Expr, ty: SqlType) -> SqlResult<Expr> {
    let mut binder = Binder::new(context, source);
    let scope = Scope::new(None);
    binder.in_level(Clause::Values, |b| {
        let bound = b.bind_expr(e, &scope)?;
        b.coerce_assigned(bound, ty, "parameter")
    })
}

/// Binds what EXECUTE gives for parameter `$number`.
pub fn bind_execute_argument(
    context: BindContext<'_>,
    source: &str,
    e: &ast::Expr,
    number: usize,
    ty: SqlType,
) -> SqlResult<Expr> {
    let mut binder = Binder::new(context, source);
    let (scope, at) = (Scope::new(None), start_of(e));
    binder.in_level(Clause::ExecuteParameter, |b| {
        let bound = b.bind_expr(e, &scope)?;
        if contains_subquery(&bound) {
            let message = "cannot use subquery in EXECUTE parameter";
            return Err(b.error_at(state::FEATURE_NOT_SUPPORTED, message, at));
        }
        let given = bound.ty().oid;
        match b.try_coerce(bound, ty, CastContext::Assignment).map_err(|e| b.locate(e, at))? {
            Ok(value) => Ok(value),
            Err(_) => Err(b.locate(
                SqlError::new(
                    state::DATATYPE_MISMATCH,
                    format!(
                        "parameter ${number} of type {} cannot be coerced to the expected type {}",
                        type_name(given),
                        type_name(ty.oid)
                    ),
                )
                .with_hint("You will need to rewrite or cast the expression."),
                at,
            )),
        }
    })
}

/// Binds the time of AS OF SYSTEM TIME, of whatever type. It must be computable at once.
pub fn bind_as_of(context: BindContext<'_>, source: &str, e: &ast::Expr) -> SqlResult<Expr> {
    let mut binder = Binder::new(context, source);
    let (scope, at) = (Scope::new(None), start_of(e));
    binder.in_level(Clause::AsOf, |b| {
        let bound = b.bind_expr(e, &scope)?;
        if contains_subquery(&bound) || bound.has_async() {
            let message = "AS OF SYSTEM TIME must be a constant expression";
            return Err(b.error_at(state::FEATURE_NOT_SUPPORTED, message, at));
        }
        b.unknown_to_text(bound)
    })
}
