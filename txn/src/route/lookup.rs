//! Reading `meta` when the cache does not know.

use std::sync::Arc;

use futures::FutureExt;
use meridian_storage::base::keys::{META1, META2, SYSTEM, TABLE};
use meridian_storage::base::{BoxFuture, Key, Span};
use meridian_storage::replica::RangeDescriptor;

use super::{Route, Router};
use crate::rpc::{BatchRequest, Header, KvError, Request, Response, codec};

/// How many descriptors are fetched at once: neighbours are likely to be wanted next.
const PREFETCH: u64 = 8;

/// Which side of a key is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The range that holds the key.
    At,
    /// The range that holds the keys just below it (reverse scans).
    Before,
}

impl Side {
    fn is_in(self, key: &Key, range: &RangeDescriptor) -> bool {
        match self {
            Side::At => range.contains(key),
            Side::Before => range.start < *key && *key <= range.end,
        }
    }
}

impl Router {
    /// The range that holds `key`, from the cache only.
    pub fn cached(&self, key: &[u8]) -> Option<Arc<Route>> {
        self.cache.read().find(key)
    }

    pub async fn route(&self, key: &Key) -> Result<Arc<Route>, KvError> {
        match self.cached(key) {
            Some(route) => Ok(route),
            None => self.look_up(key, Side::At).await,
        }
    }

    pub async fn route_before(&self, end: &Key) -> Result<Arc<Route>, KvError> {
        let cached = self.cache.read().find_before(end);
        match cached {
            Some(route) => Ok(route),
            None => self.look_up(end, Side::Before).await,
        }
    }

    /// What a caller has heard about a range, for example from its split.
    pub fn note(&self, descriptor: &RangeDescriptor) {
        self.learn([descriptor.clone()]);
    }

    pub(super) fn learn(&self, descriptors: impl IntoIterator<Item = RangeDescriptor>) {
        let mut cache = self.cache.write();
        for descriptor in descriptors {
            cache.insert(descriptor);
        }
    }

    pub(super) fn forget(&self, route: &Arc<Route>) {
        self.cache.write().evict(route);
    }

    fn find(&self, key: &Key, side: Side) -> Option<Arc<Route>> {
        let cache = self.cache.read();
        match side {
            Side::At => cache.find(key),
            Side::Before => cache.find_before(key),
        }
    }

    /// Boxed: to find a range, the range that describes it must be found first.
    fn look_up<'a>(&'a self, key: &'a Key, side: Side) -> BoxFuture<'a, Result<Arc<Route>, KvError>> {
        async move {
            let Some(first) = self.parts.seeds.first_range() else {
                return Err(KvError::Unavailable { reason: "the first range is not known yet".into() });
            };
            self.learn([first.clone()]);
            // What the seeds say may be older than what is known of the range, or of its neighbours.
            let first = self.cached(&first.start).map_or(first, |route| route.descriptor.clone());
            let in_first = side.is_in(key, &first);
            if in_first {
                // The seeds may be older than the cache and contradict it: the range itself knows better, and says so.
                return Ok(self.find(key, side).unwrap_or_else(|| Arc::new(Route::new(first, None))));
            }
            let (level, end) = meta_level(key, side);
            let mut from = meta_start(level, key, side);
            if level == META1 && !first.contains(&from) {
                return Err(KvError::internal("the first range does not hold all of meta1"));
            }
            while from < end {
                let meta_route = self.route(&from).await?;
                let to = meta_route.descriptor.end.clone().min(end.clone());
                let found = self.read_meta(&meta_route, Span::new(from, to.clone())).await?;
                let any = !found.is_empty();
                self.learn(found.iter().cloned());
                if let Some(route) = self.find(key, side) {
                    return Ok(route);
                }
                // The cache knows that this is outdated, but not where the key is now: who held it knows more.
                if let Some(outdated) = found.into_iter().find(|d| side.is_in(key, d)) {
                    return Ok(Arc::new(Route::new(outdated, None)));
                }
                if any {
                    break;
                }
                from = to;
            }
            Err(KvError::Unavailable { reason: format!("no range is known to hold {key:?}") })
        }
        .boxed()
    }

    async fn read_meta(&self, route: &Arc<Route>, span: Span) -> Result<Vec<RangeDescriptor>, KvError> {
        let header = Header {
            gateway: self.parts.node,
            read_ts: self.parts.clock.now(),
            max_rows: PREFETCH,
            ..Header::default()
        };
        let batch =
            BatchRequest { header, requests: vec![Request::Scan { span, reverse: false, lock: None }] };
        let mut response = self.send_to(route, batch).await?;
        let Some(Response::Scan { rows, .. }) = response.responses.pop() else {
            return Err(KvError::internal("a scan of meta was answered with something else"));
        };
        (0..rows.len())
            .map(|row| {
                codec::decode_descriptor(rows.value_bytes(row))
                    .map_err(|e| KvError::internal(format!("range descriptor: {e}")))
            })
            .collect()
    }
}

/// The level that describes the range of `key`, and the end of that level.
fn meta_level(key: &Key, side: Side) -> (u8, Key) {
    let in_meta = match side {
        Side::At => **key < [SYSTEM][..],
        Side::Before => **key <= [SYSTEM][..],
    };
    let level = if in_meta { META1 } else { META2 };
    const { assert!(META1 < META2 && META2 < SYSTEM && SYSTEM < TABLE) };
    (level, Key::from(&[level + 1][..]))
}

/// Descriptors stand under the end of their range, which is excluded from it: the range that holds `key` is the first
/// one *above* it; the range that holds what is just below `key` may end at it.
fn meta_start(level: u8, key: &Key, side: Side) -> Key {
    let mut v = Vec::with_capacity(key.len() + 2);
    v.push(level);
    v.extend_from_slice(key);
    if side == Side::At {
        v.push(0);
    }
    v.into()
}
