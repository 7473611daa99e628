//! One transaction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{Key, Span, Timestamp, TxnId};

use super::{CommitOutcome, Db, ScanOptions, Scanner, TxnOptions, TxnResult};
use crate::rpc::{Isolation, LockStrength, WaitPolicy};

/// A handle: clones are the same transaction. When the last one is dropped, an unfinished transaction is rolled back.
#[derive(Clone)]
pub struct Txn {
    _inner: Arc<Inner>,
}

struct Inner {
    _db: Db,
    _options: TxnOptions,
}

/// A point that the transaction's writes can be rolled back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Savepoint {
    _depth: usize,
}

impl Txn {
    pub(super) fn new(db: Db, options: TxnOptions) -> Self {
        Txn { _inner: Arc::new(Inner { _db: db, _options: options }) }
    }

    pub fn id(&self) -> TxnId {
        unimplemented!()
    }

    /// The snapshot that reads see; under READ COMMITTED that of the current statement.
    pub fn read_timestamp(&self) -> Timestamp {
        unimplemented!()
    }

    pub fn isolation(&self) -> Isolation {
        unimplemented!()
    }

    pub fn is_read_only(&self) -> bool {
        unimplemented!()
    }

    pub async fn get(&self, _key: &Key) -> TxnResult<Option<Bytes>> {
        unimplemented!()
    }

    /// Takes the lock, even if the key does not exist, then reads: under READ COMMITTED the newest version.
    /// With [`WaitPolicy::Skip`], a key that is locked by another transaction reads as `None`.
    pub async fn get_locked(
        &self,
        _key: &Key,
        _lock: LockStrength,
        _wait: WaitPolicy,
    ) -> TxnResult<Option<Bytes>> {
        unimplemented!()
    }

    /// Values in the order of the keys; asks all ranges at once.
    pub async fn get_many(
        &self,
        _keys: &[Key],
        _lock: Option<(LockStrength, WaitPolicy)>,
    ) -> TxnResult<Vec<Option<Bytes>>> {
        unimplemented!()
    }

    pub fn scan(&self, span: Span, options: ScanOptions) -> Scanner {
        Scanner::new(self.clone(), span, options)
    }

    /// Buffered here until the commit (or until the buffer is large).
    pub fn put(&self, _key: Key, _value: Bytes) {
        unimplemented!()
    }

    pub fn delete(&self, _key: Key) {
        unimplemented!()
    }

    pub fn savepoint(&self) -> Savepoint {
        unimplemented!()
    }

    /// Undoes all writes since; the savepoint stays.
    pub fn rollback_to(&self, _savepoint: Savepoint) {
        unimplemented!()
    }

    /// Forgets the savepoint and all later ones, keeping the writes.
    pub fn release(&self, _savepoint: Savepoint) {
        unimplemented!()
    }

    /// To be called before each statement. READ COMMITTED: takes a new snapshot.
    pub fn begin_statement(&self) {
        unimplemented!()
    }

    /// Rows have gone to the client: an unseen restart is no longer possible.
    pub fn note_result_sent(&self) {
        unimplemented!()
    }

    /// Spills a large write buffer into replicated intents; to be called now and then by bulk statements.
    pub async fn flush_if_large(&self) -> TxnResult<()> {
        unimplemented!()
    }

    pub async fn commit(&self) -> TxnResult<CommitOutcome> {
        unimplemented!()
    }

    /// Cannot fail: what cannot be told to the ranges now, they will find out.
    pub async fn rollback(&self) {
        unimplemented!()
    }

    /// Whether [`restart`](Self::restart) would be invisible to the client.
    pub fn can_restart(&self) -> bool {
        unimplemented!()
    }

    /// Begins again after a retryable error: a new epoch with a new snapshot, empty of writes; locks are kept where
    /// possible. The caller repeats all its statements.
    pub fn restart(&self) {
        unimplemented!()
    }

    pub fn set_lock_timeout(&self, _timeout: Option<Duration>) {
        unimplemented!()
    }
}
