//! What happened in a run, line by line, and a number over all of it.
//!
//! Every line carries the virtual time and the executor's fingerprint, which takes in every step of every task and every
//! random number drawn: two runs that differ anywhere differ in the next line that either of them writes.

use std::fmt::Display;
use std::sync::Arc;

use meridian_storage::base::PhysicalClock;
use meridian_txn::testing::SimRuntime;
use parking_lot::Mutex;

#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    runtime: SimRuntime,
    began: u64,
    /// Print each line as it comes.
    echo: bool,
    hash: Mutex<u64>,
}

impl Trace {
    pub fn new(runtime: SimRuntime, echo: bool) -> Self {
        let began = runtime.clock().wall_ns();
        Trace(Arc::new(Inner { runtime, began, echo, hash: Mutex::new(hash(b"")) }))
    }

    pub fn say(&self, what: impl Display) {
        let line = format!("{:>11.6} {:016x} {what}", self.seconds(), self.0.runtime.fingerprint());
        if self.0.echo {
            println!("{line}");
        }
        let mut sum = self.0.hash.lock();
        *sum = sum.rotate_left(7) ^ hash(line.as_bytes());
    }

    /// Over everything said so far.
    pub fn hash(&self) -> u64 {
        *self.0.hash.lock()
    }

    /// Virtual time since the beginning.
    pub fn seconds(&self) -> f64 {
        (self.0.runtime.clock().wall_ns() - self.0.began) as f64 / 1e9
    }
}

/// FNV-1a: the same on every machine.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
