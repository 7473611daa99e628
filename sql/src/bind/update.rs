//! UPDATE.

use std::sync::Arc;

use sqlparser::ast::{self, TableFactor};

use super::Binder;
use super::from::From;
use super::name::fold;
use super::select::Clause;
use crate::catalog::{ColumnId, TableDescriptor};
use crate::error::{SqlError, SqlResult};
use crate::plan::{LogicalPlan, RowLock, RowLockStrength, RowLockWait, Update};

impl Binder<'_> {
    pub fn bind_update(&mut self, update: &ast::Update) -> SqlResult<LogicalPlan> {
        self.writes = true;
        if update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(SqlError::unsupported("this form of UPDATE"));
        }
        if !update.table.joins.is_empty() {
            return Err(SqlError::new(
                crate::error::state::SYNTAX_ERROR,
                "UPDATE takes one table; join others in its FROM clause",
            ));
        }
        let (table, target) =
            self.bind_modified(&update.table.relation, "update", RowLockStrength::NoKeyUpdate)?;
        let mut from = match &update.from {
            None => target,
            Some(ast::UpdateTableFromKind::AfterSet(items) | ast::UpdateTableFromKind::BeforeSet(items)) => {
                self.bind_more(target, items)?
            }
        };
        let scope = from.take_scope(None);
        let mut input = from.plan;
        if let Some(condition) = &update.selection {
            let predicate = self
                .in_level(Clause::Where, |b| b.bind_condition(condition, &scope, Clause::Where, "WHERE"))?;
            input = LogicalPlan::Filter { input: Box::new(input), predicate };
        }
        let assignments =
            self.in_level(Clause::Update, |b| b.bind_assignments(&update.assignments, &table, &scope))?;
        if assignments.iter().any(|(id, _)| is_key(&table, *id)) {
            strengthen(&mut input, &table);
        }
        let checks = self.bind_checks(&table)?;
        let returning = self.bind_returning(update.returning.as_deref(), &scope)?;
        Ok(LogicalPlan::Update(Box::new(Update { table, input, assignments, checks, returning })))
    }

    /// The table that UPDATE or DELETE changes, scanned under a lock.
    pub fn bind_modified(
        &mut self,
        factor: &TableFactor,
        verb: &str,
        strength: RowLockStrength,
    ) -> SqlResult<(Arc<TableDescriptor>, From)> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else {
            return Err(SqlError::unsupported(format!("{verb} of anything but a table")));
        };
        let table = self.resolve_target(name, verb)?;
        let alias = alias.as_ref();
        let shown = alias.map_or_else(|| table.name.clone(), |a| fold(&a.name).into_owned());
        let lock = RowLock { strength, wait: RowLockWait::Block };
        let from = self.scan(&table, shown, alias, Some(lock))?;
        Ok((table, from))
    }
}

/// Foreign keys of other tables may refer to the column: it is in a unique index.
fn is_key(table: &TableDescriptor, column: ColumnId) -> bool {
    std::iter::once(&table.primary)
        .chain(&table.indexes)
        .filter(|i| i.unique && i.predicate.is_none())
        .any(|i| i.key.iter().any(|k| k.column == column))
}

/// The target's scan, the leftmost of the input, takes the strongest lock.
fn strengthen(plan: &mut LogicalPlan, table: &TableDescriptor) {
    match plan {
        LogicalPlan::Scan(scan) if scan.table.id == table.id => {
            if let Some(lock) = &mut scan.lock {
                lock.strength = RowLockStrength::Update;
            }
        }
        LogicalPlan::Filter { input, .. } => strengthen(input, table),
        LogicalPlan::Join { left, .. } => strengthen(left, table),
        _ => {}
    }
}
