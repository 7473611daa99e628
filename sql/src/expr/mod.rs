//! Expressions after binding: every name resolved, every type known, every cast explicit.
//!
//! The binder makes them, the optimizer rewrites them, `eval` computes them over batches. Column references are
//! positions in the row of the operator's input; a join's input row is the left row followed by the right one.

pub mod eval;
pub mod eval_batch;
pub mod split_async;
pub mod walk;

pub use crate::registry::CastMethod;
pub use split_async::PendingCall;

use crate::plan::LogicalPlan;
use crate::registry::Function;
use crate::types::{Datum, Oid, SqlType};

#[derive(Clone, Debug)]
pub enum Expr {
    Const(Datum, SqlType),
    /// Column `index` of the input row.
    Column {
        index: usize,
        ty: SqlType,
    },
    /// Column `index` of the row of an enclosing query, `depth` levels out (1 = the next). Only inside
    /// [`Subquery::plan`]; decorrelation removes it, or execution binds it per outer row.
    Outer {
        depth: usize,
        index: usize,
        ty: SqlType,
    },
    /// `$index + 1` of a prepared statement.
    Param {
        index: usize,
        ty: SqlType,
    },
    /// A function or operator. Strictness and volatility stand in the registry's entry.
    Call {
        function: &'static Function,
        args: Vec<Expr>,
        ty: SqlType,
    },
    /// A change of type.
    Cast {
        arg: Box<Expr>,
        method: CastMethod,
        to: SqlType,
        explicit: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull {
        arg: Box<Expr>,
        negated: bool,
    },
    /// `IS [NOT] TRUE / FALSE / UNKNOWN`; `value` None = UNKNOWN.
    IsTruth {
        arg: Box<Expr>,
        value: Option<bool>,
        negated: bool,
    },
    /// `IS [NOT] DISTINCT FROM`; `equal` is the `=` operator's function.
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        equal: &'static Function,
        negated: bool,
    },
    /// Searched CASE; the simple form is bound to comparisons.
    Case {
        arms: Vec<(Expr, Expr)>,
        otherwise: Box<Expr>,
        ty: SqlType,
    },
    Coalesce {
        args: Vec<Expr>,
        ty: SqlType,
    },
    /// GREATEST / LEAST, ignoring NULLs; `less` is the `<` operator's function.
    MinMax {
        args: Vec<Expr>,
        less: &'static Function,
        greatest: bool,
        ty: SqlType,
    },
    /// `left op ANY|ALL (array)`, and `IN` / `NOT IN` lists (`array` is then [`Expr::Array`] of the list).
    ArrayCompare {
        left: Box<Expr>,
        op: &'static Function,
        array: Box<Expr>,
        all: bool,
    },
    Array {
        elements: Vec<Expr>,
        ty: SqlType,
    },
    Row {
        fields: Vec<Expr>,
        ty: SqlType,
    },
    Subscript {
        array: Box<Expr>,
        index: Box<Expr>,
        ty: SqlType,
    },
    Field {
        record: Box<Expr>,
        index: usize,
        ty: SqlType,
    },
    Subquery(Box<Subquery>),
}

#[derive(Clone, Debug)]
pub struct Subquery {
    pub kind: SubqueryKind,
    pub plan: LogicalPlan,
    pub ty: SqlType,
}

#[derive(Clone, Debug)]
pub enum SubqueryKind {
    /// At most one row (else 21000), one column; NULL for none.
    Scalar,
    Exists,
    /// `left op ANY|ALL (subquery)`; `IN` is `= ANY`. One `op` and left expression per column.
    Compare {
        left: Vec<Expr>,
        ops: Vec<&'static Function>,
        all: bool,
    },
    /// `ARRAY(subquery)`.
    Array,
}

impl Expr {
    pub fn ty(&self) -> SqlType {
        match self {
            Expr::Const(_, ty)
            | Expr::Column { ty, .. }
            | Expr::Outer { ty, .. }
            | Expr::Param { ty, .. }
            | Expr::Call { ty, .. }
            | Expr::Cast { to: ty, .. }
            | Expr::Case { ty, .. }
            | Expr::Coalesce { ty, .. }
            | Expr::MinMax { ty, .. }
            | Expr::Array { ty, .. }
            | Expr::Row { ty, .. }
            | Expr::Subscript { ty, .. }
            | Expr::Field { ty, .. } => *ty,
            Expr::Subquery(s) => s.ty,
            Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::IsNull { .. }
            | Expr::IsTruth { .. }
            | Expr::IsDistinct { .. }
            | Expr::ArrayCompare { .. } => SqlType::new(Oid::BOOL),
        }
    }
}
