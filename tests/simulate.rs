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
    for workload in ["bank", "keys"] {
        let args = format!("--seed 7 --runs 3 --time 8s --workload {workload}");
        let (first, _) = passed(&args);
        let (second, _) = passed(&format!("{args} --jobs 1"));
        assert_eq!(first.len(), 3);
        assert_eq!(first, second);
        let trace = |line: &String| line.split(' ').nth(3).map(String::from);
        assert_ne!(trace(&first[0]), trace(&first[1]), "another seed is another run");
    }
}

#[test]
fn a_hundred_seeds_pass_and_are_worth_it() {
    let (runs, counted) = passed("--seed 1 --runs 140 --time 8s");
    assert_eq!(runs.len(), 140);
    assert!(runs.iter().all(|l| l.ends_with(" ok")));
    let least = [
        (3000, "commits"),
        (100, "retries"),
        (300, "audits"),
        (500, "one phase commits"),
        (500, "parallel commits"),
        (5, "recoveries"),
        (200, "crashes"),
        (200, "cuts"),
        (50, "pauses"),
        (100, "splits"),
        (120, "leader changes"),
    ];
    for (least, name) in least {
        let count = counted.get(name).copied().unwrap_or_default();
        assert!(count >= least, "only {count} {name}; at least {least} make the test worth running");
    }
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
