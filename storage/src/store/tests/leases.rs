//! One scenario for each of the ways in which two nodes could come to serve the same moment. Each breaks when the rule it
//! is about is taken out.

use std::time::Duration;

use rstest::rstest;

use super::{N1, N2, N3, R1, secs, three};
use crate::store::testing::Cluster;

fn run_checked(c: &mut Cluster, d: Duration) {
    let until = c.now() + d;
    while c.now() < until {
        c.step();
        c.check_leases();
    }
}

fn leader_is(c: &Cluster, n: crate::base::NodeId) -> bool {
    c.leaseholder(R1).is_some_and(|(l, _)| l == n)
}

/// The leader's clock is ahead, that of its successors behind.
fn skewed(seed: u64) -> Cluster {
    let mut c = three(seed);
    c.skew(N1, 200_000_000);
    c.skew(N2, -200_000_000);
    run_checked(&mut c, secs(2));
    assert!(leader_is(&c, N1));
    c
}

/// The third node hears the second but not the leader. The second has promised itself to the leader, and does not help
/// the third to power.
#[rstest]
fn a_voter_keeps_its_promise(#[values(1, 2, 3)] seed: u64) {
    let mut c = skewed(seed);
    c.cut(N1, N3);
    run_checked(&mut c, secs(8));
    assert!(leader_is(&c, N1), "the majority was never in doubt");
    let (_, lease) = c.leaseholder(R1).expect("just seen");
    c.heal();
    run_checked(&mut c, secs(3));
    assert_eq!(c.leaseholder(R1), Some((N1, lease)), "and nobody raised the term");
}

/// The leader's process is stopped for long and wakes up: others have taken over. Support that it gets again is of a new
/// epoch, in which nobody has promised it anything.
#[rstest]
fn a_leader_that_slept_serves_nothing(#[values(1, 2, 3, 4, 5, 6)] seed: u64) {
    let mut c = skewed(seed);
    // Raft's messages about the new term are late, those about support are not.
    c.hold_raft(N2, N1);
    c.hold_raft(N3, N1);
    c.pause(N1);
    run_checked(&mut c, secs(5));
    assert!(c.leaseholder(R1).is_some_and(|(n, _)| n != N1));
    c.resume(N1);
    run_checked(&mut c, secs(1));
    c.release();
    run_checked(&mut c, secs(2));
    c.write(R1, "k", "v").expect("acknowledged");
}

/// The second node restarts and has forgotten its promise to the leader, which is cut off but still covered by it.
#[rstest]
fn a_restarted_voter_waits(#[values(1, 2, 3, 4, 5, 6)] seed: u64) {
    let mut c = skewed(seed);
    c.cut(N1, N3);
    run_checked(&mut c, secs(4));
    c.crash(N2);
    c.start(N2);
    c.isolate(N1);
    run_checked(&mut c, secs(8));
    assert!(c.leaseholder(R1).is_some_and(|(n, _)| n != N1));
}

/// Leadership is handed over again and again; each lease starts above what the last one served.
#[rstest]
fn a_transfer_ends_the_old_lease_first(#[values(1, 2, 3)] seed: u64) {
    let mut c = skewed(seed);
    for to in [N2, N3, N1, N2, N1] {
        let (from, _) = c.leaseholder(R1).expect("a lease");
        let handle = c.handle(from);
        let done = wait_checked(&mut c, async move { handle.transfer_lease(R1, to).await });
        done.expect("handed over");
        c.run_until("the new lease", secs(2), |c| {
            c.check_leases();
            leader_is(c, to)
        });
    }
}

/// Waits and checks at every step.
fn wait_checked<T>(c: &mut Cluster, f: impl Future<Output = T> + Send) -> T {
    c.wait_checking(f, Cluster::check_leases)
}

/// The order to take over is lost. The old leader may not serve on in its term; it wins a new one.
#[rstest]
fn a_lost_transfer_costs_a_term(#[values(1, 2, 3)] seed: u64) {
    let mut c = skewed(seed);
    let (_, before) = c.leaseholder(R1).expect("a lease");
    c.hold_raft(N1, N2);
    let handle = c.handle(N1);
    let answer = wait_checked(&mut c, async move { handle.transfer_lease(R1, N2).await });
    assert!(answer.is_err());
    c.drop_held();
    run_checked(&mut c, secs(3));
    let (_, after) = c.leaseholder(R1).expect("a lease");
    assert!(after.term > before.term && after.start > before.start);
}

/// The successor is elected without a word to the old leader, which has promised not to serve.
#[rstest]
fn a_leader_that_hands_over_is_silent(#[values(1, 2, 3)] seed: u64) {
    let mut c = skewed(seed);
    c.hold_raft(N2, N1);
    c.hold_raft(N3, N1);
    let handle = c.handle(N1);
    let answer = wait_checked(&mut c, async move { handle.transfer_lease(R1, N2).await });
    assert!(answer.is_err(), "not that it would know");
    assert!(leader_is(&c, N2));
    c.release();
    run_checked(&mut c, secs(2));
}

/// All voters but the leader are replaced at once; nobody of the old configuration can be outvoted unheard.
#[rstest]
fn leases_hold_through_changes_of_configuration(#[values(1, 2, 3)] seed: u64) {
    let mut c = skewed(seed);
    let (n4, n5) = (crate::base::NodeId(4), crate::base::NodeId(5));
    c.add_node(n4);
    c.add_node(n5);
    c.skew(n4, -150_000_000);
    let handle = c.handle(N1);
    c.wait_checking(
        async move { handle.change_replicas(R1, vec![n4, n5], vec![N2, N3]).await },
        Cluster::check_leases,
    )
    .expect("changed");
    c.isolate(N1);
    run_checked(&mut c, secs(6));
    assert!(c.leaseholder(R1).is_some_and(|(n, _)| n == n4 || n == n5));
    for n in [N2, N3] {
        assert!(c.handle(n).replica(R1).is_none(), "{n} is removed");
    }
}

/// A leader has lost its office with a command in flight, and is elected again before it would have given that up. What it
/// proposes then is no part of that: as long as it leads, nobody may be told that the outcome is unknown, since whoever is
/// told so no longer keeps readers from what may yet be applied.
#[rstest]
fn who_leads_again_gives_nothing_up(#[values(1, 2, 3)] seed: u64) {
    let mut c = skewed(seed);
    c.hold_raft(N1, N2);
    c.hold_raft(N1, N3);
    let first = c.start_write(R1, "k", "1").expect("the leader takes it");
    run_checked(&mut c, Duration::from_millis(50));
    let handle = c.handle(N1);
    let answer = wait_checked(&mut c, async move { handle.transfer_lease(R1, N2).await });
    assert!(answer.is_err(), "the order was held up");
    let lost = c.now();
    c.drop_held();
    c.run_until("the same leader, in another term", secs(2), |c| leader_is(c, N1));
    c.wait(first).expect("its own log has it");
    // Until the moment at which the first would have been given up, and beyond, a second is in flight.
    let soon = (lost + Duration::from_millis(2700)).saturating_sub(c.now());
    run_checked(&mut c, soon);
    assert!(leader_is(&c, N1));
    c.hold_raft(N1, N2);
    c.hold_raft(N1, N3);
    let mut second = c.start_write(R1, "k", "2").expect("the leader takes it");
    run_checked(&mut c, Duration::from_millis(800));
    let early = futures::FutureExt::now_or_never(&mut second);
    assert!(early.is_none(), "answered while it may still be applied: {early:?}");
    c.release();
    c.wait(second).expect("applied");
}
