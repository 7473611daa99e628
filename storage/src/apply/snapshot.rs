//! The whole state of a range, in bounded pieces: read from one moment of the engine, staged at the receiver,
//! installed when it is complete.
//!
//! What must stay true:
//! - A snapshot is read from one [`EngineSnapshot`], and its head is read from the same: index and data agree.
//! - **The receiver's replica is whole at every moment.** Chunks are staged in the state family, out of the way. Only
//!   when all are there, the marker (the head) is written, and from then on the installation is repeated after a
//!   crash until it is done: it begins by deleting what it will write, so doing it twice is doing it once. Staged
//!   chunks without a marker are thrown away at start.
//! - The log is reset only after the installed state is *flushed*: a log that begins at the snapshot's index must
//!   never meet an engine from before it.
//!
//! Staging writes the data twice. The alternative, writing in place while receiving, would leave a voter without
//! data whenever a sender dies half-way.

use bytes::Bytes;

use super::state::{self, SPAN_FAMILIES, StoredReplica};
use crate::base::planted::{self, Planted};
use crate::base::runtime::yield_now;
use crate::base::wire::{Reader, put_bytes, put_timestamp};
use crate::base::{RangeId, Span, StorageError, StorageResult, Timestamp};
use crate::engine::{Cf, Engine, EngineIter, IterOptions, Snapshot as EngineSnapshot, WriteBatch};
use crate::mvcc;
use crate::replica::RangeDescriptor;

/// Where a snapshot stands, and what is not in its chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    pub descriptor: RangeDescriptor,
    pub index: u64,
    pub term: u64,
    pub gc_threshold: Timestamp,
}

impl SnapshotHead {
    /// The head of a snapshot of `range` that is read from `view`.
    pub fn read(view: &dyn EngineSnapshot, range: RangeId) -> StorageResult<SnapshotHead> {
        let StoredReplica { descriptor, applied, gc_threshold, .. } = state::load(view, range)?;
        let descriptor = descriptor.ok_or(StorageError::RangeNotFound { range })?;
        Ok(SnapshotHead { descriptor, index: applied.0, term: applied.1, gc_threshold })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.descriptor.encode());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.term.to_be_bytes());
        put_timestamp(&mut out, self.gc_threshold);
        out
    }

    pub fn decode(bytes: Bytes) -> StorageResult<SnapshotHead> {
        let mut r = Reader::new(bytes, "the head of a snapshot");
        let head = SnapshotHead {
            descriptor: RangeDescriptor::decode(r.bytes()?)?,
            index: r.u64()?,
            term: r.u64()?,
            gc_threshold: r.timestamp()?,
        };
        r.end()?;
        Ok(head)
    }
}

/// Cuts a range's state into chunks, each a write batch in byte form.
pub struct ChunkReader<'a> {
    view: &'a dyn EngineSnapshot,
    /// What is still to be read, last first.
    todo: Vec<(Cf, Bytes, Bytes)>,
    open: Option<(Cf, Box<dyn EngineIter + 'a>)>,
    /// The size at which a chunk is closed.
    chunk_bytes: usize,
}

impl<'a> ChunkReader<'a> {
    /// In chunks of about `chunk_bytes`.
    pub fn new(view: &'a dyn EngineSnapshot, descriptor: &RangeDescriptor, chunk_bytes: usize) -> Self {
        let (lower, upper) = mvcc::key::bounds(&descriptor.span());
        let mut todo: Vec<_> =
            SPAN_FAMILIES.into_iter().map(|cf| (cf, lower.clone(), upper.clone())).collect();
        if planted::is(Planted::SnapshotWithoutLocks) {
            todo.retain(|(cf, ..)| *cf != Cf::Lock);
        }
        todo.extend(state::foreign_state(descriptor.range).map(|(l, u)| (Cf::State, l, u)));
        ChunkReader { view, todo, open: None, chunk_bytes }
    }

    /// The next chunk; `None` at the end. Never empty.
    pub fn next_chunk(&mut self) -> StorageResult<Option<WriteBatch>> {
        let mut chunk = WriteBatch::new();
        while chunk.as_bytes().len() < self.chunk_bytes {
            if self.open.is_none() {
                let Some((cf, lower, upper)) = self.todo.pop() else { break };
                let options =
                    IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
                let mut iter = self.view.iter(cf, options);
                iter.seek_to_first();
                self.open = Some((cf, iter));
            }
            let Some((cf, iter)) = &mut self.open else { break };
            if iter.valid() {
                chunk.put(*cf, iter.key(), iter.value());
                iter.next();
            } else {
                iter.status()?;
                self.open = None;
            }
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

/// Puts a received chunk aside.
pub fn stage(engine: &dyn Engine, range: RangeId, number: u32, chunk: &[u8]) -> StorageResult<()> {
    // What is staged is applied later without further question, so it is checked now.
    WriteBatch::from_bytes(chunk)?;
    let mut batch = WriteBatch::with_capacity(chunk.len() + 64);
    batch.put(Cf::State, &state::staged_key(range, number), chunk);
    engine.write(&batch)
}

/// Throws away what has been staged.
pub fn discard_staged(engine: &dyn Engine, range: RangeId) -> StorageResult<()> {
    let (lower, upper) = state::staged_bounds(range);
    let mut batch = WriteBatch::new();
    batch.delete_range(Cf::State, &lower, &upper);
    engine.write(&batch)
}

/// From here on the snapshot will be installed, whatever crashes.
pub fn mark_complete(batch: &mut WriteBatch, head: &SnapshotHead) {
    batch.put(Cf::State, &state::snapshot_key(head.descriptor.range), &head.encode());
}

/// Replaces the range's state by the staged one, and makes it durable. `old` is what the replica held before.
///
/// The head is the marker's: see [`mark_complete`]. Blocks while the engine writes one chunk, and for the flush at the
/// end; not for a store's thread, nor for one that others share.
pub async fn install(engine: &dyn Engine, head: &SnapshotHead, old: Option<&Span>) -> StorageResult<()> {
    let range = head.descriptor.range;
    let mut batch = WriteBatch::new();
    for span in old.into_iter().chain([&head.descriptor.span()]) {
        state::delete_span(&mut batch, span);
    }
    for (lower, upper) in state::foreign_state(range) {
        batch.delete_range(Cf::State, &lower, &upper);
    }
    engine.write(&batch)?;
    let mut number = 0;
    while let Some(chunk) = engine.get(Cf::State, &state::staged_key(range, number))? {
        engine.write(&WriteBatch::from_bytes(&chunk)?)?;
        number += 1;
        yield_now().await;
    }
    let mut batch = WriteBatch::new();
    let (lower, upper) = state::staged_bounds(range);
    batch.delete_range(Cf::State, &lower, &upper);
    batch.delete(Cf::State, &state::snapshot_key(range));
    state::put_descriptor(&mut batch, &head.descriptor);
    state::put_gc_threshold(&mut batch, range, head.gc_threshold);
    state::put_applied(&mut batch, range, (head.index, head.term));
    engine.write(&batch)?;
    engine.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::executor::block_on;

    use super::*;
    use crate::base::{Key, NodeId, ReplicaId};
    use crate::engine::{MemEngine, Reader as _};
    use crate::replica::{ReplicaDescriptor, ReplicaKind};

    fn head(range: u64) -> SnapshotHead {
        let descriptor = RangeDescriptor {
            range: RangeId(range),
            start: Key::from("b"),
            end: Key::from("y"),
            generation: 4,
            replicas: vec![ReplicaDescriptor {
                node: NodeId(1),
                replica: ReplicaId(1),
                kind: ReplicaKind::Voter,
            }],
            next_replica: ReplicaId(2),
            merging: Default::default(),
        };
        SnapshotHead { descriptor, index: 20, term: 3, gc_threshold: Timestamp::new(8, 0) }
    }

    fn filled(rows: u32) -> Arc<MemEngine> {
        let engine = Arc::new(MemEngine::new());
        let mut batch = WriteBatch::new();
        for i in 0..rows {
            let key = mvcc::key::encode_version(format!("k{i:06}").as_bytes(), Timestamp::new(1, 0));
            batch.put(Cf::Data, &key, &[7; 100]);
        }
        batch.put(Cf::Data, &mvcc::key::encode_version(b"a", Timestamp::new(1, 0)), b"outside");
        let head = head(5);
        state::put_descriptor(&mut batch, &head.descriptor);
        state::put_applied(&mut batch, RangeId(5), (head.index, head.term));
        state::put_gc_threshold(&mut batch, RangeId(5), head.gc_threshold);
        engine.write(&batch).expect("memory");
        engine
    }

    const CHUNK_BYTES: usize = 4 << 10;

    fn copy(from: &MemEngine, to: &MemEngine) -> usize {
        let view = from.snapshot();
        let head = SnapshotHead::read(&*view, RangeId(5)).expect("written");
        let mut reader = ChunkReader::new(&*view, &head.descriptor, CHUNK_BYTES);
        let mut n = 0;
        while let Some(chunk) = reader.next_chunk().expect("memory") {
            assert!(chunk.as_bytes().len() < CHUNK_BYTES + 1024);
            stage(to, RangeId(5), n, chunk.as_bytes()).expect("memory");
            n += 1;
        }
        let mut batch = WriteBatch::new();
        mark_complete(&mut batch, &head);
        to.write(&batch).expect("memory");
        n as usize
    }

    fn rows(engine: &MemEngine) -> usize {
        let mut iter = engine.iter(Cf::Data, IterOptions::default());
        iter.seek_to_first();
        let mut n = 0;
        while iter.valid() {
            n += 1;
            iter.next();
        }
        n
    }

    #[test]
    fn a_snapshot_replaces_the_state_and_nothing_outside() {
        let from = filled(5000);
        let to = filled(10);
        let mut old = WriteBatch::new();
        old.put(Cf::Data, &mvcc::key::encode_version(b"stale", Timestamp::new(1, 0)), b"x");
        to.write(&old).expect("memory");
        assert!(copy(&from, &to) > 1, "several chunks");
        let head = head(5);
        block_on(install(&*to, &head, None)).expect("memory");
        assert_eq!(rows(&to), 5001);
        let stored = state::load_all(&*to).expect("memory").remove(&RangeId(5)).expect("there");
        assert_eq!(stored.descriptor.as_ref(), Some(&head.descriptor));
        assert_eq!((stored.applied, stored.has_staged, stored.installing), ((20, 3), false, None));
    }

    #[test]
    fn an_interrupted_installation_is_repeated() {
        let from = filled(100);
        let to = Arc::new(MemEngine::new());
        copy(&from, &to);
        to.flush().expect("memory");
        block_on(install(&*to, &head(5), None)).expect("memory");
        // As if the crash came before the flush: the marker and the chunks are there, half of the rows may be.
        let again = Arc::new(MemEngine::new());
        copy(&from, &again);
        let mut half = WriteBatch::new();
        half.put(Cf::Data, &mvcc::key::encode_version(b"k000001", Timestamp::new(9, 0)), b"?");
        again.write(&half).expect("memory");
        let stored = state::load_all(&*again).expect("memory").remove(&RangeId(5)).expect("there");
        let marker = SnapshotHead::decode(stored.installing.expect("marked")).expect("well formed");
        block_on(install(&*again, &marker, None)).expect("memory");
        assert_eq!(rows(&again), rows(&to));
    }
}
