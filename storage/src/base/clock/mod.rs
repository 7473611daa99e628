//! The hybrid logical clock of a node, over the machine's clocks, which are replaced in tests and simulation.
//!
//! # The node's own wall clock
//!
//! Timestamps are not taken from the machine's wall clock. It is read once, when the node starts, and from then on time goes
//! on as it passes: *own wall clock = anchor + monotonic clock*. What a time service corrects in small steps is followed by
//! moving the anchor, a little faster or slower than real time ([`SLEW_SHIFT`]). A jump of the machine's clock, to wherever,
//! never reaches a timestamp: whoever watches the clock (`store::watch`) compares it with the other nodes' and steps the
//! anchor only when they say that the machine's clock is right, and only while the node serves nothing.
//!
//! # The fence
//!
//! A clock that cannot be relied upon is *fenced*, with the reason. Then:
//! - nothing is served, and nothing begun, on this node; who asks is told the reason;
//! - [`Hlc::now`] does not look at the wall clock any more: it goes on from what it was shown by others, so that the node's
//!   messages carry no time of a bad clock, and it can go on voting and replicating.
//!
//! The monotonic clock may be wrong, too: a machine that stood still, a process that was told another time. So a clock that is
//! watched counts as fenced as soon as the monotonic clock is not where the last look at it ([`Hlc::note_look`]) has left it,
//! or a little later ([`LEAP`]).
//!
//! What must stay true: the clock never gives a timestamp that is not above all that it has given or was shown, whatever
//! becomes of the wall clock.
//!
//! Alternatives considered: reading the machine's wall clock for each timestamp, with a largest step that is believed. Then a
//! jump is in timestamps before anybody can notice, and a clock that jumps back stands still, so that a lease by wall
//! time lasts too long. Following the other nodes' clocks, as a time service does: the bound on the clocks' difference is a
//! promise about the machine's clocks, and a measurement over the network is worth no more than half a round trip.

mod fence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::planted::{self, Planted};
use super::{StorageError, Timestamp};
use fence::Fence;
pub use fence::{FenceCounts, Unsound};

/// The machine's clocks. The production implementation lives in the binary; a simulation skews its own per node.
pub trait PhysicalClock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch. May jump.
    fn wall_ns(&self) -> u64;
    /// Time since an arbitrary fixed point of this process. Never goes back, and does not stand still while the machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// The largest difference that two nodes' clocks may have when nothing better is known.
pub const DEFAULT_MAX_OFFSET: Duration = Duration::from_millis(500);

/// Small corrections are made at 1/2048 of the time that passes, about as fast as a time service corrects a clock.
const SLEW_SHIFT: u32 = 11;

/// A clock that is watched is looked at more often than this. If it was not, time has leapt, or its watcher stood still: nobody
/// can tell which.
pub const LEAP: Duration = Duration::from_secs(2);

/// Two clocks are read so often, until that takes less than [`READ_WITHIN`] in between.
const READINGS: usize = 5;
const READ_WITHIN: Duration = Duration::from_micros(20);

/// What everything below the binary sees of time.
pub type Clock = Arc<Hlc>;

/// Hybrid logical clock: while it is sound, never behind the wall clock; never behind any message received.
pub struct Hlc {
    physical: Arc<dyn PhysicalClock>,
    max_offset: Duration,
    /// Whether `max_offset` was given or measured, rather than assumed; commit wait runs only then.
    bound_known: bool,
    /// Own wall clock less monotonic clock, in nanoseconds; wraps.
    anchor: AtomicU64,
    last: Mutex<Timestamp>,
    fence: Fence,
    /// Where the monotonic clock stood when it was looked at last, in nanoseconds; [`UNWATCHED`] if nobody looks.
    looked_at: AtomicU64,
    /// Another node has shown a time that cannot be, if this clock is right.
    doubted: AtomicBool,
}

const UNWATCHED: u64 = u64::MAX;

impl Hlc {
    /// A sound clock, anchored at the machine's wall clock.
    pub fn new(physical: Arc<dyn PhysicalClock>, max_offset: Duration, bound_known: bool) -> Clock {
        let (wall, monotonic) = read_both(&*physical);
        let anchor = wall.wrapping_sub(monotonic);
        Arc::new(Hlc {
            physical,
            max_offset,
            bound_known,
            anchor: AtomicU64::new(anchor),
            last: Mutex::new(Timestamp::ZERO),
            fence: Fence::default(),
            looked_at: AtomicU64::new(UNWATCHED),
            doubted: AtomicBool::new(false),
        })
    }

    /// A timestamp above every one that this clock has given or been shown.
    pub fn now(&self) -> Timestamp {
        self.tick().0
    }

    /// As [`now`](Self::now), for what begins with it. A timestamp that was taken while the clock was fenced may be long past
    /// when it is used, and nobody could tell: there is none then.
    pub fn begin(&self) -> Result<Timestamp, Unsound> {
        match self.tick() {
            (now, true) => Ok(now),
            (_, false) => Err(self.reason()),
        }
    }

    /// The next timestamp, and whether it is of a sound clock.
    fn tick(&self) -> (Timestamp, bool) {
        // In this order: a wall clock that was read before would be of another time than what is said of it.
        let sound = !self.is_fenced();
        let wall = self.wall_ns();
        let mut last = self.last.lock();
        let back = planted::is(Planted::ClockBackwards) && wall < last.wall;
        *last = if sound && (wall > last.wall || back) { Timestamp::new(wall, 0) } else { last.next() };
        (*last, sound)
    }

    /// Takes note of a timestamp from another node (or from a client's transaction).
    ///
    /// Refuses one further ahead of the local clock than the largest allowed offset: a broken clock must not
    /// drag the cluster into the future. A clock that is known to be wrong goes by what it knows of the others'. Whoever
    /// watches the clock hears of a refusal: it may be this one that is behind.
    pub fn update(&self, seen: Timestamp) -> Result<(), StorageError> {
        let wall = self.wall_ns().saturating_add_signed(self.fence.others_ahead());
        let ahead = Duration::from_nanos(seen.wall.saturating_sub(wall));
        if ahead > self.max_offset {
            self.doubted.store(true, Ordering::Relaxed);
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

    /// The node's own wall clock.
    pub fn wall_ns(&self) -> u64 {
        self.anchor.load(Ordering::Relaxed).wrapping_add(nanos(self.monotonic()))
    }

    pub fn monotonic(&self) -> Duration {
        self.physical.monotonic()
    }

    // --- the anchor ---

    /// By how much the machine's wall clock is ahead of the node's own, in nanoseconds.
    pub fn machine_ahead(&self) -> i64 {
        let (machine, monotonic) = read_both(&*self.physical);
        let own = self.anchor.load(Ordering::Relaxed).wrapping_add(monotonic);
        (i128::from(machine) - i128::from(own)).clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// Moves the node's own wall clock towards the machine's, as far as it may go while `elapsed` passes.
    pub(crate) fn slew(&self, elapsed: Duration) {
        let most = (nanos(elapsed) >> SLEW_SHIFT) as i64;
        self.step(self.machine_ahead().clamp(-most, most));
    }

    /// Moves the node's own wall clock. Timestamps go on growing, wherever it goes.
    pub(crate) fn step(&self, by: i64) {
        self.anchor.fetch_add(by as u64, Ordering::Relaxed);
    }

    /// Whether timestamps are further ahead of the wall clock than the other nodes' clocks can have moved them.
    pub(crate) fn behind_its_timestamps(&self) -> Option<Duration> {
        let ahead = Duration::from_nanos(self.last.lock().wall.saturating_sub(self.wall_ns()));
        (ahead > self.max_offset).then_some(ahead)
    }

    // --- the fence ---

    /// Why the clock cannot be relied upon, if it cannot.
    pub fn unsound(&self) -> Option<Unsound> {
        self.fence.reason().or_else(|| Some(Unsound::Leapt { by: self.leap()? }))
    }

    fn reason(&self) -> Unsound {
        self.unsound().unwrap_or(Unsound::Unheard)
    }

    pub fn is_fenced(&self) -> bool {
        (self.fence.is_up() || self.leap().is_some()) && !planted::is(Planted::ClockUnfenced)
    }

    /// By how much the monotonic clock is not where it was left, in nanoseconds, if it is not.
    pub(crate) fn leap(&self) -> Option<i64> {
        // In this order: what was looked at is in the past of what is read now.
        let looked_at = self.looked_at.load(Ordering::Acquire);
        let by = nanos(self.monotonic()).wrapping_sub(looked_at) as i64;
        (looked_at != UNWATCHED && !(0..=LEAP.as_nanos() as i64).contains(&by)).then_some(by)
    }

    /// For who watches the clock: it is looked at now, and will be again soon.
    pub(crate) fn note_look(&self) {
        self.looked_at.store(nanos(self.monotonic()), Ordering::Release);
    }

    /// For who watches the clock: whether another node has shown a time that is too far ahead, since this was asked last.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubted.load(Ordering::Relaxed) && self.doubted.swap(false, Ordering::Relaxed)
    }

    /// To be asked before anything begins that needs the time.
    pub fn check(&self) -> Result<(), Unsound> {
        if !self.is_fenced() {
            return Ok(());
        }
        self.fence.count_refusal();
        Err(self.reason())
    }

    /// For who watches the clock. `others_ahead`: by how many nanoseconds most other nodes' clocks may be ahead; negative if they
    /// are behind. True if the clock was sound before.
    pub fn raise_fence(&self, reason: Unsound, others_ahead: i64) -> bool {
        self.fence.raise(reason, others_ahead)
    }

    /// For who watches the clock.
    pub fn lift_fence(&self) {
        self.fence.lift();
    }

    pub fn fence_counts(&self) -> FenceCounts {
        self.fence.counts()
    }
}

/// What a machine's wall clock and its monotonic clock say at one moment, in nanoseconds.
fn read_both(physical: &dyn PhysicalClock) -> (u64, u64) {
    let reading = |_| {
        let (before, wall) = (physical.monotonic(), physical.wall_ns());
        let gap = physical.monotonic().saturating_sub(before);
        (gap, wall, nanos(before + gap / 2))
    };
    let mut readings = (0..READINGS).map(reading);
    let mut best = (Duration::MAX, 0, 0);
    // Whoever reads them may be stopped in between.
    while best.0 > READ_WITHIN
        && let Some(next) = readings.next()
    {
        best = best.min(next);
    }
    (best.1, best.2)
}

fn nanos(d: Duration) -> u64 {
    d.as_nanos() as u64
}

/// A clock that stands still until it is moved, for tests. Its monotonic clock is its wall clock, but for what
/// [`ManualClock::jump`] has done to the latter.
pub struct ManualClock {
    monotonic: AtomicU64,
    jumped: std::sync::atomic::AtomicI64,
}

impl ManualClock {
    pub fn new(wall_ns: u64) -> Arc<Self> {
        Arc::new(ManualClock { monotonic: wall_ns.into(), jumped: 0.into() })
    }

    pub fn set(&self, wall_ns: u64) {
        self.monotonic.store(wall_ns, Ordering::SeqCst);
    }

    pub fn advance(&self, d: Duration) {
        self.monotonic.fetch_add(nanos(d), Ordering::SeqCst);
    }

    /// The wall clock jumps, and no time passes.
    pub fn jump(&self, by: i64) {
        self.jumped.fetch_add(by, Ordering::SeqCst);
    }
}

impl PhysicalClock for ManualClock {
    fn wall_ns(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst).saturating_add_signed(self.jumped.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const EPOCH: u64 = 1_700_000_000_000_000_000;

    fn clock() -> (Arc<ManualClock>, Clock) {
        let machine = ManualClock::new(EPOCH);
        (machine.clone(), Hlc::new(machine, Duration::from_millis(500), true))
    }

    #[test]
    fn no_jump_of_the_machines_clock_reaches_a_timestamp() {
        let (machine, hlc) = clock();
        for jump in [3600 * SECOND, -7200 * SECOND, 365 * 86400 * SECOND] {
            let before = hlc.now();
            machine.jump(jump);
            machine.advance(Duration::from_millis(5));
            assert_eq!(hlc.now().wall - before.wall, 5_000_000);
        }
        assert_eq!(hlc.machine_ahead(), (365 * 86400 - 3600) * SECOND);
    }

    #[test]
    fn small_differences_are_made_up_for_slowly() {
        let (machine, hlc) = clock();
        machine.jump(-100_000_000);
        machine.advance(Duration::from_millis(2048));
        let before = hlc.wall_ns();
        hlc.slew(Duration::from_millis(2048));
        assert_eq!(before - hlc.wall_ns(), 1_000_000);
        machine.jump(99_500_000);
        hlc.slew(Duration::from_millis(2048));
        assert_eq!(hlc.machine_ahead(), 0, "and not beyond");
    }

    #[test]
    fn timestamps_grow_though_the_clock_steps_back() {
        let (machine, hlc) = clock();
        let before = hlc.now();
        hlc.step(-3600 * SECOND);
        assert_eq!(hlc.now(), before.next());
        assert_eq!(hlc.behind_its_timestamps(), Some(Duration::from_secs(3600)));
        machine.advance(Duration::from_secs(3600));
        assert_eq!(hlc.behind_its_timestamps(), None);
        assert!(hlc.now().wall > before.wall || hlc.now() > before);
    }

    #[test]
    fn a_fenced_clock_goes_by_what_others_say() {
        let (machine, hlc) = clock();
        let before = hlc.now();
        assert!(hlc.raise_fence(Unsound::Off { ahead: -10 * SECOND, median: 10 * SECOND }, 10 * SECOND));
        machine.advance(Duration::from_secs(60));
        assert_eq!(hlc.now(), before.next(), "not by its own time");
        let theirs = Timestamp::new(hlc.wall_ns() + 10 * SECOND as u64, 3);
        hlc.update(theirs).expect("where the others are");
        assert_eq!(hlc.now(), theirs.next());
        assert!(hlc.update(theirs.add(Duration::from_secs(1))).is_err(), "but no further");
        hlc.lift_fence();
        assert!(hlc.update(theirs.add(Duration::from_millis(1))).is_err());
    }

    /// One that is ahead and knows it: what is as far ahead is as wrong.
    #[test]
    fn a_clock_that_is_ahead_believes_nobody_who_is_ahead_as_well() {
        let (_, hlc) = clock();
        hlc.raise_fence(Unsound::Off { ahead: 3600 * SECOND, median: -3600 * SECOND }, -3600 * SECOND);
        let theirs = Timestamp::new(hlc.wall_ns() - 3600 * SECOND as u64, 0);
        hlc.update(theirs.add(Duration::from_millis(400))).expect("where the others are");
        assert!(hlc.update(theirs.add(Duration::from_secs(1))).is_err());
        assert!(hlc.take_doubt() && !hlc.take_doubt());
    }

    #[test]
    fn a_monotonic_clock_that_leaps_is_not_believed() {
        for by in [-3600 * SECOND, -1, 3 * SECOND, 3600 * SECOND] {
            let (machine, hlc) = clock();
            machine.advance(Duration::from_secs(5));
            assert_eq!(hlc.unsound(), None, "nobody watches");
            hlc.note_look();
            machine.advance(Duration::from_secs(1));
            assert_eq!(hlc.unsound(), None);
            machine.set(EPOCH.wrapping_add_signed(5 * SECOND + by));
            let before = hlc.begin().expect_err("it leapt");
            assert_eq!(before, Unsound::Leapt { by });
            assert!(hlc.is_fenced() && hlc.check().is_err());
            let now = hlc.now();
            assert!(now < Timestamp::new(EPOCH, 100), "and not in any timestamp: {now}");
            hlc.note_look();
            assert_eq!(hlc.unsound(), None);
        }
    }

    /// The reader of two clocks is stopped between them.
    struct Stopped(Arc<ManualClock>, AtomicU64);

    impl PhysicalClock for Stopped {
        fn wall_ns(&self) -> u64 {
            let wall = self.0.wall_ns();
            if self.1.fetch_add(1, Ordering::SeqCst) == 1 {
                self.0.advance(Duration::from_millis(80));
            }
            wall
        }

        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
    }

    #[test]
    fn two_clocks_are_read_at_one_moment() {
        let machine = Arc::new(Stopped(ManualClock::new(EPOCH), AtomicU64::new(0)));
        let hlc = Hlc::new(machine, Duration::from_millis(500), true);
        assert_eq!(hlc.machine_ahead(), 0);
    }
}
