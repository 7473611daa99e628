//! FOR UPDATE under ORDER BY … LIMIT: rows are locked after they are sorted, one by one until there are enough.
//!
//! The scan gives up its lock, and its columns - the primary key among them - are carried up through the projections to a
//! [`LockRowsNode`] above the sort. So a queue (`… ORDER BY … LIMIT 1 FOR UPDATE SKIP LOCKED`) locks one row and not all
//! that wait.

use std::sync::Arc;

use super::build::{Builder, Want};
use crate::catalog::ColumnId;
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::plan::physical::{LockRowsNode, Node, NodeKind};
use crate::plan::{Field, LogicalPlan, RowLock, SortKey, TableScan};
use crate::row::{IndexEncoder, RowDecoder};
use crate::types::SqlType;

/// Whether the plan is one locked scan under nothing but filters and projections.
pub fn locks_one_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Scan(scan) => scan.lock.is_some(),
        LogicalPlan::Filter { input, .. } => locks_one_table(input),
        LogicalPlan::Project { input, exprs, .. } => {
            !exprs.iter().any(super::conjuncts::returns_set) && locks_one_table(input)
        }
        _ => false,
    }
}

/// What was found at the bottom.
struct Found {
    scan: TableScan,
    lock: RowLock,
    /// Where the scan's columns stand in the plan's rows.
    positions: Vec<usize>,
}

/// Takes the lock off the scan and brings all its columns to the top, the primary key's among them.
fn expose(plan: &mut LogicalPlan) -> Option<Found> {
    match plan {
        LogicalPlan::Scan(scan) => {
            let lock = scan.lock.take()?;
            let mut fields = scan.schema.to_vec();
            for key in &scan.table.primary.key {
                if !scan.columns.contains(&key.column) {
                    let column = scan.table.columns.iter().find(|c| c.id == key.column)?;
                    scan.columns.push(key.column);
                    fields.push(Field { name: column.name.clone(), ty: column.ty, origin: None });
                }
            }
            scan.schema = Arc::new(fields);
            Some(Found { lock, positions: (0..scan.columns.len()).collect(), scan: (**scan).clone() })
        }
        LogicalPlan::Filter { input, .. } => expose(input),
        LogicalPlan::Project { input, exprs, schema } => {
            let mut found = expose(input)?;
            let below = input.schema();
            let mut fields = schema.to_vec();
            for position in &mut found.positions {
                let known =
                    exprs.iter().position(|e| matches!(e, Expr::Column { index, .. } if index == position));
                *position = known.unwrap_or_else(|| {
                    exprs.push(Expr::Column { index: *position, ty: below[*position].ty });
                    fields.push(below[*position].clone());
                    exprs.len() - 1
                });
            }
            *schema = Arc::new(fields);
            Some(found)
        }
        _ => None,
    }
}

impl Builder<'_> {
    /// The sorted plan with its rows locked; the plan is as [`locks_one_table`] wants it.
    pub(super) fn locked_sort(
        &mut self,
        mut plan: LogicalPlan,
        keys: Vec<SortKey>,
        want: &Want,
    ) -> SqlResult<Node> {
        let schema = plan.schema();
        let found = expose(&mut plan).ok_or_else(|| SqlError::internal("no locked scan to expose"))?;
        let input = self.build(plan)?;
        let input = self.sort_over(input, keys, (None, None, None))?;
        let columns: Vec<(usize, ColumnId, SqlType)> = found
            .positions
            .iter()
            .zip(found.scan.columns.iter().zip(found.scan.schema.iter()))
            .map(|(p, (c, f))| (*p, *c, f.ty))
            .collect();
        let (full, estimate) = (input.schema.clone(), input.estimate);
        let ids: Vec<ColumnId> = columns.iter().map(|c| c.1).collect();
        let node = LockRowsNode {
            input,
            positions: columns.iter().map(|c| c.0).collect(),
            columns: ids.clone(),
            lock: found.lock,
            primary: IndexEncoder::primary(&found.scan.table)?,
            decoder: RowDecoder::primary(&found.scan.table, &ids)?,
            limit: want.limit.clone(),
            offset: want.offset.clone(),
            table: found.scan.table,
        };
        let node = self.node(NodeKind::LockRows(Arc::new(node)), full, estimate);
        Ok(if node.schema.len() > schema.len() { self.first_columns(node, schema) } else { node })
    }
}
