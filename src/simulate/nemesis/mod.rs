//! What goes wrong, and what the operator does meanwhile; all of it chosen by the seed.

mod clocks;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use meridian_storage::base::{Key, NodeId, Runtime, keys};
use meridian_storage::files::simulated::Crash;
use meridian_storage::store::testing::Chance;

use super::cluster::Cluster;
use super::coverage::Coverage;
use super::disk::Disk;
use super::machine::Sighting;
use super::options::Fault;

/// No splits beyond this many ranges: each costs time in every round of everything.
const RANGES_MAX: usize = 24;
/// There are no more machines than this.
const NODES_MAX: usize = 9;

/// One thing to do, and how often in relation to the others.
#[derive(Clone, Copy)]
enum Act {
    Crash,
    CrashAll,
    Restart,
    Cut,
    CutOneWay,
    Isolate,
    Halve,
    Bridge,
    Flap,
    Heal,
    Pause,
    Resume,
    Split,
    Merge,
    Transfer,
    Move,
    Jump,
    Spoil,
    Mend,
    Flush,
    Join,
    Drain,
    Remove,
    Lose,
    SlowDisk,
    FastDisks,
    FillDisk,
    FreeDisks,
    BadReads,
    GoodReads,
    BadSyncs,
    GoodSyncs,
    Rot,
}

const ACTS: [(Fault, Act, u64); 36] = [
    (Fault::Crash, Act::Crash, 12),
    (Fault::Crash, Act::CrashAll, 2),
    (Fault::Crash, Act::Restart, 18),
    (Fault::Partition, Act::Cut, 8),
    (Fault::Partition, Act::CutOneWay, 4),
    (Fault::Partition, Act::Isolate, 6),
    (Fault::Partition, Act::Halve, 3),
    (Fault::Partition, Act::Bridge, 2),
    (Fault::Partition, Act::Flap, 3),
    (Fault::Partition, Act::Heal, 14),
    (Fault::Pause, Act::Pause, 6),
    (Fault::Pause, Act::Resume, 7),
    (Fault::Split, Act::Split, 8),
    (Fault::Merge, Act::Merge, 10),
    (Fault::Transfer, Act::Transfer, 8),
    (Fault::Move, Act::Move, 6),
    (Fault::Clock, Act::Jump, 4),
    (Fault::ClockBad, Act::Spoil, 3),
    (Fault::ClockBad, Act::Mend, 5),
    (Fault::Flush, Act::Flush, 5),
    (Fault::Member, Act::Join, 2),
    (Fault::Member, Act::Drain, 2),
    (Fault::Member, Act::Remove, 8),
    (Fault::Loss, Act::Lose, 1),
    (Fault::DiskSlow, Act::SlowDisk, 5),
    (Fault::DiskSlow, Act::FastDisks, 5),
    (Fault::DiskFull, Act::FillDisk, 3),
    (Fault::DiskFull, Act::FreeDisks, 6),
    (Fault::DiskFull, Act::Restart, 4),
    (Fault::DiskRead, Act::BadReads, 3),
    (Fault::DiskRead, Act::GoodReads, 6),
    (Fault::DiskRead, Act::Restart, 4),
    (Fault::DiskSync, Act::BadSyncs, 3),
    (Fault::DiskSync, Act::GoodSyncs, 6),
    (Fault::DiskSync, Act::Restart, 4),
    (Fault::BitRot, Act::Rot, 3),
];

pub struct Nemesis {
    pub cluster: Arc<Cluster>,
    pub chance: Chance,
    /// What may go wrong in this run.
    pub faults: BTreeSet<Fault>,
    /// Where ranges may be split.
    pub split_keys: Vec<Key>,
    /// Whether a machine has been lost for good.
    pub lost: bool,
    /// Machines that go down at the next strike, in the middle of a sync if they are at it.
    pub doomed: Vec<NodeId>,
    /// Clocks that are right are at most half of this from true time.
    pub max_skew: Duration,
    /// Machines whose clocks are beyond the bound, or on their way.
    pub bad_clocks: BTreeSet<NodeId>,
}

impl Nemesis {
    /// One fault after another, for so long.
    pub async fn rage(&mut self, time: Duration) {
        let runtime = self.cluster.world.runtime.clone();
        let until = self.cluster.world.wall_ns() + time.as_nanos() as u64;
        while self.cluster.world.wall_ns() < until {
            let pause = Duration::from_micros(20_000 + self.chance.below(400_000));
            runtime.sleep(pause).await;
            self.strike();
        }
    }

    /// Strikes what goes on while it goes on, which chance alone seldom does: gateways between what they have sent for a commit
    /// and what they will be told, and ranges while somebody reads in them.
    pub fn hunter(
        &mut self,
        mut seen: mpsc::UnboundedReceiver<Sighting>,
    ) -> impl Future<Output = ()> + use<> {
        let mut hunter = Hunter {
            cluster: self.cluster.clone(),
            faults: self.faults.clone(),
            seldom: [20, 400][self.chance.below(2) as usize],
            chance: Chance::new(self.chance.bits()),
        };
        async move {
            while let Some(sighting) = seen.next().await {
                hunter.consider(sighting).await;
            }
        }
    }

    fn strike(&mut self) {
        for node in std::mem::take(&mut self.doomed) {
            if self.cluster.nodes().contains(&node) {
                self.crash(node);
                let takes = self.cluster.world.sync_takes;
                self.disk(node).files.ail(|a| a.sync_takes = takes);
            }
        }
        let nodes = self.cluster.nodes();
        let node = nodes[self.chance.below(nodes.len() as u64) as usize];
        let other = nodes[self.chance.below(nodes.len() as u64) as usize];
        let Some(act) = self.next_act() else { return };
        match act {
            Act::Crash if self.chance.percent(40) => self.doom(node),
            Act::Crash => self.crash(node),
            Act::CrashAll => nodes.iter().for_each(|n| self.crash(*n)),
            Act::Restart => self.restart(),
            Act::Cut if node != other => self.cut(&[(node, other), (other, node)]),
            Act::CutOneWay if node != other => self.cut(&[(node, other)]),
            Act::Cut | Act::CutOneWay => {}
            Act::Isolate => {
                let others: Vec<NodeId> = nodes.iter().copied().filter(|n| *n != node).collect();
                self.cut(&between(&[node], &others));
            }
            Act::Halve => {
                let (some, others): (Vec<NodeId>, Vec<NodeId>) =
                    nodes.iter().partition(|_| self.chance.percent(50));
                self.cut(&between(&some, &others));
            }
            Act::Bridge => {
                // All but one are in two halves; that one hears everybody.
                let (some, others): (Vec<NodeId>, Vec<NodeId>) =
                    nodes.iter().filter(|n| **n != node).partition(|_| self.chance.percent(50));
                self.cut(&between(&some, &others));
            }
            Act::Flap => self.flap(node),
            Act::Heal => {
                self.say("heal");
                self.cluster.world.network.heal();
            }
            Act::Pause => self.pause(node),
            Act::Resume => self.cluster.all_up().iter().for_each(|(_, up)| up.process.resume()),
            Act::Split => self.split(),
            Act::Merge => self.merge(),
            Act::Transfer => self.transfer(node),
            Act::Move => self.move_replica(node),
            Act::Jump => self.jump(node),
            Act::Spoil => self.spoil(node, nodes.len()),
            Act::Mend => self.mend(),
            Act::Flush => self.flush(node),
            Act::Join => self.join(nodes.len()),
            Act::Drain => self.drain(node),
            Act::Remove => self.remove(),
            Act::Lose => self.lose(node),
            Act::SlowDisk => self.slow_disk(node),
            Act::FastDisks => {
                let takes = self.cluster.world.sync_takes;
                self.cluster.mend(|a| a.sync_takes = takes);
            }
            Act::FillDisk => self.fill_disk(node),
            Act::FreeDisks => self.cluster.mend(|a| a.is_full = false),
            Act::BadReads => self.spoil_reads(node),
            Act::GoodReads => self.cluster.mend(|a| a.failing_reads = 0),
            Act::BadSyncs => self.spoil_syncs(node),
            Act::GoodSyncs => self.cluster.mend(|a| a.failing_syncs = 0),
            Act::Rot => self.rot(node),
        }
    }

    fn next_act(&mut self) -> Option<Act> {
        let faults = &self.faults;
        let acts = || ACTS.iter().filter(|(fault, _, _)| faults.contains(fault));
        let mut at = self.chance.below(acts().map(|(_, _, weight)| weight).sum());
        acts().find_map(|(_, act, weight)| match at.checked_sub(*weight) {
            None => Some(*act),
            Some(rest) => {
                at = rest;
                None
            }
        })
    }

    fn say(&self, what: impl std::fmt::Display) {
        self.cluster.world.trace.say(what);
    }

    fn crash(&mut self, node: NodeId) {
        let how = if self.chance.percent(25) { Crash::Process } else { Crash::Power };
        if self.cluster.up(node).is_some() {
            Coverage::add(&self.cluster.world.coverage.crashes);
            self.cluster.crash(node, how, self.chance.below(6));
        } else if how == Crash::Power {
            // What an ended process has written, and nobody has synced.
            self.say(format_args!("{node} loses power"));
            self.disk(node).files.crash(how);
        }
    }

    /// Most syncs are over too soon to be met by a crash.
    fn doom(&mut self, node: NodeId) {
        self.say(format_args!("{node} is about to crash"));
        let takes = (Duration::from_millis(50), Duration::from_millis(400));
        self.disk(node).files.ail(|a| a.sync_takes = takes);
        self.doomed.push(node);
    }

    fn disk(&self, node: NodeId) -> Arc<Disk> {
        self.cluster.machines.lock()[&node].disk.clone()
    }

    fn slow_disk(&mut self, node: NodeId) {
        let most = [20, 100, 500, 1500, 4000][self.chance.below(5) as usize];
        self.say(format_args!("syncs of {node} take up to {most} ms"));
        let takes = (Duration::from_millis(10), Duration::from_millis(most));
        self.disk(node).files.ail(|a| a.sync_takes = takes);
    }

    fn fill_disk(&mut self, node: NodeId) {
        let overwrites_need_room = self.chance.percent(50);
        self.say(format_args!("the disk of {node} is full, {overwrites_need_room}"));
        Coverage::add(&self.cluster.world.coverage.full_disks);
        self.disk(node).files.ail(|a| (a.is_full, a.overwrites_need_room) = (true, overwrites_need_room));
    }

    fn spoil_reads(&mut self, node: NodeId) {
        let percent = [1, 10, 100][self.chance.below(3) as usize];
        self.say(format_args!("{percent} in a hundred reads of {node} fail"));
        self.disk(node).files.ail(|a| a.failing_reads = percent);
    }

    fn spoil_syncs(&mut self, node: NodeId) {
        let percent = [1, 10, 100][self.chance.below(3) as usize];
        self.say(format_args!("{percent} in a hundred syncs of {node} fail"));
        self.disk(node).files.ail(|a| a.failing_syncs = percent);
    }

    /// Once in a run, as [`Nemesis::lose`]: a disk that is damaged is a disk that is lost.
    fn rot(&mut self, node: NodeId) {
        let whole = self.cluster.staying().contains(&node) && self.cluster.is_whole();
        let disk = self.disk(node);
        if !disk.is_rotten() && (self.lost || !whole) {
            return;
        }
        let Some(what) = disk.rot(&mut self.chance) else { return };
        self.lost = true;
        self.say(format_args!("damage on {node}: {what}"));
        Coverage::add(&self.cluster.world.coverage.damages);
        if self.chance.percent(50) {
            // Much is read at a start only.
            self.crash(node);
            self.cluster.start(node);
        }
    }

    fn restart(&mut self) {
        let down = self.cluster.nodes().into_iter().filter(|n| self.cluster.up(*n).is_none());
        let down: Vec<NodeId> = down.collect();
        if !down.is_empty() {
            self.cluster.start(down[self.chance.below(down.len() as u64) as usize]);
        }
    }

    fn cut(&mut self, links: &[(NodeId, NodeId)]) {
        Coverage::add(&self.cluster.world.coverage.cuts);
        for (from, to) in links {
            self.say(format_args!("cut {from}>{to}"));
            self.cluster.world.network.cut(*from, *to);
        }
    }

    /// A bad cable: again and again the machine hears nobody for a moment, and is heard again.
    fn flap(&mut self, node: NodeId) {
        let others: Vec<NodeId> = self.cluster.nodes().into_iter().filter(|n| *n != node).collect();
        let links = between(&[node], &others);
        let (times, world) = (2 + self.chance.below(6), self.cluster.world.clone());
        let moments: Vec<Duration> =
            (0..2 * times).map(|_| Duration::from_millis(10 + self.chance.below(400))).collect();
        self.say(format_args!("{node} flaps {times} times"));
        Coverage::add(&world.coverage.flaps);
        let flap = {
            let runtime = world.runtime.clone();
            async move {
                for (n, moment) in moments.into_iter().enumerate() {
                    for (from, to) in &links {
                        match n % 2 {
                            0 => world.network.cut(*from, *to),
                            _ => world.network.mend(*from, *to),
                        }
                    }
                    runtime.sleep(moment).await;
                }
            }
        };
        self.cluster.world.runtime.spawn("flap", Box::pin(flap));
    }

    /// A replica goes to where there is none yet, whatever the allocator thinks of it.
    fn move_replica(&mut self, to: NodeId) {
        let holders = self.cluster.leaseholders();
        let at = self.chance.below(holders.len() as u64) as usize;
        let Some((range, holder)) = holders.into_iter().nth(at) else { return };
        let Some(up) = self.cluster.up(holder) else { return };
        let Some(d) = self.cluster.ranges().remove(&range) else { return };
        let leaves: Vec<NodeId> = d.replicas.iter().map(|r| r.node).filter(|n| *n != holder).collect();
        if d.replica_on(to).is_some() || leaves.is_empty() || !self.cluster.staying().contains(&to) {
            return;
        }
        let from = leaves[self.chance.below(leaves.len() as u64) as usize];
        self.say(format_args!("move {range} from {from} to {to}"));
        let (store, trace) = (up.store.clone(), self.cluster.world.trace.clone());
        let coverage = self.cluster.world.coverage.clone();
        let moving = async move {
            let done = store.change_replicas(range, vec![to], vec![from]).await;
            if done.is_ok() {
                Coverage::add(&coverage.moves);
            }
            trace.say(format_args!("move {range} to {to}: {done:?}"));
        };
        up.process.spawn("move", Box::pin(moving));
    }

    fn pause(&mut self, node: NodeId) {
        if let Some(up) = self.cluster.up(node) {
            self.say(format_args!("pause {node}"));
            Coverage::add(&self.cluster.world.coverage.pauses);
            up.process.pause();
        }
    }

    /// Through any gateway, as an operator would.
    fn split(&mut self) {
        let Some((node, up)) = self.cluster.any_up(&mut self.chance) else { return };
        let rows = self.cluster.rows(node);
        // Rows of today, or places that were good for a split at the beginning.
        let places = if self.chance.percent(50) && !rows.is_empty() { &rows } else { &self.split_keys };
        if places.is_empty() || self.cluster.ranges().len() >= RANGES_MAX {
            return;
        }
        let at = places[self.chance.below(places.len() as u64) as usize].clone();
        self.say(format_args!("{node}: split at {at:?}"));
        let (db, trace) = (up.db.clone(), self.cluster.world.trace.clone());
        let split = async move {
            let done = db.split_at(at.clone()).await;
            trace.say(format_args!("split at {at:?}: {done:?}"));
        };
        up.process.spawn("split", Box::pin(split));
    }

    /// Any two neighbours, through any gateway.
    fn merge(&mut self) {
        let mut starts: Vec<Key> = self.cluster.ranges().into_values().map(|d| d.start).collect();
        starts.retain(|start| !start.is_empty());
        starts.sort();
        let at = self.chance.below(starts.len() as u64) as usize;
        let Some(at) = starts.into_iter().nth(at) else { return };
        let Some((node, up)) = self.cluster.any_up(&mut self.chance) else { return };
        self.say(format_args!("{node}: merge at {at:?}"));
        let (db, trace) = (up.db.clone(), self.cluster.world.trace.clone());
        let coverage = self.cluster.world.coverage.clone();
        let merge = async move {
            let done = db.merge_at(at.clone()).await;
            if done.is_err() {
                Coverage::add(&coverage.merges_refused);
            }
            trace.say(format_args!("merge at {at:?}: {done:?}"));
        };
        up.process.spawn("merge", Box::pin(merge));
    }

    fn transfer(&mut self, to: NodeId) {
        let holders = self.cluster.leaseholders();
        let at = self.chance.below(holders.len() as u64) as usize;
        let Some((range, holder)) = holders.into_iter().nth(at) else { return };
        let Some(up) = self.cluster.up(holder).filter(|_| holder != to) else { return };
        self.say(format_args!("transfer {range} from {holder} to {to}"));
        let (store, trace) = (up.store.clone(), self.cluster.world.trace.clone());
        let coverage = self.cluster.world.coverage.clone();
        let transfer = async move {
            let done = store.transfer_lease(range, to).await;
            if done.is_ok() {
                Coverage::add(&coverage.transfers);
            }
            trace.say(format_args!("transfer {range} to {to}: {done:?}"));
        };
        up.process.spawn("transfer", Box::pin(transfer));
    }

    fn join(&mut self, nodes: usize) {
        if nodes < NODES_MAX {
            let node = self.cluster.join(random_skew(&mut self.chance, self.max_skew));
            self.say(format_args!("{node} joins"));
            Coverage::add(&self.cluster.world.coverage.joins);
        }
    }

    /// One is enough at a time, and three must stay.
    fn drain(&mut self, node: NodeId) {
        let staying = self.cluster.staying();
        let mut draining = self.cluster.world.draining.lock();
        if draining.is_empty() && staying.len() > 3 && staying.contains(&node) {
            self.say(format_args!("{node} is to leave"));
            draining.insert(node);
        }
    }

    fn remove(&mut self) {
        for node in self.cluster.drained() {
            self.say(format_args!("{node} leaves"));
            Coverage::add(&self.cluster.world.coverage.removals);
            self.cluster.remove(node);
        }
    }

    /// Once in a run: whoever loses two machines of three for good has lost data.
    fn lose(&mut self, node: NodeId) {
        let staying = self.cluster.staying();
        if !self.lost && staying.len() > 3 && staying.contains(&node) && self.cluster.is_whole() {
            self.lost = true;
            self.say(format_args!("{node} is lost"));
            Coverage::add(&self.cluster.world.coverage.losses);
            self.cluster.remove(node);
        }
    }

    fn flush(&mut self, node: NodeId) {
        if let Some(up) = self.cluster.up(node).filter(|up| !up.process.is_paused()) {
            self.say(format_args!("flush {node}"));
            if let Err(e) = up.store.flush() {
                self.cluster.world.end(&up, e, Duration::ZERO);
            }
        }
    }
}

struct Hunter {
    cluster: Arc<Cluster>,
    faults: BTreeSet<Fault>,
    /// About one in so many commits is struck.
    seldom: u64,
    chance: Chance,
}

impl Hunter {
    async fn consider(&mut self, sighting: Sighting) {
        let (kind, moment) = (self.chance.below(self.seldom), Duration::from_micros(self.chance.below(3000)));
        match sighting {
            Sighting::Commit(node) if kind == 0 && self.faults.contains(&Fault::Crash) => {
                self.cluster.world.runtime.sleep(moment).await;
                self.crash(node);
            }
            Sighting::Commit(node) if kind == 1 && self.faults.contains(&Fault::Pause) => {
                self.cluster.world.runtime.sleep(moment).await;
                self.pause(node);
            }
            // There are many more reads than commits.
            Sighting::Row(key)
                if kind == 2
                    && self.faults.contains(&Fault::Split)
                    && self.chance.below(20) == 0
                    && key.starts_with(&[keys::TABLE]) =>
            {
                self.cluster.world.runtime.sleep(moment).await;
                self.split(key);
            }
            _ => {}
        }
    }

    fn crash(&mut self, node: NodeId) {
        if self.cluster.up(node).is_some() {
            Coverage::add(&self.cluster.world.coverage.crashes_in_commits);
            let how = if self.chance.percent(25) { Crash::Process } else { Crash::Power };
            self.cluster.crash(node, how, self.chance.below(6));
        }
    }

    /// For as long as others may take to believe that the transaction is abandoned.
    fn pause(&mut self, node: NodeId) {
        let Some(up) = self.cluster.up(node) else { return };
        let world = &self.cluster.world;
        world.trace.say(format_args!("pause {node} in a commit"));
        Coverage::add(&world.coverage.pauses_in_commits);
        up.process.pause();
        let sleep = world.runtime.sleep(Duration::from_millis(self.chance.below(9000)));
        let wake = async move {
            sleep.await;
            up.process.resume();
        };
        world.runtime.spawn("wake", Box::pin(wake));
    }

    fn split(&mut self, at: Key) {
        let Some((node, up)) = self.cluster.any_up(&mut self.chance) else { return };
        if self.cluster.ranges().len() >= RANGES_MAX {
            return;
        }
        self.cluster.world.trace.say(format_args!("{node}: split where somebody reads, at {at:?}"));
        Coverage::add(&self.cluster.world.coverage.splits_under_reads);
        let process = up.process.clone();
        let split = async move {
            // What becomes of it is seen in the ranges.
            let _ = up.db.split_at(at).await;
        };
        process.spawn("split", Box::pin(split));
    }
}

/// Every link between the two groups, in both directions.
fn between(some: &[NodeId], others: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    some.iter().flat_map(|a| others.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect()
}

/// So that two clocks never differ by more than `max`.
pub fn random_skew(chance: &mut Chance, max: Duration) -> i64 {
    let max = max.as_nanos() as u64;
    chance.below(max) as i64 - (max / 2) as i64
}
