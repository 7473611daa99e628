//! `ResolveIntents`: the intents of a transaction become committed versions, vanish, or move up.

use meridian_storage::base::{Key, Span, TxnId};
use meridian_storage::engine::{Cf, IterOptions};
use meridian_storage::mvcc::{self, LockRecord, key as version_key};
use smallvec::SmallVec;

use super::{Afterwards, Context, Effects, Evaluated, LatchSpan};
use crate::rpc::{Resolution, Response};

/// How many bytes of operations go into one command; what is left is done by the next.
const COMMAND_BYTES: usize = 1 << 20;
/// How many intents one command looks for: as many as its bytes may hold.
const COMMAND_KEYS: usize = 16 << 10;

pub fn latches(keys: &[Key], spans: &[Span], out: &mut SmallVec<[LatchSpan; 2]>) {
    out.extend(keys.iter().cloned().map(LatchSpan::write_key));
    out.extend(spans.iter().map(LatchSpan::write));
}

pub fn evaluate(
    cx: &mut Context<'_>,
    txn: TxnId,
    epoch: u32,
    to: Resolution,
    (keys, spans): (&[Key], &[Span]),
    out: &mut Effects,
) -> Evaluated<Response> {
    for key in keys {
        resolve(cx, txn, epoch, to, key, out)?;
    }
    for span in spans {
        // What is pushed stays an intent, and would be found first again: all of it is looked at each time.
        let limit = if matches!(to, Resolution::Pushed(_)) { usize::MAX } else { COMMAND_KEYS };
        let (found, more) = intents_in(cx, txn, span, limit)?;
        for key in found {
            resolve(cx, txn, epoch, to, &key, out)?;
            if out.batch.as_bytes().len() >= COMMAND_BYTES {
                out.afterwards.push(Afterwards::Repeat);
                return Ok(Response::Done);
            }
        }
        if more {
            out.afterwards.push(Afterwards::Repeat);
            return Ok(Response::Done);
        }
        if !matches!(to, Resolution::Pushed(_)) {
            out.afterwards.push(Afterwards::Release { txn, spans: vec![span.clone()] });
        }
    }
    Ok(Response::Done)
}

fn resolve(
    cx: &Context<'_>,
    txn: TxnId,
    epoch: u32,
    to: Resolution,
    key: &Key,
    out: &mut Effects,
) -> Evaluated<()> {
    let (resolution, after) = match to {
        Resolution::Committed(at) => {
            (mvcc::Resolution::Commit { at, epoch }, Afterwards::IntentGone { key: key.clone(), txn })
        }
        Resolution::Aborted => (mvcc::Resolution::Abort, Afterwards::IntentGone { key: key.clone(), txn }),
        Resolution::Pushed(above) => {
            (mvcc::Resolution::Push { to: above.next() }, Afterwards::IntentMoved { key: key.clone(), txn })
        }
    };
    mvcc::resolve_intent(cx.engine, &mut out.batch, key, txn, resolution)?;
    out.afterwards.push(after);
    if !matches!(to, Resolution::Pushed(_)) {
        let spans = vec![Span::point(key.clone())];
        out.afterwards.push(Afterwards::Release { txn, spans });
    }
    Ok(())
}

/// The first keys in `span` on which `txn` has an intent, and whether there are more.
fn intents_in(cx: &Context<'_>, txn: TxnId, span: &Span, limit: usize) -> Evaluated<(Vec<Key>, bool)> {
    let (lower, upper) = version_key::bounds(span);
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    let mut it = cx.engine.iter(Cf::Lock, bounds);
    let mut found = Vec::new();
    it.seek_to_first();
    while it.valid() {
        let record = LockRecord::decode(it.value())?;
        if record.txn == txn && record.is_intent() {
            if found.len() >= limit {
                return Ok((found, true));
            }
            let mut key = Vec::new();
            version_key::decode_key(it.key(), &mut key)?;
            found.push(key.into());
        }
        it.next();
    }
    it.status()?;
    Ok((found, false))
}
