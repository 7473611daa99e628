//! Waiting for somebody else's lock or intent.
//!
//! A request takes its place in the queue of the key, tells the wait graph whom it waits for, and sleeps until the queue
//! moves. If that takes long, it *pushes* whoever is in the way: asks their records whether they have ended, whether their
//! coordinators still live, and whether somebody there waits for us.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use meridian_storage::base::runtime::timeout;
use meridian_storage::base::{Key, TxnId};
use meridian_storage::mvcc::lock;
use meridian_storage::probe;

use super::Participant;
use super::lock_table::{Place, Slot};
use super::push::Asked;
use super::range::RangeState;
use super::wait_graph::{self, Waiting};
use crate::eval::{Blocker, Conflict, Want};
use crate::rpc::{Header, KvError, LockStrength, TxnMeta, WaitPolicy};

/// How long a request waits before it pushes, and between pushes.
const PUSH_DELAY: Duration = Duration::from_millis(50);
const PUSH_INTERVAL: Duration = Duration::from_millis(100);

/// How long a request that does not wait asks in all about those in its way.
const ASK_PATIENCE: Duration = Duration::from_secs(1);

/// The waiting of one request: its places in queues, kept until it is done.
pub(super) struct Waits<'a> {
    participant: &'a Participant,
    pub places: Vec<Place>,
    /// Those in the way of a request that does not wait who, when asked, were not gone.
    pub asked: Vec<TxnId>,
    /// On the monotonic clock: it asks no longer than this.
    ask_until: Option<Duration>,
    txn: Option<Arc<TxnMeta>>,
    policy: WaitPolicy,
    lock_timeout: Option<Duration>,
}

impl Participant {
    pub(super) fn waits_of(&self, header: &Header) -> Waits<'_> {
        Waits {
            participant: self,
            places: Vec::new(),
            asked: Vec::new(),
            ask_until: None,
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
        if self.policy != WaitPolicy::Block && locking {
            return self.ask(range, key, want, &blockers).await;
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
                probe!("lock: timeout");
                return Err(KvError::LockTimeout { key });
            }
            if !holds(range, &key) {
                probe!("lock: awaited key has gone to another range");
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

    /// Finds out which of those in the way are gone. Whoever is not, or does not let us know soon, is passed over from now on.
    async fn ask(
        &mut self,
        range: &Arc<RangeState>,
        key: Key,
        want: Want,
        blockers: &[Blocker],
    ) -> Result<(), KvError> {
        if blockers.iter().all(|b| self.asked.contains(&b.txn.id)) {
            probe!("lock: not awaited");
            return Err(KvError::LockNotAvailable { key });
        }
        let participant = self.participant;
        let until = *self.ask_until.get_or_insert_with(|| participant.clock.monotonic() + ASK_PATIENCE);
        for blocker in blockers {
            let left = until.saturating_sub(participant.clock.monotonic());
            // In nobody's name: a holder that lives does not give way to who would not wait for it.
            let push = participant.push(range, None, &key, want, blocker);
            match timeout(&*participant.runtime, left, push).await.transpose()? {
                Some(Asked::Gone) => {}
                Some(Asked::Lives) | None => self.asked.push(blocker.txn.id),
            }
        }
        Ok(())
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
                probe!("lock: the intent that was met is gone already");
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
                // Whether it is gone, the queue will tell.
                Either::Right((pushed, _)) => {
                    pushed?;
                }
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
                probe!("deadlock: another waiter is the victim");
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

#[cfg(test)]
mod tests {
    use meridian_storage::base::runtime::timeout;
    use meridian_storage::base::{Hlc, PhysicalClock, RangeId};

    use super::super::read::Attempt;
    use super::*;
    use crate::TxnOptions;
    use crate::rpc::{BatchRequest, Request};
    use crate::testing::{LocalNode, SimRuntime, local_node};

    /// A reader has met an intent, and then the range is divided: what becomes of the intent is told to the right half's table.
    /// Whether the reader has entered the intent in the left one before it can know (`entered`) or is about to.
    #[test]
    fn whoever_waits_for_a_key_that_went_to_the_other_half_looks_there() {
        for entered in [false, true] {
            let runtime = SimRuntime::new(1);
            let node = local_node(&runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
            runtime.block_on(async {
                let begun = runtime.clock().monotonic();
                let answer = timeout(&runtime, Duration::from_secs(10), wait_for_the_moved(&node, entered));
                answer.await.expect("it looks again by itself").expect("nothing is wrong");
                let took = runtime.clock().monotonic() - begun;
                assert!(took <= if entered { PUSH_DELAY } else { Duration::ZERO }, "{took:?}");
                let left = node.participant.ranges.read()[&RangeId(1)].clone();
                assert!(entered || left.locks.is_empty(), "nobody would ever remove it there");
            });
        }
    }

    async fn wait_for_the_moved(node: &LocalNode, entered: bool) -> Result<(), KvError> {
        let holder = node.db.begin(TxnOptions::default());
        let key = Key::from("\x10h");
        holder.put(key.clone(), "1".into());
        holder.flush().await.expect("spill");
        let left = node.participant.ranges.read()[&RangeId(1)].clone();
        let header = Header { read_ts: node.db.clock().now(), ..Header::default() };
        let get = Request::Get { key: key.clone(), lock: None };
        let batch = BatchRequest { header: header.clone(), requests: vec![get] };
        let Attempt::Conflict(mut conflict) = node.participant.read_once(&left, &batch, &[]) else {
            panic!("the intent is in its way");
        };
        node.db.split_at("\x10f".into()).await.expect("split");
        if entered {
            for blocker in &mut conflict.blockers {
                let at = blocker.intent.take().expect("an intent");
                left.locks.discover(&key, &blocker.txn, at, LockStrength::Update);
            }
        }
        node.participant.waits_of(&header).wait(&left, conflict).await
    }
}
