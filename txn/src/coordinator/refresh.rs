//! Moving a transaction to a later time.
//!
//! A transaction that reads at one time and must commit (or read on) at a later one proves that nothing it has read has
//! changed between the two: then it might as well have read everything at the later time. The ranges raise their
//! timestamp caches in the same step, so that nothing can change it afterwards either.

use futures::future::join_all;
use meridian_storage::base::Timestamp;
use meridian_storage::probe;

use super::state::State;
use super::{Txn, TxnError, TxnErrorKind, TxnResult};
use crate::rpc::{BatchRequest, Header, Isolation, KvError, RefreshSpan, Request, WaitPolicy};

impl Txn {
    /// Deals with an error of a read or a commit: after `Ok`, the caller tries again (at a later time, or after ranges have
    /// moved); else the statement fails.
    pub(super) async fn react(&self, e: KvError) -> TxnResult<()> {
        match e {
            KvError::RangeMismatch { .. } => Ok(()),
            KvError::WriteTooOld { key, ts } if self.isolation() == Isolation::Snapshot => {
                Err(KvError::WriteTooOld { key, ts }.into())
            }
            KvError::WriteTooOld { ref key, ts } => {
                let key = key.clone();
                self.move_to(ts).await.map_err(|e| {
                    // Somebody else wrote the row that this transaction is about to write.
                    if e.is_retryable() { TxnError::concurrent_update().with_key(key) } else { e }
                })
            }
            KvError::ReadWithinUncertainty { ts, .. } => {
                probe!("read: met a value that may have been written before it began");
                self.move_to(ts).await
            }
            KvError::RefreshNeeded { ts } => self.move_to(ts).await,
            e @ KvError::TxnAborted { .. } => {
                let e = TxnError::from(e);
                self.lock_state().phase = super::state::Phase::Failed(e.clone());
                Err(e)
            }
            e => Err(e.into()),
        }
    }

    /// Makes `to` the time of the transaction's snapshot, if that makes no difference to what it has read.
    pub(super) async fn move_to(&self, to: Timestamp) -> TxnResult<()> {
        let _turn = self.inner.refreshing.lock().await;
        let mut proven = None;
        loop {
            let (spans, present, header, mark) = {
                let mut state = self.lock_state();
                if to <= state.meta.read_ts {
                    return Ok(());
                }
                if state.fixed {
                    return Err(TxnError::new(
                        TxnErrorKind::Internal,
                        "a transaction that reads the past cannot move",
                    ));
                }
                if state.told {
                    probe!("refresh: not of a snapshot whose time has been told");
                    return Err(TxnError::read_write_conflict()
                        .with_detail("The time of the transaction's snapshot has been asked for, and would have to change."));
                }
                // What was read while the rest was being proven has to be proven, too.
                let spans = proven.map_or_else(|| state.reads.spans(), |mark| state.reads.since(mark));
                if spans.is_empty() {
                    advance(&mut state, to);
                    return Ok(());
                }
                // What is held by others finds out that it was lost.
                let present = if state.serializable() { state.held.present() } else { Vec::new() };
                (spans, present, state.header(WaitPolicy::Block), state.reads.mark())
            };
            let from = header.read_ts;
            let mut spans: Vec<_> = spans.into_iter().map(|span| RefreshSpan::new(span, from)).collect();
            spans.extend(present);
            probe!("refresh: of what was read");
            self.refresh(&spans, &header, to).await?;
            proven = Some(mark);
        }
    }

    /// Proves that nothing of this has changed up to `to`.
    pub(super) async fn refresh(
        &self,
        spans: &[RefreshSpan],
        header: &Header,
        to: Timestamp,
    ) -> TxnResult<()> {
        let sent = spans.chunks(self.limits().refreshed_spans).map(|spans| {
            self.router().fan_out(spans.to_vec(), |spans: &[RefreshSpan]| BatchRequest {
                header: header.clone(),
                requests: vec![Request::Refresh { spans: spans.to_vec(), to }],
            })
        });
        for refreshed in join_all(sent).await {
            refreshed.into_result().map_err(|e| self.refresh_error(e))?;
        }
        Ok(())
    }

    pub(super) fn refresh_error(&self, e: KvError) -> TxnError {
        match e {
            KvError::RefreshFailed { key, .. } if self.lock_state().buffer.wrote(&key) => {
                TxnError::concurrent_update().with_key(key)
            }
            e => e.into(),
        }
    }
}

fn advance(state: &mut State, to: Timestamp) {
    state.meta.read_ts = to;
    if state.serializable() {
        state.held.note_present(to);
    }
    state.meta.write_ts.forward(to);
}
