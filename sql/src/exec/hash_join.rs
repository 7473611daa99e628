//! Hash join: a table of the right side's rows by their keys, probed with the left side's batches.
//!
//! Keys are compared as encoded bytes, so the optimizer has brought both sides to common types. A row with a NULL among
//! its keys matches nothing. Right rows with equal keys are linked by their numbers, first to last, so that the table holds
//! one entry per key. Right and full joins remember which right rows were matched and yield the others at the end.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::FxHashMap;

use super::context::Reservation;
use super::join_output::{matching, pad_left, pairs};
use super::keys::KeyEncoder;
use super::vector::{self, NO_ROW};
use super::{ExecContext, Operator, build, eval};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::JoinKind;
use crate::plan::physical::HashJoin;
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Oid};

pub struct HashJoinOperator {
    plan: Arc<HashJoin>,
    left: Box<dyn Operator>,
    right: Option<Box<dyn Operator>>,
    left_types: Vec<Oid>,
    right_types: Vec<Oid>,
    encoder: KeyEncoder,
    ctx: ExecContext,
    memory: Reservation,
    table: Table,
    /// The probing batch and the candidate pairs of it that are still to be looked at.
    probe: Option<Probe>,
    left_done: bool,
    /// Right rows yielded in the final pass.
    padded: usize,
}

/// The right side.
#[derive(Default)]
struct Table {
    rows: Batch,
    /// First row of each key.
    first: FxHashMap<Vec<u8>, u32>,
    /// The next row with the same key, by row.
    next: Vec<u32>,
    matched: Vec<bool>,
    has_null: bool,
}

struct Probe {
    batch: Batch,
    left: Vec<u32>,
    right: Vec<u32>,
    at: usize,
    /// Left rows below this are through.
    padded: usize,
    /// Left rows that have found a partner.
    matched: Vec<bool>,
}

impl HashJoinOperator {
    pub fn new(plan: &Arc<HashJoin>, ctx: &ExecContext) -> Self {
        HashJoinOperator {
            left: build(&plan.left, ctx),
            right: Some(build(&plan.right, ctx)),
            left_types: plan.left.types(),
            right_types: plan.right.types(),
            encoder: KeyEncoder::equality(plan.left_keys.iter().map(|k| k.ty().oid)),
            memory: ctx.reserve(),
            plan: plan.clone(),
            ctx: ctx.clone(),
            table: Table::default(),
            probe: None,
            left_done: false,
            padded: 0,
        }
    }

    async fn fill(&mut self, mut right: Box<dyn Operator>) -> SqlResult<()> {
        let mut batches = Vec::new();
        let mut last: FxHashMap<u32, u32> = FxHashMap::default();
        let mut number = 0u32;
        while let Some(batch) = right.next().await? {
            self.ctx.check_cancel()?;
            self.memory.grow(vector::size(&batch) + 8 * batch.rows)?;
            let keys = self.keys(&self.plan.right_keys, &batch)?;
            for key in keys {
                self.table.next.push(NO_ROW);
                match key {
                    None => self.table.has_null = true,
                    Some(key) => match self.table.first.get(&key) {
                        Some(&first) => {
                            let previous = last.insert(first, number).unwrap_or(first);
                            self.table.next[previous as usize] = number;
                        }
                        None => {
                            self.memory.grow(key.len() + 48)?;
                            self.table.first.insert(key, number);
                        }
                    },
                }
                number += 1;
            }
            batches.push(batch);
        }
        self.table.rows = vector::concat(&batches, &self.right_types);
        self.table.matched = vec![false; self.table.rows.rows];
        Ok(())
    }

    /// Each row's key; `None` where it has a NULL.
    fn keys(&self, exprs: &[Expr], batch: &Batch) -> SqlResult<Vec<Option<Vec<u8>>>> {
        let columns = eval::columns(exprs, batch, &self.ctx)?;
        let mut out = Vec::with_capacity(batch.rows);
        for row in 0..batch.rows {
            if columns.iter().any(|c| c.is_null(row)) {
                out.push(None);
                continue;
            }
            let mut key = Vec::new();
            self.encoder.encode(&mut key, &columns, row)?;
            out.push(Some(key));
        }
        Ok(out)
    }

    /// All candidate pairs of a left batch.
    fn start_probe(&self, batch: Batch) -> SqlResult<Probe> {
        let keys = self.keys(&self.plan.left_keys, &batch)?;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        // Without a further condition the first partner decides a semi or anti join.
        let one = matches!(self.plan.kind, JoinKind::Semi | JoinKind::Anti) && self.plan.on.is_none();
        for (row, key) in keys.into_iter().enumerate() {
            let Some(key) = key else { continue };
            let mut next = self.table.first.get(&key).copied().unwrap_or(NO_ROW);
            while next != NO_ROW {
                left.push(row as u32);
                right.push(next);
                next = if one { NO_ROW } else { self.table.next[next as usize] };
            }
        }
        let matched = vec![false; batch.rows];
        Ok(Probe { batch, left, right, at: 0, padded: 0, matched })
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if let Some(right) = self.right.take() {
            self.fill(right).await?;
        }
        loop {
            self.ctx.check_cancel()?;
            if let Some(mut probe) = self.probe.take() {
                let (out, finished) = self.advance(&mut probe)?;
                if !finished {
                    self.probe = Some(probe);
                }
                match out {
                    Some(out) => return Ok(Some(out)),
                    None => continue,
                }
            }
            if self.left_done {
                return Ok(self.unmatched_right());
            }
            match self.left.next().await? {
                Some(batch) => self.probe = Some(self.start_probe(batch)?),
                None => self.left_done = true,
            }
        }
    }

    /// Looks at the next candidates; says whether the batch is through.
    fn advance(&mut self, probe: &mut Probe) -> SqlResult<(Option<Batch>, bool)> {
        let to = probe.left.len().min(probe.at + BATCH_ROWS);
        let mut left = probe.left[probe.at..to].to_vec();
        let mut right = probe.right[probe.at..to].to_vec();
        probe.at = to;
        matching(self.plan.on.as_ref(), &probe.batch, &self.table.rows, &mut left, &mut right, &self.ctx)?;
        left.iter().for_each(|l| probe.matched[*l as usize] = true);
        right.iter().for_each(|r| self.table.matched[*r as usize] = true);
        let finished = to == probe.left.len();
        match self.plan.kind {
            JoinKind::Semi | JoinKind::Anti => {
                if !finished {
                    return Ok((None, false));
                }
                let semi = self.plan.kind == JoinKind::Semi;
                let rows: Vec<u32> =
                    (0..probe.batch.rows as u32).filter(|&l| probe.matched[l as usize] == semi).collect();
                return Ok(((!rows.is_empty()).then(|| vector::take_batch(&probe.batch, &rows)), true));
            }
            JoinKind::Left | JoinKind::Full => {
                let complete = probe.left.get(to).map_or(probe.batch.rows, |next| *next as usize);
                pad_left(&mut left, &mut right, &probe.matched, probe.padded..complete);
                probe.padded = complete;
            }
            _ => {}
        }
        if left.is_empty() {
            return Ok((None, finished));
        }
        let out = pairs(&probe.batch, &self.left_types, &left, &self.table.rows, &self.right_types, &right);
        Ok((Some(out), finished))
    }

    /// The right rows that no left row has matched, for right and full joins.
    fn unmatched_right(&mut self) -> Option<Batch> {
        if !matches!(self.plan.kind, JoinKind::Right | JoinKind::Full) {
            return None;
        }
        let mut rows = Vec::new();
        while rows.len() < BATCH_ROWS && self.padded < self.table.rows.rows {
            if !self.table.matched[self.padded] {
                rows.push(self.padded as u32);
            }
            self.padded += 1;
        }
        if rows.is_empty() {
            return None;
        }
        let nothing = vector::from_rows::<Vec<_>>(&[], &self.left_types);
        let none = vec![NO_ROW; rows.len()];
        Some(pairs(&nothing, &self.left_types, &none, &self.table.rows, &self.right_types, &rows))
    }
}

impl Operator for HashJoinOperator {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
