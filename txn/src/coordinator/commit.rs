//! Commit, decided by what the transaction has touched.
//!
//! - Nothing written: nothing to replicate; its reads were all of one time already.
//! - Everything written lies in one range, and nothing was spilled: one command validates and writes committed versions.
//! - Several ranges: parallel commit (CockroachDB, "Parallel Commits", 2019). Intents and a staging record that lists
//!   them are sent at once; when all have succeeded at or below the staged time, the transaction *is* committed. If an
//!   intent had to go above the staged time, the record is committed explicitly in a second round.
//!
//! What must stay true: after a stage was sent, the transaction is given up only if it is certain that one of its
//! in-flight writes is missing and stays missing, or if the record was made to say so. If neither can be had, the outcome
//! is reported as unknown.

use std::sync::Arc;

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Timestamp};
use meridian_storage::probe;

use super::flush::put_intents;
use super::read::{MAX_TRIES, too_many_tries};
use super::state::Phase;
use super::{CommitOutcome, Txn, TxnError, TxnErrorKind, TxnResult};
use crate::route::{FanOut, Route};
use crate::rpc::{
    AbortReason, BatchRequest, BatchResponse, EndKind, Header, IntentSpan, Isolation, KeySender, KvError,
    RefreshSpan, Request, Response, WaitPolicy, Write,
};

/// Which writes are sent apart from the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Apart {
    /// Those in other ranges than the record's.
    Far,
    /// All. What was validated pins the time of the record, and of what is sent with it; readers could push that time up,
    /// attempt after attempt. So the record is made first, such that readers wait for it instead; what is written may find
    /// a later time still, and the next round commits there.
    All,
}

/// What a commit has left to be cleaned up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// Locks, and perhaps a record that says "pending" and is of no use any more.
    Locks,
    /// Intents, and a record that says "committed".
    Intents,
    /// Intents, and a record that says "staging"; it must say "committed" before the first intent disappears.
    Staging,
}

/// How one attempt ended.
enum Attempt {
    Committed {
        ts: Timestamp,
        left: Left,
    },
    /// Nothing was written that matters: decide again how to commit.
    Again,
}

/// An attempt at a parallel commit, as it was sent.
struct Staged {
    header: Header,
    intents: Vec<Key>,
    spans: Vec<IntentSpan>,
    in_flight: Vec<Key>,
}

impl Txn {
    pub async fn commit(&self) -> TxnResult<CommitOutcome> {
        {
            let state = self.lock_state();
            if let Phase::Committed(timestamp) = state.phase {
                return Ok(CommitOutcome { timestamp });
            }
            state.check_active()?;
        }
        if self.has_bulk() {
            // What is known one by one is to be little: it stands in the record.
            self.flush().await?;
        }
        self.prepare(None).await?;
        {
            let mut state = self.lock_state();
            state.check_active()?;
            if state.read_only && !state.buffer.is_empty() {
                return Err(TxnError::new(TxnErrorKind::ReadOnly, "cannot write in a read-only transaction"));
            }
            state.phase = Phase::Committing;
        }
        let result = self.try_commit().await;
        {
            let mut state = self.lock_state();
            state.phase = match &result {
                Ok((timestamp, _)) => Phase::Committed(*timestamp),
                Err(e) if e.kind == TxnErrorKind::Ambiguous => Phase::Unknown,
                // The record said so.
                Err(_) if matches!(state.phase, Phase::Failed(_)) => state.phase.clone(),
                // Nothing was written: it may begin again with the locks that it has.
                Err(e) if e.is_retryable() && !state.buffer.has_spilled() => Phase::Active,
                Err(e) => Phase::Failed(e.clone()),
            };
        }
        let (timestamp, left) = result?;
        self.clean_up_committed(timestamp, left);
        if self.isolation() == Isolation::Serializable && self.has_writes() {
            self.inner.db.clocks().commit_wait(&**self.router().runtime(), timestamp).await;
        }
        Ok(CommitOutcome { timestamp })
    }

    async fn try_commit(&self) -> TxnResult<(Timestamp, Left)> {
        if self.lock_state().buffer.is_empty() {
            return Ok((self.read_timestamp(), Left::Locks));
        }
        match self.attempts().await {
            Err(e) if e.kind != TxnErrorKind::Ambiguous && self.lock_state().staged => {
                self.unless_committed(e).await
            }
            result => result,
        }
    }

    async fn attempts(&self) -> TxnResult<(Timestamp, Left)> {
        let mut apart = if self.lock_state().is_exact() { Apart::All } else { Apart::Far };
        for _ in 0..MAX_TRIES {
            let attempt = match self.only_range().await? {
                Some(route) if apart == Apart::Far => self.one_phase(&route).await?,
                None if self.has_bulk() && !self.has_buffered() => self.record_alone().await?,
                _ => self.parallel(apart).await?,
            };
            if let Attempt::Committed { ts, left } = attempt {
                return Ok((ts, left));
            }
            if apart == Apart::Far && self.lock_state().must_validate() {
                apart = Apart::All;
                self.heartbeat(true).await?;
            }
        }
        Err(too_many_tries())
    }

    /// An attempt was staged, and failed, or a later one did. Yet all that was staged may have been written, and somebody may
    /// have found that out.
    async fn unless_committed(&self, e: TxnError) -> TxnResult<(Timestamp, Left)> {
        let staged = {
            let state = self.lock_state();
            let (intents, spans) = named(&state);
            Staged { header: self.header(&state), intents, spans, in_flight: Vec::new() }
        };
        match self.ask_the_record(staged).await {
            Ok(Attempt::Committed { ts, left }) => Ok((ts, left)),
            Err(unknown) if unknown.kind == TxnErrorKind::Ambiguous => Err(unknown),
            Ok(Attempt::Again) | Err(_) => Err(e),
        }
    }

    /// The range that holds everything that was written, if there is such a one and nothing was spilled.
    async fn only_range(&self) -> TxnResult<Option<Arc<Route>>> {
        let extent = {
            let state = self.lock_state();
            if state.buffer.has_spilled() { None } else { state.buffer.extent() }
        };
        match extent {
            Some((first, last)) => Ok(self.router().single_range(&first, &last).await?),
            None => Ok(None),
        }
    }

    // ----- one range -----

    async fn one_phase(&self, route: &Arc<Route>) -> TxnResult<Attempt> {
        let attached = self.attached(route);
        if attached.is_none() {
            self.validate_held().await?;
        }
        let batch = self.one_phase_batch(attached);
        match self.router().send_to(route, batch).await {
            Ok(mut response) => match response.responses.pop() {
                Some(Response::Commit { ts }) => Ok(Attempt::Committed { ts, left: Left::Locks }),
                _ => Err(KvError::internal("a commit was answered with something else").into()),
            },
            Err(e) => self.try_again(e).await,
        }
    }

    /// What the range may validate with the commit, besides the rows that are written: all that has to be, or `None`.
    fn attached(&self, route: &Route) -> Option<Vec<RefreshSpan>> {
        let limits = self.limits();
        let state = self.lock_state();
        let spans = if state.serializable() {
            let from = state.meta.read_ts;
            let reads = state.reads.spans();
            if reads.len() > limits.attached_spans {
                return None;
            }
            let reads = reads.into_iter().map(|span| RefreshSpan::new(span, from));
            reads.chain(state.held.present()).collect()
        } else {
            state.unwritten()
        };
        let fits = spans.len() <= limits.attached_locks && spans.iter().all(|r| route.contains_span(&r.span));
        fits.then_some(spans)
    }

    fn one_phase_batch(&self, attached: Option<Vec<RefreshSpan>>) -> BatchRequest {
        let mut state = self.lock_state();
        let writes = state.buffer.writes();
        if let Some((first, _)) = writes.first() {
            let first = first.clone();
            state.set_anchor(&first);
        }
        let refresh_complete = attached.is_some();
        let mut refresh = attached.unwrap_or_default();
        refresh.extend(state.held.rows().among(&writes));
        let header = self.header(&state);
        BatchRequest { header, requests: vec![Request::CommitOnePhase { writes, refresh, refresh_complete }] }
    }

    fn header(&self, state: &super::state::State) -> Header {
        let mut header = state.header(WaitPolicy::Block);
        header.gateway = self.router().node();
        header
    }

    /// What a failed attempt means.
    async fn try_again(&self, e: KvError) -> TxnResult<Attempt> {
        match e {
            e @ KvError::RefreshFailed { .. } => Err(self.refresh_error(e)),
            e => self.react_at_commit(e).await.map(|()| Attempt::Again),
        }
    }

    /// As [`Txn::react`], for a time that only the commit needs: below SERIALIZABLE only what is held must hold there, and
    /// the next attempt sees to that.
    async fn react_at_commit(&self, e: KvError) -> TxnResult<()> {
        let serializable = self.lock_state().serializable();
        match e {
            KvError::RefreshNeeded { ts } if !serializable => {
                self.lock_state().meta.write_ts.forward(ts);
                Ok(())
            }
            e => self.react(e).await,
        }
    }

    /// Below SERIALIZABLE: proves that what is held and not written is as it was, up to the time of the writes, which is
    /// made late enough. If there was anything to prove, the transaction may not commit later than that.
    async fn validate_held(&self) -> TxnResult<bool> {
        let (spans, header, to) = {
            let mut state = self.lock_state();
            let spans = if state.serializable() { Vec::new() } else { state.unwritten() };
            if spans.is_empty() {
                return Ok(false);
            }
            // Others have read what is about to be written: below their time it cannot be.
            state.meta.write_ts.forward(self.router().clock().now());
            (spans, self.header(&state), state.meta.write_ts)
        };
        self.refresh(&spans, &header, to).await?;
        Ok(true)
    }

    /// Whether the time of the commit is not to be raised by the record any more, be it by what was validated, or by what was
    /// told of it.
    async fn pinned(&self) -> TxnResult<bool> {
        Ok(self.validate_held().await? || self.lock_state().is_exact())
    }

    // ----- everything is spilled -----

    /// Whether it has spilled more than it can name.
    fn has_bulk(&self) -> bool {
        !self.lock_state().buffer.spilled().spans().is_empty()
    }

    fn has_buffered(&self) -> bool {
        self.lock_state().buffer.extent().is_some()
    }

    /// All intents stand: the record alone decides.
    async fn record_alone(&self) -> TxnResult<Attempt> {
        probe!("commit: everything is spilled");
        self.catch_up().await?;
        let (staged, ts) = {
            let mut state = self.lock_state();
            self.register(&mut state);
            let (intents, spans) = named(&state);
            let header = self.header(&state);
            (Staged { header, intents, spans, in_flight: Vec::new() }, state.meta.write_ts)
        };
        self.commit_explicitly(staged, ts).await
    }

    // ----- several ranges -----

    async fn parallel(&self, apart: Apart) -> TxnResult<Attempt> {
        let pinned = self.pinned().await?;
        self.catch_up().await?;
        let (header, writes, held, anchor) = {
            let mut state = self.lock_state();
            let writes = state.buffer.writes();
            if let Some((first, _)) = writes.first() {
                let first = first.clone();
                state.set_anchor(&first);
            }
            state.meta.sequence += 1;
            state.buffer.note_spilling(&writes);
            self.register(&mut state);
            (self.header(&state), writes, state.held.rows().snapshot(), state.meta.anchor.clone())
        };
        let anchor_route = self.router().route(&anchor).await?;
        let (near, far): (Vec<Write>, Vec<Write>) = writes
            .into_iter()
            .partition(|(key, _)| apart == Apart::Far && anchor_route.descriptor.contains(key));
        let in_flight: Vec<Key> = far.iter().map(|(key, _)| key.clone()).collect();
        let (intents, spans) = named(&self.lock_state());
        let how = if in_flight.is_empty() { EndKind::Commit } else { EndKind::Stage };
        let mut requests = Vec::with_capacity(2);
        if !near.is_empty() {
            requests.push(put_intents(&near, &held));
        }
        let (listed, in_spans) = (intents.clone(), spans.clone());
        requests.push(Request::EndTxn {
            how,
            intents: listed,
            spans: in_spans,
            in_flight: in_flight.clone(),
            pinned,
        });
        let stage = self.router().send_to(&anchor_route, BatchRequest { header: header.clone(), requests });
        let puts = self.router().fan_out(far, |writes: &[Write]| BatchRequest {
            header: header.clone(),
            requests: vec![put_intents(writes, &held)],
        });
        let (stage, puts) = futures::join!(stage, puts);
        self.judge(Staged { header, intents, spans, in_flight }, stage, puts).await
    }

    /// A serializable transaction whose writes were pushed refreshes before it stages, not after.
    async fn catch_up(&self) -> TxnResult<()> {
        let (serializable, write_ts) = {
            let state = self.lock_state();
            (state.serializable(), state.meta.write_ts)
        };
        if serializable { self.move_to(write_ts).await } else { Ok(()) }
    }

    async fn judge(
        &self,
        staged: Staged,
        stage: Result<BatchResponse, KvError>,
        puts: FanOut<Write>,
    ) -> TxnResult<Attempt> {
        let highest = puts.done.iter().map(|(_, r)| r.ts).max();
        let failed_for_sure = puts.failed.iter().any(|(_, e)| is_certain(e));
        let failed = puts.into_result().err().filter(|_| !planted::is(Planted::ParallelCommitEarly));
        let staged_at = match stage {
            Ok(mut response) => match response.responses.pop() {
                Some(Response::Commit { ts }) => ts,
                _ => return Err(KvError::internal("a commit was answered with something else").into()),
            },
            // Nothing is staged: this attempt cannot have committed.
            Err(e) if is_certain(&e) || matches!(e, KvError::Unavailable { .. }) => {
                return match failed {
                    Some(worse) if !is_transient(&worse) => self.try_again(worse).await,
                    _ => self.try_again(e).await,
                };
            }
            Err(_) => return self.ask_the_record(staged).await,
        };
        // From here on a failure is not what it says: a write whose answer was lost, or that a later attempt makes, may be the
        // last one that was missing.
        self.lock_state().staged = true;
        match failed {
            None => {}
            Some(e) if failed_for_sure && is_transient(&e) => return self.try_again(e).await,
            Some(e) if failed_for_sure => return Err(self.refresh_error(e)),
            Some(_) => return self.ask_the_record(staged).await,
        }
        match highest {
            Some(ts) if ts > staged_at => self.commit_explicitly(staged, ts).await,
            _ => {
                let left = if staged.in_flight.is_empty() { Left::Intents } else { Left::Staging };
                Ok(Attempt::Committed { ts: staged_at, left })
            }
        }
    }

    /// All intents stand, but not all at or below the staged time.
    async fn commit_explicitly(&self, staged: Staged, ts: Timestamp) -> TxnResult<Attempt> {
        probe!("commit: explicitly, a write was moved");
        self.lock_state().meta.write_ts.forward(ts);
        let pinned = self.pinned().await?;
        self.catch_up().await?;
        let (header, anchor) = {
            let state = self.lock_state();
            (self.header(&state), state.meta.anchor.clone())
        };
        let end = Request::EndTxn {
            how: EndKind::Commit,
            intents: staged.intents.clone(),
            spans: staged.spans.clone(),
            in_flight: Vec::new(),
            pinned,
        };
        let batch = BatchRequest { header, requests: vec![end] };
        loop {
            return match self.send_to_key(&anchor, batch.clone()).await {
                Ok(mut response) => match response.responses.pop() {
                    Some(Response::Commit { ts }) => Ok(Attempt::Committed { ts, left: Left::Intents }),
                    _ => Err(KvError::internal("a commit was answered with something else").into()),
                },
                Err(KvError::RangeMismatch { .. }) => continue,
                Err(e) if is_certain(&e) => self.try_again(e).await,
                Err(_) => self.ask_the_record(staged).await,
            };
        }
    }

    /// Nobody has told us how it went: find out, or make it so that it did not.
    ///
    /// As long as neither we nor the record have said that it is committed, nobody has acted on it, and the first explicit
    /// word in the record counts: a record that says "staging" may still be aborted, by its coordinator. One that says
    /// "committed" stays until the coordinator has it removed; where there is none, there was no commit.
    async fn ask_the_record(&self, staged: Staged) -> TxnResult<Attempt> {
        probe!("commit: the coordinator asks its record");
        let header = staged.header;
        let Some(anchor) = header.txn.as_ref().map(|t| t.anchor.clone()) else {
            return Err(KvError::internal("a commit needs a transaction").into());
        };
        let Staged { intents, spans, .. } = staged;
        let (how, in_flight) = (EndKind::Abort, Vec::new());
        let end = Request::EndTxn { how, intents, spans, in_flight, pinned: false };
        let batch = BatchRequest { header, requests: vec![end] };
        let answer = self.router().send_to_key(anchor, batch).await;
        match answer.map(|mut response| response.responses.pop()) {
            Ok(Some(Response::Commit { ts })) => Ok(Attempt::Committed { ts, left: Left::Intents }),
            Ok(Some(Response::Done)) => {
                probe!("commit: the coordinator aborts its own attempt");
                Err(KvError::TxnAborted { reason: AbortReason::IntentMissing }.into())
            }
            Ok(_) => Err(unknown("the answer makes no sense")),
            Err(e) => Err(unknown(&e.to_string())),
        }
    }
}

/// What the record must say of where intents are.
fn named(state: &super::state::State) -> (Vec<Key>, Vec<IntentSpan>) {
    (state.buffer.spilled().keys().iter().cloned().collect(), state.intent_spans())
}

fn unknown(why: &str) -> TxnError {
    TxnError::new(TxnErrorKind::Ambiguous, "the outcome of the commit is unknown")
        .with_detail(format!("The connection to a range was lost while it was committing: {why}."))
}

/// Whether the batch that failed so surely had no effect and never will.
fn is_certain(e: &KvError) -> bool {
    !matches!(
        e,
        KvError::Ambiguous { .. }
            | KvError::Unavailable { .. }
            | KvError::Internal { .. }
            | KvError::Corruption { .. }
            | KvError::Io { .. }
    )
}

/// Whether the commit may succeed when tried again at once.
fn is_transient(e: &KvError) -> bool {
    matches!(
        e,
        KvError::RefreshNeeded { .. }
            | KvError::WriteTooOld { .. }
            | KvError::ReadWithinUncertainty { .. }
            | KvError::RangeMismatch { .. }
    )
}
