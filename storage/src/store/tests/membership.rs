//! Replicas that come, go, lag behind and return.

use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use rstest::rstest;

use super::{N1, N2, N3, R1, converged, secs, three};
use crate::base::{Key, NodeId, RangeId, ReplicaId, StorageError, Timestamp};
use crate::log::{HardState, LogBatch, LogOp, LogStore};
use crate::store::StoreConfig;
use crate::store::testing::Cluster;
use crate::store::transport::{Envelope, MessageBatch, RaftEnvelope};

const N4: NodeId = NodeId(4);
const R2: RangeId = RangeId(2);

fn change(c: &mut Cluster, add: Vec<NodeId>, remove: Vec<NodeId>) {
    let (leader, _) = c.leaseholder(R1).expect("a lease");
    let handle = c.handle(leader);
    c.wait(async move { handle.change_replicas(R1, add, remove).await }).expect("changed");
}

fn split(c: &mut Cluster, at: &str) {
    let (leader, _) = c.leaseholder(R1).expect("a lease");
    let (handle, at) = (c.handle(leader), Key::from(at));
    c.wait(async move { handle.split(R1, at, R2).await }).expect("split");
}

/// Whoever hears of a split and then asks for the bounds must not get the old ones: requests are admitted by them.
#[test]
fn a_split_is_told_of_when_the_bounds_have_changed() {
    let mut c = three(1);
    split(&mut c, "m");
    c.run_until("all have applied it", secs(2), |c| {
        [N1, N2, N3].iter().all(|n| c.handle(*n).descriptors().len() == 2)
    });
    for node in [N1, N2, N3] {
        let events = c.events(node);
        let told = format!("{R1} up to {:?} split off {R2}", Key::from("m"));
        assert!(events.contains(&told), "{events:?}");
    }
}

/// A leaseholder that knows of older snapshots than the last one cannot bring back what was dropped.
#[test]
fn the_threshold_of_garbage_does_not_fall() {
    let mut c = three(1);
    let (high, low) = (Timestamp::new(100, 0), Timestamp::new(80, 0));
    c.raise_gc_threshold(R1, high).expect("applied");
    c.raise_gc_threshold(R1, low).expect("applied");
    let of = |c: &Cluster, node| c.handle(node).replica(R1).expect("a replica").gc_threshold();
    c.run_until("all have applied it", secs(2), |c| [N1, N2, N3].iter().all(|n| of(c, *n) == high));
    c.handle(N3).flush().expect("memory");
    c.crash(N3);
    c.start(N3);
    assert_eq!(of(&c, N3), high);
}

#[test]
fn a_node_that_cannot_be_reached_is_not_promoted() {
    let mut c = three(1);
    c.add_node(N4);
    c.isolate(N4);
    let (leader, _) = c.leaseholder(R1).expect("a lease");
    let handle = c.handle(leader);
    let mut change = Box::pin(async move { handle.change_replicas(R1, vec![N4], vec![]).await });
    let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..2000 {
        assert!(change.as_mut().poll(&mut waker).is_pending());
        c.step();
    }
    c.heal();
    c.wait(change).expect("when it is back");
    assert_eq!(c.handle(leader).descriptors()[0].voters().count(), 4);
}

/// It may be lost for good, and other ranges wait for their turn.
#[test]
fn a_node_that_stays_away_is_not_waited_for() {
    let mut c = three(1);
    c.add_node(N4);
    c.crash(N4);
    let (leader, _) = c.leaseholder(R1).expect("a lease");
    let handle = c.handle(leader);
    let began = c.now();
    let refused = c.wait(async move { handle.change_replicas(R1, vec![N4], vec![]).await });
    assert!(matches!(refused, Err(StorageError::Unreachable { node: N4 })), "{refused:?}");
    assert!(c.now() - began < secs(7), "{:?}", c.now() - began);
    // Whoever finds the learner takes it away again, if it does not come back.
    change(&mut c, vec![], vec![N4]);
    assert_eq!(c.handle(leader).descriptors()[0].replicas.len(), 3);
}

#[rstest]
fn a_replica_removed_while_away_is_cleared_up(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.add_node(N4);
    c.write(R1, "k", "v").expect("acknowledged");
    c.run_until("all have it", secs(2), |c| c.value_on(N3, "k").is_some());
    c.handle(N3).flush().expect("memory");
    c.crash(N3);
    change(&mut c, vec![N4], vec![N3]);
    c.start(N3);
    assert!(c.handle(N3).replica(R1).is_some(), "it does not know yet");
    c.run_until("it learns of it", secs(10), |c| c.handle(N3).replica(R1).is_none());
    assert_eq!(c.value_on(N3, "k"), None, "nothing is left behind");
    c.handle(N3).maintain().expect("memory");
    c.run_for(secs(1));
    c.crash(N3);
    c.start(N3);
    assert!(c.handle(N3).replica(R1).is_none(), "and it stays away");
}

#[rstest]
fn a_node_may_come_back_as_another_replica(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.hold_raft(N1, N3);
    change(&mut c, vec![], vec![N3]);
    c.release();
    c.run_for(secs(1));
    assert!(c.handle(N3).replica(R1).is_none(), "late messages do not bring it back");
    c.write(R1, "k", "v").expect("acknowledged");
    change(&mut c, vec![N3], vec![]);
    let replica = c.handle(N3).replica(R1).expect("again").descriptor().replica_on(N3).map(|r| r.replica);
    assert_eq!(replica, Some(ReplicaId(4)));
    c.run_until("all have it", secs(2), |c| converged(c, "k", "v"));
}

/// N3 sleeps while it is removed, and hears nobody when it wakes: whoever else knows the range's descriptor may tell it.
#[rstest]
fn a_replica_that_was_removed_goes_when_its_store_learns_of_it(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    let named = c.handle(N1).replica(R1).expect("it leads").descriptor();
    c.crash(N3);
    change(&mut c, vec![], vec![N3]);
    let current = c.handle(N1).replica(R1).expect("it leads").descriptor();
    c.isolate(N3);
    c.start(N3);
    c.handle(N3).left_behind((*named).clone());
    c.run_for(secs(5));
    assert!(c.handle(N3).replica(R1).is_some(), "it was a member then");
    c.handle(N3).left_behind((*current).clone());
    c.run_until("it is gone", secs(1), |c| c.handle(N3).replica(R1).is_none());
}

#[rstest]
fn a_follower_that_slept_through_a_split_catches_up(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.crash(N3);
    for i in 0..20 {
        c.write(R1, &format!("{i:02}"), "before").expect("acknowledged");
    }
    split(&mut c, "10");
    c.run_until("the right side is led", secs(1), |c| c.leaseholder(R2).is_some());
    c.write(R1, "05", "after").expect("acknowledged");
    c.write(R2, "15", "after").expect("acknowledged");
    c.start(N3);
    c.run_until("it has both sides", secs(20), |c| {
        c.handle(N3).descriptors().len() == 2
            && c.value_on(N3, "05").as_deref() == Some("after")
            && c.value_on(N3, "15").as_deref() == Some("after")
    });
    c.check_leases();
}

/// A snapshot of many chunks; the receiver dies again and again on the way.
#[rstest]
fn a_large_snapshot_arrives_through_crashes(#[values(1, 2, 3)] seed: u64) {
    let config = StoreConfig { log_slack_entries: 0, ..StoreConfig::default() };
    let mut c = Cluster::with(3, seed, config, None);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    let value = "x".repeat(100_000);
    for i in 0..40 {
        c.write(R1, &format!("{i:02}"), &value).expect("acknowledged");
    }
    let handle = c.handle(N1);
    let mut growth = Box::pin(async move { handle.change_replicas(R1, vec![N2, N3], vec![]).await });
    let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..8 {
        assert!(growth.as_mut().poll(&mut waker).is_pending(), "crashes come too late");
        let steps = 4 + c.chance.below(12);
        for _ in 0..steps {
            c.step();
            let _ = growth.as_mut().poll(&mut waker);
        }
        if c.is_up(N2) {
            c.crash(N2);
            c.start(N2);
        }
    }
    c.handle(N1).status();
    c.run_until("all have everything", secs(120), |c| {
        converged(c, "00", &value) && converged(c, "39", &value)
    });
}

/// N1 has just split a range, of which N3 has a replica and has slept so long that it needs a snapshot.
fn asleep_at_a_split(seed: u64) -> Cluster {
    let config = StoreConfig { log_slack_entries: 0, ..StoreConfig::default() };
    let mut c = Cluster::with(3, seed, config, None);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    change(&mut c, vec![N2, N3], vec![]);
    c.run_until("all have the descriptor", secs(2), |c| c.handle(N3).descriptors()[0].replicas.len() == 3);
    c.handle(N3).flush().expect("memory");
    c.crash(N3);
    // For a living follower the log would be kept.
    c.run_for(secs(2));
    for i in 0..20 {
        c.write(R1, &format!("{i:02}"), "before").expect("acknowledged");
    }
    split(&mut c, "10");
    c
}

/// N3 sleeps through a split, and so long that it needs snapshots; N2 leads the right side, N1 the left.
fn asleep_through_a_split(seed: u64) -> Cluster {
    let mut c = asleep_at_a_split(seed);
    c.run_until("the right side is led", secs(1), |c| c.leaseholder(R2).is_some());
    c.write(R1, "05", "after").expect("acknowledged");
    c.write(R2, "15", "after").expect("acknowledged");
    let handle = c.handle(N1);
    c.wait(async move { handle.transfer_lease(R2, N2).await }).expect("handed over");
    c.run_until("both have it", secs(2), |c| {
        [N1, N2].iter().all(|n| c.value_on(*n, "15").as_deref() == Some("after"))
    });
    for node in [N1, N2] {
        c.handle(node).flush().expect("memory");
    }
    c.run_for(Duration::from_millis(300));
    let last = c.nodes[&N3].log.state(R1).expect("memory").expect("a log").last_index;
    let kept = c.nodes[&N1].log.state(R1).expect("memory").expect("a log").truncated.0;
    assert!(kept > last, "N3 has up to {last}, N1 from {kept}");
    c
}

/// Whether both sides are led, by replicas that have everything, and N3 has it.
fn both_sides_are_there(c: &Cluster) -> bool {
    c.leaseholder(R1).is_some()
        && c.leaseholder(R2).is_some()
        && c.value_on(N3, "05").as_deref() == Some("after")
        && c.value_on(N3, "15").as_deref() == Some("after")
}

fn has_the_left_side_only(c: &Cluster) -> bool {
    let descriptors = c.handle(N3).descriptors();
    descriptors.len() == 1 && descriptors[0].end == Key::from("10")
}

/// What is remembered on N3 of the right side.
fn vote_of_n3(c: &Cluster) -> (u64, u64, u64) {
    let state = c.nodes[&N3].log.state(R2).expect("memory").unwrap_or_default();
    (state.hard_state.term, state.hard_state.vote, state.last_index)
}

#[rstest]
fn both_sides_of_a_split_come_as_snapshots(#[values(1, 2, 3)] seed: u64) {
    let mut c = asleep_through_a_split(seed);
    c.start(N3);
    c.run_until("it has both sides", secs(20), both_sides_are_there);
    c.check_leases();
}

/// The right side's leader is lost for good; the vote that is missing is that of the node that has nothing of it.
#[rstest]
fn a_voter_without_a_replica_helps_to_elect_a_leader(#[values(1, 2, 3, 4)] seed: u64) {
    let mut c = asleep_through_a_split(seed);
    c.crash(N2);
    c.start(N3);
    c.run_until("the left side comes as a snapshot", secs(10), has_the_left_side_only);
    c.run_until("both sides are led, and there", secs(30), both_sides_are_there);
    c.check_leases();
}

/// The vote is given once in a term, whatever happens to the node that gave it.
#[rstest]
fn the_vote_of_a_voter_without_a_replica_is_remembered(#[values(1, 2, 3, 4)] seed: u64) {
    let mut c = asleep_through_a_split(seed);
    c.crash(N2);
    c.start(N3);
    c.run_until("it has voted", secs(30), |c| vote_of_n3(c).1 != 0);
    let mut given = vote_of_n3(&c);
    assert_eq!(given.2, 0, "before the replica was there");
    for _ in 0..4 {
        c.crash(N3);
        assert!(vote_of_n3(&c) >= given, "{:?} after {given:?}", vote_of_n3(&c));
        c.start(N3);
        let steps = c.chance.below(1000);
        for _ in 0..steps {
            let before = vote_of_n3(&c);
            c.step();
            let after = vote_of_n3(&c);
            assert!(after.0 > before.0 || after.0 == before.0 && (before.1 == 0 || after.1 == before.1));
        }
        given = vote_of_n3(&c);
    }
    c.run_until("both sides are led, and there", secs(30), both_sides_are_there);
    c.check_leases();
}

/// Two candidates of one term ask in the same turn.
#[test]
fn a_voter_without_a_replica_votes_once_in_a_term() {
    let mut c = asleep_through_a_split(1);
    let term = c.leaseholder(R2).expect("N2 leads").1.term + 1;
    c.crash(N2);
    c.start(N3);
    let ask = |c: &Cluster, term: u64, start: &str| {
        let request = |from: u64| {
            let mut m = Message { from, to: 3, term, ..Message::default() };
            m.set_msg_type(MessageType::MsgRequestVote);
            let message = m.write_to_bytes().expect("small").into();
            let (range, from, to) = (R2, ReplicaId(from), ReplicaId(3));
            Envelope::Raft(RaftEnvelope { range, from, to, promise: 0, start: start.into(), message })
        };
        let clock = c.nodes[&N1].clock.now();
        c.handle(N3).receive(MessageBatch {
            from: N1,
            to: N3,
            clock,
            envelopes: vec![request(2), request(1)],
        });
    };
    let soon = Duration::from_millis(10);
    c.hold_raft(N1, N3);
    c.run_for(secs(3));
    ask(&c, term, "10");
    c.run_for(soon);
    assert_eq!(vote_of_n3(&c), (0, 0, 0), "it holds that key as part of another range");
    c.drop_held();
    c.run_until("the left side comes as a snapshot", secs(10), has_the_left_side_only);
    c.hold_raft(N1, N3);
    ask(&c, term, "10");
    c.run_for(soon);
    assert_eq!(vote_of_n3(&c), (term, 2, 0), "whoever asked first");
    c.crash(N3);
    c.start(N3);
    assert!(has_the_left_side_only(&c));
    ask(&c, term + 1, "10");
    c.run_for(soon);
    assert_eq!(vote_of_n3(&c), (term, 2, 0), "it may be bound by a promise that it has forgotten");
    c.run_for(secs(3));
    ask(&c, term + 1, "10");
    c.run_for(soon);
    assert_eq!(vote_of_n3(&c), (term + 1, 2, 0));
}

/// A leader of an earlier term would wait for ever for it to take a snapshot.
#[rstest]
fn a_voter_without_a_replica_tells_the_term_that_it_remembers(#[values(1, 2, 3, 4)] seed: u64) {
    let mut c = asleep_through_a_split(seed);
    let term = c.leaseholder(R2).expect("N2 leads").1.term;
    // As if a candidate had been given the vote and died before anybody else heard of it.
    let log = c.nodes[&N3].log.clone();
    let hard_state = HardState { term: term + 3, vote: 1, commit: 0 };
    log.write(&LogBatch { ops: vec![(R2, LogOp::SetHardState(hard_state))] }, true).expect("memory");
    c.start(N3);
    c.run_until("both sides are led, and there", secs(30), both_sides_are_there);
    assert!(c.leaseholder(R2).expect("led").1.term > term + 3);
    c.check_leases();
}

/// It would come to the replica by the split, and with it what its left side is bound to.
#[rstest]
fn a_voter_that_has_not_applied_a_split_does_not_vote_on_its_right_side(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.run_until("all have it", secs(2), |c| c.handle(N3).descriptors()[0].replicas.len() == 3);
    c.hold_raft(N1, N3);
    split(&mut c, "10");
    c.run_until("the right side is led", secs(1), |c| c.leaseholder(R2).is_some());
    // The left side's leader lives, but N2 does not hear of it; only N3 could make N2 lead.
    c.cut(N1, N2);
    c.run_for(secs(5));
    assert_eq!(vote_of_n3(&c), (0, 0, 0));
    assert!(c.leaseholder(R2).is_none_or(|(node, _)| node == N1));
    c.heal();
    c.release();
    c.run_until("all have both sides", secs(10), |c| {
        c.leaseholder(R2).is_some() && [N1, N2, N3].iter().all(|n| c.handle(*n).descriptors().len() == 2)
    });
    c.check_leases();
}

/// The leaseholder of the left side, which is silent, may not have applied the split yet, and serve the whole. (Here it has; the
/// others cannot know.)
#[rstest]
fn nobody_else_leads_the_right_side_while_the_left_may_serve_it(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.run_until("all have it", secs(2), |c| c.handle(N3).descriptors()[0].replicas.len() == 3);
    // Both answer in the same moment, so both hear at once that it is committed.
    c.max_delay = Duration::from_nanos(1);
    split(&mut c, "10");
    c.pause(N1);
    c.run_for(Duration::from_millis(600));
    assert!([N2, N3].iter().all(|n| c.handle(*n).descriptors().len() == 2), "they have applied it");
    assert!(c.handle(N1).replica(R1).expect("there").lease(c.nodes[&N1].clock.now()).is_ok());
    assert!(c.leaseholder(R2).is_none(), "{:?}", c.leaseholder(R2));
    c.run_until("support runs out", secs(3), |c| c.leaseholder(R2).is_some());
    c.resume(N1);
    c.run_for(secs(2));
    c.check_leases();
}

/// Of four voters one is free and one bound to it, and the two others are bound to that one, who led the left side when they
/// applied the split.
#[rstest]
fn nobody_is_bound_for_ever_to_who_has_applied_the_split_too(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.add_node(N4);
    change(&mut c, vec![N4], vec![]);
    c.run_until("all have it", secs(2), |c| {
        [N2, N3, N4].iter().all(|n| c.handle(*n).descriptors()[0].voters().count() == 4)
    });
    c.hold_raft(N1, N4);
    split(&mut c, "10");
    c.crash(N3);
    c.run_until("N2 hears of it", secs(1), |c| c.handle(N2).descriptors().len() == 2);
    let handle = c.handle(N1);
    c.wait(async move { handle.transfer_lease(R1, N2).await }).expect("handed over");
    c.start(N3);
    c.run_until("the others hear of it from N2", secs(5), |c| {
        [N3, N4].iter().all(|n| c.handle(*n).descriptors().len() == 2)
    });
    c.drop_held();
    c.run_until("the right side is led", secs(10), |c| c.leaseholder(R2).is_some());
    c.check_leases();
}

/// The others are bound to who led the left side when they applied the split; but it got the left side as a snapshot.
#[rstest]
fn nobody_is_bound_for_ever_to_who_has_nothing_of_the_right_side(#[values(1, 2, 3)] seed: u64) {
    let mut c = asleep_at_a_split(seed);
    // N2 does not hear that it is committed.
    c.cut(N1, N2);
    c.handle(N1).flush().expect("memory");
    c.run_for(Duration::from_millis(20));
    c.start(N3);
    c.run_until("the left side comes as a snapshot", secs(1), has_the_left_side_only);
    let handle = c.handle(N1);
    c.wait(async move { handle.transfer_lease(R1, N3).await }).expect("handed over");
    c.crash(N1);
    assert_eq!(vote_of_n3(&c), (0, 0, 0), "nobody leads the right side");
    c.run_until("N2 hears of it from N3", secs(5), |c| c.handle(N2).descriptors().len() == 2);
    c.run_until("both sides are led", secs(20), |c| {
        c.leaseholder(R1).is_some() && c.leaseholder(R2).is_some()
    });
    c.check_leases();
}
