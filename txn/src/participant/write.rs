//! Requests that write, lock, or decide: latches, then locks, then evaluation, then replication.
//!
//! ```text
//!   latch ──► evaluate ──► conflict? ──► give up latches, wait in the lock table ──► latch …
//!                │
//!                └──► propose ──► applied ──► locks, outcomes in memory ──► release latches ──► answer
//! ```
//!
//! What must stay true: from the moment a command is proposed until it is known to have been applied or refused, its latches
//! are held - also if nobody awaits the answer any more. That is what [`InFlight`] is for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use meridian_storage::base::{BoxFuture, Span, StorageError, Timestamp};
use meridian_storage::replica::Command;
use smallvec::SmallVec;

use super::Participant;
use super::latch::LatchGuard;
use super::range::RangeState;
use super::read::what_was_read;
use super::wait::Waits;
use crate::eval::{self, Afterwards, Context, Effects, LatchSpan, Memory, Stop};
use crate::rpc::{BatchRequest, BatchResponse, Isolation, KvError, Request, Response, TxnMeta};

/// What the attempts of one batch remember of each other.
struct Progress {
    read_ts: Timestamp,
    reads_latched: bool,
}

impl Participant {
    pub(super) async fn write(&self, mut batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let txn = batch.header.txn.clone().map(Arc::new);
        let mut waits = self.waits_of(&batch.header);
        let mut progress = Progress { read_ts: batch.header.read_ts, reads_latched: false };
        loop {
            let range = self.range(batch.header.range)?;
            self.admit(&range, progress.read_ts, &batch)?;
            let (spans, at) = self.latch_spans(&batch, progress.reads_latched);
            let guard = range.latches.acquire(spans, at).await;
            let stop = match self.evaluate(&range, &batch, Some(&waits), &mut progress, txn.as_ref()) {
                Ok(mut effects) => {
                    let rest = what_is_left(&mut effects.afterwards);
                    let answer = self.carry_out(&range, guard, effects, &progress, txn.as_ref()).await?;
                    let Some(rest) = rest else { return Ok(answer) };
                    go_on_with(&mut batch, rest);
                    continue;
                }
                Err(stop) => stop,
            };
            drop(guard);
            match stop {
                Stop::Conflict(conflict) => waits.wait(&range, conflict).await?,
                Stop::LatchReads if !progress.reads_latched => progress.reads_latched = true,
                Stop::LatchReads => return Err(KvError::internal("reads are latched already")),
                Stop::Newer { key, ts, uncertain: true } => {
                    return Err(KvError::ReadWithinUncertainty { key, ts });
                }
                Stop::Newer { key, ts, uncertain: false } => return Err(KvError::WriteTooOld { key, ts }),
                Stop::Fail(e) => return Err(e),
            }
        }
    }

    /// Takes or gives up locks at once, if nothing is in the way: nothing of that is replicated.
    pub(super) fn try_lock(&self, batch: &BatchRequest) -> Option<Result<BatchResponse, KvError>> {
        if !batch.requests.iter().all(is_in_memory) {
            return None;
        }
        let answer = self.range(batch.header.range).and_then(|range| {
            self.admit(&range, batch.header.read_ts, batch)?;
            let (spans, at) = self.latch_spans(batch, false);
            let Some(guard) = range.latches.try_acquire(spans, at) else { return Ok(None) };
            let txn = batch.header.txn.clone().map(Arc::new);
            let mut progress = Progress { read_ts: batch.header.read_ts, reads_latched: false };
            match self.evaluate(&range, batch, None, &mut progress, txn.as_ref()) {
                Ok(mut effects) => {
                    range.writes.fetch_add(1, Ordering::Relaxed);
                    self.take_locks(&range, &mut effects, txn.as_ref(), self.clock.now());
                    range.check_lease(progress.read_ts)?;
                    self.conclude(&range, &effects.afterwards);
                    check_released(&range, &effects.afterwards)?;
                    drop(guard);
                    let now = self.clock.now();
                    Ok(Some(BatchResponse { ts: progress.read_ts, now, responses: effects.responses }))
                }
                Err(Stop::Conflict(_) | Stop::LatchReads) => Ok(None),
                Err(Stop::Newer { key, ts, uncertain: true }) => {
                    Err(KvError::ReadWithinUncertainty { key, ts })
                }
                Err(Stop::Newer { key, ts, uncertain: false }) => Err(KvError::WriteTooOld { key, ts }),
                Err(Stop::Fail(e)) => Err(e),
            }
        });
        answer.transpose()
    }

    fn latch_spans(&self, batch: &BatchRequest, reads: bool) -> (SmallVec<[LatchSpan; 2]>, Timestamp) {
        let mut spans: SmallVec<[LatchSpan; 2]> = SmallVec::new();
        for request in &batch.requests {
            eval::latches(&batch.header, request, reads, &mut spans);
        }
        let at = match &batch.header.txn {
            Some(txn) if batch.requests.iter().all(writes_at_its_transaction) => txn.write_ts,
            _ => Timestamp::ZERO,
        };
        (spans, at)
    }

    /// Evaluates the batch, as often as its time moves up by itself.
    fn evaluate(
        &self,
        range: &RangeState,
        batch: &BatchRequest,
        waits: Option<&Waits<'_>>,
        progress: &mut Progress,
        txn: Option<&Arc<TxnMeta>>,
    ) -> Result<Effects, Stop> {
        let (places, asked) = waits.map_or((&[][..], &[][..]), |w| (&w.places[..], &w.asked[..]));
        loop {
            // Latching may have taken long: is the range still ours, and as large?
            let descriptor = self.admit(range, progress.read_ts, batch)?;
            let memory = self.memory(range, &batch.header, places);
            let now = self.clock.now();
            let mut cx = Context {
                engine: &**range.replica.engine(),
                header: &batch.header,
                descriptor: &descriptor,
                memory: &memory,
                read_ts: progress.read_ts,
                now,
                reads_latched: progress.reads_latched,
                rows_left: batch.header.max_rows,
                bytes_left: batch.header.max_bytes,
                asked,
            };
            let mut effects = Effects::default();
            let mut stop = None;
            for request in &batch.requests {
                if let Err(e) = eval::evaluate(&mut cx, request, &mut effects) {
                    stop = Some(e);
                    break;
                }
            }
            let Some(stop) = stop else {
                // Not before: garbage may have been collected meanwhile. A repeated write that was found done needs nothing.
                let needed = if effects.is_replicated() { oldest_written_over(batch) } else { None };
                let needed = needed.into_iter().chain(oldest_read(&batch.requests, progress.read_ts)).min();
                if let Some(oldest) = needed {
                    self.check_threshold(range, oldest).map_err(|e| repeated(batch, e))?;
                }
                for (request, response) in batch.requests.iter().zip(&effects.responses) {
                    mark(&memory, request, response, progress.read_ts);
                }
                return Ok(effects);
            };
            let Stop::Newer { ts, .. } = &stop else { return Err(stop) };
            // The locks stay, whatever the coordinator makes of it.
            self.take_locks(range, &mut effects, txn, now);
            let reads_newest = batch.header.isolation() == Isolation::ReadCommitted
                && batch.requests.iter().all(is_locking_read);
            if !(reads_newest || batch.header.can_forward_read) || !progress.read_ts.forward(*ts) {
                return Err(stop);
            }
        }
    }

    fn take_locks(
        &self,
        range: &RangeState,
        effects: &mut Effects,
        txn: Option<&Arc<TxnMeta>>,
        now: Timestamp,
    ) {
        // What is not done for a transaction has nobody who could give locks up.
        let Some(txn) = txn else { return };
        for (key, strength) in effects.locks.drain(..) {
            range.locks.acquire(&key, txn, strength, now);
        }
    }

    /// Replicates the effects, then makes them known in memory.
    async fn carry_out(
        &self,
        range: &Arc<RangeState>,
        guard: LatchGuard,
        mut effects: Effects,
        progress: &Progress,
        txn: Option<&Arc<TxnMeta>>,
    ) -> Result<BatchResponse, KvError> {
        range.writes.fetch_add(1, Ordering::Relaxed);
        let ts = effects.wrote_at.unwrap_or(progress.read_ts);
        self.take_locks(range, &mut effects, txn, self.clock.now());
        let responses = std::mem::take(&mut effects.responses);
        // Also for a commit: it has marked what it refreshed at the time that it chose.
        range.check_lease(ts)?;
        if effects.is_replicated() {
            if let Some(at) = effects.wrote_at {
                guard.writes_at(at);
            }
            self.recent.note(&effects.batch);
            let command = Command {
                term: range.lease.term,
                batch: std::mem::take(&mut effects.batch),
                trigger: effects.trigger.take(),
            };
            let proposal = range.replica.propose(command);
            let landing = Landing {
                participant: self.me(),
                range: range.clone(),
                afterwards: effects.afterwards,
                _guard: guard,
            };
            InFlight { proposal: Some(proposal), landing: Some(landing) }.await?;
        } else {
            self.conclude(range, &effects.afterwards);
            check_released(range, &effects.afterwards)?;
            drop(guard);
        }
        Ok(BatchResponse { ts, now: self.clock.now(), responses })
    }

    /// Does in memory what follows from a command that has been applied, before its latches are released.
    fn conclude(&self, range: &RangeState, afterwards: &[Afterwards]) {
        for after in afterwards {
            match after {
                Afterwards::Finished { txn, min_ts, outcome } => {
                    self.outcomes.finish(*txn, *min_ts, *outcome);
                    range.locks.release(*txn, &[]);
                }
                Afterwards::IntentGone { key, txn } => range.locks.intent_gone(key, *txn),
                Afterwards::IntentMoved { key, txn } => range.locks.intent_gone(key, *txn),
                Afterwards::IntentsGone { span, txn } => range.locks.intents_gone(span, *txn),
                Afterwards::Release { txn, spans } => range.locks.release(*txn, spans),
                Afterwards::Pushed { txn, min_ts, above } => self.outcomes.push(*txn, *min_ts, *above),
                Afterwards::Repeat { .. } => {}
            }
        }
    }
}

/// Whether the locks that were released are in this range still: a split takes its half along, released or not.
fn check_released(range: &RangeState, afterwards: &[Afterwards]) -> Result<(), KvError> {
    for after in afterwards {
        if let Afterwards::Release { spans, .. } = after {
            let descriptor = range.replica.descriptor();
            if !spans.iter().all(|s| descriptor.span().contains_span(s)) {
                return Err(KvError::RangeMismatch { descriptors: vec![(*descriptor).clone()] });
            }
        }
    }
    Ok(())
}

/// The spans that a command did not get to, if there are any.
fn what_is_left(afterwards: &mut [Afterwards]) -> Option<Vec<Span>> {
    afterwards.iter_mut().find_map(|after| match after {
        Afterwards::Repeat { spans } => Some(std::mem::take(spans)),
        _ => None,
    })
}

fn go_on_with(batch: &mut BatchRequest, rest: Vec<Span>) {
    for request in &mut batch.requests {
        if let Request::ResolveIntents { keys, spans, .. } = request {
            keys.clear();
            *spans = rest;
            return;
        }
    }
}

/// Leaves the mark of a read that was made under latches: no writer can have come between.
///
/// What was not answered was not read: neither what lies beyond a limit, nor a row that was skipped.
fn mark(memory: &dyn Memory, request: &Request, response: &Response, read_ts: Timestamp) {
    match (request, response) {
        (Request::Get { key, .. }, Response::Get { skipped: false, .. }) => {
            memory.raise(&Span::point(key.clone()), read_ts, true);
        }
        (Request::Scan { .. }, _) => {
            if let Request::Scan { span, .. } = what_was_read(request, response) {
                memory.raise(&span, read_ts, true);
            }
        }
        (Request::Refresh { spans, to }, _) => spans.iter().for_each(|r| memory.raise(&r.span, *to, true)),
        (Request::QueryIntent { key, txn }, _) => {
            memory.raise(&Span::point(key.clone()), txn.write_ts, false);
        }
        _ => {}
    }
}

/// The earliest time at which the requests read the versions of keys.
pub(super) fn oldest_read(requests: &[Request], read_ts: Timestamp) -> Option<Timestamp> {
    let oldest = |request: &Request| match request {
        Request::Get { .. } | Request::Scan { .. } => Some(read_ts),
        Request::Refresh { spans, .. } => spans.iter().map(|r| r.from).min(),
        _ => None,
    };
    requests.iter().filter_map(oldest).min()
}

/// The earliest time since which writes must know the versions of keys: those that they validate; for a snapshot, which
/// writes only over what it sees, all; and those that a commit may have written when it was sent before.
fn oldest_written_over(batch: &BatchRequest) -> Option<Timestamp> {
    let txn = batch.header.txn.as_ref();
    let snapshot = txn.filter(|t| t.isolation == Isolation::Snapshot).map(|t| t.read_ts);
    let before = txn.filter(|_| batch.header.maybe_applied).map(|t| t.min_ts);
    let oldest = |request: &Request| match request {
        Request::CommitOnePhase { refresh, .. } => {
            refresh.iter().map(|r| r.from).chain(snapshot).chain(before).min()
        }
        Request::PutIntents { refresh, .. } => refresh.iter().map(|r| r.from).chain(snapshot).min(),
        _ => None,
    };
    batch.requests.iter().filter_map(oldest).min()
}

/// What an old commit that may have been applied before is told: that it failed, nobody can know any more.
fn repeated(batch: &BatchRequest, e: KvError) -> KvError {
    let commits = batch.requests.iter().any(|r| matches!(r, Request::CommitOnePhase { .. }));
    if !commits || !batch.header.maybe_applied {
        return e;
    }
    KvError::Ambiguous { reason: "what the transaction may have written is garbage by now".into() }
}

fn is_locking_read(request: &Request) -> bool {
    matches!(request, Request::Get { lock: Some(_), .. } | Request::Scan { lock: Some(_), .. })
}

/// What has no effect but on locks in memory.
fn is_in_memory(request: &Request) -> bool {
    is_locking_read(request) || matches!(request, Request::ReleaseLocks { .. })
}

/// Whether nothing that the request writes stands below its transaction's provisional commit timestamp: then reads
/// below that need not wait for it.
fn writes_at_its_transaction(request: &Request) -> bool {
    matches!(request, Request::CommitOnePhase { .. } | Request::PutIntents { .. }) || is_locking_read(request)
}

/// What remains to be done when a proposal has landed.
struct Landing {
    participant: Arc<Participant>,
    range: Arc<RangeState>,
    afterwards: Vec<Afterwards>,
    /// Released last.
    _guard: LatchGuard,
}

impl Landing {
    fn land(self, result: &Result<(), StorageError>) {
        match result {
            Ok(()) => {
                self.range.applied.fetch_add(1, Ordering::SeqCst);
                self.participant.conclude(&self.range, &self.afterwards);
            }
            Err(StorageError::Ambiguous { .. }) => {
                // It may have been applied: nothing must be concluded from not remembering its end.
                self.range.applied.fetch_add(1, Ordering::SeqCst);
                for after in &self.afterwards {
                    if let Afterwards::Finished { txn, min_ts, .. } = after {
                        self.participant.outcomes.doubt(*txn, *min_ts);
                    }
                }
            }
            Err(_) => {}
        }
    }
}

/// A proposal and its latches. Dropped before it has landed - the client went away - it goes on in the background.
struct InFlight {
    proposal: Option<BoxFuture<'static, Result<(), StorageError>>>,
    landing: Option<Landing>,
}

impl Future for InFlight {
    type Output = Result<(), KvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(proposal) = &mut self.proposal else { return Poll::Pending };
        let Poll::Ready(result) = proposal.as_mut().poll(cx) else { return Poll::Pending };
        self.proposal = None;
        if let Some(landing) = self.landing.take() {
            landing.land(&result);
        }
        Poll::Ready(result.map_err(KvError::from))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let (Some(proposal), Some(landing)) = (self.proposal.take(), self.landing.take()) {
            let runtime = landing.participant.runtime.clone();
            runtime.spawn("land a proposal", Box::pin(async move { landing.land(&proposal.await) }));
        }
    }
}
