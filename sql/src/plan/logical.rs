//! The logical plan: relational algebra over bound expressions.
//!
//! Every node has a schema, the fields of the rows that it yields; expressions refer to the fields of their node's
//! input by position. Joins yield the left fields followed by the right ones.

use std::sync::Arc;

use crate::catalog::{ColumnId, TableDescriptor};
use crate::expr::Expr;
use crate::registry::Function;
use crate::types::SqlType;

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub ty: SqlType,
    /// Table OID and attribute number for RowDescription, when the field is a plain column.
    pub origin: Option<(u32, i16)>,
}

pub type Schema = Arc<Vec<Field>>;

#[derive(Clone, Debug)]
pub enum LogicalPlan {
    /// Literal rows. One row without columns is the input of a SELECT without FROM.
    Values {
        rows: Vec<Vec<Expr>>,
        schema: Schema,
    },
    /// The named columns of a stored table.
    Scan(Box<TableScan>),
    /// A table that is computed from the catalog or the node's state (pg_catalog, information_schema): `name` is
    /// `schema.table`; all columns.
    VirtualScan {
        name: String,
        schema: Schema,
    },
    /// Set-returning functions in FROM; several are zipped (ROWS FROM). `ordinality` appends a bigint.
    FunctionScan {
        calls: Vec<(&'static Function, Vec<Expr>)>,
        ordinality: bool,
        schema: Schema,
    },
    Filter {
        input: Box<LogicalPlan>,
        predicate: Expr,
    },
    Project {
        input: Box<LogicalPlan>,
        exprs: Vec<Expr>,
        schema: Schema,
    },
    /// `on` over left ++ right. With `lateral`, `right` refers to the left row as `Expr::Outer { depth: 1 }`.
    Join {
        kind: JoinKind,
        left: Box<LogicalPlan>,
        right: Box<LogicalPlan>,
        on: Option<Expr>,
        lateral: bool,
        schema: Schema,
    },
    /// Yields the group expressions followed by the aggregates. No groups: exactly one row.
    Aggregate {
        input: Box<LogicalPlan>,
        groups: Vec<Expr>,
        aggregates: Vec<AggregateCall>,
        schema: Schema,
    },
    /// Yields the input's fields followed by the window functions' results.
    Window {
        input: Box<LogicalPlan>,
        calls: Vec<WindowCall>,
        schema: Schema,
    },
    Sort {
        input: Box<LogicalPlan>,
        keys: Vec<SortKey>,
    },
    Limit {
        input: Box<LogicalPlan>,
        limit: Option<Expr>,
        offset: Option<Expr>,
        with_ties: Option<Vec<SortKey>>,
    },
    /// Whole-row DISTINCT, or DISTINCT ON the given expressions (first row of each in input order).
    Distinct {
        input: Box<LogicalPlan>,
        on: Option<Vec<Expr>>,
    },
    SetOp {
        op: SetOp,
        all: bool,
        left: Box<LogicalPlan>,
        right: Box<LogicalPlan>,
        schema: Schema,
    },
    /// Computes `definition` once (also when it modifies data) and makes it readable as CTE `id` in `body`.
    With {
        id: usize,
        name: String,
        definition: Box<LogicalPlan>,
        body: Box<LogicalPlan>,
    },
    CteScan {
        id: usize,
        schema: Schema,
    },
    /// `WITH RECURSIVE`: the rows of `base`, then of `step` over the rows of the round before (its CteScan `id`).
    RecursiveUnion {
        id: usize,
        base: Box<LogicalPlan>,
        step: Box<LogicalPlan>,
        all: bool,
        schema: Schema,
    },
    /// Locks the rows of the stored tables in the input (FOR UPDATE and so on): the scans carry the lock.
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
}

#[derive(Clone, Debug)]
pub struct TableScan {
    pub table: Arc<TableDescriptor>,
    /// The columns that the scan yields, in order.
    pub columns: Vec<ColumnId>,
    /// For EXPLAIN and error messages.
    pub alias: String,
    pub lock: Option<RowLock>,
    pub schema: Schema,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowLock {
    pub strength: RowLockStrength,
    pub wait: RowLockWait,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowLockStrength {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowLockWait {
    Block,
    NoWait,
    SkipLocked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Cross,
    /// Left rows with at least one match; made by the optimizer from EXISTS and IN.
    Semi,
    /// Left rows without any match.
    Anti,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetOp {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug)]
pub struct AggregateCall {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub distinct: bool,
    pub order_by: Vec<SortKey>,
    pub filter: Option<Expr>,
    pub ty: SqlType,
}

#[derive(Clone, Debug)]
pub struct WindowCall {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<SortKey>,
    pub frame: Option<WindowFrame>,
    pub filter: Option<Expr>,
    pub ty: SqlType,
}

#[derive(Clone, Debug)]
pub struct WindowFrame {
    pub unit: FrameUnit,
    pub start: FrameBound,
    pub end: FrameBound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameUnit {
    Rows,
    Range,
    Groups,
}

#[derive(Clone, Debug)]
pub enum FrameBound {
    UnboundedPreceding,
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}

#[derive(Clone, Debug)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

/// INSERT. Rows of `input` give `columns` in order; all other columns get their defaults, bound here.
#[derive(Clone, Debug)]
pub struct Insert {
    pub table: Arc<TableDescriptor>,
    /// One expression per public column of the table in descriptor order, over the input row: the given value, cast to the column's
    /// type, or the default.
    pub values: Vec<Expr>,
    pub input: LogicalPlan,
    pub on_conflict: Option<OnConflict>,
    /// CHECK constraints over the row to be stored (columns in descriptor order), with their names.
    pub checks: Vec<(String, Expr)>,
    /// Over the stored row (columns in descriptor order); none: no rows are returned.
    pub returning: Option<(Vec<Expr>, Schema)>,
}

#[derive(Clone, Debug)]
pub struct OnConflict {
    /// The unique index that arbitrates (position: 0 = primary, then `indexes`); `None`: any.
    pub arbiter: Option<Vec<crate::catalog::IndexId>>,
    pub action: ConflictAction,
}

#[derive(Clone, Debug)]
pub enum ConflictAction {
    Nothing,
    /// Expressions over existing row ++ excluded row (each: columns in descriptor order).
    Update {
        assignments: Vec<(ColumnId, Expr)>,
        filter: Option<Expr>,
    },
}

/// UPDATE. `input` yields, for each row to change, all public columns of the table (descriptor order, the hidden row id included),
/// followed by the fields of FROM. The scan in it carries the lock.
#[derive(Clone, Debug)]
pub struct Update {
    pub table: Arc<TableDescriptor>,
    pub input: LogicalPlan,
    /// New values over the input row, cast to the columns' types.
    pub assignments: Vec<(ColumnId, Expr)>,
    /// Over the new row (columns in descriptor order).
    pub checks: Vec<(String, Expr)>,
    /// Over new row ++ the fields of FROM.
    pub returning: Option<(Vec<Expr>, Schema)>,
}

/// DELETE. `input` as for [`Update`].
#[derive(Clone, Debug)]
pub struct Delete {
    pub table: Arc<TableDescriptor>,
    pub input: LogicalPlan,
    /// Over the old row ++ the fields of USING.
    pub returning: Option<(Vec<Expr>, Schema)>,
}
