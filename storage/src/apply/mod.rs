//! From committed entries to the engine.
//!
//! What must stay true:
//! - **The applied index of a range is in the same batch as what it applied.** A crash leaves the engine at some
//!   earlier point of the same history, and the log above the applied index replays the rest.
//! - A command that writes outside its range's bounds is refused whole, on every replica alike: the bounds are
//!   replicated state. It happens when a split was committed between a command's evaluation and its turn in the log.
//! - All ranges of one turn of the store share one engine batch where nothing forces an order.
//!
//! `command` is the form of what is applied, `state` the form of what a replica keeps about itself, `snapshot` moves
//! whole states.

pub mod command;
pub mod snapshot;
pub mod state;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::planted::{self, Planted};
use crate::base::{RangeId, Span, StorageResult};
use crate::engine::{BatchOp, Cf, Engine, WriteBatch};
use crate::mvcc;

/// The bounds of a range in encoded keys, kept beside the replica so that they are not computed for each command.
#[derive(Clone, Debug)]
pub struct Bounds {
    range: RangeId,
    lower: Bytes,
    upper: Bytes,
}

impl Bounds {
    pub fn new(range: RangeId, span: &Span) -> Self {
        let (lower, upper) = mvcc::key::bounds(span);
        Bounds { range, lower, upper }
    }

    fn admit(&self, op: &BatchOp<'_>) -> bool {
        match *op {
            BatchOp::Put { cf: Cf::State, key, .. } | BatchOp::Delete { cf: Cf::State, key } => {
                state::is_foreign_state(self.range, key)
            }
            BatchOp::DeleteRange { cf: Cf::State, .. } => false,
            BatchOp::Put { key, .. } | BatchOp::Delete { key, .. } => {
                *self.lower <= *key && *key < *self.upper
            }
            BatchOp::DeleteRange { start, end, .. } => *self.lower <= *start && *end <= *self.upper,
        }
    }
}

/// What the ranges of one turn apply, in one engine batch.
#[derive(Default)]
pub struct ApplyBatch {
    batch: WriteBatch,
    applied: BTreeMap<RangeId, (u64, u64)>,
}

impl ApplyBatch {
    /// Adds a command's writes. False if it reaches outside the bounds; then nothing is added.
    pub fn add(&mut self, bounds: &Bounds, batch: &[u8]) -> StorageResult<bool> {
        self.batch.append_encoded(batch, |op| bounds.admit(op))
    }

    /// For what a trigger writes.
    pub fn writes(&mut self) -> &mut WriteBatch {
        &mut self.batch
    }

    /// The range has come this far with what has been added.
    pub fn applied(&mut self, range: RangeId, index: u64, term: u64) {
        self.applied.insert(range, (index, term));
    }

    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.batch.is_empty()
    }

    /// Writes everything, atomically, and begins anew.
    pub fn write(&mut self, engine: &dyn Engine) -> StorageResult<()> {
        if self.is_empty() {
            return Ok(());
        }
        if planted::is(Planted::AppliedBeforeData) {
            let mut index = WriteBatch::new();
            self.applied.iter().for_each(|(&range, &at)| state::put_applied(&mut index, range, at));
            engine.write(&index)?;
        }
        for (&range, &at) in &self.applied {
            state::put_applied(&mut self.batch, range, at);
        }
        engine.write(&self.batch)?;
        self.batch.clear();
        self.applied.clear();
        Ok(())
    }
}
