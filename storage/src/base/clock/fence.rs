//! Whether a clock can be relied upon, and why not.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Why a node's clock cannot be relied upon. Times are in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsound {
    /// No other node has been heard of: after a start, or for too long.
    Unheard,
    /// The machine's clock has jumped, and the others have not said yet whether it is right.
    Jumped { by: i64 },
    /// The machine's monotonic clock has leapt, or the process stood still, and the others have not said yet what time it is.
    Leapt { by: i64 },
    /// Another node has shown a time so far ahead that this clock, or that one, is wrong. Of this the fence is not raised.
    Doubted { by: Duration },
    /// Most nodes, or one against which this one cannot hold its own, are surely too far away. `ahead`: by how much the machine's clock is, of
    /// the middle one of them; `median`: how far that is ahead of the node's own wall clock.
    Off { ahead: i64, median: i64 },
    /// The node has timestamps that are further ahead of its clock than any sound clock can be.
    Behind { by: Duration },
}

impl Unsound {
    /// What a client is told to do.
    pub const HINT: &str = "Set this machine's clock right and see to its time service. The node serves again by itself when \
                            its clock agrees with the others'; meanwhile connect to another node.";
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ns: i64| ns as f64 / 1e9;
        match self {
            Unsound::Unheard => f.write_str("its clock has not been compared with enough other nodes' yet"),
            Unsound::Jumped { by } => write!(
                f,
                "the machine's clock has jumped by {:+.3} s, and the other nodes have not said yet whether it is right",
                seconds(*by)
            ),
            Unsound::Leapt { by } => write!(
                f,
                "it has not looked at its clock for {:+.3} s, and the other nodes have not said yet what time it is",
                seconds(*by)
            ),
            Unsound::Doubted { by } => {
                write!(
                    f,
                    "another node's clock is {:.3} s ahead of its clock: one of them is wrong",
                    by.as_secs_f64()
                )
            }
            Unsound::Off { ahead, .. } => {
                let way = if *ahead < 0 { "behind" } else { "ahead of" };
                write!(f, "its clock is {:.3} s {way} most other nodes'", seconds(ahead.saturating_abs()))
            }
            Unsound::Behind { by } => {
                write!(f, "its clock is {:.3} s behind timestamps that were given before", by.as_secs_f64())
            }
        }
    }
}

/// How often a clock was fenced, how often it was found sound again, and what was refused meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FenceCounts {
    pub raised: u64,
    pub lifted: u64,
    pub refused: u64,
}

#[derive(Default)]
pub(super) struct Fence {
    up: AtomicBool,
    others_ahead: AtomicI64,
    reason: Mutex<Option<Unsound>>,
    raised: AtomicU64,
    lifted: AtomicU64,
    refused: AtomicU64,
}

impl Fence {
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// True if it was down before.
    pub fn raise(&self, reason: Unsound, others_ahead: i64) -> bool {
        let first = self.reason.lock().replace(reason).is_none();
        self.others_ahead.store(others_ahead, Ordering::Relaxed);
        self.up.store(true, Ordering::Release);
        if first {
            self.raised.fetch_add(1, Ordering::Relaxed);
        }
        first
    }

    pub fn lift(&self) {
        if self.reason.lock().take().is_some() {
            self.lifted.fetch_add(1, Ordering::Relaxed);
        }
        self.others_ahead.store(0, Ordering::Relaxed);
        self.up.store(false, Ordering::Release);
    }

    pub fn reason(&self) -> Option<Unsound> {
        *self.reason.lock()
    }

    pub fn others_ahead(&self) -> i64 {
        self.others_ahead.load(Ordering::Relaxed)
    }

    pub fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> FenceCounts {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        FenceCounts { raised: read(&self.raised), lifted: read(&self.lifted), refused: read(&self.refused) }
    }
}
