//! The `meridian` binary: a node of the database, and the tools to look after one.
//!
//! Here is everything that blocks: sockets, threads, wall time, files, configuration. What a database is stands in the
//! crates below: `meridian-sql`, `meridian-txn`, `meridian-storage`.

mod cli;
mod workload;
mod node;
mod pgwire;
mod http;
mod rpc;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("meridian").thread_stack_size(meridian_sql::STACK_BYTES);
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("meridian: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Start(args) => cli::start::start(args).await,
            Command::Demo(args) => cli::start::demo(args).await,
            Command::Node(command) => cli::node::run(command).await,
            Command::Workload(command) => workload::run(command).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("meridian: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to standard error; `MERIDIAN_LOG` sets levels by module (`info,meridian_storage=debug`).
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MERIDIAN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
