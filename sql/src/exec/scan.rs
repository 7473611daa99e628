//! Reading a stored table: points, ranges, index entries with and without their rows, locks.
//!
//! Chunk by chunk: *entries* are read from the chosen index; unless they hold all that is wanted, the *rows* they point to
//! are fetched, many at once; rows are decoded into columns, filtered, and - if the statement locks - locked.
//!
//! Locks are taken on rows (the key in the primary index), and only on those that pass the filter: the row is locked
//! and read again by one request, and the filter looked at again, because under READ COMMITTED the locking read sees
//! the newest version (PostgreSQL's EvalPlanQual). Rows of the primary index that no filter looks at need no second read:
//! they are locked in the first place.
//!
//! With a bound on the number of rows, no more is locked than is passed on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, Key, Span};
use meridian_txn::{KvBlock, LockStrength, ScanOptions, Scanner, WaitPolicy};

use super::bounds::{Reads, reads};
use super::sort::row_count;
use super::{ExecContext, Operator, eval, vector};
use crate::error::{SqlResult, state};
use crate::plan::physical::Access;
use crate::plan::{RowLock, RowLockStrength, RowLockWait};
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Datum};

/// What a scan that is to lock a few rows looks at in one step.
const LOCKING_BLOCK_BYTES: u64 = 4 << 10;

pub type Lock = (LockStrength, WaitPolicy);

/// The transaction layer's names for a row lock.
pub fn lock_of(lock: RowLock) -> Lock {
    let strength = match lock.strength {
        RowLockStrength::KeyShare => LockStrength::KeyShare,
        RowLockStrength::Share => LockStrength::Share,
        RowLockStrength::NoKeyUpdate => LockStrength::NoKeyUpdate,
        RowLockStrength::Update => LockStrength::Update,
    };
    let wait = match lock.wait {
        RowLockWait::Block => WaitPolicy::Block,
        RowLockWait::NoWait => WaitPolicy::NoWait,
        RowLockWait::SkipLocked => WaitPolicy::Skip,
    };
    (strength, wait)
}

pub struct Scan {
    access: Arc<Access>,
    ctx: ExecContext,
    state: Option<Running>,
}

impl Scan {
    pub fn new(access: &Arc<Access>, ctx: &ExecContext) -> Self {
        Scan { access: access.clone(), ctx: ctx.clone(), state: None }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if self.state.is_none() {
            self.state = Some(Running::start(&self.access, &[], &self.ctx)?);
        }
        let Some(running) = &mut self.state else { return Ok(None) };
        running.next(&self.access, &self.ctx).await
    }
}

impl Operator for Scan {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}

/// A scan under way.
pub struct Running {
    source: Source,
    lock: Option<Lock>,
    /// The entries come locked already.
    locked: bool,
    /// Rows that may still be passed on; `u64::MAX`: all.
    remaining: u64,
}

enum Source {
    Points { keys: Vec<Key>, done: usize },
    Spans { spans: VecDeque<Span>, scanner: Option<Box<Scanner>>, block: Option<(KvBlock, usize)> },
}

/// Some pairs of an index, in order.
enum Entries {
    Block { block: KvBlock, from: usize, to: usize },
    Pairs(Vec<(Key, Bytes)>),
}

impl Entries {
    fn len(&self) -> usize {
        match self {
            Entries::Block { from, to, .. } => to - from,
            Entries::Pairs(pairs) => pairs.len(),
        }
    }

    fn get(&self, i: usize) -> (&[u8], &[u8]) {
        match self {
            Entries::Block { block, from, .. } => (block.key(from + i), block.value(from + i)),
            Entries::Pairs(pairs) => (&pairs[i].0, &pairs[i].1),
        }
    }

    fn key(&self, i: usize) -> Key {
        match self {
            Entries::Block { block, from, .. } => Key::new(block.key_bytes(from + i)),
            Entries::Pairs(pairs) => pairs[i].0.clone(),
        }
    }

    /// Of locked rows, those that are there for the statement.
    fn standing(self, ctx: &ExecContext) -> SqlResult<Self> {
        let Entries::Block { block, from, to } = &self else { return Ok(self) };
        if !ctx.has_moment() {
            return Ok(self);
        }
        let mut standing = Vec::with_capacity(to - from);
        for i in *from..*to {
            let key = Key::new(block.key_bytes(i));
            if ctx.stands(&key, block.value(i))? {
                standing.push((key, block.value_bytes(i)));
            }
        }
        Ok(if standing.len() == to - from { self } else { Entries::Pairs(standing) })
    }
}

impl Running {
    /// `row`: what the bounds read besides parameters.
    pub fn start(access: &Access, row: &[Datum], ctx: &ExecContext) -> SqlResult<Self> {
        let lock = access.lock.map(lock_of);
        let remaining = Self::wanted(access, ctx)?;
        let primary = access.codec.index.primary;
        let locked = lock.is_some() && primary && access.filter.is_none() && remaining == u64::MAX;
        let source = match reads(access, row, ctx)? {
            Reads::Points(mut keys) => {
                if access.reverse {
                    keys.reverse();
                }
                Source::Points { keys, done: 0 }
            }
            Reads::Spans(mut spans) => {
                if access.reverse {
                    spans.reverse();
                }
                Source::Spans { spans: spans.into(), scanner: None, block: None }
            }
        };
        Ok(Running { source, lock, locked, remaining })
    }

    fn wanted(access: &Access, ctx: &ExecContext) -> SqlResult<u64> {
        let limit = row_count(access.limit.as_ref(), state::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT", ctx)?;
        let offset = row_count(access.offset.as_ref(), state::INVALID_ROW_COUNT_IN_OFFSET, "OFFSET", ctx)?;
        Ok(limit.map_or(u64::MAX, |l| l.saturating_add(offset.unwrap_or(0))))
    }

    pub async fn next(&mut self, access: &Access, ctx: &ExecContext) -> SqlResult<Option<Batch>> {
        while self.remaining > 0 {
            ctx.check_cancel()?;
            let Some(entries) = self.entries(access, ctx).await? else { break };
            if entries.len() == 0 {
                continue;
            }
            let batch = self.rows(entries, access, ctx).await?;
            if batch.rows > 0 {
                self.remaining -= if self.remaining == u64::MAX { 0 } else { batch.rows as u64 };
                return Ok(Some(batch));
            }
        }
        self.remaining = 0;
        Ok(None)
    }

    /// The next entries; possibly none of a chunk.
    async fn entries(&mut self, access: &Access, ctx: &ExecContext) -> SqlResult<Option<Entries>> {
        let lock = self.lock.filter(|_| self.locked);
        match &mut self.source {
            Source::Points { keys, done } => {
                if *done == keys.len() {
                    return Ok(None);
                }
                let chunk = &keys[*done..keys.len().min(*done + BATCH_ROWS)];
                *done += chunk.len();
                Ok(Some(Entries::Pairs(get_pairs(chunk, lock, ctx).await?)))
            }
            Source::Spans { spans, scanner, block } => loop {
                if let Some((full, at)) = block {
                    let to = full.len().min(*at + BATCH_ROWS);
                    let entries = Entries::Block { block: full.clone(), from: *at, to };
                    *at = to;
                    if to == full.len() {
                        *block = None;
                    }
                    return Ok(Some(if lock.is_some() { entries.standing(ctx)? } else { entries }));
                }
                let Some(running) = scanner else {
                    let Some(span) = spans.pop_front() else { return Ok(None) };
                    let limited = self.remaining != u64::MAX;
                    // Of rows that are locked one by one some may be skipped, or turn out to be gone.
                    let exact = limited && access.filter.is_none() && self.lock.is_none();
                    let options = ScanOptions {
                        reverse: access.reverse,
                        limit: if exact { self.remaining } else { 0 },
                        batch_bytes: if limited && self.lock.is_some() { LOCKING_BLOCK_BYTES } else { 0 },
                        lock,
                        ..ScanOptions::default()
                    };
                    *scanner = Some(Box::new(ctx.scan(span, options)));
                    continue;
                };
                match running.next_block().await? {
                    Some(full) => *block = Some((full, 0)),
                    None => *scanner = None,
                }
            },
        }
    }

    /// The rows of some entries: fetched, decoded, filtered, locked, and no more than are wanted.
    async fn rows(&mut self, entries: Entries, access: &Access, ctx: &ExecContext) -> SqlResult<Batch> {
        let entries = match &access.codec.finder {
            Some(finder) => {
                let mut keys = Vec::with_capacity(entries.len());
                for i in 0..entries.len() {
                    let (key, value) = entries.get(i);
                    keys.push(finder.primary_key(key, value)?);
                }
                Entries::Pairs(get_pairs(&keys, None, ctx).await?)
            }
            None => entries,
        };
        let mut batch = decode(&entries, access)?;
        let selected = match &access.filter {
            Some(filter) => eval::selection(filter, &batch, ctx)?,
            None => (0..batch.rows as u32).collect(),
        };
        match self.lock {
            Some(lock) if !self.locked => {
                let keys: Vec<Key> = selected.iter().map(|r| entries.key(*r as usize)).collect();
                self.lock_rows(&keys, lock, access, ctx).await
            }
            _ => {
                if selected.len() < batch.rows {
                    batch = vector::take_batch(&batch, &selected);
                }
                if batch.rows as u64 > self.remaining {
                    batch = vector::slice(&batch, 0, self.remaining as usize);
                }
                Ok(batch)
            }
        }
    }

    /// Locks and reads rows again, up to as many as are wanted.
    async fn lock_rows(
        &self,
        mut keys: &[Key],
        lock: Lock,
        access: &Access,
        ctx: &ExecContext,
    ) -> SqlResult<Batch> {
        let types: Vec<_> = access.codec.decoder.columns();
        let mut out = Batch { columns: types.into_iter().map(Arc::new).collect(), rows: 0 };
        while !keys.is_empty() && (out.rows as u64) < self.remaining {
            let wanted = usize::try_from(self.remaining - out.rows as u64).unwrap_or(usize::MAX);
            let (chunk, rest) = keys.split_at(keys.len().min(wanted));
            keys = rest;
            let entries = Entries::Pairs(get_pairs(chunk, Some(lock), ctx).await?);
            let mut fresh = decode(&entries, access)?;
            if let Some(filter) = &access.filter {
                let still = eval::selection(filter, &fresh, ctx)?;
                fresh = vector::take_batch(&fresh, &still);
            }
            if out.rows == 0 {
                out = fresh;
            } else if fresh.rows > 0 {
                for (to, from) in out.columns.iter_mut().zip(&fresh.columns) {
                    vector::append(Arc::make_mut(to), from);
                }
                out.rows += fresh.rows;
            }
        }
        Ok(out)
    }
}

/// Those of the keys that have a value, in the order of `keys`; of the locked ones, that are there for the statement.
pub async fn get_pairs(keys: &[Key], lock: Option<Lock>, ctx: &ExecContext) -> SqlResult<Vec<(Key, Bytes)>> {
    match (keys, lock) {
        (_, Some(lock)) => {
            let mut pairs = lock_pairs(keys, lock, ctx).await?;
            if ctx.has_moment() {
                let all = std::mem::take(&mut pairs);
                for (key, value) in all {
                    if ctx.stands(&key, &value)? {
                        pairs.push((key, value));
                    }
                }
            }
            Ok(pairs)
        }
        ([key], None) => Ok(ctx.get(key).await?.map(|v| (key.clone(), v)).into_iter().collect()),
        (_, None) => Ok(paired(keys, ctx.get_many(keys).await?)),
    }
}

/// Those of the keys that have a value now, in the order of `keys`.
pub async fn lock_pairs(keys: &[Key], lock: Lock, ctx: &ExecContext) -> SqlResult<Vec<(Key, Bytes)>> {
    if let [key] = keys {
        let value = ctx.txn().get_locked(key, lock.0, lock.1).await?;
        return Ok(value.map(|v| (key.clone(), v)).into_iter().collect());
    }
    Ok(paired(keys, ctx.txn().get_many(keys, Some(lock)).await?))
}

fn paired(keys: &[Key], values: Vec<Option<Bytes>>) -> Vec<(Key, Bytes)> {
    keys.iter().zip(values).filter_map(|(k, v)| Some((k.clone(), v?))).collect()
}

fn decode(entries: &Entries, access: &Access) -> SqlResult<Batch> {
    let decoder = &access.codec.decoder;
    let mut columns = decoder.columns();
    match entries {
        Entries::Block { block, from, to } => decoder.decode_rows(block, *from..*to, &mut columns)?,
        Entries::Pairs(pairs) => {
            for (key, value) in pairs {
                decoder.decode_row(key, value, &mut columns)?;
            }
        }
    }
    Ok(Batch { columns: columns.into_iter().map(Arc::new).collect(), rows: entries.len() })
}
