//! The schema of every kind of node.

use std::sync::Arc;

use super::{JoinKind, LogicalPlan, Schema};

impl LogicalPlan {
    /// The fields of the rows that the plan yields. Of a statement that writes: what RETURNING yields, or no fields.
    pub fn schema(&self) -> Schema {
        match self {
            LogicalPlan::Values { schema, .. }
            | LogicalPlan::VirtualScan { schema, .. }
            | LogicalPlan::FunctionScan { schema, .. }
            | LogicalPlan::Project { schema, .. }
            | LogicalPlan::Aggregate { schema, .. }
            | LogicalPlan::Window { schema, .. }
            | LogicalPlan::SetOp { schema, .. }
            | LogicalPlan::CteScan { schema, .. }
            | LogicalPlan::RecursiveUnion { schema, .. } => schema.clone(),
            LogicalPlan::Join { kind: JoinKind::Semi | JoinKind::Anti, left, .. } => left.schema(),
            LogicalPlan::Join { schema, .. } => schema.clone(),
            LogicalPlan::Scan(scan) => scan.schema.clone(),
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Distinct { input, .. } => input.schema(),
            LogicalPlan::With { body, .. } => body.schema(),
            LogicalPlan::Insert(_) | LogicalPlan::Update(_) | LogicalPlan::Delete(_) => {
                self.returned_schema().unwrap_or_else(|| Arc::new(Vec::new()))
            }
        }
    }

    /// The fields that a statement's RETURNING yields; `None` if no rows go to the client.
    pub fn returned_schema(&self) -> Option<Schema> {
        match self {
            LogicalPlan::Insert(i) => i.returning.as_ref().map(|r| r.1.clone()),
            LogicalPlan::Update(u) => u.returning.as_ref().map(|r| r.1.clone()),
            LogicalPlan::Delete(d) => d.returning.as_ref().map(|r| r.1.clone()),
            LogicalPlan::With { body, .. } => body.returned_schema(),
            other => Some(other.schema()),
        }
    }
}
