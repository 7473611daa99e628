//! What a store keeps about itself and its replicas in [`Cf::State`]: names and forms.
//!
//! | key | value |
//! | --- | --- |
//! | range 0, `identity` | format, cluster, node, how often the store was opened, whether it has had peers |
//! | range, `r/descriptor` | the applied descriptor |
//! | range, `r/applied` | index and term of the last entry in the engine |
//! | range, `r/gc` | the GC threshold |
//! | range, `r/tombstone` | replicas of the range below this id are dead on this store |
//! | range, `r/snapshot` | the head of a snapshot that is wholly staged and being installed |
//! | range, `r/staged/` number | one chunk of a snapshot that is being received |
//!
//! Other names of a range belong to the layers above and travel with its snapshots. Everything of a replica changes
//! in the same batch as the data it speaks of, so that a crash leaves a prefix of the truth.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::wire::{Reader, put_timestamp};
use crate::base::{Key, NodeId, RangeId, ReplicaId, Span, StorageError, StorageResult, Timestamp};
use crate::engine::{Cf, IterOptions, Reader as EngineReader, WriteBatch};
use crate::mvcc;
use crate::replica::{RangeDescriptor, state_key};

/// The version of everything a store writes; another version is not opened.
const FORMAT: u32 = 4;
const IDENTITY: &str = "identity";
const DESCRIPTOR: &str = "r/descriptor";
const APPLIED: &str = "r/applied";
const GC_THRESHOLD: &str = "r/gc";
const TOMBSTONE: &str = "r/tombstone";
const SNAPSHOT: &str = "r/snapshot";
const STAGED: &str = "r/staged/";
/// What the names of this module begin with, and the first name beyond them.
const OWN: &str = "r/";
const BEYOND_OWN: &str = "r0";

/// The column families whose entries belong to spans of keys.
pub const SPAN_FAMILIES: [Cf; 3] = [Cf::Data, Cf::Lock, Cf::Record];

/// Who a store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub cluster: u128,
    pub node: NodeId,
    /// Counts the times the store was opened.
    pub incarnation: u64,
    /// Whether it has ever heard of another store, whose clock may have moved its own.
    pub peered: bool,
}

impl Identity {
    pub fn load(reader: &(impl EngineReader + ?Sized)) -> StorageResult<Option<Identity>> {
        let Some(bytes) = reader.get(Cf::State, &state_key(RangeId(0), IDENTITY))? else { return Ok(None) };
        let mut r = Reader::new(bytes, "the store's identity");
        let format = r.u32()?;
        if format != FORMAT {
            return Err(StorageError::Config(format!(
                "the store was written in format {format}; this binary reads format {FORMAT}: start the version of \
                 the binary that wrote it"
            )));
        }
        let cluster = u128::from(r.u64()?) << 64 | u128::from(r.u64()?);
        let (node, incarnation) = (NodeId(r.u32()?), r.u64()?);
        let identity = Identity { cluster, node, incarnation, peered: r.u8()? != 0 };
        r.end()?;
        Ok(Some(identity))
    }

    pub fn put(&self, batch: &mut WriteBatch) {
        let mut v = Vec::with_capacity(32);
        v.extend_from_slice(&FORMAT.to_be_bytes());
        v.extend_from_slice(&self.cluster.to_be_bytes());
        v.extend_from_slice(&self.node.0.to_be_bytes());
        v.extend_from_slice(&self.incarnation.to_be_bytes());
        v.push(u8::from(self.peered));
        batch.put(Cf::State, &state_key(RangeId(0), IDENTITY), &v);
    }
}

/// Everything stored about one range.
#[derive(Clone, Default, Debug)]
pub struct StoredReplica {
    pub descriptor: Option<RangeDescriptor>,
    pub applied: (u64, u64),
    pub gc_threshold: Timestamp,
    pub tombstone: Option<ReplicaId>,
    /// The head of a snapshot whose installation was interrupted.
    pub installing: Option<Bytes>,
    pub has_staged: bool,
}

/// Reads the state of every range.
pub fn load_all(reader: &(impl EngineReader + ?Sized)) -> StorageResult<BTreeMap<RangeId, StoredReplica>> {
    let mut all: BTreeMap<RangeId, StoredReplica> = BTreeMap::new();
    let options = IterOptions { lower: Some(state_key(RangeId(1), "")), ..IterOptions::default() };
    let mut iter = reader.iter(Cf::State, options);
    iter.seek_to_first();
    while iter.valid() {
        if let Some((id, name)) = iter.key().split_first_chunk::<8>() {
            let stored = all.entry(RangeId(u64::from_be_bytes(*id))).or_default();
            read_into(stored, name, iter.value())?;
        }
        iter.next();
    }
    iter.status()?;
    all.retain(|_, r| r.descriptor.is_some() || r.tombstone.is_some() || r.has_staged);
    Ok(all)
}

fn read_into(stored: &mut StoredReplica, name: &[u8], value: &[u8]) -> StorageResult<()> {
    let bytes = || Bytes::copy_from_slice(value);
    if name == DESCRIPTOR.as_bytes() {
        stored.descriptor = Some(RangeDescriptor::decode(bytes())?);
    } else if name == APPLIED.as_bytes() {
        stored.applied = decode_applied(bytes())?;
    } else if name == GC_THRESHOLD.as_bytes() {
        stored.gc_threshold = Reader::new(bytes(), "a GC threshold").timestamp()?;
    } else if name == TOMBSTONE.as_bytes() {
        stored.tombstone = Some(ReplicaId(Reader::new(bytes(), "a replica's tombstone").u64()?));
    } else if name == SNAPSHOT.as_bytes() {
        stored.installing = Some(bytes());
    } else if name.starts_with(STAGED.as_bytes()) {
        stored.has_staged = true;
    }
    Ok(())
}

/// As [`load_all`], for one range.
pub fn load(reader: &(impl EngineReader + ?Sized), range: RangeId) -> StorageResult<StoredReplica> {
    let mut stored = StoredReplica::default();
    for name in [DESCRIPTOR, APPLIED, GC_THRESHOLD, TOMBSTONE, SNAPSHOT] {
        if let Some(value) = reader.get(Cf::State, &state_key(range, name))? {
            read_into(&mut stored, name.as_bytes(), &value)?;
        }
    }
    Ok(stored)
}

fn decode_applied(bytes: Bytes) -> StorageResult<(u64, u64)> {
    let mut r = Reader::new(bytes, "an applied index");
    let applied = (r.u64()?, r.u64()?);
    r.end()?;
    Ok(applied)
}

/// The applied index and term that would survive a crash right now.
pub fn durable_applied(engine: &dyn crate::engine::Engine, range: RangeId) -> StorageResult<(u64, u64)> {
    match engine.get_durable(Cf::State, &state_key(range, APPLIED))? {
        Some(bytes) => decode_applied(bytes),
        None => Ok((0, 0)),
    }
}

pub fn put_applied(batch: &mut WriteBatch, range: RangeId, (index, term): (u64, u64)) {
    let mut v = [0; 16];
    v[..8].copy_from_slice(&index.to_be_bytes());
    v[8..].copy_from_slice(&term.to_be_bytes());
    batch.put(Cf::State, &state_key(range, APPLIED), &v);
}

pub fn put_descriptor(batch: &mut WriteBatch, descriptor: &RangeDescriptor) {
    batch.put(Cf::State, &state_key(descriptor.range, DESCRIPTOR), &descriptor.encode());
}

pub fn put_gc_threshold(batch: &mut WriteBatch, range: RangeId, to: Timestamp) {
    let mut v = Vec::with_capacity(12);
    put_timestamp(&mut v, to);
    batch.put(Cf::State, &state_key(range, GC_THRESHOLD), &v);
}

/// As the tombstone of a range that was merged into another: all its replicas are dead.
pub const ABSORBED: ReplicaId = ReplicaId(u64::MAX);

/// Removes everything of a replica but its tombstone, which it writes: replicas below `next` are dead.
pub fn destroy(batch: &mut WriteBatch, descriptor: &RangeDescriptor, next: ReplicaId) {
    let range = descriptor.range;
    delete_span(batch, &descriptor.span());
    batch.delete_range(Cf::State, &state_key(range, ""), &state_key(RangeId(range.0 + 1), ""));
    batch.put(Cf::State, &state_key(range, TOMBSTONE), &next.0.to_be_bytes());
}

/// Forgets a replica whose data are another range's from now on. No replica of its range will ever be.
pub fn forget(batch: &mut WriteBatch, range: RangeId) {
    batch.delete_range(Cf::State, &state_key(range, ""), &state_key(RangeId(range.0 + 1), ""));
    batch.put(Cf::State, &state_key(range, TOMBSTONE), &ABSORBED.0.to_be_bytes());
}

/// Deletes what a span holds, in all families that are ordered by key.
pub fn delete_span(batch: &mut WriteBatch, span: &Span) {
    let (lower, upper) = mvcc::key::bounds(span);
    for cf in SPAN_FAMILIES {
        batch.delete_range(cf, &lower, &upper);
    }
}

/// For [`Planted::SplitLosesIntents`](crate::base::planted::Planted): only the locks, whose values then count as committed.
pub fn delete_locks(batch: &mut WriteBatch, span: &Span) {
    let (lower, upper) = mvcc::key::bounds(span);
    batch.delete_range(Cf::Lock, &lower, &upper);
}

/// The bounds, in [`Cf::State`], of what the layers above keep about a range: before and after this module's names.
pub fn foreign_state(range: RangeId) -> [(Bytes, Bytes); 2] {
    [
        (state_key(range, ""), state_key(range, OWN)),
        (state_key(range, BEYOND_OWN), state_key(RangeId(range.0 + 1), "")),
    ]
}

/// Whether a command of `range` may write this key of [`Cf::State`].
pub fn is_foreign_state(range: RangeId, key: &[u8]) -> bool {
    key.strip_prefix(&range.0.to_be_bytes()).is_some_and(|name| !name.starts_with(OWN.as_bytes()))
}

pub fn staged_key(range: RangeId, number: u32) -> Bytes {
    let mut v = state_key(range, STAGED).to_vec();
    v.extend_from_slice(&number.to_be_bytes());
    v.into()
}

/// The bounds of all staged chunks of a range.
pub fn staged_bounds(range: RangeId) -> (Bytes, Bytes) {
    (state_key(range, STAGED), state_key(range, "r/staged0"))
}

pub fn snapshot_key(range: RangeId) -> Bytes {
    state_key(range, SNAPSHOT)
}

/// The key as it is ordered in [`SPAN_FAMILIES`].
pub fn encoded(key: &Key) -> Vec<u8> {
    mvcc::key::encode_key(key)
}
