//! Lookup join: the matches of the left rows are read from a stored table by an index.
//!
//! Where a left row names a whole unique key, the keys of a batch are read by one request, each key once. Otherwise each
//! left row has a span of the index, and the spans are read one after the other.

use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, Key};
use rustc_hash::FxHashMap;

use super::bounds::{Reads, reads};
use super::join_output::{matching, pad_left, pairs};
use super::scan::{Running, get_pairs};
use super::vector;
use super::{ExecContext, Operator, build, eval};
use crate::error::SqlResult;
use crate::plan::JoinKind;
use crate::plan::physical::LookupJoin;
use crate::types::{Batch, Oid};

pub struct LookupJoinOperator {
    plan: Arc<LookupJoin>,
    left: Box<dyn Operator>,
    left_types: Vec<Oid>,
    right_types: Vec<Oid>,
    ctx: ExecContext,
}

/// The matches of a left batch before the rest of the condition: for each pair the left row and the right row.
struct Matches {
    left: Vec<u32>,
    right: Vec<u32>,
    rows: Batch,
}

impl LookupJoinOperator {
    pub fn new(plan: &Arc<LookupJoin>, ctx: &ExecContext) -> Self {
        LookupJoinOperator {
            left: build(&plan.left, ctx),
            left_types: plan.left.types(),
            right_types: plan.inner_schema.iter().map(|f| f.ty.oid).collect(),
            plan: plan.clone(),
            ctx: ctx.clone(),
        }
    }

    async fn look_up(&mut self, batch: &Batch) -> SqlResult<Matches> {
        let plan = self.plan.clone();
        let access = &plan.access;
        let mut points: Vec<(u32, Key)> = Vec::new();
        let mut scans: Vec<(u32, Running)> = Vec::new();
        for row in 0..batch.rows {
            let values = vector::row(batch, row);
            match reads(access, &values, &self.ctx)? {
                Reads::Points(keys) => points.extend(keys.into_iter().map(|k| (row as u32, k))),
                Reads::Spans(spans) if spans.is_empty() => {}
                Reads::Spans(_) => scans.push((row as u32, Running::start(access, &values, &self.ctx)?)),
            }
        }
        let mut matches = self.by_points(points).await?;
        let by_scans = !scans.is_empty();
        let mut batches = vec![std::mem::take(&mut matches.rows)];
        let mut total = batches[0].rows;
        for (row, mut scan) in scans {
            while let Some(found) = scan.next(access, &self.ctx).await? {
                matches.left.extend(std::iter::repeat_n(row, found.rows));
                matches.right.extend(total as u32..(total + found.rows) as u32);
                total += found.rows;
                batches.push(found);
            }
        }
        if batches.len() > 1 && batches[0].rows == 0 {
            batches.remove(0);
        }
        matches.rows = vector::concat(&batches, &self.right_types);
        if by_scans {
            // In the order of the left rows: parents may count on it.
            let mut order: Vec<usize> = (0..matches.left.len()).collect();
            order.sort_by_key(|&i| matches.left[i]);
            matches.left = order.iter().map(|&i| matches.left[i]).collect();
            matches.right = order.iter().map(|&i| matches.right[i]).collect();
        }
        Ok(matches)
    }

    /// Rows by whole keys.
    async fn by_points(&mut self, points: Vec<(u32, Key)>) -> SqlResult<Matches> {
        let access = &self.plan.access;
        let mut keys: Vec<Key> = points.iter().map(|p| p.1.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut entries: Vec<(Key, Bytes)> =
            if keys.is_empty() { Vec::new() } else { get_pairs(&keys, None, &self.ctx).await? };
        let mut place: FxHashMap<Key, u32> = FxHashMap::default();
        if let Some(finder) = &access.codec.finder {
            let mut primary = Vec::with_capacity(entries.len());
            for (key, value) in &entries {
                primary.push(finder.primary_key(key, value)?);
            }
            let values = self.ctx.get_many(&primary).await?;
            let rows = entries.iter().zip(primary).zip(values);
            let mut fetched = Vec::with_capacity(entries.len());
            for (((entry, _), key), value) in rows {
                let Some(value) = value else { continue };
                place.insert(entry.clone(), fetched.len() as u32);
                fetched.push((key, value));
            }
            entries = fetched;
        } else {
            place.extend(entries.iter().enumerate().map(|(i, (key, _))| (key.clone(), i as u32)));
        }
        let mut columns = access.codec.decoder.columns();
        for (key, value) in &entries {
            access.codec.decoder.decode_row(key, value, &mut columns)?;
        }
        let rows = Batch { columns: columns.into_iter().map(Arc::new).collect(), rows: entries.len() };
        let passed = match &access.filter {
            Some(filter) if rows.rows > 0 => {
                super::join_output::mark(&eval::selection(filter, &rows, &self.ctx)?, rows.rows)
            }
            _ => vec![true; rows.rows],
        };
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (row, key) in points {
            if let Some(&at) = place.get(&key)
                && passed[at as usize]
            {
                left.push(row);
                right.push(at);
            }
        }
        Ok(Matches { left, right, rows })
    }

    fn join(&self, batch: &Batch, mut matches: Matches) -> SqlResult<Option<Batch>> {
        let on = self.plan.on.as_ref();
        matching(on, batch, &matches.rows, &mut matches.left, &mut matches.right, &self.ctx)?;
        let kind = self.plan.kind;
        let partnered = super::join_output::mark(&matches.left, batch.rows);
        if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            let semi = kind == JoinKind::Semi;
            let rows: Vec<u32> = (0..batch.rows as u32).filter(|&l| partnered[l as usize] == semi).collect();
            return Ok((!rows.is_empty()).then(|| vector::take_batch(batch, &rows)));
        }
        if kind == JoinKind::Left {
            pad_left(&mut matches.left, &mut matches.right, &partnered, 0..batch.rows);
        }
        let Matches { left, right, rows } = matches;
        if left.is_empty() {
            return Ok(None);
        }
        Ok(Some(pairs(batch, &self.left_types, &left, &rows, &self.right_types, &right)))
    }
}

impl Operator for LookupJoinOperator {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            while let Some(batch) = self.left.next().await? {
                self.ctx.check_cancel()?;
                let matches = self.look_up(&batch).await?;
                if let Some(out) = self.join(&batch, matches)? {
                    return Ok(Some(out));
                }
            }
            Ok(None)
        })
    }
}
