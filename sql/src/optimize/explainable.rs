//! Making conditions: the operator functions that rewrites need.

use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::registry::{Function, function_by_oid, operators_named};
use crate::types::{Oid, SqlType};

/// The function behind `=` over two values of a type.
pub fn equality_function(ty: Oid) -> Option<&'static Function> {
    let ty = if ty == Oid::VARCHAR { Oid::TEXT } else { ty };
    let operators = operators_named("=");
    let exact = operators.iter().find(|o| o.left == ty && o.right == ty);
    let generic = || {
        let kind = if crate::registry::element_of(ty).is_some() { Oid::ANYARRAY } else { Oid::INVALID };
        operators.iter().find(|o| o.left == kind && o.right == kind)
    };
    function_by_oid(exact.or_else(generic)?.function)
}

/// `l = r` for two expressions of one type (or kinds of text).
pub fn equality(l: Expr, r: Expr) -> SqlResult<Expr> {
    let ty = l.ty().oid;
    let function = equality_function(ty)
        .ok_or_else(|| SqlError::internal(format!("type {ty} has no equality operator")))?;
    Ok(Expr::Call { function, args: vec![l, r], ty: SqlType::new(Oid::BOOL) })
}
