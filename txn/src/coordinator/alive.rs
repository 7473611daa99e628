//! That what a transaction has spilled was there when it read.
//!
//! Others may abort a transaction at any time (a deadlock, a coordinator that was silent for too long), and then remove its
//! intents. Until its coordinator hears of it, reads of what it had written would show what was there before: a row
//! that the statement before has inserted is missing, an index says something else than its table.
//!
//! Intents are removed after the record says that the transaction is aborted, and never before. So a record that does not say
//! so *after* the read proves that nothing was removed *before* it. What must stay true: who answers a read of keys
//! that may have been spilled asks the record first. (CockroachDB leaves marks of aborted transactions in every range
//! that had their intents, and reads look for them. Here, only the few transactions pay that have written more than their
//! buffer holds, and only where they read what they have written.)

use meridian_storage::base::{Key, Span};
use meridian_storage::probe;

use super::intents::Known;
use super::read::{MAX_TRIES, too_many_tries};
use super::state::{Phase, State};
use super::{Txn, TxnError, TxnResult};
use crate::record::TxnStatus;
use crate::rpc::{AbortReason, BatchRequest, KvError, Request, Response, WaitPolicy};

impl State {
    /// Whether what the ranges say of the key may be the transaction's own write.
    pub fn may_have_spilled(&self, key: &Key) -> bool {
        self.buffer.has_spilled() && self.buffer.spilled().find(key) != Known::No
    }

    /// As [`may_have_spilled`](Self::may_have_spilled), of any key in the span.
    pub fn may_have_spilled_in(&self, span: &Span) -> bool {
        self.buffer.has_spilled() && self.buffer.spilled().meets(span)
    }
}

impl Txn {
    /// To be called after such a read, before its answer is used. Fails with a retryable error if the transaction has been aborted.
    pub(super) async fn not_aborted_before(&self) -> TxnResult<()> {
        for _ in 0..MAX_TRIES {
            let (anchor, txn, header) = {
                let state = self.lock_state();
                state.check_active()?;
                (state.meta.anchor.clone(), state.meta.clone(), state.header(WaitPolicy::Block))
            };
            let id = txn.id;
            let batch = BatchRequest { header, requests: vec![Request::QueryTxn { txn }] };
            let mut response = match self.send_to_key(&anchor, batch).await {
                Err(KvError::RangeMismatch { .. }) => continue,
                Err(e) => return Err(e.into()),
                Ok(response) => response,
            };
            let Some(Response::Record { record, .. }) = response.responses.pop() else {
                return Err(KvError::internal("a look at a record was answered with something else").into());
            };
            if record.is_some_and(|record| record.status != TxnStatus::Aborted) {
                return Ok(());
            }
            probe!("read: of what an aborted transaction had spilled");
            let e = TxnError::from(KvError::TxnAborted { reason: AbortReason::Pushed });
            let mut state = self.lock_state();
            if state.meta.id == id && state.phase == Phase::Active {
                state.phase = Phase::Failed(e.clone());
            }
            return Err(e);
        }
        Err(too_many_tries())
    }
}
