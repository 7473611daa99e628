//! What a statement needs to know about the table that it writes, and about those that its foreign keys reach.

use super::build::Builder;
use crate::catalog::{ColumnId, ElementState, FkAction, ForeignKey, IndexId, TableDescriptor, TableId};
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::plan::physical::{InboundKey, OutboundKey, TargetTable, Targets};
use crate::row::{RowDecoder, TableCodec};
use std::sync::Arc;

/// What is done to the first table: decides which constraints matter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Insert,
    Update,
    Delete,
}

fn public(table: &TableDescriptor) -> Vec<ColumnId> {
    table.columns.iter().filter(|c| c.state == ElementState::Public).map(|c| c.id).collect()
}

impl Builder<'_> {
    /// `assigned`: the columns that an UPDATE sets.
    pub(super) fn targets(
        &mut self,
        table: &Arc<TableDescriptor>,
        checks: Vec<(String, Expr)>,
        write: Write,
        assigned: &[ColumnId],
    ) -> SqlResult<Targets> {
        let mut targets = Targets { tables: Vec::new() };
        let outbound = write != Write::Delete;
        let inbound = write != Write::Insert;
        let first = self.target(table, checks, outbound, inbound, assigned)?;
        targets.tables.push(first);
        // Every table that a cascade can reach, with its own constraints.
        let (mut next, mut comes_back) = (0, false);
        while next < targets.tables.len() {
            let reached: Vec<TableId> =
                targets.tables[next].inbound.iter().map(|i| i.referencing.id).collect();
            if !comes_back && reached.contains(&table.id) {
                // What a cascade does to the first table is another write than the statement's.
                comes_back = true;
                let checks = self.checks_of(table)?;
                targets.tables[0] = self.target(table, checks, true, true, &public(table))?;
                next = 0;
                continue;
            }
            for id in reached {
                if targets.of(id).is_none() {
                    let table = self.table(id)?;
                    let checks = self.checks_of(&table)?;
                    let columns = public(&table);
                    let target = self.target(&table, checks, true, true, &columns)?;
                    targets.tables.push(target);
                }
            }
            next += 1;
        }
        Ok(targets)
    }

    fn table(&self, id: TableId) -> SqlResult<Arc<TableDescriptor>> {
        let table = self.catalog.tables.get(&id);
        table.cloned().ok_or_else(|| SqlError::internal(format!("no table {}", id.0)))
    }

    fn checks_of(&self, table: &Arc<TableDescriptor>) -> SqlResult<Vec<(String, Expr)>> {
        let bind = |c: &crate::catalog::CheckConstraint| {
            Ok((c.name.clone(), self.exprs.table_expr(table, &c.expr)?))
        };
        table.checks.iter().map(bind).collect()
    }

    fn target(
        &mut self,
        table: &Arc<TableDescriptor>,
        mut checks: Vec<(String, Expr)>,
        outbound: bool,
        inbound: bool,
        assigned: &[ColumnId],
    ) -> SqlResult<TargetTable> {
        let predicate = |index: &crate::catalog::IndexDescriptor| match &index.predicate {
            Some(text) => self.exprs.table_expr(table, text).map(Some),
            None => Ok(None),
        };
        let predicates = table.indexes.iter().map(predicate).collect::<SqlResult<Vec<_>>>()?;
        for (_, check) in &mut checks {
            self.convert(check)?;
        }
        Ok(TargetTable {
            codec: TableCodec::new(table)?,
            decoder: RowDecoder::primary(table, &public(table))?,
            predicates,
            checks,
            outbound: if outbound { self.outbound(table)? } else { Vec::new() },
            inbound: if inbound { self.inbound(table, assigned)? } else { Vec::new() },
            table: table.clone(),
        })
    }

    fn outbound(&self, table: &TableDescriptor) -> SqlResult<Vec<OutboundKey>> {
        let key = |(constraint, fk): (usize, &ForeignKey)| {
            let referenced = self.table(fk.references)?;
            let index = unique_index_over(&referenced, &fk.referenced_columns).ok_or_else(|| {
                SqlError::internal(format!("constraint {} refers to columns without a unique index", fk.name))
            })?;
            Ok(OutboundKey { constraint, referenced, index })
        };
        table.foreign_keys.iter().enumerate().map(key).collect()
    }

    fn inbound(&self, table: &TableDescriptor, assigned: &[ColumnId]) -> SqlResult<Vec<InboundKey>> {
        let mut out = Vec::new();
        for (id, constraint) in self.catalog.inbound.get(&table.id).into_iter().flatten() {
            let referencing = self.table(*id)?;
            let Some(fk) = referencing.foreign_keys.get(*constraint) else { continue };
            // An update that leaves the referenced columns alone concerns nobody.
            if !assigned.is_empty() && !fk.referenced_columns.iter().any(|c| assigned.contains(c)) {
                continue;
            }
            let sets_default = [fk.on_delete, fk.on_update].contains(&FkAction::SetDefault);
            let defaults = match sets_default {
                true => self.defaults(&referencing, &fk.columns)?,
                false => Vec::new(),
            };
            let index = index_beginning_with(&referencing, &fk.columns);
            out.push(InboundKey { constraint: *constraint, index, defaults, referencing });
        }
        Ok(out)
    }

    fn defaults(&self, table: &Arc<TableDescriptor>, columns: &[ColumnId]) -> SqlResult<Vec<Expr>> {
        let all = public(table);
        let default = |id: &ColumnId| {
            let position = all.iter().position(|c| c == id);
            let position =
                position.ok_or_else(|| SqlError::internal("a constraint's column is not public"))?;
            self.exprs.default_expr(table, position)
        };
        columns.iter().map(default).collect()
    }
}

/// The unique index over exactly these columns.
fn unique_index_over(table: &TableDescriptor, columns: &[ColumnId]) -> Option<IndexId> {
    let exact = |index: &&crate::catalog::IndexDescriptor| {
        index.unique
            && index.predicate.is_none()
            && index.state == ElementState::Public
            && index.key.len() == columns.len()
            && index.key.iter().all(|k| columns.contains(&k.column))
    };
    std::iter::once(&table.primary).chain(&table.indexes).find(exact).map(|i| i.id)
}

/// An index whose first columns are these, in any order.
fn index_beginning_with(table: &TableDescriptor, columns: &[ColumnId]) -> Option<IndexId> {
    let fits = |index: &&crate::catalog::IndexDescriptor| {
        index.predicate.is_none()
            && index.state == ElementState::Public
            && index.key.len() >= columns.len()
            && index.key[..columns.len()].iter().all(|k| columns.contains(&k.column))
    };
    std::iter::once(&table.primary).chain(&table.indexes).find(fits).map(|i| i.id)
}
