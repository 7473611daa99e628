//! What the inner loops cost, one at a time: `cargo bench --bench micro [-- FILTER]`.
//!
//! A file is a subject, and every group says its unit, so that two groups can be held against each other. The subjects lie on
//! the path of each statement, from its text to what is replicated; how they add up under clients, with sockets between
//! them, is measured by `benches/load/run`.
//!
//! What must stay true:
//! - Only public entry points of the crates are called: those that the layer above calls, too.
//! - What a group reads is made when its first benchmark runs, so that a filter costs nothing but what it names.
//! - `cargo test --bench micro` runs every benchmark once, over a hundredth of the rows ([`scaled`]), within seconds.
//! - Every answer is checked for being the one that the benchmark is about: a miss is fast, too.

mod plan;
mod session;
mod key_codec;
mod lock_table;
mod propose;
mod group;
mod mvcc;

use criterion::{criterion_group, criterion_main};

/// That of the binary: what is measured allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The size of what is read: `full` when measured, a hundredth of it when run as a test.
fn scaled(full: usize) -> usize {
    let asked = |flag: &str| std::env::args().any(|arg| arg == flag);
    if asked("--bench") && !asked("--test") { full } else { full / 100 }
}

criterion_group!(
    micro,
    plan::benches,
    key_codec::benches,
    lock_table::benches,
    mvcc::benches,
    propose::benches
);
criterion_main!(micro);
