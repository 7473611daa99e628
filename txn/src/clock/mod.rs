//! What transactions make of the clock: when a version is uncertain, and when a commit may be told.
//!
//! With a known bound on the clocks' offset, a serializable commit at `ts` is acknowledged only when `ts` is in the past
//! on every clock (commit wait; Corbett et al., "Spanner", 2012). The wait begins when the log has begun to be
//! replicated, so with a bound below the replication latency it costs nothing.
//!
//! Where the bound is only assumed, waiting it out would cost half a second per commit: there is no commit wait, and the
//! guarantee is serializable plus linearizable for each key.
//!
//! Not covered: a transaction that only reads is acknowledged without a wait. If it saw a commit that was itself still
//! waiting, and a later transaction writes elsewhere through a slower clock, a third one that began before both may see the
//! later write and not the earlier. Each key is linearizable even then.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Clock, Runtime, Timestamp};

/// Which promise is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consistency {
    StrictSerializable,
    Serializable,
}

/// What a gateway knows of the cluster's clocks.
pub struct Clocks {
    pub clock: Clock,
    company: AtomicU8,
}

/// Whether there are other nodes.
const UNKNOWN: u8 = 0;
/// There is none, hence no other clock: nothing is uncertain, and nothing has to be waited for.
const ALONE: u8 = 1;
/// Once there was one, it stays so: its timestamps stay.
const TOGETHER: u8 = 2;

impl Clocks {
    pub fn new(clock: Clock) -> Self {
        Clocks { clock, company: AtomicU8::new(UNKNOWN) }
    }

    /// Must be said to be over before a second node begins to serve; after that it cannot be said again.
    pub fn set_alone(&self, alone: bool) {
        if alone {
            let _ = self.company.compare_exchange(UNKNOWN, ALONE, Ordering::SeqCst, Ordering::SeqCst);
        } else {
            self.company.store(TOGETHER, Ordering::SeqCst);
        }
    }

    fn is_alone(&self) -> bool {
        self.company.load(Ordering::SeqCst) == ALONE
    }

    fn max_offset(&self) -> Duration {
        if self.is_alone() { Duration::ZERO } else { self.clock.max_offset() }
    }

    pub fn consistency(&self) -> Consistency {
        if self.is_alone() || self.clock.bound_known() {
            Consistency::StrictSerializable
        } else {
            Consistency::Serializable
        }
    }

    /// Up to where a version may have been written, on a clock ahead of ours, before a read at `ts` began.
    pub fn uncertainty_limit(&self, ts: Timestamp) -> Timestamp {
        if planted::is(Planted::SkipUncertainty) {
            return ts;
        }
        ts.add(self.max_offset())
    }

    /// Returns when `ts` is in the past on every clock, if the bound is known; else at once.
    pub async fn commit_wait(&self, runtime: &dyn Runtime, ts: Timestamp) {
        if self.consistency() == Consistency::Serializable || planted::is(Planted::SkipCommitWait) {
            return;
        }
        let past = ts.add(self.max_offset()).wall;
        // However far timestamps are ahead of this node's clock: none was ahead of the foremost clock when it was given.
        let surely_past = self.clock.monotonic() + 2 * self.max_offset();
        loop {
            let mut left = surely_past.saturating_sub(self.clock.monotonic());
            if !self.clock.is_fenced() {
                left = left.min(Duration::from_nanos(past.saturating_sub(self.clock.wall_ns())));
            }
            if left.is_zero() {
                return;
            }
            // Not for long at once: the clock may be moved meanwhile.
            runtime.sleep(left.min(2 * self.max_offset())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_storage::base::{Hlc, Unsound};

    use super::*;
    use crate::testing::SimRuntime;

    const BOUND: Duration = Duration::from_millis(7);

    fn waited(bound_known: bool, alone: bool) -> Duration {
        let runtime = SimRuntime::new(1);
        let clocks = Clocks::new(Hlc::new(runtime.clock(), BOUND, bound_known));
        if alone {
            clocks.set_alone(true);
        }
        let before = clocks.clock.monotonic();
        let ts = clocks.clock.now();
        runtime.block_on(clocks.commit_wait(&*Arc::new(runtime.clone()), ts));
        clocks.clock.monotonic() - before
    }

    #[test]
    fn a_commit_waits_until_every_clock_has_passed_it() {
        assert_eq!(waited(true, false), BOUND);
        assert_eq!(waited(false, false), Duration::ZERO, "an assumed bound is not waited out");
        assert_eq!(waited(true, true), Duration::ZERO, "there is one clock only");
    }

    /// Nobody can say when it is over by a clock that is not relied upon: it is waited out by time as it passes.
    #[test]
    fn a_commit_of_a_fenced_node_is_past_on_every_clock_too() {
        let runtime = SimRuntime::new(1);
        let clocks = Clocks::new(Hlc::new(runtime.clock(), BOUND, true));
        let (before, ts) = (clocks.clock.monotonic(), clocks.clock.now());
        clocks.clock.raise_fence(Unsound::Unheard, 0);
        runtime.block_on(clocks.commit_wait(&*Arc::new(runtime.clone()), ts));
        assert_eq!(clocks.clock.monotonic() - before, 2 * BOUND);
        clocks.clock.lift_fence();
        // Timestamps that a wrong clock once gave are waited for no longer.
        let before = clocks.clock.monotonic();
        let far = ts.add(Duration::from_secs(3600));
        runtime.block_on(clocks.commit_wait(&*Arc::new(runtime.clone()), far));
        assert_eq!(clocks.clock.monotonic() - before, 2 * BOUND);
    }

    #[test]
    fn company_cannot_be_forgotten() {
        let clocks = Clocks::new(Hlc::new(SimRuntime::new(1).clock(), BOUND, false));
        clocks.set_alone(true);
        assert_eq!(clocks.consistency(), Consistency::StrictSerializable);
        clocks.set_alone(false);
        clocks.set_alone(true);
        assert_eq!(clocks.consistency(), Consistency::Serializable);
    }
}
