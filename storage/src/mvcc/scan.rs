//! Reading spans of keys, forward and in reverse, into one block.
//!
//! The scan walks the data family and, beside it, the lock family. A key under another transaction's intent is left out
//! of the block and reported; the scan goes on, so that one pass finds every conflict within its limits, and a
//! `SKIP LOCKED` has its rows.

use crate::base::{Key, Span, StorageResult, Timestamp};
use crate::engine::{Cf, EngineIter, IterOptions, Reader};

use super::block::KvBlock;
use super::cursor::{KeyView, LockCursor, Pick, View, pick, skip_key, skip_key_backward, version_of};
use super::get::GetOptions;
use super::lock::LockRecord;
use super::{key, value};

/// Room made for a block at its second row.
const ROOM: usize = 8 << 10;

/// How a span is read. A limit of 0 is none.
#[derive(Clone, Copy, Default, Debug)]
pub struct ScanOptions {
    pub get: GetOptions,
    /// From the last key to the first.
    pub reverse: bool,
    pub max_rows: usize,
    /// The scan stops after the row that reaches it.
    pub max_bytes: usize,
    pub max_conflicts: usize,
}

#[derive(Debug, Default)]
pub struct ScanResult {
    pub block: KvBlock,
    /// What is left of the span, if a limit stopped the scan.
    pub resume: Option<Span>,
    /// Intents of other transactions that hide a key.
    pub conflicts: Vec<(Key, LockRecord)>,
    /// The newest version that made the read uncertain: read again at or above this.
    pub uncertain: Option<Timestamp>,
    /// As [`super::MvccGet::newest_above`], of all keys that were read.
    pub newest_above: Option<Timestamp>,
}

/// Reads `span` as of `ts`.
pub fn scan(
    reader: &dyn Reader,
    span: &Span,
    ts: Timestamp,
    options: ScanOptions,
) -> StorageResult<ScanResult> {
    let (lower, upper) = key::bounds(span);
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    // Locks first: see the module `mvcc`.
    let locks = LockCursor::new(reader, bounds.clone(), options.reverse)?;
    let data = reader.iter(Cf::Data, bounds);
    let view = View { ts, options: options.get };
    let part = Vec::with_capacity(64);
    let mut scanner = Scanner { data, locks, view, options, part, out: ScanResult::default() };
    let stopped_after = if options.reverse { scanner.backward()? } else { scanner.forward()? };
    let mut out = scanner.out;
    if !options.get.newest {
        out.newest_above = out.uncertain;
    }
    out.resume = stopped_after.and_then(|last| rest_of(span, last, options.reverse));
    Ok(out)
}

/// What remains of a span when it has been read up to and including `last`.
fn rest_of(span: &Span, last: Key, reverse: bool) -> Option<Span> {
    let (start, end) = if reverse { (span.start.clone(), last) } else { (last.next(), span.end.clone()) };
    (start < end).then(|| Span::new(start, end))
}

struct Scanner<'a> {
    data: Box<dyn EngineIter + 'a>,
    locks: LockCursor<'a>,
    view: View,
    options: ScanOptions,
    /// The key part of the current key.
    part: Vec<u8>,
    out: ScanResult,
}

impl Scanner<'_> {
    /// Reads until the end (`None`) or a limit: then the last key that was read.
    fn forward(&mut self) -> StorageResult<Option<Key>> {
        self.data.seek_to_first();
        while self.enter_key()? {
            if let Some((ts, limit, ignored)) = self.view_of_key()? {
                self.pick_forward(ts, limit, ignored)?;
            }
            if let Some(last) = self.stop()? {
                return Ok(Some(last));
            }
            skip_key(&mut *self.data, &self.part);
        }
        Ok(None)
    }

    fn backward(&mut self) -> StorageResult<Option<Key>> {
        self.data.seek_to_last();
        while self.enter_key()? {
            match self.view_of_key()? {
                Some((ts, limit, ignored)) => self.pick_backward(ts, limit, ignored)?,
                None => skip_key_backward(&mut *self.data, &self.part),
            }
            if let Some(last) = self.stop()? {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Takes the key on which the iterator stands for the current one; false at the end.
    fn enter_key(&mut self) -> StorageResult<bool> {
        if !self.data.valid() {
            self.data.status()?;
            return Ok(false);
        }
        let (part, _) = key::split_version(self.data.key())?;
        self.part.clear();
        self.part.extend_from_slice(part);
        Ok(true)
    }

    /// How the current key is read; `None` if an intent is in the way, which is then reported.
    fn view_of_key(&mut self) -> StorageResult<Option<(Timestamp, Timestamp, Option<Timestamp>)>> {
        let lock = self.locks.on(&self.part)?;
        match (self.view.of_key(lock.as_ref()), lock) {
            (KeyView::At { ts, limit, ignored }, _) => Ok(Some((ts, limit, ignored))),
            (KeyView::Conflict, lock) => {
                let lock = lock.expect("a conflict is with a lock");
                self.out.conflicts.push((self.current_key()?, lock));
                Ok(None)
            }
        }
    }

    fn pick_forward(
        &mut self,
        ts: Timestamp,
        limit: Timestamp,
        ignored: Option<Timestamp>,
    ) -> StorageResult<()> {
        let above = &mut self.out.newest_above;
        match pick(&mut *self.data, &self.part, (ts, limit, ignored), above)? {
            Pick::Visible(_) => self.push_row()?,
            Pick::Uncertain(version) => self.out.uncertain = self.out.uncertain.max(Some(version)),
            Pick::Nothing => {}
        }
        Ok(())
    }

    /// From the oldest version of the key to the newest, keeping the last that is visible; leaves the iterator on the
    /// key before.
    fn pick_backward(
        &mut self,
        ts: Timestamp,
        limit: Timestamp,
        ignored: Option<Timestamp>,
    ) -> StorageResult<()> {
        const STEPS_BEFORE_SEEK: usize = 4;
        let rows = self.out.block.len();
        for _ in 0..STEPS_BEFORE_SEEK {
            let Some(version) = version_of(&*self.data, &self.part)? else { return Ok(()) };
            if Some(version) != ignored {
                if version <= ts {
                    self.drop_row(rows);
                    self.push_row()?;
                } else {
                    self.out.newest_above = self.out.newest_above.max(Some(version));
                    if version <= limit {
                        self.drop_row(rows);
                        self.out.uncertain = self.out.uncertain.max(Some(version));
                    }
                }
            }
            self.data.prev();
        }
        if version_of(&*self.data, &self.part)?.is_none() {
            return Ok(());
        }
        // Many versions: find the visible one as a forward scan does.
        self.drop_row(rows);
        let mut target = self.part.clone();
        key::push_timestamp(if self.options.get.newest { Timestamp::MAX } else { limit }, &mut target);
        self.data.seek(&target);
        self.pick_forward(ts, limit, ignored)?;
        self.data.seek_for_prev(&self.part);
        Ok(())
    }

    /// Takes back what was kept of the current key.
    fn drop_row(&mut self, rows: usize) {
        if self.out.block.len() > rows {
            self.out.block.pop();
        }
    }

    /// Adds the version on which the iterator stands, unless it is a tombstone.
    fn push_row(&mut self) -> StorageResult<()> {
        if let Some(v) = value::decode(self.data.value())? {
            let rows = self.out.block.len();
            let space = self.out.block.key_space();
            if rows == 1 {
                // There are more than one: mostly there are many.
                space.reserve(ROOM);
            }
            key::decode_key(&self.part, space)?;
            self.out.block.push_value_after_key(v);
        }
        Ok(())
    }

    fn current_key(&self) -> StorageResult<Key> {
        let mut key = Vec::with_capacity(self.part.len());
        key::decode_key(&self.part, &mut key)?;
        Ok(key.into())
    }

    /// The current key, if a limit has been reached with it.
    fn stop(&self) -> StorageResult<Option<Key>> {
        let reached = |n: usize, limit: usize| limit > 0 && n >= limit;
        let stop = reached(self.out.block.len(), self.options.max_rows)
            || reached(self.out.block.size(), self.options.max_bytes)
            || reached(self.out.conflicts.len(), self.options.max_conflicts);
        stop.then(|| self.current_key()).transpose()
    }
}
