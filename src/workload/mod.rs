//! Generators of load that speak only SQL: what they can do, every client can.
//!
//! Each workload has `init`, which makes its tables, and `run`, which works on them with a number of clients and prints a line
//! each second: transactions, retries, errors by SQLSTATE, latencies (hdrhistogram). A serialization failure (40001) or deadlock (40P01) is
//! retried and counted; a lost connection during COMMIT is counted as indeterminate and never retried blindly.

pub mod driver;
pub mod bank;
pub mod kv;
pub mod tpcc;

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::parse_duration;

#[derive(Subcommand)]
pub enum WorkloadCommand {
    /// Transfers between accounts; the total must not change.
    #[command(subcommand)]
    Bank(bank::BankCommand),
    /// Reads and writes of single keys.
    #[command(subcommand)]
    Kv(kv::KvCommand),
    /// TPC-C: schema, load, the five transactions, the consistency conditions.
    #[command(subcommand)]
    Tpcc(tpcc::TpccCommand),
}

#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Where to connect; several times for several nodes, among which the clients are spread.
    #[arg(long = "url", value_name = "URL", default_value = "postgres://postgres@127.0.0.1:7432/postgres")]
    pub urls: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub struct Pace {
    /// Connections that work at the same time.
    #[arg(long, default_value_t = 16)]
    pub clients: usize,
    /// For how long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub duration: Duration,
    /// READ COMMITTED, REPEATABLE READ or SERIALIZABLE; the server's default if not given.
    #[arg(long)]
    pub isolation: Option<String>,
}

pub async fn run(command: WorkloadCommand) -> Result<(), String> {
    match command {
        WorkloadCommand::Bank(c) => bank::run(c).await,
        WorkloadCommand::Kv(c) => kv::run(c).await,
        WorkloadCommand::Tpcc(c) => tpcc::run(c).await,
    }
}
