//! Pins and gates: who uses a table, and how a change of its descriptor waits for them.
//!
//! Statements pin tables until their transaction ends, with no shared memory written but the session's own slot. A change
//! closes the table's gate and then looks through all slots.
//!
//! What must stay true: a pin first writes its slot and then looks at the gates; a close first shuts the gate and then
//! looks at the slots. So of a pin and a close at the same time at least one sees the other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use meridian_storage::base::Runtime;
use meridian_storage::base::runtime::timeout;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::TableId;
use super::cluster::ClosureId;
use crate::error::{SqlError, SqlResult, state};

/// A change that has waited for so long gives up: who holds the pin may be waiting for us.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);
/// So does a transaction that waits at a gate and itself has what the change may be waiting for. The detection of
/// deadlocks knows nothing of gates.
const PIN_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Gates {
    /// How many are closed: nearly always none, and then a pin looks no further.
    closed_count: AtomicUsize,
    /// On this node, by whom.
    closed: Mutex<FxHashMap<TableId, u64>>,
    /// By other nodes.
    remote: Mutex<FxHashMap<TableId, ClosureId>>,
    slots: Mutex<Vec<Arc<Slot>>>,
    next_slot: AtomicU64,
    /// A gate has opened, or a pin has gone while a gate was closed.
    changed: Notify,
}

/// The pins of one session.
pub struct Slot {
    id: u64,
    tables: Mutex<SmallVec<[TableId; 8]>>,
}

impl Slot {
    fn holds(&self, table: TableId) -> bool {
        self.tables.lock().contains(&table)
    }
}

impl Gates {
    pub fn add_slot(&self) -> Arc<Slot> {
        let slot = Arc::new(self.new_slot());
        self.slots.lock().push(slot.clone());
        slot
    }

    fn new_slot(&self) -> Slot {
        let id = self.next_slot.fetch_add(1, Ordering::Relaxed) + 1;
        Slot { id, tables: Mutex::default() }
    }

    pub fn remove_slot(&self, slot: &Slot) {
        self.unpin_all(slot);
        self.slots.lock().retain(|s| s.id != slot.id);
    }

    /// Pins a table unless its gate is closed; true if it is pinned.
    pub fn try_pin(&self, slot: &Slot, table: TableId) -> bool {
        {
            let mut tables = slot.tables.lock();
            if tables.contains(&table) {
                return true;
            }
            tables.push(table);
        }
        fence(Ordering::SeqCst);
        if self.closed_count.load(Ordering::SeqCst) == 0 {
            return true;
        }
        if !self.closed_to(slot, table) {
            return true;
        }
        slot.tables.lock().retain(|t| *t != table);
        self.changed.notify_waiters();
        false
    }

    /// As [`try_pin`](Self::try_pin), waiting for the gate to open: as long as it takes, unless the transaction has a
    /// lock timeout, or `holds` something that others may be waiting for.
    pub async fn pin(
        &self,
        runtime: &dyn Runtime,
        slot: &Slot,
        table: TableId,
        lock_timeout: Option<Duration>,
        holds: bool,
    ) -> SqlResult<()> {
        let pin = self.pin_when_open(slot, table);
        let patience = holds.then_some(PIN_PATIENCE);
        within(runtime, lock_timeout, patience, pin, &BEING_CHANGED).await
    }

    async fn pin_when_open(&self, slot: &Slot, table: TableId) {
        loop {
            let changed = self.changed.notified();
            futures::pin_mut!(changed);
            changed.as_mut().enable();
            if self.closed_to(slot, table) {
                changed.await;
            } else if self.try_pin(slot, table) {
                return;
            }
        }
    }

    fn closed_to(&self, slot: &Slot, table: TableId) -> bool {
        self.closed.lock().get(&table).is_some_and(|owner| *owner != slot.id)
            || self.remote.lock().contains_key(&table)
    }

    pub fn unpin_all(&self, slot: &Slot) {
        slot.tables.lock().clear();
        fence(Ordering::SeqCst);
        if self.closed_count.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Closes a table's gate for everybody but `slot` and waits until nobody else has it pinned. Idempotent. If it fails,
    /// or is dropped, the gate may be closed.
    pub async fn close(
        &self,
        runtime: &dyn Runtime,
        slot: &Slot,
        table: TableId,
        lock_timeout: Option<Duration>,
    ) -> SqlResult<()> {
        let close = self.close_and_drain(slot, table);
        within(runtime, lock_timeout, Some(CLOSE_PATIENCE), close, &BEING_USED).await
    }

    async fn close_and_drain(&self, slot: &Slot, table: TableId) {
        loop {
            let changed = self.changed.notified();
            futures::pin_mut!(changed);
            changed.as_mut().enable();
            let mine = {
                let mut closed = self.closed.lock();
                match closed.get(&table) {
                    None => {
                        closed.insert(table, slot.id);
                        self.closed_count.fetch_add(1, Ordering::SeqCst);
                        true
                    }
                    Some(owner) => *owner == slot.id,
                }
            };
            fence(Ordering::SeqCst);
            if mine && !self.pinned_by_another(slot, table) {
                return;
            }
            changed.await;
        }
    }

    fn pinned_by_another(&self, slot: &Slot, table: TableId) -> bool {
        self.slots.lock().iter().any(|s| s.id != slot.id && s.holds(table))
    }

    /// Whether nobody on this node uses the table.
    pub fn is_drained(&self, table: TableId) -> bool {
        fence(Ordering::SeqCst);
        !self.slots.lock().iter().any(|s| s.holds(table))
    }

    /// Closes what other nodes have closed; opens nothing.
    pub fn add_remote(&self, closures: &FxHashMap<TableId, ClosureId>) {
        let mut remote = self.remote.lock();
        for (table, id) in closures {
            if remote.insert(*table, *id).is_none() {
                self.closed_count.fetch_add(1, Ordering::SeqCst);
            }
        }
        fence(Ordering::SeqCst);
    }

    /// Opens what other nodes no longer keep closed.
    pub fn set_remote(&self, closures: &FxHashMap<TableId, ClosureId>) {
        let mut remote = self.remote.lock();
        let before = remote.len();
        remote.retain(|table, _| closures.contains_key(table));
        self.closed_count.fetch_sub(before - remote.len(), Ordering::SeqCst);
        drop(remote);
        self.changed.notify_waiters();
    }

    pub fn remote_closures(&self) -> Vec<ClosureId> {
        self.remote.lock().values().copied().collect()
    }

    /// Keeps closed, to `slot` too, a gate that it has closed, until what this returns opens it.
    pub fn hand_over(&self, slot: &Slot, table: TableId) -> Slot {
        let heir = self.new_slot();
        if let Some(owner) = self.closed.lock().get_mut(&table).filter(|owner| **owner == slot.id) {
            *owner = heir.id;
        }
        heir
    }

    /// Opens a gate that `slot` has closed.
    pub fn open(&self, slot: &Slot, table: TableId) {
        let mut closed = self.closed.lock();
        if closed.get(&table) == Some(&slot.id) {
            closed.remove(&table);
            self.closed_count.fetch_sub(1, Ordering::SeqCst);
        }
        drop(closed);
        self.changed.notify_waiters();
    }
}

/// Why it took too long, and what to do: detail and hint.
type Reason = (&'static str, &'static str);

const BEING_CHANGED: Reason = (
    "Another transaction has been changing the table for too long.",
    "End the transaction that changes the table, then try again.",
);
const BEING_USED: Reason = (
    "Other transactions have been using the table for too long.",
    "End the transactions that use the table, then try again.",
);

/// Waits no longer than the lock timeout and our own patience, of which only the latter needs a reason.
async fn within(
    runtime: &dyn Runtime,
    lock_timeout: Option<Duration>,
    patience: Option<Duration>,
    work: impl Future<Output = ()>,
    reason: &Reason,
) -> SqlResult<()> {
    let Some(limit) = lock_timeout.into_iter().chain(patience).min() else {
        work.await;
        return Ok(());
    };
    match timeout(runtime, limit, work).await {
        Some(()) => Ok(()),
        None if lock_timeout == Some(limit) => Err(timed_out()),
        None => Err(timed_out().with_detail(reason.0).with_hint(reason.1)),
    }
}

pub(super) fn timed_out() -> SqlError {
    SqlError::new(state::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::executor::block_on;
    use meridian_storage::base::BoxFuture;

    use super::*;

    struct NoTime;
    impl Runtime for NoTime {
        fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}
        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(futures::future::pending())
        }
        fn random(&self) -> u64 {
            0
        }
    }

    const T: TableId = TableId(1);

    #[test]
    fn a_close_waits_for_pins_and_holds_up_new_ones() {
        let gates = Gates::default();
        let (reader, changer, late) = (gates.add_slot(), gates.add_slot(), gates.add_slot());
        assert!(gates.try_pin(&reader, T));
        assert!(gates.try_pin(&changer, T), "the changer may use the table itself");
        let mut close = gates.close(&NoTime, &changer, T, None).boxed();
        assert!((&mut close).now_or_never().is_none());
        let mut pin = gates.pin(&NoTime, &late, T, None, false).boxed();
        assert!((&mut pin).now_or_never().is_none(), "new users wait, so that the change is not starved");
        gates.unpin_all(&reader);
        block_on(close).unwrap();
        assert!((&mut pin).now_or_never().is_none());
        assert!(gates.try_pin(&reader, TableId(2)), "other tables are free");
        gates.open(&changer, T);
        block_on(pin).unwrap();
    }

    #[test]
    fn what_another_node_closes_is_closed_to_all() {
        let gates = Gates::default();
        let (reader, changer) = (gates.add_slot(), gates.add_slot());
        assert!(gates.try_pin(&reader, T));
        let closures = FxHashMap::from_iter([(T, ClosureId::default())]);
        gates.add_remote(&closures);
        assert!(!gates.is_drained(T));
        gates.unpin_all(&reader);
        assert!(gates.is_drained(T));
        assert!(!gates.try_pin(&reader, T));
        assert!(gates.is_drained(T), "a refused pin leaves nothing behind");
        block_on(gates.close(&NoTime, &changer, T, None)).unwrap();
        assert!(!gates.try_pin(&changer, T));
        gates.set_remote(&FxHashMap::default());
        assert!(gates.try_pin(&changer, T));
        assert!(!gates.try_pin(&reader, T));
        gates.open(&changer, T);
        assert!(gates.try_pin(&reader, T));
    }

    #[test]
    fn two_changes_of_a_table_go_one_after_the_other() {
        let gates = Gates::default();
        let (a, b) = (gates.add_slot(), gates.add_slot());
        block_on(gates.close(&NoTime, &a, T, None)).unwrap();
        block_on(gates.close(&NoTime, &a, T, None)).unwrap();
        let mut second = gates.close(&NoTime, &b, T, None).boxed();
        assert!((&mut second).now_or_never().is_none());
        gates.open(&a, T);
        block_on(second).unwrap();
        gates.open(&a, T);
        assert!(!gates.try_pin(&a, T), "a gate is opened by who closed it");
    }
}
