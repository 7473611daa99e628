//! Common table expressions: computed once, as far as somebody reads, and kept for all readers.
//!
//! A reader that is ahead pulls the definition; those behind read what is kept. So a definition that never ends can be
//! read under a LIMIT. One that modifies data runs to its end before the query that reads it starts.

use std::sync::Arc;

use futures::lock::Mutex;
use meridian_storage::base::BoxFuture;

use super::context::Reservation;
use super::{ExecContext, Operator, build, vector};
use crate::error::{SqlError, SqlResult};
use crate::plan::physical::{CteScanNode, WithNode};
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
            if self.plan.eager {
                table.complete().await?;
            }
            let ctx = ExecContext { ctes: self.ctx.ctes.with(self.plan.cte, table), ..self.ctx.clone() };
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
