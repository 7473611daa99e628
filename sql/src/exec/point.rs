//! Reading one row by its primary key, without operators: the statement that a busy server runs most.
//!
//! One key is encoded, one request made, one row decoded; a projection that only picks columns is done by the decoder's
//! columns themselves. Everything else about such a plan - parameters, locks, filters - is as in [`super::scan`].

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::bounds::{Reads, reads};
use super::scan::lock_of;
use super::{ExecContext, Operator, eval};
use crate::error::SqlResult;
use crate::plan::physical::{Access, Node, NodeKind, ProjectNode};
use crate::types::Batch;

/// Whether the plan reads at most one row, named by its whole primary key, and does nothing but project it.
pub fn is_point(root: &Node) -> bool {
    parts(root).is_some()
}

fn parts(root: &Node) -> Option<(&Arc<Access>, Option<&Arc<ProjectNode>>)> {
    match &root.kind {
        NodeKind::Scan(access) if names_one_row(access) => Some((access, None)),
        NodeKind::Project(project) => match &project.input.kind {
            NodeKind::Scan(access) if names_one_row(access) => Some((access, Some(project))),
            _ => None,
        },
        _ => None,
    }
}

fn names_one_row(access: &Access) -> bool {
    let index = &access.codec.index;
    // A row that the filter may still refuse is not locked in the first place.
    let locks_first = access.lock.is_none() || access.filter.is_none();
    index.primary && access.limit.is_none() && locks_first && access.bounds.is_one_key(index.key.len())
}

pub struct PointRead {
    access: Arc<Access>,
    project: Option<Arc<ProjectNode>>,
    ctx: ExecContext,
    done: bool,
}

impl PointRead {
    /// `None` if the plan is not a point read.
    pub fn new(root: &Node, ctx: &ExecContext) -> Option<Self> {
        let (access, project) = parts(root)?;
        Some(PointRead { access: access.clone(), project: project.cloned(), ctx: ctx.clone(), done: false })
    }

    async fn read(&self) -> SqlResult<Option<Batch>> {
        let access = &*self.access;
        let Reads::Points(keys) = reads(access, &[], &self.ctx)? else { return Ok(None) };
        // A comparison with NULL, or with a value outside of the column's type, names no row.
        let Some(key) = keys.first() else { return Ok(None) };
        let value = match access.lock.map(lock_of) {
            None => self.ctx.get(key).await?,
            Some((strength, wait)) => {
                let value = self.ctx.txn().get_locked(key, strength, wait).await?;
                match value {
                    Some(value) if self.ctx.stands(key, &value)? => Some(value),
                    _ => None,
                }
            }
        };
        let Some(value) = value else { return Ok(None) };
        let mut columns = access.codec.decoder.columns();
        access.codec.decoder.decode_row(key, &value, &mut columns)?;
        let row = Batch { columns: columns.into_iter().map(Arc::new).collect(), rows: 1 };
        if let Some(filter) = &access.filter
            && eval::selection(filter, &row, &self.ctx)?.is_empty()
        {
            return Ok(None);
        }
        Ok(Some(match &self.project {
            None => row,
            Some(project) => Batch { columns: eval::columns(&project.exprs, &row, &self.ctx)?, rows: 1 },
        }))
    }
}

impl Operator for PointRead {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            if std::mem::replace(&mut self.done, true) {
                return Ok(None);
            }
            self.read().await
        })
    }
}
