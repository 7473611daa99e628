//! One run: the seed chooses the cluster, the weather, the faults and the work; then all faults end, and the books must be
//! right.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use meridian_sql::check;
use meridian_storage::base::{NodeId, PhysicalClock, Runtime};
use meridian_storage::log::DiskLogOptions;
use meridian_storage::store::StoreConfig;
use meridian_storage::store::testing::Chance;
use meridian_txn::Limits;
use meridian_txn::testing::SimRuntime;

use super::cluster::Cluster;
use super::coverage::Coverage;
use super::machine::{End, Sighting, Up, World};
use super::nemesis::{Nemesis, random_skew};
use super::network::{Network, Weather};
use super::options::{Fault, SimulateArgs, Work};
use super::trace::Trace;
use super::workload;
use crate::node::check::{LAYOUT_SETTLES, SNAPSHOT_TOO_OLD};

const CLIENTS: u64 = 4;
/// How long it may take until every range is led again.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
/// How long the last requests may take when all is well again.
const LAST_REQUESTS: Duration = Duration::from_secs(40);
/// No lock is left for so long by a transaction that has ended.
const LOCKS_OLDER: Duration = Duration::from_secs(5);

/// How long a clock that is right may stay fenced.
const UNFENCED_WITHIN: Duration = Duration::from_secs(10);

const CALM: Weather = Weather {
    lost_per_10k: 0,
    repeated_per_10k: 0,
    slow_per_10k: 0,
    delay_min: Duration::from_micros(100),
    delay_max: Duration::from_micros(600),
};

/// What the seed has chosen.
struct Scenario {
    faults: BTreeSet<Fault>,
    works: Vec<Work>,
    nodes: u32,
    max_offset: Duration,
    /// Whether the bound on the clocks counts as known.
    bound_known: bool,
    store: StoreConfig,
    limits: Limits,
    log: DiskLogOptions,
    sync_takes: (Duration, Duration),
    weather: Weather,
    think: Duration,
    dead_after: Duration,
    gc_after: Duration,
}

impl Scenario {
    /// Of the faults and workloads that are asked for, each run has a part: what is left out gives what is left more room.
    /// (Groce and others, "Swarm testing", ISSTA 2012.)
    fn choose(args: &SimulateArgs, chance: &mut Chance) -> Self {
        let everything = chance.percent(30);
        let chosen = args.faults.0.iter().copied().filter(|_| everything || chance.percent(60));
        let faults: BTreeSet<Fault> = chosen.collect();
        let mut sql: Vec<Work> = args.workload.0.iter().copied().filter(|w| *w != Work::KEYS).collect();
        let keys = args.workload.0.contains(&Work::KEYS) && (sql.is_empty() || chance.percent(10));
        let works = if keys {
            vec![Work::KEYS]
        } else {
            let count = [1, 1, 1, 2, 2, 3][chance.below(6) as usize].min(sql.len());
            (0..count).map(|_| sql.swap_remove(chance.below(sql.len() as u64) as usize)).collect()
        };
        let bound_known = chance.percent(30);
        let bad = faults.contains(&Fault::ClockBad);
        let max_offset = if bound_known {
            // A clock that drifts is found out if the network tells small parts of the bound.
            let ms = 1 + chance.below(40);
            Duration::from_millis(if bad { 100 + 4 * ms } else { ms })
        } else {
            Duration::from_millis(500)
        };
        let nodes = if chance.percent(70) { 3 } else { 4 + chance.below(2) as u32 };
        let store = store_config(chance).suited_to(max_offset);
        let limits = limits(chance);
        let log = DiskLogOptions {
            segment_bytes: [4 << 10, 16 << 10][chance.below(2) as usize],
            cache_bytes: [0, 4 << 10, 64 << 10][chance.below(3) as usize],
        };
        // A crash finds most that is not durable while a disk syncs.
        let micros = [0, 200, 1000, 5000][chance.below(4) as usize];
        let sync_takes = (Duration::from_micros(micros / 2), Duration::from_micros(micros));
        let weather = bad_weather(chance);
        let think = Duration::from_millis([4, 40, 400][chance.below(3) as usize]);
        let nodes = args.nodes.unwrap_or(nodes);
        let dead_after = Duration::from_secs(2 + chance.below(20));
        let gc_after = Duration::from_secs([2, 6, 30][chance.below(3) as usize]);
        Scenario {
            faults,
            works,
            nodes,
            max_offset,
            bound_known,
            store,
            limits,
            log,
            sync_takes,
            weather,
            think,
            dead_after,
            gc_after,
        }
    }
}

/// How long it took, after the last fault, ...
pub struct Healing {
    /// ... until somebody led every range again,
    pub led: Duration,
    /// until every request of that time was answered,
    pub answered: Duration,
    /// and until all replicas were where they should be, and equal.
    pub whole: Duration,
}

/// What a run has come to.
pub struct Report {
    pub hash: u64,
    pub simulated: Duration,
    pub healing: Healing,
    pub coverage: Arc<Coverage>,
}

/// Panics where a promise is broken.
pub fn run(args: &SimulateArgs, seed: u64) -> Report {
    let runtime = SimRuntime::shuffled(seed);
    let mut chance = Chance::new(runtime.random());
    let scenario = Scenario::choose(args, &mut chance);
    let (sightings, seen) = mpsc::unbounded();
    let (ends, ended) = mpsc::unbounded();
    let (world, skews, max_skew) = world(&runtime, &mut chance, &scenario, sightings, args.trace, ends);
    let (trace, coverage) = (world.trace.clone(), world.coverage.clone());
    let drive = drive(world.clone(), ended, skews, max_skew, scenario, args.time, chance, seen);
    let healing = runtime.block_on(drive);
    world.disks.lock().iter().for_each(|disk| coverage.absorb_disk(disk.counts()));
    runtime.shut_down();
    world.network.shut_down();
    let alive = Arc::downgrade(&world);
    drop(world);
    assert_eq!(
        alive.strong_count(),
        0,
        "somebody keeps what ought to have ended: memory would grow run by run"
    );
    let simulated = Duration::from_secs_f64(trace.seconds());
    Report { hash: trace.hash(), simulated, healing, coverage }
}

fn world(
    runtime: &SimRuntime,
    chance: &mut Chance,
    scenario: &Scenario,
    sightings: mpsc::UnboundedSender<Sighting>,
    echo: bool,
    ends: mpsc::UnboundedSender<End>,
) -> (Arc<World>, Vec<i64>, Duration) {
    let trace = Trace::new(runtime.clone(), echo);
    let network = Network::new(runtime.clone(), trace.clone(), CALM);
    // Clocks within four fifths of the bound must fence nobody; within half of it, where a round trip is a good part of it.
    let wide = scenario.max_offset >= Duration::from_millis(100);
    let max_skew = scenario.max_offset.mul_f64(if wide { 0.8 } else { 0.5 });
    let skews = (0..scenario.nodes).map(|_| random_skew(chance, max_skew)).collect();
    let world = World {
        runtime: runtime.clone(),
        trace,
        network,
        coverage: Arc::default(),
        max_offset: scenario.max_offset,
        bound_known: scenario.bound_known,
        sql: scenario.works.iter().any(|w| *w != Work::KEYS),
        store: scenario.store.clone(),
        limits: scenario.limits.clone(),
        log: scenario.log,
        sync_takes: scenario.sync_takes,
        first_range: Default::default(),
        down_since: Default::default(),
        crashed_at: Default::default(),
        draining: Default::default(),
        gone: Default::default(),
        dead_after: scenario.dead_after,
        gc_after: scenario.gc_after,
        sessions: Default::default(),
        sightings,
        disks: Default::default(),
        misread: Default::default(),
        ends,
        clocks: Default::default(),
        leaders: Default::default(),
    };
    (Arc::new(world), skews, max_skew)
}

async fn drive(
    world: Arc<World>,
    ended: mpsc::UnboundedReceiver<End>,
    skews: Vec<i64>,
    max_skew: Duration,
    scenario: Scenario,
    time: Duration,
    mut chance: Chance,
    seen: mpsc::UnboundedReceiver<Sighting>,
) -> Healing {
    let runtime = world.runtime.clone();
    let cluster = Cluster::new(world.clone(), &skews);
    cluster.watch_ends(ended);
    cluster.settle().await;
    let first = cluster.up(NodeId(1)).expect("nothing has gone wrong yet");
    gateways_open(&cluster).await;
    let mut works = Vec::new();
    for work in &scenario.works {
        let opened = workload::workload(*work, &cluster, &mut chance);
        opened.open(&first).await;
        works.push(opened);
    }
    see_tables(&cluster).await;
    let mut split_keys: Vec<_> = works.iter().flat_map(|w| w.split_keys()).collect();
    split_keys.extend(workload::keys_written(&first).await);
    if scenario.faults.contains(&Fault::Network) {
        world.trace.say(format_args!("{:?}", scenario.weather));
        world.network.set_weather(scenario.weather);
    }

    let mut clients = Vec::new();
    let closing = Arc::new(AtomicBool::new(false));
    for (n, work) in works.iter().enumerate() {
        for name in 0..CLIENTS {
            let (done, ended) = oneshot::channel::<()>();
            let (name, chance) = (format!("w{n}c{name}"), Chance::new(chance.bits()));
            let client = workload::client(
                work.clone(),
                cluster.clone(),
                name,
                chance,
                scenario.think,
                closing.clone(),
            );
            let client = async move {
                client.await;
                drop(done);
            };
            runtime.spawn("client", Box::pin(client));
            clients.push(ended);
        }
    }
    watch_leases(&cluster);
    let mut nemesis = Nemesis {
        cluster: cluster.clone(),
        chance: Chance::new(chance.bits()),
        faults: scenario.faults,
        split_keys,
        lost: false,
        doomed: Vec::new(),
        max_skew,
        bad_clocks: BTreeSet::new(),
    };
    let hunter = nemesis.hunter(seen);
    futures::future::select(Box::pin(nemesis.rage(time)), Box::pin(hunter)).await;

    nemesis.mend_all();
    cluster.calm(CALM);
    let calm_since = world.wall_ns();
    let calm = runtime.clock().monotonic();
    let since_calm = || runtime.clock().monotonic() - calm;
    cluster.until_led(HEALED_WITHIN).await;
    let led = since_calm();
    closing.store(true, Relaxed);
    let all = futures::future::join_all(clients);
    let ended = meridian_storage::base::runtime::timeout(&runtime, LAST_REQUESTS, all).await;
    assert!(ended.is_some(), "a request is not answered within {LAST_REQUESTS:?} after the faults");
    unfenced(&cluster, calm_since).await;
    let answered = since_calm();
    cluster.settle().await;
    gateways_open(&cluster).await;
    let whole = since_calm();
    for (node, up) in cluster.all_up() {
        let misread = up.disk.misread();
        assert!(misread.is_none(), "{node} is still up, and could not read its state: {misread:?}");
    }
    for (_, up) in cluster.all_up() {
        for work in &works {
            work.last_look(&up).await;
        }
    }
    nothing_left(&cluster).await;
    all_in_order(&first_up(&cluster)).await;
    cluster.settle().await;
    works.iter().for_each(|w| w.close());
    world.count_all_fences();
    Healing { led, answered, whole }
}

/// Other machines look for new tables only once in a while.
async fn see_tables(cluster: &Cluster) {
    for (_, up) in cluster.all_up() {
        if let Some(node) = up.sql.get() {
            node.catalog.refresh().await.expect("nothing has gone wrong yet");
        }
    }
}

fn first_up(cluster: &Cluster) -> Up {
    cluster.all_up().into_iter().next().expect("all are up").1
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

/// Machines whose clocks are right again take part again, by themselves.
async fn unfenced(cluster: &Cluster, calm_since: u64) {
    let world = &cluster.world;
    let until = calm_since + UNFENCED_WITHIN.as_nanos() as u64;
    loop {
        let fenced = world.fenced();
        if fenced.is_empty() {
            return;
        }
        assert!(world.wall_ns() < until, "all clocks have been right for {UNFENCED_WITHIN:?}: {fenced:?}");
        world.runtime.sleep(Duration::from_millis(50)).await;
    }
}

/// Whoever meets an intent brings it to an end, as soon as its coordinator counts as dead.
async fn nothing_left(cluster: &Cluster) {
    for _ in 0..10 {
        // What no workload asks for, such as an index that was never finished, is met by a look at all keys.
        workload::keys_written(&first_up(cluster)).await;
        cluster.world.runtime.sleep(Duration::from_secs(1)).await;
        if cluster.intents().is_empty() {
            return;
        }
    }
    panic!("intents are left: {:?}", cluster.intents());
}

/// What `meridian debug check` looks at: every row, every index, every constraint, every range.
async fn all_in_order(up: &Up) {
    let (mut wrong, _) = up.db.check_settled_layout(LAYOUT_SETTLES).await.expect("all is calm");
    let left = up.db.left_over_locks(LOCKS_OLDER).await.expect("all is calm");
    wrong.extend(left.iter().map(|l| format!("{l:?}")));
    let mut at = up.db.clock().now();
    let mut next = Some(check::first_key());
    while let Some(from) = next {
        let part = match check::sweep(&up.db, at, from.clone()).await {
            Ok(part) => part,
            Err(e) if e.code() == SNAPSHOT_TOO_OLD => {
                at = up.db.clock().now();
                next = Some(from);
                continue;
            }
            Err(e) => panic!("the rows cannot be read: {e}"),
        };
        wrong.extend(part.violations.iter().map(ToString::to_string));
        next = part.next;
    }
    assert!(wrong.is_empty(), "not as it should be: {}", wrong.join("; "));
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

/// Small disks, and leases and elections that are now and then much shorter or longer than usual.
fn store_config(chance: &mut Chance) -> StoreConfig {
    let usual = StoreConfig::default();
    let (heartbeat_interval, support_duration) = match chance.below(6) {
        0 => (Duration::from_millis(100), Duration::from_millis(400)),
        1 => (Duration::from_millis(500), Duration::from_millis(4000)),
        _ => (usual.heartbeat_interval, usual.support_duration),
    };
    StoreConfig {
        heartbeat_interval,
        support_duration,
        unflushed_bytes: 16 << 10,
        log_bytes: 64 << 10,
        log_slack_entries: chance.below(64),
        max_snapshots: 1 + chance.below(2) as usize,
        snapshot_chunk_bytes: pick(chance, &[256, 2 << 10, usual.snapshot_chunk_bytes]),
        ..usual
    }
}

/// Each limit is the usual one, or so small that a few rows are beyond it.
fn limits(chance: &mut Chance) -> Limits {
    let usual = Limits::default();
    let read_spans = pick(chance, &[2, 8, 64, usual.read_spans]);
    Limits {
        spill_bytes: pick(chance, &[200, 2000, usual.spill_bytes, usual.spill_bytes]),
        spill_command_bytes: pick(chance, &[100, usual.spill_command_bytes]),
        read_spans,
        refreshed_spans: pick(chance, &[1, 4, usual.refreshed_spans]),
        attached_spans: pick(chance, &[0, 2, usual.attached_spans]),
        attached_locks: pick(chance, &[0, 3, usual.attached_locks]),
        scan_block_bytes: pick(chance, &[1, 300, usual.scan_block_bytes as usize]) as u64,
        marked_keys: 64 * read_spans,
        marked_spans: 4 * read_spans,
        remembered_transactions: pick(chance, &[1, 100, usual.remembered_transactions]),
        remembered_writes: pick(chance, &[1, 30, usual.remembered_writes]),
        collection_bytes: pick(chance, &[100, usual.collection_bytes]),
        job_rows: pick(chance, &[1, 5, usual.job_rows as usize]) as u64,
    }
}

fn pick(chance: &mut Chance, among: &[usize]) -> usize {
    among[chance.below(among.len() as u64) as usize]
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
