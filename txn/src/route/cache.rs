//! What this node believes of where ranges are.
//!
//! What must stay true: entries never overlap; of two descriptors that do, the one of the higher generation stays.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use meridian_storage::base::{Key, NodeId, Span};
use meridian_storage::replica::RangeDescriptor;

/// A range as last heard of.
#[derive(Debug)]
pub struct Route {
    pub descriptor: RangeDescriptor,
    /// 0: not known.
    leaseholder: AtomicU32,
}

impl Route {
    pub(super) fn new(descriptor: RangeDescriptor, leaseholder: Option<NodeId>) -> Self {
        Route { leaseholder: AtomicU32::new(leaseholder.map_or(0, |n| n.0)), descriptor }
    }

    pub fn leaseholder(&self) -> Option<NodeId> {
        match self.leaseholder.load(Ordering::Relaxed) {
            0 => None,
            n => Some(NodeId(n)),
        }
    }

    pub fn set_leaseholder(&self, node: Option<NodeId>) {
        self.leaseholder.store(node.map_or(0, |n| n.0), Ordering::Relaxed);
    }

    pub fn contains_span(&self, span: &Span) -> bool {
        self.descriptor.start <= span.start && span.end <= self.descriptor.end
    }
}

#[derive(Default)]
pub struct RangeCache {
    by_end: BTreeMap<Key, Arc<Route>>,
}

impl RangeCache {
    /// The range that holds `key`.
    pub fn find(&self, key: &[u8]) -> Option<Arc<Route>> {
        let above = (Bound::Excluded(key), Bound::Unbounded);
        let (_, route) = self.by_end.range::<[u8], _>(above).next()?;
        (*route.descriptor.start <= *key).then(|| route.clone())
    }

    /// The range that holds the keys just below `end`.
    pub fn find_before(&self, end: &[u8]) -> Option<Arc<Route>> {
        let (_, route) = self.by_end.range::<[u8], _>((Bound::Included(end), Bound::Unbounded)).next()?;
        (*route.descriptor.start < *end).then(|| route.clone())
    }

    /// Takes in a descriptor, unless what is known is newer.
    pub fn insert(&mut self, descriptor: RangeDescriptor) {
        let overlapping: Vec<Arc<Route>> = self
            .by_end
            .range::<Key, _>((Bound::Excluded(&descriptor.start), Bound::Unbounded))
            .map(|(_, route)| route.clone())
            .take_while(|route| route.descriptor.start < descriptor.end)
            .collect();
        if overlapping.iter().any(|route| route.descriptor.generation >= descriptor.generation) {
            return;
        }
        // After a split or a change of replicas the leaseholder is most likely still the same.
        let mut leaseholder = None;
        for old in overlapping {
            leaseholder = leaseholder.or(old.leaseholder());
            self.by_end.remove(&old.descriptor.end);
        }
        let leaseholder = leaseholder.filter(|n| descriptor.replica_on(*n).is_some());
        let route = Route::new(descriptor, leaseholder);
        self.by_end.insert(route.descriptor.end.clone(), Arc::new(route));
    }

    /// Forgets an entry that turned out to be of no use, if nothing else has been heard since.
    pub fn evict(&mut self, route: &Route) {
        if self.by_end.get(&route.descriptor.end).is_some_and(|known| known.descriptor == route.descriptor) {
            self.by_end.remove(&route.descriptor.end);
        }
    }

    pub fn len(&self) -> usize {
        self.by_end.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_end.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use meridian_storage::base::{RangeId, ReplicaId};
    use meridian_storage::replica::{ReplicaDescriptor, ReplicaKind};

    use super::*;

    fn range(id: u64, start: &str, end: &str, generation: u64) -> RangeDescriptor {
        RangeDescriptor {
            range: RangeId(id),
            start: start.into(),
            end: end.into(),
            generation,
            replicas: vec![ReplicaDescriptor {
                node: NodeId(7),
                replica: ReplicaId(1),
                kind: ReplicaKind::Voter,
            }],
            next_replica: ReplicaId(2),
            merging: Default::default(),
        }
    }

    fn found(route: Option<Arc<Route>>) -> u64 {
        route.map_or(0, |r| r.descriptor.range.0)
    }

    #[test]
    fn bounds_are_half_open() {
        let mut cache = RangeCache::default();
        cache.insert(range(1, "", "m", 1));
        cache.insert(range(2, "p", "z", 1));
        let at = |k: &str| found(cache.find(k.as_bytes()));
        assert_eq!((at(""), at("l"), at("m"), at("p"), at("z")), (1, 1, 0, 2, 0));
        let before = |k: &str| found(cache.find_before(k.as_bytes()));
        assert_eq!((before("a"), before("m"), before("n"), before("p"), before("z")), (1, 1, 0, 0, 2));
    }

    #[test]
    fn the_newer_generation_stays() {
        let mut cache = RangeCache::default();
        cache.insert(range(1, "", "z", 1));
        cache.find(b"a").expect("cached").set_leaseholder(Some(NodeId(7)));
        cache.insert(range(2, "m", "z", 2));
        assert_eq!(found(cache.find(b"a")), 0, "what the split left of the old entry is not known");
        assert_eq!(cache.find(b"n").and_then(|r| r.leaseholder()), Some(NodeId(7)));
        cache.insert(range(1, "", "z", 1));
        assert_eq!(found(cache.find(b"n")), 2, "old news");
        cache.insert(range(1, "", "m", 2));
        assert_eq!((found(cache.find(b"a")), found(cache.find(b"n")), cache.len()), (1, 2, 2));
    }

    /// Somebody else may have put the same entry back, having found nothing better.
    #[test]
    fn what_is_of_no_use_is_forgotten_whoever_has_noted_it() {
        let mut cache = RangeCache::default();
        cache.insert(range(1, "", "z", 1));
        let first = cache.find(b"a").expect("cached");
        cache.evict(&first);
        cache.insert(range(1, "", "z", 1));
        cache.evict(&first);
        assert!(cache.is_empty());
        cache.insert(range(1, "", "z", 2));
        cache.evict(&first);
        assert_eq!(cache.len(), 1, "newer");
    }
}
