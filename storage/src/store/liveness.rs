//! Stores that support one another: what leases and elections rest on. See `replica::lease` for why it is safe.
//!
//! Each store asks every store with which it shares a range for support, a few times a second: one small message per
//! pair of stores, however many ranges they share. Support has epochs. The supporter withdraws an epoch when its
//! clock has passed what it promised, or when the other store has been restarted; support given afterwards is of a
//! new epoch, and replicas must promise anew.
//!
//! What must stay true:
//! - Epochs grow: over withdrawals, and over restarts of the supporter (its incarnation is the upper half).
//! - An epoch that is not withdrawn binds until `until`, which only grows.
//! - After a withdrawal because of a restart, the old promises bind until they would have run out anyway: the store
//!   that restarted may have served up to there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::transport::{Heartbeat, Support};
use super::watch::ClockWatch;
use crate::base::planted::{self, Planted};
use crate::base::{NodeId, Timestamp};
use crate::replica::lease::PeerSupport;

/// What this store has promised to a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    incarnation: u64,
    epoch: u64,
    until: Timestamp,
    /// Promises of earlier epochs bind up to here.
    earlier_until: Timestamp,
    /// Whether `epoch` is in force.
    in_force: bool,
}

struct Peer {
    given: Given,
    received: Arc<PeerSupport>,
    received_epoch: u64,
    next_heartbeat: Duration,
    last_heard: Option<Duration>,
    /// How many ranges are shared with it.
    ranges: usize,
    /// In how many of them it votes.
    votes: usize,
}

/// A peer store, for the metrics.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    pub node: NodeId,
    pub round_trip: Duration,
    /// Nanoseconds by which the peer's clock is ahead of this node's, as far as could be measured.
    pub clock_offset: i64,
    /// Whether the peer relies on its own clock.
    pub clock_sound: bool,
    /// Time since the peer last answered.
    pub silent_for: Option<Duration>,
    pub shared_ranges: usize,
}

pub struct Liveness {
    incarnation: u64,
    interval: Duration,
    duration: Duration,
    peers: BTreeMap<NodeId, Peer>,
}

impl Liveness {
    pub fn new(incarnation: u64, interval: Duration, duration: Duration) -> Self {
        Liveness { incarnation, interval, duration, peers: BTreeMap::new() }
    }

    fn peer(&mut self, node: NodeId) -> &mut Peer {
        let first_epoch = (self.incarnation << 32) + 1;
        self.peers.entry(node).or_insert_with(|| Peer {
            given: Given { epoch: first_epoch, ..Given::default() },
            received: Arc::default(),
            received_epoch: 0,
            next_heartbeat: Duration::ZERO,
            last_heard: None,
            ranges: 0,
            votes: 0,
        })
    }

    pub fn add_shared_range(&mut self, node: NodeId, votes: bool) {
        let peer = self.peer(node);
        peer.ranges += 1;
        peer.votes += usize::from(votes);
    }

    pub fn remove_shared_range(&mut self, node: NodeId, votes: bool) {
        let peer = self.peer(node);
        peer.ranges = peer.ranges.saturating_sub(1);
        peer.votes = peer.votes.saturating_sub(usize::from(votes));
    }

    /// Who shares ranges, and whether it votes in any.
    pub fn sharing(&self) -> Vec<(NodeId, bool)> {
        let sharing = self.peers.iter().filter(|(_, p)| p.ranges > 0);
        sharing.map(|(node, p)| (*node, p.votes > 0)).collect()
    }

    /// The peers whose turn it is to be asked for support.
    pub fn heartbeats(&mut self, now: Duration, clock: Timestamp) -> Vec<(NodeId, Heartbeat)> {
        let heartbeat = Heartbeat { incarnation: self.incarnation, support_until: clock.add(self.duration) };
        let mut due = Vec::new();
        for (&node, peer) in &mut self.peers {
            if peer.ranges > 0 && peer.next_heartbeat <= now {
                peer.next_heartbeat = now + self.interval;
                due.push((node, heartbeat));
            }
        }
        due
    }

    pub fn next_heartbeat(&self) -> Option<Duration> {
        self.peers.values().filter(|p| p.ranges > 0).map(|p| p.next_heartbeat).min()
    }

    /// Grants what a peer asks for. The flag says that its earlier promises were withdrawn: it was restarted.
    pub fn on_heartbeat(&mut self, from: NodeId, heartbeat: Heartbeat, clock: Timestamp) -> (Support, bool) {
        let given = &mut self.peer(from).given;
        let restarted = given.incarnation != heartbeat.incarnation && given.incarnation != 0;
        if restarted {
            given.withdraw();
        }
        given.incarnation = heartbeat.incarnation;
        // A heartbeat that arrives too late promises nothing.
        if heartbeat.support_until > clock {
            given.until.forward(heartbeat.support_until);
            given.in_force = true;
        }
        let mut support = Support { epoch: given.epoch, until: given.until };
        if planted::is(Planted::LeaseOverlap) {
            support.until = support.until.add(self.duration);
        }
        (support, restarted)
    }

    /// Takes note of a peer's support. True if there was none before, as far as is known here, or if it is of a new epoch,
    /// in which nobody has promised anything yet.
    pub fn on_support(&mut self, from: NodeId, support: Support, now: Duration, clock: Timestamp) -> bool {
        let lapsed = self.supported_by(from, clock).is_none();
        let peer = self.peer(from);
        peer.received.extend(support.epoch, support.until.wall);
        peer.last_heard = Some(now);
        let new = support.epoch > peer.received_epoch;
        peer.received_epoch = peer.received_epoch.max(support.epoch);
        new || lapsed
    }

    /// Withdraws support that has run out; the stores concerned.
    pub fn withdraw_expired(&mut self, clock: Timestamp) -> Vec<NodeId> {
        let mut lost = Vec::new();
        for (&node, peer) in &mut self.peers {
            if peer.given.in_force && clock > peer.given.until {
                peer.given.withdraw();
                lost.push(node);
            }
        }
        lost
    }

    /// The epoch in force for a store, to promise in.
    pub fn epoch_for(&self, node: NodeId) -> Option<u64> {
        self.peers.get(&node).filter(|p| p.given.in_force).map(|p| p.given.epoch)
    }

    /// Whether a promise of `epoch` to `node` binds no longer.
    pub fn is_free(&self, node: NodeId, epoch: u64, clock: Timestamp) -> bool {
        match self.peers.get(&node) {
            None => true,
            Some(p) if p.given.in_force && p.given.epoch == epoch => false,
            Some(p) => clock > p.given.earlier_until,
        }
    }

    pub fn received(&mut self, node: NodeId) -> Arc<PeerSupport> {
        self.peer(node).received.clone()
    }

    /// The epoch in which a peer supports this store, if it does so still.
    pub fn supported_by(&self, node: NodeId, clock: Timestamp) -> Option<u64> {
        let (epoch, until) = self.peers.get(&node)?.received.get();
        (epoch != 0 && clock.wall < until).then_some(epoch)
    }

    pub fn status(&self, now: Duration, clocks: &ClockWatch) -> Vec<PeerStatus> {
        let status = |(&node, p): (&NodeId, &Peer)| {
            let (round_trip, clock_offset) = clocks.measured(node).unwrap_or_default();
            PeerStatus {
                node,
                round_trip,
                clock_offset,
                clock_sound: clocks.is_sound(node),
                silent_for: p.last_heard.map(|at| now.saturating_sub(at)),
                shared_ranges: p.ranges,
            }
        };
        self.peers.iter().map(status).collect()
    }
}

impl Given {
    fn withdraw(&mut self) {
        self.earlier_until.forward(self.until);
        self.epoch += 1;
        self.in_force = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn at(ms: u64) -> Timestamp {
        Timestamp::new(ms * 1_000_000, 0)
    }

    fn liveness() -> Liveness {
        Liveness::new(1, Duration::from_millis(250), Duration::from_millis(1500))
    }

    fn heartbeat(incarnation: u64, until: Timestamp) -> Heartbeat {
        Heartbeat { incarnation, support_until: until }
    }

    #[test]
    fn support_runs_out_and_comes_back_in_a_new_epoch() {
        let mut l = liveness();
        let (first, _) = l.on_heartbeat(PEER, heartbeat(1, at(100)), at(0));
        assert!(!l.is_free(PEER, first.epoch, at(50)));
        assert!(l.withdraw_expired(at(100)).is_empty(), "up to and including");
        assert_eq!(l.withdraw_expired(at(101)), [PEER]);
        assert!(l.is_free(PEER, first.epoch, at(101)));
        let (second, _) = l.on_heartbeat(PEER, heartbeat(1, at(300)), at(110));
        assert!(second.epoch > first.epoch);
        assert!(l.is_free(PEER, first.epoch, at(120)), "the old promise stays withdrawn");
        assert!(!l.is_free(PEER, second.epoch, at(120)));
    }

    #[test]
    fn a_restarted_peer_is_promised_anew_but_its_old_leases_run_out_first() {
        let mut l = liveness();
        let (first, _) = l.on_heartbeat(PEER, heartbeat(1, at(1000)), at(0));
        let (_, restarted) = l.on_heartbeat(PEER, heartbeat(2, at(1100)), at(10));
        assert!(restarted);
        assert!(!l.is_free(PEER, first.epoch, at(999)));
        assert!(l.is_free(PEER, first.epoch, at(1001)));
    }

    #[test]
    fn a_heartbeat_from_the_past_promises_nothing() {
        let mut l = liveness();
        l.on_heartbeat(PEER, heartbeat(1, at(10)), at(20));
        assert_eq!(l.epoch_for(PEER), None);
    }

    #[test]
    fn a_new_epoch_of_the_peer_is_noticed_once() {
        let mut l = liveness();
        let support = |epoch| Support { epoch, until: at(500) };
        let now = Duration::from_millis(1);
        assert!(l.on_support(PEER, support(5), now, at(0)));
        assert!(!l.on_support(PEER, support(5), now, at(0)));
        assert!(!l.on_support(PEER, support(4), now, at(0)));
        assert!(l.on_support(PEER, support(6), now, at(0)));
        assert_eq!(l.supported_by(PEER, at(499)), Some(6));
        assert_eq!(l.supported_by(PEER, at(500)), None);
        let later = Support { until: at(900), ..support(6) };
        assert!(l.on_support(PEER, later, now, at(600)), "it was thought dead");
    }
}
