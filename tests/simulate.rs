//! The simulator as its users run it: `meridian simulate`.
//!
//! What must stay true: the same seed gives the same trace, in whatever process; a hundred seeds pass; and they go through
//! what makes them worth running.

use std::collections::BTreeMap;
use std::process::{Command, Output};

fn simulate(args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.arg("simulate").args(args.split_whitespace()).env("MERIDIAN_LOG", "error");
    command.output().expect("the binary runs")
}

/// Runs that must pass: the lines of the runs, and how often things happened, by name.
fn passed(args: &str) -> (Vec<String>, BTreeMap<String, u64>) {
    let output = simulate(args);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    println!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (runs, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.starts_with("seed "));
    let count = |line: &str| {
        let (count, name) = line.trim_start().split_once(' ')?;
        Some((name.to_string(), count.parse().ok()?))
    };
    (runs.into_iter().map(String::from).collect(), rest.into_iter().filter_map(count).collect())
}

/// Hash maps of the standard library are seeded differently in each process: an order that leaks from one would show.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for workload in ["bank", "keys", "all"] {
        let args = format!("--seed 7 --runs 3 --time 8s --workload {workload}");
        let (first, _) = passed(&args);
        let (second, _) = passed(&format!("{args} --jobs 1"));
        assert_eq!(first.len(), 3);
        assert_eq!(first, second);
        let trace = |line: &String| line.split(' ').nth(3).map(String::from);
        assert_ne!(trace(&first[0]), trace(&first[1]), "another seed is another run");
    }
}

/// Places that so few and short runs may not come to.
const RARE: &[&str] = &[
    "backfill: chunk tried again",
    "clock: messages dropped, their clock is too far ahead",
    "commit: everything is spilled",
    "index: half-built and abandoned",
    "index: published at a later attempt",
    "table: keys cleared",
    "lease: the only voter waits for its clock",
    "lock: awaited key has gone to another range",
    "lock: not awaited",
    "lock: the intent that was met is gone already",
    "membership: a leader on its way out hands over",
    "membership: change refused, the range has changed",
    "membership: removal waits for entries that are not applied",
    "merge: a frozen range is led, without a lease",
    "merge: a replica that nobody will take in is told that its range was absorbed",
    "merge: a replica waits for what is gone",
    "merge: a snapshot takes the place of the right side",
    "merge: given up",
    "merge: refused, it was given up",
    "merge: taken back by the next leaseholder",
    "merge: waits for the right side to come as far",
    "open: a removal is brought to its end",
    "open: a snapshot was being installed",
    "open: part of a snapshot is thrown away",
    "proposal: outcome unknown after a change of leader",
    "push: intents become versions in place",
    "read: of what an aborted transaction had spilled",
    "recovery: of a staging record that garbage collection found",
    "recovery: there is no record",
    "refresh: a lock was lost",
    "snapshot: Raft does not take it",
    "snapshot: a message comes before it is applied",
    "snapshot: given up, nothing more came",
    "snapshot: installed, and the answer was lost",
    "snapshot: replaces an earlier replica",
    "split: refused, the range has changed",
];

#[test]
fn hundreds_of_seeds_pass_and_are_worth_it() {
    let (runs, counted) = passed("--seed 1 --runs 300 --time 10s");
    assert_eq!(runs.len(), 300);
    assert!(runs.iter().all(|l| l.ends_with(" ok")));
    let least = [
        (20_000, "commits"),
        (400, "retries"),
        (2000, "audits"),
        (20_000, "one phase commits"),
        (3000, "parallel commits"),
        (30, "recoveries"),
        (500, "crashes"),
        (1000, "cuts"),
        (200, "pauses"),
        (300, "splits"),
        (30, "merges"),
        (500, "leader changes"),
        (10, "torn writes"),
        (400, "slow syncs"),
        (80, "full disks"),
        (80, "failed reads"),
        (20, "damages"),
        (10, "damage found"),
        (100, "bad clocks"),
        (500, "fences"),
        (500, "unfences"),
    ];
    for (least, name) in least {
        let count = counted.get(name).copied().unwrap_or_default();
        assert!(count >= least, "only {count} {name}; at least {least} make the test worth running");
    }
    // Probes have a colon in their names.
    let never: Vec<&String> = counted
        .iter()
        .filter(|(name, count)| **count == 0 && name.contains(": ") && !RARE.contains(&name.as_str()))
        .map(|(name, _)| name)
        .collect();
    assert!(never.is_empty(), "no run has come to {never:?}");
    let gone: Vec<_> = RARE.iter().filter(|rare| !counted.contains_key(**rare)).collect();
    assert!(gone.is_empty(), "these places are no more: {gone:?}");
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    for (args, reason) in [
        ("--faults crush", "`crush` is none of all, none, crash"),
        ("--workload none", "a run without clients"),
        ("--nodes 2", "2 is not in 3..=9"),
        ("--time soon", "`soon`"),
    ] {
        let output = simulate(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args}");
        assert!(error.contains(reason), "{args}: {error}");
    }
}

#[cfg(not(feature = "planted"))]
#[test]
fn no_ordinary_build_has_bugs_to_plant() {
    let output = simulate("--planted list");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("--planted"), "{error}");
}
