//! Waiting for somebody else's lock or intent.
//!
//! A request takes its place in the queue of the key, tells the wait graph whom it waits for, and sleeps until the queue
//! moves. If that takes long, it *pushes* whoever is in the way: asks their records whether they have ended, whether their
//! coordinators still live, and whether somebody there waits for us.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use meridian_storage::base::{Key, TxnId};
use meridian_storage::mvcc::lock;

use super::Participant;
use super::lock_table::{Place, Slot};
use super::range::RangeState;
use super::wait_graph::{self, Waiting};
use crate::eval::{Blocker, Conflict, Want};
use crate::rpc::{Header, KvError, LockStrength, TxnMeta, WaitPolicy};

/// How long a request waits before it pushes, and between pushes.
const PUSH_DELAY: Duration = Duration::from_millis(50);
const PUSH_INTERVAL: Duration = Duration::from_millis(100);

/// The waiting of one request: its places in queues, kept until it is done.
pub(super) struct Waits<'a> {
    participant: &'a Participant,
    pub places: Vec<Place>,
    txn: Option<Arc<TxnMeta>>,
    policy: WaitPolicy,
    lock_timeout: Option<Duration>,
}

impl Participant {
    pub(super) fn waits_of(&self, header: &Header) -> Waits<'_> {
        Waits {
            participant: self,
            places: Vec::new(),
            txn: header.txn.clone().map(Arc::new),
            policy: header.wait,
            lock_timeout: header.lock_timeout,
        }
    }
}

impl Waits<'_> {
    /// Returns when it is worth trying again.
    pub async fn wait(&mut self, range: &Arc<RangeState>, conflict: Conflict) -> Result<(), KvError> {
        if self.discover(range, &conflict)? {
            return Ok(());
        }
        let Conflict { key, want, mut blockers } = conflict;
        let locking = matches!(want, Want::Lock(_));
        if self.policy == WaitPolicy::NoWait && locking {
            for blocker in &blockers {
                self.participant.push(range, self.txn.as_deref(), &key, want, blocker).await?;
            }
            let me = self.txn.as_ref().map(|t| t.id);
            let still = range.locks.check(&key, want, me, &self.places);
            return if still.is_some() { Err(KvError::LockNotAvailable { key }) } else { Ok(()) };
        }
        let clock = &self.participant.clock;
        let deadline = self.lock_timeout.filter(|_| locking).map(|t| clock.monotonic() + t);
        let slot = range.locks.wait(&key, want, self.txn.as_ref(), &mut self.places)?;
        let mut edges = self.watch(&blockers, &slot)?;
        let mut pause = PUSH_DELAY;
        loop {
            let left = deadline.map(|d| d.saturating_sub(clock.monotonic()));
            let nap = left.map_or(pause, |left| left.min(pause));
            let moved = Box::pin(slot.moved());
            match select(moved, self.participant.runtime.sleep(nap)).await {
                Either::Left((verdict, _)) => return verdict,
                Either::Right(_) => {}
            }
            if deadline.is_some_and(|d| d <= clock.monotonic()) {
                return Err(KvError::LockTimeout { key });
            }
            if !holds(range, &key) {
                return Ok(());
            }
            pause = PUSH_INTERVAL;
            let me = self.txn.as_ref().map(|t| t.id);
            let Some(now) = range.locks.check(&key, want, me, &self.places) else { return Ok(()) };
            if ids(&now.blockers) != ids(&blockers) {
                drop(edges);
                edges = self.watch(&now.blockers, &slot)?;
            }
            blockers = now.blockers;
            self.push_all(range, &key, want, &blockers, &slot).await?;
        }
    }

    /// Enters intents that were met in the engine into the lock table. True if one is gone already: try again at once.
    fn discover(&self, range: &RangeState, conflict: &Conflict) -> Result<bool, KvError> {
        for blocker in &conflict.blockers {
            let Some(at) = blocker.intent else { continue };
            range.locks.discover(&conflict.key, &blocker.txn, at, LockStrength::Update);
            // Whoever resolved it before we entered it could not tell the table; nor will who resolves it in the other half.
            let there = lock::exclusive_on(&**range.replica.engine(), &conflict.key)?;
            if !holds(range, &conflict.key)
                || there.is_none_or(|l| l.txn != blocker.txn.id || l.write_ts != at)
            {
                range.locks.intent_gone(&conflict.key, blocker.txn.id);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells the wait graph; fails if that closes a cycle of which we are the victim.
    fn watch(&self, blockers: &[Blocker], slot: &Arc<Slot>) -> Result<Option<Waiting>, KvError> {
        let Some(me) = &self.txn else { return Ok(None) };
        let graph = &self.participant.graph;
        let waiting = graph.wait(me, &ids(blockers), slot);
        self.participant.break_cycle(me.id)?;
        Ok(Some(waiting))
    }

    /// Pushes everybody in the way, unless the queue moves first.
    async fn push_all(
        &self,
        range: &Arc<RangeState>,
        key: &Key,
        want: Want,
        blockers: &[Blocker],
        slot: &Arc<Slot>,
    ) -> Result<(), KvError> {
        for blocker in blockers {
            let push = Box::pin(self.participant.push(range, self.txn.as_deref(), key, want, blocker));
            match select(Box::pin(slot.moved()), push).await {
                // The caller will see it, too.
                Either::Left(_) => return Ok(()),
                Either::Right((pushed, _)) => pushed?,
            }
        }
        Ok(())
    }
}

impl Participant {
    /// Looks for a cycle through `txn`. If it is the one to die, that is the error; if another waits here, it is told.
    pub(super) fn break_cycle(&self, txn: TxnId) -> Result<(), KvError> {
        let Some(cycle) = self.graph.cycle(txn, self.clock.monotonic()) else { return Ok(()) };
        match wait_graph::victim(&cycle) {
            Some(victim) if victim == txn => Err(wait_graph::deadlock(&cycle)),
            Some(victim) => {
                self.graph.fail(victim, &cycle);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Whether the key has not gone to another range by a split.
fn holds(range: &RangeState, key: &Key) -> bool {
    range.replica.descriptor().contains(key)
}

fn ids(blockers: &[Blocker]) -> Vec<TxnId> {
    blockers.iter().map(|b| b.txn.id).collect()
}
