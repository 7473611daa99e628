//! How long a proposal takes on a real disk; run by hand.
#![allow(clippy::disallowed_methods, reason = "it measures real time, in threads of its own")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;

use crate::base::{BoxFuture, Hlc, NodeId, PhysicalClock, RangeId, Runtime};
use crate::engine::{RocksEngine, RocksOptions, WriteBatch};
use crate::log::{DiskLog, DiskLogOptions, LogOwner};
use crate::mvcc;
use crate::replica::Command;
use crate::store::testing::Recorder;
use crate::store::{NoTransport, StoreConfig, StoreHandle, StoreParts, bootstrap, open};

struct RealClock(Instant);

impl PhysicalClock for RealClock {
    fn wall_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + self.0.elapsed().as_nanos() as u64
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct NoTasks;

impl Runtime for NoTasks {
    fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn random(&self) -> u64 {
        4
    }
}

fn client(handle: &StoreHandle, n: usize, rounds: usize) -> Vec<Duration> {
    let replica = handle.replica(RangeId(1)).expect("here");
    let mut took = Vec::with_capacity(rounds);
    for i in 0..rounds {
        let now = handle.clock().now();
        let lease = replica.lease(now).expect("one voter");
        let mut batch = WriteBatch::new();
        mvcc::put(&mut batch, format!("{n}/{i}").as_bytes(), now, &[7; 100]);
        let begun = Instant::now();
        block_on(replica.propose(Command { term: lease.term, batch, trigger: None })).expect("applied");
        took.push(begun.elapsed());
    }
    took
}

#[test]
#[ignore = "measures"]
fn proposals_on_a_real_disk() {
    let folder =
        tempfile::tempdir_in(std::env::var("SPEED_DIR").unwrap_or("/work/tmp".into())).expect("a folder");
    let engine =
        Arc::new(RocksEngine::open(folder.path().join("engine"), RocksOptions::default()).expect("opens"));
    let (path, owner) = (folder.path().join("log"), LogOwner { cluster: 1, node: NodeId(1) });
    DiskLog::found(&path, owner).expect("a new log");
    let log = Arc::new(DiskLog::open(&path, owner, DiskLogOptions::default()).expect("opens"));
    let clock = Hlc::new(Arc::new(RealClock(Instant::now())), Duration::from_millis(500), false);
    bootstrap(&*engine, 1, NodeId(1), clock.now()).expect("empty");
    let parts = StoreParts {
        config: StoreConfig::default(),
        engine,
        log,
        clock,
        runtime: Arc::new(NoTasks),
        transport: Arc::new(NoTransport),
        observer: Arc::<Recorder>::default(),
    };
    let (core, handle) = open(parts, None).expect("opens");
    let store = std::thread::spawn(move || core.run());
    while handle.replica(RangeId(1)).expect("here").lease(handle.clock().now()).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    for (clients, rounds) in [(1, 2000), (4, 1000), (16, 500), (64, 200)] {
        let begun = Instant::now();
        let threads: Vec<_> = (0..clients)
            .map(|n| {
                let handle = handle.clone();
                std::thread::spawn(move || client(&handle, n, rounds))
            })
            .collect();
        let mut took: Vec<_> = threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect();
        let elapsed = begun.elapsed();
        took.sort();
        let at = |p: usize| took[took.len() * p / 100];
        println!(
            "{clients:>3} clients: {:>7.0}/s  p50 {:?}  p95 {:?}  p99 {:?}",
            took.len() as f64 / elapsed.as_secs_f64(),
            at(50),
            at(95),
            at(99)
        );
    }
    println!("{:?}", handle.status());
    handle.stop();
    store.join().expect("no panic").expect("no fault");
}
