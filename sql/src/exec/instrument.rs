//! Rows, loops and time by plan node, for EXPLAIN ANALYZE.

use std::time::Duration;

use meridian_storage::base::BoxFuture;
use parking_lot::Mutex;

use super::{ExecContext, Operator};
use crate::error::SqlResult;
use crate::types::Batch;

/// What one node has done.
#[derive(Clone, Copy, Default, Debug)]
pub struct NodeCounts {
    /// How often it was started.
    pub loops: u64,
    pub rows: u64,
    /// Until the first row of the first loop.
    pub first: Duration,
    /// Over all loops, inputs included.
    pub total: Duration,
}

pub struct NodeStatistics(Mutex<Vec<NodeCounts>>);

impl NodeStatistics {
    pub fn new(nodes: usize) -> Self {
        NodeStatistics(Mutex::new(vec![NodeCounts::default(); nodes]))
    }

    pub fn of(&self, node: usize) -> NodeCounts {
        self.0.lock().get(node).copied().unwrap_or_default()
    }
}

/// Counts what an operator yields.
pub struct Instrumented {
    inner: Box<dyn Operator>,
    node: usize,
    ctx: ExecContext,
    started: bool,
}

impl Instrumented {
    pub fn new(inner: Box<dyn Operator>, node: usize, ctx: &ExecContext) -> Self {
        Instrumented { inner, node, ctx: ctx.clone(), started: false }
    }
}

impl Operator for Instrumented {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            let session = self.ctx.statement.session.clone();
            let begin = session.monotonic();
            let result = self.inner.next().await;
            let spent = session.monotonic().saturating_sub(begin);
            if let Some(NodeStatistics(all)) = &self.ctx.statement.statistics
                && let Some(counts) = all.lock().get_mut(self.node)
            {
                if !std::mem::replace(&mut self.started, true) {
                    counts.loops += 1;
                    if counts.loops == 1 {
                        counts.first = spent;
                    }
                }
                counts.total += spent;
                if let Ok(Some(batch)) = &result {
                    counts.rows += batch.rows as u64;
                }
            }
            result
        })
    }

    fn affected(&self) -> Option<u64> {
        self.inner.affected()
    }
}
