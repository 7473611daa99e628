//! What is left to do when the outcome is known: making the record explicit, resolving intents, giving up locks.
//!
//! None of it is needed for correctness - whoever meets what was left behind finds out and cleans up - so it is done in
//! the background, and its failures are only logged.

use std::sync::Arc;

use meridian_storage::base::{Key, Span, Timestamp};

use super::Txn;
use super::commit::Left;
use super::state::{Phase, State};
use super::txn::Inner;
use crate::route::Router;
use crate::rpc::{
    BatchRequest, BatchResponse, EndKind, Header, IntentSpan, KeySender, KvError, Request, Resolution,
    TxnMeta, WaitPolicy,
};

/// What a transaction has left in the ranges.
pub(super) struct Traces {
    header: Header,
    meta: TxnMeta,
    intents: Vec<Key>,
    /// Where further intents may be.
    spans: Vec<IntentSpan>,
    locks: Vec<Span>,
    has_record: bool,
}

/// What became of it.
enum Fate {
    Committed { ts: Timestamp, left: Left },
    Aborted,
}

impl Traces {
    /// Takes the traces out of the books.
    pub fn take(state: &mut State) -> Traces {
        Traces {
            header: state.header(WaitPolicy::Block),
            meta: state.meta.clone(),
            intents: state.buffer.spilled().keys().iter().cloned().collect(),
            spans: state.intent_spans(),
            locks: state.locks.take(),
            has_record: std::mem::take(&mut state.has_record),
        }
    }
}

impl Txn {
    /// Cannot fail: what cannot be told to the ranges now, they will find out.
    pub async fn rollback(&self) {
        let traces = {
            let mut state = self.lock_state();
            // Nobody knows whether it has committed: whoever meets its intents will decide, not we.
            if matches!(state.phase, Phase::Committed(_) | Phase::RolledBack | Phase::Unknown) {
                return;
            }
            state.phase = Phase::RolledBack;
            if !state.left_traces() {
                return;
            }
            Traces::take(&mut state)
        };
        self.abandon(traces);
    }

    /// Cleans up after an attempt that is given up.
    pub(super) fn abandon(&self, traces: Traces) {
        self.inner.db.hearts().remove(traces.meta.id);
        clean_up(self.router(), traces, Fate::Aborted);
    }

    pub(super) fn clean_up_committed(&self, ts: Timestamp, left: Left) {
        let traces = {
            let mut state = self.lock_state();
            if state.registered {
                self.inner.db.hearts().remove(state.meta.id);
            }
            if !state.left_traces() {
                return;
            }
            Traces::take(&mut state)
        };
        clean_up(self.router(), traces, Fate::Committed { ts, left });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let router = self.db.router().clone();
        let hearts = self.db.hearts();
        let state = self.state.get_mut();
        if state.registered {
            hearts.remove(state.meta.id);
        }
        if matches!(state.phase, Phase::Active | Phase::Failed(_)) && state.left_traces() {
            clean_up(&router, Traces::take(state), Fate::Aborted);
        }
    }
}

/// Locks on this node's ranges are released at once, so that what follows in the same session, or waits, finds them free;
/// the rest happens in the background.
fn clean_up(router: &Arc<Router>, mut traces: Traces, fate: Fate) {
    if traces.intents.is_empty() && traces.spans.is_empty() {
        release_here(router, &mut traces);
    }
    if traces.intents.is_empty() && traces.spans.is_empty() && traces.locks.is_empty() && !traces.has_record {
        return;
    }
    let task_router = router.clone();
    router.runtime().spawn(
        "transaction cleanup",
        Box::pin(async move {
            let id = traces.meta.id;
            if let Err(e) = clean_up_remotely(&task_router, traces, fate).await {
                tracing::debug!(txn = ?id, error = %e, "cleanup is left to others");
            }
        }),
    );
}

fn release_here(router: &Router, traces: &mut Traces) {
    traces.locks.retain(|span| {
        let Some(route) = router.cached(&span.start) else { return true };
        if !route.contains_span(span) {
            return true;
        }
        let spans = vec![span.clone()];
        let mut batch = BatchRequest {
            header: traces.header.clone(),
            requests: vec![Request::ReleaseLocks { txn: traces.meta.id, spans }],
        };
        !matches!(router.try_local(&route, &mut batch), Some(Ok(_)))
    });
}

async fn clean_up_remotely(router: &Router, traces: Traces, fate: Fate) -> Result<(), KvError> {
    let Traces { header, meta, intents, spans, locks, has_record } = traces;
    let touched_record = has_record || !intents.is_empty() || !spans.is_empty();
    let end = match fate {
        Fate::Committed { left: Left::Staging, .. } => Some(EndKind::Commit),
        Fate::Committed { left: Left::Intents, .. } => None,
        // The record is not what says that it has committed, and its coordinator is gone.
        Fate::Committed { left: Left::Locks, .. } | Fate::Aborted => Some(EndKind::Abort),
    };
    if let Some(how) = end.filter(|_| touched_record) {
        let mut header = header.clone();
        if let (Fate::Committed { ts, .. }, Some(txn)) = (&fate, &mut header.txn) {
            txn.write_ts = *ts;
            txn.read_ts = *ts;
        }
        let (intents, spans) = (intents.clone(), spans.clone());
        let request = Request::EndTxn { how, intents, spans, in_flight: Vec::new(), pinned: false };
        send(router, &meta.anchor, header, request).await?;
    }
    let to = match fate {
        Fate::Committed { left: Left::Locks, .. } | Fate::Aborted => Resolution::Aborted,
        Fate::Committed { ts, .. } => Resolution::Committed(ts),
    };
    let resolved = router.fan_out(intents, |keys: &[Key]| BatchRequest {
        header: header.clone(),
        requests: vec![Request::ResolveIntents {
            txn: meta.id,
            epoch: meta.epoch,
            to,
            keys: keys.to_vec(),
            spans: Vec::new(),
        }],
    });
    let mut resolved = resolved.await.into_result().map(drop);
    if !spans.is_empty() {
        resolved = resolved.and(router.resolve_spans(header.clone(), &meta, to, spans).await);
    }
    let released = router.fan_out(locks, |spans: &[Span]| BatchRequest {
        header: header.clone(),
        requests: vec![Request::ReleaseLocks { txn: meta.id, spans: spans.to_vec() }],
    });
    let released = released.await.into_result();
    resolved?;
    released?;
    if touched_record {
        let request = Request::RemoveRecord { txn: meta.id, anchor: meta.anchor.clone() };
        send(router, &meta.anchor, header, request).await?;
    }
    Ok(())
}

async fn send(
    router: &Router,
    key: &Key,
    header: Header,
    request: Request,
) -> Result<BatchResponse, KvError> {
    router.send_to_key(key.clone(), BatchRequest { header, requests: vec![request] }).await
}
