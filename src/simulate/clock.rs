//! A machine's clocks, right and wrong.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::PhysicalClock;
use meridian_storage::base::clock::ManualClock;
use parking_lot::Mutex;

/// How long machines have been up when a run begins.
const UPTIME: Duration = Duration::from_secs(1 << 20);

/// A machine's clocks: the cluster's virtual time, how far the wall clock is off, and how wrong both run.
pub struct SkewedClock {
    base: Arc<ManualClock>,
    state: Mutex<Skew>,
}

struct Skew {
    wall_ns: i64,
    /// By how many parts per million both clocks run too fast, since when, and what they have gained until then.
    rate_ppm: i64,
    since: Duration,
    gained_ns: i64,
    /// Whether a time service keeps the wall clock from drifting.
    kept: bool,
}

impl Skew {
    fn gained(&self, now: Duration) -> i64 {
        let passed = now.saturating_sub(self.since).as_nanos() as i64;
        self.gained_ns + (i128::from(passed) * i128::from(self.rate_ppm) / 1_000_000) as i64
    }
}

impl SkewedClock {
    pub fn new(base: Arc<ManualClock>, skew_ns: i64) -> Self {
        let since = base.monotonic();
        let state = Skew { wall_ns: skew_ns, rate_ppm: 0, since, gained_ns: 0, kept: true };
        SkewedClock { base, state: Mutex::new(state) }
    }

    /// The wall clock jumps to so far from true time, and stays there.
    pub fn set_skew(&self, skew_ns: i64) {
        let mut state = self.state.lock();
        (state.wall_ns, state.kept) = (skew_ns, true);
    }

    /// The crystal runs wrong from now on; `kept`: a time service sees to it that the wall clock does not.
    pub fn set_rate(&self, rate_ppm: i64, kept: bool) {
        let now = self.base.monotonic();
        let mut state = self.state.lock();
        let gained = state.gained(now);
        if state.kept != kept {
            // The wall clock stands where it stood.
            state.wall_ns += if kept { gained } else { -gained };
        }
        (state.rate_ppm, state.since, state.gained_ns, state.kept) = (rate_ppm, now, gained, kept);
    }

    /// Both clocks leap, as for a process that is told another time; with a time service, the wall clock comes back.
    pub fn leap(&self, by_ns: i64) {
        self.state.lock().gained_ns += by_ns;
    }

    pub fn skew(&self) -> i64 {
        self.state.lock().wall_ns
    }
}

impl PhysicalClock for SkewedClock {
    fn wall_ns(&self) -> u64 {
        let state = self.state.lock();
        let gained = if state.kept { 0 } else { state.gained(self.base.monotonic()) };
        self.base.wall_ns().saturating_add_signed(state.wall_ns + gained)
    }

    fn monotonic(&self) -> Duration {
        let now = self.base.monotonic();
        let gained = self.state.lock().gained(now);
        // Since long before the run, so that a leap back does not end at zero.
        Duration::from_nanos(((now + UPTIME).as_nanos() as u64).saturating_add_signed(gained))
    }
}
