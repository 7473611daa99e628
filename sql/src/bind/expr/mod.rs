//! Expressions: one function per form of the grammar.

mod column;
mod literal;
mod operator;
mod special;
mod subquery;

pub use operator::row_fields;
pub use subquery::column_subqueries;

use sqlparser::ast;
use sqlparser::tokenizer::Location;

use super::scope::Scope;
use super::{Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::registry::{CastContext, array_of, element_of, resolve_common_type};
use crate::types::{Datum, Oid, SqlType};

impl Binder<'_> {
    /// Binds an expression over the row of `scope`. Literals and parameters may come out as UNKNOWN.
    pub fn bind_expr(&mut self, e: &ast::Expr, scope: &Scope<'_>) -> SqlResult<Expr> {
        // Leaves first, without the cost of watching the stack.
        match e {
            ast::Expr::Identifier(ident) => self.bind_column(ident, scope),
            ast::Expr::CompoundIdentifier(parts) => self.bind_compound(parts, scope),
            ast::Expr::Value(value) => self.bind_value(value),
            _ => self.nested(|b| b.bind_inner(e, scope)),
        }
    }

    fn bind_inner(&mut self, e: &ast::Expr, scope: &Scope<'_>) -> SqlResult<Expr> {
        use ast::Expr as E;
        match e {
            E::Nested(inner) => self.bind_expr(inner, scope),
            E::BinaryOp { left, op, right } => self.bind_binary(e, left, op, right, scope),
            E::UnaryOp { op, expr } => self.bind_unary(*op, expr, scope),
            E::Cast { expr, data_type, kind, .. } => {
                if !matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon) {
                    return Err(SqlError::unsupported("TRY_CAST"));
                }
                self.bind_cast(expr, data_type, scope)
            }
            E::TypedString(t) => self.bind_typed_literal(t),
            E::Interval(i) => self.bind_interval(i, scope),
            E::Function(f) => self.bind_function_call(f, scope),
            E::IsNull(arg) => self.bind_null_test(arg, false, scope),
            E::IsNotNull(arg) => self.bind_null_test(arg, true, scope),
            E::IsTrue(arg) => self.bind_truth(arg, Some(true), false, "IS TRUE", scope),
            E::IsNotTrue(arg) => self.bind_truth(arg, Some(true), true, "IS NOT TRUE", scope),
            E::IsFalse(arg) => self.bind_truth(arg, Some(false), false, "IS FALSE", scope),
            E::IsNotFalse(arg) => self.bind_truth(arg, Some(false), true, "IS NOT FALSE", scope),
            E::IsUnknown(arg) => self.bind_truth(arg, None, false, "IS UNKNOWN", scope),
            E::IsNotUnknown(arg) => self.bind_truth(arg, None, true, "IS NOT UNKNOWN", scope),
            E::IsDistinctFrom(l, r) => self.bind_distinct(l, r, false, scope),
            E::IsNotDistinctFrom(l, r) => self.bind_distinct(l, r, true, scope),
            E::InList { expr, list, negated } => self.bind_in_list(expr, list, *negated, scope),
            E::InSubquery { expr, subquery, negated } => {
                self.bind_in_subquery(expr, subquery, *negated, scope)
            }
            E::Between { expr, negated, low, high } => self.bind_between(expr, *negated, low, high, scope),
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                let op = if *negated { "!~~" } else { "~~" };
                self.bind_like(op, expr, pattern, escape_char.as_deref(), scope)
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                let op = if *negated { "!~~*" } else { "~~*" };
                self.bind_like(op, expr, pattern, escape_char.as_deref(), scope)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.bind_similar(*negated, expr, pattern, escape_char.as_deref(), scope)
            }
            E::AnyOp { left, compare_op, right, .. } => {
                self.bind_quantified(left, compare_op, right, false, scope)
            }
            E::AllOp { left, compare_op, right } => {
                self.bind_quantified(left, compare_op, right, true, scope)
            }
            E::Case { operand, conditions, else_result, .. } => {
                self.bind_case(operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            E::Exists { subquery, negated } => self.bind_exists(subquery, *negated, scope),
            E::Subquery(query) => self.bind_scalar_subquery(query, scope),
            E::Array(array) => self.bind_array(&array.elem, scope),
            E::Tuple(fields) => self.bind_row(fields, scope),
            E::Collate { expr, collation } => self.bind_collate(expr, collation, scope),
            E::AtTimeZone { timestamp, time_zone } => {
                let args = vec![self.bind_expr(time_zone, scope)?, self.bind_expr(timestamp, scope)?];
                self.call("timezone", args, start_of(e))
            }
            E::Extract { field, expr, .. } => self.bind_extract(field, expr, scope),
            E::Ceil { expr, field } => self.bind_rounding("ceil", expr, field, scope),
            E::Floor { expr, field } => self.bind_rounding("floor", expr, field, scope),
            E::Position { expr, r#in } => {
                let args = vec![self.bind_expr(r#in, scope)?, self.bind_expr(expr, scope)?];
                self.call("position", args, start_of(e))
            }
            E::Substring { .. } => self.bind_substring(e, scope),
            E::Trim { trim_where, trim_what, expr, trim_characters } => {
                self.bind_trim(*trim_where, trim_what.as_deref(), expr, trim_characters.as_deref(), scope)
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![
                    self.bind_expr(expr, scope)?,
                    self.bind_expr(overlay_what, scope)?,
                    self.bind_expr(overlay_from, scope)?,
                ];
                if let Some(count) = overlay_for {
                    args.push(self.bind_expr(count, scope)?);
                }
                self.call("overlay", args, start_of(e))
            }
            E::CompoundFieldAccess { root, access_chain } => self.bind_access(root, access_chain, scope),
            E::Prior(_) => {
                Err(self.error_at(state::SYNTAX_ERROR, "syntax error at or near \"variadic\"", start_of(e)))
            }
            E::Wildcard(_) | E::QualifiedWildcard(..) => Err(self.error_at(
                state::SYNTAX_ERROR,
                "row expansion via \"*\" is not supported here",
                start_of(e),
            )),
            E::GroupingSets(_) | E::Cube(_) | E::Rollup(_) => {
                Err(SqlError::unsupported("grouping sets, CUBE and ROLLUP"))
            }
            other => Err(self.locate(
                SqlError::unsupported(format!("the expression {}", shorten(&other.to_string()))),
                start_of(other),
            )),
        }
    }

    fn bind_cast(&mut self, expr: &ast::Expr, ty: &ast::DataType, scope: &Scope<'_>) -> SqlResult<Expr> {
        let target = super::bind_data_type(ty).map_err(|e| self.locate(e, start_of(expr)))?;
        // The elements of an array constructor are cast one by one, so that unknown ones are read as what they will be.
        if let (ast::Expr::Array(array), Some(_)) = (expr, element_of(target.oid)) {
            return self.bind_array_as(&array.elem, target, scope);
        }
        let arg = self.bind_expr(expr, scope)?;
        self.coerce_explicitly(arg, target).map_err(|e| self.locate(e, start_of(expr)))
    }

    fn bind_array_as(
        &mut self,
        elements: &[ast::Expr],
        target: SqlType,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let element = element_of(target.oid).unwrap_or(Oid::TEXT);
        let element = SqlType::with_typmod(element, target.typmod);
        let mut done = Vec::with_capacity(elements.len());
        for e in elements {
            let bound = match e {
                ast::Expr::Array(inner) => self.bind_array_as(&inner.elem, target, scope)?,
                other => {
                    let bound = self.bind_expr(other, scope)?;
                    let wanted = if element_of(bound.ty().oid).is_some() { target } else { element };
                    self.coerce_explicitly(bound, wanted).map_err(|err| self.locate(err, start_of(e)))?
                }
            };
            done.push(bound);
        }
        Ok(Expr::Array { elements: done, ty: target })
    }

    fn bind_array(&mut self, elements: &[ast::Expr], scope: &Scope<'_>) -> SqlResult<Expr> {
        if elements.is_empty() {
            return Err(SqlError::new(state::INDETERMINATE_DATATYPE, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let mut bound = Vec::with_capacity(elements.len());
        for e in elements {
            bound.push(self.bind_expr(e, scope)?);
        }
        let types: Vec<Oid> = bound.iter().map(|e| e.ty().oid).collect();
        let common = resolve_common_type("ARRAY", &types)
            .map_err(|e| self.locate_mismatch(e, "ARRAY", &types, |i| start_of(&elements[i])))?;
        let (elements, unified) = self.unify(bound, "ARRAY")?;
        let array = if element_of(common).is_some() { Some(common) } else { array_of(common) };
        let array = array.ok_or_else(|| {
            SqlError::new(
                state::UNDEFINED_OBJECT,
                format!("could not find array type for data type {}", crate::registry::type_name(common)),
            )
        })?;
        Ok(Expr::Array { elements, ty: SqlType::with_typmod(array, unified.typmod) })
    }

    fn bind_row(&mut self, fields: &[ast::Expr], scope: &Scope<'_>) -> SqlResult<Expr> {
        let mut bound = Vec::with_capacity(fields.len());
        for e in fields {
            let e = self.bind_expr(e, scope)?;
            bound.push(self.unknown_to_text(e)?);
        }
        Ok(Expr::Row { fields: bound, ty: SqlType::new(Oid::RECORD) })
    }

    fn bind_null_test(&mut self, arg: &ast::Expr, negated: bool, scope: &Scope<'_>) -> SqlResult<Expr> {
        let arg = self.bind_expr(arg, scope)?;
        let arg = self.unknown_to_text(arg)?;
        Ok(Expr::IsNull { arg: Box::new(arg), negated })
    }

    fn bind_truth(
        &mut self,
        arg: &ast::Expr,
        value: Option<bool>,
        negated: bool,
        construct: &str,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let bound = self.bind_expr(arg, scope)?;
        let bound = self.coerce_to_bool(bound, construct).map_err(|e| self.locate(e, start_of(arg)))?;
        Ok(Expr::IsTruth { arg: Box::new(bound), value, negated })
    }

    fn bind_case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let operand = match operand {
            Some(e) => {
                let bound = self.bind_expr(e, scope)?;
                Some(self.unknown_to_text(bound)?)
            }
            None => None,
        };
        let mut tests = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for when in conditions {
            let test = self.bind_expr(&when.condition, scope)?;
            let at = start_of(&when.condition);
            tests.push(match &operand {
                Some(operand) => {
                    let operand = self.copy_of(operand)?;
                    self.binary_operator("=", operand, test, at)?
                }
                None => self.coerce_to_bool(test, "CASE/WHEN").map_err(|e| self.locate(e, at))?,
            });
            results.push(self.bind_expr(&when.result, scope)?);
        }
        let otherwise = match otherwise {
            Some(e) => self.bind_expr(e, scope)?,
            None => Expr::Const(Datum::Null, SqlType::new(Oid::UNKNOWN)),
        };
        // PostgreSQL looks at ELSE first.
        results.insert(0, otherwise);
        let types: Vec<Oid> = results.iter().map(|e| e.ty().oid).collect();
        let (results, ty) = self.unify(results, "CASE").map_err(|e| {
            self.locate_mismatch(e, "CASE", &types, |i| match i {
                0 => Location::empty(),
                i => start_of(&conditions[i - 1].result),
            })
        })?;
        let mut results = results.into_iter();
        let otherwise = results.next().ok_or_else(|| SqlError::internal("CASE without ELSE"))?;
        let arms = tests.into_iter().zip(results).collect();
        Ok(Expr::Case { arms, otherwise: Box::new(otherwise), ty })
    }

    /// Only collations that compare bytes exist; they are accepted and change nothing.
    fn bind_collate(
        &mut self,
        expr: &ast::Expr,
        collation: &ast::ObjectName,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let parts = super::name::object_name_parts(collation)?;
        let name = parts.last().map(|p| super::fold(p)).unwrap_or_default();
        if !matches!(&*name, "C" | "default" | "POSIX" | "ucs_basic" | "C.UTF-8" | "C.utf8") {
            return Err(self.error_at(
                state::UNDEFINED_OBJECT,
                format!("collation \"{}\" for encoding \"UTF8\" does not exist", super::name::dotted(&parts)),
                start_of(collation),
            ));
        }
        let bound = self.bind_expr(expr, scope)?;
        let bound = self.unknown_to_text(bound)?;
        let ty = bound.ty().oid;
        if !matches!(
            ty,
            Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME | Oid::TEXT_ARRAY | Oid::VARCHAR_ARRAY
        ) {
            return Err(self.error_at(
                state::DATATYPE_MISMATCH,
                format!("collations are not supported by type {}", crate::registry::type_name(ty)),
                start_of(expr),
            ));
        }
        Ok(bound)
    }

    /// Subscripts and field selection.
    fn bind_access(
        &mut self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        // The nesting that a chain makes is not in the text; that of arrays ends long before.
        const MAX_CHAIN: usize = 100;
        if chain.len() > MAX_CHAIN {
            return Err(SqlError::too_complex());
        }
        let mut bound = self.bind_expr(root, scope)?;
        for access in chain {
            bound = match access {
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                    let at = start_of(index);
                    let index = self.bind_expr(index, scope)?;
                    self.subscript(bound, index, at)?
                }
                ast::AccessExpr::Subscript(ast::Subscript::Slice { .. }) => {
                    return Err(SqlError::unsupported("an array slice"));
                }
                ast::AccessExpr::Dot(_) => {
                    return Err(SqlError::unsupported("selecting a field of a composite value"));
                }
            };
        }
        Ok(bound)
    }

    fn subscript(&mut self, array: Expr, index: Expr, at: sqlparser::tokenizer::Location) -> SqlResult<Expr> {
        let ty = array.ty();
        // `a[1][2]`: what is subscripted again is still the array.
        let again = matches!(array, Expr::Subscript { .. }) && subscript_type(ty.oid).is_none();
        let Some(element) = subscript_type(ty.oid).or(again.then_some(ty.oid)) else {
            return Err(self.error_at(
                state::DATATYPE_MISMATCH,
                format!(
                    "cannot subscript type {} because it does not support subscripting",
                    crate::registry::type_name(ty.oid)
                ),
                at,
            ));
        };
        if ty.oid == Oid::JSONB {
            return self.binary_operator("->", array, index, at);
        }
        let index = match self.try_coerce(index, SqlType::new(Oid::INT4), CastContext::Assignment)? {
            Ok(e) => e,
            Err(_) => {
                return Err(self.error_at(
                    state::DATATYPE_MISMATCH,
                    "array subscript must have type integer",
                    at,
                ));
            }
        };
        // Of `a[1][2]` only the whole chain reads an element, but the intermediate value has the array's type in
        // PostgreSQL, too, and one subscript of a two-dimensional array is NULL there.
        Ok(Expr::Subscript {
            array: Box::new(array),
            index: Box::new(index),
            ty: SqlType::with_typmod(element, ty.typmod),
        })
    }
}

fn subscript_type(oid: Oid) -> Option<Oid> {
    match oid {
        Oid::INT2VECTOR => Some(Oid::INT2),
        Oid::OIDVECTOR => Some(Oid::OID),
        Oid::JSONB => Some(Oid::JSONB),
        other => element_of(other),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((i, _)) => format!("{}…", &text[..i]),
        None => text.to_string(),
    }
}
