//! Replicas that their range has left behind.
//!
//! A node that slept while its range was divided and all other replicas moved away holds what nobody else has any more: those
//! that its descriptor names have left the range, or the cluster, and cannot tell it that its own replica was removed.
//! Meanwhile it keeps the keys from new replicas, since snapshots of what these belong to now overlap it. So one
//! replica at a time asks, in the way of any gateway, who serves its first key.
//!
//! What must stay true: a replica goes only if a later descriptor of the same range says that it was removed; the store sees to
//! that. Ids of replicas are never given twice, so no such word is ever taken back.

use std::time::Duration;

use meridian_storage::base::RangeId;
use meridian_storage::store::StoreHandle;

use super::Db;

/// One replica per interval, whatever their number.
const INTERVAL: Duration = Duration::from_secs(2);

impl Db {
    /// Looks after the replicas of this node for as long as it lives.
    pub async fn look_for_strays(&self, store: &StoreHandle) {
        let mut last = RangeId(0);
        loop {
            self.runtime().sleep(INTERVAL).await;
            last = self.look_at_next(store, last).await;
        }
    }

    async fn look_at_next(&self, store: &StoreHandle, last: RangeId) -> RangeId {
        let now = store.clock().now();
        let mut here = store.descriptors();
        here.retain(|d| store.replica(d.range).is_some_and(|r| r.lease(now).is_err()));
        here.sort_by_key(|d| d.range);
        let Some(next) = here.iter().find(|d| d.range > last).or(here.first()) else { return last };
        match self.range_stats(&next.start).await {
            Ok((current, _)) if current.range == next.range && current.generation > next.generation => {
                store.left_behind(current);
            }
            // It serves nothing while nobody can be asked.
            _ => {}
        }
        next.range
    }
}
