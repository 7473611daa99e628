//! What follows for the store when its clock cannot be relied upon (`watch` finds out).
//!
//! A fenced store serves nothing ([`Replica::lease`](crate::replica::Replica::lease) covers nothing) and gives the leaderships
//! that it has to stores whose clocks are sound, one attempt a second for each range, after a moment: a jump of the
//! machine's clock is judged within a round trip, and is no reason to move anything. It goes on as a follower. Raft
//! asks for no time of day: entries are appended and acknowledged, and votes given, as by anybody.
//!
//! Why promises stay safe: the clock of a fenced store stands but for what others' messages bring (`base::clock`). So it passes
//! the end of what it has promised to a leader only when somebody whose clock is sound has passed it, and it supports others
//! until a time that they have named. What it has promised binds longer, never shorter.
//!
//! It may still have to lead: where nobody else's log is complete, nobody else can be elected. So it stands for election later
//! than the others ([`LATE`]), brings the others up to date, and hands over.

use std::mem::Discriminant;
use std::time::Duration;

use super::core::StoreCore;
use super::driven::Transfer;
use super::elections::TRANSFER_TIMEOUT;
use super::transport::{Envelope, MessageBatch};
use super::watch::{Company, Look};
use crate::base::{RangeId, ReplicaId, Timestamp, Unsound};
use crate::group::Event;
use crate::replica::ReplicaKind;

/// How long leaderships are kept after the fence went up.
const KEEP: Duration = Duration::from_millis(500);
/// By how much later than others a fenced store stands for election.
pub(super) const LATE: Duration = Duration::from_secs(2);

/// Since the clock is fenced.
pub(super) struct Fenced {
    next_attempt: Duration,
    attempts: usize,
    logged: Option<Discriminant<Unsound>>,
}

impl StoreCore {
    /// For how long after a start this store may be bound by promises that it has forgotten, and may have served what its
    /// clock has forgotten. It counts from when it is known what time it is.
    pub(super) fn forget_until(&mut self, bound: Option<Duration>, lost: Option<Duration>) {
        for (until, known) in [(&mut self.bound_until, bound), (&mut self.clock_lost_until, lost)] {
            *until = if known.is_some() { Timestamp::MAX } else { Timestamp::ZERO };
        }
        self.unknown_until = Some((bound, lost));
    }

    /// Questions about the time, and answers.
    pub(super) fn receive_time(&mut self, batch: &MessageBatch) {
        for envelope in &batch.envelopes {
            match envelope {
                Envelope::Probe(probe) => {
                    let echo = self.clocks.on_probe(batch.from, *probe, &self.parts.clock);
                    self.send(batch.from, Envelope::Echo(echo));
                }
                Envelope::Echo(echo) => {
                    self.clocks.on_echo(batch.from, *echo, self.now, &self.parts.clock);
                    if self.fenced.is_some() {
                        self.next_look = self.now;
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn watch_clock(&mut self) {
        if self.now < self.next_look {
            return;
        }
        self.next_look = self.now + self.parts.config.tick;
        let company = Company { sharing: self.liveness.sharing(), has_replicas: !self.replicas.is_empty() };
        self.clocks.attend(company);
        let look = self.clocks.look(self.now, &self.parts.clock);
        if let (Some((bound, lost)), Some(ahead)) = (self.unknown_until, self.clocks.others_ahead()) {
            let now = Timestamp::new(self.parts.clock.wall_ns().saturating_add_signed(ahead), 0);
            self.bound_until = bound.map_or(Timestamp::ZERO, |d| now.add(d));
            self.clock_lost_until = lost.map_or(Timestamp::ZERO, |d| now.add(d));
            self.unknown_until = None;
        }
        match self.parts.clock.unsound() {
            Some(reason) => self.stay_fenced(reason),
            None => {
                if self.fenced.take().is_some_and(|f| f.logged.is_some()) && look == Look::Lifted {
                    let machine_ahead_ns = self.parts.clock.machine_ahead();
                    tracing::info!(
                        machine_ahead_ns,
                        "the clock agrees with the others': this node serves again"
                    );
                }
            }
        }
    }

    fn stay_fenced(&mut self, reason: Unsound) {
        let (now, node) = (self.now, self.node);
        let fenced =
            self.fenced.get_or_insert_with(|| Fenced { next_attempt: now + KEEP, attempts: 0, logged: None });
        let kind = std::mem::discriminant(&reason);
        // A node that has just started is not in trouble.
        if fenced.logged != Some(kind) && (reason != Unsound::Unheard || fenced.logged.is_some()) {
            fenced.logged = Some(kind);
            tracing::error!(%node, %reason, "this node is fenced and serves nothing: {}", Unsound::HINT);
        }
        if now < fenced.next_attempt {
            return;
        }
        fenced.next_attempt = now + TRANSFER_TIMEOUT;
        fenced.attempts += 1;
        let attempts = fenced.attempts;
        let led = self.replicas.iter().filter(|(_, d)| d.group.is_leader() && d.transfer.is_none());
        let mut led: Vec<RangeId> = led.map(|(range, _)| *range).collect();
        led.sort_unstable();
        for range in led {
            self.hand_over(range, attempts);
        }
    }

    /// Gives a leadership to one of those that could serve, another one with each attempt.
    fn hand_over(&mut self, range: RangeId, attempt: usize) {
        let Some(d) = self.replicas.get(&range) else { return };
        let Some(descriptor) = &d.descriptor else { return };
        let sound: Vec<ReplicaId> = descriptor
            .replicas
            .iter()
            .filter(|r| r.node != self.node && matches!(r.kind, ReplicaKind::Voter | ReplicaKind::Incoming))
            .filter(|r| {
                self.liveness.supported_by(r.node, self.hlc).is_some() && self.clocks.is_sound(r.node)
            })
            .map(|r| r.replica)
            .collect();
        if sound.is_empty() {
            return;
        }
        self.give_up_lease(range);
        let to = sound[attempt % sound.len()];
        let Some(d) = self.replicas.get_mut(&range) else { return };
        d.transfer = Some(Transfer { to, deadline: self.now + TRANSFER_TIMEOUT, done: None });
        self.awake.insert(range);
        self.step(range, Event::TransferTo(to));
    }
}
