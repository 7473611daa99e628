//! Computes expressions over single rows.
//!
//! One walk over the tree for each row, without an allocation of its own: arguments live on the stack. CASE, COALESCE,
//! AND and OR evaluate only what they need. Subqueries and calls that must wait are not evaluated here: the executor
//! replaces them before ([`Expr::split_async`]).

use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{CastMethod, Expr};
use crate::error::{SqlError, SqlResult};
use crate::registry::{Body, CallTypes, Function};
use crate::types::compare::compare;
use crate::types::{Array, Batch, Datum, Oid, Record, SqlType, text, typmod};

pub use super::eval_batch::{eval_batch, eval_filter};
pub use crate::registry::{EvalContext, SessionFunctions};

/// Arguments of a call; most functions have one or two.
type Args = SmallVec<[Datum; 3]>;

/// Where column references are looked up.
pub trait Row {
    fn column(&self, index: usize) -> Datum;
}

impl Row for [Datum] {
    fn column(&self, index: usize) -> Datum {
        self[index].clone()
    }
}

/// A row of a batch.
#[derive(Clone, Copy)]
pub struct BatchRow<'a> {
    pub batch: &'a Batch,
    pub row: usize,
}

impl Row for BatchRow<'_> {
    fn column(&self, index: usize) -> Datum {
        self.batch.columns[index].datum(self.row)
    }
}

/// The value of `expr` for a row of values.
pub fn eval_row(expr: &Expr, row: &[Datum], ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    eval(expr, row, ctx)
}

/// The value of `expr` for one row of a batch.
pub fn eval_batch_row(expr: &Expr, batch: &Batch, row: usize, ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    eval(expr, &BatchRow { batch, row }, ctx)
}

/// Whether a predicate is true (neither false nor NULL) for a row.
pub fn eval_predicate(expr: &Expr, row: &[Datum], ctx: &EvalContext<'_>) -> SqlResult<bool> {
    Ok(eval(expr, row, ctx)? == Datum::Bool(true))
}

/// The value of `expr` for a row, wherever the row is.
pub fn eval<R: Row + ?Sized>(expr: &Expr, row: &R, ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    match expr {
        Expr::Const(value, _) => Ok(value.clone()),
        Expr::Column { index, .. } => Ok(row.column(*index)),
        Expr::Param { index, .. } => parameter(*index, ctx),
        Expr::Outer { depth, index, .. } => outer(*depth, *index, ctx),
        Expr::Call { function, args, ty } => eval_call(function, args, *ty, row, ctx),
        Expr::Cast { arg, method, to, explicit } => {
            let value = eval(arg, row, ctx)?;
            cast(value, arg.ty(), method, *to, *explicit, ctx)
        }
        Expr::And(args) => eval_logic(args, false, row, ctx),
        Expr::Or(args) => eval_logic(args, true, row, ctx),
        Expr::Not(arg) => Ok(match eval(arg, row, ctx)? {
            Datum::Bool(v) => Datum::Bool(!v),
            other => other,
        }),
        Expr::IsNull { arg, negated } => Ok(Datum::Bool(is_null(&eval(arg, row, ctx)?, *negated))),
        Expr::IsTruth { arg, value, negated } => {
            let is = match eval(arg, row, ctx)? {
                Datum::Bool(v) => *value == Some(v),
                _ => value.is_none(),
            };
            Ok(Datum::Bool(is != *negated))
        }
        Expr::IsDistinct { left, right, equal, negated } => {
            let (left, right) = (eval(left, row, ctx)?, eval(right, row, ctx)?);
            let same = match (left.is_null(), right.is_null()) {
                (true, true) => true,
                (false, false) => call2(equal, left, right, ctx)? == Datum::Bool(true),
                _ => false,
            };
            Ok(Datum::Bool(same == *negated))
        }
        Expr::Case { arms, otherwise, .. } => {
            for (when, then) in arms {
                if eval(when, row, ctx)? == Datum::Bool(true) {
                    return eval(then, row, ctx);
                }
            }
            eval(otherwise, row, ctx)
        }
        Expr::Coalesce { args, .. } => {
            for arg in args {
                let value = eval(arg, row, ctx)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Ok(Datum::Null)
        }
        Expr::MinMax { args, less, greatest, .. } => eval_min_max(args, less, *greatest, row, ctx),
        Expr::ArrayCompare { left, op, array, all } => eval_array_compare(left, op, array, *all, row, ctx),
        Expr::Array { elements, ty } => eval_array(elements, *ty, row, ctx),
        Expr::Row { fields, .. } => {
            let types = fields.iter().map(|f| f.ty().oid).collect();
            let fields = fields.iter().map(|f| eval(f, row, ctx)).collect::<SqlResult<Vec<_>>>()?;
            Record::nest(types, fields).map(|r| Datum::Record(Arc::new(r)))
        }
        Expr::Subscript { .. } => eval_subscript(expr, row, ctx),
        Expr::Field { record, index, .. } => Ok(match eval(record, row, ctx)? {
            Datum::Record(record) => record.fields.get(*index).cloned().unwrap_or(Datum::Null),
            _ => Datum::Null,
        }),
        Expr::Subquery(_) => Err(SqlError::internal("a subquery was left in an expression")),
    }
}

fn parameter(index: usize, ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    ctx.params
        .get(index)
        .cloned()
        .ok_or_else(|| SqlError::internal(format!("no value for parameter ${}", index + 1)))
}

fn outer(depth: usize, index: usize, ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    let row = ctx.outer.len().checked_sub(depth).and_then(|level| ctx.outer.get(level));
    row.and_then(|r| r.get(index)).cloned().ok_or_else(|| SqlError::internal("no row of the enclosing query"))
}

fn eval_call<R: Row + ?Sized>(
    function: &'static Function,
    args: &[Expr],
    ty: SqlType,
    row: &R,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    let mut values = Args::with_capacity(args.len());
    for arg in args {
        let value = eval(arg, row, ctx)?;
        if function.strict && value.is_null() {
            return Ok(Datum::Null);
        }
        values.push(value);
    }
    match &function.body {
        Body::Scalar { row, .. } => row(ctx, &values),
        Body::Typed(_) => {
            let types: SmallVec<[SqlType; 4]> = args.iter().map(Expr::ty).collect();
            call(function, &CallTypes { args: &types, result: ty }, &values, ctx)
        }
        _ => Err(SqlError::internal(format!("function {} was left in an expression", function.name))),
    }
}

/// Calls a scalar function; strictness is applied here.
pub fn call(
    function: &Function,
    types: &CallTypes<'_>,
    args: &[Datum],
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    if function.strict && args.iter().any(Datum::is_null) {
        return Ok(Datum::Null);
    }
    match &function.body {
        Body::Scalar { row, .. } => row(ctx, args),
        Body::Typed(body) => body(ctx, types, args),
        _ => Err(SqlError::internal(format!("function {} was left in an expression", function.name))),
    }
}

/// Calls an operator's function on two values; its declared types are taken as the arguments'.
pub fn call2(function: &Function, left: Datum, right: Datum, ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    let types: SmallVec<[SqlType; 2]> = function.args.iter().map(|a| SqlType::new(*a)).collect();
    call(function, &CallTypes { args: &types, result: SqlType::new(function.result) }, &[left, right], ctx)
}

/// AND (`decisive` false) and OR (`decisive` true) of SQL's three-valued logic.
fn eval_logic<R: Row + ?Sized>(
    args: &[Expr],
    decisive: bool,
    row: &R,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    let mut unknown = false;
    for arg in args {
        match eval(arg, row, ctx)? {
            Datum::Bool(v) if v == decisive => return Ok(Datum::Bool(decisive)),
            Datum::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(!decisive) })
}

/// A row is NULL if all its fields are, and NOT NULL if none is.
fn is_null(value: &Datum, negated: bool) -> bool {
    match value {
        Datum::Record(record) => record.fields.iter().all(|f| f.is_null() != negated),
        value => value.is_null() != negated,
    }
}

fn eval_min_max<R: Row + ?Sized>(
    args: &[Expr],
    less: &Function,
    greatest: bool,
    row: &R,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    let mut best = Datum::Null;
    for arg in args {
        let value = eval(arg, row, ctx)?;
        if value.is_null() {
            continue;
        }
        let better = best.is_null() || {
            let (a, b) = if greatest { (&best, &value) } else { (&value, &best) };
            call2(less, a.clone(), b.clone(), ctx)? == Datum::Bool(true)
        };
        if better {
            best = value;
        }
    }
    Ok(best)
}

fn eval_array_compare<R: Row + ?Sized>(
    left: &Expr,
    op: &Function,
    array: &Expr,
    all: bool,
    row: &R,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    let left = eval(left, row, ctx)?;
    let mut unknown = false;
    // Whether the answer is settled by one element.
    let mut step = |element: Datum| -> SqlResult<bool> {
        match call2(op, left.clone(), element, ctx)? {
            Datum::Bool(v) => Ok(v != all),
            _ => {
                unknown = true;
                Ok(false)
            }
        }
    };
    match array {
        Expr::Array { elements, ty } if is_flat(elements, *ty) => {
            for element in elements {
                if step(eval(element, row, ctx)?)? {
                    return Ok(Datum::Bool(!all));
                }
            }
        }
        array => match eval(array, row, ctx)? {
            Datum::Array(array) => {
                for element in &array.elements {
                    if step(element.clone())? {
                        return Ok(Datum::Bool(!all));
                    }
                }
            }
            _ => return Ok(Datum::Null),
        },
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
}

/// Whether the elements are values rather than arrays of the same type.
fn is_flat(elements: &[Expr], ty: SqlType) -> bool {
    elements.first().is_none_or(|e| e.ty().oid != ty.oid)
}

fn eval_array<R: Row + ?Sized>(
    elements: &[Expr],
    ty: SqlType,
    row: &R,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    let element = crate::registry::element_of(ty.oid).unwrap_or(Oid::TEXT);
    let values = elements.iter().map(|e| eval(e, row, ctx)).collect::<SqlResult<Vec<_>>>()?;
    if is_flat(elements, ty) {
        return Ok(Datum::Array(Arc::new(Array::from_elements(element, values))));
    }
    Array::nest(element, &values).map(|a| Datum::Array(Arc::new(a)))
}

/// `a[i]`, `a[i][j]`: a chain of subscripts on one array counts as one access.
fn eval_subscript<R: Row + ?Sized>(expr: &Expr, row: &R, ctx: &EvalContext<'_>) -> SqlResult<Datum> {
    let mut indexes: SmallVec<[&Expr; 2]> = SmallVec::new();
    let mut base = expr;
    while let Expr::Subscript { array, index, .. } = base {
        indexes.push(index);
        base = array;
    }
    let Datum::Array(array) = eval(base, row, ctx)? else { return Ok(Datum::Null) };
    let mut at: SmallVec<[i64; 2]> = SmallVec::new();
    for index in indexes.iter().rev() {
        match eval(index, row, ctx)? {
            Datum::Int2(v) => at.push(i64::from(v)),
            Datum::Int4(v) => at.push(i64::from(v)),
            Datum::Int8(v) => at.push(v),
            _ => return Ok(Datum::Null),
        }
    }
    Ok(array.get(&at).cloned().unwrap_or(Datum::Null))
}

/// Changes a value's type, then fits it to the target's typmod.
pub fn cast(
    value: Datum,
    from: SqlType,
    method: &CastMethod,
    to: SqlType,
    explicit: bool,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    if value.is_null() {
        return Ok(value);
    }
    let value = change_type(value, from, method, to, ctx)?;
    if to.typmod < 0 { Ok(value) } else { typmod::apply(value, to, explicit) }
}

fn change_type(
    value: Datum,
    from: SqlType,
    method: &CastMethod,
    to: SqlType,
    ctx: &EvalContext<'_>,
) -> SqlResult<Datum> {
    match method {
        CastMethod::Typmod => Ok(value),
        CastMethod::Relabel => Ok(relabel(value, to.oid)),
        CastMethod::Function(function) => {
            let value = call(function, &CallTypes { args: &[from], result: to }, &[value], ctx)?;
            Ok(relabel(value, to.oid))
        }
        CastMethod::InOut => {
            let form = match &value {
                Datum::Text(text) => text.clone(),
                value => text::output(from.oid, value, &ctx.text()).into(),
            };
            // Length limits are applied afterwards, by the rules of casts; only interval's fields steer the input.
            let target = if to.oid == Oid::INTERVAL { to } else { SqlType::new(to.oid) };
            match to.oid {
                Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::UNKNOWN => Ok(Datum::Text(form)),
                _ => text::input(target, &form, &ctx.text()),
            }
        }
        CastMethod::Array(element) => {
            let Datum::Array(array) = value else { return Ok(value) };
            let target = crate::registry::element_of(to.oid).unwrap_or(to.oid);
            let (from, to) = (SqlType::new(array.element), SqlType::new(target));
            let elements = array
                .elements
                .iter()
                .map(|e| cast(e.clone(), from, element, to, true, ctx))
                .collect::<SqlResult<Vec<_>>>()?;
            Ok(Datum::Array(Arc::new(Array { element: target, dims: array.dims.clone(), elements })))
        }
    }
}

/// The same value under another type; integers and OIDs differ in representation only.
fn relabel(value: Datum, to: Oid) -> Datum {
    match (to, value) {
        (Oid::INT4, Datum::Oid(v)) => Datum::Int4(v as i32),
        (Oid::INT8, Datum::Oid(v)) => Datum::Int8(i64::from(v)),
        (
            Oid::OID
            | Oid::REGCLASS
            | Oid::REGTYPE
            | Oid::REGPROC
            | Oid::REGPROCEDURE
            | Oid::REGOPER
            | Oid::REGOPERATOR
            | Oid::REGNAMESPACE
            | Oid::REGROLE,
            Datum::Int4(v),
        ) => Datum::Oid(v as u32),
        (_, value) => value,
    }
}

impl Array {
    /// The element at these subscripts (one for each dimension), if it is there.
    pub fn get(&self, at: &[i64]) -> Option<&Datum> {
        if at.len() != self.dims.len() {
            return None;
        }
        let mut flat = 0usize;
        for (index, (length, lower)) in at.iter().zip(&self.dims) {
            let offset = index - i64::from(*lower);
            if !(0..i64::from(*length)).contains(&offset) {
                return None;
            }
            flat = flat * *length as usize + offset as usize;
        }
        self.elements.get(flat)
    }

    /// An array of one more dimension whose members are `arrays`.
    pub fn nest(element: Oid, arrays: &[Datum]) -> SqlResult<Array> {
        let ragged = || {
            SqlError::new(
                "2202E",
                "multidimensional arrays must have array expressions with matching dimensions",
            )
        };
        let mut dims: Option<Vec<(i32, i32)>> = None;
        let mut elements = Vec::new();
        for value in arrays {
            let Datum::Array(array) = value else { return Err(ragged()) };
            if dims.as_ref().is_some_and(|d| *d != array.dims) {
                return Err(ragged());
            }
            dims = Some(array.dims.clone());
            elements.extend(array.elements.iter().cloned());
        }
        let inner = dims.unwrap_or_default();
        if inner.is_empty() {
            return Ok(Array::from_elements(element, Vec::new()));
        }
        let dims = [(arrays.len() as i32, 1)].into_iter().chain(inner).collect();
        Ok(Array { element, dims, elements })
    }
}

/// The order of two values for ORDER BY and merge joins, NULLs included.
pub fn sort_order(a: &Datum, b: &Datum, descending: bool, nulls_first: bool) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => {
            if nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, true) => {
            if nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, false) => {
            if descending {
                compare(b, a)
            } else {
                compare(a, b)
            }
        }
    }
}
