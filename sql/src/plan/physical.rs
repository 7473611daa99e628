//! The physical plan: how to compute. Made by `optimize`, run by `exec`, printed by EXPLAIN.
//!
//! What must stay true: a plan is immutable and depends on nothing but the catalog version it was made for, so that
//! one plan serves every execution of a prepared statement, in several sessions at once. Whatever differs from one
//! execution to the next is an [`Expr::Param`].
//!
//! Expressions here contain neither subqueries nor references to enclosing rows. Both became *slots*: parameters
//! beyond those of the client, filled during execution. A subquery that does not depend on its surroundings is
//! computed once into a slot ([`NodeKind::InitPlans`]); one that does is computed for each row
//! ([`NodeKind::Apply`]), its references to the row passed as slots.

use std::sync::Arc;

use super::logical::{JoinKind, RowLock, Schema, SetOp, SortKey};
use super::{AggregateCall, WindowCall};
use crate::catalog::{ColumnId, IndexId, TableDescriptor, TableId};
use crate::expr::Expr;
use crate::registry::{AsyncCall, Function};
use crate::row::decode::PrimaryKeyFinder;
use crate::row::{IndexEncoder, RowDecoder, TableCodec};
use crate::types::Oid;

pub use super::bounds::{Bounds, KeyPart, KeyRange, Section};

/// A statement's plan.
#[derive(Debug)]
pub struct PhysicalPlan {
    pub root: Node,
    /// How many of the slots are the client's parameters; the others follow.
    pub params: usize,
    /// Parameters and slots.
    pub slots: usize,
    /// Number of nodes; their `id`s are below it.
    pub nodes: usize,
    /// The catalog that it was made for.
    pub catalog_version: u64,
    /// The statement is one row by its primary key: it can be run without operators.
    pub point: bool,
}

/// What the optimizer believes about a node's result. Costs in PostgreSQL's unit: one sequential page read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    pub rows: f64,
    pub startup: f64,
    pub total: f64,
    /// Bytes a row.
    pub width: f64,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub id: usize,
    pub kind: NodeKind,
    pub schema: Schema,
    pub estimate: Estimate,
}

/// The operators. Each holds its part of the plan behind an `Arc`, so that a running operator shares it.
#[derive(Clone, Debug)]
pub enum NodeKind {
    Values(Arc<ValuesNode>),
    Scan(Arc<Access>),
    VirtualScan(Arc<VirtualScanNode>),
    FunctionScan(Arc<FunctionScanNode>),
    Filter(Arc<FilterNode>),
    Project(Arc<ProjectNode>),
    /// A projection with set-returning functions at the top of some expressions.
    ProjectSet(Arc<ProjectNode>),
    Calls(Arc<CallsNode>),
    /// The right side is computed once and kept.
    NestedLoop(Arc<NestedLoop>),
    /// Builds a table of the right side, probes it with the left.
    HashJoin(Arc<HashJoin>),
    /// Looks the left rows' matches up in a stored table, many at a time.
    LookupJoin(Arc<LookupJoin>),
    /// For each left row, computes the right side anew with the row's columns in slots.
    Lateral(Arc<Lateral>),
    /// Appends a column per subplan to each input row.
    Apply(Arc<ApplyNode>),
    /// Computes subplans once, on first use of `input`, into slots.
    InitPlans(Arc<InitPlansNode>),
    Aggregate(Arc<AggregateNode>),
    Window(Arc<WindowNode>),
    LockRows(Arc<LockRowsNode>),
    Sort(Arc<SortNode>),
    Limit(Arc<LimitNode>),
    Distinct(Arc<DistinctNode>),
    SetOp(Arc<SetOpNode>),
    /// UNION ALL.
    Append(Arc<AppendNode>),
    With(Arc<WithNode>),
    CteScan(Arc<CteScanNode>),
    RecursiveUnion(Arc<RecursiveUnionNode>),
    Insert(Arc<InsertNode>),
    Update(Arc<UpdateNode>),
    Delete(Arc<DeleteNode>),
}

#[derive(Debug)]
pub struct ValuesNode {
    pub rows: Vec<Vec<Expr>>,
}

#[derive(Debug)]
pub struct VirtualScanNode {
    /// `schema.table`
    pub name: String,
}

#[derive(Debug)]
pub struct FunctionScanNode {
    pub calls: Vec<(&'static Function, Vec<Expr>)>,
    pub ordinality: bool,
}

#[derive(Debug)]
pub struct FilterNode {
    pub input: Node,
    pub predicate: Expr,
}

#[derive(Debug)]
pub struct ProjectNode {
    pub input: Node,
    pub exprs: Vec<Expr>,
}

/// Appends the results of functions that wait (sequences, sleeping) to each input row, one call after the other.
#[derive(Debug)]
pub struct CallsNode {
    pub input: Node,
    /// Arguments are over the input row and the results of the calls before.
    pub calls: Vec<(AsyncCall, Vec<Expr>)>,
}

#[derive(Debug)]
pub struct AppendNode {
    pub inputs: Vec<Node>,
}

#[derive(Debug)]
pub struct NestedLoop {
    pub kind: JoinKind,
    pub left: Node,
    pub right: Node,
    /// Over left ++ right.
    pub on: Option<Expr>,
}

#[derive(Debug)]
pub struct ApplyNode {
    pub input: Node,
    pub subplans: Vec<SubPlan>,
}

#[derive(Debug)]
pub struct InitPlansNode {
    pub input: Node,
    pub plans: Vec<InitPlan>,
}

#[derive(Debug)]
pub struct AggregateNode {
    pub input: Node,
    pub groups: Vec<Expr>,
    pub aggregates: Vec<AggregateCall>,
    pub method: AggregateMethod,
}

#[derive(Debug)]
pub struct WindowNode {
    pub input: Node,
    pub calls: Vec<WindowCall>,
}

/// Locks the stored rows that the input rows came from, and passes those that have not changed since.
#[derive(Debug)]
pub struct LockRowsNode {
    pub input: Node,
    pub table: Arc<TableDescriptor>,
    /// Columns of the table, the primary key's among them, and where each stands in the input row.
    pub columns: Vec<ColumnId>,
    pub positions: Vec<usize>,
    pub lock: RowLock,
    pub primary: IndexEncoder,
    /// Of `columns`.
    pub decoder: RowDecoder,
    /// No more rows are wanted than this, after so many that are skipped.
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

#[derive(Debug)]
pub struct SortNode {
    pub input: Node,
    pub keys: Vec<SortKey>,
    /// Only so many rows from the top are needed, after so many that are skipped.
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

#[derive(Debug)]
pub struct LimitNode {
    pub input: Node,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub with_ties: Option<Vec<SortKey>>,
}

#[derive(Debug)]
pub struct DistinctNode {
    pub input: Node,
    /// None: the whole row.
    pub on: Option<Vec<Expr>>,
}

#[derive(Debug)]
pub struct SetOpNode {
    pub op: SetOp,
    pub all: bool,
    pub left: Node,
    pub right: Node,
}

#[derive(Debug)]
pub struct WithNode {
    pub cte: usize,
    pub name: String,
    /// It modifies data: runs to its end even if nobody reads it.
    pub eager: bool,
    pub definition: Node,
    pub body: Node,
}

#[derive(Debug)]
pub struct CteScanNode {
    pub cte: usize,
    pub name: String,
}

#[derive(Debug)]
pub struct RecursiveUnionNode {
    pub cte: usize,
    pub base: Node,
    pub step: Node,
    pub all: bool,
}

/// Reading a stored table through one of its indexes.
#[derive(Debug)]
pub struct Access {
    pub table: Arc<TableDescriptor>,
    pub alias: String,
    /// What it yields, in order.
    pub columns: Vec<ColumnId>,
    pub index: IndexId,
    /// All columns are in the index entry: the row itself is not fetched.
    pub index_only: bool,
    pub bounds: Bounds,
    pub reverse: bool,
    /// Over the yielded columns; before any lock is taken.
    pub filter: Option<Expr>,
    pub lock: Option<RowLock>,
    /// No more rows than this will be asked for, plus the offset.
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub codec: AccessCodec,
}

/// What is worked out once per plan about the bytes of an access.
#[derive(Debug)]
pub struct AccessCodec {
    pub primary: IndexEncoder,
    /// Of the index that is read; the primary one if that is it.
    pub index: IndexEncoder,
    /// From entries to rows; none if no row is fetched.
    pub finder: Option<PrimaryKeyFinder>,
    /// Of what is yielded: from rows, or from entries if `index_only`.
    pub decoder: RowDecoder,
}

#[derive(Debug)]
pub struct HashJoin {
    pub kind: JoinKind,
    pub left: Node,
    pub right: Node,
    pub left_keys: Vec<Expr>,
    pub right_keys: Vec<Expr>,
    /// The rest of the condition, over left ++ right.
    pub on: Option<Expr>,
    /// For an anti join that stands for NOT IN: a NULL on either side means "unknown", which is not a match and not
    /// a row either.
    pub null_aware: bool,
}

#[derive(Debug)]
pub struct LookupJoin {
    pub kind: JoinKind,
    pub left: Node,
    /// Its bounds are over the left row.
    pub access: Access,
    pub on: Option<Expr>,
    /// Schema of the access, for EXPLAIN.
    pub inner_schema: Schema,
    pub inner_estimate: Estimate,
    pub inner_id: usize,
}

#[derive(Debug)]
pub struct Lateral {
    pub kind: JoinKind,
    pub left: Node,
    pub right: Node,
    /// (slot, column of the left row).
    pub bindings: Vec<(usize, usize)>,
    pub on: Option<Expr>,
}

#[derive(Debug)]
pub struct SubPlan {
    pub kind: SubPlanKind,
    pub plan: Node,
    /// (slot, column of the input row). None: computed once.
    pub bindings: Vec<(usize, usize)>,
    pub ty: Oid,
}

#[derive(Debug)]
pub enum SubPlanKind {
    Scalar,
    Exists,
    Compare {
        left: Vec<Expr>,
        ops: Vec<&'static Function>,
        all: bool,
    },
    /// An array with this element type.
    Array(Oid),
}

#[derive(Debug)]
pub struct InitPlan {
    pub slot: usize,
    pub plan: SubPlan,
    /// It depends on the client's parameters at most: computed once in the whole statement.
    pub constant: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AggregateMethod {
    /// No groups: one row.
    Plain,
    Hash,
    /// The input comes in the order of the groups.
    Sorted,
}

/// What a statement that writes needs to know about its table: bound once, at planning.
#[derive(Debug)]
pub struct TargetTable {
    pub table: Arc<TableDescriptor>,
    pub codec: TableCodec,
    /// All public columns out of a stored row.
    pub decoder: RowDecoder,
    /// Predicates of partial indexes over the public columns in descriptor order, by index; `None`: not partial.
    pub predicates: Vec<Option<Expr>>,
    pub checks: Vec<(String, Expr)>,
    /// Constraints of this table that refer to others.
    pub outbound: Vec<OutboundKey>,
    /// Constraints of others that refer to this table.
    pub inbound: Vec<InboundKey>,
}

/// A foreign key of the written table.
#[derive(Debug)]
pub struct OutboundKey {
    /// Position in the table's list.
    pub constraint: usize,
    pub referenced: Arc<TableDescriptor>,
    /// The unique index of the referenced table over exactly the referenced columns.
    pub index: IndexId,
}

/// A foreign key that refers to the written table.
#[derive(Debug)]
pub struct InboundKey {
    /// Position in the referencing table's list.
    pub constraint: usize,
    /// The table with the constraint; its [`TargetTable`] is among the statement's [`Targets`] if rows of it can be changed.
    pub referencing: Arc<TableDescriptor>,
    /// An index of the referencing table whose first columns are the constraint's, in any order.
    pub index: Option<IndexId>,
    /// Defaults of the constraint's columns, for SET DEFAULT.
    pub defaults: Vec<Expr>,
}

/// All tables that a statement may write: its own, and those that its cascades reach.
#[derive(Debug)]
pub struct Targets {
    /// The statement's own table comes first.
    pub tables: Vec<TargetTable>,
}

#[derive(Debug)]
pub struct InsertNode {
    pub targets: Targets,
    pub input: Node,
    /// One expression per public column, over the input row.
    pub values: Vec<Expr>,
    pub on_conflict: Option<super::OnConflict>,
    pub returning: Option<Vec<Expr>>,
    /// The input reads the table: it is read to its end before anything is written.
    pub read_first: bool,
}

#[derive(Debug)]
pub struct UpdateNode {
    pub targets: Targets,
    pub input: Node,
    pub assignments: Vec<(ColumnId, Expr)>,
    pub returning: Option<Vec<Expr>>,
    /// The input could meet the updated rows again: it is read to its end before anything is written.
    pub read_first: bool,
    /// The input may yield a row of the table more than once: only its first counts.
    pub may_repeat: bool,
}

#[derive(Debug)]
pub struct DeleteNode {
    pub targets: Targets,
    pub input: Node,
    pub returning: Option<Vec<Expr>>,
    pub read_first: bool,
    pub may_repeat: bool,
}

impl Targets {
    /// The statement's own table.
    pub fn first(&self) -> &TargetTable {
        &self.tables[0]
    }

    pub fn of(&self, table: TableId) -> Option<&TargetTable> {
        self.tables.iter().find(|t| t.table.id == table)
    }
}

impl Node {
    /// The types of the fields.
    pub fn types(&self) -> Vec<Oid> {
        self.schema.iter().map(|f| f.ty.oid).collect()
    }
}

impl Node {
    /// The direct inputs, in the order in which EXPLAIN shows them; subplans last.
    pub fn for_each_input<'n>(&'n self, f: &mut dyn FnMut(&'n Node)) {
        match &self.kind {
            NodeKind::Values(_)
            | NodeKind::Scan(_)
            | NodeKind::VirtualScan(_)
            | NodeKind::FunctionScan(_)
            | NodeKind::CteScan(_) => {}
            NodeKind::Filter(n) => f(&n.input),
            NodeKind::Project(n) | NodeKind::ProjectSet(n) => f(&n.input),
            NodeKind::Calls(n) => f(&n.input),
            NodeKind::NestedLoop(n) => {
                f(&n.left);
                f(&n.right);
            }
            NodeKind::HashJoin(n) => {
                f(&n.left);
                f(&n.right);
            }
            NodeKind::LookupJoin(n) => f(&n.left),
            NodeKind::Lateral(n) => {
                f(&n.left);
                f(&n.right);
            }
            NodeKind::Apply(n) => {
                f(&n.input);
                n.subplans.iter().for_each(|p| f(&p.plan));
            }
            NodeKind::InitPlans(n) => {
                f(&n.input);
                n.plans.iter().for_each(|p| f(&p.plan.plan));
            }
            NodeKind::Aggregate(n) => f(&n.input),
            NodeKind::Window(n) => f(&n.input),
            NodeKind::LockRows(n) => f(&n.input),
            NodeKind::Sort(n) => f(&n.input),
            NodeKind::Limit(n) => f(&n.input),
            NodeKind::Distinct(n) => f(&n.input),
            NodeKind::SetOp(n) => {
                f(&n.left);
                f(&n.right);
            }
            NodeKind::Append(n) => n.inputs.iter().for_each(f),
            NodeKind::With(n) => {
                f(&n.definition);
                f(&n.body);
            }
            NodeKind::RecursiveUnion(n) => {
                f(&n.base);
                f(&n.step);
            }
            NodeKind::Insert(n) => f(&n.input),
            NodeKind::Update(n) => f(&n.input),
            NodeKind::Delete(n) => f(&n.input),
        }
    }
}
