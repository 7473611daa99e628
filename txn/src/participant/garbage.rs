//! Garbage collection of a range: versions that no read can see any more, and records that nobody will ask for again.
//!
//! What must stay true: the threshold is raised, and applied, before anything below it is dropped; and nothing is
//! written at or below it any more, however old the transaction. A record is dropped only when the transaction has ended
//! and all its intents are resolved; and not before it is older than the threshold: until then a coordinator that was cut
//! off may ask how its commit went.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{RangeId, Timestamp};
use meridian_storage::engine::{Cf, IterOptions};
use meridian_storage::mvcc::{gc, key as version_key};
use meridian_storage::probe;
use meridian_storage::replica::{Command, Trigger};

use super::Participant;
use super::range::RangeState;
use crate::eval::LatchSpan;
use crate::record::{TxnRecord, TxnStatus};
use crate::rpc::{BatchRequest, BatchResponse, KvError, PushKind, Request, Resolution, Response};

/// Between two commands.
const PAUSE: Duration = Duration::from_millis(2);

impl Participant {
    /// How much has been applied to a range under the lease that this node holds, as `(term, commands)`: garbage grows no
    /// faster.
    pub fn applied(&self, range: RangeId) -> Option<(u64, u64)> {
        let state = self.range(range).ok()?;
        Some((state.lease.term, state.applied.load(Ordering::Relaxed)))
    }

    /// Raises the range's threshold, then drops what cannot be seen any more, in small commands.
    pub(super) async fn collect_garbage(
        &self,
        batch: &BatchRequest,
        threshold: Timestamp,
    ) -> Result<BatchResponse, KvError> {
        let now = self.clock.now();
        let range = self.range(batch.header.range)?;
        let descriptor = self.admit(&range, now, batch)?;
        let threshold = threshold.max(range.replica.gc_threshold());
        let mut span = descriptor.span();
        // Nobody writes below a tombstone that goes: later writers are sent above the threshold, earlier ones are done.
        self.reads.raise_span(&span.start, &span.end, threshold, None);
        drop(range.latches.acquire([LatchSpan::read(&span)], Timestamp::ZERO).await);
        let trigger = Some(Trigger::RaiseGcThreshold { to: threshold });
        let command = Command { term: range.lease.term, trigger, ..Command::default() };
        range.replica.propose(command).await?;
        loop {
            self.admit(&range, now, batch)?;
            let mut command = Command { term: range.lease.term, ..Command::default() };
            let engine = range.replica.engine();
            let found = gc::collect(&**engine, &mut command.batch, &span, threshold, self.collection_bytes)?;
            if !command.batch.is_empty() {
                // No read at or above the threshold, and no write, is touched by it: no latches.
                range.replica.propose(command).await?;
            }
            let Some(next) = found.resume else { break };
            span.start = next;
            // Everybody else first.
            self.runtime.sleep(PAUSE).await;
        }
        for record in self.old_records(&range, threshold)? {
            self.retire_record(record).await?;
        }
        let responses = vec![Response::Done];
        Ok(BatchResponse { ts: now, now: self.clock.now(), responses })
    }

    fn old_records(&self, range: &Arc<RangeState>, threshold: Timestamp) -> Result<Vec<TxnRecord>, KvError> {
        let (lower, upper) = version_key::bounds(&range.replica.descriptor().span());
        let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
        let mut it = range.replica.engine().iter(Cf::Record, bounds);
        let mut found = Vec::new();
        it.seek_to_first();
        while it.valid() {
            let record = TxnRecord::decode(Bytes::copy_from_slice(it.value()))
                .map_err(|_| KvError::internal("a transaction record is malformed"))?;
            if record.heartbeat <= threshold {
                found.push(record);
            }
            it.next();
        }
        it.status()?;
        Ok(found)
    }

    /// Ends what was abandoned, resolves what is left of what has ended, and forgets it. What cannot be done now is left to
    /// the next collection.
    async fn retire_record(&self, record: TxnRecord) -> Result<(), KvError> {
        let Some(sender) = self.sender() else { return Ok(()) };
        let anchor = record.meta.anchor.clone();
        let (txn, epoch) = (record.meta.id, record.meta.epoch);
        let to = match record.status {
            TxnStatus::Committed => Resolution::Committed(record.meta.write_ts),
            TxnStatus::Aborted => Resolution::Aborted,
            TxnStatus::Staging => {
                probe!("recovery: of a staging record that garbage collection found");
                self.recover(&*sender, record).await;
                return Ok(());
            }
            TxnStatus::Pending => {
                let touch = Request::PushTxn {
                    pushee: record.meta,
                    pusher: None,
                    kind: PushKind::Touch,
                    now: self.clock.now(),
                    active: record.heartbeat,
                    edges: Vec::new(),
                };
                let _ = sender.send_to_key(anchor, self.batch(touch)).await;
                return Ok(());
            }
        };
        if !record.spans.is_empty() {
            let header = self.batch(Request::RangeStats).header;
            if sender.resolve_spans(header, &record.meta, to, record.spans).await.is_err() {
                return Ok(());
            }
        }
        for key in record.intents {
            let (keys, spans) = (vec![key.clone()], Vec::new());
            let resolve = Request::ResolveIntents { txn, epoch, to, keys, spans };
            if sender.send_to_key(key, self.batch(resolve)).await.is_err() {
                return Ok(());
            }
        }
        let remove = Request::RemoveRecord { txn, anchor: anchor.clone() };
        let _ = sender.send_to_key(anchor, self.batch(remove)).await;
        Ok(())
    }
}
