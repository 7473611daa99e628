//! Operators, comparisons of rows and lists, LIKE, BETWEEN.

use sqlparser::ast::{self, BinaryOperator, UnaryOperator};
use sqlparser::tokenizer::Location;

use crate::bind::scope::Scope;
use crate::bind::{Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::registry::{self, Function, element_of, function_by_oid, operators_named};
use crate::types::{Datum, Oid, SqlType};

impl Binder<'_> {
    pub fn bind_binary(
        &mut self,
        whole: &ast::Expr,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        match op {
            BinaryOperator::And => self.bind_chain(whole, true, scope),
            BinaryOperator::Or => self.bind_chain(whole, false, scope),
            BinaryOperator::Overlaps => self.bind_overlaps(left, right, scope),
            _ => {
                let name = operator_name(op)?;
                if let (Some(l), Some(r)) = (row_fields(left), row_fields(right)) {
                    return self.bind_row_comparison(&name, l, r, start_of(left), scope);
                }
                if let (Some(fields), ast::Expr::Subquery(query)) = (row_fields(left), right) {
                    return self.bind_row_subquery(fields, &name, query, scope);
                }
                let l = self.bind_expr(left, scope)?;
                let r = self.bind_expr(right, scope)?;
                let at = if l.ty().oid == Oid::UNKNOWN || r.ty().oid == Oid::UNKNOWN {
                    literal_start(&l, left, right)
                } else {
                    Location::empty()
                };
                self.binary_operator(&name, l, r, at).map_err(|e| self.locate_operator(e, left))
            }
        }
    }

    /// A chain of ANDs or ORs, however long, without recursion along it.
    fn bind_chain(&mut self, whole: &ast::Expr, and: bool, scope: &Scope<'_>) -> SqlResult<Expr> {
        let wanted = if and { BinaryOperator::And } else { BinaryOperator::Or };
        let name = if and { "AND" } else { "OR" };
        let mut operands = Vec::new();
        let mut pending = vec![whole];
        while let Some(e) = pending.pop() {
            match e {
                ast::Expr::BinaryOp { left, op, right } if *op == wanted => {
                    pending.push(right);
                    pending.push(left);
                }
                other => {
                    let bound = self.bind_expr(other, scope)?;
                    let bound =
                        self.coerce_to_bool(bound, name).map_err(|e| self.locate(e, start_of(other)))?;
                    match (bound, and) {
                        (Expr::And(more), true) | (Expr::Or(more), false) => operands.extend(more),
                        (one, _) => operands.push(one),
                    }
                }
            }
        }
        Ok(if and { Expr::And(operands) } else { Expr::Or(operands) })
    }

    pub fn bind_unary(&mut self, op: UnaryOperator, arg: &ast::Expr, scope: &Scope<'_>) -> SqlResult<Expr> {
        let name = match op {
            UnaryOperator::Not => {
                let bound = self.bind_expr(arg, scope)?;
                let bound = self.coerce_to_bool(bound, "NOT").map_err(|e| self.locate(e, start_of(arg)))?;
                return Ok(Expr::Not(Box::new(bound)));
            }
            UnaryOperator::Minus => {
                if let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(n, _), span }) = arg {
                    return self.number(&format!("-{n}"), span.start);
                }
                "-"
            }
            UnaryOperator::Plus => "+",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::PGCubeRoot => "||/",
            other => return Err(SqlError::unsupported(format!("operator {other}"))),
        };
        let bound = self.bind_expr(arg, scope)?;
        self.prefix_operator(name, bound).map_err(|e| self.locate(e, start_of(arg)))
    }

    /// Gives an error about an operator the operator's position, which the tree does not keep: it is the first thing
    /// after the left operand.
    fn locate_operator(&self, error: SqlError, left: &ast::Expr) -> SqlError {
        if !matches!(error.code(), state::UNDEFINED_FUNCTION | state::AMBIGUOUS_FUNCTION) {
            return self.locate(error, start_of(left));
        }
        let end = ast::Spanned::span(left).end;
        if error.fields().position.is_some() || end.line == 0 {
            return error;
        }
        let offset = crate::parse::offset_of(self.source, end);
        let rest = self.source.get(offset..).unwrap_or_default();
        let skipped = rest.chars().take_while(|c| c.is_whitespace() || *c == ')').count();
        let before = self.source[..offset].chars().count();
        error.with_position((before + skipped) as u32 + 1)
    }

    fn prefix_operator(&mut self, name: &str, arg: Expr) -> SqlResult<Expr> {
        let (_, resolved) = registry::resolve_operator(name, None, arg.ty().oid)?;
        let arg = self.coerce_implicitly(arg, SqlType::new(resolved.args[0]))?;
        Ok(Expr::Call { function: resolved.function, args: vec![arg], ty: SqlType::new(resolved.result) })
    }

    /// `left op right` over bound operands.
    pub fn binary_operator(&mut self, name: &str, left: Expr, right: Expr, at: Location) -> SqlResult<Expr> {
        if let (Expr::Row { .. }, Expr::Row { .. }) = (&left, &right) {
            return self.compare_rows(name, left, right, at);
        }
        let (l, r) = (left.ty().oid, right.ty().oid);
        if let Some((function, arg_types, result)) = exact_operator(name, l, r) {
            let left =
                self.coerce_implicitly(left, SqlType::new(arg_types.0)).map_err(|e| self.locate(e, at))?;
            let right =
                self.coerce_implicitly(right, SqlType::new(arg_types.1)).map_err(|e| self.locate(e, at))?;
            return Ok(Expr::Call { function, args: vec![left, right], ty: SqlType::new(result) });
        }
        let (_, resolved) = registry::resolve_operator(name, Some(l), r)?;
        let left =
            self.coerce_implicitly(left, SqlType::new(resolved.args[0])).map_err(|e| self.locate(e, at))?;
        let right =
            self.coerce_implicitly(right, SqlType::new(resolved.args[1])).map_err(|e| self.locate(e, at))?;
        Ok(Expr::Call {
            function: resolved.function,
            args: vec![left, right],
            ty: SqlType::new(resolved.result),
        })
    }

    /// The function of a comparison between these types, and what to cast the sides to.
    pub fn comparison(
        &mut self,
        name: &str,
        left: Oid,
        right: Oid,
    ) -> SqlResult<(&'static Function, Oid, Oid)> {
        let (function, l, r, result) = match exact_operator(name, left, right) {
            Some((function, (l, r), result)) => (function, l, r, result),
            None => {
                let (_, resolved) = registry::resolve_operator(name, Some(left), right)?;
                (resolved.function, resolved.args[0], resolved.args[1], resolved.result)
            }
        };
        if result != Oid::BOOL {
            return Err(SqlError::new(
                state::WRONG_OBJECT_TYPE,
                "op ANY/ALL (array) requires operator to yield boolean",
            ));
        }
        Ok((function, l, r))
    }

    pub fn bind_distinct(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        negated: bool,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        if let (Some(l), Some(r)) = (row_fields(left), row_fields(right)) {
            if l.len() != r.len() {
                return Err(unequal_rows());
            }
            let mut parts = Vec::with_capacity(l.len());
            for (l, r) in l.iter().zip(r) {
                parts.push(self.bind_distinct(l, r, negated, scope)?);
            }
            return Ok(if negated { Expr::And(parts) } else { Expr::Or(parts) });
        }
        let l = self.bind_expr(left, scope)?;
        let r = self.bind_expr(right, scope)?;
        let at = start_of(left);
        let call = self.binary_operator("=", l, r, at).map_err(|e| self.locate(e, at))?;
        let Expr::Call { function, args, .. } = call else {
            return Err(SqlError::unsupported("IS DISTINCT FROM between these types"));
        };
        let mut args = args.into_iter();
        match (args.next(), args.next()) {
            (Some(left), Some(right)) => Ok(Expr::IsDistinct {
                left: Box::new(left),
                right: Box::new(right),
                equal: function,
                negated,
            }),
            _ => Err(SqlError::internal("an equality operator without operands")),
        }
    }

    pub fn bind_between(
        &mut self,
        arg: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let at = start_of(arg);
        let value = self.bind_expr(arg, scope)?;
        let low = self.bind_expr(low, scope)?;
        let high = self.bind_expr(high, scope)?;
        let (above, below) = if negated { ("<", ">") } else { (">=", "<=") };
        let copy = self.copy_of(&value)?;
        let first = self.binary_operator(above, copy, low, at).map_err(|e| self.locate(e, at))?;
        let second = self.binary_operator(below, value, high, at).map_err(|e| self.locate(e, at))?;
        Ok(if negated { Expr::Or(vec![first, second]) } else { Expr::And(vec![first, second]) })
    }

    pub fn bind_like(
        &mut self,
        op: &str,
        arg: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let at = start_of(arg);
        let value = self.bind_expr(arg, scope)?;
        let mut pattern = self.bind_expr(pattern, scope)?;
        if let Some(escape) = escape {
            let escape = self.bind_expr(escape, scope)?;
            pattern = self.call("like_escape", vec![pattern, escape], at)?;
        }
        self.binary_operator(op, value, pattern, at).map_err(|e| self.locate(e, at))
    }

    pub fn bind_similar(
        &mut self,
        negated: bool,
        arg: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let at = start_of(arg);
        let value = self.bind_expr(arg, scope)?;
        let mut args = vec![self.bind_expr(pattern, scope)?];
        if let Some(escape) = escape {
            args.push(self.bind_expr(escape, scope)?);
        }
        let regex = self.call("similar_to_escape", args, at)?;
        self.binary_operator(if negated { "!~" } else { "~" }, value, regex, at)
    }

    /// `x IN (a, b, …)`: one comparison with an array if all are of one type, else a chain of comparisons.
    pub fn bind_in_list(
        &mut self,
        arg: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let at = start_of(arg);
        if let Some(fields) = row_fields(arg) {
            let mut tests = Vec::with_capacity(list.len());
            for item in list {
                let Some(others) = row_fields(item) else { return Err(unequal_rows()) };
                tests.push(self.bind_row_comparison("=", fields, others, at, scope)?);
            }
            let any = if tests.len() == 1 { tests.swap_remove(0) } else { Expr::Or(tests) };
            return Ok(if negated { Expr::Not(Box::new(any)) } else { any });
        }
        let value = self.bind_expr(arg, scope)?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            items.push(self.bind_expr(item, scope)?);
        }
        let op = if negated { "<>" } else { "=" };
        let mut types: Vec<Oid> = vec![value.ty().oid];
        types.extend(items.iter().map(|e| e.ty().oid));
        let common = registry::resolve_common_type("IN", &types).ok().filter(|t| *t != Oid::RECORD);
        if let (Some(common), true) = (common, items.len() > 1)
            && let Some(array_type) = registry::array_of(common)
            && let Ok((function, l, r)) = self.comparison(op, value.ty().oid, common)
        {
            let left = self.coerce_implicitly(value, SqlType::new(l)).map_err(|e| self.locate(e, at))?;
            let mut elements = Vec::with_capacity(items.len());
            for (item, tree) in items.into_iter().zip(list) {
                elements.push(
                    self.coerce_implicitly(item, SqlType::new(r))
                        .map_err(|e| self.locate(e, start_of(tree)))?,
                );
            }
            let array_type =
                if r == common { array_type } else { registry::array_of(r).unwrap_or(array_type) };
            return Ok(Expr::ArrayCompare {
                left: Box::new(left),
                op: function,
                array: Box::new(Expr::Array { elements, ty: SqlType::new(array_type) }),
                all: negated,
            });
        }
        let mut tests = Vec::with_capacity(items.len());
        for (item, tree) in items.into_iter().zip(list) {
            let copy = self.copy_of(&value)?;
            tests.push(self.binary_operator(op, copy, item, start_of(tree)).map_err(|e| self.locate(e, at))?);
        }
        Ok(match (tests.len(), negated) {
            (1, _) => tests.swap_remove(0),
            (_, true) => Expr::And(tests),
            (_, false) => Expr::Or(tests),
        })
    }

    /// `x op ANY (array)` and `x op ANY (subquery)`.
    pub fn bind_quantified(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        all: bool,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let name = operator_name(op)?;
        let inner = strip(right);
        if let ast::Expr::Subquery(query) = inner {
            return self.bind_compare_subquery(left, &name, query, all, scope);
        }
        let at = start_of(left);
        let value = self.bind_expr(left, scope)?;
        let array = self.bind_expr(right, scope)?;
        let array_type = array.ty().oid;
        let (array, element) = if array_type == Oid::UNKNOWN {
            // '{1,2}' or $1: an array of what is on the left.
            let element = if value.ty().oid == Oid::UNKNOWN { Oid::TEXT } else { value.ty().oid };
            let target = registry::array_of(element).unwrap_or(Oid::TEXT_ARRAY);
            (self.coerce_implicitly(array, SqlType::new(target))?, element)
        } else {
            let element = match array_type {
                Oid::INT2VECTOR => Some(Oid::INT2),
                Oid::OIDVECTOR => Some(Oid::OID),
                other => element_of(other),
            };
            let Some(element) = element else {
                return Err(self.error_at(
                    state::WRONG_OBJECT_TYPE,
                    "op ANY/ALL (array) requires array on right side",
                    at,
                ));
            };
            (array, element)
        };
        let (function, l, r) =
            self.comparison(&name, value.ty().oid, element).map_err(|e| self.locate(e, at))?;
        let left = self.coerce_implicitly(value, SqlType::new(l)).map_err(|e| self.locate(e, at))?;
        let array = if r == element {
            array
        } else {
            let target = registry::array_of(r).unwrap_or(array.ty().oid);
            self.coerce_implicitly(array, SqlType::new(target))?
        };
        Ok(Expr::ArrayCompare { left: Box::new(left), op: function, array: Box::new(array), all })
    }

    fn bind_row_comparison(
        &mut self,
        op: &str,
        left: &[ast::Expr],
        right: &[ast::Expr],
        at: Location,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        if left.len() != right.len() {
            return Err(self.locate(unequal_rows(), at));
        }
        let mut pairs = Vec::with_capacity(left.len());
        for (l, r) in left.iter().zip(right) {
            pairs.push((self.bind_expr(l, scope)?, self.bind_expr(r, scope)?));
        }
        self.compare_pairs(op, pairs, at)
    }

    fn compare_rows(&mut self, op: &str, left: Expr, right: Expr, at: Location) -> SqlResult<Expr> {
        match (left, right) {
            (Expr::Row { fields: l, .. }, Expr::Row { fields: r, .. }) => {
                if l.len() != r.len() {
                    return Err(self.locate(unequal_rows(), at));
                }
                self.compare_pairs(op, l.into_iter().zip(r).collect(), at)
            }
            _ => Err(SqlError::internal("a comparison of rows without rows")),
        }
    }

    /// `=` and `<>` field by field; the orderings lexicographically.
    pub fn compare_pairs(&mut self, op: &str, pairs: Vec<(Expr, Expr)>, at: Location) -> SqlResult<Expr> {
        match op {
            "=" | "<>" => {
                let mut tests = Vec::with_capacity(pairs.len());
                for (l, r) in pairs {
                    tests.push(self.binary_operator(op, l, r, at)?);
                }
                Ok(match (tests.len(), op) {
                    (1, _) => tests.swap_remove(0),
                    (_, "=") => Expr::And(tests),
                    _ => Expr::Or(tests),
                })
            }
            "<" | "<=" | ">" | ">=" => {
                // From the last field inwards: a < b OR (a = b AND rest).
                let strict = &op[..1];
                let mut rest: Option<Expr> = None;
                for (l, r) in pairs.into_iter().rev() {
                    rest = Some(match rest {
                        None => self.binary_operator(op, l, r, at)?,
                        Some(rest) => {
                            let before = {
                                let (l, r) = (self.copy_of(&l)?, self.copy_of(&r)?);
                                self.binary_operator(strict, l, r, at)?
                            };
                            let equal = self.binary_operator("=", l, r, at)?;
                            Expr::Or(vec![before, Expr::And(vec![equal, rest])])
                        }
                    });
                }
                rest.ok_or_else(|| {
                    SqlError::new(state::FEATURE_NOT_SUPPORTED, "cannot compare rows of zero length")
                })
            }
            _ => Err(SqlError::new(
                state::FEATURE_NOT_SUPPORTED,
                format!("could not determine interpretation of row comparison operator {op}"),
            )
            .with_hint("Row comparison operators must be associated with btree operator families.")),
        }
    }

    fn bind_overlaps(&mut self, left: &ast::Expr, right: &ast::Expr, scope: &Scope<'_>) -> SqlResult<Expr> {
        let (Some([a, b]), Some([c, d])) = (row_fields(left), row_fields(right)) else {
            return Err(SqlError::new(
                state::SYNTAX_ERROR,
                "wrong number of parameters on OVERLAPS expression",
            ));
        };
        let args = [a, b, c, d].into_iter().map(|e| self.bind_expr(e, scope)).collect::<SqlResult<_>>()?;
        self.call("overlaps", args, start_of(left))
    }
}

/// An operator whose declared types are these (an unknown side taken to be of the other's type): the common case,
/// found without weighing candidates.
fn exact_operator(name: &str, left: Oid, right: Oid) -> Option<(&'static Function, (Oid, Oid), Oid)> {
    let (l, r) = match (left, right) {
        (Oid::UNKNOWN, Oid::UNKNOWN) => return None,
        (Oid::UNKNOWN, known) | (known, Oid::UNKNOWN) => (known, known),
        both => both,
    };
    let operator = operators_named(name).iter().find(|o| o.left == l && o.right == r)?;
    let function = function_by_oid(operator.function)?;
    Some((function, (l, r), operator.result))
}

fn unequal_rows() -> SqlError {
    SqlError::new(state::SYNTAX_ERROR, "unequal number of entries in row expressions")
}

/// The fields of `(a, b)` or `ROW(a, b)`.
pub fn row_fields(e: &ast::Expr) -> Option<&[ast::Expr]> {
    match e {
        ast::Expr::Tuple(fields) => Some(fields),
        ast::Expr::Nested(inner) => row_fields(inner),
        _ => None,
    }
}

fn strip(e: &ast::Expr) -> &ast::Expr {
    match e {
        ast::Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

fn literal_start(l: &Expr, left: &ast::Expr, right: &ast::Expr) -> Location {
    match l {
        Expr::Const(Datum::Text(_), ty) if ty.oid == Oid::UNKNOWN => start_of(left),
        _ => start_of(right),
    }
}

/// The operator's symbol; a schema in `OPERATOR(pg_catalog.+)` must be pg_catalog.
fn operator_name(op: &BinaryOperator) -> SqlResult<std::borrow::Cow<'static, str>> {
    use BinaryOperator as B;
    Ok(std::borrow::Cow::Borrowed(match op {
        B::Eq => "=",
        B::NotEq => "<>",
        B::Lt => "<",
        B::LtEq => "<=",
        B::Gt => ">",
        B::GtEq => ">=",
        B::Plus => "+",
        B::Minus => "-",
        B::Multiply => "*",
        B::Divide => "/",
        B::Modulo => "%",
        B::StringConcat => "||",
        B::PGExp => "^",
        B::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [name] => return Ok(standard(name.clone())),
            [schema, name] if schema.eq_ignore_ascii_case("pg_catalog") => return Ok(standard(name.clone())),
            _ => {
                return Err(SqlError::new(
                    state::UNDEFINED_FUNCTION,
                    format!("operator does not exist: {}", parts.join(".")),
                ));
            }
        },
        B::Custom(name) => return Ok(standard(name.clone())),
        other => return Ok(standard(other.to_string())),
    }))
}

fn standard(name: String) -> std::borrow::Cow<'static, str> {
    if name == "!=" { "<>".into() } else { name.into() }
}
