//! Replicas that come, go, lag behind and return.

use rstest::rstest;

use super::{N1, N2, N3, R1, converged, secs, three};
use crate::base::{Key, NodeId, RangeId, ReplicaId, Timestamp};
use crate::store::StoreConfig;
use crate::store::testing::Cluster;

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

#[rstest]
fn a_follower_that_slept_through_a_split_catches_up(
    #[values(1, 2, 3)] seed: u64,
    #[values(false, true)] far: bool,
) {
    let config = StoreConfig { log_slack_entries: 0, ..StoreConfig::default() };
    let mut c = Cluster::with(3, seed, config, None);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    change(&mut c, vec![N2, N3], vec![]);
    c.crash(N3);
    for i in 0..20 {
        c.write(R1, &format!("{i:02}"), "before").expect("acknowledged");
    }
    split(&mut c, "10");
    c.run_until("the right side is led", secs(1), |c| c.leaseholder(R2).is_some());
    c.write(R1, "05", "after").expect("acknowledged");
    c.write(R2, "15", "after").expect("acknowledged");
    if far {
        // The log it would need is gone: both sides come as snapshots.
        c.handle(N1).flush().expect("memory");
        c.handle(N2).flush().expect("memory");
        c.run_for(secs(1));
    }
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
