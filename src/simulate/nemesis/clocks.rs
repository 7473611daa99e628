//! Clocks that jump and drift, within the bound and beyond it.

use meridian_storage::base::NodeId;

use super::super::clock::SkewedClock;
use super::super::coverage::Coverage;
use super::{Nemesis, random_skew};

/// How far clocks jump beyond the bound, in milliseconds, besides a few times the bound.
const JUMPS_MS: [u64; 4] = [1_000, 10_000, 3_600_000, 365 * 86_400_000];
/// How far the monotonic clock leaps, in milliseconds.
const LEAPS_MS: [u64; 4] = [500, 3_000, 60_000, 3_600_000];
/// By how much a crystal may be wrong that a time service makes good for.
const RATE_PPM_MAX: u64 = 100;

impl Nemesis {
    pub(super) fn jump(&mut self, node: NodeId) {
        if self.bad_clocks.contains(&node) {
            return;
        }
        let skew = random_skew(&mut self.chance, self.max_skew);
        let rate = self.chance.below(2 * RATE_PPM_MAX) as i64 - RATE_PPM_MAX as i64;
        self.say(format_args!("clock of {node} is off by {skew} ns, and runs wrong by {rate} ppm"));
        Coverage::add(&self.cluster.world.coverage.clock_jumps);
        self.with_clock(node, |clock| {
            clock.set_skew(skew);
            clock.set_rate(rate, true);
        });
    }

    fn with_clock(&self, node: NodeId, deed: impl FnOnce(&SkewedClock)) {
        if let Some(machine) = self.cluster.machines.lock().get(&node) {
            deed(&machine.physical);
        }
    }

    /// Only ever a minority's: which half of two is right, nobody can tell.
    pub(super) fn spoil(&mut self, node: NodeId, nodes: usize) {
        self.bad_clocks.retain(|n| self.cluster.machines.lock().contains_key(n));
        if !self.bad_clocks.contains(&node) && self.bad_clocks.len() >= (nodes - 1) / 2 {
            return;
        }
        self.bad_clocks.insert(node);
        Coverage::add(&self.cluster.world.coverage.bad_clocks);
        let forwards = self.chance.percent(50);
        let sign = |n: u64| if forwards { n as i64 } else { -(n as i64) };
        if self.chance.percent(15) {
            let by = sign(LEAPS_MS[self.chance.below(LEAPS_MS.len() as u64) as usize]);
            self.say(format_args!("all clocks of {node} leap by {by} ms"));
            return self.with_clock(node, |clock| clock.leap(by * 1_000_000));
        }
        if self.chance.percent(60) {
            let bound_ms = self.cluster.world.max_offset.as_millis() as u64;
            let far = JUMPS_MS.get(self.chance.below(8) as usize).copied();
            let by = sign(far.unwrap_or(bound_ms * (2 + self.chance.below(4))));
            self.say(format_args!("clock of {node} jumps by {by} ms"));
            self.with_clock(node, |clock| clock.set_skew(by * 1_000_000));
        } else {
            // A tenth of the bound in a second at most: faster than that, it is found out too late.
            let most = self.cluster.world.max_offset.as_micros() as u64 / 10;
            let rate = sign(most / 4 + self.chance.below(most * 3 / 4));
            // With a time service, the wall clock says what is right.
            let kept = self.chance.percent(25);
            self.say(format_args!("clock of {node} drifts by {rate} ppm, kept {kept}"));
            self.with_clock(node, |clock| clock.set_rate(rate, kept));
        }
    }

    pub(super) fn mend(&mut self) {
        let at = self.chance.below(self.bad_clocks.len().max(1) as u64) as usize;
        if let Some(node) = self.bad_clocks.iter().nth(at).copied() {
            self.mend_one(node);
        }
    }

    fn mend_one(&mut self, node: NodeId) {
        self.bad_clocks.remove(&node);
        let skew = random_skew(&mut self.chance, self.max_skew);
        self.say(format_args!("clock of {node} is put right, off by {skew} ns"));
        self.with_clock(node, |clock| {
            clock.set_rate(0, true);
            clock.set_skew(skew);
        });
    }

    /// At the end, all clocks are right again.
    pub fn mend_all(&mut self) {
        for node in self.bad_clocks.clone() {
            self.mend_one(node);
        }
    }
}
