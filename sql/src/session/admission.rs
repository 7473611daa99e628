//! How many transaction blocks of a node run at once while they keep failing one another.
//!
//! A block whose rows have been seen by the client cannot be repeated unseen: if it loses a conflict, its work is lost. The more
//! blocks run beside it, the longer it takes and the more likely it is to lose, up to the point where most work is thrown
//! away. So when too many of the blocks that end have lost, fewer are let in at once, and the others wait in order of arrival,
//! before they have read anything; when most succeed again, more are let in, up to no limit at all. (The idea: Heiss and
//! Wagner, "Adaptive load control in transaction processing systems", VLDB 1991.)
//!
//! What must stay true: nobody waits longer than [`WAIT_MAX`], and a block whose client thinks does not keep its
//! place: there is no way to get stuck here, whatever clients do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use meridian_storage::base::runtime::timeout;
use meridian_storage::base::{Clock, Runtime};
use parking_lot::Mutex;

/// Outcomes between two looks at the limit.
const WINDOW: u32 = 64;
/// More than one in so many outcomes is a failure: fewer at once. (sysbench's read_write with 16 threads commits a quarter more, and
/// fails half as often, than with one in three; with one in twenty the processors are idle for a part of the time.)
const FAILURES_MAX: u32 = 6;
/// The limit never falls below this.
const LIMIT_MIN: f64 = 4.0;
/// There is no limit any more above this.
const LIMIT_MAX: f64 = 1024.0;
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A block that has not ended after this time waits for its client, or is not of the kind that is held back here.
const PLACE_MAX: Duration = Duration::from_millis(500);
/// Those who wait look for places that have become free by age.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A limit that nobody has had a reason for in this time is forgotten.
const LIMIT_AGE_MAX: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Admission {
    inner: Mutex<Inner>,
    /// Blocks that had to wait, for the metrics.
    pub waits: AtomicU64,
}

struct Inner {
    /// When those that run were let in, by place: the oldest first.
    running: BTreeMap<u64, Duration>,
    next: u64,
    limit: f64,
    queue: VecDeque<oneshot::Sender<Place>>,
    /// The most that ran at once since the last look.
    peak: usize,
    committed: u32,
    failed: u32,
    /// When there was reason to lower the limit last.
    lowered: Duration,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            running: BTreeMap::new(),
            next: 0,
            limit: f64::INFINITY,
            queue: VecDeque::new(),
            peak: 0,
            committed: 0,
            failed: 0,
            lowered: Duration::ZERO,
        }
    }
}

/// The right to run; given up when dropped.
pub struct Place {
    admission: Arc<Admission>,
    clock: Clock,
    id: u64,
}

impl Admission {
    /// Waits for a place, if there are too many; but not for ever.
    pub async fn enter(self: &Arc<Self>, clock: &Clock, runtime: &dyn Runtime) -> Place {
        let mut turn = {
            let mut inner = self.inner.lock();
            if inner.has_room(clock.monotonic()) && inner.queue.is_empty() {
                return self.place(&mut inner, clock);
            }
            let (sender, turn) = oneshot::channel();
            inner.queue.push_back(sender);
            turn
        };
        self.waits.fetch_add(1, Ordering::Relaxed);
        let until = clock.monotonic() + WAIT_MAX;
        while clock.monotonic() < until {
            self.admit(clock);
            if let Some(Ok(place)) = timeout(runtime, LOOK_EVERY, &mut turn).await {
                return place;
            }
        }
        drop(turn);
        self.place(&mut self.inner.lock(), clock)
    }

    fn place(self: &Arc<Self>, inner: &mut Inner, clock: &Clock) -> Place {
        let id = inner.next;
        inner.next += 1;
        inner.running.insert(id, clock.monotonic());
        inner.peak = inner.peak.max(inner.running.len());
        Place { admission: self.clone(), clock: clock.clone(), id }
    }

    /// A block has ended, well or by losing a conflict.
    pub fn ended(&self, committed: bool, clock: &Clock) {
        let mut inner = self.inner.lock();
        if committed {
            inner.committed += 1;
        } else {
            inner.failed += 1;
        }
        if inner.committed + inner.failed >= WINDOW {
            inner.look(clock.monotonic());
        }
    }

    fn admit(self: &Arc<Self>, clock: &Clock) {
        let mut admitted = Vec::new();
        {
            let mut inner = self.inner.lock();
            while let Some(turn) = inner.queue.front() {
                // Those who have gone away stay no longer than their turn, whatever room there is.
                let gone = turn.is_canceled();
                if !gone && !inner.has_room(clock.monotonic()) {
                    break;
                }
                if let Some(turn) = inner.queue.pop_front().filter(|_| !gone) {
                    admitted.push((turn, self.place(&mut inner, clock)));
                }
            }
        }
        for (turn, place) in admitted {
            // Whoever has gone away meanwhile drops the place, and so makes room for the next.
            let _ = turn.send(place);
        }
    }
}

impl Inner {
    fn has_room(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.lowered) > LIMIT_AGE_MAX {
            self.limit = f64::INFINITY;
        }
        while let Some(oldest) = self.running.first_entry()
            && now.saturating_sub(*oldest.get()) > PLACE_MAX
        {
            oldest.remove();
        }
        (self.running.len() as f64) < self.limit
    }

    fn look(&mut self, now: Duration) {
        if self.failed * FAILURES_MAX > self.failed + self.committed {
            self.limit = (self.limit.min(self.peak as f64) * 0.75).max(LIMIT_MIN);
            self.lowered = now;
        } else {
            self.limit *= 1.125;
            if self.limit > LIMIT_MAX {
                self.limit = f64::INFINITY;
            }
        }
        (self.committed, self.failed, self.peak) = (0, 0, self.running.len());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.inner.lock().running.remove(&self.id);
        self.admission.admit(&self.clock);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use meridian_storage::base::Hlc;
    use meridian_storage::base::clock::DEFAULT_MAX_OFFSET;
    use meridian_txn::testing::SimRuntime;

    use super::*;

    struct Bench {
        runtime: SimRuntime,
        clock: Clock,
        admission: Arc<Admission>,
    }

    impl Bench {
        fn new() -> Bench {
            let runtime = SimRuntime::new(1);
            let clock = Hlc::new(runtime.clock(), DEFAULT_MAX_OFFSET, true);
            Bench { runtime, clock, admission: Arc::default() }
        }

        /// Who is let in without waiting.
        fn enter_now(&self) -> Option<Place> {
            let process = self.runtime.process();
            self.admission.enter(&self.clock, &process).now_or_never()
        }

        /// So many windows in which `failed` of [`WINDOW`] blocks lose.
        fn end(&self, windows: usize, failed: u32) {
            for _ in 0..windows {
                (0..WINDOW).for_each(|n| self.admission.ended(n >= failed, &self.clock));
            }
        }
    }

    #[test]
    fn without_failures_nobody_waits() {
        let bench = Bench::new();
        bench.end(10, WINDOW / 8);
        let places: Vec<_> = (0..500).map(|_| bench.enter_now()).collect();
        assert!(places.iter().all(Option::is_some));
    }

    #[test]
    fn failures_lower_the_limit_and_successes_lift_it() {
        let bench = Bench::new();
        let mut places: Vec<_> = (0..16).map(|_| bench.enter_now().expect("no limit")).collect();
        bench.end(1, WINDOW / 2);
        assert!(bench.enter_now().is_none(), "twelve at once");
        places.truncate(12);
        assert!(bench.enter_now().is_none());
        places.truncate(11);
        let twelfth = bench.enter_now().expect("a place is free");
        assert!(bench.enter_now().is_none());
        drop(twelfth);
        bench.end(100, WINDOW);
        places.truncate(4);
        assert!(bench.enter_now().is_none());
        places.truncate(3);
        assert!(bench.enter_now().is_some(), "four always may");
        bench.end(100, 0);
        places.extend((0..500).map(|_| bench.enter_now().expect("no limit any more")));
    }

    #[test]
    fn those_who_wait_are_let_in_in_turn_and_when_places_have_grown_old() {
        let bench = Bench::new();
        let mut places: Vec<_> = (0..8).map(|_| bench.enter_now().expect("no limit")).collect();
        bench.end(4, WINDOW);
        let process = bench.runtime.process();
        places.truncate(4);
        bench.runtime.block_on(async {
            let enter = || bench.admission.enter(&bench.clock, &process);
            let (first, second) = (enter(), enter());
            futures::pin_mut!(first, second);
            assert!(first.as_mut().now_or_never().is_none());
            assert!(second.as_mut().now_or_never().is_none());
            places.pop();
            let place = first.as_mut().now_or_never().expect("the first has its turn");
            assert!(second.as_mut().now_or_never().is_none());
            let begun = bench.clock.monotonic();
            let second = second.await;
            let waited = bench.clock.monotonic() - begun;
            assert!(waited > PLACE_MAX && waited <= PLACE_MAX + LOOK_EVERY, "{waited:?}");
            drop((place, second));
        });
    }

    #[test]
    fn whoever_gives_up_waiting_loses_no_place() {
        let bench = Bench::new();
        let mut places: Vec<_> = (0..4).map(|_| bench.enter_now().expect("no limit")).collect();
        bench.end(2, WINDOW);
        let process = bench.runtime.process();
        let mut gone = Box::pin(bench.admission.enter(&bench.clock, &process));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        places.pop();
        assert!(bench.enter_now().is_some());
    }

    #[test]
    fn a_limit_is_forgotten_and_nobody_waits_for_ever() {
        let bench = Bench::new();
        let mut places: Vec<_> = (0..4).map(|_| bench.enter_now().expect("no limit")).collect();
        bench.end(4, WINDOW);
        assert!(bench.enter_now().is_none());
        assert!(bench.admission.inner.lock().queue.len() <= 1, "who has gone away is forgotten");
        bench.runtime.run_for(LIMIT_AGE_MAX + Duration::from_millis(1));
        places.extend((0..100).map(|_| bench.enter_now().expect("no limit any more")));
    }

    #[test]
    fn a_block_whose_client_thinks_does_not_keep_its_place() {
        let bench = Bench::new();
        let places: Vec<_> = (0..4).map(|_| bench.enter_now().expect("no limit")).collect();
        bench.end(2, WINDOW);
        assert!(bench.enter_now().is_none());
        bench.runtime.run_for(PLACE_MAX + Duration::from_millis(1));
        assert!(bench.enter_now().is_some());
        drop(places);
    }
}
