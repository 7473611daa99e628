//! Clocks that go wrong: who is fenced, what becomes of its leases, and that nothing is served twice meanwhile.

use std::time::Duration;

use rstest::rstest;

use super::{N1, N2, N3, R1, secs, three};
use crate::base::{NodeId, Unsound};
use crate::store::testing::Cluster;

const SECOND: i64 = 1_000_000_000;

fn run_checked(c: &mut Cluster, d: Duration) {
    let until = c.now() + d;
    while c.now() < until {
        c.step();
        c.check_leases();
    }
}

fn holder(c: &Cluster) -> Option<NodeId> {
    c.leaseholder(R1).map(|(node, _)| node)
}

fn unsound(c: &Cluster, node: NodeId) -> Option<Unsound> {
    c.nodes[&node].clock.unsound()
}

/// Both clocks of a machine run wrong, by a tenth of the bound in a second, until the node is fenced and beyond.
fn drift_away(c: &mut Cluster, node: NodeId, forwards: bool) {
    c.drift(node, if forwards { 50_000 } else { -50_000 });
    run_checked(c, secs(15));
    c.drift(node, 0);
    assert!(matches!(unsound(c, node), Some(Unsound::Off { .. })), "{:?}", unsound(c, node));
}

/// Somebody sets the machine's wall clock right.
fn put_right(c: &mut Cluster, node: NodeId) {
    c.jump(node, -c.skew_of(node));
}

#[rstest]
fn a_leaseholder_whose_clock_drifts_away_gives_its_lease_away(
    #[values(true, false)] forwards: bool,
    #[values(1, 2)] seed: u64,
) {
    let mut c = three(seed);
    c.write(R1, "k", "v").expect("acknowledged");
    drift_away(&mut c, N1, forwards);
    assert_eq!((unsound(&c, N2), unsound(&c, N3)), (None, None));
    let to = holder(&c).expect("somebody serves");
    assert_ne!(to, N1);
    c.write(R1, "k", "w").expect("acknowledged");
    // It follows, and its voice counts: with it and one other there is a majority.
    let third = [N2, N3].into_iter().find(|n| *n != to).expect("two others");
    c.crash(third);
    run_checked(&mut c, secs(3));
    c.write(R1, "k2", "x").expect("acknowledged by two");
    c.run_until("it has it", secs(1), |c| c.value_on(N1, "k2").as_deref() == Some("x"));
    c.start(third);
    put_right(&mut c, N1);
    run_checked(&mut c, secs(4));
    assert_eq!(unsound(&c, N1), None, "it rejoins by itself");
}

/// The machine's wall clock alone jumps: the node goes on by time as it passes, and keeps its lease.
#[rstest]
fn a_leaseholder_whose_machines_clock_jumps_keeps_its_lease(
    #[values(10 * SECOND, -3600 * SECOND)] by: i64,
    #[values(1, 2)] seed: u64,
) {
    let mut c = three(seed);
    let before = c.leaseholder(R1).expect("led");
    c.jump(N1, by);
    c.step();
    run_checked(&mut c, secs(3));
    assert_eq!(unsound(&c, N1), None);
    assert_eq!(c.nodes[&N1].clock.fence_counts().raised, 1, "until the others had spoken");
    assert_eq!(c.leaseholder(R1), Some(before));
    c.jump(N1, -by);
    run_checked(&mut c, secs(3));
    assert_eq!((unsound(&c, N1), c.leaseholder(R1)), (None, Some(before)));
}

#[rstest]
fn a_node_that_starts_with_a_wrong_clock_follows_and_leads_nothing(
    #[values(20 * SECOND, -20 * SECOND)] by: i64,
    #[values(1, 2)] seed: u64,
) {
    let mut c = three(seed);
    c.write(R1, "k", "v").expect("acknowledged");
    c.crash(N1);
    run_checked(&mut c, secs(4));
    c.jump(N1, by);
    c.start(N1);
    run_checked(&mut c, secs(3));
    assert!(matches!(unsound(&c, N1), Some(Unsound::Off { .. })), "{:?}", unsound(&c, N1));
    let leader = holder(&c).expect("led");
    // Its vote is needed now.
    c.crash(leader);
    run_checked(&mut c, secs(6));
    let next = holder(&c).expect("led again");
    assert!(next != N1 && next != leader);
    c.write(R1, "k", "w").expect("acknowledged by two");
    c.run_until("it has it", secs(1), |c| c.value_on(N1, "k").as_deref() == Some("w"));
    c.jump(N1, -by);
    run_checked(&mut c, secs(3));
    assert_eq!(unsound(&c, N1), None);
}

/// Nobody else that is up has all that is acknowledged, so nobody else can be elected. It leads, hands over, and never serves.
#[rstest]
fn a_fenced_node_that_alone_can_lead_hands_over(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    c.hold_raft(N1, N3);
    c.hold_raft(N2, N3);
    run_checked(&mut c, secs(1));
    c.write(R1, "k", "v").expect("acknowledged by two");
    drift_away(&mut c, N2, true);
    assert_eq!(holder(&c), Some(N1));
    c.crash(N1);
    c.drop_held();
    c.run_until("led by one whose clock is right", secs(15), |c| {
        c.check_leases();
        holder(c) == Some(N3)
    });
    assert_eq!(c.value_on(N3, "k").as_deref(), Some("v"));
}

/// Of two that contradict one another one at most serves, and nobody can tell whether it is the right one. A third can.
#[rstest]
fn of_two_one_at_most_serves_until_a_third_can_tell(
    #[values(true, false)] forwards: bool,
    #[values(1, 2)] seed: u64,
) {
    let mut c = three(seed);
    c.crash(N3);
    run_checked(&mut c, secs(2));
    c.drift(N2, if forwards { 50_000 } else { -50_000 });
    run_checked(&mut c, secs(15));
    c.drift(N2, 0);
    assert!(unsound(&c, N1).is_some() || unsound(&c, N2).is_some());
    c.start(N3);
    run_checked(&mut c, secs(5));
    assert!(matches!(unsound(&c, N2), Some(Unsound::Off { .. })), "{:?}", unsound(&c, N2));
    c.run_until("the others serve", secs(10), |c| {
        unsound(c, N1).is_none() && unsound(c, N3).is_none() && holder(c).is_some_and(|n| n != N2)
    });
    put_right(&mut c, N2);
    c.run_until("it serves again", secs(10), |c| unsound(c, N2).is_none());
    c.check_leases();
}
