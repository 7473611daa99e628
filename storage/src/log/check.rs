//! What a batch may say of a log: refused before anything of it is written.
//!
//! A batch that leaves a gap, or appends below what was truncated, is an error of the caller. It must never reach the
//! disk, where it would be found again at every start.

use rustc_hash::FxHashMap;

use super::{LogBatch, LogOp};
use crate::base::{RangeId, StorageError, StorageResult};

/// The bounds of a range's log: `(truncated index, last index)`; `(0, 0)` for one that does not exist.
pub(super) type Bounds = (u64, u64);

/// Checks a batch against the bounds of the logs that it changes.
pub(super) fn check(batch: &LogBatch, bounds: impl Fn(RangeId) -> Bounds) -> StorageResult<()> {
    let mut changed: FxHashMap<RangeId, Bounds> = FxHashMap::default();
    for (range, op) in &batch.ops {
        let before = changed.get(range).copied().unwrap_or_else(|| bounds(*range));
        let after = next(*range, before, op)?;
        if after != before {
            changed.insert(*range, after);
        }
    }
    Ok(())
}

fn next(range: RangeId, (truncated, last): Bounds, op: &LogOp) -> StorageResult<Bounds> {
    let refuse = |what: String| Err(StorageError::Corruption(format!("the log of {range}: {what}")));
    match op {
        LogOp::Append(entries) => {
            let Some(first) = entries.first().map(|e| e.index) else { return Ok((truncated, last)) };
            if first <= truncated || first > last + 1 {
                return refuse(format!("an append at {first} to a log of ({truncated}, {last}]"));
            }
            if entries.iter().zip(first..).any(|(e, index)| e.index != index) {
                return refuse(format!("appended entries from {first} are not consecutive"));
            }
            Ok((truncated, first + entries.len() as u64 - 1))
        }
        LogOp::Truncate { first, .. } if *first > last + 1 => {
            refuse(format!("truncated below {first}, beyond its last entry {last}"))
        }
        LogOp::Truncate { first, .. } => Ok((truncated.max(first.saturating_sub(1)), last)),
        LogOp::Reset { index, .. } => Ok((*index, *index)),
        LogOp::SetHardState(_) => Ok((truncated, last)),
        LogOp::Destroy => Ok((0, 0)),
    }
}
