//! What clients do to a cluster, and what they hold it to.
//!
//! What must stay true: whatever a workload calls an error, it calls so in a panic that says what was seen and what was
//! promised; errors that faults excuse are counted, not hidden. Those that speak SQL are `meridian_jepsen::workload`'s.

mod sql;
mod keys;
mod transfers;
mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use meridian_storage::base::keys::TABLE;
use meridian_storage::base::{BoxFuture, Key, Runtime, Span};
use meridian_storage::store::testing::Chance;
use meridian_txn::{ScanOptions, TxnOptions};

use super::cluster::Cluster;
use super::machine::Up;
use super::options::Work;

/// What the clients of a run do.
pub trait Workload: Send + Sync {
    /// Makes what the clients need. Nothing has gone wrong yet.
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()>;

    /// Where ranges may be split, besides at what [`open`](Workload::open) has written.
    fn split_keys(&self) -> Vec<Key> {
        Vec::new()
    }

    /// One operation of a client, through the gateway `up`; `id` is unique.
    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()>;

    /// When all is calm: everything can be read through this gateway, and is right.
    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()>;

    /// At the very end: judges everything that clients were told.
    fn close(&self) {}
}

pub fn workload(work: Work, cluster: &Arc<Cluster>, chance: &mut Chance) -> Arc<dyn Workload> {
    match work.registered() {
        Some(registered) => sql::Sql::new(cluster.clone(), registered, chance),
        None => keys::Keys::new(cluster.clone()),
    }
}

/// Every key of a table.
pub async fn keys_written(up: &Up) -> Vec<Key> {
    let txn = up.db.begin(TxnOptions { read_only: true, ..TxnOptions::default() });
    let all = txn.scan(Span::prefix(Key::from(&[TABLE][..])), ScanOptions::default());
    let all = all.collect().await.expect("nothing has gone wrong yet");
    all.into_iter().map(|(key, _)| key).collect()
}

/// One operation after the other, with a pause of up to `think` before each, until `closing`.
pub async fn client(
    work: Arc<dyn Workload>,
    cluster: Arc<Cluster>,
    name: String,
    mut chance: Chance,
    think: Duration,
    closing: Arc<AtomicBool>,
) {
    let runtime = cluster.world.runtime.clone();
    for n in 0.. {
        runtime.sleep(Duration::from_nanos(chance.below(think.as_nanos() as u64))).await;
        if closing.load(Relaxed) {
            return;
        }
        if let Some((_, up)) = cluster.any_up(&mut chance) {
            if cluster.world.sql && up.sql.get().is_none() {
                // It refuses clients still: whoever is refused does not ask again at once.
                runtime.sleep(Duration::from_millis(50)).await;
                continue;
            }
            work.step(up, format!("{name}-{n:05}"), &mut chance).await;
        }
    }
}
