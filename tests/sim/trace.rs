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
    /// `SIM_TRACE=1`: print each line as it comes.
    echo: bool,
    state: Mutex<State>,
}

struct State {
    lines: Vec<String>,
    hash: u64,
}

impl Trace {
    pub fn new(runtime: SimRuntime) -> Self {
        let began = runtime.clock().wall_ns();
        let echo = std::env::var("SIM_TRACE").is_ok();
        let state = Mutex::new(State { lines: Vec::new(), hash: hash(b"") });
        Trace(Arc::new(Inner { runtime, began, echo, state }))
    }

    pub fn say(&self, what: impl Display) {
        let now = (self.0.runtime.clock().wall_ns() - self.0.began) as f64 / 1e9;
        let line = format!("{now:>11.6} {:016x} {what}", self.0.runtime.fingerprint());
        if self.0.echo {
            println!("{line}");
        }
        let mut state = self.0.state.lock();
        state.hash = state.hash.rotate_left(7) ^ hash(line.as_bytes());
        state.lines.push(line);
    }

    /// Over everything said so far.
    pub fn hash(&self) -> u64 {
        self.0.state.lock().hash
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.state.lock().lines.clone()
    }
}

/// FNV-1a: the same on every machine.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
