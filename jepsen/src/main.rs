//! `meridian-jepsen`: breaks real clusters and checks what they told their clients; checks histories that others wrote.
//!
//! A run starts real processes, puts load on them over the PostgreSQL protocol, kills or pauses nodes meanwhile, and compares
//! the clients' history with what the database holds in the end. It shares no code with the database: whatever both
//! believed wrongly, neither would notice.
//!
//! `cluster` controls the processes; `records` is what the clients saw; `client` turns driver errors into what is known about
//! a transaction; `workloads` make history, `nemesis` makes trouble, `checkers` are pure functions over both;
//! `run` puts them together. The exit code is 1 when a promise was broken or the run could not be judged. `check_file` holds
//! a file against the library's models.

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
mod check_file;

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
    /// A history in a file against an isolation level.
    Check(check_file::CheckArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        #[cfg(feature = "cluster")]
        Command::Bank(args) => bank(args),
        Command::Check(args) => check_file::run(&args),
    }
}

#[cfg(feature = "cluster")]
fn bank(args: run::BankArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("meridian-jepsen: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    // Dropping the run's future kills its processes and removes its folders.
    let done = runtime.block_on(async {
        tokio::select! {
            done = run::bank(args) => done,
            e = interrupted() => Err(e),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("meridian-jepsen: {e}");
            ExitCode::FAILURE
        }
    }
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
