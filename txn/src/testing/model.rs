//! A model of the leaseholders' half: every range of the cluster in one map under one mutex.
//!
//! It keeps the contract of [`crate::rpc`] by the plainest means, so that the coordinator (and the SQL layer) can be
//! tested without the real participant, and differences between the two can be found. Nothing in it lasts, nothing in
//! it fails; a waiting request looks again whenever anything is released.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::oneshot;
use meridian_storage::base::runtime::timeout;
use meridian_storage::base::{BoxFuture, Clock, Key, RangeId, Runtime, Span, Timestamp, TxnId, keys};
use meridian_storage::replica::RangeDescriptor;
use parking_lot::Mutex;

use crate::record::{TxnRecord, TxnStatus};
use crate::rpc::*;

/// See the module's documentation.
pub struct ModelKv {
    clock: Clock,
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct Intent {
    meta: TxnMeta,
    ts: Timestamp,
    value: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    txn: TxnId,
    strength: LockStrength,
}

/// Data, without what waiting needs: can be copied to undo a batch.
#[derive(Clone, Default)]
struct Data {
    ranges: Vec<RangeDescriptor>,
    /// Ascending by time.
    versions: BTreeMap<Key, Vec<(Timestamp, Option<Bytes>)>>,
    intents: BTreeMap<Key, Intent>,
    locks: BTreeMap<Key, Vec<Held>>,
    records: BTreeMap<TxnId, TxnRecord>,
    /// The timestamp cache: what was read, when, by whom.
    reads: Vec<(Span, Timestamp, Option<TxnId>)>,
    low_water: Timestamp,
    /// Where pending transactions were pushed to.
    pushed: BTreeMap<TxnId, Timestamp>,
    /// How transactions without a record have ended: when they committed, or `None` if they were aborted.
    ended: BTreeMap<TxnId, Option<Timestamp>>,
}

#[derive(Default)]
struct State {
    data: Data,
    /// Who waits for whom; a transaction may wait in several ranges at once.
    waits: BTreeMap<(TxnId, u64), Vec<TxnId>>,
    next_wait: u64,
    sleepers: Vec<oneshot::Sender<()>>,
}

/// Why a batch stops.
enum Stop {
    Fail(KvError),
    Wait { key: Key, holders: Vec<TxnId> },
}

impl From<KvError> for Stop {
    fn from(e: KvError) -> Self {
        Stop::Fail(e)
    }
}

const MAX_READS: usize = 2000;

impl ModelKv {
    pub fn new(clock: Clock, runtime: Arc<dyn Runtime>, first: RangeDescriptor) -> Arc<Self> {
        let mut state = State::default();
        let meta = keys::meta_key(&first.end);
        state
            .data
            .versions
            .insert(meta, vec![(Timestamp::new(1, 0), Some(codec::encode_descriptor(&first)))]);
        state.data.ranges.push(first);
        Arc::new(ModelKv { clock, runtime, state: Mutex::new(state) })
    }

    /// The descriptor of the range that holds all of `meta`.
    pub fn first_range(&self) -> RangeDescriptor {
        self.state.lock().data.ranges[0].clone()
    }

    fn attempt(&self, batch: &BatchRequest) -> Result<BatchResponse, Stop> {
        let mut state = self.state.lock();
        let undo = (batch.requests.len() > 1).then(|| state.data.clone());
        let mut eval =
            Eval { data: &mut state.data, header: &batch.header, ts: batch.header.read_ts, freed: false };
        let mut responses = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            match eval.request(request) {
                Ok(response) => responses.push(response),
                Err(stop) => {
                    if let Some(undo) = undo {
                        state.data = undo;
                    }
                    return Err(stop);
                }
            }
        }
        let (ts, freed) = (eval.ts, eval.freed);
        if freed {
            for sleeper in state.sleepers.drain(..) {
                let _ = sleeper.send(());
            }
        }
        Ok(BatchResponse { ts, now: self.clock.now(), responses })
    }

    async fn run(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let started = self.clock.monotonic();
        loop {
            let (key, holders) = match self.attempt(&batch) {
                Ok(response) => return Ok(response),
                Err(Stop::Fail(e)) => return Err(e),
                Err(Stop::Wait { key, holders }) => (key, holders),
            };
            if batch.header.wait == WaitPolicy::NoWait {
                return Err(KvError::LockNotAvailable { key });
            }
            let (wake, woken) = oneshot::channel();
            let waiter = batch.header.txn.as_ref().map(|t| t.id);
            let mut edge = None;
            {
                let mut state = self.state.lock();
                if let Some(waiter) = waiter {
                    state.next_wait += 1;
                    let wait = (waiter, state.next_wait);
                    state.waits.insert(wait, holders);
                    if let Some(cycle) = state.cycle(waiter) {
                        state.waits.remove(&wait);
                        return Err(KvError::Deadlock { cycle });
                    }
                    edge = Some(Edge { kv: self, wait });
                }
                state.sleepers.push(wake);
            }
            let woken = async {
                let _ = woken.await;
                drop(edge);
            };
            match batch.header.lock_timeout {
                None => woken.await,
                Some(limit) => {
                    let left = limit.saturating_sub(self.clock.monotonic().saturating_sub(started));
                    if timeout(&*self.runtime, left, woken).await.is_none() {
                        return Err(KvError::LockTimeout { key });
                    }
                }
            }
        }
    }
}

/// Takes the edge out of the wait graph when the wait ends, however it ends.
struct Edge<'a> {
    kv: &'a ModelKv,
    wait: (TxnId, u64),
}

impl Drop for Edge<'_> {
    fn drop(&mut self) {
        self.kv.state.lock().waits.remove(&self.wait);
    }
}

impl Sender for ModelKv {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse, KvError>> {
        Box::pin(self.run(batch))
    }

    fn try_send_local(&self, batch: &BatchRequest) -> Option<Result<BatchResponse, KvError>> {
        match self.attempt(batch) {
            Ok(response) => Some(Ok(response)),
            Err(Stop::Fail(e)) => Some(Err(e)),
            Err(Stop::Wait { .. }) => None,
        }
    }
}

impl State {
    /// The transactions in a circle of waits that begins and ends with `from`.
    fn cycle(&self, from: TxnId) -> Option<Vec<TxnId>> {
        let mut path = Vec::new();
        let mut seen = Vec::new();
        self.walk(from, from, &mut path, &mut seen).then_some(path)
    }

    fn walk(&self, at: TxnId, goal: TxnId, path: &mut Vec<TxnId>, seen: &mut Vec<TxnId>) -> bool {
        let edges = self.waits.range((at, 0)..=(at, u64::MAX));
        for &next in edges.flat_map(|(_, holders)| holders) {
            path.push(next);
            if next == goal {
                return true;
            }
            if !seen.contains(&next) {
                seen.push(next);
                if self.walk(next, goal, path, seen) {
                    return true;
                }
            }
            path.pop();
        }
        false
    }
}

/// One batch being evaluated.
struct Eval<'a> {
    data: &'a mut Data,
    header: &'a Header,
    ts: Timestamp,
    /// Something was released: whoever waits looks again.
    freed: bool,
}

type Evaluated<T> = Result<T, Stop>;

impl Eval<'_> {
    fn txn(&self) -> Evaluated<&TxnMeta> {
        self.header.txn.as_ref().ok_or_else(|| KvError::internal("the request needs a transaction").into())
    }

    fn me(&self) -> Option<TxnId> {
        self.header.txn.as_ref().map(|t| t.id)
    }

    fn range(&self) -> Evaluated<&RangeDescriptor> {
        let range = self.header.range;
        let found = self.data.ranges.iter().find(|r| r.range == range);
        found.ok_or(Stop::Fail(KvError::RangeNotFound { range }))
    }

    fn check_bounds(&self, start: &Key, end: Option<&Key>) -> Evaluated<()> {
        let range = self.range()?;
        let inside = range.contains(start) && end.is_none_or(|end| *end <= range.end);
        if inside {
            return Ok(());
        }
        let overlaps = |r: &&RangeDescriptor| {
            r.range == range.range
                || r.contains(start)
                || end.is_some_and(|end| r.start < *end && *end <= r.end)
        };
        Err(KvError::RangeMismatch {
            descriptors: self.data.ranges.iter().filter(overlaps).cloned().collect(),
        }
        .into())
    }

    fn request(&mut self, request: &Request) -> Evaluated<Response> {
        match request {
            Request::Get { key, lock } => self.get(key, *lock),
            Request::Scan { span, reverse, lock } => self.scan(span, *reverse, *lock),
            Request::CommitOnePhase { writes, refresh, refresh_complete } => {
                self.commit_one_phase(writes, refresh, *refresh_complete)
            }
            Request::PutIntents { writes, refresh } => self.put_intents(writes, refresh),
            Request::RemoveIntents { keys } => {
                let me = self.txn()?.id;
                for key in keys {
                    self.check_bounds(key, None)?;
                    let mine = self.data.intents.get(key).is_some_and(|i| i.meta.id == me);
                    self.freed |= mine && self.data.intents.remove(key).is_some();
                }
                Ok(Response::Done)
            }
            Request::Refresh { spans, to } => {
                for r in spans {
                    self.check_bounds(&r.span.start, Some(&r.span.end))?;
                    self.refresh(r, *to)?;
                    self.note_read(r.span.clone(), *to);
                }
                Ok(Response::Done)
            }
            Request::ReleaseLocks { txn, spans } => {
                self.release(*txn, |key| spans.is_empty() || spans.iter().any(|s| s.contains(key)))?;
                Ok(Response::Done)
            }
            Request::EndTxn { how, intents, spans, in_flight, pinned } => {
                self.end_txn((*how, *pinned), (intents, spans), in_flight)
            }
            Request::HeartbeatTxn { now, .. } => {
                let meta = self.txn()?.clone();
                self.check_bounds(&meta.anchor, None)?;
                let record = self.data.records.entry(meta.id).or_insert_with(|| TxnRecord {
                    meta,
                    status: TxnStatus::Pending,
                    heartbeat: *now,
                    intents: Vec::new(),
                    spans: Vec::new(),
                    in_flight: Vec::new(),
                    pinned: false,
                });
                record.heartbeat = *now;
                Ok(Response::Record { record: Some(Box::new(record.clone())), waiters: Vec::new() })
            }
            Request::QueryTxn { txn } | Request::PushTxn { pushee: txn, .. } => {
                let record = self.data.records.get(&txn.id).cloned().map(Box::new);
                Ok(Response::Record { record, waiters: Vec::new() })
            }
            Request::QueryIntent { key, txn } => self.query_intent(key, txn),
            Request::RecoverTxn { txn, all_found } => self.recover(txn, *all_found),
            Request::RemoveRecord { txn, .. } => {
                if let Some(record) = self.data.records.remove(txn) {
                    let committed = record.status == TxnStatus::Committed;
                    self.data.ended.insert(*txn, committed.then_some(record.meta.write_ts));
                }
                self.data.pushed.remove(txn);
                Ok(Response::Done)
            }
            Request::ResolveIntents { txn, epoch, to, keys, spans } => {
                let touched: Vec<Key> = keys
                    .iter()
                    .cloned()
                    .chain(self.data.intents.keys().filter(|k| spans.iter().any(|s| s.contains(k))).cloned())
                    .collect();
                for key in touched {
                    self.check_bounds(&key, None)?;
                    self.resolve(&key, *txn, *epoch, *to);
                }
                Ok(Response::Done)
            }
            Request::ClearRange { span } => {
                self.check_bounds(&span.start, Some(&span.end))?;
                self.data.versions.retain(|key, _| !span.contains(key));
                Ok(Response::Done)
            }
            Request::Gc { .. } => Ok(Response::Done),
            Request::AdminSplit { key, right } => self.split(key, *right),
            Request::RangeStats => {
                let descriptor = self.range()?.clone();
                Ok(Response::Stats { descriptor, stats: RangeStats::default() })
            }
            _ => Err(KvError::internal("the model has neither ranges to merge nor an engine").into()),
        }
    }

    // ----- reads -----

    fn get(&mut self, key: &Key, lock: Option<LockStrength>) -> Evaluated<Response> {
        self.check_bounds(key, None)?;
        if let Some(strength) = lock
            && !self.lock(key, strength)?
        {
            return Ok(Response::Get { value: None, skipped: true });
        }
        let value = self.read(key, lock.is_some())?;
        self.note_read(Span::point(key.clone()), self.ts);
        Ok(Response::Get { value, skipped: false })
    }

    fn scan(&mut self, span: &Span, reverse: bool, lock: Option<LockStrength>) -> Evaluated<Response> {
        self.check_bounds(&span.start, Some(&span.end))?;
        let bounds = (Bound::Included(span.start.clone()), Bound::Excluded(span.end.clone()));
        let mut keys: Vec<Key> = self.data.versions.range(bounds.clone()).map(|(k, _)| k.clone()).collect();
        keys.extend(self.data.intents.range(bounds).map(|(k, _)| k.clone()));
        keys.sort();
        keys.dedup();
        if reverse {
            keys.reverse();
        }
        let (max_rows, max_bytes) = (self.header.max_rows, self.header.max_bytes);
        let mut rows = KvBlockBuilder::new();
        let mut resume = None;
        for key in keys {
            let full = (max_rows > 0 && rows.len() as u64 >= max_rows)
                || (max_bytes > 0 && rows.bytes() as u64 >= max_bytes);
            if full {
                resume = Some(if reverse { key.next() } else { key });
                break;
            }
            let Some(mut value) = self.read(&key, false)? else { continue };
            if let Some(strength) = lock {
                if !self.lock(&key, strength)? {
                    continue;
                }
                match self.read(&key, true)? {
                    Some(newest) => value = newest,
                    None => continue,
                }
            }
            rows.push(&key, &value);
        }
        let mut seen = span.clone();
        if let Some(resume) = &resume {
            if reverse {
                seen.start = resume.clone();
            } else {
                seen.end = resume.clone();
            }
        }
        if seen.start < seen.end {
            self.note_read(seen, self.ts);
        }
        Ok(Response::Scan { rows: rows.build(), resume })
    }

    /// The value at the batch's time, or, for a lock under READ COMMITTED, the newest.
    fn read(&mut self, key: &Key, locking: bool) -> Evaluated<Option<Bytes>> {
        if let Some(own) = self.data.intents.get(key).filter(|i| Some(i.meta.id) == self.me()) {
            let current = self.header.txn.as_ref().is_some_and(|t| t.epoch == own.meta.epoch);
            if current {
                return Ok(own.value.clone());
            }
        }
        self.clear_the_way(key, self.ts, locking)?;
        let newest_wins = locking && self.header.isolation() == Isolation::ReadCommitted;
        let limit = self.header.uncertainty_limit;
        let versions = self.data.versions.get(key).map_or(&[][..], Vec::as_slice);
        let Some((newest, _)) = versions.last() else { return Ok(None) };
        let newest = *newest;
        if newest > self.ts {
            if newest_wins || self.header.can_forward_read && (locking || newest <= limit) {
                self.ts = newest;
            } else if locking {
                return Err(KvError::WriteTooOld { key: key.clone(), ts: newest }.into());
            } else if let Some((ts, _)) = versions.iter().rfind(|(ts, _)| *ts > self.ts && *ts <= limit) {
                return Err(KvError::ReadWithinUncertainty { key: key.clone(), ts: *ts }.into());
            }
        }
        Ok(versions.iter().rfind(|(ts, _)| *ts <= self.ts).and_then(|(_, value)| value.clone()))
    }

    fn note_read(&mut self, span: Span, at: Timestamp) {
        self.data.reads.push((span, at, self.me()));
        if self.data.reads.len() > MAX_READS {
            for (_, ts, _) in self.data.reads.drain(..MAX_READS / 2) {
                self.data.low_water.forward(ts);
            }
        }
    }

    /// Above what others have read of the key.
    fn above_reads(&self, key: &Key) -> Timestamp {
        let me = self.me();
        let others =
            self.data.reads.iter().filter(|(span, _, by)| span.contains(key) && (by.is_none() || *by != me));
        let read = others.map(|(_, ts, _)| *ts).max().unwrap_or_default().max(self.data.low_water);
        if read.is_zero() { read } else { read.next() }
    }

    // ----- locks -----

    /// Takes the lock; false if it is to be skipped.
    fn lock(&mut self, key: &Key, strength: LockStrength) -> Evaluated<bool> {
        let me = self.txn()?.id;
        let held = self.data.locks.entry(key.clone()).or_default();
        let holders: Vec<TxnId> =
            held.iter().filter(|h| h.txn != me && h.strength.conflicts(strength)).map(|h| h.txn).collect();
        if !holders.is_empty() {
            if self.header.wait == WaitPolicy::Skip {
                return Ok(false);
            }
            return Err(Stop::Wait { key: key.clone(), holders });
        }
        if !held.iter().any(|h| h.txn == me && h.strength >= strength) {
            held.retain(|h| h.txn != me);
            held.push(Held { txn: me, strength });
        }
        match self.clear_the_way(key, Timestamp::MAX, true) {
            Err(Stop::Wait { .. }) if self.header.wait == WaitPolicy::Skip => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn release(&mut self, txn: TxnId, which: impl Fn(&Key) -> bool) -> Evaluated<()> {
        let range = self.range()?.span();
        for (key, held) in &mut self.data.locks {
            if range.contains(key) && which(key) {
                held.retain(|h| h.txn != txn);
            }
        }
        self.data.locks.retain(|_, held| !held.is_empty());
        self.freed = true;
        Ok(())
    }

    /// Deals with another transaction's intent on the key that stands at or below `at`.
    fn clear_the_way(&mut self, key: &Key, at: Timestamp, for_write: bool) -> Evaluated<()> {
        let Some(intent) = self.data.intents.get(key) else { return Ok(()) };
        if Some(intent.meta.id) == self.me() || intent.ts > at {
            return Ok(());
        }
        let (id, epoch) = (intent.meta.id, intent.meta.epoch);
        let record = self.data.records.get(&id);
        match record.map(|r| r.status) {
            Some(TxnStatus::Committed) => {
                let ts = record.map(|r| r.meta.write_ts).unwrap_or_default();
                self.resolve(key, id, epoch, Resolution::Committed(ts));
            }
            Some(TxnStatus::Aborted) => self.resolve(key, id, epoch, Resolution::Aborted),
            Some(TxnStatus::Staging) => return Err(Stop::Wait { key: key.clone(), holders: vec![id] }),
            None | Some(TxnStatus::Pending) if for_write => {
                return Err(Stop::Wait { key: key.clone(), holders: vec![id] });
            }
            None | Some(TxnStatus::Pending) => {
                self.data.pushed.entry(id).or_default().forward(at.next());
                self.resolve(key, id, epoch, Resolution::Pushed(at));
            }
        }
        Ok(())
    }

    fn resolve(&mut self, key: &Key, txn: TxnId, epoch: u32, to: Resolution) {
        let Some(intent) = self.data.intents.get_mut(key).filter(|i| i.meta.id == txn) else { return };
        match to {
            Resolution::Pushed(above) => {
                intent.ts.forward(above.next());
                return;
            }
            Resolution::Committed(ts) if intent.meta.epoch == epoch => {
                let value = intent.value.take();
                self.data.versions.entry(key.clone()).or_default().push((ts, value));
            }
            Resolution::CommittedInPlace if intent.meta.epoch == epoch => {
                let (ts, value) = (intent.ts, intent.value.take());
                self.data.versions.entry(key.clone()).or_default().push((ts, value));
            }
            Resolution::Committed(_) | Resolution::CommittedInPlace | Resolution::Aborted => {}
        }
        self.data.intents.remove(key);
        self.freed = true;
    }

    // ----- writes -----

    /// Fails or waits if the key cannot be written; else the least time at which it can.
    fn write_ts(&mut self, key: &Key) -> Evaluated<Timestamp> {
        self.check_bounds(key, None)?;
        let me = self.txn()?.clone();
        let held = self.data.locks.get(key).map_or(&[][..], Vec::as_slice);
        let holders: Vec<TxnId> = held
            .iter()
            .filter(|h| h.txn != me.id && h.strength.conflicts(LockStrength::NoKeyUpdate))
            .map(|h| h.txn)
            .collect();
        if !holders.is_empty() {
            return Err(Stop::Wait { key: key.clone(), holders });
        }
        self.clear_the_way(key, Timestamp::MAX, true)?;
        let mut ts = self.above_reads(key);
        if let Some((newest, _)) = self.data.versions.get(key).and_then(|v| v.last()) {
            if me.isolation == Isolation::Snapshot && *newest > me.read_ts {
                return Err(KvError::WriteTooOld { key: key.clone(), ts: *newest }.into());
            }
            ts.forward(newest.next());
        }
        Ok(ts)
    }

    fn commit_one_phase(
        &mut self,
        writes: &[Write],
        refresh: &[RefreshSpan],
        refresh_complete: bool,
    ) -> Evaluated<Response> {
        let me = self.txn()?.clone();
        match self.data.ended.get(&me.id) {
            Some(Some(ts)) => return Ok(Response::Commit { ts: *ts }),
            Some(None) => return Err(KvError::TxnAborted { reason: AbortReason::Pushed }.into()),
            None => {}
        }
        let mut ts = me.write_ts;
        for (key, _) in writes {
            ts.forward(self.write_ts(key)?);
        }
        for r in refresh {
            self.check_bounds(&r.span.start, Some(&r.span.end))?;
            self.refresh(r, ts)?;
            self.note_read(r.span.clone(), ts);
        }
        let proved = if me.isolation == Isolation::Serializable { me.read_ts } else { me.write_ts };
        if ts > proved && !refresh_complete {
            return Err(KvError::RefreshNeeded { ts }.into());
        }
        for (key, value) in writes {
            self.data.versions.entry(key.clone()).or_default().push((ts, value.clone()));
        }
        self.ts = ts;
        self.data.ended.insert(me.id, Some(ts));
        self.release(me.id, |_| true)?;
        Ok(Response::Commit { ts })
    }

    fn put_intents(&mut self, writes: &[Write], refresh: &[RefreshSpan]) -> Evaluated<Response> {
        let me = self.txn()?.clone();
        let mut ts = me.write_ts.max(self.data.pushed.get(&me.id).copied().unwrap_or_default());
        for (key, _) in writes {
            ts.forward(self.write_ts(key)?);
        }
        for r in refresh {
            self.check_bounds(&r.span.start, Some(&r.span.end))?;
            self.refresh(r, ts)?;
            self.note_read(r.span.clone(), ts);
        }
        for (key, value) in writes {
            let newer = |i: &Intent| (i.meta.epoch, i.meta.sequence) > (me.epoch, me.sequence);
            if !self.data.intents.get(key).is_some_and(newer) {
                let intent = Intent { meta: me.clone(), ts, value: value.clone() };
                self.data.intents.insert(key.clone(), intent);
            }
        }
        self.ts.forward(ts);
        Ok(Response::Done)
    }

    /// Whether what was read still holds at `to`.
    fn refresh(&self, r: &RefreshSpan, to: Timestamp) -> Evaluated<()> {
        let changed = |ts: &Timestamp, value: &Option<Bytes>| {
            *ts > r.from && *ts <= to && (!r.presence || value.is_none())
        };
        let bounds = (Bound::Included(&r.span.start), Bound::Excluded(&r.span.end));
        for (key, versions) in self.data.versions.range::<Key, _>(bounds) {
            if let Some((ts, _)) = versions.iter().rfind(|(ts, value)| changed(ts, value)) {
                return Err(KvError::RefreshFailed { key: key.clone(), ts: *ts }.into());
            }
        }
        for (key, intent) in self.data.intents.range::<Key, _>(bounds) {
            if Some(intent.meta.id) != self.me() && changed(&intent.ts, &intent.value) {
                return Err(KvError::RefreshFailed { key: key.clone(), ts: intent.ts }.into());
            }
        }
        Ok(())
    }

    // ----- records -----

    fn end_txn(
        &mut self,
        (how, pinned): (EndKind, bool),
        (intents, spans): (&[Key], &[IntentSpan]),
        in_flight: &[Key],
    ) -> Evaluated<Response> {
        let mut meta = self.txn()?.clone();
        self.check_bounds(&meta.anchor, None)?;
        match (self.data.ended.get(&meta.id), how) {
            (Some(Some(ts)), _) => return Ok(Response::Commit { ts: *ts }),
            (Some(None), EndKind::Abort) => return Ok(Response::Done),
            (Some(None), _) => return Err(KvError::TxnAborted { reason: AbortReason::Pushed }.into()),
            (None, _) => {}
        }
        if let Some(record) = self.data.records.get(&meta.id) {
            match (record.status, how) {
                (TxnStatus::Committed, _) => return Ok(Response::Commit { ts: record.meta.write_ts }),
                (TxnStatus::Aborted, EndKind::Abort) => return Ok(Response::Done),
                (TxnStatus::Aborted, _) => {
                    return Err(KvError::TxnAborted { reason: AbortReason::Pushed }.into());
                }
                (TxnStatus::Pending | TxnStatus::Staging, _) => {}
            }
        }
        let implicit = self.data.records.get(&meta.id).is_some_and(|r| r.status == TxnStatus::Staging);
        if how != EndKind::Abort {
            meta.write_ts.forward(self.ts);
            if !implicit {
                meta.write_ts.forward(self.data.pushed.get(&meta.id).copied().unwrap_or_default());
            }
            let serializable = meta.isolation == Isolation::Serializable;
            if serializable && meta.write_ts > meta.read_ts || pinned && meta.write_ts > self.txn()?.write_ts
            {
                return Err(KvError::RefreshNeeded { ts: meta.write_ts }.into());
            }
        }
        let ts = meta.write_ts;
        self.ts.forward(ts);
        let status = match how {
            EndKind::Commit => TxnStatus::Committed,
            EndKind::Stage => TxnStatus::Staging,
            EndKind::Abort => TxnStatus::Aborted,
        };
        let record = TxnRecord {
            heartbeat: meta.min_ts,
            status,
            intents: intents.to_vec(),
            spans: spans.to_vec(),
            in_flight: in_flight.to_vec(),
            pinned,
            meta,
        };
        self.data.records.insert(record.meta.id, record);
        self.freed = true;
        Ok(if how == EndKind::Abort { Response::Done } else { Response::Commit { ts } })
    }

    fn query_intent(&mut self, key: &Key, txn: &TxnMeta) -> Evaluated<Response> {
        self.check_bounds(key, None)?;
        let decides = |i: &Intent| {
            (i.meta.id, i.meta.epoch) == (txn.id, txn.epoch)
                && i.meta.sequence >= txn.sequence
                && i.ts <= txn.write_ts
        };
        let found = self.data.intents.get(key).is_some_and(decides);
        if !found {
            self.data.reads.push((Span::point(key.clone()), txn.write_ts, None));
        }
        Ok(Response::Found { found })
    }

    fn recover(&mut self, txn: &TxnMeta, all_found: bool) -> Evaluated<Response> {
        self.check_bounds(&txn.anchor, None)?;
        if let Some(record) = self.data.records.get_mut(&txn.id)
            && record.status == TxnStatus::Staging
            && (all_found || (record.meta.epoch, record.meta.write_ts) == (txn.epoch, txn.write_ts))
        {
            record.status = if all_found { TxnStatus::Committed } else { TxnStatus::Aborted };
            self.freed = true;
        }
        let record = self.data.records.get(&txn.id).cloned().map(Box::new);
        Ok(Response::Record { record, waiters: Vec::new() })
    }

    fn split(&mut self, key: &Key, right: RangeId) -> Evaluated<Response> {
        self.check_bounds(key, None)?;
        let id = self.header.range;
        let at = self.data.ranges.iter().position(|r| r.range == id);
        let at = at.ok_or(Stop::Fail(KvError::RangeNotFound { range: id }))?;
        let old = &self.data.ranges[at];
        if old.start == *key {
            return Err(KvError::Unsupported { reason: "a range begins there already".into() }.into());
        }
        let generation = old.generation + 1;
        let left = RangeDescriptor { end: key.clone(), generation, ..old.clone() };
        let right = RangeDescriptor { range: right, start: key.clone(), generation, ..old.clone() };
        self.data.ranges[at] = left.clone();
        self.data.ranges.push(right.clone());
        Ok(Response::Split { left, right })
    }
}
