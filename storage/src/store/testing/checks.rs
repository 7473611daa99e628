//! What must be true of the leases of a whole cluster at any moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Cluster;
use crate::base::{NodeId, RangeId, Timestamp};
use crate::replica::{RangeDescriptor, Replica};

impl Cluster {
    /// Panics if two nodes could serve the same moment of one range, or of one key.
    pub fn check_leases(&self) {
        let at: Vec<Timestamp> = self
            .nodes
            .values()
            .map(|n| n.clock.now())
            .flat_map(|t| [t, t.add(Duration::from_millis(700))])
            .collect();
        let mut ranges = BTreeSet::new();
        for node in self.nodes.values() {
            ranges.extend(node.handle.iter().flat_map(|h| h.descriptors()).map(|d| d.range));
        }
        for range in ranges {
            for t in &at {
                let holders: Vec<_> = self
                    .nodes
                    .iter()
                    .filter_map(|(id, n)| {
                        let replica = n.handle.as_ref()?.range_replica(range)?;
                        let lease = replica.lease.check(*t).filter(|lease| lease.start <= *t)?;
                        Some((*id, lease))
                    })
                    .collect();
                assert!(holders.len() <= 1, "{range} at {t} is served by {holders:?}{}", self.explain(range));
            }
            self.check_starts(range);
        }
        at.iter().for_each(|t| self.check_keys(*t));
    }

    /// No key belongs to two ranges that are served.
    fn check_keys(&self, at: Timestamp) {
        let mut held: Vec<(Arc<RangeDescriptor>, NodeId)> = Vec::new();
        for (id, node) in &self.nodes {
            for d in node.handle.iter().flat_map(|h| h.descriptors()) {
                let replica = node.handle.as_ref().and_then(|h| h.range_replica(d.range));
                let lease = replica.and_then(|r| r.lease.check(at));
                if lease.is_some_and(|lease| lease.start <= at) {
                    held.push((d, *id));
                }
            }
        }
        held.sort_by(|a, b| a.0.start.cmp(&b.0.start));
        for pair in held.windows(2) {
            let (left, right) = (&pair[0].0, &pair[1].0);
            assert!(
                left.range == right.range || left.end <= right.start,
                "both are served at {at}: {pair:?}{}{}",
                self.explain(left.range),
                self.explain(right.range)
            );
        }
    }

    /// Serves the present moment wherever a lease allows it. A lease must start above all that was served in earlier terms.
    fn check_starts(&self, range: RangeId) {
        let mut served = self.served.lock();
        for (id, node) in &self.nodes {
            let Some(replica) = node.handle.as_ref().and_then(|h| h.range_replica(range)) else { continue };
            let now = node.clock.now();
            let Ok(lease) = replica.lease(now) else { continue };
            let current = replica.descriptor();
            // What it has taken in was read up to here.
            for (other, (_, until, was)) in served.iter().filter(|(other, _)| **other != range) {
                let absorbed = current.contains(&was.start) && current.generation > was.generation;
                assert!(
                    !absorbed || now > *until,
                    "{range} is led by {id} at {now}, but {other}, which it has taken in, was at {until}"
                );
            }
            let before = served.entry(range).or_insert((lease.term, now, current.clone()));
            assert!(
                lease.term >= before.0,
                "{range}: {id} serves in term {} after term {}",
                lease.term,
                before.0
            );
            if lease.term > before.0 {
                assert!(
                    lease.start > before.1,
                    "{range}: the lease of {id} starts at {}, but {} was served before",
                    lease.start,
                    before.1
                );
            }
            *before = (lease.term, now.max(before.1), current);
        }
    }
}
