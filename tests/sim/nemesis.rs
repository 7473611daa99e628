//! What goes wrong, and what the operator does meanwhile; all of it chosen by the seed.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::{Key, NodeId, Runtime};
use meridian_storage::store::testing::Chance;

use crate::cluster::Cluster;
use crate::machine::SkewedClock;
use crate::stats::Stats;

pub struct Nemesis {
    pub cluster: Arc<Cluster>,
    pub chance: Chance,
    /// Where ranges may be split.
    pub split_keys: Vec<Key>,
    /// Clocks are at most half of this from true time.
    pub max_skew: Duration,
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

    fn strike(&mut self) {
        let nodes = self.cluster.nodes();
        let node = nodes[self.chance.below(nodes.len() as u64) as usize];
        let other = nodes[self.chance.below(nodes.len() as u64) as usize];
        match self.chance.below(100) {
            0..12 => self.crash(node),
            12..14 => nodes.iter().for_each(|n| self.crash(*n)),
            14..32 => self.restart(),
            32..40 if node != other => self.cut(&[(node, other), (other, node)]),
            40..44 if node != other => self.cut(&[(node, other)]),
            44..50 => {
                let links = nodes.iter().filter(|n| **n != node).flat_map(|n| [(node, *n), (*n, node)]);
                self.cut(&links.collect::<Vec<_>>());
            }
            50..62 => {
                self.say("heal");
                self.cluster.world.network.heal();
            }
            62..68 => self.pause(node),
            68..75 => self.cluster.all_up().iter().for_each(|(_, up)| up.process.resume()),
            75..83 => self.split(),
            83..91 => self.transfer(node),
            91..95 => self.jump(node),
            _ => self.flush(node),
        }
    }

    fn say(&self, what: impl std::fmt::Display) {
        self.cluster.world.trace.say(what);
    }

    fn crash(&mut self, node: NodeId) {
        if self.cluster.up(node).is_some() {
            Stats::add(&self.cluster.world.stats.crashes);
            self.cluster.crash(node, self.chance.below(6), self.chance.below(3) as usize);
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
        Stats::add(&self.cluster.world.stats.cuts);
        for (from, to) in links {
            self.say(format_args!("cut {from}>{to}"));
            self.cluster.world.network.cut(*from, *to);
        }
    }

    fn pause(&mut self, node: NodeId) {
        if let Some(up) = self.cluster.up(node) {
            self.say(format_args!("pause {node}"));
            Stats::add(&self.cluster.world.stats.pauses);
            up.process.pause();
        }
    }

    /// Through any gateway, as an operator would.
    fn split(&mut self) {
        let at = self.split_keys[self.chance.below(self.split_keys.len() as u64) as usize].clone();
        let Some((node, up)) = self.cluster.any_up(&mut self.chance) else { return };
        self.say(format_args!("{node}: split at {at:?}"));
        let (db, trace) = (up.db.clone(), self.cluster.world.trace.clone());
        let split = async move {
            let done = db.split_at(at.clone()).await;
            trace.say(format_args!("split at {at:?}: {done:?}"));
        };
        up.process.spawn("split", Box::pin(split));
    }

    fn transfer(&mut self, to: NodeId) {
        let holders = self.cluster.leaseholders();
        let at = self.chance.below(holders.len() as u64) as usize;
        let Some((range, holder)) = holders.into_iter().nth(at) else { return };
        let Some(up) = self.cluster.up(holder).filter(|_| holder != to) else { return };
        self.say(format_args!("transfer {range} from {holder} to {to}"));
        let (store, trace) = (up.store.clone(), self.cluster.world.trace.clone());
        let stats = self.cluster.world.stats.clone();
        let transfer = async move {
            let done = store.transfer_lease(range, to).await;
            if done.is_ok() {
                Stats::add(&stats.transfers);
            }
            trace.say(format_args!("transfer {range} to {to}: {done:?}"));
        };
        up.process.spawn("transfer", Box::pin(transfer));
    }

    fn jump(&mut self, node: NodeId) {
        let skew = random_skew(&mut self.chance, self.max_skew);
        self.say(format_args!("clock of {node} is off by {skew} ns"));
        Stats::add(&self.cluster.world.stats.clock_jumps);
        let machines = self.cluster.machines.lock();
        let clock: &SkewedClock = &machines[&node].physical;
        clock.set_skew(skew);
    }

    fn flush(&mut self, node: NodeId) {
        if let Some(up) = self.cluster.up(node).filter(|up| !up.process.is_paused()) {
            self.say(format_args!("flush {node}"));
            up.store.flush().expect("memory does not fail");
        }
    }
}

/// So that two clocks never differ by more than `max`.
pub fn random_skew(chance: &mut Chance, max: Duration) -> i64 {
    let max = max.as_nanos() as u64;
    chance.below(max) as i64 - (max / 2) as i64
}
