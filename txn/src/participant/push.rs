//! Pushing: finding out about a transaction that is in the way, and removing what is left of it if it has ended.
//!
//! The record of the transaction decides, wherever it is; so this talks to other ranges, through the router. What it
//! finds is always safe to act on: a record that has ended never changes again.
//!
//! A transaction found *staging* with a silent coordinator is recovered: each of its in-flight writes is queried - which also
//! prevents those that are missing - and then the record is told.

use std::sync::Arc;

use futures::future::join_all;
use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{BoxFuture, Key, Span, Timestamp, TxnId};
use meridian_storage::mvcc;
use meridian_storage::probe;

use super::Participant;
use super::range::RangeState;
use crate::eval::{Blocker, Want};
use crate::record::{TxnRecord, TxnStatus, expired};
use crate::rpc::{
    AbortReason, BatchRequest, Header, KeySender, KvError, PushKind, Request, Resolution, Response, TxnMeta,
    WaitEdge,
};

/// What is known of a transaction that was asked about.
pub(super) enum Asked {
    /// It has ended, and holds the key no longer.
    Gone,
    /// It goes on, or nobody can tell at the moment.
    Lives,
}

/// How many intents behind one that was met are resolved with it.
const NEIGHBOURS: usize = 16 << 10;

impl Participant {
    /// Asks about one blocker.
    pub(super) fn push<'a>(
        &'a self,
        range: &'a Arc<RangeState>,
        pusher: Option<&'a TxnMeta>,
        key: &'a Key,
        want: Want,
        blocker: &'a Blocker,
    ) -> BoxFuture<'a, Result<Asked, KvError>> {
        Box::pin(async move {
            let Some(sender) = self.sender() else { return Ok(Asked::Lives) };
            if blocker.txn.anchor.is_empty() {
                return Ok(Asked::Lives);
            }
            let edges = self.edges_of(&*sender, pusher, blocker).await?;
            let kind = match want {
                _ if blocker.waits_itself => PushKind::Touch,
                Want::Read(at) => PushKind::Timestamp(at),
                Want::Lock(_) => PushKind::Abort,
            };
            let request = Request::PushTxn {
                pushee: (*blocker.txn).clone(),
                pusher: pusher.cloned(),
                kind,
                now: self.clock.now(),
                active: blocker.active,
                edges,
            };
            let record = match ask(&*sender, &blocker.txn.anchor, self.batch(request)).await {
                Ok(Some(record)) => record,
                // Nobody knows at the moment: ask again later.
                Ok(None) => return Ok(Asked::Lives),
                Err(e @ KvError::Deadlock { .. }) => return Err(e),
                Err(_) => return Ok(Asked::Lives),
            };
            self.act_on(&*sender, range, key, want, blocker, record).await
        })
    }

    /// Who waits for the pusher, as far as this node and the range of its record know. Fails if the pusher has been aborted.
    async fn edges_of(
        &self,
        sender: &dyn KeySender,
        pusher: Option<&TxnMeta>,
        blocker: &Blocker,
    ) -> Result<Vec<WaitEdge>, KvError> {
        let Some(pusher) = pusher else { return Ok(Vec::new()) };
        if !pusher.anchor.is_empty() {
            let query = self.batch(Request::QueryTxn { txn: pusher.clone() });
            let answer = sender.send_to_key(pusher.anchor.clone(), query).await;
            if let Ok(Some(Response::Record { record, waiters })) =
                answer.map(|a| a.responses.into_iter().next())
            {
                if record.is_some_and(|r| r.status == TxnStatus::Aborted) {
                    probe!("push: the pusher itself has been aborted");
                    return Err(KvError::TxnAborted { reason: AbortReason::Pushed });
                }
                self.graph.learn(&waiters, self.clock.monotonic());
                self.break_cycle(pusher.id)?;
            }
        }
        let mut edges = self.graph.waiters(pusher.id, self.clock.monotonic());
        edges.push(WaitEdge {
            waiter: pusher.id,
            on: blocker.txn.id,
            priority: pusher.priority,
            min_ts: pusher.min_ts,
        });
        Ok(edges)
    }

    async fn act_on(
        &self,
        sender: &dyn KeySender,
        range: &Arc<RangeState>,
        key: &Key,
        want: Want,
        blocker: &Blocker,
        mut record: TxnRecord,
    ) -> Result<Asked, KvError> {
        let coordinator = self.coordinator(record.meta.id, record.meta.min_ts);
        let silent = expired(record.heartbeat, self.clock.now(), coordinator);
        if record.status == TxnStatus::Staging && silent {
            probe!("recovery: of a staging record that was met");
            record = match self.recover(sender, record).await {
                Some(record) => record,
                None => return Ok(Asked::Lives),
            };
        }
        let txn = blocker.txn.id;
        let mut to = match (record.status, want) {
            (TxnStatus::Committed, _) => Resolution::Committed(record.meta.write_ts),
            (TxnStatus::Aborted, _) => Resolution::Aborted,
            (TxnStatus::Pending, Want::Read(at)) if record.meta.write_ts > at => Resolution::Pushed(at),
            (TxnStatus::Pending | TxnStatus::Staging, _) => {
                range.locks.heard_of(txn, record.heartbeat);
                return Ok(Asked::Lives);
            }
        };
        if record.status.is_final() {
            range.locks.release(txn, &[]);
        }
        if blocker.intent.is_none() {
            return Ok(Asked::Gone);
        }
        let mut keys = match to {
            Resolution::Pushed(_) => Vec::new(),
            _ => range.locks.intents_of(txn),
        };
        let mut end = range.replica.descriptor().end.clone();
        let private = record.spans.into_iter().find(|s| s.private && s.span.contains(key));
        if let (Resolution::Committed(_), Some(private)) = (to, private) {
            probe!("push: intents become versions in place");
            to = Resolution::CommittedInPlace;
            keys.retain(|key| private.span.contains(key));
            end = end.min(private.span.end);
        }
        if !keys.contains(key) {
            keys.push(key.clone());
        }
        let epoch = record.meta.epoch;
        let spans = neighbours(range, key, &end, txn)?;
        let resolve = Request::ResolveIntents { txn, epoch, to, keys, spans };
        let mut batch = self.batch(resolve);
        batch.header.range = range.replica.range_id();
        match self.write(batch).await {
            Ok(_) if matches!(to, Resolution::Pushed(_)) => Ok(Asked::Lives),
            Ok(_) => Ok(Asked::Gone),
            // The range was divided, or went away: our own request will find out.
            Err(KvError::RangeMismatch { .. }) => Ok(Asked::Lives),
            Err(e) if e.is_routing() => Ok(Asked::Lives),
            Err(e) => Err(e),
        }
    }

    /// Ends a staging transaction whose coordinator is silent. `None`: not now.
    ///
    /// Any number may do that at once, and come to the same result: the first explicit word in the record is final.
    pub(super) async fn recover(&self, sender: &dyn KeySender, staged: TxnRecord) -> Option<TxnRecord> {
        let unchecked = planted::is(Planted::RecoverWithoutCheck);
        let queries = staged.in_flight.iter().filter(|_| !unchecked).map(|key| {
            let query = Request::QueryIntent { key: key.clone(), txn: staged.meta.clone() };
            sender.send_to_key(key.clone(), self.batch(query))
        });
        let mut all_found = true;
        for answer in join_all(queries).await {
            match answer.ok()?.responses.first()? {
                Response::Found { found } => all_found &= found,
                _ => return None,
            }
        }
        all_found &= !planted::is(Planted::RecoverAsAborted);
        let tell = Request::RecoverTxn { txn: staged.meta.clone(), all_found };
        let ended = ask(sender, &staged.meta.anchor, self.batch(tell)).await.ok().flatten()?;
        if ended.status.is_final() {
            probe!("recovery: ended a transaction");
            let intents = if ended.intents.is_empty() { staged.intents } else { ended.intents.clone() };
            let spans = if ended.spans.is_empty() { staged.spans } else { ended.spans.clone() };
            self.clean_up(TxnRecord { intents, spans, ..ended.clone() });
        }
        Some(ended)
    }

    /// Resolves, in the background, all intents of a transaction whose coordinator is gone. The record of a commit stays: the
    /// coordinator may only have been cut off, and still ask how it went.
    fn clean_up(&self, ended: TxnRecord) {
        let (Some(sender), me) = (self.sender(), self.me()) else { return };
        self.runtime.spawn(
            "clean up after a dead coordinator",
            Box::pin(async move {
                let to = match ended.status {
                    TxnStatus::Committed => Resolution::Committed(ended.meta.write_ts),
                    _ => Resolution::Aborted,
                };
                let (txn, epoch) = (ended.meta.id, ended.meta.epoch);
                for key in &ended.intents {
                    let resolve = Request::ResolveIntents {
                        txn,
                        epoch,
                        to,
                        keys: vec![key.clone()],
                        spans: Vec::new(),
                    };
                    if sender.send_to_key(key.clone(), me.batch(resolve)).await.is_err() {
                        // Whoever meets what is left finds the record.
                        return;
                    }
                }
                let header = me.batch(Request::RangeStats).header;
                if !ended.spans.is_empty()
                    && sender.resolve_spans(header, &ended.meta, to, ended.spans).await.is_err()
                {
                    return;
                }
                if ended.status == TxnStatus::Aborted {
                    let anchor = ended.meta.anchor.clone();
                    let remove = Request::RemoveRecord { txn, anchor: anchor.clone() };
                    let _ = sender.send_to_key(anchor, me.batch(remove)).await;
                }
            }),
        );
    }

    /// A batch of this node's own.
    pub(super) fn batch(&self, request: Request) -> BatchRequest {
        let now = self.clock.now();
        let header = Header { now, gateway: self.node, read_ts: now, ..Header::default() };
        let header = Header { uncertainty_limit: Timestamp::ZERO, ..header };
        BatchRequest { header, requests: vec![request] }
    }
}

/// Other intents of the transaction right behind the one that was met: whoever walks over them shall not ask for each.
fn neighbours(range: &RangeState, key: &Key, end: &Key, txn: TxnId) -> Result<Vec<Span>, KvError> {
    let engine = range.replica.engine();
    let last = mvcc::last_of_run(&**engine, key, end, txn, NEIGHBOURS)?;
    Ok(last.filter(|last| last != key).map(|last| Span::new(key.next(), last.next())).into_iter().collect())
}

/// What the record says; `None` if the answer says nothing.
async fn ask(
    sender: &dyn KeySender,
    anchor: &Key,
    batch: BatchRequest,
) -> Result<Option<TxnRecord>, KvError> {
    let answer = sender.send_to_key(anchor.clone(), batch).await?;
    Ok(match answer.responses.into_iter().next() {
        Some(Response::Record { record, .. }) => record.map(|r| *r),
        _ => None,
    })
}
