//! Has old versions dropped: tells the engine's compactions what no read can see any more, and has the ranges that this
//! node leads collect what compactions must leave.
//!
//! What must stay true: the threshold stays below the snapshot of every open transaction of the cluster. Nodes gossip when
//! their oldest one began; one that has not been heard of has begun within the time that versions are kept anyway.
//!
//! A range is looked through only after it has been written to, so an idle one costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::{RangeId, Timestamp};

use super::Inner;

const EVERY: Duration = Duration::from_secs(10);
/// Looking through a range is worth while after so many commands,
const COMMANDS: u64 = 10_000;
/// or after this time, if there was any.
const AT_LEAST_EVERY: Duration = Duration::from_secs(600);

/// When a range was last looked through: on the monotonic clock, and how much had been applied under which lease.
struct Last {
    at: Duration,
    applied: (u64, u64),
}

pub async fn run(inner: Arc<Inner>) {
    let mut last: BTreeMap<RangeId, Last> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        inform_compactions(&inner);
        let threshold = threshold(&inner);
        let now = inner.clock.monotonic();
        let leads: Vec<_> = inner
            .store
            .descriptors()
            .into_iter()
            .filter_map(|d| inner.participant.applied(d.range).map(|applied| (d, applied)))
            .collect();
        last.retain(|range, _| leads.iter().any(|(d, _)| d.range == *range));
        for (descriptor, applied) in leads {
            // The first look is put off too: a node that has just started has other things to do.
            let before = last.entry(descriptor.range).or_insert(Last { at: now, applied });
            let commands =
                if before.applied.0 == applied.0 { applied.1 - before.applied.1 } else { applied.1 };
            let waited = now.saturating_sub(before.at);
            if waited < inner.config.gc_after
                || (commands < COMMANDS && (commands == 0 || waited < AT_LEAST_EVERY))
            {
                continue;
            }
            match inner.db.collect_garbage(&descriptor, threshold).await {
                Ok(()) => *before = Last { at: now, applied },
                Err(e) => tracing::info!(range = %descriptor.range, error = %e, "garbage is left for later"),
            }
        }
    }
}

/// A replica's threshold was raised by the log, so it holds for whatever is in the engine for these keys, now and later.
fn inform_compactions(inner: &Inner) {
    inner.thresholds.retain(|range| inner.store.replica(range).is_some());
    for descriptor in inner.store.descriptors() {
        let Some(replica) = inner.store.replica(descriptor.range) else {
            inner.thresholds.remove(descriptor.range);
            continue;
        };
        // The threshold first: should the range be split meanwhile, an old threshold holds for the smaller range too.
        let at = replica.gc_threshold();
        if !at.is_zero() {
            inner.thresholds.set(descriptor.range, &replica.descriptor().span(), at);
        }
    }
}

fn threshold(inner: &Inner) -> Timestamp {
    let kept = inner.config.gc_after.as_nanos() as u64;
    let mut wall = inner.clock.wall_ns().saturating_sub(kept);
    for status in inner.members.status() {
        // The transactions of a dead node are dead.
        let silent = u128::from(status.silent_ms) >= inner.config.gc_after.as_millis();
        if let Some(state) = status.state.filter(|s| s.oldest_transaction > 0 && !silent) {
            wall = wall.min(state.oldest_transaction - 1);
        }
    }
    Timestamp::new(wall, 0)
}
