//! The lock table: who holds which key of a range, who waits for it, and in which order.
//!
//! Locks here are in memory and unreplicated, in PostgreSQL's four strengths; besides, intents of other transactions
//! that a request has met in the engine are entered as held until they are resolved. What must stay true:
//!
//! - **Fairness.** Each key has a queue in order of arrival. A request may go ahead if it conflicts neither with a
//!   holder nor with anybody before it in the queue. When a holder leaves, the first waiters that have become free are
//!   woken; they *keep their places* while they try again, so that nobody overtakes them. Who holds a weaker lock on the
//!   key already goes ahead of the queue: those in it wait for that lock anyway.
//! - **No trace.** A place in a queue is a [`Place`]: dropping it - success, error or a cancelled request alike - removes it
//!   and lets the next one go.
//! - **Idempotence.** Acquiring again what is held changes nothing; releasing what is not held does nothing.
//! - The table may lose everything at any time (a lease moves, a node dies). Locks make transactions wait instead of
//!   fail; they do not decide whether a commit is right. Where something cannot be validated but by them, the commit asks
//!   whether they were ever lost ([`LockTable::held_since`], [`LockTable::excludes`]).
//!
//! Non-locking readers wait here too, for intents; they block nobody and have no place in the order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian_storage::base::{Key, Span, Timestamp, TxnId};
use meridian_storage::probe;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::signal::Signal;
use crate::eval::{Blocker, Conflict, Want};
use crate::rpc::{KvError, LockStrength, TxnMeta};

struct Holder {
    txn: Arc<TxnMeta>,
    /// Unreplicated locks, with the sequence at which each strength was first taken (for savepoints).
    lock: Option<LockStrength>,
    /// When that was taken, in its strength.
    since: Timestamp,
    /// A replicated intent: its timestamp and the strength that it stands for.
    intent: Option<(Timestamp, LockStrength)>,
}

/// What is known of a transaction that may hold something.
#[derive(Default)]
struct Known {
    /// When it was last known to be alive.
    active: Timestamp,
    keys: BTreeSet<Key>,
}

impl Holder {
    fn blocks(&self, want: Want) -> bool {
        match want {
            Want::Read(at) => self.intent.is_some_and(|(ts, _)| ts <= at),
            Want::Lock(strength) => {
                self.lock.is_some_and(|held| held.conflicts(strength))
                    || self.intent.is_some_and(|(_, held)| held.conflicts(strength))
            }
        }
    }
}

struct Waiter {
    place: u64,
    txn: Option<Arc<TxnMeta>>,
    want: Want,
    slot: Arc<Slot>,
}

#[derive(Default)]
struct Queue {
    holders: SmallVec<[Holder; 1]>,
    waiters: VecDeque<Waiter>,
}

/// Where a waiting request is told to go on.
#[derive(Default)]
pub struct Slot {
    verdict: Mutex<Option<KvError>>,
    signal: Signal,
}

impl Slot {
    /// Resolves when it is worth trying again, or with the reason to give up.
    pub async fn moved(&self) -> Result<(), KvError> {
        self.signal.wait().await;
        match self.verdict.lock().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub fn retry(&self) {
        self.signal.set();
    }

    /// The waiter must give up.
    pub fn fail(&self, error: KvError) {
        self.verdict.lock().get_or_insert(error);
        self.signal.set();
    }
}

/// The lock table of one range.
#[derive(Default)]
pub struct LockTable {
    inner: Mutex<Inner>,
    /// Keys in the table, so that a request can find out without the mutex that there are none.
    keys: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    queues: BTreeMap<Key, Queue>,
    by_txn: FxHashMap<TxnId, Known>,
    next_place: u64,
    /// Why nobody may wait here any more.
    closed: Option<KvError>,
}

/// A place in the queue of a key; see the module's documentation.
pub struct Place {
    table: Arc<LockTable>,
    key: Key,
    place: u64,
    pub slot: Arc<Slot>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.leave(&self.key, self.place);
    }
}

impl LockTable {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.load(Ordering::SeqCst) == 0
    }

    /// What stands between `me` and `key`, if anything. `places`: where the request queues already.
    pub fn check(&self, key: &Key, want: Want, me: Option<TxnId>, places: &[Place]) -> Option<Conflict> {
        if self.is_empty() {
            return None;
        }
        let inner = self.inner.lock();
        let queue = inner.queues.get(key)?;
        let place = places.iter().find(|p| p.key == *key).map_or(u64::MAX, |p| p.place);
        let blockers = queue.blockers(want, me, place, &inner.by_txn);
        (!blockers.is_empty()).then(|| Conflict { key: key.clone(), want, blockers })
    }

    /// Enters the queue of `key`, or stays in it if the request has a place there.
    ///
    /// Fails if the table is closed. The slot is set at once if nothing is in the way any more.
    pub fn wait(
        self: &Arc<Self>,
        key: &Key,
        want: Want,
        txn: Option<&Arc<TxnMeta>>,
        places: &mut Vec<Place>,
    ) -> Result<Arc<Slot>, KvError> {
        let mut inner = self.inner.lock();
        if let Some(why) = &inner.closed {
            return Err(why.clone());
        }
        let slot = Arc::new(Slot::default());
        let at = inner.next_place;
        if !inner.queues.contains_key(key) {
            self.keys.fetch_add(1, Ordering::SeqCst);
        }
        let queue = inner.queues.entry(key.clone()).or_default();
        if let Some(mine) = places.iter_mut().find(|p| p.key == *key) {
            mine.slot = slot.clone();
            if let Some(waiter) = queue.waiters.iter_mut().find(|w| w.place == mine.place) {
                waiter.slot = slot.clone();
                waiter.want = want;
            }
        } else {
            queue.waiters.push_back(Waiter { place: at, txn: txn.cloned(), want, slot: slot.clone() });
            places.push(Place { table: self.clone(), key: key.clone(), place: at, slot: slot.clone() });
            inner.next_place += 1;
        }
        if let Some(queue) = inner.queues.get_mut(key) {
            queue.wake();
        }
        Ok(slot)
    }

    /// Gives `txn` the lock. The caller has checked, under latches, that nothing is in the way.
    pub fn acquire(&self, key: &Key, txn: &Arc<TxnMeta>, strength: LockStrength, now: Timestamp) {
        let mut inner = self.inner.lock();
        if inner.closed.is_some() {
            return;
        }
        let holder = self.holder(&mut inner, key, txn, now);
        if holder.lock < Some(strength) {
            (holder.lock, holder.since) = (Some(strength), now);
        }
    }

    /// Takes note of an intent of `txn` that was met in the engine.
    pub fn discover(&self, key: &Key, txn: &Arc<TxnMeta>, intent: Timestamp, strength: LockStrength) {
        let mut inner = self.inner.lock();
        if inner.closed.is_none() {
            self.holder(&mut inner, key, txn, txn.write_ts).intent = Some((intent, strength));
        }
    }

    fn holder<'a>(
        &self,
        inner: &'a mut Inner,
        key: &Key,
        txn: &Arc<TxnMeta>,
        active: Timestamp,
    ) -> &'a mut Holder {
        if !inner.queues.contains_key(key) {
            self.keys.fetch_add(1, Ordering::SeqCst);
        }
        let holders = &mut inner.queues.entry(key.clone()).or_default().holders;
        let known = inner.by_txn.entry(txn.id).or_default();
        known.active.forward(active);
        let index = match holders.iter().position(|h| h.txn.id == txn.id) {
            Some(index) => index,
            None => {
                known.keys.insert(key.clone());
                holders.push(Holder { txn: txn.clone(), lock: None, since: Timestamp::ZERO, intent: None });
                holders.len() - 1
            }
        };
        let holder = &mut holders[index];
        if txn.epoch > holder.txn.epoch
            || (txn.epoch == holder.txn.epoch && txn.write_ts > holder.txn.write_ts)
        {
            holder.txn = txn.clone();
        }
        holder
    }

    /// The strength of the unreplicated lock that `txn` holds on `key`.
    pub fn held(&self, key: &Key, txn: TxnId) -> Option<LockStrength> {
        if self.is_empty() {
            return None;
        }
        let inner = self.inner.lock();
        inner.queues.get(key)?.holders.iter().find(|h| h.txn.id == txn)?.lock
    }

    /// Since when `txn` has held its unreplicated lock on `key`.
    pub fn held_since(&self, key: &Key, txn: TxnId) -> Option<Timestamp> {
        if self.is_empty() {
            return None;
        }
        let inner = self.inner.lock();
        let holder = inner.queues.get(key)?.holders.iter().find(|h| h.txn.id == txn)?;
        holder.lock.map(|_| holder.since)
    }

    /// Whether somebody else holds an unreplicated lock on `key` that excludes `strength`.
    pub fn excludes(&self, key: &Key, strength: LockStrength, me: Option<TxnId>) -> bool {
        if self.is_empty() {
            return false;
        }
        let inner = self.inner.lock();
        inner.queues.get(key).is_some_and(|queue| {
            let excludes = |h: &Holder| h.lock.is_some_and(|held| held.conflicts(strength));
            queue.holders.iter().any(|h| Some(h.txn.id) != me && excludes(h))
        })
    }

    /// The intent of `txn` on `key` is no more; any lock of its stays.
    pub fn intent_gone(&self, key: &Key, txn: TxnId) {
        if !self.is_empty() {
            self.change(&mut self.inner.lock(), key, |holder| {
                if holder.txn.id == txn {
                    holder.intent = None;
                }
            });
        }
    }

    /// No key of the span has an intent of `txn` any more, where it was; any locks of its stay.
    pub fn intents_gone(&self, span: &Span, txn: TxnId) {
        if self.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        for key in inner.keys_of(txn, Some(span)) {
            self.change(&mut inner, &key, |holder| {
                if holder.txn.id == txn {
                    holder.intent = None;
                }
            });
        }
    }

    /// Gives up the unreplicated locks of `txn`: those in the spans, or all if there are none.
    pub fn release(&self, txn: TxnId, spans: &[Span]) {
        if self.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        let keys: Vec<Key> = if spans.is_empty() {
            inner.keys_of(txn, None)
        } else {
            spans.iter().flat_map(|span| inner.keys_of(txn, Some(span))).collect()
        };
        for key in keys {
            self.change(&mut inner, &key, |holder| {
                if holder.txn.id == txn {
                    holder.lock = None;
                }
            });
        }
    }

    /// The coordinator of `txn` was alive at `active`.
    pub fn heard_of(&self, txn: TxnId, active: Timestamp) {
        if let Some(known) = self.inner.lock().by_txn.get_mut(&txn) {
            known.active.forward(active);
        }
    }

    /// Applies `f` to the holders of `key`, drops those that hold nothing, and lets waiters go on.
    fn change(&self, inner: &mut Inner, key: &Key, f: impl Fn(&mut Holder)) {
        let Some(queue) = inner.queues.get_mut(key) else { return };
        queue.holders.iter_mut().for_each(f);
        let gone: SmallVec<[TxnId; 1]> = queue
            .holders
            .iter()
            .filter(|h| h.lock.is_none() && h.intent.is_none())
            .map(|h| h.txn.id)
            .collect();
        queue.holders.retain(|h| h.lock.is_some() || h.intent.is_some());
        queue.wake();
        for txn in gone {
            if let Some(known) = inner.by_txn.get_mut(&txn) {
                known.keys.remove(key);
                if known.keys.is_empty() {
                    inner.by_txn.remove(&txn);
                }
            }
        }
        self.tidy(inner, key);
    }

    fn leave(&self, key: &Key, place: u64) {
        let mut inner = self.inner.lock();
        let Some(queue) = inner.queues.get_mut(key) else { return };
        queue.waiters.retain(|w| w.place != place);
        queue.wake();
        self.tidy(&mut inner, key);
    }

    fn tidy(&self, inner: &mut Inner, key: &Key) {
        if inner.queues.get(key).is_some_and(|q| q.holders.is_empty() && q.waiters.is_empty()) {
            inner.queues.remove(key);
            self.keys.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Forgets all locks; whoever waits, or comes later, is told `why`. The range is served elsewhere.
    pub fn close(&self, why: KvError) {
        let mut inner = self.inner.lock();
        inner.closed = Some(why.clone());
        inner.by_txn.clear();
        let queues = std::mem::take(&mut inner.queues);
        self.keys.store(0, Ordering::SeqCst);
        for waiter in queues.into_values().flat_map(|q| q.waiters) {
            probe!("lock: the lease is lost under a waiter");
            waiter.slot.fail(why.clone());
        }
    }

    /// Moves the holders of all keys from `at` on to a new table. Their waiters are woken: they will find that the range
    /// has ended, and ask the new one.
    pub fn split_off(&self, at: &Key) -> Arc<LockTable> {
        let right = LockTable::default();
        let mut inner = self.inner.lock();
        let moved = inner.queues.split_off(at);
        self.keys.fetch_sub(moved.len(), Ordering::SeqCst);
        let mut theirs = right.inner.lock();
        for (key, queue) in moved {
            for waiter in queue.waiters {
                probe!("lock: the range is split under a waiter");
                waiter.slot.retry();
            }
            if queue.holders.is_empty() {
                continue;
            }
            for holder in &queue.holders {
                let Some(ours) = inner.by_txn.get_mut(&holder.txn.id) else { continue };
                ours.keys.remove(&key);
                let known = theirs.by_txn.entry(holder.txn.id).or_default();
                known.active = ours.active;
                known.keys.insert(key.clone());
            }
            theirs.queues.insert(key, Queue { holders: queue.holders, waiters: VecDeque::new() });
        }
        inner.by_txn.retain(|_, known| !known.keys.is_empty());
        right.keys.store(theirs.queues.len(), Ordering::SeqCst);
        drop(theirs);
        Arc::new(right)
    }

    /// Intents that `txn` is known to have in this range.
    pub fn intents_of(&self, txn: TxnId) -> Vec<Key> {
        let inner = self.inner.lock();
        let has_intent = |key: &&Key| {
            inner
                .queues
                .get(*key)
                .is_some_and(|q| q.holders.iter().any(|h| h.txn.id == txn && h.intent.is_some()))
        };
        inner.by_txn.get(&txn).into_iter().flat_map(|known| &known.keys).filter(has_intent).cloned().collect()
    }

    /// How many locks are held, and how many requests wait.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        inner
            .queues
            .values()
            .fold((0, 0), |(h, w), q| (h + q.holders.len() as u64, w + q.waiters.len() as u64))
    }

    /// The table as text, for tests and for the console: keys in order, holders, then waiters in order.
    pub fn describe(&self, span: Option<&Span>) -> String {
        use std::fmt::Write;
        let inner = self.inner.lock();
        let mut out = String::new();
        let lower = span.map_or(Bound::Unbounded, |s| Bound::Included(s.start.clone()));
        for (key, queue) in inner.queues.range((lower, Bound::Unbounded)) {
            if span.is_some_and(|s| *key >= s.end) {
                break;
            }
            let _ = writeln!(out, "{key}");
            for h in &queue.holders {
                let _ = write!(out, "  held by {:?}", h.txn.id);
                if let Some(strength) = h.lock {
                    let _ = write!(out, " {strength:?}");
                }
                if let Some((ts, strength)) = h.intent {
                    let _ = write!(out, " intent at {} ({strength:?})", ts.wall);
                }
                let _ = writeln!(out);
            }
            for w in &queue.waiters {
                let _ = match w.want {
                    Want::Read(at) => write!(out, "  read at {}", at.wall),
                    Want::Lock(strength) => write!(out, "  wants {strength:?}"),
                };
                if let Some(txn) = &w.txn {
                    let _ = write!(out, " {:?}", txn.id);
                }
                let _ = writeln!(out, "{}", if w.slot.signal.is_set() { " (may go on)" } else { "" });
            }
        }
        out
    }
}

impl Inner {
    /// The keys, in the span if there is one, on which `txn` may hold something.
    fn keys_of(&self, txn: TxnId, span: Option<&Span>) -> Vec<Key> {
        let Some(Known { keys, .. }) = self.by_txn.get(&txn) else { return Vec::new() };
        match span {
            None => keys.iter().cloned().collect(),
            Some(span) => keys.range(span.start.clone()..span.end.clone()).cloned().collect(),
        }
    }
}

impl Queue {
    /// Whether there is any blocker: as [`blockers`](Self::blockers), but stops at the first.
    fn blocked(&self, want: Want, me: Option<TxnId>, place: u64) -> bool {
        let other = |id: TxnId| Some(id) != me;
        if self.holders.iter().any(|h| other(h.txn.id) && h.blocks(want)) {
            return true;
        }
        let Want::Lock(strength) = want else { return false };
        if me.is_some() && self.holders.iter().any(|h| !other(h.txn.id)) {
            return false;
        }
        self.waiters.iter().take_while(|w| w.place < place).any(|w| {
            matches!((&w.txn, w.want), (Some(txn), Want::Lock(wanted))
                if other(txn.id) && wanted.conflicts(strength))
        })
    }

    fn blockers(
        &self,
        want: Want,
        me: Option<TxnId>,
        place: u64,
        known: &FxHashMap<TxnId, Known>,
    ) -> Vec<Blocker> {
        let other = |id: TxnId| Some(id) != me;
        let holders = self.holders.iter().filter(|h| other(h.txn.id) && h.blocks(want)).map(|h| Blocker {
            txn: h.txn.clone(),
            active: known.get(&h.txn.id).map_or(Timestamp::ZERO, |known| known.active),
            waits_itself: false,
            intent: h.intent.map(|(ts, _)| ts),
        });
        let mut found: Vec<Blocker> = holders.collect();
        let Want::Lock(strength) = want else { return found };
        if me.is_some() && self.holders.iter().any(|h| !other(h.txn.id)) {
            return found;
        }
        for waiter in self.waiters.iter().take_while(|w| w.place < place) {
            let (Some(txn), Want::Lock(wanted)) = (&waiter.txn, waiter.want) else { continue };
            if other(txn.id) && wanted.conflicts(strength) && !found.iter().any(|b| b.txn.id == txn.id) {
                let active = txn.min_ts;
                found.push(Blocker { txn: txn.clone(), active, waits_itself: true, intent: None });
            }
        }
        found
    }

    /// Wakes everybody in the queue for whom nothing is in the way.
    fn wake(&self) {
        for waiter in &self.waiters {
            let me = waiter.txn.as_ref().map(|t| t.id);
            if !waiter.slot.signal.is_set() && !self.blocked(waiter.want, me, waiter.place) {
                waiter.slot.retry();
            }
        }
    }
}
