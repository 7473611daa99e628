//! Tables that the session computes: pg_catalog, information_schema.

use std::collections::VecDeque;
use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::{ExecContext, Operator};
use crate::error::SqlResult;
use crate::plan::physical::VirtualScanNode;
use crate::types::Batch;

pub struct VirtualScan {
    plan: Arc<VirtualScanNode>,
    ctx: ExecContext,
    rows: Option<VecDeque<Batch>>,
}

impl VirtualScan {
    pub fn new(plan: &Arc<VirtualScanNode>, ctx: &ExecContext) -> Self {
        VirtualScan { plan: plan.clone(), ctx: ctx.clone(), rows: None }
    }
}

impl Operator for VirtualScan {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            if self.rows.is_none() {
                let session = self.ctx.statement.session.clone();
                let mut batches = session.virtual_table(self.ctx.txn(), &self.plan.name).await?;
                batches.retain(|b| b.rows > 0);
                self.rows = Some(batches.into());
            }
            Ok(self.rows.as_mut().and_then(VecDeque::pop_front))
        })
    }
}
