//! Merges, as the leaseholder of the left range sees them.
//!
//! What must stay true: of what was done in the right range nothing is remembered here, whoever led it. So the memory of the
//! merged range begins with the merge, above all that was served there; and it does so before anybody can see the wider
//! bounds. Whoever has asked for its bounds asks for its memory afterwards.

use std::sync::Arc;

use meridian_storage::base::{Key, StorageError, Timestamp};
use meridian_storage::replica::{RangeDescriptor, Replica};

use super::Participant;
use super::range::{MemoryOf, concerns};
use crate::rpc::{BatchRequest, BatchResponse, KvError, Response};

impl Participant {
    /// Has the range take in the one that begins at `at`, where it ends.
    pub(super) async fn merge_right(&self, batch: &BatchRequest, at: &Key) -> Result<BatchResponse, KvError> {
        let range = self.range(batch.header.range)?;
        let now = self.clock.now();
        let descriptor = self.admit(&range, now, batch)?;
        if descriptor.end != *at {
            return Err(KvError::RangeMismatch { descriptors: vec![(*descriptor).clone()] });
        }
        let merged = range.replica.absorb_right().await.map_err(|e| match e {
            StorageError::Config(reason) => KvError::Unsupported { reason },
            e => e.into(),
        })?;
        let responses = vec![Response::Merged { descriptor: (*merged).clone() }];
        Ok(BatchResponse { ts: now, now: self.clock.now(), responses })
    }

    pub(super) fn merged(&self, left: &Arc<dyn Replica>, until: Timestamp) {
        if let Some(state) = self.ranges.read().get(&left.range_id()) {
            let start = until.max(self.clock.now());
            state.forget_before(MemoryOf { start, since_ns: self.clock.wall_ns() });
        }
    }

    /// For a request to a range that is not here: it may have been merged into one that is.
    pub(super) fn taken_in(&self, batch: &BatchRequest) -> Option<KvError> {
        let ranges = self.ranges.read();
        if ranges.contains_key(&batch.header.range) {
            return None;
        }
        let newer = |d: &RangeDescriptor| d.generation > batch.header.generation && concerns(d, batch);
        let mut descriptors: Vec<RangeDescriptor> = Vec::new();
        for descriptor in ranges.values().map(|r| r.replica.descriptor()).filter(|d| newer(d)) {
            descriptors.push((*descriptor).clone());
        }
        descriptors.sort_by(|a, b| a.start.cmp(&b.start));
        (!descriptors.is_empty()).then_some(KvError::RangeMismatch { descriptors })
    }
}
