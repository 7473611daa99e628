//! How a statement or a transaction fails, as the SQL layer sees it: a class with its SQLSTATE, and PostgreSQL's words.

use meridian_storage::base::{Key, Unsound};

use crate::rpc::KvError;

pub type TxnResult<T> = Result<T, TxnError>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxnErrorKind {
    /// 40001: begin again from the start, as a new attempt. [`Txn::restart`](super::Txn::restart) does it unseen if it can.
    Retry,
    /// 40P01
    Deadlock,
    /// 55P03
    LockNotAvailable,
    /// 40003: nobody knows whether the transaction has committed.
    Ambiguous,
    /// 25P02: an earlier statement failed.
    Failed,
    /// 25006: a write in a read-only transaction.
    ReadOnly,
    /// 72000: the snapshot is older than the history that is kept.
    SnapshotTooOld,
    /// 57P03: no leaseholder answers; later perhaps.
    Unavailable,
    /// 0A000
    Unsupported,
    /// XX000
    Internal,
    /// 58030: a disk fails.
    Io,
    /// XX001: what is stored is not what was written.
    Corrupted,
}

impl TxnErrorKind {
    pub fn sqlstate(self) -> &'static str {
        match self {
            TxnErrorKind::Retry => "40001",
            TxnErrorKind::Deadlock => "40P01",
            TxnErrorKind::LockNotAvailable => "55P03",
            TxnErrorKind::Ambiguous => "40003",
            TxnErrorKind::Failed => "25P02",
            TxnErrorKind::ReadOnly => "25006",
            TxnErrorKind::SnapshotTooOld => "72000",
            TxnErrorKind::Unavailable => "57P03",
            TxnErrorKind::Unsupported => "0A000",
            TxnErrorKind::Internal => "XX000",
            TxnErrorKind::Io => "58030",
            TxnErrorKind::Corrupted => "XX001",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TxnError {
    pub kind: TxnErrorKind,
    /// As PostgreSQL words it.
    pub message: String,
    /// PostgreSQL's DETAIL line.
    pub detail: Option<String>,
    /// PostgreSQL's HINT line.
    pub hint: Option<&'static str>,
    /// The key that it is about, so that the SQL layer can name the relation.
    pub key: Option<Key>,
}

impl TxnError {
    pub fn new(kind: TxnErrorKind, message: impl Into<String>) -> Self {
        TxnError { kind, message: message.into(), detail: None, hint: None, key: None }
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub fn with_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    pub fn sqlstate(&self) -> &'static str {
        self.kind.sqlstate()
    }

    /// Whether a new attempt of the whole transaction may succeed.
    pub fn is_retryable(&self) -> bool {
        self.kind == TxnErrorKind::Retry
    }

    /// A write met a version newer than the transaction's snapshot.
    pub(crate) fn concurrent_update() -> Self {
        Self::new(TxnErrorKind::Retry, "could not serialize access due to concurrent update")
    }

    /// What the transaction read has changed before it could commit.
    pub(crate) fn read_write_conflict() -> Self {
        Self::new(
            TxnErrorKind::Retry,
            "could not serialize access due to read/write dependencies among transactions",
        )
    }
}

impl From<KvError> for TxnError {
    fn from(e: KvError) -> Self {
        use TxnErrorKind::*;
        let text = e.to_string();
        match e {
            KvError::WriteTooOld { key, ts } => {
                Self::concurrent_update().with_detail(format!("The row was written at {ts}.")).with_key(key)
            }
            KvError::RefreshFailed { key, ts } => Self::read_write_conflict()
                .with_detail(format!("What the transaction read was changed at {ts}."))
                .with_key(key),
            KvError::ReadWithinUncertainty { key, .. } => {
                Self::read_write_conflict().with_detail("A read met a row of uncertain age.").with_key(key)
            }
            KvError::RefreshNeeded { .. } => Self::read_write_conflict(),
            KvError::TxnAborted { reason } => Self::new(
                Retry,
                "could not serialize access due to read/write dependencies among transactions",
            )
            .with_detail(format!("The transaction was aborted: {reason}.")),
            KvError::LockNotAvailable { key } => {
                Self::new(LockNotAvailable, "could not obtain lock on row").with_key(key)
            }
            KvError::LockTimeout { key } => {
                Self::new(LockNotAvailable, "canceling statement due to lock timeout").with_key(key)
            }
            KvError::Deadlock { cycle } => {
                let mut e = Self::new(Deadlock, "deadlock detected");
                if let Some(last) = cycle.last() {
                    let mut waiter = *last;
                    let lines = cycle.iter().map(|&holder| {
                        let line = format!(
                            "Transaction {} waits for transaction {}.",
                            waiter.short(),
                            holder.short()
                        );
                        waiter = holder;
                        line
                    });
                    e.detail = Some(lines.collect::<Vec<_>>().join("\n"));
                }
                e
            }
            KvError::SnapshotTooOld { .. } => {
                Self::new(SnapshotTooOld, "snapshot too old").with_detail(text).with_hint(
                    "Old versions of rows are kept for the time that nodes are given with --gc-after.",
                )
            }
            KvError::Ambiguous { .. } => Self::new(Ambiguous, text),
            KvError::Unavailable { .. }
            | KvError::Overloaded { .. }
            | KvError::NotLeaseholder { .. }
            | KvError::RangeNotFound { .. }
            | KvError::RangeMismatch { .. } => Self::new(Unavailable, text),
            KvError::Fenced { .. } => Self::new(Unavailable, text).with_hint(Unsound::HINT),
            KvError::Unsupported { reason } => Self::new(Unsupported, reason),
            KvError::Internal { reason } => Self::new(Internal, reason),
            KvError::Io { reason } => Self::new(Io, reason),
            KvError::Corruption { reason } => Self::new(Corrupted, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_storage::base::StorageError;

    use super::*;

    /// Neither is a bug: whoever is asked by the client must look at a disk.
    #[test]
    fn a_disk_is_told_as_what_it_is() {
        for (error, sqlstate) in [
            (StorageError::Io("/store: reading".into()), "58030"),
            (StorageError::Corruption("a checksum in /store".into()), "XX001"),
        ] {
            let text = error.to_string();
            let told = TxnError::from(KvError::from(error));
            assert_eq!((told.sqlstate(), told.message), (sqlstate, text));
        }
    }
}
