//! Changes of type: literals and parameters take the type that their place wants, all else gets explicit casts.

use sqlparser::tokenizer::Location;

use super::Binder;
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::registry::{CastContext, CastMethod, element_of, find_cast, resolve_common_type, type_name};
use crate::types::{Datum, Oid, SqlType};

impl Binder<'_> {
    /// `expr` as a value of `target` (its modifier included); `None` if this context has no such cast.
    pub fn try_coerce(
        &mut self,
        expr: Expr,
        target: SqlType,
        context: CastContext,
    ) -> SqlResult<Result<Expr, Expr>> {
        let from = expr.ty();
        let same = SqlType::new(target.oid);
        let coerced = if from.oid == target.oid {
            expr
        } else if from.oid == Oid::UNKNOWN {
            match self.resolve_unknown(expr, target, context)? {
                Ok(done) => return Ok(Ok(done)),
                Err(other) => cast(other, CastMethod::InOut, same, context),
            }
        } else if context == CastContext::Explicit
            && matches!(expr, Expr::Array { .. })
            && let Some(element) = element_of(target.oid)
        {
            let Expr::Array { elements, .. } = expr else { return Ok(Err(expr)) };
            return self.coerce_array(elements, element, target, context);
        } else {
            match find_cast(from.oid, target.oid, context) {
                Some(method) => cast(expr, method, same, context),
                None => return Ok(Err(expr)),
            }
        };
        Ok(Ok(apply_typmod(coerced, target, context)))
    }

    /// A cast of an array constructor is a cast of its elements.
    fn coerce_array(
        &mut self,
        elements: Vec<Expr>,
        element: Oid,
        target: SqlType,
        context: CastContext,
    ) -> SqlResult<Result<Expr, Expr>> {
        let nested = elements.iter().any(|e| element_of(e.ty().oid).is_some());
        let wanted = if nested { target } else { SqlType::with_typmod(element, target.typmod) };
        let mut done = Vec::with_capacity(elements.len());
        for e in elements {
            match self.try_coerce(e, wanted, context)? {
                Ok(e) => done.push(e),
                Err(e) => {
                    return Err(cannot_cast(e.ty().oid, wanted.oid));
                }
            }
        }
        Ok(Ok(Expr::Array { elements: done, ty: target }))
    }

    /// A literal is read, a parameter gets its type; any other unknown comes back.
    fn resolve_unknown(
        &mut self,
        expr: Expr,
        target: SqlType,
        context: CastContext,
    ) -> SqlResult<Result<Expr, Expr>> {
        match expr {
            Expr::Const(Datum::Null, _) => Ok(Ok(Expr::Const(Datum::Null, target))),
            Expr::Const(Datum::Text(text), _) => {
                // As in PostgreSQL the input function sees no modifier (but intervals need theirs).
                let typmod = if target.oid == Oid::INTERVAL { target.typmod } else { -1 };
                let value = self.read_literal(&text, SqlType::with_typmod(target.oid, typmod))?;
                let value = Expr::Const(value, SqlType::with_typmod(target.oid, typmod));
                Ok(Ok(apply_typmod(value, target, context)))
            }
            Expr::Param { index, .. } => {
                self.params.determine(index, target.oid)?;
                let param = Expr::Param { index, ty: SqlType::new(target.oid) };
                Ok(Ok(apply_typmod(param, target, context)))
            }
            other => Ok(Err(other)),
        }
    }

    /// The value that a quoted literal has as a value of `ty`.
    pub fn read_literal(&self, text: &str, ty: SqlType) -> SqlResult<Datum> {
        crate::types::text::input(ty, text, &self.context.eval.text())
    }

    /// Coerces where PostgreSQL does so unasked.
    pub fn coerce_implicitly(&mut self, expr: Expr, target: SqlType) -> SqlResult<Expr> {
        match self.try_coerce(expr, target, CastContext::Implicit)? {
            Ok(done) => Ok(done),
            Err(expr) => Err(cannot_cast(expr.ty().oid, target.oid)),
        }
    }

    /// To bool, for WHERE and the like.
    pub fn coerce_to_bool(&mut self, expr: Expr, construct: &str) -> SqlResult<Expr> {
        match self.try_coerce(expr, SqlType::new(Oid::BOOL), CastContext::Assignment)? {
            Ok(done) => Ok(done),
            Err(expr) => Err(SqlError::new(
                state::DATATYPE_MISMATCH,
                format!(
                    "argument of {construct} must be type boolean, not type {}",
                    type_name(expr.ty().oid)
                ),
            )),
        }
    }

    /// CAST and `::`.
    pub fn coerce_explicitly(&mut self, expr: Expr, target: SqlType) -> SqlResult<Expr> {
        match self.try_coerce(expr, target, CastContext::Explicit)? {
            Ok(done) => Ok(done),
            Err(expr) => Err(cannot_cast(expr.ty().oid, target.oid)),
        }
    }

    /// The value of a column.
    pub fn coerce_assigned(&mut self, expr: Expr, target: SqlType, column: &str) -> SqlResult<Expr> {
        match self.try_coerce(expr, target, CastContext::Assignment)? {
            Ok(done) => Ok(done),
            Err(expr) => Err(SqlError::new(
                state::DATATYPE_MISMATCH,
                format!(
                    "column \"{column}\" is of type {} but expression is of type {}",
                    type_name(target.oid),
                    type_name(expr.ty().oid)
                ),
            )
            .with_hint("You will need to rewrite or cast the expression.")),
        }
    }

    /// Brings expressions to the one type that CASE, UNION, VALUES and the like need.
    pub fn unify(&mut self, exprs: Vec<Expr>, context: &str) -> SqlResult<(Vec<Expr>, SqlType)> {
        let types: Vec<Oid> = exprs.iter().map(|e| e.ty().oid).collect();
        let oid = resolve_common_type(context, &types)?;
        // A modifier that all share is kept.
        let typmod = match exprs.split_first() {
            Some((first, rest)) if first.ty().oid == oid && rest.iter().all(|e| e.ty() == first.ty()) => {
                first.ty().typmod
            }
            _ => -1,
        };
        let mut done = Vec::with_capacity(exprs.len());
        for e in exprs {
            let from = e.ty().oid;
            match self.try_coerce(e, SqlType::new(oid), CastContext::Implicit)? {
                Ok(e) => done.push(e),
                Err(_) => {
                    return Err(SqlError::new(
                        state::CANNOT_COERCE,
                        format!("{context} could not convert type {} to {}", type_name(from), type_name(oid)),
                    ));
                }
            }
        }
        Ok((done, SqlType::with_typmod(oid, typmod)))
    }

    /// Gives an error about types that do not meet the place of the first expression that does not fit those before it.
    pub fn locate_mismatch(
        &self,
        error: SqlError,
        context: &str,
        types: &[Oid],
        place: impl Fn(usize) -> Location,
    ) -> SqlError {
        let first = (1..types.len()).find(|i| resolve_common_type(context, &types[..=*i]).is_err());
        match first {
            Some(i) => self.locate(error, place(i)),
            None => error,
        }
    }

    /// What is still unknown when nothing else will tell becomes text.
    pub fn unknown_to_text(&mut self, expr: Expr) -> SqlResult<Expr> {
        if expr.ty().oid != Oid::UNKNOWN {
            return Ok(expr);
        }
        self.coerce_implicitly(expr, SqlType::new(Oid::TEXT))
    }
}

pub fn cannot_cast(from: Oid, to: Oid) -> SqlError {
    SqlError::new(state::CANNOT_COERCE, format!("cannot cast type {} to {}", type_name(from), type_name(to)))
}

fn cast(arg: Expr, method: CastMethod, to: SqlType, context: CastContext) -> Expr {
    Expr::Cast { arg: Box::new(arg), method, to, explicit: context == CastContext::Explicit }
}

/// Length, precision and scale; nothing for types without.
fn apply_typmod(expr: Expr, target: SqlType, context: CastContext) -> Expr {
    if target.typmod < 0 || expr.ty().typmod == target.typmod {
        return expr;
    }
    if let Expr::Const(Datum::Null, _) = expr {
        return Expr::Const(Datum::Null, target);
    }
    cast(expr, CastMethod::Typmod, target, context)
}
