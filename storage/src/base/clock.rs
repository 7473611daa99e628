//! The hybrid logical clock of a node, over a physical clock that is replaced in tests and simulation.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::planted::{self, Planted};
use super::{StorageError, Timestamp};

/// The machine's clocks. The production implementation lives in the binary; a simulation skews its own per node.
pub trait PhysicalClock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch. May jump.
    fn wall_ns(&self) -> u64;
    /// Time since an arbitrary fixed point of this process. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The largest difference that two nodes' clocks may have when nothing better is known.
pub const DEFAULT_MAX_OFFSET: Duration = Duration::from_millis(500);

/// What everything below the binary sees of time.
pub type Clock = Arc<Hlc>;

/// Hybrid logical clock: never behind the physical clock, never behind any message received.
pub struct Hlc {
    physical: Arc<dyn PhysicalClock>,
    max_offset: Duration,
    /// Whether `max_offset` was given or measured, rather than assumed; commit wait runs only then.
    bound_known: bool,
    last: Mutex<Timestamp>,
}

impl Hlc {
    pub fn new(physical: Arc<dyn PhysicalClock>, max_offset: Duration, bound_known: bool) -> Clock {
        Arc::new(Hlc { physical, max_offset, bound_known, last: Mutex::new(Timestamp::ZERO) })
    }

    /// A timestamp above every one that this clock has given or been shown.
    pub fn now(&self) -> Timestamp {
        let wall = self.physical.wall_ns();
        let mut last = self.last.lock();
        let back = planted::is(Planted::ClockBackwards) && wall < last.wall;
        *last = if wall > last.wall || back { Timestamp::new(wall, 0) } else { last.next() };
        *last
    }

    /// Takes note of a timestamp from another node (or from a client's transaction).
    ///
    /// Refuses one further ahead of the local clock than the largest allowed offset: a broken clock must not
    /// drag the cluster into the future.
    pub fn update(&self, seen: Timestamp) -> Result<(), StorageError> {
        let wall = self.physical.wall_ns();
        let ahead = Duration::from_nanos(seen.wall.saturating_sub(wall));
        if ahead > self.max_offset {
            return Err(StorageError::ClockOffset { ahead, bound: self.max_offset });
        }
        if !planted::is(Planted::ClockIgnoresMessages) {
            self.last.lock().forward(seen);
        }
        Ok(())
    }

    /// The largest difference between any two nodes' clocks.
    pub fn max_offset(&self) -> Duration {
        self.max_offset
    }

    pub fn bound_known(&self) -> bool {
        self.bound_known
    }

    pub fn wall_ns(&self) -> u64 {
        self.physical.wall_ns()
    }

    pub fn monotonic(&self) -> Duration {
        self.physical.monotonic()
    }
}

/// A clock that stands still until it is moved, for tests.
pub struct ManualClock(std::sync::atomic::AtomicU64);

impl ManualClock {
    pub fn new(wall_ns: u64) -> Arc<Self> {
        Arc::new(ManualClock(wall_ns.into()))
    }

    pub fn set(&self, wall_ns: u64) {
        self.0.store(wall_ns, std::sync::atomic::Ordering::SeqCst);
    }

    pub fn advance(&self, d: Duration) {
        self.0.fetch_add(d.as_nanos() as u64, std::sync::atomic::Ordering::SeqCst);
    }
}

impl PhysicalClock for ManualClock {
    fn wall_ns(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.wall_ns())
    }
}
