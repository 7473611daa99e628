//! `ResolveIntents`: the intents of a transaction become committed versions, vanish, or move up.

use meridian_storage::base::{Key, Span, TxnId};
use meridian_storage::mvcc::{self, ResolveLimits};
use smallvec::SmallVec;

use super::{Afterwards, Context, Effects, Evaluated, LatchSpan};
use crate::rpc::{Resolution, Response};

/// How many bytes of operations go into one command; what is left is done by the next.
const COMMAND_BYTES: usize = 1 << 20;
/// How many intents one command ends: readers in the span wait as long as it takes.
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
    let limits = ResolveLimits { intents: COMMAND_KEYS, bytes: COMMAND_BYTES };
    for (n, span) in spans.iter().enumerate() {
        let resolution = resolution(to, epoch);
        let resume = mvcc::resolve_span(cx.engine, &mut out.batch, span, txn, resolution, limits)?;
        let end = resume.as_ref().unwrap_or(&span.end);
        if span.start < *end {
            let done = Span::new(span.start.clone(), end.clone());
            out.afterwards.push(Afterwards::IntentsGone { span: done.clone(), txn });
            if !matches!(to, Resolution::Pushed(_)) {
                out.afterwards.push(Afterwards::Release { txn, spans: vec![done] });
            }
        }
        if let Some(from) = resume {
            let mut rest = vec![Span::new(from, span.end.clone())];
            rest.extend_from_slice(&spans[n + 1..]);
            out.afterwards.push(Afterwards::Repeat { spans: rest });
            break;
        }
    }
    Ok(Response::Done)
}

fn resolution(to: Resolution, epoch: u32) -> mvcc::Resolution {
    match to {
        Resolution::Committed(at) => mvcc::Resolution::Commit { at, epoch },
        Resolution::CommittedInPlace => mvcc::Resolution::CommitInPlace { epoch },
        Resolution::Aborted => mvcc::Resolution::Abort,
        Resolution::Pushed(above) => mvcc::Resolution::Push { to: above.next() },
    }
}

fn resolve(
    cx: &Context<'_>,
    txn: TxnId,
    epoch: u32,
    to: Resolution,
    key: &Key,
    out: &mut Effects,
) -> Evaluated<()> {
    let after = match to {
        Resolution::Pushed(_) => Afterwards::IntentMoved { key: key.clone(), txn },
        _ => Afterwards::IntentGone { key: key.clone(), txn },
    };
    mvcc::resolve_intent(cx.engine, &mut out.batch, key, txn, resolution(to, epoch))?;
    out.afterwards.push(after);
    if !matches!(to, Resolution::Pushed(_)) {
        let spans = vec![Span::point(key.clone())];
        out.afterwards.push(Afterwards::Release { txn, spans });
    }
    Ok(())
}
