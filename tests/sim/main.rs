//! Whole clusters in one thread, from one seed: machines that crash, pause and disagree about the time, a network that
//! loses, repeats, delays and cuts, ranges that split and move - under the real code of storage and transactions.
//!
//! What is real: everything below the binary. Odd blocks of ten thousand seeds work through SQL sessions, even ones through
//! transactions on keys. What is simulated: disks (in memory, with what a crash loses), the network,
//! clocks, tasks, chance. **The same seed gives the same run**, byte for byte; `same_seed_same_run` holds us to it.
//!
//! A seed that fails is printed with the command that repeats it; `SIM_TRACE=1` shows every event of it. More seeds:
//! `SIM_SEEDS=1000..2000 cargo test --release --test sim -- many_seeds --nocapture`.

mod bank;
mod cluster;
mod kv_bank;
mod machine;
mod nemesis;
mod network;
mod run;
mod sql;
mod sql_bank;
mod stats;
mod trace;

use std::sync::atomic::Ordering::Relaxed;

use run::run;
use stats::Stats;

/// The seeds of the gate.
const GATE: std::ops::Range<u64> = 1..101;
const SQL_GATE: std::ops::Range<u64> = 10_001..10_041;

#[test]
fn same_seed_same_run() {
    for seed in [7, 1007, SQL_GATE.start] {
        let (first, second) = (run(seed), run(seed));
        for (n, (a, b)) in first.lines.iter().zip(&second.lines).enumerate() {
            let before = || first.lines[n.saturating_sub(5)..n].join("\n");
            assert_eq!(a, b, "seed {seed}: the runs part at line {n}, after\n{}", before());
        }
        assert_eq!(first.lines.len(), second.lines.len(), "seed {seed}: one run is longer");
        assert_eq!(first.hash, second.hash);
        assert_ne!(first.hash, run(seed + 1).hash, "another seed is another run");
    }
}

/// Found: the first row of `meta` was written in one form and read in another, so the first split broke the cluster.
#[test]
fn the_first_split_can_be_followed() {
    run(1);
}

/// Found: the gateway of a split died before it had told `meta`; the right half could not be found by anybody.
#[test]
fn an_unpublished_split_is_found() {
    run(8);
}

/// Found: the right half of an unpublished split was split again, and its halves took the place of the only row that
/// spoke of the left.
#[test]
fn an_unpublished_split_that_was_split_again_is_found() {
    run(2);
}

#[test]
fn the_gate() {
    enough(&run_all(GATE), 1);
}

/// The same through SQL sessions.
#[test]
fn the_sql_gate() {
    enough(&run_all(SQL_GATE), 5);
}

fn run_all(seeds: std::ops::Range<u64>) -> Stats {
    let all = Stats::default();
    for seed in seeds {
        let report = run(seed);
        println!("{report}");
        all.absorb(&report.stats);
    }
    println!("all seeds: {all}");
    all
}

/// What the runs must have been through to mean anything; `part`: they are that much fewer than a hundred.
fn enough(all: &Stats, part: u64) {
    let least = [
        (&all.commits, 3000, "commits"),
        (&all.retries, 100, "retries"),
        (&all.audits, 300, "audits"),
        (&all.one_phase_commits, 500, "commits in one phase"),
        (&all.parallel_commits, 500, "parallel commits"),
        (&all.recoveries, 5, "recoveries"),
        (&all.crashes, 200, "crashes"),
        (&all.cuts, 200, "cuts"),
        (&all.pauses, 50, "pauses"),
        (&all.splits, 100, "splits"),
        (&all.leader_changes, 120, "changes of leaders"),
    ];
    for (count, least, what) in least {
        let (count, least) = (count.load(Relaxed), least / part);
        assert!(count >= least, "only {count} {what}; at least {least} make the test worth running");
    }
}

/// `SIM_SEED=n cargo test --release --test sim -- one_seed --nocapture`
#[test]
fn one_seed() {
    let seed = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("{}", run(seed));
}

/// `SIM_SEEDS=1000..2000 cargo test --release --test sim -- many_seeds --nocapture`; does nothing when it is not told.
#[test]
fn many_seeds() {
    let Ok(span) = std::env::var("SIM_SEEDS") else { return };
    let (from, to) = span.split_once("..").expect("SIM_SEEDS=from..to");
    run_all(from.parse().expect("a number")..to.parse().expect("a number"));
}
