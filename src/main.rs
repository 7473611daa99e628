//! The `meridian` binary: a node of the database, and the tools to look after one.
//!
//! Here is everything that blocks: sockets, threads, wall time, files, configuration. What a database is stands in the
//! crates below: `meridian-sql`, `meridian-txn`, `meridian-storage`.

mod cli;
mod fault;
mod simulate;
mod workload;
mod node;
mod pgwire;
mod http;
mod rpc;

use std::io::Write;

use clap::Parser;
use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For a command that failed. Damage that is found later, while a node runs, ends it by [`fault`].
const FAILURE: u8 = 1;

fn main() {
    let cli = Cli::parse();
    log();
    fault::watch_panics();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("meridian").thread_stack_size(meridian_sql::STACK_BYTES);
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("meridian: cannot start: {e}");
            leave(FAILURE);
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Start(args) => cli::start::start(args).await,
            Command::Demo(args) => cli::start::demo(args).await,
            Command::Node(command) => cli::node::run(command).await,
            Command::Debug(command) => cli::debug::run(command).await,
            Command::Workload(command) => workload::run(command).await,
            Command::Simulate(args) => tokio::task::block_in_place(|| simulate::simulate(&args)),
        }
    });
    match done {
        Ok(()) => leave(0),
        Err(e) => {
            eprintln!("meridian: {e}");
            leave(FAILURE)
        }
    }
}

/// The only end of the process but a [`fault`]'s. What has to last is on the disk by now.
///
/// Not `exit`, which runs the destructors of RocksDB's globals while its threads, and ours, may be at work with them: a lock that
/// is gone then ends the process with SIGABRT, and a supervisor takes a clean stop for a crash.
fn leave(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code.into()) }
}

/// Logs go to standard error; `MERIDIAN_LOG` sets levels by module (`info,meridian_storage=debug`).
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MERIDIAN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
