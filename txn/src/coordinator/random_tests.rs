//! Random transactions over several ranges, and whether what they saw and did is serializable.
//!
//! Sessions append unique values to lists, read them one by one, together and by scans, spill, roll back to savepoints,
//! give up, and begin again; the [`history`](crate::testing::history) is searched for circles. One seed, one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{Key, Runtime, Span};
use parking_lot::Mutex;

use crate::testing::cluster::{Cluster, Faults};
use crate::testing::history::{Committed, History};
use crate::testing::{SimRuntime, local_db, model_db};
use crate::*;

const KEYS: u32 = 6;
const SESSIONS: u64 = 6;
const TRANSACTIONS: u64 = 12;

/// Keys 0 and 1, 2 and 3, 4 and 5 lie in one range each.
fn key(n: u32) -> Key {
    vec![0x10, b'a' + n as u8].into()
}

fn number(key: &[u8]) -> u32 {
    u32::from(key[1] - b'a')
}

fn parse(value: Option<&[u8]>) -> Vec<u64> {
    value.unwrap_or_default().chunks(8).map(|c| u64::from_be_bytes(c.try_into().expect("8 bytes"))).collect()
}

fn format(list: &[u64]) -> Bytes {
    list.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>().into()
}

struct Run {
    runtime: SimRuntime,
    isolation: Isolation,
    events: AtomicU64,
    history: Mutex<History>,
    /// Transactions whose outcome nobody knows.
    unknown: AtomicU64,
}

impl Run {
    fn new(runtime: &SimRuntime, isolation: Isolation) -> Arc<Self> {
        Arc::new(Run {
            runtime: runtime.clone(),
            isolation,
            events: AtomicU64::new(0),
            history: Mutex::default(),
            unknown: AtomicU64::new(0),
        })
    }

    fn tick(&self) -> u64 {
        self.events.fetch_add(1, Ordering::SeqCst)
    }

    fn pick(&self, n: u64) -> u64 {
        self.runtime.random() % n
    }

    async fn pause(&self) {
        self.runtime.sleep(Duration::from_micros(self.pick(3000))).await;
    }

    async fn session(&self, db: &Db) {
        for _ in 0..TRANSACTIONS {
            self.pause().await;
            let mut seen = Committed { began: self.tick(), ..Committed::default() };
            let txn =
                db.begin(TxnOptions { isolation: self.isolation, read_only: false, ..TxnOptions::default() });
            let mut written = Vec::new();
            for _ in 0..20 {
                let result = self.attempt(&txn, &mut seen, &mut written).await;
                match result {
                    Ok(()) => {
                        seen.ended = self.tick();
                        let gone = written.iter().filter(|v| !seen.appends.iter().any(|(_, a)| a == *v));
                        let mut history = self.history.lock();
                        history.aborted.extend(gone);
                        history.committed.push(seen.clone());
                        written.clear();
                        break;
                    }
                    Err(e) if e.is_retryable() && txn.can_restart() && self.pick(4) > 0 => {
                        txn.restart();
                        seen.reads.clear();
                        seen.appends.clear();
                    }
                    Err(e) if e.kind == TxnErrorKind::Ambiguous => {
                        self.unknown.fetch_add(1, Ordering::SeqCst);
                        written.retain(|v| !seen.appends.iter().any(|(_, a)| a == v));
                        break;
                    }
                    Err(e) => {
                        use TxnErrorKind::*;
                        assert!(
                            matches!(e.kind, Retry | Deadlock | Unavailable),
                            "{e:?} in {:?} {seen:?}",
                            txn.id()
                        );
                        txn.rollback().await;
                        break;
                    }
                }
            }
            txn.rollback().await;
            self.history.lock().aborted.append(&mut written);
        }
    }

    /// One attempt of a transaction, with its commit.
    async fn attempt(&self, txn: &Txn, seen: &mut Committed, written: &mut Vec<u64>) -> TxnResult<()> {
        for _ in 0..1 + self.pick(4) {
            match self.pick(10) {
                0..4 => self.append(txn, self.pick(u64::from(KEYS)) as u32, seen, written).await?,
                4..6 => self.read(txn, self.pick(u64::from(KEYS)) as u32, seen).await?,
                6 => self.read_many(txn, seen).await?,
                7 => self.scan(txn, seen).await?,
                8 => self.undone(txn, seen, written).await?,
                _ => txn.flush().await?,
            }
            self.pause().await;
        }
        if self.pick(12) == 0 {
            return Err(TxnError::new(TxnErrorKind::Retry, "a change of mind"));
        }
        txn.commit().await?;
        Ok(())
    }

    async fn append(&self, txn: &Txn, k: u32, seen: &mut Committed, written: &mut Vec<u64>) -> TxnResult<()> {
        if seen.appends.iter().any(|(other, _)| *other == k) {
            return Ok(());
        }
        let locked = self.isolation == Isolation::ReadCommitted || self.pick(2) == 0;
        let value = if locked {
            txn.get_locked(&key(k), LockStrength::Update, WaitPolicy::Block).await?
        } else {
            txn.get(&key(k)).await?
        };
        let mut list = parse(value.as_deref());
        seen.reads.push((k, list.clone()));
        let value = self.tick();
        list.push(value);
        txn.put(key(k), format(&list));
        seen.appends.push((k, value));
        written.push(value);
        Ok(())
    }

    async fn read(&self, txn: &Txn, k: u32, seen: &mut Committed) -> TxnResult<()> {
        let value = txn.get(&key(k)).await?;
        note(seen, k, parse(value.as_deref()));
        Ok(())
    }

    async fn read_many(&self, txn: &Txn, seen: &mut Committed) -> TxnResult<()> {
        let ks = [0, 3, 5];
        let values = txn.get_many(&ks.map(key), None).await?;
        for (k, value) in ks.into_iter().zip(values) {
            note(seen, k, parse(value.as_deref()));
        }
        Ok(())
    }

    async fn scan(&self, txn: &Txn, seen: &mut Committed) -> TxnResult<()> {
        let options = ScanOptions {
            reverse: self.pick(2) == 0,
            batch_bytes: self.pick(2) * 20,
            ..ScanOptions::default()
        };
        let rows = txn.scan(Span::new(key(1), key(5)), options).collect().await?;
        for k in 1..5 {
            let row = rows.iter().find(|(found, _)| number(found) == k);
            note(seen, k, parse(row.map(|(_, v)| &v[..])));
        }
        Ok(())
    }

    /// Appends, and takes it back.
    async fn undone(&self, txn: &Txn, seen: &mut Committed, written: &mut Vec<u64>) -> TxnResult<()> {
        let savepoint = txn.savepoint();
        let before = seen.appends.len();
        self.append(txn, self.pick(u64::from(KEYS)) as u32, seen, written).await?;
        if self.pick(2) == 0 {
            txn.flush().await?;
        }
        txn.rollback_to(savepoint);
        txn.release(savepoint);
        seen.appends.truncate(before);
        Ok(())
    }

    async fn final_lists(&self, db: &Db) {
        for k in 0..KEYS {
            let txn = db.begin(TxnOptions::default());
            let value = txn.get(&key(k)).await.expect("nothing is in the way");
            self.history.lock().lists.insert(k, parse(value.as_deref()));
        }
    }
}

/// A list that was seen; what a transaction has appended itself says nothing.
fn note(seen: &mut Committed, k: u32, list: Vec<u64>) {
    if !seen.appends.iter().any(|(other, _)| *other == k) {
        seen.reads.push((k, list));
    }
}

async fn split(db: &Db) {
    for at in [2, 4] {
        db.split_at(key(at)).await.expect("split");
    }
}

fn run(runtime: &SimRuntime, gateways: &[Db], isolation: Isolation) -> Arc<Run> {
    let run = Run::new(runtime, isolation);
    let sessions = (0..SESSIONS).map(|s| {
        let (run, db) = (run.clone(), gateways[s as usize % gateways.len()].clone());
        async move { run.session(&db).await }
    });
    runtime.block_on(async {
        let limit = runtime.sleep(Duration::from_secs(600));
        let all = futures::future::join_all(sessions);
        if let futures::future::Either::Right(_) = futures::future::select(Box::pin(all), limit).await {
            panic!("stuck: {:?}", run.history.lock());
        }
    });
    run
}

fn check(seed: u64, run: &Run, isolation: Isolation) {
    let history = run.history.lock();
    assert!(history.committed.len() as u64 > SESSIONS, "seed {seed}: hardly anything has committed");
    if std::env::var_os("SEED").is_some() {
        eprintln!("{isolation:?} {:#?}", history);
    }
    let verdict = match isolation {
        Isolation::Serializable => history.check(true),
        _ => history.check_lists(),
    };
    verdict.unwrap_or_else(|e| panic!("seed {seed}, {isolation:?}: {e}"));
}

fn on_one_node(seed: u64, isolation: Isolation, make: impl Fn(&SimRuntime) -> Db) {
    let runtime = SimRuntime::new(seed);
    let db = make(&runtime);
    runtime.block_on(split(&db));
    let run = run(&runtime, std::slice::from_ref(&db), isolation);
    runtime.block_on(run.final_lists(&db));
    assert_eq!(run.unknown.load(Ordering::SeqCst), 0, "seed {seed}");
    check(seed, &run, isolation);
}

/// Which seeds: a few with every change, `SEEDS=1000` at leisure, `SEED=7` to see one again.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(usual),
    }
}

#[test]
fn random_transactions_are_strictly_serializable() {
    for seed in seeds(40) {
        on_one_node(seed, Isolation::Serializable, |rt| local_db(rt).0);
    }
}

#[test]
fn random_transactions_over_the_model_are_strictly_serializable() {
    for seed in seeds(15) {
        on_one_node(seed, Isolation::Serializable, model_db);
    }
}

#[test]
fn weaker_levels_lose_nothing_and_show_nothing_dirty() {
    for seed in seeds(15) {
        on_one_node(seed, Isolation::Snapshot, |rt| local_db(rt).0);
        on_one_node(seed, Isolation::ReadCommitted, |rt| local_db(rt).0);
    }
}

fn over_a_network(seed: u64, faults: Faults, lease_moves: u32) -> u64 {
    let runtime = SimRuntime::new(seed);
    let cluster = Cluster::new(&runtime, 3);
    runtime.block_on(split(&cluster.first.db));
    cluster.set_faults(faults);
    let replica = cluster.first.replica.clone();
    let (rt, clock) = (runtime.clone(), cluster.first.db.clock().clone());
    runtime.spawn(
        "lease moves",
        Box::pin(async move {
            for _ in 0..lease_moves {
                rt.sleep(Duration::from_millis(20)).await;
                replica.lose_lease();
                rt.sleep(Duration::from_millis(rt.random() % 5)).await;
                replica.acquire_lease(clock.now());
            }
        }),
    );
    let run = run(&runtime, &cluster.gateways, Isolation::Serializable);
    cluster.set_faults(Faults::default());
    runtime.run_for(Duration::from_secs(20));
    runtime.block_on(run.final_lists(&cluster.first.db));
    check(seed, &run, Isolation::Serializable);
    cluster.lost()
}

#[test]
fn skewed_clocks_and_slow_messages_do_not_matter() {
    let faults = Faults { delay: Duration::from_millis(2), ..Faults::default() };
    for seed in seeds(20) {
        over_a_network(seed, faults, 0);
    }
}

#[test]
fn lost_messages_lose_no_commits_and_invent_none() {
    let faults = Faults { requests_lost: 20, replies_lost: 20, delay: Duration::from_millis(2) };
    let lost: u64 = seeds(20).map(|seed| over_a_network(seed, faults, 0)).sum();
    assert!(lost > 0);
}

#[test]
fn lease_changes_do_not_matter() {
    let faults = Faults { requests_lost: 5, replies_lost: 5, delay: Duration::from_millis(2) };
    for seed in seeds(20) {
        over_a_network(seed, faults, 10);
    }
}
