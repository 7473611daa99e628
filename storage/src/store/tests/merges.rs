//! Two ranges that become one, whatever happens on the way.

use std::time::Duration;

use futures::FutureExt;
use futures::future::Fuse;
use rstest::rstest;

use super::{N1, N2, N3, R1, converged, secs, three};
use crate::base::{BoxFuture, Key, NodeId, RangeId, ReplicaId, StorageResult, Timestamp};
use crate::log::LogStore;
use crate::replica::Merging;
use crate::store::StoreConfig;
use crate::store::testing::Cluster;
use crate::store::transport::{Envelope, MergeAttempt, MessageBatch, Wish};

const R2: RangeId = RangeId(2);
const ALL: [NodeId; 3] = [N1, N2, N3];

/// Three nodes with both halves of the first range, which N1 leads; each has a row.
fn halves(seed: u64) -> Cluster {
    divided(three(seed))
}

/// As [`halves`]; logs are cut short as soon as they may.
fn halves_with_short_logs(seed: u64) -> Cluster {
    let config = StoreConfig { log_slack_entries: 0, ..StoreConfig::default() };
    let mut c = Cluster::with(3, seed, config, None);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    let handle = c.handle(N1);
    c.wait(async move { handle.change_replicas(R1, vec![N2, N3], vec![]).await }).expect("two more");
    divided(c)
}

fn divided(mut c: Cluster) -> Cluster {
    let handle = c.handle(N1);
    c.wait(async move { handle.split(R1, Key::from("m"), R2).await }).expect("split");
    c.run_until("the right side is led", secs(1), |c| c.leaseholder(R2).is_some());
    c.write(R1, "a", "left").expect("acknowledged");
    c.write(R2, "x", "right").expect("acknowledged");
    c.run_until("all have it", secs(2), |c| converged(c, "a", "left") && converged(c, "x", "right"));
    c
}

type Merge = Fuse<BoxFuture<'static, StorageResult<()>>>;

fn begin(c: &Cluster) -> Merge {
    let handle = c.handle(N1);
    let merge: BoxFuture<'static, _> = Box::pin(async move { handle.merge(R1).await.map(drop) });
    merge.fuse()
}

fn merge(c: &mut Cluster) {
    let merge = begin(c);
    c.wait_checking(merge, Cluster::check_leases).expect("merged");
}

fn poll(f: &mut Merge) -> Option<StorageResult<()>> {
    match f.poll_unpin(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(result) => Some(result),
        std::task::Poll::Pending => None,
    }
}

fn merging(c: &Cluster, node: NodeId, range: RangeId) -> Option<Merging> {
    Some(c.nodes[&node].handle.as_ref()?.replica(range)?.descriptor().merging)
}

fn is_frozen(c: &Cluster, node: NodeId) -> bool {
    matches!(merging(c, node, R2), Some(Merging::Frozen { .. }))
}

fn is_one_range(c: &Cluster) -> bool {
    ALL.iter().all(|n| c.handle(*n).descriptors().len() == 1) && c.leaseholder(R1).is_some()
}

fn are_two_ranges(c: &Cluster) -> bool {
    let whole = |n: &NodeId| [R1, R2].iter().all(|r| merging(c, *n, *r) == Some(Merging::No));
    ALL.iter().all(whole) && c.leaseholder(R1).is_some() && c.leaseholder(R2).is_some()
}

/// Nothing is in the middle of anything, and what was acknowledged is there and can be overwritten.
fn is_in_order(c: &mut Cluster) {
    c.run_until("one range or two", secs(40), |c| {
        c.check_leases();
        is_one_range(c) || are_two_ranges(c)
    });
    let right = if is_one_range(c) { R1 } else { R2 };
    c.run_until("all have what was acknowledged", secs(10), |c| {
        converged(c, "a", "left") && converged(c, "x", "right")
    });
    c.write(R1, "a", "left again").expect("acknowledged");
    c.write(right, "x", "right again").expect("acknowledged");
    c.run_until("all have it", secs(5), |c| {
        converged(c, "a", "left again") && converged(c, "x", "right again")
    });
}

#[rstest]
fn two_ranges_become_one(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    let generation = c.handle(N1).replica(R1).expect("there").descriptor().generation;
    let started = c.now();
    merge(&mut c);
    assert!(c.now() - started < Duration::from_millis(300), "took {:?}", c.now() - started);
    let merged = c.handle(N1).replica(R1).expect("there").descriptor();
    assert_eq!((merged.start.clone(), merged.merging), (Key::MIN, Merging::No));
    assert!(merged.contains(b"x") && merged.generation > generation + 1);
    c.write(R1, "x", "merged").expect("acknowledged");
    c.run_until("all have it", secs(2), |c| is_one_range(c) && converged(c, "x", "merged"));
    for node in ALL {
        assert!(c.events(node).contains(&format!("{R1} up to {:?} takes in {R2}", Key::from("m"))));
        assert!(c.handle(node).replica_for_key(b"x").is_some_and(|r| r.range_id() == R1));
    }
    // Nothing of the right range is left, nor comes back.
    for node in ALL {
        c.handle(node).flush().expect("memory");
    }
    c.run_for(secs(1));
    for node in ALL {
        assert!(c.nodes[&node].log.state(R2).expect("memory").is_none());
        c.crash(node);
        c.start(node);
    }
    c.run_until("it is led again", secs(10), |c| c.leaseholder(R1).is_some());
    assert!(is_one_range(&c) && converged(&c, "x", "merged"));
}

/// All that was not flushed is lost, in one or all nodes: the merge is applied again, to a right side that must come as far
/// again.
#[rstest]
fn a_merge_is_replayed(#[values(1, 2, 3, 4, 5, 6)] seed: u64, #[values(false, true)] all: bool) {
    let mut c = halves(seed);
    for node in ALL {
        c.handle(node).flush().expect("memory");
    }
    for i in 0..10 {
        c.write(R2, &format!("y{i}"), "unflushed").expect("acknowledged");
    }
    merge(&mut c);
    c.write(R1, "z", "after").expect("acknowledged");
    for node in if all { &ALL[..] } else { &ALL[2..] } {
        c.crash(*node);
    }
    for node in ALL.iter().filter(|n| all || **n == N3) {
        c.start(*node);
    }
    c.run_until("all have it", secs(20), |c| is_one_range(c) && converged(c, "z", "after"));
    assert!((0..10).all(|i| converged(&c, &format!("y{i}"), "unflushed")));
    is_in_order(&mut c);
}

/// Whoever dies, and whenever: it comes to one range or to two.
#[rstest]
fn a_node_may_die_at_any_moment(
    #[values(1)] seed: u64,
    #[values(N1, N2, N3)] node: NodeId,
    #[values(N1, N2)] leads_right: NodeId,
) {
    for steps in (0..40).step_by(3) {
        let mut c = halves(seed * 100 + steps);
        lead_right(&mut c, leads_right);
        let mut merge = begin(&c);
        for _ in 0..steps {
            let _ = poll(&mut merge);
            c.step();
            c.check_leases();
        }
        c.crash(node);
        let asleep = Duration::from_millis(c.chance.below(3000));
        c.run_for(asleep);
        c.start(node);
        is_in_order(&mut c);
    }
}

fn lead_right(c: &mut Cluster, node: NodeId) {
    if c.leaseholder(R2).is_none_or(|(holder, _)| holder != node) {
        let handle = c.handle(N1);
        c.wait(async move { handle.transfer_lease(R2, node).await }).expect("handed over");
        c.run_until("it leads", secs(1), |c| c.leaseholder(R2).is_some_and(|(n, _)| n == node));
    }
}

/// As when it dies, but it does not know that anything has happened.
#[rstest]
fn a_node_may_be_cut_off_at_any_moment(#[values(1)] seed: u64, #[values(N1, N2, N3)] node: NodeId) {
    for steps in (0..40).step_by(3) {
        let mut c = halves(seed * 100 + steps);
        lead_right(&mut c, N2);
        let mut merge = begin(&c);
        for _ in 0..steps {
            let _ = poll(&mut merge);
            c.step();
        }
        c.isolate(node);
        for _ in 0..2000 {
            c.step();
            c.check_leases();
        }
        c.heal();
        is_in_order(&mut c);
    }
}

/// One node says nothing: the right range is not frozen at all.
#[test]
fn nothing_is_frozen_while_a_node_is_away() {
    let mut c = halves(1);
    c.crash(N3);
    let merge = begin(&c);
    c.wait_checking(merge, |c| assert!(!is_frozen(c, N1) && !is_frozen(c, N2))).expect_err("N3 is away");
    assert!(c.leaseholder(R2).is_some());
}

/// N3 knows that the right range is frozen, and nothing of the merge.
fn asleep_at_the_merge(seed: u64, make: fn(u64) -> Cluster) -> Cluster {
    let mut c = make(seed);
    lead_right(&mut c, N2);
    let mut merge = begin(&c);
    for _ in 0..500 {
        let _ = poll(&mut merge);
        c.step();
        if is_frozen(&c, N3) {
            break;
        }
    }
    for from in [N1, N2] {
        c.hold_raft(from, N3);
    }
    c.wait(merge).expect("a majority is enough for the last step");
    assert!(is_frozen(&c, N3), "it has not heard of it");
    c.run_until("the others have merged", secs(2), |c| c.handle(N2).descriptors().len() == 1);
    c
}

/// It wakes up with both ranges, and with nobody else. The right one is led by nobody, however often it asks for votes.
#[rstest]
fn a_sleeper_wakes_up_with_both_ranges(#[values(1, 2, 3)] seed: u64, #[values(false, true)] dies: bool) {
    let mut c = asleep_at_the_merge(seed, halves);
    c.write(R1, "x", "merged").expect("acknowledged");
    if dies {
        c.crash(N3);
        c.drop_held();
        c.isolate(N3);
        c.start(N3);
    } else {
        c.isolate(N3);
        c.drop_held();
    }
    for _ in 0..3000 {
        c.step();
        c.check_leases();
    }
    assert!(c.handle(N3).replica(R2).is_some());
    c.heal();
    c.run_until("it has merged, too", secs(20), |c| is_one_range(c) && converged(c, "x", "merged"));
    c.write(R1, "x", "right").expect("acknowledged");
    c.run_until("all have it", secs(5), |c| converged(c, "x", "right"));
    is_in_order(&mut c);
}

/// The log that tells of the merge is gone: the merged range comes as a snapshot, to a node that has the right one still.
#[rstest]
fn a_snapshot_takes_the_place_of_both(#[values(1, 2, 3)] seed: u64, #[values(false, true)] crash: bool) {
    let mut c = asleep_at_the_merge(seed, halves_with_short_logs);
    c.drop_held();
    c.isolate(N3);
    c.run_for(secs(3));
    for i in 0..20 {
        c.write(R1, &format!("y{i:02}"), "late").expect("acknowledged");
    }
    for node in [N1, N2] {
        c.handle(node).flush().expect("memory");
    }
    c.run_for(Duration::from_millis(300));
    let last = c.nodes[&N3].log.state(R1).expect("memory").expect("a log").last_index;
    let kept = c.nodes[&N1].log.state(R1).expect("memory").expect("a log").truncated.0;
    assert!(kept > last, "N3 has up to {last}, N1 from {kept}");
    c.heal();
    if crash {
        // In the middle of it, again and again.
        for _ in 0..6 {
            let steps = 20 + c.chance.below(60);
            for _ in 0..steps {
                c.step();
            }
            c.crash(N3);
            c.start(N3);
        }
    }
    c.run_until("it is there", secs(40), |c| {
        c.check_leases();
        is_one_range(c) && converged(c, "y19", "late")
    });
    assert!(!c.events(N3).iter().any(|e| e.contains("takes in")) || crash, "by snapshot");
    is_in_order(&mut c);
}

/// What was merged is split again at the same key. The new right side comes to N3, which has the old one still, and a left
/// side that will need it.
#[rstest]
fn what_is_to_be_taken_in_is_not_replaced_by_what_was_split_off_since(#[values(1, 2, 3)] seed: u64) {
    let mut c = asleep_at_the_merge(seed, halves);
    c.drop_held();
    c.hold_raft(N1, N3);
    let right = RangeId(3);
    let handle = c.handle(N1);
    c.wait(async move { handle.split(R1, Key::from("m"), right).await }).expect("split");
    c.run_until("it is led", secs(2), |c| c.leaseholder(right).is_some());
    let handle = c.handle(N1);
    c.wait(async move { handle.transfer_lease(right, N2).await }).expect("handed over");
    c.run_for(secs(2));
    assert!(is_frozen(&c, N3), "N2 sends it snapshots");
    c.release();
    c.run_until("all have both", secs(20), |c| {
        c.check_leases();
        let of = |n| c.handle(n).descriptors().iter().map(|d| d.range).collect::<Vec<_>>();
        ALL.iter().all(|n| of(*n) == [R1, right])
    });
    c.write(right, "x", "right again").expect("acknowledged");
    c.run_until("all have it", secs(5), |c| converged(c, "x", "right again"));
}

/// The right range's leader dies while it is frozen, and one node holds the merge up. Another leads, and serves nothing until
/// the merge is given up.
#[rstest]
fn whoever_leads_a_frozen_range_serves_nothing(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    lead_right(&mut c, N2);
    c.hold_raft(N2, N3);
    let mut merge = begin(&c);
    for _ in 0..500 {
        let _ = poll(&mut merge);
        c.step();
        if is_frozen(&c, N1) && is_frozen(&c, N2) {
            break;
        }
    }
    assert!(c.leaseholder(R2).is_none(), "frozen");
    c.crash(N2);
    c.drop_held();
    // The attempt is given up only when the range can be let go: until then there is no lease.
    c.run_until("it is let go", secs(30), |c| {
        c.check_leases();
        assert!(c.leaseholder(R2).is_none() || [N1, N3].iter().any(|n| !is_frozen(c, *n)));
        c.leaseholder(R2).is_some() && merging(c, N1, R1) == Some(Merging::No)
    });
    c.run_for(Duration::from_millis(100));
    assert!(poll(&mut merge).is_some_and(|r| r.is_err()));
    c.start(N2);
    is_in_order(&mut c);
}

/// A freeze of an attempt that was given up comes late.
#[rstest]
fn a_late_freeze_is_of_no_use(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    lead_right(&mut c, N2);
    let of = MergeAttempt {
        left: R1,
        attempt: c.handle(N1).replica(R1).expect("there").descriptor().generation + 1,
        right: R2,
        generation: c.handle(N1).replica(R2).expect("there").descriptor().generation,
    };
    let mut merge = begin(&c);
    let begun = |c: &Cluster| merging(c, N1, R1).is_some_and(|m| m != Merging::No);
    for _ in 0..500 {
        let _ = poll(&mut merge);
        c.step();
        if begun(&c) {
            break;
        }
    }
    // Nothing of it gets out, so it is never frozen; then it is given up.
    c.cut(N1, N2);
    c.run_until("given up", secs(30), |c| {
        let _ = poll(&mut merge);
        c.check_leases();
        merging(c, N1, R1).is_some_and(|m| !matches!(m, Merging::Absorbing { .. }))
    });
    c.heal();
    c.run_until("two ranges", secs(30), are_two_ranges);
    let now = c.nodes[&N2].clock.now();
    let envelopes = vec![Envelope::AskRight { of, wish: Wish::Freeze }];
    c.handle(N2).receive(MessageBatch { from: N1, to: N2, clock: now, envelopes });
    c.run_for(secs(1));
    assert!(are_two_ranges(&c));
    is_in_order(&mut c);
}

/// The right range's leaseholder has a clock that is ahead. The left one's leaseholder learns of it before it takes over.
#[rstest]
fn what_the_right_range_has_served_is_known(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    lead_right(&mut c, N2);
    c.skew(N2, 200_000_000);
    c.run_for(Duration::from_millis(20));
    let mut served = Timestamp::ZERO;
    let mut merge = begin(&c);
    for _ in 0..500 {
        let now = c.nodes[&N2].clock.now();
        if c.handle(N2).replica(R2).is_some_and(|r| r.lease(now).is_ok()) {
            served = now;
        }
        if poll(&mut merge).is_some() {
            break;
        }
        c.step();
    }
    let untils = c.nodes[&N1].recorder.untils.lock().clone();
    assert!(untils.len() == 1 && untils[0] > served, "{untils:?} {served}");
    c.check_leases();
}

#[test]
fn the_higher_threshold_of_garbage_holds() {
    for (left, right) in [(100, 80), (80, 100)] {
        let mut c = halves(1);
        c.raise_gc_threshold(R1, Timestamp::new(left, 0)).expect("applied");
        c.raise_gc_threshold(R2, Timestamp::new(right, 0)).expect("applied");
        merge(&mut c);
        let of = |c: &Cluster, node| c.handle(node).replica(R1).expect("a replica").gc_threshold();
        c.run_until("all have it", secs(2), |c| ALL.iter().all(|n| of(c, *n) == Timestamp::new(100, 0)));
        c.handle(N3).flush().expect("memory");
        c.crash(N3);
        c.start(N3);
        assert_eq!(of(&c, N3), Timestamp::new(100, 0));
    }
}

/// The one that comes second is refused, and what was begun goes on.
#[rstest]
fn splits_and_changes_of_replicas_are_refused_meanwhile(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    c.add_node(NodeId(4));
    let merge = begin(&c);
    let (one, two) = (c.handle(N1), c.handle(N1));
    let all = async move {
        futures::join!(
            merge,
            one.split(R2, Key::from("t"), RangeId(3)),
            two.change_replicas(R1, vec![NodeId(4)], vec![])
        )
    };
    let (merged, split, changed) = c.wait_checking(all, Cluster::check_leases);
    assert!(merged.is_err() || split.is_err() && changed.is_err(), "{merged:?} {split:?} {changed:?}");
    c.run_until("nothing is under way", secs(20), |c| {
        let ranges: Vec<_> = c.handle(N1).descriptors();
        ranges.iter().all(|d| d.merging == Merging::No && c.leaseholder(d.range).is_some())
    });
    c.write(R1, "a", "still").expect("acknowledged");
}

/// What is begun is not changed under it.
#[rstest]
fn a_range_in_a_merge_is_not_changed(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    c.add_node(NodeId(4));
    let mut merge = begin(&c);
    for _ in 0..500 {
        let _ = poll(&mut merge);
        c.step();
        if matches!(merging(&c, N1, R1), Some(Merging::Absorbing { .. })) {
            break;
        }
    }
    let (one, two) = (c.handle(N1), c.handle(N1));
    let changes = async move {
        let split = one.split(R1, Key::from("g"), RangeId(3)).await;
        (split, two.change_replicas(R1, vec![NodeId(4)], vec![]).await)
    };
    let (split, changed) = c.wait(changes);
    assert!(split.is_err() && changed.is_err(), "{split:?} {changed:?}");
    c.wait(merge).expect("merged");
    c.run_until("all have merged", secs(5), is_one_range);
}

/// A replica that had been removed from the right range and has not heard of it is told by those who have absorbed it.
#[rstest]
fn who_was_removed_before_the_merge_is_told(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    c.add_node(NodeId(4));
    lead_right(&mut c, N1);
    for range in [R1, R2] {
        let handle = c.handle(N1);
        c.wait(async move { handle.change_replicas(range, vec![NodeId(4)], vec![]).await }).expect("four");
    }
    let has_both = |c: &Cluster| c.handle(NodeId(4)).descriptors().len() == 2;
    c.run_until("it has both", secs(10), has_both);
    c.isolate(NodeId(4));
    c.run_for(secs(3));
    for range in [R1, R2] {
        let handle = c.handle(N1);
        c.wait(async move { handle.change_replicas(range, vec![], vec![NodeId(4)]).await }).expect("three");
    }
    merge(&mut c);
    assert!(has_both(&c));
    c.heal();
    c.run_until("it is told", secs(30), |c| c.handle(NodeId(4)).descriptors().is_empty());
    assert_eq!(c.value_on(NodeId(4), "x"), None);
    c.check_leases();
    let id = c.handle(N1).replica(R1).expect("there").descriptor().next_replica;
    assert!(id > ReplicaId(3));
}

const R3: RangeId = RangeId(3);

fn split(c: &mut Cluster, range: RangeId, at: &str, right: RangeId) {
    let (handle, at) = (c.handle(N1), Key::from(at));
    c.wait(async move { handle.split(range, at, right).await }).expect("split");
    c.run_until("the new right side is led", secs(2), |c| c.leaseholder(right).is_some());
}

fn are_everywhere(c: &Cluster, ranges: &[RangeId]) -> bool {
    let of = |n| c.handle(n).descriptors().iter().map(|d| d.range).collect::<Vec<_>>();
    ALL.iter().all(|n| of(*n) == ranges)
}

/// The left side comes to N3 as a snapshot from after the merge, and after a split: it will not take in the frozen range there,
/// which is in the way of what was split off.
#[rstest]
fn what_nobody_will_take_in_any_more_makes_room(#[values(1, 2, 3)] seed: u64) {
    let mut c = asleep_at_the_merge(seed, halves_with_short_logs);
    c.drop_held();
    c.isolate(N3);
    c.run_for(secs(3));
    split(&mut c, R1, "m", R3);
    for i in 0..20 {
        c.write(R1, &format!("b{i:02}"), "late").expect("acknowledged");
    }
    c.write(R3, "x", "late").expect("acknowledged");
    for node in [N1, N2] {
        c.handle(node).flush().expect("memory");
    }
    c.run_for(Duration::from_millis(300));
    let last = c.nodes[&N3].log.state(R1).expect("memory").expect("a log").last_index;
    let kept = c.nodes[&N1].log.state(R1).expect("memory").expect("a log").truncated.0;
    assert!(kept > last, "N3 has up to {last}, N1 from {kept}");
    c.heal();
    c.run_until("all have both", secs(60), |c| {
        c.check_leases();
        are_everywhere(c, &[R1, R3]) && converged(c, "b19", "late") && converged(c, "x", "late")
    });
}

/// N3 has the right side and has not applied the split that makes the left one. If the merge were made, it would hear that the
/// right side is gone, and the left one, when it comes, would wait for it for ever.
#[rstest]
fn a_left_side_that_is_not_there_yet_holds_up_the_merge(#[values(1, 2, 3)] seed: u64) {
    let mut c = halves(seed);
    lead_right(&mut c, N2);
    c.hold_raft(N1, N3);
    split(&mut c, R1, "g", R3);
    let handle = c.handle(N1);
    let early = c.wait_checking(async move { handle.merge(R3).await.map(drop) }, Cluster::check_leases);
    assert!(c.handle(N3).replica(R3).is_none(), "it has not heard of the split");
    c.run_for(secs(8));
    c.release();
    let handle = c.handle(N1);
    // It may not be the leaseholder's to hand over yet.
    let _ = c.wait(async move { handle.transfer_lease(R3, N2).await });
    c.run_until("the split has come to all", secs(20), |c| {
        c.check_leases();
        ALL.iter().all(|n| c.handle(*n).replica(R3).is_some()) && c.leaseholder(R3).is_some()
    });
    early.expect_err("N3 has no left side");
    let (holder, _) = c.leaseholder(R3).expect("led");
    let handle = c.handle(holder);
    c.wait_checking(async move { handle.merge(R3).await }, Cluster::check_leases).expect("merged");
    c.run_until("all have merged", secs(20), |c| are_everywhere(c, &[R1, R3]) && converged(c, "x", "right"));
}
