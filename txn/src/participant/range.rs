//! What a leaseholder keeps in memory for one range during one lease.
//!
//! What must stay true: a [`RangeState`] belongs to one lease. When the lease ends it is *retired*: whoever waits in it is
//! told, nobody begins anything in it, and the next lease starts with a new one, empty but for the low-water mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span, Timestamp, TxnId};
use meridian_storage::replica::{Lease, RangeDescriptor, Replica};
use meridian_storage::store::FIRST_LEASE_TERM;

use parking_lot::RwLock;

use super::NodeLiveness;
use super::latch::Latches;
use super::lock_table::{LockTable, Place};
use super::outcomes::Outcomes;
use super::recent::RecentWrites;
use super::timestamp_cache::TimestampCache;
use crate::eval::{Conflict, Memory, Outcome, Want};
use crate::record::Standing;
use crate::rpc::{BatchRequest, KvError, LockStrength, Request};

pub struct RangeState {
    pub replica: Arc<dyn Replica>,
    pub lease: Lease,
    pub latches: Arc<Latches>,
    pub locks: Arc<LockTable>,
    /// How many commands have been applied, counted before their latches are released.
    pub applied: AtomicU64,
    /// How often the bounds have changed.
    pub bounds_changed: AtomicU64,
    retired: AtomicBool,
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    /// Since when they are counted, of the wall clock.
    pub counted_since_ns: u64,
    /// What this node remembers of the range, it remembers since then.
    memory: RwLock<MemoryOf>,
}

/// How far this node's memory of a range reaches back: of its reads, locks, and ends of transactions.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOf {
    /// The low-water mark: what was before is as good as unknown.
    pub start: Timestamp,
    /// The same, of the wall clock.
    pub since_ns: u64,
}

impl RangeState {
    pub fn new(
        replica: Arc<dyn Replica>,
        lease: Lease,
        locks: Arc<LockTable>,
        memory: MemoryOf,
        now_ns: u64,
    ) -> Arc<Self> {
        Arc::new(RangeState {
            replica,
            lease,
            latches: Latches::new(),
            locks,
            applied: AtomicU64::new(0),
            bounds_changed: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            counted_since_ns: now_ns,
            memory: RwLock::new(memory),
        })
    }

    pub fn memory(&self) -> MemoryOf {
        *self.memory.read()
    }

    /// What was before is as good as unknown from now on.
    pub fn forget_before(&self, memory: MemoryOf) {
        let mut known = self.memory.write();
        known.start.forward(memory.start);
        known.since_ns = known.since_ns.max(memory.since_ns);
    }

    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.locks.close(self.not_leaseholder());
    }

    fn not_leaseholder(&self) -> KvError {
        KvError::NotLeaseholder { range: self.replica.range_id(), leaseholder: None, descriptor: None }
    }

    /// Whether the range may serve the requests at `at`; with the bounds under which it may.
    pub fn admit(&self, at: Timestamp, batch: &BatchRequest) -> Result<Arc<RangeDescriptor>, KvError> {
        if self.retired.load(Ordering::SeqCst) {
            // The replica knows better than we who leads now.
            self.replica.lease(at)?;
            return Err(self.not_leaseholder());
        }
        let descriptor = self.replica.descriptor();
        if !holds(&descriptor, batch) {
            return Err(KvError::RangeMismatch { descriptors: vec![(*descriptor).clone()] });
        }
        self.check_lease(latest(batch, at))?;
        Ok(descriptor)
    }

    /// Whether this lease, and not a later one, covers `at`. The next leaseholder will know of everything that was served up
    /// to there.
    ///
    /// Asked before evaluation, and again before anything is answered that was not replicated: a command that is
    /// given up because the lease is lost gives up its latches, and may take effect all the same.
    pub fn check_lease(&self, at: Timestamp) -> Result<(), KvError> {
        // What was before the lease may be read under it: its low-water mark protects such reads.
        let lease = self.replica.lease(at.max(self.lease.start))?;
        if lease.term == self.lease.term { Ok(()) } else { Err(self.not_leaseholder()) }
    }
}

/// The latest time for which the batch asks anything to hold.
pub fn latest(batch: &BatchRequest, read_ts: Timestamp) -> Timestamp {
    let of = |request: &Request| match request {
        Request::Refresh { to, .. } => *to,
        Request::QueryIntent { txn, .. } => txn.write_ts,
        _ => Timestamp::ZERO,
    };
    batch.requests.iter().map(of).max().unwrap_or_default().max(read_ts)
}

/// Whether the range holds everything that the batch is about.
fn holds(range: &RangeDescriptor, batch: &BatchRequest) -> bool {
    let mut all = true;
    places_of(batch, &mut |start, end| {
        all &= match end {
            Some(end) => range.start <= *start && *end <= range.end,
            None => range.contains(start),
        };
    });
    all
}

/// Whether the range holds anything that the batch is about.
pub fn concerns(range: &RangeDescriptor, batch: &BatchRequest) -> bool {
    let mut any = false;
    places_of(batch, &mut |start, end| {
        any |= match end {
            Some(end) => range.start < *end && *start < range.end,
            None => range.contains(start),
        };
    });
    any
}

fn places_of(batch: &BatchRequest, f: &mut impl FnMut(&Key, Option<&Key>)) {
    for request in &batch.requests {
        places(request, f);
        // Records are where their transactions' anchors are.
        if let (Request::EndTxn { .. } | Request::HeartbeatTxn { .. }, Some(txn)) =
            (request, &batch.header.txn)
        {
            f(&txn.anchor, None);
        }
    }
}

/// The keys (`end` is `None`) and spans that a request is about.
fn places(request: &Request, f: &mut impl FnMut(&Key, Option<&Key>)) {
    let span = |s: &Span, f: &mut dyn FnMut(&Key, Option<&Key>)| f(&s.start, Some(&s.end));
    match request {
        Request::Get { key, .. } | Request::QueryIntent { key, .. } | Request::AdminSplit { key, .. } => {
            f(key, None);
        }
        Request::Scan { span: s, .. } | Request::ClearRange { span: s } => span(s, f),
        Request::CommitOnePhase { writes, refresh, .. } | Request::PutIntents { writes, refresh } => {
            writes.iter().for_each(|(key, _)| f(key, None));
            refresh.iter().for_each(|r| span(&r.span, f));
        }
        Request::Refresh { spans, .. } => spans.iter().for_each(|r| span(&r.span, f)),
        Request::PushTxn { pushee: txn, .. }
        | Request::QueryTxn { txn }
        | Request::RecoverTxn { txn, .. } => f(&txn.anchor, None),
        Request::RemoveRecord { anchor, .. } => f(anchor, None),
        Request::RemoveIntents { keys } => keys.iter().for_each(|key| f(key, None)),
        Request::ResolveIntents { keys, spans, .. } => {
            keys.iter().for_each(|key| f(key, None));
            spans.iter().for_each(|s| span(s, f));
        }
        Request::EndTxn { .. } | Request::HeartbeatTxn { .. } => {}
        // The locks of the other half are not released here.
        Request::ReleaseLocks { spans, .. } => spans.iter().for_each(|s| span(s, f)),
        // Limited to the range by their nature.
        Request::Gc { .. } | Request::RangeStats | Request::AdminMerge { .. } => {}
        Request::OldLocks { from, .. } => f(from, None),
    }
}

/// The memory of a range, as one request sees it.
pub struct RequestMemory<'a> {
    pub range: &'a RangeState,
    pub reads: &'a TimestampCache,
    pub outcomes: &'a Outcomes,
    pub recent: &'a RecentWrites,
    pub nodes: Option<&'a dyn NodeLiveness>,
    pub max_offset: Duration,
    pub txn: Option<TxnId>,
    pub places: &'a [Place],
}

impl RequestMemory<'_> {
    /// For [`Planted::SplitForgetsReads`]: whether all reads of the key were before the first lease of its range.
    fn has_forgotten_reads_of(&self, key: &[u8]) -> bool {
        let lease = self.range.lease;
        lease.term == FIRST_LEASE_TERM && self.reads.mark(key).at <= lease.start
    }
}

impl Memory for RequestMemory<'_> {
    fn conflict(&self, key: &Key, want: Want) -> Option<Conflict> {
        if planted::is(Planted::WriteOverLocks) {
            return None;
        }
        self.range.locks.check(key, want, self.txn, self.places)
    }

    fn held(&self, key: &Key) -> Option<LockStrength> {
        self.range.locks.held(key, self.txn?)
    }

    fn held_since(&self, key: &Key) -> Option<Timestamp> {
        self.range.locks.held_since(key, self.txn?)
    }

    fn excludes(&self, key: &Key, strength: LockStrength) -> bool {
        self.range.locks.excludes(key, strength, self.txn)
    }

    fn writable(&self, key: &[u8], at: Timestamp) -> Timestamp {
        if planted::is(Planted::SplitForgetsReads) && self.has_forgotten_reads_of(key) {
            return at;
        }
        let at = self.reads.writable(key, self.txn, at);
        let low_water = self.range.memory().start;
        if at <= low_water && !planted::is(Planted::NoTimestampCacheBump) { low_water.next() } else { at }
    }

    fn raise(&self, span: &Span, at: Timestamp, own: bool) {
        let end = (!span.is_point()).then_some(&span.end);
        self.reads.raise(&span.start, end, at, self.txn.filter(|_| own));
    }

    fn outcome(&self, txn: TxnId) -> Option<Outcome> {
        self.outcomes.outcome(txn)
    }

    fn remembers(&self, txn: TxnId, min_ts: Timestamp) -> bool {
        min_ts > self.range.memory().start
            && min_ts > self.outcomes.floor(txn)
            && !self.outcomes.is_in_doubt(txn)
    }

    fn written_since(&self, span: &Span, from: Timestamp) -> Option<Vec<Key>> {
        // What was written before the lease may have been written elsewhere; an intent may even have been committed there
        // above the lease under which that was done, but not above what clocks can show: a reader that moves an intent
        // goes beyond its own uncertainty, and its clock may be ahead of ours.
        let memory = self.range.memory();
        let seen = memory.since_ns.saturating_add(2 * self.max_offset.as_nanos() as u64);
        let complete = Timestamp::new(seen, u32::MAX).max(memory.start);
        if from <= complete { None } else { self.recent.since(span, from) }
    }

    fn coordinator(&self, txn: TxnId, min_ts: Timestamp) -> Standing {
        self.nodes.map_or(Standing::Alive, |nodes| nodes.standing(txn.coordinator(), min_ts))
    }

    fn pushed(&self, txn: TxnId) -> Timestamp {
        self.outcomes.pushed(txn)
    }
}
