//! Keeping the log short: flush the engine, truncate what is durably applied, give back the space.
//!
//! [`StoreHandle::maintain`] runs in a background thread of the binary: flushing and purging block. The truncations
//! themselves are decided by the core, which knows what followers still need.
//!
//! What must stay true: the log of a range is truncated only up to what the engine would still have applied after a
//! crash, and is forgotten only when the replica's tombstone would survive one.

use super::core::StoreCore;
use super::handle::StoreHandle;
use super::inbox::{Flushed, Input};
use crate::apply::state;
use crate::base::planted::{self, Planted};
use crate::base::{RangeId, StorageError, StorageResult};
use crate::log::{LogBatch, LogOp};
use crate::probe;

/// A long log alone is no reason to flush less than this.
const MIN_FLUSH_BYTES: u64 = 1 << 20;

impl StoreHandle {
    /// Why the node is to end at once, leaving its leases to others: it has met what it cannot read of its state. If it
    /// stayed, that would be out of reach for ever, beside replicas that are whole. A node that nobody can stand in for
    /// stays, and serves what it can.
    pub fn must_give_way(&self) -> Option<StorageError> {
        let fault = self.shared.engine.fault()?;
        let others = self.descriptors().iter().any(|d| d.voters().count() > 1);
        others.then_some(fault)
    }

    /// Flushes the engine if it or the log has grown enough, and gives back the log's space. Blocks.
    pub fn maintain(&self) -> StorageResult<()> {
        let shared = &self.shared;
        let config = &shared.config;
        let unflushed = shared.engine.unflushed_bytes();
        let long = shared.log.size() >= config.log_bytes;
        if unflushed >= config.unflushed_bytes
            || shared.engine.wants_flush()
            || long && unflushed >= MIN_FLUSH_BYTES
            || !shared.destroyed.lock().is_empty()
        {
            self.flush()?;
        } else if long {
            // What holds the log up is not the engine: followers may have caught up meanwhile.
            self.let_truncate(Vec::new())?;
        }
        shared.log.purge()
    }

    /// Makes everything applied durable and lets the core truncate the logs. For [`StoreHandle::maintain`], and for a
    /// clean end. Blocks.
    pub fn flush(&self) -> StorageResult<()> {
        let shared = &self.shared;
        let destroyed = std::mem::take(&mut *shared.destroyed.lock());
        if !planted::is(Planted::TruncateBeforeFlush) {
            shared.engine.flush()?;
        }
        self.let_truncate(destroyed)
    }

    fn let_truncate(&self, destroyed: Vec<RangeId>) -> StorageResult<()> {
        let shared = &self.shared;
        let mut applied = Vec::new();
        for descriptor in self.descriptors() {
            let (engine, range) = (&*shared.engine, descriptor.range);
            let at = if planted::is(Planted::TruncateBeforeFlush) {
                state::load(engine, range)?.applied
            } else {
                state::durable_applied(engine, range)?
            };
            applied.push((range, at));
        }
        let urgent = shared.log.size() >= shared.config.log_bytes;
        shared.inbox.push(Input::Flushed(Flushed { applied, destroyed, urgent }));
        Ok(())
    }
}

impl StoreCore {
    pub(super) fn flushed(&mut self, flushed: Flushed) -> StorageResult<()> {
        let mut batch = LogBatch::default();
        for range in flushed.destroyed {
            if !self.replicas.contains_key(&range) {
                batch.ops.push((range, LogOp::Destroy));
            }
        }
        for (range, (durable, _)) in flushed.applied {
            if let Some((index, term)) = self.truncation(range, durable, flushed.urgent) {
                probe!("log: truncated");
                batch.ops.push((range, LogOp::Truncate { first: index + 1, prev_term: term }));
                if let Some(d) = self.replicas.get_mut(&range) {
                    d.group.truncated_to(index, term);
                }
            }
        }
        if !batch.ops.is_empty() {
            self.parts.log.write(&batch, false)?;
        }
        Ok(())
    }

    /// Up to where the log of a range may go, with the term there.
    fn truncation(&self, range: RangeId, durable: u64, urgent: bool) -> Option<(u64, u64)> {
        let d = self.replicas.get(&range)?;
        if d.group.is_applying_snapshot() {
            return None;
        }
        let slack = if urgent { 0 } else { self.parts.config.log_slack_entries };
        let mut index = d.group.applied().0.saturating_sub(slack).max(d.truncate_wish).min(durable);
        if let Some(descriptor) = d.descriptor.as_ref().filter(|_| d.group.is_leader()) {
            for r in &descriptor.replicas {
                let alive = self.liveness.supported_by(r.node, self.hlc).is_some();
                if let Some(standing) = d.group.standing(r.replica).filter(|_| alive) {
                    // A living follower that is in the middle of catching up shall not have to begin again.
                    index = index.min(standing.matched);
                }
            }
        }
        let truncated = d.group.truncated().0;
        if index <= truncated {
            return None;
        }
        Some((index, d.group.entry_term(index)?))
    }
}
