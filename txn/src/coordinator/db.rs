//! A node's gateway to all ranges.

use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::keys::{META1, SYSTEM, max_key, meta_key, min_key, system_key};
use meridian_storage::base::{Clock, Key, NodeId, RangeId, Runtime, Span, Timestamp};
use meridian_storage::replica::RangeDescriptor;

use super::heartbeat::{Hearts, beat};
use super::{ScanOptions, Txn, TxnError, TxnErrorKind, TxnOptions, TxnResult};
use crate::Limits;
use crate::clock::{Clocks, Consistency};
use crate::route::{Router, RouterParts};
use crate::rpc::{BatchRequest, Header, KeySender, KvError, RangeStats, Request, Response, codec};

/// Cheap to clone.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub router: Arc<Router>,
    pub clocks: Clocks,
    pub hearts: Hearts,
    pub limits: Limits,
}

impl Db {
    pub fn new(parts: RouterParts) -> Db {
        Db::with_limits(parts, Limits::default())
    }

    pub fn with_limits(parts: RouterParts, limits: Limits) -> Db {
        let router = Router::new(parts);
        let clocks = Clocks::new(router.clock().clone());
        let inner = Arc::new(Inner { router, clocks, hearts: Hearts::default(), limits });
        inner.router.runtime().spawn("heartbeats", Box::pin(beat(Arc::downgrade(&inner))));
        Db { inner }
    }

    pub fn begin(&self, options: TxnOptions) -> Txn {
        Txn::new(self.clone(), options)
    }

    pub fn clock(&self) -> &Clock {
        self.inner.router.clock()
    }

    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.inner.router.runtime()
    }

    pub fn node(&self) -> NodeId {
        self.inner.router.node()
    }

    pub fn consistency(&self) -> Consistency {
        self.inner.clocks.consistency()
    }

    /// Whether this is the only node of its cluster: then no version is of uncertain age. Must be said to be over before
    /// a second node begins to serve, and cannot be said again afterwards.
    pub fn set_alone(&self, alone: bool) {
        self.inner.clocks.set_alone(alone);
    }

    pub(super) fn clocks(&self) -> &Clocks {
        &self.inner.clocks
    }

    /// Also what this node's participant sends through, to push and to resolve what stands in its way.
    pub fn router(&self) -> &Arc<Router> {
        &self.inner.router
    }

    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(super) fn hearts(&self) -> &Hearts {
        &self.inner.hearts
    }

    /// Runs `body` in a transaction, again and again until it does not have to be retried.
    pub async fn run<T, F>(&self, options: TxnOptions, body: impl Fn(Txn) -> F) -> TxnResult<T>
    where
        F: Future<Output = TxnResult<T>>,
    {
        let txn = self.begin(options);
        for _ in 0..MAX_ATTEMPTS {
            let attempt = match body(txn.clone()).await {
                Ok(value) => txn.commit().await.map(|_| value),
                Err(e) => Err(e),
            };
            match attempt {
                Ok(value) => return Ok(value),
                Err(e) if e.is_retryable() && txn.can_restart() => txn.restart(),
                Err(e) => {
                    txn.rollback().await;
                    return Err(e);
                }
            }
        }
        txn.rollback().await;
        Err(TxnError::new(TxnErrorKind::Retry, "could not serialize access due to concurrent update"))
    }

    /// Has the leaseholder of a range drop what no read at or above `threshold` can see.
    pub async fn collect_garbage(&self, range: &RangeDescriptor, threshold: Timestamp) -> TxnResult<()> {
        let route = self.inner.router.route(&range.start).await?;
        let header = Header { gateway: self.node(), ..Header::default() };
        let batch = BatchRequest { header, requests: vec![Request::Gc { threshold }] };
        self.inner.router.send_to(&route, batch).await?;
        Ok(())
    }

    /// Makes `key` the start of a range; nothing to do if it is one.
    ///
    /// The range divides itself first and `meta` is told afterwards: until then, and if this is interrupted, a request
    /// that comes to the wrong half is told about the right one.
    pub async fn split_at(&self, key: Key) -> TxnResult<()> {
        if *key <= [SYSTEM][..] || key >= max_key() {
            return Err(TxnError::new(TxnErrorKind::Unsupported, "a range cannot begin at this key"));
        }
        for _ in 0..MAX_ATTEMPTS {
            let route = self.inner.router.route(&key).await?;
            if route.descriptor.start == key {
                return Ok(());
            }
            let right = self.new_range_id().await?;
            let header = Header { gateway: self.node(), ..Header::default() };
            let batch =
                BatchRequest { header, requests: vec![Request::AdminSplit { key: key.clone(), right }] };
            match self.inner.router.send_to(&route, batch).await {
                Ok(mut response) => {
                    let Some(Response::Split { left, right }) = response.responses.pop() else {
                        return Err(KvError::internal("a split was answered with something else").into());
                    };
                    self.inner.router.note(&left);
                    self.inner.router.note(&right);
                    return self.publish(&[left, right]).await;
                }
                Err(KvError::RangeMismatch { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(TxnError::new(TxnErrorKind::Unavailable, "the range is changing too fast to be split"))
    }

    /// Makes `key` the start of no range: the range that begins there is taken in by the one on its left, if their
    /// replicas are on the same nodes (`Unsupported` otherwise). Nothing to do if no range begins there.
    ///
    /// As with a split, `meta` is told afterwards.
    pub async fn merge_at(&self, key: Key) -> TxnResult<()> {
        if *key <= [SYSTEM][..] || key >= max_key() {
            return Err(TxnError::new(TxnErrorKind::Unsupported, "no range can begin at this key"));
        }
        for _ in 0..MAX_ATTEMPTS {
            let route = self.inner.router.route_before(&key).await?;
            if route.descriptor.contains(&key) {
                return Ok(());
            }
            let header = Header { gateway: self.node(), ..Header::default() };
            let batch = BatchRequest { header, requests: vec![Request::AdminMerge { at: key.clone() }] };
            match self.inner.router.send_to(&route, batch).await {
                Ok(mut response) => {
                    let Some(Response::Merged { descriptor }) = response.responses.pop() else {
                        return Err(KvError::internal("a merge was answered with something else").into());
                    };
                    self.inner.router.note(&descriptor);
                    return self.publish(&[descriptor]).await;
                }
                Err(KvError::RangeMismatch { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(TxnError::new(TxnErrorKind::Unavailable, "the range is changing too fast to be merged"))
    }

    /// Writes descriptors to `meta`, where they are not older than what stands there, and removes what they have made
    /// void.
    pub async fn publish(&self, descriptors: &[RangeDescriptor]) -> TxnResult<()> {
        self.run(TxnOptions::default(), |txn: Txn| async move {
            for descriptor in descriptors {
                let key = meta_key(&descriptor.end);
                let known = match txn.get(&key).await? {
                    Some(bytes) => Some(decode(bytes)?),
                    None => None,
                };
                if known.as_ref().is_some_and(|known| known.generation >= descriptor.generation) {
                    continue;
                }
                if known.is_none() && has_been_taken_in(&txn, descriptor).await? {
                    continue;
                }
                keep_reachable(&txn, &descriptor.start).await?;
                remove_taken_in(&txn, descriptor).await?;
                txn.put(key, codec::encode_descriptor(descriptor));
            }
            Ok(())
        })
        .await
    }

    async fn new_range_id(&self) -> TxnResult<RangeId> {
        let key = system_key("range-id", b"");
        let key = &key;
        self.run(TxnOptions::default(), |txn: Txn| async move {
            let last = match txn.get(key).await? {
                None => 1,
                Some(bytes) => match bytes.as_ref().try_into() {
                    Ok(bytes) => u64::from_be_bytes(bytes),
                    Err(_) => return Err(KvError::internal("the range id counter is malformed").into()),
                },
            };
            txn.put(key.clone(), Bytes::copy_from_slice(&(last + 1).to_be_bytes()));
            Ok(RangeId(last + 1))
        })
        .await
    }

    /// All ranges in key order, as `meta` has them.
    pub async fn ranges(&self) -> TxnResult<Vec<RangeDescriptor>> {
        let meta = Span::new(Key::from(&[META1][..]), Key::from(&[SYSTEM][..]));
        let txn = self.begin(TxnOptions { read_only: true, ..TxnOptions::default() });
        let rows = txn.scan(meta, ScanOptions::default()).collect().await?;
        let mut ranges = rows.into_iter().map(|(_, value)| decode(value)).collect::<TxnResult<Vec<_>>>()?;
        ranges.sort_by(|a, b| a.start.cmp(&b.start));
        Ok(ranges)
    }

    /// The range that holds `key`, and its figures, from its leaseholder.
    ///
    /// The question carries no key: a range that no longer holds it answers with its own figures, and not with who does.
    pub async fn range_stats(&self, key: &Key) -> TxnResult<(RangeDescriptor, RangeStats)> {
        let key = key.clone().clamp(min_key(), max_key());
        for _ in 0..MAX_ATTEMPTS {
            let route = self.inner.router.route(&key).await?;
            let header = Header { gateway: self.node(), ..Header::default() };
            let batch = BatchRequest { header, requests: vec![Request::RangeStats] };
            match self.inner.router.send_to(&route, batch).await {
                Ok(mut response) => match response.responses.pop() {
                    Some(Response::Stats { descriptor, stats }) if descriptor.contains(&key) => {
                        return Ok((descriptor, stats));
                    }
                    Some(Response::Stats { .. }) => self.correct_route(&key).await?,
                    _ => return Err(KvError::internal("stats were answered with something else").into()),
                },
                Err(KvError::RangeMismatch { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(TxnError::new(TxnErrorKind::Unavailable, "the range keeps changing"))
    }

    /// Asks for the key itself, at a time before all versions, so that nobody is in the way: ranges that do not hold it say
    /// what they know, and the router learns.
    async fn correct_route(&self, key: &Key) -> TxnResult<()> {
        let header = Header { gateway: self.node(), read_ts: BEFORE_ALL, ..Header::default() };
        let requests = vec![Request::Get { key: key.clone(), lock: None }];
        match self.inner.router.send_to_key(key.clone(), BatchRequest { header, requests }).await {
            Ok(_) | Err(KvError::SnapshotTooOld { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes everything in the span physically, history and all. Only for spans that nobody reads any more: dropped
    /// tables and indexes.
    pub async fn clear_range(&self, span: Span) -> TxnResult<()> {
        let header = Header { gateway: self.node(), ..Header::default() };
        let sent = self.inner.router.fan_out(vec![span], |spans: &[Span]| BatchRequest {
            header: header.clone(),
            requests: spans.iter().map(|span| Request::ClearRange { span: span.clone() }).collect(),
        });
        sent.await.into_result()?;
        Ok(())
    }
}

/// Whether a row above says that the end of the range lies within another one by now.
async fn has_been_taken_in(txn: &Txn, range: &RangeDescriptor) -> TxnResult<bool> {
    let above = Span::new(meta_key(&range.end), Key::from(&[SYSTEM][..]));
    let first = txn.scan(above, ScanOptions { limit: 1, ..ScanOptions::default() }).collect().await?;
    let Some((_, bytes)) = first.into_iter().next() else { return Ok(false) };
    let above = decode(bytes)?;
    Ok(above.start < range.end && above.generation > range.generation)
}

/// Removes the rows of older ranges that end within this one: it has taken them in, or they have been cut short.
async fn remove_taken_in(txn: &Txn, range: &RangeDescriptor) -> TxnResult<()> {
    let (first, own) = (meta_key(&range.start).next(), meta_key(&range.end));
    if first == own {
        // It has one key only.
        return Ok(());
    }
    let within = Span::new(first, own);
    for (key, bytes) in txn.scan(within, ScanOptions::default()).collect().await? {
        if decode(bytes)?.generation < range.generation {
            txn.delete(key);
        }
    }
    Ok(())
}

/// A range that begins at `start` is about to be published, and what ends there may not be yet: a split may have been
/// interrupted before it told `meta`, and its right half may have been split again. What the row above says of the keys
/// below `start` is kept in a row of its own: it is outdated, but whoever follows it is told the rest.
async fn keep_reachable(txn: &Txn, start: &Key) -> TxnResult<()> {
    if *start == min_key() {
        return Ok(());
    }
    let key = meta_key(start);
    let above = Span::new(key.clone(), Key::from(&[SYSTEM][..]));
    let first = txn.scan(above, ScanOptions { limit: 1, ..ScanOptions::default() }).collect().await?;
    let Some((_, bytes)) = first.into_iter().next() else { return Ok(()) };
    let mut above = decode(bytes)?;
    if above.end > *start && above.start < *start {
        above.end = start.clone();
        txn.put(key, codec::encode_descriptor(&above));
    }
    Ok(())
}

const MAX_ATTEMPTS: u32 = 50;
const BEFORE_ALL: Timestamp = Timestamp::new(1, 0);

fn decode(bytes: Bytes) -> TxnResult<RangeDescriptor> {
    codec::decode_descriptor(bytes).map_err(|e| KvError::internal(format!("range descriptor: {e}")).into())
}
