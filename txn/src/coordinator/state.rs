//! What a transaction knows of itself, under one mutex.

use std::time::Duration;

use meridian_storage::base::{Key, Span, Timestamp};

use super::buffer::WriteBuffer;
use super::held::Held;
use super::reads::SpanSet;
use super::{TxnError, TxnErrorKind, TxnResult};
use crate::rpc::{Header, IntentSpan, Isolation, RefreshSpan, TxnMeta, WaitPolicy};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Active,
    Committing,
    Committed(Timestamp),
    RolledBack,
    /// It cannot go on under this identity: its record says aborted, or its commit failed.
    Failed(TxnError),
    /// The commit was sent, and its outcome could not be learnt.
    Unknown,
}

pub(super) struct State {
    pub meta: TxnMeta,
    pub phase: Phase,
    /// Reads the past: its snapshot cannot move.
    pub fixed: bool,
    /// Somebody has been told the time of the snapshot: it must not move any more.
    pub told: bool,
    pub read_only: bool,
    pub uncertainty_limit: Timestamp,
    pub lock_timeout: Option<Duration>,
    /// Counts statements, so that a scan knows whether it belongs to the current snapshot.
    pub statement: u64,
    pub results_sent: bool,
    pub buffer: WriteBuffer,
    /// What was read at `meta.read_ts` and may have to be proven still true at a later time.
    pub reads: SpanSet,
    /// What was read under locks: must not have changed at the commit, should a lock get lost. At SERIALIZABLE `reads` says
    /// most of it.
    pub held: Held,
    /// Where nobody else can read or write before the transaction has committed.
    pub private: Vec<Span>,
    /// Where locks may be held.
    pub locks: SpanSet,
    /// A heartbeat has written the record.
    pub has_record: bool,
    /// Is known to the heartbeat loop.
    pub registered: bool,
    /// There may be a record that says "staging", and what it needs to be committed.
    pub staged: bool,
}

impl State {
    pub fn check_active(&self) -> TxnResult<()> {
        let closed = |text: &str| Err(TxnError::new(TxnErrorKind::Failed, text));
        match &self.phase {
            Phase::Active => Ok(()),
            Phase::Failed(e) => Err(e.clone()),
            Phase::Committing => closed("the transaction is being committed"),
            Phase::Committed(_) => closed("the transaction has been committed"),
            Phase::RolledBack => closed("the transaction has been rolled back"),
            Phase::Unknown => closed("the outcome of the transaction is unknown"),
        }
    }

    pub fn serializable(&self) -> bool {
        self.meta.isolation == Isolation::Serializable
    }

    /// Whether a read may have to be refreshed: to commit at a later time, or to move the snapshot over a version of
    /// uncertain age.
    pub fn tracks_reads(&self) -> bool {
        !self.fixed && (self.serializable() && !self.read_only || self.uncertainty_limit > self.meta.read_ts)
    }

    /// Nothing that was read depends on the snapshot: it may still move freely.
    pub fn can_forward(&self) -> bool {
        !self.fixed && !self.told && self.tracks_reads() && self.reads.is_empty() && self.held.is_empty()
    }

    /// Whether it may commit at the time of its snapshot only.
    pub fn is_exact(&self) -> bool {
        self.told && self.serializable()
    }

    pub fn header(&self, wait: WaitPolicy) -> Header {
        Header {
            txn: Some(self.meta.clone()),
            read_ts: self.meta.read_ts,
            uncertainty_limit: self.uncertainty_limit,
            wait,
            lock_timeout: self.lock_timeout,
            ..Header::default()
        }
    }

    /// The record will be where the first lock or write is.
    pub fn set_anchor(&mut self, key: &Key) {
        if self.meta.anchor.is_empty() {
            self.meta.anchor = key.clone();
        }
    }

    /// Below SERIALIZABLE: what is held and will not be validated where it is written.
    pub fn unwritten(&self) -> Vec<RefreshSpan> {
        self.held.unwritten(|key| self.buffer.wrote(key))
    }

    /// Whether a commit has to prove something about what it does not write.
    pub fn must_validate(&self) -> bool {
        !self.serializable() && !self.unwritten().is_empty()
    }

    /// Where its intents may be, as far as they are too many to name.
    pub fn intent_spans(&self) -> Vec<IntentSpan> {
        let private = |span: &Span| self.private.iter().any(|p| p.contains_span(span));
        let spans = self.buffer.spilled().spans().iter();
        spans.map(|span| IntentSpan { span: span.clone(), private: private(span) }).collect()
    }

    /// Whether there is anything in the ranges that must be cleaned up.
    pub fn left_traces(&self) -> bool {
        self.has_record || self.buffer.has_spilled() || !self.locks.is_empty()
    }
}
