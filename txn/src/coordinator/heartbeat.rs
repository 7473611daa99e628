//! Telling the record that the coordinator lives.
//!
//! One task for each gateway beats for all its transactions that hold locks or intents and are older than
//! [`INTERVAL`]; most transactions end before. A waiter that finds no record takes a transaction for dead only if it
//! is older than that by a margin, and so the first lock of an old transaction waits for the first beat
//! (see [`Txn::prepare`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use meridian_storage::base::TxnId;
use parking_lot::Mutex;

use super::state::{Phase, State};
use super::txn::Inner;
use super::{Txn, TxnError, TxnResult};
use crate::record::TxnStatus;
use crate::rpc::{AbortReason, BatchRequest, KvError, Request, Response, WaitPolicy};

pub const INTERVAL: Duration = Duration::from_secs(1);

/// The transactions of a gateway that may need a heartbeat.
#[derive(Default)]
pub(super) struct Hearts {
    txns: Mutex<BTreeMap<TxnId, Weak<Inner>>>,
}

impl Hearts {
    pub fn remove(&self, id: TxnId) {
        self.txns.lock().remove(&id);
    }

    fn all(&self) -> Vec<Txn> {
        let mut txns = self.txns.lock();
        txns.retain(|_, txn| txn.strong_count() > 0);
        txns.values().filter_map(Weak::upgrade).map(|inner| Txn { inner }).collect()
    }
}

/// Beats until the gateway is gone.
pub(super) async fn beat(db: Weak<super::db::Inner>) {
    loop {
        let sleep = match db.upgrade() {
            Some(db) => db.router.runtime().sleep(INTERVAL),
            None => return,
        };
        sleep.await;
        let Some(db) = db.upgrade() else { return };
        for txn in db.hearts.all() {
            let due = {
                let state = txn.lock_state();
                // A commit may take long, too. It makes its record itself.
                let alive =
                    state.phase == Phase::Active || state.phase == Phase::Committing && state.has_record;
                alive && txn.is_old(&state)
            };
            if due {
                // One slow range must not keep the others' hearts from beating.
                db.router.runtime().spawn(
                    "heartbeat",
                    Box::pin(async move {
                        if let Err(e) = txn.heartbeat(false).await {
                            tracing::debug!(txn = ?txn.id(), error = %e, "heartbeat");
                        }
                    }),
                );
            }
        }
    }
}

impl Txn {
    /// From the first lock or intent on, the transaction has a heart.
    pub(super) fn register(&self, state: &mut State) {
        if !state.registered {
            state.registered = true;
            let mut txns = self.inner.db.hearts().txns.lock();
            txns.insert(state.meta.id, Arc::downgrade(&self.inner));
        }
    }

    pub(super) fn is_old(&self, state: &State) -> bool {
        let age = self.router().clock().wall_ns().saturating_sub(state.meta.min_ts.wall);
        u128::from(age) >= INTERVAL.as_nanos() / 2
    }

    /// One beat; creates the record if there is none. `pinned`: readers shall not push its time any more.
    pub(super) async fn heartbeat(&self, pinned: bool) -> TxnResult<()> {
        let (key, header) = {
            let mut state = self.lock_state();
            // Should the answer be lost, the record is there all the same.
            state.has_record |= pinned;
            (state.meta.anchor.clone(), state.header(WaitPolicy::Block))
        };
        let id = header.txn.as_ref().map(|t| t.id);
        let now = self.router().clock().now();
        for _ in 0..super::read::MAX_TRIES {
            let batch = BatchRequest {
                header: header.clone(),
                requests: vec![Request::HeartbeatTxn { now, pinned }],
            };
            let mut response = match self.send_to_key(&key, batch).await {
                Err(KvError::RangeMismatch { .. }) => continue,
                Err(e) => return Err(e.into()),
                Ok(response) => response,
            };
            let Some(Response::Record { record: Some(record), .. }) = response.responses.pop() else {
                return Err(KvError::internal("a heartbeat was answered with something else").into());
            };
            let mut state = self.lock_state();
            if Some(state.meta.id) != id {
                return Ok(());
            }
            state.has_record = true;
            if record.status == TxnStatus::Aborted {
                let e = TxnError::from(KvError::TxnAborted { reason: AbortReason::Pushed });
                if pinned || state.phase == Phase::Active {
                    state.phase = Phase::Failed(e.clone());
                }
                return Err(e);
            }
            if pinned {
                state.meta.write_ts.forward(record.meta.write_ts);
            }
            return Ok(());
        }
        Err(super::read::too_many_tries())
    }
}
