//! Whole clusters in virtual time. Each scenario says what must hold whatever the seed.

mod chaos;
mod clocks;
mod leases;
mod membership;
mod merges;
mod speed;

use std::time::Duration;

use rstest::rstest;

use super::StoreConfig;
use super::testing::Cluster;
use crate::base::{Key, NodeId, RangeId};

const R1: RangeId = RangeId(1);
const N1: NodeId = NodeId(1);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One node serves as soon as it runs, and what it has acknowledged survives any crash.
#[rstest]
fn a_single_node_keeps_what_it_acknowledged(#[values(1, 2, 3, 4, 5)] seed: u64) {
    let mut c = Cluster::new(1, seed);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    for round in 0..5 {
        for i in 0..20 {
            c.write(R1, &format!("k{round}/{i}"), &format!("v{i}")).expect("acknowledged");
        }
        if c.chance.percent(50) {
            c.handle(N1).flush().expect("memory");
        }
        c.crash(N1);
        c.start(N1);
        c.run_until("a lease after the crash", secs(2), |c| c.leaseholder(R1).is_some());
        for r in 0..=round {
            for i in 0..20 {
                assert_eq!(c.value_on(N1, &format!("k{r}/{i}")).as_deref(), Some(&*format!("v{i}")));
            }
        }
    }
}

const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// Three nodes with a replica of the first range on each.
pub(super) fn three(seed: u64) -> Cluster {
    let mut c = Cluster::new(3, seed);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    c.write(R1, "before", "snapshot").expect("acknowledged");
    let handle = c.handle(N1);
    c.wait(async move { handle.change_replicas(R1, vec![N2, N3], vec![]).await }).expect("two replicas more");
    c
}

pub(super) fn converged(c: &Cluster, key: &str, value: &str) -> bool {
    c.nodes.keys().all(|n| c.value_on(*n, key).as_deref() == Some(value))
}

#[rstest]
fn a_range_grows_to_three_replicas_and_they_converge(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    assert!(c.handle(N1).descriptors()[0].voters().count() == 3);
    c.write(R1, "k", "v").expect("acknowledged");
    c.run_until("all have it", secs(2), |c| converged(c, "k", "v") && converged(c, "before", "snapshot"));
    c.check_leases();
    let status = |c: &Cluster, n| c.handle(n).status().awake;
    c.run_until("all sleep", secs(5), |c| [N1, N2, N3].iter().all(|n| status(c, *n) == 0));
}

/// The leader dies. Another takes over when its lease has run out, and knows everything that was acknowledged.
#[rstest]
fn leadership_fails_over(#[values(1, 2, 3, 4, 5, 6)] seed: u64) {
    let mut c = three(seed);
    c.write(R1, "k", "v").expect("acknowledged");
    c.run_for(secs(1));
    c.crash(N1);
    let died = c.now();
    c.run_until("a new leaseholder", secs(10), |c| {
        c.check_leases();
        c.leaseholder(R1).is_some()
    });
    assert!(c.now() - died < secs(4), "took {:?}", c.now() - died);
    let (leader, _) = c.leaseholder(R1).expect("just seen");
    assert_eq!(c.value_on(leader, "k").as_deref(), Some("v"));
    c.write(R1, "k2", "v2").expect("acknowledged");
    c.start(N1);
    c.run_until("the old leader follows", secs(10), |c| converged(c, "k2", "v2"));
}

#[rstest]
fn a_lease_is_handed_over_without_a_gap(#[values(1, 2, 3)] seed: u64) {
    let mut c = three(seed);
    let (_, before) = c.leaseholder(R1).expect("a lease");
    let handle = c.handle(N1);
    let started = c.now();
    c.wait(async move { handle.transfer_lease(R1, N2).await }).expect("handed over");
    c.run_until("the new lease", secs(1), |c| {
        c.check_leases();
        c.leaseholder(R1).is_some()
    });
    assert!(c.now() - started < Duration::from_millis(300), "took {:?}", c.now() - started);
    let (leader, after) = c.leaseholder(R1).expect("just seen");
    assert_eq!(leader, N2);
    assert!(after.start > before.start && after.term > before.term);
    c.write(R1, "k", "v").expect("acknowledged");
}

/// The leader waits for the last answer to a snapshot, from a node that has forgotten it.
#[rstest]
fn who_restarts_in_a_snapshot_is_sent_another(#[values(12, 19, 24, 25, 26, 27)] seed: u64) {
    const R2: RangeId = RangeId(2);
    let mut c = three(seed);
    let handle = c.handle(N1);
    c.wait(async move { handle.split(R1, Key::from("m"), R2).await }).expect("split");
    c.run_until("the right side is led", secs(1), |c| c.leaseholder(R2).is_some());
    c.write(R2, "x", "right").expect("acknowledged");
    c.run_until("all have it", secs(2), |c| converged(c, "x", "right"));
    c.crash(N3);
    let asleep = Duration::from_millis(c.chance.below(3000));
    c.run_for(asleep);
    c.start(N3);
    c.run_until("all have it again", secs(5), |c| converged(c, "x", "right"));
}

/// The follower is done, and its leader has not heard of it.
#[rstest]
fn who_has_installed_a_snapshot_goes_on_though_the_answer_is_lost(#[values(1, 2, 3)] seed: u64) {
    let config = StoreConfig { log_slack_entries: 0, ..StoreConfig::default() };
    let mut c = Cluster::with(3, seed, config, None);
    c.run_until("the first lease", secs(1), |c| c.leaseholder(R1).is_some());
    let handle = c.handle(N1);
    c.wait(async move { handle.change_replicas(R1, vec![N2, N3], vec![]).await }).expect("two more");
    c.run_for(secs(1));
    c.isolate(N3);
    c.run_for(secs(4));
    for i in 0..20 {
        c.write(R1, &format!("k{i:02}"), "v").expect("acknowledged by two");
    }
    for node in [N1, N2] {
        c.handle(node).flush().expect("memory");
    }
    c.run_for(secs(1));
    c.heal();
    c.run_until("it is being installed", secs(5), |c| c.explain(R1).contains("installing true"));
    c.isolate(N3);
    c.run_until("it is installed", secs(1), |c| c.value_on(N3, "k19").is_some());
    c.run_for(Duration::from_millis(50));
    c.heal();
    c.write(R1, "k", "w").expect("acknowledged");
    c.run_until("it goes on", secs(5), |c| converged(c, "k", "w"));
}
