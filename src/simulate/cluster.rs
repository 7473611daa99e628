//! All machines of a run; what may be asked of them at any time, and what must be true of them at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use meridian_storage::apply::state::{SPAN_FAMILIES, foreign_state};
use meridian_storage::base::{Key, NodeId, RangeId, Runtime, Span, StorageError, Timestamp, keys};
use meridian_storage::engine::{Cf, IterOptions, MemEngine, Reader, split_timestamp};
use meridian_storage::files::simulated::{Ailments, Crash};
use meridian_storage::mvcc;
use meridian_storage::replica::{Merging, RangeDescriptor};
use meridian_storage::store::testing::Chance;
use parking_lot::Mutex;

use super::coverage::Coverage;
use super::machine::{End, Machine, Up, World};
use super::network::Weather;

/// How long a cluster without faults may take until everything is in order.
const SETTLE_WITHIN: Duration = Duration::from_secs(90);
/// How long after the last fault a client may hear of a read that had failed before.
const LAST_EXCUSES: Duration = Duration::from_secs(2);

pub struct Cluster {
    pub world: Arc<World>,
    pub machines: Mutex<BTreeMap<NodeId, Machine>>,
    /// By range: the term, the last moment that was served in it, and what the range was then.
    served: Mutex<BTreeMap<RangeId, (u64, Timestamp, RangeDescriptor)>>,
    /// All faults are over.
    calm: AtomicBool,
}

impl Cluster {
    pub fn new(world: Arc<World>, skews_ns: &[i64]) -> Arc<Self> {
        let mut machines = BTreeMap::new();
        for (i, skew) in skews_ns.iter().enumerate() {
            let id = NodeId(i as u32 + 1);
            let mut machine = Machine::new(&world, id, *skew);
            machine.start(&world).expect("nothing has gone wrong yet");
            machines.insert(id, machine);
        }
        Arc::new(Cluster {
            world,
            machines: Mutex::new(machines),
            served: Mutex::default(),
            calm: AtomicBool::default(),
        })
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.machines.lock().keys().copied().collect()
    }

    pub fn up(&self, node: NodeId) -> Option<Up> {
        self.machines.lock().get(&node)?.up.clone()
    }

    pub fn all_up(&self) -> Vec<(NodeId, Up)> {
        self.machines.lock().iter().filter_map(|(id, m)| Some((*id, m.up.clone()?))).collect()
    }

    pub fn any_up(&self, chance: &mut Chance) -> Option<(NodeId, Up)> {
        let up = self.all_up();
        let at = chance.below(up.len() as u64) as usize;
        up.into_iter().nth(at)
    }

    /// Starts a machine, if its disk lets it. One whose disk is found damaged is replaced.
    pub fn start(&self, node: NodeId) {
        let started = self.machines.lock().get_mut(&node).expect("a machine").start(&self.world);
        if let Err(StorageError::Corruption(_)) = started {
            Coverage::add(&self.world.coverage.damage_found);
            self.replace(node);
        }
    }

    /// Takes down the machines whose processes cannot go on, as they tell of it.
    pub fn watch_ends(self: &Arc<Self>, mut ends: UnboundedReceiver<End>) {
        let (runtime, cluster) = (self.world.runtime.clone(), Arc::downgrade(self));
        let watch = {
            let runtime = runtime.clone();
            async move {
                while let Some(end) = ends.next().await {
                    let (sleep, cluster) = (runtime.sleep(end.after), cluster.clone());
                    let end = async move {
                        sleep.await;
                        if let Some(cluster) = cluster.upgrade() {
                            cluster.end(&end);
                        }
                    };
                    runtime.spawn("end", Box::pin(end));
                }
            }
        };
        runtime.spawn("ends", Box::pin(watch));
    }

    fn end(&self, end: &End) {
        if self.up(end.node).is_none_or(|up| up.life != end.life) {
            return;
        }
        Coverage::add(&self.world.coverage.machines_ended);
        self.crash(end.node, Crash::Process, 0);
        if let StorageError::Corruption(_) = end.why {
            Coverage::add(&self.world.coverage.damage_found);
            self.replace(end.node);
        } else if self.calm.load(SeqCst) {
            self.start(end.node);
        }
    }

    /// The disk of a machine is found damaged: another machine takes its place.
    fn replace(&self, node: NodeId) {
        let skew = {
            let machines = self.machines.lock();
            let machine = &machines[&node];
            assert!(machine.disk.is_rotten(), "the disk of {node} is damaged, and nobody has damaged it");
            // A clock that was wrong is lost with the machine.
            let skew = machine.physical.skew();
            if skew.unsigned_abs() > self.world.max_offset.as_nanos() as u64 / 2 { 0 } else { skew }
        };
        self.world.trace.say(format_args!("{node} is lost to damage"));
        self.remove(node);
        if self.staying().len() < 4 {
            self.join(skew);
        }
    }

    /// A new machine, with empty disks.
    pub fn join(&self, skew_ns: i64) -> NodeId {
        let mut machines = self.machines.lock();
        let gone = self.world.gone.lock().last().copied();
        let last = machines.keys().next_back().copied().max(gone);
        let id = NodeId(last.map_or(1, |n| n.0 + 1));
        let mut machine = Machine::new(&self.world, id, skew_ns);
        machine.start(&self.world).expect("an empty disk");
        machines.insert(id, machine);
        id
    }

    /// The machine never comes back, nor do its disks.
    pub fn remove(&self, node: NodeId) {
        let Some(mut machine) = self.machines.lock().remove(&node) else { return };
        machine.crash(&self.world, Crash::Power, 0);
        self.world.draining.lock().remove(&node);
        self.world.gone.lock().insert(node);
        // It is no more, even if it was down before.
        let now = self.world.wall_ns();
        self.world.down_since.lock().entry(node).or_default().get_or_insert(now);
    }

    /// Machines that are to stay.
    pub fn staying(&self) -> Vec<NodeId> {
        let draining = self.world.draining.lock();
        self.nodes().into_iter().filter(|n| !draining.contains(n)).collect()
    }

    /// Whether every range has all its replicas on machines that are up, as far as anybody knows.
    pub fn is_whole(&self) -> bool {
        let up = self.all_up();
        let is_up = |node: NodeId| up.iter().any(|(n, _)| *n == node);
        up.len() == self.nodes().len()
            && self
                .ranges()
                .values()
                .all(|d| !d.is_joint() && d.voters().count() >= 3 && d.voters().all(|r| is_up(r.node)))
    }

    /// Nodes that were told to give up what they have, and have nothing left.
    pub fn drained(&self) -> Vec<NodeId> {
        // Whatever a machine that is down knows may be newer.
        if self.all_up().len() < self.nodes().len() {
            return Vec::new();
        }
        let ranges = self.ranges();
        let holds = |node: &NodeId| ranges.values().any(|d| d.replicas.iter().any(|r| r.node == *node));
        self.world.draining.lock().iter().copied().filter(|n| !holds(n)).collect()
    }

    pub fn crash(&self, node: NodeId, how: Crash, engine_keeps: u64) {
        let mut machines = self.machines.lock();
        machines.get_mut(&node).expect("a machine").crash(&self.world, how, engine_keeps);
    }

    /// Every range that any machine knows, with its newest descriptor.
    pub fn ranges(&self) -> BTreeMap<RangeId, RangeDescriptor> {
        let mut all: BTreeMap<RangeId, RangeDescriptor> = BTreeMap::new();
        for (_, up) in self.all_up() {
            for d in up.store.descriptors() {
                let known = all.entry(d.range).or_insert_with(|| (*d).clone());
                if known.generation < d.generation {
                    *known = (*d).clone();
                }
            }
        }
        all
    }

    /// Who may serve each range now. Panics if a moment is served that an earlier leaseholder may have served, of the range or
    /// of one that it has taken in, or if a key is served by two ranges.
    pub fn leaseholders(&self) -> BTreeMap<RangeId, NodeId> {
        let machines = self.machines.lock();
        let mut served = self.served.lock();
        let mut holders = BTreeMap::new();
        let mut spans: Vec<(RangeDescriptor, NodeId)> = Vec::new();
        for (id, machine) in &*machines {
            let Some(up) = &machine.up else { continue };
            for (d, lease) in machine.leases() {
                let (range, now) = (d.range, up.clock.now());
                for (other, (_, until, was)) in served.iter().filter(|(other, _)| **other != range) {
                    let absorbed = d.contains(&was.start) && d.generation > was.generation;
                    assert!(
                        !absorbed || now > *until,
                        "{range}: {id} serves {now}, but {other}, which it has taken in, served {until} before"
                    );
                }
                let before = served.entry(range).or_insert((lease.term, now, d.clone()));
                let (term, until) = (before.0, before.1);
                assert!(lease.term >= term, "{range}: {id} serves in term {} after {term}", lease.term);
                assert!(
                    lease.term == term || lease.start > until,
                    "{range}: the lease of {id} starts at {}, but {until} was served before",
                    lease.start
                );
                let served_until = if lease.term == term { until.max(now) } else { now };
                *before = (lease.term, served_until, d.clone());
                holders.insert(range, *id);
                spans.push((d, *id));
            }
        }
        spans.sort_by(|a, b| a.0.start.cmp(&b.0.start));
        for pair in spans.windows(2) {
            let (left, right) = (&pair[0].0, &pair[1].0);
            assert!(left.range == right.range || left.end <= right.start, "two ranges serve a key: {pair:?}");
        }
        holders
    }

    /// Ends all faults.
    pub fn calm(&self, weather: Weather) {
        self.world.trace.say("calm");
        self.calm.store(true, SeqCst);
        self.world.network.heal();
        self.world.network.set_weather(weather);
        self.mend(|ailments| {
            *ailments = Ailments { sync_takes: self.world.sync_takes, ..Ailments::default() }
        });
        for node in self.nodes() {
            if let Some(up) = self.up(node) {
                up.process.resume();
            }
            self.retire_rotten(node);
        }
        for node in self.nodes().into_iter().filter(|n| self.up(*n).is_none()) {
            self.start(node);
        }
        self.excuse_no_more();
    }

    /// No disk fails any more. What was told before reaches its client by and by.
    fn excuse_no_more(&self) {
        let (world, told) = (self.world.clone(), self.world.runtime.sleep(LAST_EXCUSES));
        let soon = async move {
            told.await;
            world.misread.store(false, SeqCst);
        };
        self.world.runtime.spawn("excuses", Box::pin(soon));
    }

    /// Of all disks.
    pub fn mend(&self, change: impl Fn(&mut Ailments)) {
        self.machines.lock().values().for_each(|machine| machine.disk.files.ail(&change));
    }

    /// A disk that is damaged goes, even if nobody has met the damage.
    fn retire_rotten(&self, node: NodeId) {
        if !self.machines.lock()[&node].disk.is_rotten() {
            return;
        }
        self.crash(node, Crash::Power, 0);
        self.start(node);
        if self.up(node).is_some() {
            self.world.trace.say(format_args!("{node} is retired"));
            self.replace(node);
        }
    }

    /// Waits until every range that is known is led.
    pub async fn until_led(&self, within: Duration) {
        let until = self.world.wall_ns() + within.as_nanos() as u64;
        loop {
            self.world.runtime.sleep(Duration::from_millis(20)).await;
            let (ranges, holders) = (self.ranges(), self.leaseholders());
            let Some((range, d)) = ranges.iter().find(|(range, _)| !holders.contains_key(range)) else {
                return;
            };
            assert!(self.world.wall_ns() < until, "nobody leads {range} {within:?} after the faults: {d:?}");
        }
    }

    /// Waits until every range is led and its replicas agree.
    pub async fn settle(&self) {
        let until = self.world.wall_ns() + SETTLE_WITHIN.as_nanos() as u64;
        loop {
            self.world.runtime.sleep(Duration::from_millis(100)).await;
            let Some(reason) = self.disagreement() else { return };
            assert!(self.world.wall_ns() < until, "not settled within {SETTLE_WITHIN:?}: {reason}");
        }
    }

    /// Why the cluster is not settled yet.
    fn disagreement(&self) -> Option<String> {
        let (ranges, holders) = (self.ranges(), self.leaseholders());
        let mut spans: Vec<_> = ranges.values().collect();
        spans.sort_by(|a, b| a.start.cmp(&b.start));
        let mut end = keys::min_key();
        for d in &spans {
            if d.start != end {
                return Some(format!("{} begins at {:?}, not at {end:?}", d.range, d.start));
            }
            end = d.end.clone();
        }
        if end != keys::max_key() {
            return Some(format!("the last range ends at {end:?}"));
        }
        let draining = self.world.draining.lock().clone();
        let machines = self.machines.lock();
        for (range, d) in &ranges {
            if let Some(lost) = d.replicas.iter().find(|r| !machines.contains_key(&r.node)) {
                return Some(format!("{range} still counts on {}, which is gone", lost.node));
            }
            if let Some(leaving) = d.replicas.iter().find(|r| draining.contains(&r.node)) {
                return Some(format!("{range} is not drained off {}", leaving.node));
            }
            let Some(holder) = holders.get(range) else {
                return Some(format!("nobody leads {range}: {d:?}"));
            };
            if d.merging != Merging::No {
                return Some(format!("{range} is in the middle of a merge: {d:?}"));
            }
            if d.is_joint() || d.voters().count() < 3.min(machines.len()) {
                return Some(format!("{range} is in the middle of a change: {d:?}"));
            }
            let truth = contents(&machines[holder].disk.engine, d);
            for r in &d.replicas {
                let here = machines[&r.node].up.as_ref().and_then(|up| up.store.replica(*range));
                let here = here.map(|x| x.descriptor());
                if here.as_deref() != Some(d) {
                    return Some(format!("{} describes {range} as {here:?}, not as {d:?}", r.node));
                }
                let other = contents(&machines[&r.node].disk.engine, d);
                if other != truth {
                    return Some(format!(
                        "{} and {holder} differ about {range}: {}",
                        r.node,
                        first_difference(&other, &truth)
                    ));
                }
            }
        }
        None
    }

    /// The keys of tables' rows and index entries that a machine holds, with or without a value.
    pub fn rows(&self, node: NodeId) -> Vec<Key> {
        let machines = self.machines.lock();
        let Some(machine) = machines.get(&node) else { return Vec::new() };
        let (lower, upper) = mvcc::key::bounds(&Span::prefix(Key::from(&[keys::TABLE][..])));
        let options = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
        let mut iter = machine.disk.engine.iter(Cf::Data, options);
        let (mut all, mut key) = (Vec::<Key>::new(), Vec::new());
        iter.seek_to_first();
        while iter.valid() {
            let (part, _) = split_timestamp(iter.key()).expect("a version");
            key.clear();
            mvcc::key::decode_key(part, &mut key).expect("an encoded key");
            if all.last().is_none_or(|last| last[..] != key[..]) {
                all.push(Key::copy_from(&key));
            }
            iter.next();
        }
        all
    }

    /// Locks and intents that stand anywhere.
    pub fn intents(&self) -> BTreeSet<(NodeId, Bytes)> {
        let machines = self.machines.lock();
        let mut all = BTreeSet::new();
        for (id, machine) in &*machines {
            let mut iter = machine.disk.engine.iter(Cf::Lock, IterOptions::default());
            iter.seek_to_first();
            while iter.valid() {
                all.insert((*id, Bytes::copy_from_slice(iter.key())));
                iter.next();
            }
        }
        all
    }
}

type Entries = Vec<(Cf, Vec<u8>, Vec<u8>)>;

/// Everything of a range that is the same on all its replicas.
fn contents(engine: &MemEngine, d: &RangeDescriptor) -> Entries {
    let span = mvcc::key::bounds(&d.span());
    let families = SPAN_FAMILIES.into_iter().map(|cf| (cf, span.clone()));
    let state = foreign_state(d.range).into_iter().map(|bounds| (Cf::State, bounds));
    let mut all = Vec::new();
    for (cf, (lower, upper)) in families.chain(state) {
        let options = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
        let mut iter = engine.iter(cf, options);
        iter.seek_to_first();
        while iter.valid() {
            all.push((cf, iter.key().to_vec(), iter.value().to_vec()));
            iter.next();
        }
    }
    all
}

fn first_difference(a: &Entries, b: &Entries) -> String {
    let at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    let show = |e: Option<&(Cf, Vec<u8>, Vec<u8>)>| match e {
        None => "nothing".into(),
        Some((cf, key, value)) => {
            format!("{} {} = {}", cf.name(), key.escape_ascii(), value.escape_ascii())
        }
    };
    format!("entry {at}: {} and {}", show(a.get(at)), show(b.get(at)))
}
