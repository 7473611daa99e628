//! What a request may find in its way: the words that evaluation and the lock table share.

use std::sync::Arc;

use meridian_storage::base::{Key, Timestamp, TxnId};
use meridian_storage::mvcc::LockRecord;

use crate::rpc::{Isolation, KvError, LockStrength, TxnMeta};

/// What a request wants of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// To read at this time: in conflict with intents at or below it only.
    Read(Timestamp),
    Lock(LockStrength),
}

/// A transaction that holds a key, as others see it.
#[derive(Clone, Debug)]
pub struct Blocker {
    pub txn: Arc<TxnMeta>,
    /// When the transaction was last known to be alive.
    pub active: Timestamp,
    /// It does not hold the key but waits for it before us.
    pub waits_itself: bool,
    /// The timestamp of its replicated intent on the key, which somebody must resolve.
    pub intent: Option<Timestamp>,
}

/// A key that could not be had.
#[derive(Clone, Debug)]
pub struct Conflict {
    pub key: Key,
    pub want: Want,
    pub blockers: Vec<Blocker>,
}

impl Conflict {
    /// An intent that was met in the engine.
    pub fn with_intent(key: &Key, want: Want, record: &LockRecord) -> Self {
        let blocker = Blocker {
            txn: Arc::new(holder_of(record)),
            active: record.write_ts,
            waits_itself: false,
            intent: Some(record.write_ts),
        };
        Conflict { key: key.clone(), want, blockers: vec![blocker] }
    }
}

/// Why evaluation did not end with effects.
#[derive(Debug)]
pub enum Stop {
    /// Wait for somebody, then evaluate again.
    Conflict(Conflict),
    /// There is a version at `ts` above the time of the batch; `uncertain`: it counts only because clocks differ.
    Newer {
        key: Key,
        ts: Timestamp,
        uncertain: bool,
    },
    /// Evaluate again with reading latches on what is to be refreshed.
    LatchReads,
    Fail(KvError),
}

impl<E: Into<KvError>> From<E> for Stop {
    fn from(e: E) -> Self {
        Stop::Fail(e.into())
    }
}

/// What can be said of a transaction of which only an intent is known.
///
/// It began no later than the intent's timestamp; of the isolation levels the strictest is assumed.
pub fn holder_of(record: &LockRecord) -> TxnMeta {
    TxnMeta {
        id: record.txn,
        anchor: record.anchor.clone(),
        epoch: record.epoch,
        sequence: record.seq,
        priority: 0,
        isolation: Isolation::Serializable,
        min_ts: record.write_ts,
        read_ts: record.write_ts,
        write_ts: record.write_ts,
    }
}

/// Whose request it is.
pub fn id_of(txn: Option<&TxnMeta>) -> Option<TxnId> {
    txn.map(|t| t.id)
}
