//! Which stored tables a plan touches, for the session to pin before it runs.

use std::sync::Arc;

use super::LogicalPlan;
use crate::catalog::{Catalog, TableDescriptor, TableId};
use crate::expr::Expr;

impl LogicalPlan {
    /// Every table that the plan reads or writes, those behind the foreign keys of what it writes included; each once.
    pub fn tables(&mut self, catalog: &Catalog) -> Vec<Arc<TableDescriptor>> {
        let mut found = Vec::new();
        collect(self, catalog, &mut found);
        found
    }
}

fn add(table: &Arc<TableDescriptor>, found: &mut Vec<Arc<TableDescriptor>>) -> bool {
    let new = found.iter().all(|t| t.id != table.id);
    if new {
        found.push(table.clone());
    }
    new
}

fn collect(plan: &mut LogicalPlan, catalog: &Catalog, found: &mut Vec<Arc<TableDescriptor>>) {
    match plan {
        LogicalPlan::Scan(scan) => {
            add(&scan.table, found);
        }
        LogicalPlan::Insert(i) => written(&i.table, catalog, found, false),
        LogicalPlan::Update(u) => written(&u.table, catalog, found, true),
        LogicalPlan::Delete(d) => written(&d.table, catalog, found, true),
        _ => {}
    }
    plan.for_each_expr_mut(&mut |e| in_expr(e, catalog, found));
    plan.for_each_input_mut(&mut |input, _| collect(input, catalog, found));
}

fn in_expr(e: &mut Expr, catalog: &Catalog, found: &mut Vec<Arc<TableDescriptor>>) {
    if let Expr::Subquery(s) = e {
        collect(&mut s.plan, catalog, found);
    }
    e.for_each_child_mut(&mut |c| in_expr(c, catalog, found));
}

/// A written table, what it refers to, and - where rows go or change - what refers to it, for referential actions.
fn written(
    table: &Arc<TableDescriptor>,
    catalog: &Catalog,
    found: &mut Vec<Arc<TableDescriptor>>,
    old_rows: bool,
) {
    add(table, found);
    for fk in &table.foreign_keys {
        if let Some(referenced) = catalog.tables.get(&fk.references) {
            add(referenced, found);
        }
    }
    if !old_rows {
        return;
    }
    let inbound: Vec<TableId> =
        catalog.inbound.get(&table.id).into_iter().flatten().map(|(id, _)| *id).collect();
    for id in inbound {
        if let Some(referencing) = catalog.tables.get(&id)
            && add(referencing, found)
        {
            written(referencing, catalog, found, true);
        }
    }
}
