//! Whole clusters in one thread, from one seed: machines that crash, pause and disagree about the time, a network that
//! loses, repeats, delays and cuts, ranges that split and move - under the real code of storage and transactions.
//!
//! What is real: everything below the binary. What is simulated: disks (in memory, with what a crash loses), the network,
//! clocks, tasks, chance. **The same seed gives the same run**, byte for byte; `same_seed_same_run` holds us to it.
//!
//! A seed that fails is printed with the command that repeats it; `SIM_TRACE=1` shows every event of it. More seeds:
//! `SIM_SEEDS=1000..2000 cargo test --release --test sim -- many_seeds --nocapture`.

mod bank;
mod cluster;
mod machine;
mod nemesis;
mod network;
mod run;
mod stats;
mod trace;

use std::sync::atomic::Ordering::Relaxed;

use run::{Report, run};
use stats::Stats;

/// The seeds of the gate.
const GATE: std::ops::Range<u64> = 1..101;

#[test]
fn same_seed_same_run() {
    for seed in [7, 1007] {
        let (first, second) = (run(seed), run(seed));
        let lines = first.lines.iter().zip(&second.lines).enumerate();
        for (n, (a, b)) in lines {
            assert_eq!(
                a,
                b,
                "seed {seed}: the runs part at line {n}, after\n{}",
                first.lines[n.max(5) - 5..n].join("\n")
            );
        }
        assert_eq!(first.lines.len(), second.lines.len(), "seed {seed}: one run is longer");
        assert_eq!(first.hash, second.hash);
        assert_ne!(first.hash, run(seed + 1).hash, "another seed is another run");
    }
}

#[test]
fn the_gate() {
    let all = Stats::default();
    for seed in GATE {
        let report = run(seed);
        println!("{report}");
        all.absorb(&report.stats);
    }
    println!("all seeds: {all}");
    enough(&all);
}

/// What a hundred runs must have been through to mean anything.
fn enough(all: &Stats) {
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
        (&all.leader_changes, 200, "changes of leaders"),
    ];
    for (count, least, what) in least {
        let count = count.load(Relaxed);
        assert!(count >= least, "only {count} {what}; at least {least} make the test worth running");
    }
}

/// `SIM_SEED=n cargo test --release --test sim -- one_seed --nocapture`
#[test]
fn one_seed() {
    let seed = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let Report { .. } = {
        let report = run(seed);
        println!("{report}");
        report
    };
}

/// `SIM_SEEDS=1000..2000 cargo test --release --test sim -- many_seeds --nocapture`; does nothing when it is not told.
#[test]
fn many_seeds() {
    let Ok(span) = std::env::var("SIM_SEEDS") else { return };
    let (from, to) = span.split_once("..").expect("SIM_SEEDS=from..to");
    for seed in from.parse::<u64>().expect("a number")..to.parse().expect("a number") {
        println!("{}", run(seed));
    }
}
