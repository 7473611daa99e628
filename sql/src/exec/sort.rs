//! Sorting, with or without a bound on how many rows are wanted.
//!
//! Each row's sort key is encoded once into bytes that order as the row does; sorting compares bytes. The sort is
//! stable. With a limit, rows are thrown away whenever twice as many as wanted have gathered, so that memory is bounded by
//! the limit.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::context::Reservation;
use super::keys::{KeyColumn, KeyEncoder};
use super::{ExecContext, Operator, build, eval, vector};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::SortKey;
use crate::plan::physical::SortNode;
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Datum, Oid};

/// Encodes sort keys.
pub struct SortEncoder<'p> {
    keys: &'p [SortKey],
    encoder: KeyEncoder,
}

/// The keys of a batch's rows in one buffer.
pub struct EncodedKeys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl std::ops::Index<usize> for EncodedKeys {
    type Output = [u8];
    fn index(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

impl<'p> SortEncoder<'p> {
    pub fn new(keys: &'p [SortKey]) -> Self {
        let column = |k: &SortKey| KeyColumn::ordered(k.expr.ty().oid, k.descending, k.nulls_first);
        SortEncoder { keys, encoder: KeyEncoder::new(keys.iter().map(column).collect()) }
    }

    pub fn keys(&self, batch: &Batch, ctx: &ExecContext) -> SqlResult<EncodedKeys> {
        let columns = eval::columns(self.keys.iter().map(|k| &k.expr), batch, ctx)?;
        let mut out = EncodedKeys { bytes: Vec::new(), ends: Vec::with_capacity(batch.rows) };
        for row in 0..batch.rows {
            self.encoder.encode(&mut out.bytes, &columns, row)?;
            out.ends.push(out.bytes.len());
        }
        Ok(out)
    }
}

/// The value of LIMIT or OFFSET: `None` for NULL (no limit).
pub fn row_count(
    expr: Option<&Expr>,
    negative: &'static str,
    clause: &str,
    ctx: &ExecContext,
) -> SqlResult<Option<u64>> {
    let Some(expr) = expr else { return Ok(None) };
    let count = match eval::constant(expr, ctx)? {
        Datum::Null => return Ok(None),
        Datum::Int8(n) => n,
        Datum::Int4(n) => n.into(),
        Datum::Int2(n) => n.into(),
        other => return Err(SqlError::internal(format!("{clause} is {other:?}"))),
    };
    match u64::try_from(count) {
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(SqlError::new(negative, format!("{clause} must not be negative"))),
    }
}

pub struct Sort {
    plan: Arc<SortNode>,
    input: Option<Box<dyn Operator>>,
    types: Vec<Oid>,
    ctx: ExecContext,
    memory: Reservation,
    sorted: Option<(Batch, Vec<u32>)>,
    done: usize,
}

/// Rows gathered so far: their batches, and per row its key and place.
#[derive(Default)]
struct Gathered {
    batches: Vec<Batch>,
    keys: Vec<EncodedKeys>,
    rows: Vec<(u32, u32)>,
}

impl Sort {
    pub fn new(plan: &Arc<SortNode>, ctx: &ExecContext) -> Self {
        Sort {
            plan: plan.clone(),
            input: Some(build(&plan.input, ctx)),
            types: plan.input.types(),
            memory: ctx.reserve(),
            ctx: ctx.clone(),
            sorted: None,
            done: 0,
        }
    }

    /// How many rows of the top are wanted.
    fn wanted(&self) -> SqlResult<usize> {
        let limit =
            row_count(self.plan.limit.as_ref(), state::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT", &self.ctx)?;
        let offset =
            row_count(self.plan.offset.as_ref(), state::INVALID_ROW_COUNT_IN_OFFSET, "OFFSET", &self.ctx)?;
        let Some(limit) = limit else { return Ok(usize::MAX) };
        Ok(usize::try_from(limit.saturating_add(offset.unwrap_or(0))).unwrap_or(usize::MAX))
    }

    async fn fill(&mut self, mut input: Box<dyn Operator>) -> SqlResult<()> {
        let plan = self.plan.clone();
        let encoder = SortEncoder::new(&plan.keys);
        let wanted = self.wanted()?;
        let mut gathered = Gathered::default();
        while let Some(batch) = input.next().await? {
            self.ctx.check_cancel()?;
            let keys = encoder.keys(&batch, &self.ctx)?;
            self.memory.grow(vector::size(&batch) + keys.bytes.len() + 16 * batch.rows)?;
            let number = gathered.batches.len() as u32;
            gathered.rows.extend((0..batch.rows as u32).map(|row| (number, row)));
            gathered.batches.push(batch);
            gathered.keys.push(keys);
            if gathered.rows.len() / 2 > wanted.max(BATCH_ROWS) {
                gathered.keep_top(wanted, &encoder, &self.types, &self.ctx)?;
                self.memory.release_all();
                self.memory.grow(gathered.batches.iter().map(vector::size).sum())?;
            }
        }
        gathered.sort(wanted);
        let order = gathered.order();
        self.sorted = Some((vector::concat(&gathered.batches, &self.types), order));
        Ok(())
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if let Some(input) = self.input.take() {
            self.fill(input).await?;
        }
        let Some((batch, order)) = &self.sorted else { return Ok(None) };
        let rows = &order[self.done..];
        let rows = &rows[..rows.len().min(BATCH_ROWS)];
        if rows.is_empty() {
            self.sorted = None;
            self.memory.release_all();
            return Ok(None);
        }
        self.done += rows.len();
        Ok(Some(vector::take_batch(batch, rows)))
    }
}

impl Gathered {
    fn sort(&mut self, wanted: usize) {
        let keys = &self.keys;
        let key = |(batch, row): &(u32, u32)| &keys[*batch as usize][*row as usize];
        let compare = |a: &(u32, u32), b: &(u32, u32)| key(a).cmp(key(b)).then(a.cmp(b));
        if wanted < self.rows.len() {
            if wanted > 0 {
                self.rows.select_nth_unstable_by(wanted - 1, compare);
            }
            self.rows.truncate(wanted);
        }
        self.rows.sort_unstable_by(compare);
    }

    /// The sorted rows as positions in the batches laid end to end.
    fn order(&self) -> Vec<u32> {
        let mut starts = Vec::with_capacity(self.batches.len());
        let mut at = 0;
        for batch in &self.batches {
            starts.push(at);
            at += batch.rows as u32;
        }
        self.rows.iter().map(|(batch, row)| starts[*batch as usize] + row).collect()
    }

    /// Forgets all rows that cannot be among the first `wanted`.
    fn keep_top(
        &mut self,
        wanted: usize,
        encoder: &SortEncoder<'_>,
        types: &[Oid],
        ctx: &ExecContext,
    ) -> SqlResult<()> {
        self.sort(wanted);
        let order = self.order();
        if order.is_empty() {
            *self = Gathered::default();
            return Ok(());
        }
        let kept = vector::take_batch(&vector::concat(&self.batches, types), &order);
        self.keys = vec![encoder.keys(&kept, ctx)?];
        self.rows = (0..kept.rows as u32).map(|row| (0, row)).collect();
        self.batches = vec![kept];
        Ok(())
    }
}

impl Operator for Sort {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
