//! Watches the node's clock: compares it with the machine's and with the other nodes', and fences it when it cannot be relied
//! upon.
//!
//! Every node asks every other that it shares ranges with, or was told of, for the time, a few times a second: a [`Probe`],
//! answered with an [`Echo`]. What may be concluded from the answers, `base::offsets` says; when they are asked for:
//!
//! - **After a start** the clock is fenced until enough others have been heard ([`ClockWatch::needed`]) and agree.
//! - **When the machine's clock jumps**, by more than half of the bound, or comes to be that far away little by little, one of two
//!   has happened: it was moved, and the node's own clock is right; or the machine stood still and its monotonic clock with
//!   it, or that runs wrong, and the own clock is. The others tell, and only what they say from then on counts. If they agree with the machine's clock, the own one is stepped
//!   to it; if they only agree with the own one, that goes on, and the operator is told.
//! - **When no other node has been heard for a while** ([`FRESH`]), though ranges are shared: nothing can be served without
//!   the others then, and how far the clock drifts meanwhile nobody knows. What is heard first decides.
//! - **When the monotonic clock has leapt**, or nobody has looked for a while, which cannot be told apart ([`Hlc::leap`]): all that
//!   was heard before is forgotten.
//! - **When somebody's time cannot be, if the own clock is right**: everybody is asked at once.
//! - **All the time**: no two that rely on their clocks are surely more than four fifths of the bound apart
//!   ([`Jury`]). The rest is for what is measured late: a clock that drifts away by no more than a tenth of the bound in a
//!   second is caught in time. Who was further away comes back when it has been within three fifths for a moment
//!   ([`CONVALESCENCE`]), or within four for longer ([`CONVALESCENCE_AT_EDGE`]).
//!
//! The fence is lifted, and the own clock stepped, only upon answers that say something: that took not much longer than the
//! quickest ones ([`Peer::tells`]). If there are none for a while, the fence falls all the same, and the own clock stays where it
//! is: a network that has become slow says nothing against it.
//!
//! A node that knows of no other follows its machine's clock: slowly, and over a jump when that has lasted ([`PATIENCE`]), so
//! that a clock which is set wrong and put right again leaves no trace. Timestamps go on growing if the jump was back.
//!
//! What must stay true: the own clock is stepped only to where it may be relied upon, as far as the others tell, or when there is
//! nobody else. Where the machine's clock may be relied upon, too, the own one is stepped to it: else each clock that was
//! wrong for a while, within the bound, and was put right, would leave its error behind, and all together would
//! wander off, so that a node which starts with a right clock could not join them.
//!
//! If most clocks are wrong, nobody can tell. Those that are wrong alike agree with one another and outvote the others, and
//! serve, on their time: what they promise one another holds, and a node that is right stays fenced. Those that are wrong
//! in different ways are all fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::transport::{Echo, Probe};
use crate::base::offsets::{Interval, Jury, Vote, counted, middle_of, most, most_at_rest};
use crate::base::{Hlc, NodeId, Unsound};

/// An answer counts for so many rounds of questions.
const FRESH: u32 = 8;
/// How long a clock without others is watched after a jump before it is followed.
const PATIENCE: Duration = Duration::from_secs(60);
/// A clock that was too far off, or that one which is relied upon contradicts, is watched for so long before it is relied upon.
const CONVALESCENCE: Duration = Duration::from_secs(1);
/// As long for one that stays near the edge of what is allowed.
const CONVALESCENCE_AT_EDGE: Duration = Duration::from_secs(5);
/// How long answers that say something are waited for, ...
const UNTOLD: Duration = Duration::from_secs(2);
/// ... by a clock that was found to be wrong.
const UNTOLD_AND_OFF: Duration = Duration::from_secs(60);
/// A node that has started with all that it shares, but is not alone, waits so long for somebody's answer.
const COMPANY_WITHIN: Duration = Duration::from_secs(5);
/// The own clock is stepped to the machine's if that is further away than this part of the bound, and nobody contradicts it.
const FOLLOWED: u32 = 64;
/// Of many nodes, those that share no range are asked this much less often.
const SELDOM: u32 = 4;
const MANY: usize = 32;

#[derive(Default)]
struct Peer {
    next: Duration,
    /// When it last answered, and what was known then of its clock.
    answered: Option<(Duration, Interval)>,
    sound: bool,
    round_trip: Duration,
    least_round_trip: Option<Duration>,
    /// Whether it votes in ranges that are here, too.
    shares: bool,
}

impl Peer {
    /// Whether so wide an interval says as much as can be hoped for.
    fn tells(&self, offset: Interval, bound: Duration) -> bool {
        let least = self.least_round_trip.unwrap_or_default();
        Duration::from_nanos(offset.width().unsigned_abs()) <= (bound / 5).max(2 * least)
    }
}

/// Which other nodes there are.
#[derive(Default)]
pub struct Company {
    /// Those that share ranges with this store, and whether they vote in any.
    pub sharing: Vec<(NodeId, bool)>,
    /// Whether there are replicas here.
    pub has_replicas: bool,
}

/// What a look has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Same,
    Fenced,
    Lifted,
}

pub struct ClockWatch {
    node: NodeId,
    incarnation: u64,
    interval: Duration,
    peers: BTreeMap<NodeId, Peer>,
    told: BTreeSet<NodeId>,
    has_replicas: bool,
    /// There are other nodes, or may be, whether they are known by now or not.
    expects_company: bool,
    /// Answers to what was asked before say nothing: on this node's monotonic clock.
    valid_from: Duration,
    looked: Option<Duration>,
    started: Option<Duration>,
    /// By how much the machine's clock was ahead when the others were last asked which of the two is right; nothing if it is near.
    judged_ahead: i64,
    /// Since when the machine's clock is elsewhere, and nobody else is there to ask.
    jumped_at: Option<Duration>,
    /// When it was last found too far off, and when it was last found too far off to come back at once.
    off_at: Option<Duration>,
    wavering_at: Option<Duration>,
    /// Since when too few answers say anything to this fenced one.
    untold: Option<Duration>,
    /// Since when others that rely on their clocks contradict this fenced one, though most agree with it.
    contested: Option<Duration>,
    /// How far those may be ahead whose time this fenced node goes by: most of all nodes, or some of those.
    led_by: Option<i64>,
    /// When everybody was last asked because of somebody's time.
    doubted_at: Option<Duration>,
    /// How far the others' clocks may be ahead, since enough of them were heard; negative if they are behind.
    others_ahead: Option<i64>,
}

impl ClockWatch {
    pub fn new(node: NodeId, incarnation: u64, interval: Duration) -> Self {
        ClockWatch {
            node,
            incarnation,
            interval,
            peers: BTreeMap::new(),
            told: BTreeSet::new(),
            has_replicas: false,
            expects_company: false,
            valid_from: Duration::ZERO,
            looked: None,
            started: None,
            judged_ahead: 0,
            jumped_at: None,
            off_at: None,
            wavering_at: None,
            untold: None,
            contested: None,
            doubted_at: None,
            led_by: None,
            others_ahead: None,
        }
    }

    /// To be said at the start, of a store that was ever one of several.
    pub fn expect_company(&mut self) {
        self.expects_company = true;
    }

    /// Other nodes of the cluster that are alive, whether they share ranges or not.
    pub fn tell(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        self.told = nodes.into_iter().collect();
    }

    /// Takes note of who is there.
    pub fn attend(&mut self, company: Company) {
        self.has_replicas = company.has_replicas;
        self.peers.retain(|node, _| self.told.contains(node) || company.sharing.iter().any(|s| s.0 == *node));
        self.peers.values_mut().for_each(|p| p.shares = false);
        for (node, votes) in company.sharing {
            self.peers.entry(node).or_default().shares = votes;
        }
        for node in &self.told {
            self.peers.entry(*node).or_default();
        }
    }

    /// Whose turn it is to be asked. The question is to be sent at once.
    pub fn probes(&mut self, now: Duration, clock: &Hlc) -> Vec<(NodeId, Probe)> {
        let sent = clock.monotonic().as_nanos() as u64;
        let probe = Probe { incarnation: self.incarnation, sent, sound: !clock.is_fenced() };
        let many = self.peers.len() > MANY;
        let mut due = Vec::new();
        for (node, peer) in &mut self.peers {
            if peer.next <= now {
                let pause = if many && !peer.shares { self.interval * SELDOM } else { self.interval };
                peer.next = now + pause;
                due.push((*node, probe));
            }
        }
        due
    }

    pub fn next_probe(&self) -> Option<Duration> {
        self.peers.values().map(|p| p.next).min()
    }

    /// The answer to a question.
    pub fn on_probe(&mut self, from: NodeId, probe: Probe, clock: &Hlc) -> Echo {
        let Probe { incarnation, sent, sound } = probe;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.sound = sound;
        }
        Echo { incarnation, sent, wall: clock.wall_ns(), sound: !clock.is_fenced() }
    }

    pub fn on_echo(&mut self, from: NodeId, echo: Echo, now: Duration, clock: &Hlc) {
        // In this order: what passes in between makes the interval wider.
        let wall = clock.wall_ns();
        let (sent, received) = (Duration::from_nanos(echo.sent), clock.monotonic());
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if echo.incarnation != self.incarnation || sent > received || sent < self.valid_from {
            return;
        }
        peer.round_trip = received - sent;
        let least = peer.least_round_trip.get_or_insert(peer.round_trip);
        *least = peer.round_trip.min(*least);
        let measured = Interval::measured(echo.wall, wall, peer.round_trip);
        let before = peer.answered.map(|(at, offset)| offset.aged(now.saturating_sub(at)));
        peer.answered = Some((now, before.map_or(measured, |before| before.narrowed(measured))));
        peer.sound = echo.sound;
    }

    /// Judges the clock by all that is known at `now`.
    pub fn look(&mut self, now: Duration, clock: &Hlc) -> Look {
        let before = clock.unsound();
        self.started.get_or_insert(now);
        self.note_leap(now, clock);
        if clock.take_doubt() && self.doubted_at.is_none_or(|at| now >= at + self.interval / 4) {
            self.doubted_at = Some(now);
            self.peers.values_mut().for_each(|p| p.next = now);
        }
        self.excuse_silence(now);
        self.look_at_machine(now, clock);
        if self.is_alone() {
            clock.lift_fence();
        } else {
            self.judge(now, clock);
        }
        let look = match (before, clock.unsound()) {
            (None, Some(_)) => Look::Fenced,
            (Some(_), None) => Look::Lifted,
            _ => return Look::Same,
        };
        // All shall know at once.
        self.peers.values_mut().for_each(|p| p.next = now);
        look
    }

    /// Whether the monotonic clock has leapt, which is not known of the wall clock. To be asked before any time is taken from the
    /// clock, and often.
    pub fn note_leap(&mut self, now: Duration, clock: &Hlc) -> bool {
        let leap = clock.leap();
        if let Some(by) = leap {
            clock.raise_fence(Unsound::Leapt { by }, 0);
            self.ask_anew(now, clock);
        }
        clock.note_look();
        leap.is_some()
    }

    /// Only what is asked from now on tells anything.
    fn ask_anew(&mut self, now: Duration, clock: &Hlc) {
        self.valid_from = clock.monotonic();
        for peer in self.peers.values_mut() {
            peer.answered = None;
            peer.next = now;
        }
        self.untold = None;
    }

    /// There is nobody to ask: there never was, or all is here and nobody else is left.
    fn is_alone(&self) -> bool {
        self.peers.is_empty() && (self.has_replicas || !self.expects_company)
    }

    /// How far others' clocks may be ahead of this node's own, as soon as that is known: a node that has been restarted finds
    /// out from it what time it may have promised away.
    pub fn others_ahead(&self) -> Option<i64> {
        if self.is_alone() { Some(0) } else { self.others_ahead }
    }

    /// While the store waited for its disk it asked nobody: that nothing was heard meanwhile says nothing.
    fn excuse_silence(&mut self, now: Duration) {
        let silent = self.looked.map_or(Duration::ZERO, |at| now.saturating_sub(at));
        if silent <= self.interval {
            return;
        }
        for (at, offset) in self.peers.values_mut().filter_map(|p| p.answered.as_mut()) {
            (*at, *offset) = (*at + silent, offset.aged(silent));
        }
    }

    fn look_at_machine(&mut self, now: Duration, clock: &Hlc) {
        let ahead = clock.machine_ahead();
        let half = clock.max_offset() / 2;
        let far = |by: i64| Duration::from_nanos(by.unsigned_abs()) > half;
        let elapsed = now.saturating_sub(self.looked.replace(now).unwrap_or(now));
        let moved = ahead.saturating_sub(self.judged_ahead);
        if !far(ahead) {
            self.jumped_at = None;
            self.judged_ahead = 0;
            clock.slew(elapsed);
        } else if self.is_alone() {
            if now.saturating_sub(*self.jumped_at.get_or_insert(now)) >= PATIENCE {
                tracing::warn!(by_ns = ahead, "the clock follows the machine's, which has jumped");
                self.step(clock, ahead);
            }
        } else if far(moved) {
            self.judged_ahead = ahead;
            // Which of the two is right.
            self.ask_anew(now, clock);
            clock.raise_fence(Unsound::Jumped { by: moved }, 0);
        }
    }

    fn step(&mut self, clock: &Hlc, by: i64) {
        clock.step(by);
        self.judged_ahead = clock.machine_ahead();
        self.jumped_at = None;
        for peer in self.peers.values_mut() {
            if let Some((_, offset)) = &mut peer.answered {
                *offset = offset.seen_from(by);
            }
        }
    }

    /// How many others must have been heard. Whoever shares no vote with anybody needs nobody, but asks after a start.
    fn needed(&self, now: Duration, sound: bool) -> usize {
        let voters = self.peers.values().filter(|p| p.shares).count();
        let has_just_started = now.saturating_sub(self.started.unwrap_or(now)) < COMPANY_WITHIN;
        match (voters, self.has_replicas) {
            (0, true) => usize::from(!sound && self.expects_company && has_just_started),
            (0, false) => 1,
            (_, _) if sound => 1,
            // Most, but two are enough.
            (others, _) => others.div_ceil(2).min(2),
        }
    }

    /// What was heard lately, and how much of it says something.
    fn votes(&self, now: Duration, bound: Duration) -> (Vec<Vote>, usize) {
        let (mut votes, mut tell) = (Vec::new(), 0);
        for (node, peer) in &self.peers {
            let Some((at, offset)) = peer.answered else { continue };
            let age = now.saturating_sub(at);
            if age < self.interval * FRESH {
                let offset = offset.aged(age);
                tell += usize::from(peer.tells(offset, bound));
                votes.push(Vote { node: *node, offset, sound: peer.sound });
            }
        }
        (votes, tell)
    }

    fn judge(&mut self, now: Duration, clock: &Hlc) {
        let (sound, bound) = (clock.unsound().is_none(), clock.max_offset());
        let (votes, tell) = self.votes(now, bound);
        let needed = self.needed(now, sound);
        if votes.len() < needed {
            self.untold = None;
            if sound {
                clock.raise_fence(Unsound::Unheard, 0);
            }
            return;
        }
        let jury = Jury { me: self.node, sound, votes: &votes, known: self.peers.len(), bound };
        let told = sound || self.is_told(now, tell >= needed);
        let machine = clock.machine_ahead();
        let apart = Duration::from_nanos(machine.unsigned_abs());
        let better = apart > bound / FOLLOWED && jury.is_no_worse(machine, most(bound))
            || !sound && is_surely_nearer(machine, &counted(&votes, sound));
        let steps = better && tell >= needed.max(1) && !jury.is_against(machine, most(bound));
        let ahead = if steps { machine } else { 0 };
        // Time for those to find out that they are wrong.
        let contested = !sound && jury.is_contested(ahead, most(bound));
        self.contested = contested.then(|| self.contested.unwrap_or(now));
        if jury.is_against(ahead, most(bound)) {
            return self.found_off(now, clock, &jury);
        }
        if !sound && jury.is_against(ahead, most_at_rest(bound)) && self.off_at.is_some() {
            self.wavering_at = Some(now);
        }
        if steps {
            self.step(clock, machine);
        }
        self.others_ahead = Some(0);
        if let Some(by) = clock.behind_its_timestamps() {
            clock.raise_fence(Unsound::Behind { by }, by.as_nanos() as i64);
        } else if sound || told && self.has_recovered(now) {
            (self.off_at, self.wavering_at, self.contested, self.untold) = (None, None, None, None);
            self.led_by = None;
            clock.lift_fence();
        }
    }

    /// Whether a fenced clock may be judged by what was heard.
    fn is_told(&mut self, now: Duration, enough: bool) -> bool {
        if enough {
            self.untold = None;
            return true;
        }
        let patience = if self.off_at.is_some() { UNTOLD_AND_OFF } else { UNTOLD };
        now.saturating_sub(*self.untold.get_or_insert(now)) >= patience
    }

    fn found_off(&mut self, now: Duration, clock: &Hlc, jury: &Jury<'_>) {
        let (votes, sound) = (jury.votes, jury.sound);
        (self.off_at, self.wavering_at) = (Some(now), Some(now));
        let all = || middle_of(&votes.iter().map(|v| v.offset).collect::<Vec<_>>());
        let (median, high) = middle_of(&counted(votes, sound)).or_else(all).unwrap_or_default();
        let reason = Unsound::Off { ahead: clock.machine_ahead().saturating_sub(median), median };
        // One alone that contradicts this clock may be the wrong one: its time must not be taken over for good.
        let by_most = 2 * jury.far_off(most(jury.bound)) > 1 + self.peers.len();
        let as_most_said = |led: i64| Duration::from_nanos(high.abs_diff(led)) <= jury.bound;
        self.led_by = Some(high).filter(|_| by_most || self.led_by.is_some_and(as_most_said));
        self.others_ahead = self.led_by.or(self.others_ahead);
        clock.raise_fence(reason, self.led_by.unwrap_or_default());
    }

    fn has_recovered(&self, now: Duration) -> bool {
        let past = |at: Option<Duration>, d| at.is_none_or(|at| now.saturating_sub(at) >= d);
        past(self.contested, CONVALESCENCE)
            && past(self.off_at, CONVALESCENCE)
            && (past(self.wavering_at, CONVALESCENCE) || past(self.off_at, CONVALESCENCE_AT_EDGE))
    }

    /// Whether a node relies on its own clock, as far as is known.
    pub fn is_sound(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_none_or(|p| p.answered.is_none() || p.sound)
    }

    /// Round trip, and the best guess of how far the node's clock is ahead.
    pub fn measured(&self, node: NodeId) -> Option<(Duration, i64)> {
        let peer = self.peers.get(&node)?;
        peer.answered.map(|(_, offset)| (peer.round_trip, offset.middle()))
    }
}

/// Whether the machine's clock, so far ahead of the own one, is the one that is nearer to most others'.
fn is_surely_nearer(machine: i64, others: &[Interval]) -> bool {
    let Some((median, high)) = middle_of(others) else { return false };
    let width = 2 * (i128::from(high) - i128::from(median));
    let distance = |at: i64| (i128::from(median) - i128::from(at)).abs();
    distance(machine) + width < distance(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::Clock;
    use crate::base::clock::ManualClock;

    const BOUND: Duration = Duration::from_millis(500);
    const SECOND: i64 = 1_000_000_000;
    const EPOCH: u64 = 1_700_000_000_000_000_000;
    const EVERY: Duration = Duration::from_millis(250);
    const TRIP: Duration = Duration::from_millis(4);

    /// A node under test, and others whose clocks are off by so much; true time is what the node's monotonic clock says.
    struct Bench {
        machine: Arc<ManualClock>,
        clock: Clock,
        watch: ClockWatch,
        others: Vec<Other>,
    }

    #[derive(Clone, Copy)]
    struct Other {
        ahead: i64,
        sound: bool,
        silent: bool,
    }

    /// A sound one.
    fn at(ahead: i64) -> Other {
        Other { ahead, sound: true, silent: false }
    }

    impl Bench {
        /// After a start with a clock that is ahead by so much.
        fn new(ahead: i64, others: &[Other]) -> Bench {
            let machine = ManualClock::new(EPOCH);
            machine.jump(ahead);
            let clock = Hlc::new(machine.clone(), BOUND, true);
            let mut watch = ClockWatch::new(NodeId(1), 1, EVERY);
            if !others.is_empty() {
                watch.expect_company();
                clock.raise_fence(Unsound::Unheard, 0);
            }
            Bench { machine, clock, watch, others: others.to_vec() }
        }

        fn now(&self) -> Duration {
            self.clock.monotonic()
        }

        /// One look, and what is asked and answered by then.
        fn round(&mut self) {
            let sharing = (0..self.others.len()).map(|n| (NodeId(n as u32 + 2), true)).collect();
            self.watch.attend(Company { sharing, has_replicas: true });
            for (node, probe) in self.watch.probes(self.now(), &self.clock) {
                let other = self.others[node.0 as usize - 2];
                self.machine.advance(TRIP / 2);
                let wall = (self.now().as_nanos() as u64).saturating_add_signed(other.ahead);
                self.machine.advance(TRIP / 2);
                let echo =
                    Echo { incarnation: probe.incarnation, sent: probe.sent, wall, sound: other.sound };
                if !other.silent {
                    self.watch.on_echo(node, echo, self.now(), &self.clock);
                }
            }
            self.watch.look(self.now(), &self.clock);
            self.machine.advance(Duration::from_millis(50));
        }

        fn run(&mut self, time: Duration) {
            let until = self.now() + time;
            while self.now() < until {
                self.round();
            }
        }

        fn error_ns(&self) -> i64 {
            self.clock.wall_ns() as i64 - self.now().as_nanos() as i64
        }
    }

    #[test]
    fn a_node_that_starts_is_sound_when_others_have_been_heard() {
        let mut b = Bench::new(0, &[at(100_000_000), at(-100_000_000)]);
        assert_eq!(b.clock.unsound(), Some(Unsound::Unheard));
        b.others.iter_mut().for_each(|o| o.silent = true);
        b.run(Duration::from_secs(5));
        assert_eq!(b.clock.unsound(), Some(Unsound::Unheard), "and not before");
        b.others[0].silent = false;
        b.run(EVERY * 2);
        assert_eq!(b.clock.unsound(), None, "two of three");
    }

    #[test]
    fn a_node_that_starts_with_a_wrong_clock_is_fenced_until_it_is_put_right() {
        for wrong in [-10 * SECOND, 3600 * SECOND] {
            let mut b = Bench::new(wrong, &[at(0), at(0)]);
            b.run(Duration::from_secs(3));
            let reason = b.clock.unsound().expect("fenced");
            let Unsound::Off { ahead, .. } = reason else { panic!("{reason}") };
            assert!((ahead - wrong).abs() < SECOND / 100, "{reason}");
            b.machine.jump(-wrong);
            b.run(Duration::from_secs(2));
            assert_eq!(b.clock.unsound(), None);
            assert!(b.error_ns().abs() < SECOND / 100);
        }
    }

    #[test]
    fn a_jump_of_the_machines_clock_is_not_followed_but_for_good_reason() {
        let mut b = Bench::new(0, &[at(0), at(0)]);
        b.run(Duration::from_secs(1));
        b.machine.jump(3600 * SECOND);
        b.watch.look(b.now(), &b.clock);
        assert_eq!(b.clock.unsound(), Some(Unsound::Jumped { by: 3600 * SECOND }), "at once");
        b.run(EVERY);
        assert_eq!(b.clock.unsound(), None, "the others say that the own clock is right");
        assert!(b.error_ns().abs() < SECOND / 100);
        // The machine stood still, and its monotonic clock with it; now somebody has set the wall clock right.
        b.machine.jump(-3590 * SECOND);
        b.others.iter_mut().for_each(|o| o.ahead += 10 * SECOND);
        b.run(Duration::from_secs(3));
        assert_eq!(b.clock.unsound(), None);
        assert!((b.error_ns() - 10 * SECOND).abs() < SECOND / 100, "{}", b.error_ns());
    }

    /// Each step of it is small, and the others cannot tell the two apart.
    #[test]
    fn a_machines_clock_that_moves_away_little_by_little_is_judged() {
        let mut b = Bench::new(0, &[at(0), at(0)]);
        b.run(Duration::from_secs(1));
        for by in [SECOND / 5, 2 * SECOND / 5] {
            b.machine.jump(SECOND / 5);
            b.run(EVERY * 2);
            assert!(
                (b.error_ns() - by).abs() < SECOND / 100,
                "the others have nothing against it: {}",
                b.error_ns()
            );
        }
        assert_eq!(b.clock.fence_counts().lifted, 1);
        b.machine.jump(SECOND / 5);
        b.run(Duration::from_secs(1));
        assert!((b.error_ns() - 2 * SECOND / 5).abs() < SECOND / 100, "too far: {}", b.error_ns());
        b.machine.jump(SECOND / 5);
        b.run(Duration::from_secs(1));
        assert_eq!((b.clock.unsound(), b.clock.fence_counts().lifted), (None, 2), "the others were asked");
        b.run(Duration::from_secs(1));
        assert_eq!(b.clock.fence_counts().lifted, 2, "once");
    }

    #[test]
    fn an_answer_from_before_a_jump_says_nothing() {
        let mut b = Bench::new(0, &[at(0), at(0)]);
        b.run(Duration::from_secs(1));
        let sent = b.now().as_nanos() as u64;
        b.machine.advance(TRIP);
        b.machine.jump(10 * SECOND);
        b.watch.look(b.now(), &b.clock);
        let late = Echo { incarnation: 1, sent, wall: b.clock.wall_ns(), sound: true };
        b.watch.on_echo(NodeId(2), late, b.now(), &b.clock);
        b.watch.on_echo(NodeId(2), Echo { incarnation: 7, sent: u64::MAX, ..late }, b.now(), &b.clock);
        b.watch.look(b.now(), &b.clock);
        assert!(b.clock.is_fenced());
    }

    #[test]
    fn a_clock_that_drifts_away_is_fenced_before_it_is_beyond_the_bound() {
        let mut b = Bench::new(0, &[at(0), at(0)]);
        b.run(Duration::from_secs(1));
        while !b.clock.is_fenced() {
            // A tenth of the bound in a second.
            b.round();
            b.others.iter_mut().for_each(|o| o.ahead += SECOND / 20 / 18);
            assert!(b.others[0].ahead < BOUND.as_nanos() as i64 * 9 / 10, "found out too late");
        }
        assert!(
            b.others[0].ahead > BOUND.as_nanos() as i64 * 4 / 5 - TRIP.as_nanos() as i64,
            "clocks may be there"
        );
    }

    #[test]
    fn one_that_is_wrong_fences_nobody_else() {
        let mut b = Bench::new(0, &[at(0), at(10 * SECOND)]);
        b.run(Duration::from_secs(3));
        assert_eq!(b.clock.unsound(), None);
        // The other one dies: one word against another's, and that of the greater id counts less.
        b.others[0].silent = true;
        b.run(Duration::from_secs(3));
        assert_eq!(b.clock.unsound(), None);
        b.others[1].sound = false;
        b.run(Duration::from_secs(3));
        assert_eq!(b.clock.unsound(), None, "a fenced node says nothing against others");
    }

    #[test]
    fn a_node_that_shares_ranges_and_hears_of_nobody_is_fenced() {
        let mut b = Bench::new(0, &[at(0), at(0)]);
        b.run(Duration::from_secs(1));
        b.others.iter_mut().for_each(|o| o.silent = true);
        b.run(Duration::from_secs(3));
        assert_eq!(b.clock.unsound(), Some(Unsound::Unheard));
        b.others[1].silent = false;
        b.run(EVERY * 2);
        assert_eq!(b.clock.unsound(), None);
    }

    /// As when its disk takes so long: it asks first, and then it judges.
    #[test]
    fn a_store_that_has_slept_for_a_moment_asks_before_it_calls_itself_alone() {
        let mut b = Bench::new(0, &[at(0), at(0)]);
        b.run(Duration::from_secs(1));
        b.watch.interval = Duration::from_millis(100);
        b.run(Duration::from_secs(1));
        b.machine.advance(Duration::from_millis(1500));
        b.watch.look(b.now(), &b.clock);
        assert_eq!(b.clock.unsound(), None);
        b.others.iter_mut().for_each(|o| o.silent = true);
        b.run(Duration::from_secs(1));
        assert_eq!(b.clock.unsound(), Some(Unsound::Unheard), "but not for long");
    }

    #[test]
    fn a_node_alone_is_never_fenced_and_follows_what_lasts() {
        let mut b = Bench::new(0, &[]);
        b.run(Duration::from_secs(1));
        let year = 365 * 86_400 * SECOND;
        b.machine.jump(year);
        b.run(Duration::from_secs(30));
        b.machine.jump(-year);
        b.run(Duration::from_secs(60));
        assert_eq!((b.clock.unsound(), b.error_ns()), (None, 0), "nothing is left of it");
        for jump in [3600 * SECOND, -7200 * SECOND] {
            let (before, error) = (b.clock.now(), b.error_ns());
            b.machine.jump(jump);
            b.run(Duration::from_secs(50));
            assert_eq!(b.error_ns(), error, "not at once");
            b.run(Duration::from_secs(15));
            assert_eq!((b.clock.unsound(), b.error_ns()), (None, error + jump));
            assert!(b.clock.now() > before);
        }
    }
}
