//! `QueryIntent`: has a write of a staging transaction succeeded? If not, it never will.
//!
//! The timestamp cache was raised to the staged time before, for everybody: should the write come later, it goes above,
//! where it does not count.

use meridian_storage::base::Key;
use meridian_storage::mvcc::{LockRecord, lock};

use super::{Context, Evaluated};
use crate::rpc::{Response, TxnMeta};

pub fn evaluate(cx: &Context<'_>, key: &Key, txn: &TxnMeta) -> Evaluated<Response> {
    let own = lock::exclusive_on(cx.engine, key)?.filter(|l| l.is_intent() && l.txn == txn.id);
    // One of an earlier flush is not the write that was to decide.
    let decides = |l: LockRecord| l.epoch == txn.epoch && l.seq >= txn.sequence && l.write_ts <= txn.write_ts;
    let found = own.is_some_and(decides);
    Ok(Response::Found { found })
}
