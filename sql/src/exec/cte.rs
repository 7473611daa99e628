//! Common table expressions: computed once, as far as somebody reads, and kept for all readers.
//!
//! A reader that is ahead pulls the definition; those behind read what is kept. So a definition that never ends can be
//! read under a LIMIT. One that modifies data runs to its end before the query that reads it starts.

use std::sync::Arc;

use futures::lock::Mutex;
use meridian_storage::base::BoxFuture;

use super::context::Reservation;
use super::{ExecContext, Operator, build, vector};
use crate::catalog::TableId;
use crate::error::{SqlError, SqlResult};
use crate::plan::physical::{CteScanNode, Node, NodeKind, WithNode};
use crate::types::Batch;

/// The CTEs that an operator can see: a list that grows inwards.
#[derive(Clone, Default)]
pub struct CteScope(Option<Arc<CteLink>>);

struct CteLink {
    cte: usize,
    table: Arc<CteTable>,
    outer: CteScope,
}

impl CteScope {
    pub fn with(&self, cte: usize, table: Arc<CteTable>) -> CteScope {
        CteScope(Some(Arc::new(CteLink { cte, table, outer: self.clone() })))
    }

    fn find(&self, cte: usize) -> Option<Arc<CteTable>> {
        let mut scope = self;
        while let Some(link) = &scope.0 {
            if link.cte == cte {
                return Some(link.table.clone());
            }
            scope = &link.outer;
        }
        None
    }
}

/// The rows of a CTE so far, and where more come from.
pub struct CteTable(Mutex<CteRows>);

struct CteRows {
    batches: Vec<Batch>,
    source: Option<Box<dyn Operator>>,
    memory: Reservation,
}

impl CteTable {
    pub fn new(source: Option<Box<dyn Operator>>, ctx: &ExecContext) -> Arc<Self> {
        Arc::new(CteTable(Mutex::new(CteRows { batches: Vec::new(), source, memory: ctx.reserve() })))
    }

    /// A table of rows that are all there.
    pub fn of(batches: Vec<Batch>, ctx: &ExecContext) -> Arc<Self> {
        Arc::new(CteTable(Mutex::new(CteRows { batches, source: None, memory: ctx.reserve() })))
    }

    async fn batch(&self, n: usize) -> SqlResult<Option<Batch>> {
        let mut rows = self.0.lock().await;
        while rows.batches.len() <= n {
            let Some(source) = &mut rows.source else { return Ok(None) };
            match source.next().await? {
                Some(batch) => {
                    rows.memory.grow(vector::size(&batch))?;
                    rows.batches.push(batch);
                }
                None => rows.source = None,
            }
        }
        Ok(Some(rows.batches[n].clone()))
    }

    async fn complete(&self) -> SqlResult<()> {
        let mut n = 0;
        while self.batch(n).await?.is_some() {
            n += 1;
        }
        Ok(())
    }
}

pub struct With {
    plan: Arc<WithNode>,
    ctx: ExecContext,
    body: Option<Box<dyn Operator>>,
}

impl With {
    pub fn new(plan: &Arc<WithNode>, ctx: &ExecContext) -> Self {
        With { plan: plan.clone(), ctx: ctx.clone(), body: None }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if self.body.is_none() {
            let table = CteTable::new(Some(build(&self.plan.definition, &self.ctx)), &self.ctx);
            let mut ctx = self.ctx.clone();
            if self.plan.eager {
                ctx.snapshots = snapshots(&self.plan, &self.ctx).await?;
                table.complete().await?;
            }
            ctx.ctes = self.ctx.ctes.with(self.plan.cte, table);
            self.body = Some(build(&self.plan.body, &ctx));
        }
        match &mut self.body {
            Some(body) => body.next().await,
            None => Ok(None),
        }
    }
}

impl Operator for With {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }

    fn affected(&self) -> Option<u64> {
        self.body.as_ref()?.affected()
    }
}

/// What the body will read of the tables that the definition is about to change: all parts of a statement see the tables
/// as they were before it.
async fn snapshots(plan: &WithNode, ctx: &ExecContext) -> SqlResult<Snapshots> {
    let mut written = Vec::new();
    written_tables(&plan.definition, &mut written);
    let mut scans = Vec::new();
    scans_of(&plan.body, &written, &mut scans);
    let mut out = ctx.snapshots.clone();
    for node in scans {
        if out.find(node.id).is_some() {
            continue;
        }
        let table = CteTable::new(Some(build(node, ctx)), ctx);
        table.complete().await?;
        out = Snapshots(out.0.with(node.id, table));
    }
    Ok(out)
}

fn written_tables(node: &Node, out: &mut Vec<TableId>) {
    let targets = match &node.kind {
        NodeKind::Insert(n) => Some(&n.targets),
        NodeKind::Update(n) => Some(&n.targets),
        NodeKind::Delete(n) => Some(&n.targets),
        _ => None,
    };
    out.extend(targets.into_iter().flat_map(|t| &t.tables).map(|t| t.table.id));
    node.for_each_input(&mut |input| written_tables(input, out));
}

/// The scans of these tables, except those that are run anew for each row of something.
fn scans_of<'n>(node: &'n Node, tables: &[TableId], out: &mut Vec<&'n Node>) {
    match &node.kind {
        // Rows that are locked are those that are there now.
        NodeKind::Scan(access) if access.lock.is_none() && tables.contains(&access.table.id) => {
            out.push(node)
        }
        NodeKind::LockRows(n) => {
            let others: Vec<TableId> = tables.iter().copied().filter(|t| *t != n.table.id).collect();
            scans_of(&n.input, &others, out);
        }
        NodeKind::Lateral(n) => scans_of(&n.left, tables, out),
        NodeKind::Apply(n) => scans_of(&n.input, tables, out),
        // Their slots are not filled yet.
        NodeKind::InitPlans(n) => n.plans.iter().for_each(|p| scans_of(&p.plan.plan, tables, out)),
        NodeKind::RecursiveUnion(n) => scans_of(&n.base, tables, out),
        _ => node.for_each_input(&mut |input| scans_of(input, tables, out)),
    }
}

/// Scans that were read ahead, by node.
#[derive(Clone, Default)]
pub struct Snapshots(CteScope);

impl Snapshots {
    fn find(&self, node: usize) -> Option<Arc<CteTable>> {
        self.0.find(node)
    }

    /// The rows of a scan that was read ahead.
    pub fn reader(&self, node: usize) -> Option<Box<dyn Operator>> {
        let table = self.find(node)?;
        Some(Box::new(SnapshotReader { table, read: 0 }))
    }
}

struct SnapshotReader {
    table: Arc<CteTable>,
    read: usize,
}

impl Operator for SnapshotReader {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            let batch = self.table.batch(self.read).await?;
            self.read += batch.is_some() as usize;
            Ok(batch)
        })
    }
}

pub struct CteScan {
    plan: Arc<CteScanNode>,
    table: Option<Arc<CteTable>>,
    read: usize,
}

impl CteScan {
    pub fn new(plan: &Arc<CteScanNode>, ctx: &ExecContext) -> Self {
        CteScan { plan: plan.clone(), table: ctx.ctes.find(plan.cte), read: 0 }
    }
}

impl Operator for CteScan {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            let table = self.table.as_ref();
            let table = table.ok_or_else(|| {
                SqlError::internal(format!("CTE {} is read outside of its query", self.plan.name))
            })?;
            let batch = table.batch(self.read).await?;
            self.read += batch.is_some() as usize;
            Ok(batch)
        })
    }
}
