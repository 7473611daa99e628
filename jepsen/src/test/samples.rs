//! How every transaction of every client ended, when, and how long it took: what the plots and the times without service are
//! made of. The verdict is not; that is the workloads'.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// By SQLSTATE. It surely did not happen.
    Refused(String),
    /// By SQLSTATE, or what the client says when the connection was lost. It may have happened.
    Unknown(String),
}

#[derive(Clone, Debug)]
pub struct Sample {
    /// The node, by number, through which it was asked for.
    pub node: usize,
    /// When it ended, since the beginning of the run.
    pub at: Duration,
    pub took: Duration,
    pub outcome: Outcome,
}

pub struct Samples {
    started: Instant,
    all: Mutex<Vec<Sample>>,
}

impl Samples {
    pub fn new() -> Samples {
        Samples { started: Instant::now(), all: Mutex::default() }
    }

    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn enter(&self, node: usize, begun: Instant, outcome: Outcome) {
        let (at, took) = (self.now(), begun.elapsed());
        self.all.lock().push(Sample { node, at, took, outcome });
    }

    pub fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut self.all.lock())
    }
}
