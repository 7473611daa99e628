//! `meridian-jepsen generate`: a history as a file, of a small database that keeps an isolation level and does not exist.
//!
//! Ends with 0, or with 2 if nothing could be written.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use meridian_jepsen::generate::{self, Plan};

use crate::check_file::Workload;

#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// What the transactions do.
    #[arg(long, value_enum, default_value = "list-append")]
    workload: Workload,
    /// What the database keeps, and no more.
    #[arg(long, value_enum, default_value = "strict-serializable")]
    isolation: Isolation,
    #[arg(long, default_value_t = 100_000)]
    transactions: usize,
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Isolation {
    ReadCommitted,
    #[value(name = "snapshot-isolation")]
    Snapshot,
    #[value(name = "strict-serializable")]
    Strict,
}

/// Writes EDN to the standard output.
pub fn run(args: &GenerateArgs) -> ExitCode {
    let isolation = match args.isolation {
        Isolation::ReadCommitted => generate::Isolation::ReadCommitted,
        Isolation::Snapshot => generate::Isolation::Snapshot,
        Isolation::Strict => generate::Isolation::Strict,
    };
    let plan = Plan::new(isolation, args.workload == Workload::ListAppend);
    let (events, names) = plan.large(args.transactions, args.clients.into()).events(args.seed);
    match std::io::stdout().write_all(names.write_events(&events).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("meridian-jepsen: {e}");
            ExitCode::from(2)
        }
    }
}
