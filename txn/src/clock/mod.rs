//! What transactions make of the clock: when a version is uncertain, and when a commit may be told.
//!
//! With a known bound on the clocks' offset, a serializable commit at `ts` is acknowledged only when `ts` is in the past
//! on every clock (commit wait; Corbett et al., "Spanner", 2012). The wait begins when the log has begun to be
//! replicated, so with a bound below the replication latency it costs nothing.
//!
//! Where the bound is only assumed, waiting it out would cost half a second per commit: there is no commit wait, and the
//! guarantee is serializable plus linearizable for each key.

use std::time::Duration;

use meridian_storage::base::{Clock, Runtime, Timestamp};

/// Which promise is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consistency {
    StrictSerializable,
    Serializable,
}

impl Consistency {
    pub fn of(clock: &Clock) -> Self {
        if clock.bound_known() { Consistency::StrictSerializable } else { Consistency::Serializable }
    }
}

/// Up to where a version may have been written, on a clock ahead of ours, before a read at `ts` began.
pub fn uncertainty_limit(clock: &Clock, ts: Timestamp) -> Timestamp {
    ts.add(clock.max_offset())
}

/// Returns when `ts` is in the past on every clock, if the bound is known; else at once.
pub async fn commit_wait(clock: &Clock, runtime: &dyn Runtime, ts: Timestamp) {
    if !clock.bound_known() {
        return;
    }
    let past = ts.add(clock.max_offset()).wall;
    loop {
        let now = clock.wall_ns();
        if past < now {
            return;
        }
        runtime.sleep(Duration::from_nanos(past - now + 1)).await;
    }
}
