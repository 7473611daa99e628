//! One batch to one range: the local fast path, the search for the leaseholder, and when to try again.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::{BoxFuture, Key, NodeId, Span, StorageError, Unsound};

use super::{GIVE_UP_AFTER, Route, Router};
use crate::rpc::{
    BatchRequest, BatchResponse, EndKind, Header, IntentSpan, KeySender, KvError, Request, Resolution,
    TransportError, TxnMeta, codec,
};

pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(2);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// What one node's answer means for the search.
enum Next {
    Answer(Result<BatchResponse, KvError>),
    /// Somebody else, perhaps this one.
    Try(Option<NodeId>),
    /// The same one, later.
    Wait,
}

impl Router {
    /// Answers at once if this node leads the range and nothing is in the way. `None`: nothing has happened.
    pub fn try_local(
        &self,
        route: &Route,
        batch: &mut BatchRequest,
    ) -> Option<Result<BatchResponse, KvError>> {
        if let Some(refusal) = self.refusal(batch) {
            return Some(Err(refusal));
        }
        let local = self.local.get()?;
        if route.leaseholder() != Some(self.parts.node) {
            return None;
        }
        self.address(route, batch);
        match local.try_send_local(batch)? {
            // Found out with care, in `send_to`.
            Err(e) if e.is_routing() => None,
            answer => Some(answer),
        }
    }

    /// Sends a batch to the range, wherever its leaseholder is.
    ///
    /// `RangeMismatch` means that the range is not what it was: the cache has learnt, the caller divides anew.
    pub async fn send_to(
        &self,
        route: &Arc<Route>,
        mut batch: BatchRequest,
    ) -> Result<BatchResponse, KvError> {
        if let Some(answer) = self.try_local(route, &mut batch) {
            return answer;
        }
        let mut search = Search::new(self, route);
        let started = self.parts.clock.monotonic();
        let mut backoff = BACKOFF_MIN;
        let mut last = None;
        // A batch that is not idempotent was sent, and its answer was lost.
        let mut lost = None;
        loop {
            let Some(node) = search.next() else {
                // Everybody was asked in vain.
                if self.parts.clock.monotonic().saturating_sub(started) >= GIVE_UP_AFTER {
                    let why = last.map_or_else(String::new, |e: KvError| format!(": {e}"));
                    let reason = format!("no leaseholder of {} answers{why}", route.descriptor.range);
                    return Err(unless_lost(KvError::Unavailable { reason }, lost));
                }
                self.pause(&mut backoff).await;
                if self.moved(route).await {
                    return Err(unless_lost(KvError::RangeMismatch { descriptors: Vec::new() }, lost));
                }
                search = Search::new(self, route);
                continue;
            };
            if let Some(refusal) = self.refusal(&batch) {
                return Err(unless_lost(refusal, lost));
            }
            self.address(route, &mut batch);
            let mut answer = self.call(node, &batch).await;
            if let Err(KvError::Ambiguous { reason }) = &answer
                && !batch.header.maybe_applied
            {
                // The range may remember it, and then answers as it did before.
                batch.header.maybe_applied = true;
                lost = Some(reason.clone());
                answer = Err(KvError::Unavailable { reason: reason.clone() });
            }
            if let Err(e) = &answer {
                last = Some(e.clone());
            }
            match self.judge(route, node, answer) {
                Next::Answer(Err(e)) => return Err(unless_lost(e, lost)),
                Next::Answer(ok) => return ok,
                Next::Try(hint) => search.prefer(hint),
                Next::Wait => {
                    self.pause(&mut backoff).await;
                    search.prefer(Some(node));
                }
            }
            if self.parts.clock.monotonic().saturating_sub(started) >= GIVE_UP_AFTER {
                search.finish();
            }
        }
    }

    /// With a clock that cannot be relied upon, nothing is read or written; but what was begun may be cleaned up.
    fn refusal(&self, batch: &BatchRequest) -> Option<KvError> {
        if !self.parts.clock.is_fenced() || batch.requests.iter().all(is_cleaning_up) {
            return None;
        }
        self.parts.clock.check().err().map(|reason| KvError::fenced(self.parts.node, reason))
    }

    fn address(&self, route: &Route, batch: &mut BatchRequest) {
        batch.header.range = route.descriptor.range;
        batch.header.generation = route.descriptor.generation;
        batch.header.now = self.parts.clock.now();
    }

    async fn call(&self, node: NodeId, batch: &BatchRequest) -> Result<BatchResponse, KvError> {
        if node == self.parts.node {
            return match self.local.get() {
                Some(local) => match local.send(batch.clone()).await {
                    Err(KvError::Ambiguous { reason }) => Err(lost(batch, reason)),
                    answer => answer,
                },
                None => Err(KvError::RangeNotFound { range: batch.header.range }),
            };
        }
        let reply = match self.parts.transport.call(node, codec::encode_request(batch)).await {
            Ok(reply) => reply,
            Err(TransportError::NotSent(reason)) => return Err(KvError::Unavailable { reason }),
            Err(TransportError::Lost(reason)) => return Err(lost(batch, reason)),
        };
        let mut answer =
            codec::decode_reply(reply).map_err(|e| KvError::internal(format!("reply of {node}: {e}")))?;
        if let Err(KvError::Ambiguous { reason }) = answer {
            answer = Err(lost(batch, reason));
        }
        if let Ok(response) = &answer
            && let Err(e) = self.parts.clock.update(response.now)
        {
            tracing::warn!(%node, error = %e, "a node's clock is too far ahead");
            // It may be this one's that is behind: then what was read is of the past.
            if batch.requests.iter().all(is_read)
                && let StorageError::ClockOffset { ahead, .. } = e
            {
                return Err(KvError::fenced(self.parts.node, Unsound::Doubted { by: ahead }));
            }
        }
        answer
    }

    fn judge(&self, route: &Arc<Route>, node: NodeId, answer: Result<BatchResponse, KvError>) -> Next {
        match answer {
            Ok(response) => {
                if route.leaseholder() != Some(node) {
                    route.set_leaseholder(Some(node));
                }
                Next::Answer(Ok(response))
            }
            Err(KvError::NotLeaseholder { leaseholder, descriptor, .. }) => {
                self.learn(descriptor.map(|d| *d));
                if route.leaseholder() == Some(node) {
                    route.set_leaseholder(leaseholder);
                }
                Next::Try(leaseholder.filter(|n| *n != node))
            }
            Err(KvError::RangeNotFound { .. } | KvError::Unavailable { .. }) => {
                if route.leaseholder() == Some(node) {
                    route.set_leaseholder(None);
                }
                Next::Try(None)
            }
            Err(KvError::Overloaded { .. }) => Next::Wait,
            Err(KvError::RangeMismatch { descriptors }) => {
                self.forget(route);
                self.learn(descriptors.iter().cloned());
                for d in &descriptors {
                    // The one who told us probably leads them.
                    if let Some(known) = self.cached(&d.start)
                        && known.leaseholder().is_none()
                        && d.replica_on(node).is_some()
                    {
                        known.set_leaseholder(Some(node));
                    }
                }
                Next::Answer(Err(KvError::RangeMismatch { descriptors }))
            }
            Err(e) => Next::Answer(Err(e)),
        }
    }

    /// Looks the range up again; whether it is another one now.
    async fn moved(&self, route: &Arc<Route>) -> bool {
        self.forget(route);
        match self.route(&route.descriptor.start).await {
            Ok(now) if now.descriptor == route.descriptor => {
                now.set_leaseholder(route.leaseholder());
                false
            }
            Ok(_) => true,
            // Nothing better is known.
            Err(_) => {
                self.learn([route.descriptor.clone()]);
                false
            }
        }
    }

    pub(super) async fn pause(&self, backoff: &mut Duration) {
        let jitter = self.parts.runtime.random() % 1000;
        let d = *backoff * (1000 + jitter as u32) / 2000;
        self.parts.runtime.sleep(d).await;
        *backoff = (*backoff * 2).min(BACKOFF_MAX);
    }
}

/// Whether it was done or not: if doing it again does no harm, it does not matter.
fn lost(batch: &BatchRequest, reason: String) -> KvError {
    if is_idempotent(batch) { KvError::Unavailable { reason } } else { KvError::Ambiguous { reason } }
}

/// Once an answer was lost, no later error says that nothing has happened: the first attempt may still be under way.
fn unless_lost(e: KvError, lost: Option<String>) -> KvError {
    match lost {
        Some(reason) => KvError::Ambiguous { reason },
        None => e,
    }
}

/// The nodes to ask, each once: the supposed leaseholder, this node, the others.
struct Search {
    left: Vec<NodeId>,
    /// How often a hint may send us to a node that was asked already.
    detours: u32,
}

impl Search {
    fn new(router: &Router, route: &Route) -> Self {
        let mut left: Vec<NodeId> = route.descriptor.replicas.iter().map(|r| r.node).collect();
        let me = router.parts.node;
        let leaseholder = route.leaseholder();
        left.sort_by_key(|n| (Some(*n) != leaseholder, *n != me));
        left.reverse();
        Search { left, detours: 3 }
    }

    fn next(&mut self) -> Option<NodeId> {
        self.left.pop()
    }

    fn prefer(&mut self, hint: Option<NodeId>) {
        let Some(hint) = hint else { return };
        match self.left.iter().position(|n| *n == hint) {
            Some(at) => {
                self.left.remove(at);
                self.left.push(hint);
            }
            None if self.detours > 0 => {
                self.detours -= 1;
                self.left.push(hint);
            }
            None => {}
        }
    }

    fn finish(&mut self) {
        self.left.clear();
    }
}

/// Whether the batch may be evaluated twice without harm.
fn is_idempotent(batch: &BatchRequest) -> bool {
    batch.requests.iter().all(|r| {
        !matches!(r, Request::CommitOnePhase { .. } | Request::EndTxn { .. } | Request::AdminSplit { .. })
    })
}

/// Whether nothing is changed, so that an answer may be thrown away.
fn is_read(request: &Request) -> bool {
    matches!(request, Request::Get { .. } | Request::Scan { .. } | Request::Refresh { .. })
}

/// Whether the request only ends a transaction that does not commit, or removes what one that has ended has left.
fn is_cleaning_up(request: &Request) -> bool {
    matches!(
        request,
        Request::EndTxn { how: EndKind::Abort, .. }
            | Request::ResolveIntents { .. }
            | Request::RemoveIntents { .. }
            | Request::RemoveRecord { .. }
            | Request::ReleaseLocks { .. }
    )
}

/// Spans with what becomes of the intents in them.
fn by_resolution(to: Resolution, spans: Vec<IntentSpan>) -> [(Resolution, Vec<Span>); 2] {
    let in_place = match to {
        Resolution::Committed(_) => Resolution::CommittedInPlace,
        other => other,
    };
    let (private, others): (Vec<IntentSpan>, Vec<IntentSpan>) = spans.into_iter().partition(|s| s.private);
    let spans = |all: Vec<IntentSpan>| all.into_iter().map(|s| s.span).collect();
    [(in_place, spans(private)), (to, spans(others))]
}

fn shutting_down() -> KvError {
    KvError::Unavailable { reason: "the node is shutting down".into() }
}

impl KeySender for Router {
    fn resolve_spans(
        &self,
        header: Header,
        txn: &TxnMeta,
        to: Resolution,
        spans: Vec<IntentSpan>,
    ) -> BoxFuture<'static, Result<(), KvError>> {
        let Some(router) = self.me.upgrade() else { return Box::pin(async { Err(shutting_down()) }) };
        let (txn, epoch) = (txn.id, txn.epoch);
        Box::pin(async move {
            for (to, spans) in by_resolution(to, spans) {
                let resolved = router.fan_out(spans, |spans: &[Span]| BatchRequest {
                    header: header.clone(),
                    requests: vec![Request::ResolveIntents {
                        txn,
                        epoch,
                        to,
                        keys: Vec::new(),
                        spans: spans.to_vec(),
                    }],
                });
                resolved.await.into_result()?;
            }
            Ok(())
        })
    }

    fn send_to_key(
        &self,
        key: Key,
        batch: BatchRequest,
    ) -> BoxFuture<'static, Result<BatchResponse, KvError>> {
        let Some(router) = self.me.upgrade() else { return Box::pin(async { Err(shutting_down()) }) };
        Box::pin(async move {
            let mut backoff = BACKOFF_MIN;
            for round in 0..super::MAX_ROUNDS {
                if round > 2 {
                    router.pause(&mut backoff).await;
                }
                let route = router.route(&key).await?;
                match router.send_to(&route, batch.clone()).await {
                    Err(KvError::RangeMismatch { .. }) => {}
                    other => return other,
                }
            }
            Err(KvError::Unavailable { reason: format!("the range of {key:?} keeps changing") })
        })
    }
}
