//! Reads without latches: the hot path.
//!
//! The order is everything:
//!
//! 1. raise the timestamp cache over what will be read;
//! 2. look for writers that hold latches there and may write at or below the time of the read: one that looked at the
//!    timestamp cache before step 1 is found here, or has been applied; one that looks later goes above the read;
//! 3. read the engine, locks before versions.
//!
//! A scan with a limit does not know how far it will come, and must not mark what it does not read (every
//! `ORDER BY … LIMIT 1` would push the writers of the rest of the table). So it reads first, marks what it has read, looks
//! for writers there, and is done if no command was applied in the meantime; else it reads once more, within
//! what it has marked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span, Timestamp};

use super::Participant;
use super::latch::Latch;
use super::lock_table::Place;
use super::range::{RangeState, RequestMemory};
use super::write::oldest_read;
use crate::eval::{self, Conflict, Context, Effects, Memory, Stop};
use crate::rpc::{BatchRequest, BatchResponse, KvError, Request, Response};

/// What came of one attempt.
pub(super) enum Attempt {
    Done(Result<BatchResponse, KvError>),
    /// Somebody is about to write what is to be read.
    Writer(Arc<Latch>),
    Conflict(Conflict),
}

impl Participant {
    /// Answers a batch of plain reads if nothing is in the way: no future, no queue, no latch.
    pub fn try_read(&self, batch: &BatchRequest) -> Option<Result<BatchResponse, KvError>> {
        if !batch.requests.iter().all(eval::is_plain_read) {
            return None;
        }
        let range = match self.range(batch.header.range) {
            Ok(range) => range,
            Err(e) => return Some(Err(e)),
        };
        match self.read_once(&range, batch, &[]) {
            Attempt::Done(answer) => Some(answer),
            Attempt::Writer(_) | Attempt::Conflict(_) => None,
        }
    }

    pub(super) async fn read(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let mut waits = self.waits_of(&batch.header);
        loop {
            let range = self.range(batch.header.range)?;
            match self.read_once(&range, &batch, &waits.places) {
                Attempt::Done(answer) => return answer,
                Attempt::Writer(latch) => latch.released().await,
                Attempt::Conflict(conflict) => waits.wait(&range, conflict).await?,
            }
        }
    }

    pub(super) fn read_once(&self, range: &RangeState, batch: &BatchRequest, places: &[Place]) -> Attempt {
        let mut read_ts = batch.header.read_ts;
        loop {
            let e = match self.read_at(range, batch, places, read_ts) {
                Ok(Ok(responses)) => {
                    range.reads.fetch_add(1, Ordering::Relaxed);
                    let now = self.clock.now();
                    return Attempt::Done(Ok(BatchResponse { ts: read_ts, now, responses }));
                }
                Ok(Err(latch)) => return Attempt::Writer(latch),
                Err(Stop::Conflict(conflict)) => return Attempt::Conflict(conflict),
                Err(Stop::Newer { ts, .. }) if batch.header.can_forward_read => {
                    read_ts.forward(ts);
                    continue;
                }
                Err(Stop::Newer { key, ts, uncertain: true }) => KvError::ReadWithinUncertainty { key, ts },
                Err(Stop::Newer { key, ts, uncertain: false }) => KvError::WriteTooOld { key, ts },
                Err(Stop::LatchReads) => KvError::internal("a read has nothing to refresh"),
                Err(Stop::Fail(e)) => e,
            };
            return Attempt::Done(Err(e));
        }
    }

    fn read_at(
        &self,
        range: &RangeState,
        batch: &BatchRequest,
        places: &[Place],
        read_ts: Timestamp,
    ) -> Result<Result<Vec<Response>, Arc<Latch>>, Stop> {
        let bounds = range.bounds_changed.load(Ordering::SeqCst);
        let descriptor = self.admit(range, read_ts, batch)?;
        let reading = Reading { participant: self, range, batch, places, read_ts, descriptor: &descriptor };
        let limited = (batch.header.max_rows > 0 || batch.header.max_bytes > 0)
            && batch.requests.iter().any(|r| matches!(r, Request::Scan { .. }));
        let answer = if limited { reading.limited()? } else { reading.whole(&batch.requests)? };
        // A split in the meantime would have moved writers to where we did not look.
        if range.bounds_changed.load(Ordering::SeqCst) != bounds {
            self.admit(range, read_ts, batch)?;
            return self.read_at(range, batch, places, read_ts);
        }
        range.check_lease(super::range::latest(batch, read_ts))?;
        if let Some(oldest) = oldest_read(&batch.requests, read_ts) {
            self.check_threshold(range, oldest)?;
        }
        Ok(answer)
    }

    /// Versions that a read so old needs may have been dropped.
    pub(super) fn check_threshold(&self, range: &RangeState, read_ts: Timestamp) -> Result<(), KvError> {
        let threshold = range.replica.gc_threshold();
        if read_ts < threshold { Err(KvError::SnapshotTooOld { threshold }) } else { Ok(()) }
    }
}

struct Reading<'a> {
    participant: &'a Participant,
    range: &'a RangeState,
    batch: &'a BatchRequest,
    places: &'a [Place],
    read_ts: Timestamp,
    descriptor: &'a meridian_storage::replica::RangeDescriptor,
}

type Found = Result<Vec<Response>, Arc<Latch>>;

impl Reading<'_> {
    /// Marks everything, then reads.
    fn whole(&self, requests: &[Request]) -> Result<Found, Stop> {
        for request in requests {
            self.mark(request);
        }
        if let Some(latch) = requests.iter().find_map(|r| self.writer(r)) {
            return Ok(Err(latch));
        }
        self.evaluate(requests).map(Ok)
    }

    /// Reads, marks what was read, and reads again if anything has changed.
    fn limited(&self) -> Result<Found, Stop> {
        let applied = self.range.applied.load(Ordering::SeqCst);
        let responses = self.evaluate(&self.batch.requests)?;
        let read: Vec<Request> =
            self.batch.requests.iter().zip(&responses).map(|(q, a)| what_was_read(q, a)).collect();
        for request in &read {
            self.mark(request);
        }
        if let Some(latch) = read.iter().find_map(|r| self.writer(r)) {
            return Ok(Err(latch));
        }
        if self.range.applied.load(Ordering::SeqCst) == applied {
            return Ok(Ok(responses));
        }
        let mut again = self.evaluate(&read)?;
        for (answer, first) in again.iter_mut().zip(responses) {
            if let (Response::Scan { resume: rest @ None, .. }, Response::Scan { resume, .. }) =
                (answer, first)
            {
                *rest = resume;
            }
        }
        Ok(Ok(again))
    }

    fn evaluate(&self, requests: &[Request]) -> Result<Vec<Response>, Stop> {
        let memory = self.memory();
        let header = &self.batch.header;
        let mut cx = Context {
            engine: &**self.range.replica.engine(),
            header,
            descriptor: self.descriptor,
            memory: &memory,
            read_ts: self.read_ts,
            now: Timestamp::ZERO,
            reads_latched: false,
            rows_left: header.max_rows,
            bytes_left: header.max_bytes,
            asked: &[],
        };
        let mut effects = Effects::default();
        effects.responses.reserve_exact(requests.len());
        for request in requests {
            eval::evaluate(&mut cx, request, &mut effects)?;
        }
        Ok(effects.responses)
    }

    fn memory(&self) -> RequestMemory<'_> {
        self.participant.memory(self.range, &self.batch.header, self.places)
    }

    fn mark(&self, request: &Request) {
        let reads = &self.participant.reads;
        let txn = self.batch.header.txn.as_ref().map(|t| t.id);
        match request {
            Request::Get { key, .. } => reads.raise_key(key, self.read_ts, txn),
            Request::Scan { span, .. } => self.memory().raise(span, self.read_ts, true),
            Request::Refresh { spans, to } => {
                for refresh in spans {
                    self.memory().raise(&refresh.span, *to, true);
                }
            }
            Request::QueryIntent { .. } if planted::is(Planted::QueryLeavesNoMark) => {}
            // Its own transaction must not write below it either.
            Request::QueryIntent { key, txn } => reads.raise_key(key, txn.write_ts, None),
            _ => {}
        }
    }

    fn writer(&self, request: &Request) -> Option<Arc<Latch>> {
        let latches = &self.range.latches;
        if latches.is_empty() {
            return None;
        }
        let span = |s: &Span, at| {
            let end: Option<&Key> = (!s.is_point()).then_some(&s.end);
            latches.writer_below(&s.start, end, at)
        };
        match request {
            Request::Get { key, .. } => latches.writer_below(key, None, self.read_ts),
            Request::Scan { span: s, .. } => span(s, self.read_ts),
            Request::Refresh { spans, to } => spans.iter().find_map(|r| span(&r.span, *to)),
            Request::QueryIntent { key, txn } => latches.writer_below(key, None, txn.write_ts),
            _ => None,
        }
    }
}

/// The part of a request that its answer covers.
pub(super) fn what_was_read(request: &Request, answer: &Response) -> Request {
    let (Request::Scan { span, reverse, lock }, Response::Scan { resume: Some(rest), .. }) =
        (request, answer)
    else {
        return request.clone();
    };
    let (start, end) =
        if *reverse { (rest.clone(), span.end.clone()) } else { (span.start.clone(), rest.clone()) };
    Request::Scan { span: Span::new(start, end), reverse: *reverse, lock: *lock }
}
