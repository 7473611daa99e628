//! `RecoverTxn`: ends a staging transaction whose coordinator is silent, after its writes were queried.

use super::{Context, Effects, Evaluated, answer, record};
use crate::record::TxnStatus;
use crate::rpc::{Response, TxnMeta};
use meridian_storage::probe;

pub fn evaluate(
    cx: &mut Context<'_>,
    txn: &TxnMeta,
    all_found: bool,
    out: &mut Effects,
) -> Evaluated<Response> {
    let Some(mut found) = record::load_or_synthesize(cx, txn)? else {
        // Only the coordinator asks without having seen a record: its stage never arrived, and must not any more.
        probe!("recovery: there is no record");
        let aborted = record::synthesized(txn, TxnStatus::Aborted);
        out.afterwards.push(record::finished(&aborted));
        return Ok(answer(aborted));
    };
    let same = found.meta.epoch == txn.epoch && found.meta.write_ts == txn.write_ts;
    if found.status == TxnStatus::Staging && same {
        if all_found {
            probe!("recovery: a staging transaction has committed");
            found.status = TxnStatus::Committed;
        } else {
            probe!("recovery: a staging transaction has not committed");
            found.status = TxnStatus::Aborted;
        }
        found.in_flight.clear();
        record::store(out, &found);
        out.afterwards.push(record::finished(&found));
    }
    Ok(answer(found))
}
