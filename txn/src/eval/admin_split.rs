//! `AdminSplit`: divides the range in two. All its keys are latched, so that no write is under way while it happens.

use meridian_storage::base::{Key, RangeId};
use meridian_storage::replica::{Merging, RangeDescriptor, Trigger};

use super::{Context, Effects, Evaluated, Stop};
use crate::rpc::{KvError, Response};

pub fn evaluate(cx: &mut Context<'_>, key: &Key, right: RangeId, out: &mut Effects) -> Evaluated<Response> {
    let whole = cx.descriptor;
    if !whole.contains(key) || *key == whole.start {
        let reason = format!("{} cannot be split at {key:?}", whole.range);
        return Err(Stop::Fail(KvError::Unsupported { reason }));
    }
    if whole.merging != Merging::No {
        return Err(Stop::Fail(KvError::Overloaded { range: whole.range }));
    }
    let generation = whole.generation + 1;
    let left = RangeDescriptor { end: key.clone(), generation, ..whole.clone() };
    let right = RangeDescriptor { range: right, start: key.clone(), generation, ..whole.clone() };
    out.trigger = Some(Trigger::Split { left: left.clone(), right: right.clone() });
    Ok(Response::Split { left, right })
}
