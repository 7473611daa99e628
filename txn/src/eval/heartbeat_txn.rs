//! `HeartbeatTxn`: the coordinator lives. The first one makes the record.

use meridian_storage::base::Timestamp;

use super::{Context, Effects, Evaluated, answer, record};
use crate::record::TxnStatus;
use crate::rpc::Response;

pub fn evaluate(
    cx: &mut Context<'_>,
    now: Timestamp,
    pinned: bool,
    out: &mut Effects,
) -> Evaluated<Response> {
    let txn = cx.txn()?.clone();
    let mut found = match record::load_or_synthesize(cx, &txn)? {
        Some(found) => found,
        None => {
            let mut made = record::synthesized(&txn, TxnStatus::Pending);
            made.meta.write_ts.forward(cx.memory.pushed(txn.id));
            made
        }
    };
    if !found.status.is_final() {
        found.heartbeat.forward(now);
        // What has begun again has nothing to prove yet.
        found.pinned = pinned || found.pinned && txn.epoch <= found.meta.epoch;
        if found.status == TxnStatus::Pending && txn.epoch >= found.meta.epoch {
            let pushed = found.meta.write_ts;
            found.meta = txn;
            found.meta.write_ts.forward(pushed);
        }
        record::store(out, &found);
    }
    Ok(answer(found))
}
