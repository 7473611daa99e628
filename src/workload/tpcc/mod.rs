//! TPC-C (specification 5.11): the nine tables, their population, the five transactions in their mix, and consistency
//! conditions 1 to 4. Terminals have no think time.

mod check;
mod load;
mod random;
mod schema;
mod transactions;

use clap::{Args, Subcommand};

use super::{Pace, Target, driver};

#[derive(Subcommand)]
pub enum TpccCommand {
    /// Makes the tables and fills them.
    Init(TpccArgs),
    /// Runs the mix of transactions, then checks the consistency conditions.
    Run {
        #[command(flatten)]
        tpcc: TpccArgs,
        #[command(flatten)]
        pace: Pace,
    },
    /// Checks the consistency conditions.
    Check(TpccArgs),
}

#[derive(Args, Clone, Debug)]
pub struct TpccArgs {
    #[command(flatten)]
    pub target: Target,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub warehouses: i32,
    /// Customers of a district, and its first orders; the specification's 3000 unless a quick test is wanted.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(i32).range(30..=3000))]
    pub customers: i32,
    /// Items; the specification's 100000 unless a quick test is wanted.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(i32).range(100..=100_000))]
    pub items: i32,
}

pub const DISTRICTS: i32 = 10;

pub async fn run(command: TpccCommand) -> Result<(), String> {
    match command {
        TpccCommand::Init(args) => load::init(&args).await,
        TpccCommand::Run { tpcc, pace } => {
            let begun = tokio::time::Instant::now();
            let args = tpcc.clone();
            driver::drive(&tpcc.target, &pace, |i| transactions::Terminal::new(&args, i)).await?;
            check::check(&tpcc, Some(begun.elapsed())).await
        }
        TpccCommand::Check(args) => check::check(&args, None).await,
    }
}
