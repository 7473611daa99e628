//! Statements that write: where their rows come from, and whether they must all be read before the first is written.

use std::sync::Arc;

use super::build::Builder;
use super::targets::Write;
use crate::catalog::{ColumnId, ElementState, TableDescriptor, TableId};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::physical::*;
use crate::plan::{ConflictAction, Delete, Field, Insert, LogicalPlan, Schema, Update};
use crate::row::{IndexEncoder, RowDecoder};

impl Builder<'_> {
    pub(super) fn insert(&mut self, insert: Insert) -> SqlResult<Node> {
        let Insert { table, mut values, input, mut on_conflict, checks, returning } = insert;
        let input = self.build(input)?;
        let input = self.prepare(input, &mut values.iter_mut().collect::<Vec<_>>())?;
        let mut write = Write::Insert;
        let mut assigned = Vec::new();
        if let Some(ConflictAction::Update { assignments, filter }) =
            on_conflict.as_mut().map(|c| &mut c.action)
        {
            write = Write::Update;
            for (id, e) in assignments {
                assigned.push(*id);
                self.convert(e)?;
            }
            if let Some(e) = filter {
                self.convert(e)?;
            }
        }
        let targets = self.targets(&table, checks, write, &assigned)?;
        let read_first = reads(&input, table.id);
        let fields = &public_fields(&table);
        let Returning { exprs: returning, schema, above } = self.returning(returning, fields)?;
        let estimate = written(&input, &schema);
        let node = InsertNode { targets, input, values, on_conflict, returning, read_first };
        let node = self.node(NodeKind::Insert(Arc::new(node)), schema, estimate);
        self.returned(node, above)
    }

    pub(super) fn update(&mut self, update: Update) -> SqlResult<Node> {
        let Update { table, input, mut assignments, checks, returning } = update;
        let (input, simple) = self.written_rows(&table, input)?;
        let exprs = &mut assignments.iter_mut().map(|a| &mut a.1).collect::<Vec<_>>();
        let input = self.prepare(input, exprs)?;
        let assigned: Vec<ColumnId> = assignments.iter().map(|a| a.0).collect();
        let targets = self.targets(&table, checks, Write::Update, &assigned)?;
        let read_first = !simple || meets_again(&input, &table, &assigned);
        let fields = &input.schema.clone();
        let Returning { exprs: returning, schema, above } = self.returning(returning, fields)?;
        let estimate = written(&input, &schema);
        let node = UpdateNode { targets, input, assignments, returning, read_first, may_repeat: !simple };
        let node = self.node(NodeKind::Update(Arc::new(node)), schema, estimate);
        self.returned(node, above)
    }

    pub(super) fn delete(&mut self, delete: Delete) -> SqlResult<Node> {
        let Delete { table, input, returning } = delete;
        let (input, simple) = self.written_rows(&table, input)?;
        let targets = self.targets(&table, Vec::new(), Write::Delete, &[])?;
        let fields = &input.schema.clone();
        let Returning { exprs: returning, schema, above } = self.returning(returning, fields)?;
        let estimate = written(&input, &schema);
        let node = DeleteNode { targets, input, returning, read_first: !simple, may_repeat: !simple };
        let node = self.node(NodeKind::Delete(Arc::new(node)), schema, estimate);
        self.returned(node, above)
    }

    /// The rows to change, locked: by the scan itself if there is nothing but a scan and its filter, else on top.
    /// Says which it was.
    fn written_rows(
        &mut self,
        table: &Arc<TableDescriptor>,
        mut input: LogicalPlan,
    ) -> SqlResult<(Node, bool)> {
        if is_simple(&input) {
            let node = self.build(input)?;
            if matches!(node.kind, NodeKind::Scan(_)) {
                return Ok((node, true));
            }
            // A subquery over the row stands between; the scan has locked what its own filter let through.
            return Ok((node, false));
        }
        let lock = take_lock(&mut input, table.id);
        let node = self.build(input)?;
        let Some(lock) = lock else { return Ok((node, false)) };
        let (schema, estimate) = (node.schema.clone(), node.estimate);
        let columns: Vec<ColumnId> =
            table.columns.iter().filter(|c| c.state == ElementState::Public).map(|c| c.id).collect();
        let lock_rows = LockRowsNode {
            input: node,
            table: table.clone(),
            positions: (0..columns.len()).collect(),
            lock,
            primary: IndexEncoder::primary(table)?,
            decoder: RowDecoder::primary(table, &columns)?,
            columns,
            limit: None,
            offset: None,
        };
        Ok((self.node(NodeKind::LockRows(Arc::new(lock_rows)), schema, estimate), false))
    }

    /// What a statement returns: computed by itself, unless there are subqueries over the row. Then it returns the rows
    /// (of the given fields), and a projection above it computes.
    fn returning(&mut self, returning: Option<(Vec<Expr>, Schema)>, row: &[Field]) -> SqlResult<Returning> {
        let Some((mut exprs, schema)) = returning else {
            return Ok(Returning { exprs: None, schema: Arc::new(Vec::new()), above: None });
        };
        if exprs.iter().any(super::subquery::depends_on_row) {
            let columns = row.iter().enumerate().map(|(index, f)| Expr::Column { index, ty: f.ty });
            let (own, above) = (Some(columns.collect()), Some((exprs, schema)));
            return Ok(Returning { exprs: own, schema: Arc::new(row.to_vec()), above });
        }
        for e in &mut exprs {
            self.convert(e)?;
        }
        Ok(Returning { exprs: Some(exprs), schema, above: None })
    }

    fn returned(&mut self, node: Node, above: Option<(Vec<Expr>, Schema)>) -> SqlResult<Node> {
        match above {
            None => Ok(node),
            Some((mut exprs, schema)) => self.project_over(node, &mut exprs, schema),
        }
    }
}

struct Returning {
    exprs: Option<Vec<Expr>>,
    schema: Schema,
    above: Option<(Vec<Expr>, Schema)>,
}

fn public_fields(table: &TableDescriptor) -> Vec<Field> {
    let public = table.columns.iter().filter(|c| c.state == ElementState::Public);
    public.map(|c| Field { name: c.name.clone(), ty: c.ty, origin: None }).collect()
}

fn written(input: &Node, schema: &Schema) -> Estimate {
    let e = input.estimate;
    let rows = if schema.is_empty() { 0.0 } else { e.rows };
    Estimate { rows, startup: e.startup, total: e.total + e.rows * super::cost::FETCH, width: e.width }
}

/// One scan of a table, filtered.
fn is_simple(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Scan(_) => true,
        LogicalPlan::Filter { input, .. } => is_simple(input),
        _ => false,
    }
}

/// Takes the lock off the scan of the written table.
fn take_lock(plan: &mut LogicalPlan, table: TableId) -> Option<crate::plan::RowLock> {
    if let LogicalPlan::Scan(scan) = plan {
        return if scan.table.id == table { scan.lock.take() } else { None };
    }
    let mut found = None;
    plan.for_each_input_mut(&mut |input, _| {
        if found.is_none() {
            found = take_lock(input, table);
        }
    });
    found
}

/// Whether any part of the plan reads the table.
fn reads(node: &Node, table: TableId) -> bool {
    match &node.kind {
        NodeKind::Scan(access) => access.table.id == table,
        NodeKind::LookupJoin(join) => join.access.table.id == table || reads(&join.left, table),
        _ => {
            let mut found = false;
            node.for_each_input(&mut |input| found |= reads(input, table));
            found
        }
    }
}

/// Whether the scan could come upon a row again after it was updated: its place in the index has changed.
fn meets_again(input: &Node, table: &TableDescriptor, assigned: &[ColumnId]) -> bool {
    let NodeKind::Scan(access) = &input.kind else { return true };
    let index = std::iter::once(&table.primary).chain(&table.indexes).find(|i| i.id == access.index);
    let moves =
        |index: &crate::catalog::IndexDescriptor| index.key.iter().any(|k| assigned.contains(&k.column));
    index.is_none_or(moves) || moves(&table.primary)
}
