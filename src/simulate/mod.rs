//! Whole clusters in one thread and in virtual time, from one seed: machines that crash, pause and disagree about the time, a
//! network that loses, repeats, delays and cuts, ranges that split and move - under the real code of all layers below the
//! server.
//!
//! What is real: storage, transactions, SQL sessions. What is simulated is what DESIGN calls the seams: disks (in memory, with
//! what they lose, tear, refuse and forget), the network, clocks, tasks, chance. **The same seed and the same options give the same run**,
//! byte for byte, on any machine: each run ends with a number over its whole trace.
//!
//! `options` is what can be asked for, `run` one run, `reduce` looks for a smaller one that fails in the same way; `cluster` and `machine` are the world, `network` and `nemesis` make
//! trouble, `workload` is what clients do and hold the cluster to, `coverage` counts what the runs went through.

mod reduce;
mod run;
mod nemesis;
mod workload;
mod sql;
mod cluster;
mod machine;
mod clock;
mod disk;
mod network;
mod trace;
mod coverage;
mod options;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use coverage::Coverage;
#[cfg(feature = "planted")]
use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{PhysicalClock, probe};
#[cfg(feature = "planted")]
use options::Plant;
pub use options::SimulateArgs;
use run::Report;

use crate::node::system::SystemClock;

thread_local! {
    /// Why this thread's run failed: the first panic's message and place.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the panic said that this thread has met.
fn failure() -> Option<String> {
    FAILURE.with_borrow(Clone::clone)
}

/// Forgets the panic that this thread has met: it was to be expected.
fn forgive() {
    FAILURE.take();
}

/// Runs what is asked for, each run in a thread of its own; prints a line for each in the order of the seeds, and at the end
/// what they went through. An error if one of them failed.
pub fn simulate(args: &SimulateArgs) -> Result<(), String> {
    if args.workload.0.is_empty() {
        return Err("--workload: a run without clients shows nothing; name at least one".into());
    }
    #[cfg(feature = "planted")]
    match args.planted {
        Some(Plant::List) => {
            Planted::ALL.iter().for_each(|bug| println!("{:<32} {}", bug.name(), bug.what()));
            return Ok(());
        }
        Some(Plant::Bug(bug)) => planted::plant(bug),
        None => {}
    }
    panic::set_hook(Box::new(|info| {
        FAILURE.with_borrow_mut(|failure| {
            failure.get_or_insert_with(|| info.to_string().replace('\n', " "));
        });
    }));
    if args.reduce {
        return reduce::reduce(args);
    }
    let clock = SystemClock::default();
    let mut sum = Sum::default();
    run_all(args, |done| {
        sum.take(args, done);
        true
    })?;
    sum.print(clock.monotonic());
    match sum.failed {
        0 => Ok(()),
        n => Err(format!("{n} of {} runs failed", sum.runs)),
    }
}

/// Makes the runs that are asked for and hands over what they have come to, in the order of the seeds, until `take` says that it
/// is enough.
fn run_all(args: &SimulateArgs, mut take: impl FnMut(Result<Report, String>) -> bool) -> Result<(), String> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let jobs = if args.trace { 1 } else { args.jobs.map_or(threads, u64::from) }.min(args.runs);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..jobs {
            let (tell, next) = (tell.clone(), &next);
            // Statements recurse; what of the stack is not used takes no memory.
            let builder = std::thread::Builder::new().stack_size(meridian_sql::STACK_BYTES);
            let work = move || {
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= args.runs {
                        return;
                    }
                    let seed = args.seed.wrapping_add(n);
                    let done = panic::catch_unwind(panic::AssertUnwindSafe(|| run::run(args, seed)));
                    let reason = || FAILURE.take().unwrap_or_else(|| "it panicked".into());
                    if tell.send((n, done.map_err(|_| reason()))).is_err() {
                        return;
                    }
                }
            };
            builder.spawn_scoped(scope, work).map_err(|e| format!("cannot start a thread: {e}"))?;
        }
        drop(tell);
        let (mut early, mut taken) = (BTreeMap::new(), 0);
        for (n, done) in told {
            early.insert(n, done);
            while let Some(done) = early.remove(&taken) {
                taken += 1;
                if !take(done) {
                    next.store(args.runs, Relaxed);
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

/// All runs that have been reported so far.
#[derive(Default)]
struct Sum {
    runs: u64,
    failed: u64,
    simulated: Duration,
    led: Vec<Duration>,
    answered: Vec<Duration>,
    whole: Vec<Duration>,
    coverage: Coverage,
}

impl Sum {
    fn take(&mut self, args: &SimulateArgs, done: Result<Report, String>) {
        let seed = args.seed.wrapping_add(self.runs);
        self.runs += 1;
        match done {
            Ok(report) => {
                println!("seed {seed} trace {:016x} ok", report.hash);
                self.simulated += report.simulated;
                self.led.push(report.healing.led);
                self.answered.push(report.healing.answered);
                self.whole.push(report.healing.whole);
                self.coverage.absorb(&report.coverage);
            }
            Err(reason) => {
                self.failed += 1;
                println!("seed {seed} FAILED: {reason}");
                println!("  again: {} --trace", replay(args, seed));
            }
        }
    }

    fn print(&self, wall: Duration) {
        let (simulated, wall) = (self.simulated.as_secs_f64(), wall.as_secs_f64());
        println!(
            "{} runs, {} failed; {simulated:.0} s simulated in {wall:.0} s, {:.0} to 1",
            self.runs,
            self.failed,
            simulated / wall.max(0.001)
        );
        println!("after the last fault, until");
        println!("  every range was led:        {}", distribution(&self.led));
        println!("  every request was answered: {}", distribution(&self.answered));
        println!("  every replica was in place: {}", distribution(&self.whole));
        for (name, count) in self.coverage.all() {
            println!("{count:>12} {}", name.replace('_', " "));
        }
        println!("passed, of places that only rare circumstances lead to:");
        for (name, count) in probe::counts() {
            println!("{count:>12} {name}");
        }
    }
}

fn distribution(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| match sorted.len() {
        0 => 0.0,
        n => sorted[((n - 1) as f64 * share).round() as usize].as_secs_f64(),
    };
    format!("p50 {:.2} s, p90 {:.2} s, p99 {:.2} s, max {:.2} s", at(0.5), at(0.9), at(0.99), at(1.0))
}

/// The command that makes this run again.
fn replay(args: &SimulateArgs, seed: u64) -> String {
    let nodes = args.nodes.map_or(String::new(), |n| format!(" --nodes {n}"));
    format!(
        "meridian simulate --seed {seed} --faults {} --workload {} --time {}ms{nodes}{}",
        args.faults,
        args.workload,
        args.time.as_millis(),
        planted_option(args)
    )
}

#[cfg(feature = "planted")]
fn planted_option(args: &SimulateArgs) -> String {
    match args.planted {
        Some(Plant::Bug(bug)) => format!(" --planted {}", bug.name()),
        _ => String::new(),
    }
}

#[cfg(not(feature = "planted"))]
fn planted_option(_: &SimulateArgs) -> &'static str {
    ""
}
