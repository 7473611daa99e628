//! `meridian-jepsen`: breaks real clusters and checks what they told their clients; checks histories that others wrote.
//!
//! A run starts real processes, puts load on them over the PostgreSQL protocol, kills or pauses nodes meanwhile, and compares
//! the clients' history with what the database holds in the end. It shares no code with the database: whatever both
//! believed wrongly, neither would notice.
//!
//! `test` runs the library's workloads while every `nemesis` makes trouble, and `suite` all of them; `run` is the bank alone, with
//! `pgbench` beside it if that is wanted, on a cluster of its own or on one that is there. `cluster` controls the processes, each in
//! a place of a `network`, on a `disk`, by a `clock`, and all of them in a `world` that ends with the run. The exit code is 1 when
//! a promise was broken, 2 when the run could not be judged, 3 when nothing of what was to be broken can be broken here.
//! `check_file` holds a file against the library's models, and `generate_file` makes one.

#[cfg(feature = "cluster")]
mod suite;
#[cfg(feature = "cluster")]
mod test;
#[cfg(feature = "cluster")]
mod run;
#[cfg(feature = "cluster")]
mod workloads;
#[cfg(feature = "cluster")]
mod nemesis;
#[cfg(feature = "cluster")]
mod checkers;
#[cfg(feature = "cluster")]
mod client;
#[cfg(feature = "cluster")]
mod records;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "cluster")]
mod network;
#[cfg(feature = "cluster")]
mod clock;
#[cfg(feature = "cluster")]
mod disk;
#[cfg(feature = "cluster")]
mod world;
mod check_file;
mod generate_file;

use std::process::ExitCode;
#[cfg(feature = "cluster")]
use std::time::Duration;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "meridian-jepsen",
    version,
    about = "Breaks real clusters and checks what they told their clients"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Transfers between accounts: acknowledged ones are there, refused ones are not, the total never changes.
    #[cfg(feature = "cluster")]
    Bank(run::BankArgs),
    /// A cluster, workloads and faults, and a verdict.
    #[cfg(feature = "cluster")]
    Test(test::TestArgs),
    /// Every workload under every fault.
    #[cfg(feature = "cluster")]
    Suite(suite::SuiteArgs),
    /// A history in a file against an isolation level.
    Check(check_file::CheckArgs),
    /// A history of a database that is not there, valid by construction: for trying and timing `check`.
    Generate(generate_file::GenerateArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        #[cfg(feature = "cluster")]
        Command::Bank(args) => ended(block_on(run::bank(args)), |()| ExitCode::SUCCESS),
        #[cfg(feature = "cluster")]
        Command::Test(args) => test(args),
        #[cfg(feature = "cluster")]
        Command::Suite(args) => ended(suite::run(&args), |code| code),
        Command::Check(args) => check_file::run(&args),
        Command::Generate(args) => generate_file::run(&args),
    }
}

/// For a run that could not be judged.
#[cfg(feature = "cluster")]
const NOT_JUDGED: u8 = 2;
#[cfg(feature = "cluster")]
const SKIPPED: u8 = 3;

#[cfg(feature = "cluster")]
fn test(args: test::TestArgs) -> ExitCode {
    let world = match world::enter(args.wants_namespaces()) {
        world::World::Over(code) => return code,
        world => world,
    };
    let done = block_on(test::run(args, &world));
    if let world::World::Shared(_) = world {
        world::remove_named(world::number());
    }
    match done {
        Ok(test::Ended::Valid) => ExitCode::SUCCESS,
        Ok(test::Ended::Invalid) => ExitCode::FAILURE,
        Ok(test::Ended::Skipped(why)) => {
            println!("verdict: skipped: {}", why.join("; "));
            ExitCode::from(SKIPPED)
        }
        Err(e) => {
            eprintln!("meridian-jepsen: {e}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}

#[cfg(feature = "cluster")]
fn ended<T>(done: Result<T, String>, code: impl FnOnce(T) -> ExitCode) -> ExitCode {
    done.map_or_else(
        |e| {
            eprintln!("meridian-jepsen: {e}");
            ExitCode::FAILURE
        },
        code,
    )
}

/// Runs to the end, or until a signal: dropping the run's future kills its processes and removes its folders.
#[cfg(feature = "cluster")]
fn block_on<T>(run: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        tokio::select! {
            done = run => done,
            e = interrupted() => Err(e),
        }
    })
}

#[cfg(feature = "cluster")]
async fn interrupted() -> String {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return "cannot wait for signals".into() };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    "interrupted".into()
}

/// `500ms`, `20s`, `2m`.
#[cfg(feature = "cluster")]
fn parse_duration(s: &str) -> Result<Duration, String> {
    let digits = s.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(s.len());
    let n: f64 = s[..digits].parse().map_err(|_| format!("`{s}` is not a time"))?;
    let unit = match &s[digits..] {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("`{s}` needs a unit: ms, s or m")),
    };
    Duration::try_from_secs_f64(n * unit).map_err(|_| format!("`{s}` is too long"))
}
