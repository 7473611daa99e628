//! One run: the seed chooses the cluster, the weather, the faults and the work; then all faults end, and the books must be
//! right.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use meridian_storage::base::{NodeId, Runtime};
use meridian_storage::store::StoreConfig;
use meridian_storage::store::testing::Chance;
use meridian_txn::testing::SimRuntime;

use crate::bank::Bank;
use crate::cluster::Cluster;
use crate::machine::World;
use crate::nemesis::{Nemesis, random_skew};
use crate::network::{Network, Weather};
use crate::stats::Stats;
use crate::trace::Trace;

const CLIENTS: u64 = 4;
const RAGE: Duration = Duration::from_secs(8);
/// How long the last requests may take when all is well again.
const LAST_REQUESTS: Duration = Duration::from_secs(40);

const CALM: Weather = Weather {
    lost_per_10k: 0,
    repeated_per_10k: 0,
    slow_per_10k: 0,
    delay_min: Duration::from_micros(100),
    delay_max: Duration::from_micros(600),
};

pub struct Report {
    pub seed: u64,
    pub hash: u64,
    pub lines: Vec<String>,
    pub stats: Arc<Stats>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} trace {:016x} ok: {}", self.seed, self.hash, self.stats)
    }
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} failed; again: SIM_SEED={seed} cargo test --release --test sim -- one_seed --nocapture"
            );
        }
    }
}

pub fn run(seed: u64) -> Report {
    let _replay = Replay(seed);
    let runtime = SimRuntime::shuffled(seed);
    let mut chance = Chance::new(runtime.random());
    let sql = seed / 10_000 % 2 == 1;
    let (world, skews, max_skew) = world(&runtime, &mut chance, sql);
    let trace = world.trace.clone();
    let stats = world.stats.clone();
    runtime.block_on(drive(world, skews, max_skew, chance));
    runtime.shut_down();
    Report { seed, hash: trace.hash(), lines: trace.lines(), stats }
}

fn world(runtime: &SimRuntime, chance: &mut Chance, sql: bool) -> (Arc<World>, Vec<i64>, Duration) {
    let trace = Trace::new(runtime.clone());
    let network = Network::new(runtime.clone(), trace.clone(), CALM);
    let bound_known = chance.percent(30);
    let max_offset =
        if bound_known { Duration::from_millis(1 + chance.below(40)) } else { Duration::from_millis(500) };
    // The bound must hold for what the hybrid clocks say, and a message takes some time.
    let max_skew = max_offset.mul_f64(0.8);
    let nodes = if chance.percent(70) { 3 } else { 4 + chance.below(2) };
    let skews = (0..nodes).map(|_| random_skew(chance, max_skew)).collect();
    let store = StoreConfig {
        unflushed_bytes: 16 << 10,
        log_bytes: 64 << 10,
        log_slack_entries: 4 + chance.below(60),
        ..StoreConfig::default()
    };
    let world = World {
        runtime: runtime.clone(),
        trace,
        network,
        stats: Arc::default(),
        max_offset,
        bound_known,
        sql,
        store,
        first_range: Default::default(),
        down_since: Default::default(),
        leaders: Default::default(),
    };
    (Arc::new(world), skews, max_skew)
}

async fn drive(world: Arc<World>, skews: Vec<i64>, max_skew: Duration, mut chance: Chance) {
    let runtime = world.runtime.clone();
    let cluster = Cluster::new(world.clone(), &skews);
    cluster.settle().await;
    let bank = Bank::new(cluster.clone());
    let first = cluster.up(NodeId(1)).expect("nothing has gone wrong yet");
    gateways_open(&cluster).await;
    let split_keys = bank.open(&first).await;
    let weather = bad_weather(&mut chance);
    world.trace.say(format_args!("{weather:?}"));
    world.network.set_weather(weather);

    let mut clients = Vec::new();
    for name in 0..CLIENTS {
        let (done, ended) = oneshot::channel::<()>();
        let work = bank.clone().client(name, Chance::new(chance.bits()));
        let work = async move {
            work.await;
            drop(done);
        };
        runtime.spawn("client", Box::pin(work));
        clients.push(ended);
    }
    watch_leases(&cluster);
    let mut nemesis =
        Nemesis { cluster: cluster.clone(), chance: Chance::new(chance.bits()), split_keys, max_skew };
    nemesis.rage(RAGE).await;

    cluster.calm(CALM);
    runtime.sleep(Duration::from_millis(500)).await;
    bank.close();
    let all = futures::future::join_all(clients);
    let ended = meridian_storage::base::runtime::timeout(&runtime, LAST_REQUESTS, all).await;
    assert!(ended.is_some(), "a request is not answered within {LAST_REQUESTS:?} after the faults");
    cluster.settle().await;
    gateways_open(&cluster).await;
    for (_, up) in cluster.all_up() {
        bank.final_audit(&up).await;
    }
    nothing_left(&cluster).await;
    cluster.settle().await;
}

/// Every machine takes statements.
async fn gateways_open(cluster: &Cluster) {
    for _ in 0..1000 {
        if !cluster.world.sql || cluster.all_up().iter().all(|(_, up)| up.sql.get().is_some()) {
            return;
        }
        cluster.world.runtime.sleep(Duration::from_millis(50)).await;
    }
    panic!("a machine cannot open its catalog");
}

/// Whoever meets an intent brings it to an end: after the audits none is left.
async fn nothing_left(cluster: &Cluster) {
    for _ in 0..100 {
        if cluster.intents().is_empty() {
            return;
        }
        cluster.world.runtime.sleep(Duration::from_millis(100)).await;
    }
    panic!("intents are left: {:?}", cluster.intents());
}

/// Looks at all leases, again and again.
fn watch_leases(cluster: &Arc<Cluster>) {
    let (runtime, cluster) = (cluster.world.runtime.clone(), Arc::downgrade(cluster));
    let watch = {
        let runtime = runtime.clone();
        async move {
            loop {
                runtime.sleep(Duration::from_millis(7)).await;
                let Some(cluster) = cluster.upgrade() else { return };
                cluster.leaseholders();
            }
        }
    };
    runtime.spawn("leases", Box::pin(watch));
}

fn bad_weather(chance: &mut Chance) -> Weather {
    let fast = chance.percent(50);
    Weather {
        lost_per_10k: [0, 10, 100, 500][chance.below(4) as usize],
        repeated_per_10k: [0, 10, 100][chance.below(3) as usize],
        slow_per_10k: [0, 10, 100][chance.below(3) as usize],
        delay_min: Duration::from_micros(if fast { 50 } else { 1000 }),
        delay_max: Duration::from_micros(if fast { 500 } else { 8000 }),
    }
}
