//! What is thrown at everything that takes bytes from outside: from disks, from other nodes, from clients.
//!
//! Each module is one target: `run` takes any bytes whatever, and panics if the database does what it must not. libFuzzer
//! looks for bytes that make it (`cargo fuzz run`, see `docs/testing.md`); what it has found stays in `regressions/`, which
//! the gate runs by ordinary tests (`tests/regressions.rs`). So nothing here may need libFuzzer, or a sanitizer.
//!
//! What must stay true: `run` is a function of its input alone; no run sees what another has left.

pub mod sql;
pub mod protocol;
pub mod database;
pub mod log_replay;
pub mod rpc;
pub mod rows;
pub mod columns;
pub mod codec;
mod choices;

/// A target: its name, and what runs it once.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 7] = [
    ("codec", codec::run),
    ("columns", columns::run),
    ("rows", rows::run),
    ("rpc", rpc::run),
    ("log_replay", log_replay::run),
    ("protocol", protocol::run),
    ("sql", sql::run),
];
