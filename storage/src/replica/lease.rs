//! The right to serve, as requests ask for it: a few atomics on the hot path.
//!
//! # Why a lease is safe
//!
//! There are no lease entries in the log and no clock that ticks per range. Stores support one another: store B
//! tells store A "I support you until E, in epoch e". For each range whose leader is on A, B's replica *promises* -
//! each time it answers an append or a heartbeat of its leader - that as long as epoch e is in force it neither
//! campaigns nor votes for anybody else. B withdraws epoch e only when its own clock has passed E, and the next support
//! it gives to A has another epoch.
//!
//! - A leader's lease covers T iff a quorum of its voters (both quorums while the configuration is joint; itself
//!   always) support its store until T or later *in the epoch in which they last answered it in its term*. A promise
//!   of an epoch that has been withdrawn counts for nothing, even if the peer supports this store again: in between
//!   it may have voted.
//! - A new leader was elected by a quorum, which shares a voter with every quorum that supported the old one. That
//!   voter's clock had passed everything it had promised when it voted, and its clock travels with its vote. The new
//!   lease starts at the new leader's clock after that: above all that the old leader can have served.
//! - The old leader itself may be the shared voter. Whatever it served was at or below its own clock
//!   ([`LeaseCell::check`]'s caller shows the timestamp to the clock first), it stops serving before it votes, and its
//!   clock travels with its vote. The same holds for a transfer: serving stops before the order to take over leaves.
//! - A node that restarts has forgotten its promises. It stays out of elections until they have surely run out. Its clock is
//!   back at the physical one, up to the largest offset behind what it served; an only voter, which needs nobody's vote,
//!   waits that long if it has ever had peers.
//!
//! - The right side of a split has another quorum, and another leader, while the leaseholder of the left side may not have
//!   applied the split and serve the whole. So its replicas begin bound to whom the left ones were bound to when they
//!   applied it, until that store is not supported any more, or says that it has applied the split and does not lead the
//!   right side. A voter without a replica gives its vote only if it does not hold the keys as part of the left side:
//!   then it has the left side as a snapshot from a leader that had applied the split, or has been removed by one.
//!
//! The timestamps of two leases are apart, but clocks differ: a reader whose clock is behind could ask the old leader for
//! a moment before the new lease, when the new leader has long answered writes. So [`Replica::lease`](super::Replica::lease)
//! covers `at` only if the whole uncertainty of a read there, up to the largest clock offset, is covered: what the new
//! leader writes is beyond it.
//!
//! A term has at most one lease, and what is once given up in a term is never taken again in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Lease;
use crate::base::{NodeId, Timestamp};

/// How far one peer store supports this store. Written by the store when the peer answers, read by leases.
#[derive(Debug, Default)]
pub struct PeerSupport(Mutex<(u64, u64)>);

impl PeerSupport {
    /// Support in `epoch` until `wall`. Older news is ignored.
    pub fn extend(&self, epoch: u64, wall: u64) {
        let mut at = self.0.lock();
        *at = (*at).max((epoch, wall));
    }

    /// The epoch, and until when.
    pub fn get(&self) -> (u64, u64) {
        *self.0.lock()
    }
}

/// A voter other than this replica, as its promise counts.
#[derive(Clone, Debug)]
pub struct Supporter {
    pub support: Arc<PeerSupport>,
    /// The epoch in which it last answered the leader in its term; 0 for not yet.
    pub promised: u64,
}

/// The voters of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Quorum {
    /// This replica is one of them.
    pub includes_self: bool,
    pub others: SmallVec<[Supporter; 4]>,
}

impl Quorum {
    /// Until when a majority supports this store.
    fn supported_until(&self) -> u64 {
        let mut until: SmallVec<[u64; 5]> = SmallVec::new();
        if self.includes_self {
            until.push(u64::MAX);
        }
        for s in &self.others {
            let (epoch, wall) = s.support.get();
            until.push(if epoch == s.promised && epoch != 0 { wall } else { 0 });
        }
        let needed = until.len() / 2 + 1;
        until.sort_unstable_by(|a, b| b.cmp(a));
        until.get(needed - 1).copied().unwrap_or(0)
    }
}

#[derive(Default)]
struct Held {
    term: u64,
    /// One, or two while the configuration is joint.
    quorums: SmallVec<[Quorum; 2]>,
}

/// The lease of one replica.
#[derive(Default)]
pub struct LeaseCell {
    /// The term of the lease; 0 for none. Never returns to a term that was given up.
    term: AtomicU64,
    start_wall: AtomicU64,
    start_logical: AtomicU32,
    /// Covered below this time without looking further.
    covered: AtomicU64,
    /// Who leads, as far as is known; 0 for unknown.
    leader: AtomicU32,
    held: Mutex<Held>,
}

impl LeaseCell {
    /// The lease, if it covers `at`. The caller has shown `at` to the clock of this node, and added the uncertainty.
    pub fn check(&self, at: Timestamp) -> Option<Lease> {
        let term = self.term.load(SeqCst);
        if term == 0 {
            return None;
        }
        let start = Timestamp::new(self.start_wall.load(SeqCst), self.start_logical.load(SeqCst));
        if at.wall >= self.covered.load(SeqCst) && !self.extend(term, at) {
            return None;
        }
        (self.term.load(SeqCst) == term).then_some(Lease { term, start })
    }

    /// Looks how far the peers support the store by now.
    #[cold]
    fn extend(&self, term: u64, at: Timestamp) -> bool {
        let held = self.held.lock();
        if held.term != term {
            return false;
        }
        let until = held.quorums.iter().map(Quorum::supported_until).min().unwrap_or(0);
        self.covered.store(until, SeqCst);
        at.wall < until
    }

    /// Begins a lease. The replica has won `lease.term` and applied an entry of that term.
    pub fn grant(&self, lease: Lease, quorums: SmallVec<[Quorum; 2]>) {
        let mut held = self.held.lock();
        assert!(held.term < lease.term, "a lease of term {} after one of term {}", lease.term, held.term);
        self.start_wall.store(lease.start.wall, SeqCst);
        self.start_logical.store(lease.start.logical, SeqCst);
        self.covered.store(0, SeqCst);
        *held = Held { term: lease.term, quorums };
        self.term.store(lease.term, SeqCst);
    }

    /// The configuration, or a voter's promise, has changed.
    pub fn set_quorums(&self, term: u64, quorums: SmallVec<[Quorum; 2]>) {
        let mut held = self.held.lock();
        if held.term == term && !held.quorums.is_empty() {
            held.quorums = quorums;
            // Computed anew: what an old configuration supports may not bind the voters of the next but one.
            self.covered.store(0, SeqCst);
        }
    }

    /// Gives the lease up, for good in its term. Nothing is served from now on.
    pub fn revoke(&self) {
        let mut held = self.held.lock();
        self.term.store(0, SeqCst);
        self.covered.store(0, SeqCst);
        held.quorums.clear();
    }

    /// Whether a lease is held, covered or not.
    pub fn held(&self) -> Option<Lease> {
        let term = self.term.load(SeqCst);
        let start = Timestamp::new(self.start_wall.load(SeqCst), self.start_logical.load(SeqCst));
        (term != 0).then_some(Lease { term, start })
    }

    pub fn set_leader(&self, node: Option<NodeId>) {
        self.leader.store(node.map_or(0, |n| n.0), SeqCst);
    }

    pub fn leader(&self) -> Option<NodeId> {
        let n = self.leader.load(SeqCst);
        (n != 0).then_some(NodeId(n))
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn at(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    fn quorum(promised: &[(&Arc<PeerSupport>, u64)]) -> Quorum {
        let others =
            promised.iter().map(|&(s, promised)| Supporter { support: s.clone(), promised }).collect();
        Quorum { includes_self: true, others }
    }

    #[test]
    fn a_lease_covers_what_a_majority_supports() {
        let (b, c) = (Arc::<PeerSupport>::default(), Arc::<PeerSupport>::default());
        let cell = LeaseCell::default();
        assert_eq!(cell.check(at(1)), None);
        let lease = Lease { term: 3, start: at(5) };
        cell.grant(lease, smallvec![quorum(&[(&b, 7), (&c, 7)])]);
        assert_eq!(cell.check(at(6)), None, "nobody supports it yet");
        b.extend(7, 100);
        assert_eq!(cell.check(at(99)), Some(lease), "itself and one of two");
        assert_eq!(cell.check(at(100)), None);
        c.extend(7, 200);
        assert_eq!(cell.check(at(150)), Some(lease));
    }

    #[test]
    fn a_withdrawn_promise_counts_for_nothing() {
        let b = Arc::<PeerSupport>::default();
        let cell = LeaseCell::default();
        let lease = Lease { term: 1, start: at(0) };
        cell.grant(lease, smallvec![quorum(&[(&b, 1)])]);
        b.extend(1, 10);
        assert_eq!(cell.check(at(9)), Some(lease));
        b.extend(2, 1000);
        assert_eq!(cell.check(at(20)), None, "supported again, but nothing was promised in that epoch");
        cell.set_quorums(1, smallvec![quorum(&[(&b, 2)])]);
        assert_eq!(cell.check(at(20)), Some(lease));
    }

    #[test]
    fn both_halves_of_a_joint_configuration_count() {
        let (b, c) = (Arc::<PeerSupport>::default(), Arc::<PeerSupport>::default());
        let cell = LeaseCell::default();
        let lease = Lease { term: 1, start: at(0) };
        cell.grant(lease, smallvec![quorum(&[(&b, 1)]), quorum(&[(&c, 1)])]);
        b.extend(1, 100);
        assert_eq!(cell.check(at(9)), None);
        c.extend(1, 50);
        assert_eq!(cell.check(at(49)), Some(lease));
        assert_eq!(cell.check(at(50)), None);
    }

    #[test]
    fn what_is_given_up_stays_given_up() {
        let cell = LeaseCell::default();
        cell.grant(Lease { term: 2, start: at(0) }, smallvec![quorum(&[])]);
        assert!(cell.check(at(1 << 40)).is_some(), "a single voter needs nobody");
        cell.revoke();
        assert_eq!(cell.check(at(1)), None);
        cell.set_quorums(2, smallvec![quorum(&[])]);
        assert_eq!(cell.check(at(1)), None);
    }
}
