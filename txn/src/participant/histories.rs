//! Many small transactions at once, from one seed: their histories must be strictly serializable.
//!
//! Each client appends unique numbers to lists and reads lists, in transactions over a few keys, while the range is split, its
//! lease moves, replication takes its time, and answers get lost. A list shows the order of its writers, so that the
//! history tells who must come before whom: a cycle is an anomaly (Kingsbury and Alvaro, "Elle", 2020).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::runtime::timeout;
use meridian_storage::base::{
    BoxFuture, Hlc, Key, NodeId, RangeId, Runtime, StorageError, StorageResult, Timestamp,
};
use meridian_storage::engine::memory::MemEngine;
use meridian_storage::engine::{Engine, WriteBatch};
use meridian_storage::mvcc;
use meridian_storage::replica::{Command, Lease, LocalReplica, RangeDescriptor, Replica, ReplicaObserver};
use parking_lot::Mutex;

use super::Participant;
use crate::coordinator::{Db, Txn, TxnError, TxnErrorKind, TxnOptions};
use crate::route::RouterParts;
use crate::rpc::{LockStrength, WaitPolicy};
use crate::testing::{FixedSeeds, NoTransport, SimRuntime, first_range};

/// Replication that takes a moment, and now and then loses an answer.
struct Slow {
    inner: Arc<dyn Replica>,
    runtime: SimRuntime,
    lossy: bool,
}

impl Replica for Slow {
    fn range_id(&self) -> RangeId {
        self.inner.range_id()
    }
    fn descriptor(&self) -> Arc<RangeDescriptor> {
        self.inner.descriptor()
    }
    fn lease(&self, at: Timestamp) -> StorageResult<Lease> {
        self.inner.lease(at)
    }
    fn engine(&self) -> &Arc<dyn Engine> {
        self.inner.engine()
    }
    fn gc_threshold(&self) -> Timestamp {
        self.inner.gc_threshold()
    }
    fn absorb_right(&self) -> BoxFuture<'static, StorageResult<Arc<RangeDescriptor>>> {
        self.inner.absorb_right()
    }
    fn propose(&self, command: Command) -> BoxFuture<'static, StorageResult<()>> {
        let (inner, runtime) = (self.inner.clone(), self.runtime.clone());
        let lossy = self.lossy && command.trigger.is_none();
        Box::pin(async move {
            let luck = runtime.random();
            runtime.sleep(Duration::from_micros(luck % 3000)).await;
            let lost = || Err(StorageError::Ambiguous { reason: "the answer was lost".into() });
            match luck >> 32 & 63 {
                0 if lossy => lost(),
                1 if lossy => inner.propose(command).await.and_then(|()| lost()),
                _ => inner.propose(command).await,
            }
        })
    }
}

/// Shows the participant every replica through [`Slow`], and the test the bare ones.
struct Shim {
    participant: Arc<Participant>,
    runtime: SimRuntime,
    lossy: bool,
}

impl Shim {
    fn slow(&self, replica: &Arc<dyn Replica>) -> Arc<dyn Replica> {
        Arc::new(Slow { inner: replica.clone(), runtime: self.runtime.clone(), lossy: self.lossy })
    }
}

impl ReplicaObserver for Shim {
    fn lease_acquired(&self, replica: &Arc<dyn Replica>, lease: Lease) {
        self.participant.lease_acquired(&self.slow(replica), lease);
    }
    fn lease_lost(&self, range: RangeId) {
        self.participant.lease_lost(range);
    }
    fn split(&self, left: &Arc<dyn Replica>, right: &Arc<dyn Replica>, right_lease: Option<Lease>) {
        self.participant.split(left, &self.slow(right), right_lease);
    }
    fn merge(&self, left: &Arc<dyn Replica>, right: &RangeDescriptor, until: Timestamp) {
        self.participant.merge(left, right, until);
    }
    fn removed(&self, range: RangeId) {
        self.participant.removed(range);
    }
}

struct World {
    runtime: SimRuntime,
    lossy: bool,
    db: Db,
    first: Arc<LocalReplica>,
    history: Mutex<Vec<Record>>,
}

/// What one transaction did. Times are of the virtual clock.
#[derive(Default, Debug)]
struct Record {
    name: u64,
    /// The list that was read, for each key that was.
    reads: BTreeMap<usize, Vec<u64>>,
    appends: Vec<usize>,
    began: u64,
    /// When the commit was acknowledged; `None` if nobody knows whether it committed.
    ended: Option<u64>,
}

const KEYS: usize = 5;

fn key(n: usize) -> Key {
    format!("\x10k{n}").as_str().into()
}

impl World {
    fn new(seed: u64, lossy: bool) -> Arc<World> {
        let runtime = SimRuntime::new(seed);
        let clock = Hlc::new(runtime.clock(), Duration::ZERO, true);
        let rt = Arc::new(runtime.clone());
        let participant = Participant::new(NodeId(1), clock.clone(), rt.clone());
        let engine = Arc::new(MemEngine::new());
        let range = first_range();
        let mut meta = WriteBatch::new();
        let at = meridian_storage::base::keys::meta_key(&range.end);
        mvcc::put(&mut meta, &at, Timestamp::new(1, 0), &crate::rpc::codec::encode_descriptor(&range));
        engine.write(&meta).expect("memory");
        let shim = Arc::new(Shim { participant: participant.clone(), runtime: runtime.clone(), lossy });
        let first = LocalReplica::with_observer(range.range, range.span(), engine, Some(shim));
        let db = Db::new(RouterParts {
            node: NodeId(1),
            clock,
            runtime: rt,
            transport: Arc::new(NoTransport),
            seeds: Arc::new(FixedSeeds(range)),
        });
        db.router().set_local(participant.clone());
        participant.set_sender(db.router());
        Arc::new(World { runtime, lossy, db, first, history: Mutex::default() })
    }

    fn now(&self) -> u64 {
        self.db.clock().wall_ns()
    }

    fn dice(&self, sides: u64) -> u64 {
        (self.runtime.random() >> 16) % sides
    }

    async fn pause(&self) {
        if self.dice(2) == 0 {
            self.runtime.sleep(Duration::from_micros(self.dice(4000))).await;
        }
    }

    async fn client(self: Arc<World>, client: u64, transactions: u64) {
        for n in 0..transactions {
            let name = client * 1000 + n + 1;
            let options = TxnOptions::default();
            let txn = self.db.begin(options);
            let mut record = Record { name, began: self.now(), ..Record::default() };
            let result = match self.operations(&txn, &mut record).await {
                // A client that goes away while it commits does not know how that went.
                Ok(()) if self.lossy && self.dice(10) == 0 => {
                    let patience = Duration::from_micros(self.dice(3000));
                    match timeout(&self.runtime, patience, txn.commit()).await {
                        Some(committed) => committed.map(|_| ()),
                        None => {
                            self.history.lock().push(record);
                            continue;
                        }
                    }
                }
                Ok(()) => txn.commit().await.map(|_| ()),
                Err(e) => Err(e),
            };
            match result {
                Ok(()) => record.ended = Some(self.now()),
                Err(e) if e.kind == TxnErrorKind::Ambiguous => {}
                Err(e) => {
                    txn.rollback().await;
                    let expected = ["40001", "40P01"];
                    assert!(expected.contains(&e.sqlstate()), "{e:?}");
                    continue;
                }
            }
            self.history.lock().push(record);
        }
    }

    async fn operations(&self, txn: &Txn, record: &mut Record) -> Result<(), TxnError> {
        for _ in 0..1 + self.dice(4) {
            self.pause().await;
            let k = self.dice(KEYS as u64) as usize;
            let what = self.dice(4);
            let value = match what {
                0 => {
                    let lock = LockStrength::NoKeyUpdate;
                    txn.get_locked(&key(k), lock, WaitPolicy::Block).await?
                }
                _ => txn.get(&key(k)).await?,
            };
            let mut list = parse(value);
            if !record.appends.contains(&k) {
                record.reads.insert(k, list.clone());
                if what < 3 {
                    list.push(record.name);
                    let text: Vec<String> = list.iter().map(u64::to_string).collect();
                    txn.put(key(k), text.join(",").into());
                    record.appends.push(k);
                }
            }
        }
        self.pause().await;
        Ok(())
    }

    /// Moves leases, splits once, and merges again.
    async fn chaos(self: Arc<World>, rounds: u64) {
        for round in 0..rounds {
            self.runtime.sleep(Duration::from_millis(5 + self.dice(20))).await;
            if round == rounds / 3 {
                // Its answers may get lost, too.
                while self.db.split_at(key(2)).await.is_err() {
                    self.runtime.sleep(Duration::from_millis(1)).await;
                }
            } else if round == rounds * 2 / 3 {
                while self.db.merge_at(key(2)).await.is_err() {
                    self.runtime.sleep(Duration::from_millis(1)).await;
                }
            } else {
                self.first.lose_lease();
                self.runtime.sleep(Duration::from_millis(self.dice(5))).await;
                self.first.acquire_lease(self.db.clock().now());
            }
        }
    }
}

fn parse(value: Option<Bytes>) -> Vec<u64> {
    let Some(value) = value else { return Vec::new() };
    let text = std::str::from_utf8(&value).expect("text");
    text.split(',').map(|n| n.parse().expect("a number")).collect()
}

/// Checks the history; says what is wrong with it.
fn check(history: &[Record], finals: &[Vec<u64>]) -> Result<(), String> {
    let mut by_name: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, record) in history.iter().enumerate() {
        by_name.insert(record.name, at);
    }
    for (k, list) in finals.iter().enumerate() {
        for (i, name) in list.iter().enumerate() {
            let at = by_name.get(name).ok_or(format!("k{k} has {name}, which was never committed"))?;
            if !history[*at].appends.contains(&k) || list[..i].contains(name) {
                return Err(format!("k{k} has {name} twice, or by mistake: {list:?}"));
            }
        }
    }
    let mut after: Vec<Vec<(usize, String)>> = vec![Vec::new(); history.len()];
    for (at, record) in history.iter().enumerate() {
        let appended = |k: &usize| finals[*k].contains(&record.name);
        let applied = record.appends.iter().filter(|k| appended(k)).count();
        if applied != record.appends.len() && (record.ended.is_some() || applied != 0) {
            return Err(format!("{record:?} is not atomic or was lost"));
        }
        if record.ended.is_none() && applied == 0 {
            continue;
        }
        for (k, list) in &record.reads {
            let full = &finals[*k];
            if !full.starts_with(list) {
                return Err(format!("{} read k{k} as {list:?}, but it became {full:?}", record.name));
            }
            if let Some(writer) = list.last() {
                after[by_name[writer]].push((at, format!("wr k{k}")));
            }
            if let Some(next) = full.get(list.len()).map(|next| by_name[next])
                && next != at
            {
                after[at].push((next, format!("rw k{k}")));
            }
            // One's own write follows the read at once: else an update was lost.
            if record.appends.contains(k) && full.get(list.len()) != Some(&record.name) {
                return Err(format!("{} lost an update of k{k}: {full:?}", record.name));
            }
        }
        for (other, later) in history.iter().enumerate() {
            if record.ended.is_some_and(|ended| ended < later.began) {
                after[at].push((other, "real time".into()));
            }
        }
    }
    acyclic(history, &after)
}

/// Kahn's algorithm: what cannot be sorted is on a cycle, or behind one.
fn acyclic(history: &[Record], after: &[Vec<(usize, String)>]) -> Result<(), String> {
    let mut before = vec![0; history.len()];
    for (to, _) in after.iter().flatten() {
        before[*to] += 1;
    }
    let mut free: Vec<usize> = (0..history.len()).filter(|n| before[*n] == 0).collect();
    let mut sorted = 0;
    while let Some(n) = free.pop() {
        sorted += 1;
        for (to, _) in &after[n] {
            before[*to] -= 1;
            if before[*to] == 0 {
                free.push(*to);
            }
        }
    }
    if sorted == history.len() {
        return Ok(());
    }
    let mut report = String::from("a cycle among:\n");
    for (n, record) in history.iter().enumerate().filter(|(n, _)| before[*n] > 0) {
        let edges = after[n].iter().filter(|(to, why)| before[*to] > 0 && why != "real time");
        let edges: Vec<String> = edges.map(|(to, why)| format!("{} ({why})", history[*to].name)).collect();
        report += &format!("{record:?}\n    before {edges:?}\n");
    }
    Err(report)
}

fn run(seed: u64, lossy: bool, chaos: u64) {
    let world = World::new(seed, lossy);
    let runtime = world.runtime.clone();
    let finals = runtime.block_on(async {
        let clients = (0..6).map(|c| world.clone().client(c, 25));
        let both = futures::future::join(futures::future::join_all(clients), world.clone().chaos(chaos));
        both.await;
        let txn = world.db.begin(TxnOptions::default());
        let mut finals = Vec::new();
        for k in 0..KEYS {
            finals.push(parse(txn.get(&key(k)).await.expect("read")));
        }
        finals
    });
    let history = world.history.lock();
    assert!(history.len() > 20, "seed {seed}: only {} committed", history.len());
    if let Err(wrong) = check(&history, &finals) {
        panic!("seed {seed}: {wrong}\nfinally {finals:?}");
    }
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5),
    }
}

#[test]
fn histories_on_one_range_are_strictly_serializable() {
    seeds().for_each(|seed| run(seed, false, 0));
}

#[test]
fn histories_under_splits_and_moving_leases_are_strictly_serializable() {
    seeds().for_each(|seed| run(seed, false, 12));
}

#[test]
fn histories_with_lost_answers_are_strictly_serializable() {
    seeds().for_each(|seed| run(seed, true, 12));
}
