//! A failure with as little as possible around it: fewer faults, fewer workloads, fewer nodes, less time.
//!
//! What is left out changes everything that is chosen after it, so a smaller run is another run: for each attempt a number of
//! seeds is tried, and one that fails at the same place counts. (After A. Zeller, R. Hildebrandt, "Simplifying and Isolating
//! Failure-Inducing Input", IEEE TSE 2002; here the input is what the runs are made of.)

use std::collections::BTreeSet;
use std::time::Duration;

use super::options::{Chosen, SimulateArgs};
use super::{replay, run_all};

/// Seeds that each attempt may try.
const SEEDS: u64 = 60;
const TIME_MIN: Duration = Duration::from_secs(1);

/// Looks at the first of the runs that are asked for that fails; prints the command of the smallest run that was found.
pub fn reduce(args: &SimulateArgs) -> Result<(), String> {
    let Some((mut best, place)) = first_failure(args, None)? else {
        return Err("none of these runs fails: there is nothing to reduce".into());
    };
    println!("seed {} fails at {place}", best.seed);
    loop {
        let smaller = attempts(&best).into_iter().find_map(|attempt| {
            println!("  tried: {}", replay(&attempt, attempt.seed));
            first_failure(&attempt, Some(&place)).transpose()
        });
        match smaller {
            Some(found) => best = found?.0,
            None => break,
        }
        println!("  fails: {}", replay(&best, best.seed));
    }
    println!("the smallest that was found:\n  {} --trace", replay(&best, best.seed));
    Ok(())
}

/// What makes a run smaller, one step at a time, the largest steps first.
fn attempts(args: &SimulateArgs) -> Vec<SimulateArgs> {
    let seeds = SimulateArgs { runs: SEEDS, ..args.clone() };
    let mut all = Vec::new();
    if args.time >= 2 * TIME_MIN {
        all.push(SimulateArgs { time: args.time / 2, ..seeds.clone() });
    }
    if args.nodes.is_none_or(|n| n > 3) {
        all.push(SimulateArgs { nodes: Some(3), ..seeds.clone() });
    }
    let works = without_one(&args.workload.0).into_iter().filter(|w| !w.is_empty());
    all.extend(works.map(|workload| SimulateArgs { workload: Chosen(workload), ..seeds.clone() }));
    let faults = without_one(&args.faults.0).into_iter();
    all.extend(faults.map(|faults| SimulateArgs { faults: Chosen(faults), ..seeds.clone() }));
    all
}

fn without_one<T: Copy + Ord>(all: &BTreeSet<T>) -> Vec<BTreeSet<T>> {
    all.iter().map(|left_out| all.iter().copied().filter(|x| x != left_out).collect()).collect()
}

/// The first run that fails (at that place), alone, and the place.
fn first_failure(args: &SimulateArgs, at: Option<&str>) -> Result<Option<(SimulateArgs, String)>, String> {
    let (mut found, mut seed) = (None, args.seed);
    run_all(args, |done| {
        if let Err(reason) = done {
            let place = place_of(&reason);
            if at.is_none_or(|at| at == place) {
                found = Some((SimulateArgs { seed, runs: 1, ..args.clone() }, place));
            }
        }
        seed = seed.wrapping_add(1);
        found.is_none()
    })?;
    Ok(found)
}

/// `panicked at FILE:LINE:COLUMN: what` without the what: it names keys and times, which differ from run to run.
fn place_of(reason: &str) -> String {
    reason.splitn(4, ':').take(2).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_file_and_line() {
        let reason = "panicked at src/simulate/cluster.rs:176:13: not settled within 90s: nobody leads r1";
        assert_eq!(place_of(reason), "panicked at src/simulate/cluster.rs:176");
        assert_eq!(place_of("it panicked"), "it panicked");
    }

    #[test]
    fn each_attempt_leaves_one_out() {
        let all = BTreeSet::from([1, 2, 3]);
        let left = [BTreeSet::from([2, 3]), BTreeSet::from([1, 3]), BTreeSet::from([1, 2])];
        assert_eq!(without_one(&all), left);
    }
}
