//! The catalog among several nodes: how a change on one node waits for the users of a table on all the others.
//!
//! Every node holds a *lease* on the catalog that it uses (`system/catalog_lease/<node>`), renewed now and then, and looks
//! at the stored catalog several times a second. A change of a table's descriptor, besides closing the table's gate
//! on its own node, writes a *closure* (`system/catalog_closure/<table>`). The others close their gates when they see it, and
//! acknowledge it in their leases once nobody uses the table any more; only then does the change go on. The
//! transaction that makes the change removes the closure, so that the others see both at once: they load the new catalog
//! first and open their gates then.
//!
//! What must stay true:
//! - A node uses tables only under a lease that has not expired, by its own monotonic clock counted from before the
//!   renewal. So a node that does not answer can be left out once its lease has expired by everybody's clock.
//! - The lease of a new node and a closure cannot miss each other: each is written by a transaction that reads the others.
//! - A closure whose node is dead, or has started again, is removed by whoever meets it; a change commits only if its
//!   closure is still there.
//!
//! Not covered: a node that is paused between the check of its lease and its commit, for longer than the lease lasts.
//! That needs a deadline on commits, which the transaction layer does not have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meridian_storage::base::{Key, NodeId, Span, Timestamp, keys};
use meridian_txn::{Db, LockStrength, ScanOptions, Txn, TxnOptions, WaitPolicy};
use rustc_hash::FxHashMap;

use super::codec::{self, Stored};
use super::gate::{Slot, timed_out};
use super::{CatalogCache, TableId, store};
use crate::error::{SqlError, SqlResult, state};

/// How long a lease lasts without renewal.
const LEASE: Duration = Duration::from_secs(15);
/// A lease is renewed when it is this old.
const RENEW: Duration = Duration::from_secs(5);
/// How often a node looks at the stored catalog.
pub const PERIOD: Duration = Duration::from_millis(300);
/// How often a change looks whether the others are ready.
const POLL: Duration = Duration::from_millis(50);
/// A change that has waited for so long gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// One closing of one table: 128 random bits, in two halves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClosureId(u64, u64);

struct Lease {
    /// Nanoseconds since the Unix epoch.
    expires: u64,
    /// The version mark that the node has loaded, and as of when that was the newest.
    mark: Vec<u8>,
    loaded: Timestamp,
    acknowledged: Vec<ClosureId>,
}

struct Closure {
    id: ClosureId,
    node: NodeId,
}

impl Stored for ClosureId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        Ok(ClosureId(Stored::take(input)?, Stored::take(input)?))
    }
}

impl Stored for Lease {
    fn put(&self, out: &mut Vec<u8>) {
        self.expires.put(out);
        self.mark.put(out);
        self.loaded.wall.put(out);
        self.loaded.logical.put(out);
        self.acknowledged.put(out);
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        let (expires, mark) = (Stored::take(input)?, Stored::take(input)?);
        let loaded = Timestamp::new(Stored::take(input)?, Stored::take(input)?);
        Ok(Lease { expires, mark, loaded, acknowledged: Stored::take(input)? })
    }
}

impl Stored for Closure {
    fn put(&self, out: &mut Vec<u8>) {
        self.id.put(out);
        self.node.0.put(out);
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        Ok(Closure { id: Stored::take(input)?, node: NodeId(Stored::take(input)?) })
    }
}

fn lease_key(node: NodeId) -> Key {
    keys::system_key("catalog_lease", &node.0.to_be_bytes())
}

fn closure_key(table: TableId) -> Key {
    keys::system_key("catalog_closure", &table.0.to_be_bytes())
}

/// What this node knows of its own lease.
#[derive(Default)]
pub struct Membership {
    /// On the monotonic clock, nanoseconds.
    valid_until: AtomicU64,
    last: tokio::sync::Mutex<LastRenewal>,
}

#[derive(Default)]
struct LastRenewal {
    at: Option<Duration>,
    /// Of the catalog that the lease says is loaded.
    version: u64,
    acknowledged: Vec<ClosureId>,
}

/// The number at the end of a key with a 32-bit suffix.
fn suffix(key: &[u8]) -> SqlResult<u32> {
    let bytes = key.last_chunk::<4>();
    bytes
        .map(|b| u32::from_be_bytes(*b))
        .ok_or_else(|| SqlError::new(state::DATA_CORRUPTED, "invalid catalog key"))
}

async fn read_all<T: Stored>(txn: &Txn, name: &str) -> SqlResult<BTreeMap<u32, T>> {
    let mut scanner = txn.scan(Span::prefix(keys::system_key(name, b"")), ScanOptions::default());
    let mut all = BTreeMap::new();
    while let Some(block) = scanner.next_block().await? {
        for (key, value) in block.iter() {
            all.insert(suffix(key)?, codec::decode(value)?);
        }
    }
    Ok(all)
}

fn reader(db: &Db) -> Txn {
    db.begin(TxnOptions { read_only: true, ..Default::default() })
}

/// The leases of other nodes that may be in use, by anybody's clock.
async fn others(db: &Db, txn: &Txn) -> SqlResult<Vec<(u32, Lease)>> {
    let leases: BTreeMap<u32, Lease> = read_all(txn, "catalog_lease").await?;
    let now = db.clock().wall_ns().saturating_sub(db.clock().max_offset().as_nanos() as u64);
    Ok(leases.into_iter().filter(|(node, lease)| *node != db.node().0 && lease.expires >= now).collect())
}

async fn others_now(db: &Db) -> SqlResult<Vec<(u32, Lease)>> {
    store::transact(db, |txn| async move { others(db, &txn).await }).await
}

impl CatalogCache {
    /// Whether the node may use tables now.
    pub(super) fn lease_holds(&self) -> bool {
        let now = self.db().clock().monotonic().as_nanos() as u64;
        now < self.membership().valid_until.load(Ordering::Acquire)
    }

    /// Sees to it that the node may use tables: waits for what others have closed meanwhile.
    pub(super) async fn ensure_lease(&self) -> SqlResult<()> {
        if self.lease_holds() {
            return Ok(());
        }
        let deadline = self.db().clock().monotonic() + PATIENCE;
        while !self.lease_holds() {
            match self.keep_up().await {
                Err(e)
                    if e.code() == state::CANNOT_CONNECT_NOW && self.db().clock().monotonic() < deadline =>
                {
                    self.db().runtime().sleep(POLL).await;
                }
                done => return done,
            }
        }
        Ok(())
    }

    /// Looks at the stored catalog: loads it if it has changed, closes and opens gates as other nodes ask, and renews
    /// the lease. To be called every [`PERIOD`].
    pub async fn keep_up(&self) -> SqlResult<()> {
        let mut last = self.membership().last.lock().await;
        let remote = self.closures_of_others().await?;
        // New closures take effect before anything is loaded, ended ones after it.
        self.gates.add_remote(&remote);
        self.refresh().await?;
        self.gates.set_remote(&remote);
        let mut acknowledged: Vec<ClosureId> =
            remote.iter().filter(|(table, _)| self.gates.is_drained(**table)).map(|(_, id)| *id).collect();
        acknowledged.sort_unstable();
        let started = self.db().clock().monotonic();
        let fresh = last.at.is_some_and(|at| started.saturating_sub(at) < RENEW);
        let version = self.version();
        // Somebody waits for what has changed.
        if fresh && acknowledged == last.acknowledged && version == last.version {
            return Ok(());
        }
        self.renew(&acknowledged).await?;
        last.at = Some(started);
        last.version = version;
        last.acknowledged = acknowledged;
        let until = started + LEASE - self.db().clock().max_offset().min(LEASE / 2);
        self.membership().valid_until.store(until.as_nanos() as u64, Ordering::Release);
        Ok(())
    }

    /// What living nodes keep closed. What dead ones have left is removed.
    async fn closures_of_others(&self) -> SqlResult<FxHashMap<TableId, ClosureId>> {
        let closures: BTreeMap<u32, Closure> = read_all(&reader(self.db()), "catalog_closure").await?;
        let mut remote = FxHashMap::default();
        let mut living = None;
        for (table, closure) in closures {
            if closure.node == self.db().node() {
                continue;
            }
            let living = match &living {
                Some(living) => living,
                None => living.insert(others_now(self.db()).await?),
            };
            let (table, id) = (TableId(table), closure.id);
            if living.iter().any(|(node, _)| *node == closure.node.0) {
                remote.insert(table, id);
                continue;
            }
            // Not waiting: the lease is at stake. Who holds the key may be committing its change, so that the table stays
            // closed until it is known how that went.
            match remove_closure(self.db(), table, id, WaitPolicy::NoWait).await {
                Err(e) if e.code() == state::LOCK_NOT_AVAILABLE => {
                    remote.insert(table, id);
                }
                removed => removed?,
            }
        }
        Ok(remote)
    }

    /// Removes what this node kept closed when it last stopped. To be called before any session begins.
    pub(super) async fn end_former_closures(&self) -> SqlResult<()> {
        let closures: BTreeMap<u32, Closure> = read_all(&reader(self.db()), "catalog_closure").await?;
        for (table, closure) in closures {
            if closure.node == self.db().node() {
                remove_closure(self.db(), TableId(table), closure.id, WaitPolicy::Block).await?;
            }
        }
        Ok(())
    }

    async fn renew(&self, acknowledged: &[ClosureId]) -> SqlResult<()> {
        let db = self.db();
        let (mark, loaded) = self.loaded().await;
        let lease = Lease {
            expires: db.clock().wall_ns() + LEASE.as_nanos() as u64,
            mark,
            loaded,
            acknowledged: acknowledged.to_vec(),
        };
        let bytes = codec::encode(&lease);
        let known = self.gates.remote_closures();
        store::transact(db, |txn| {
            let (key, bytes, known) = (lease_key(db.node()), bytes.clone(), known.clone());
            let without_lease = !self.lease_holds();
            async move {
                if without_lease {
                    // A new node, or one that was left out: a closure that it has not seen may have missed it.
                    let closures: BTreeMap<u32, Closure> = read_all(&txn, "catalog_closure").await?;
                    let unseen = closures.values().any(|c| c.node != db.node() && !known.contains(&c.id));
                    if unseen {
                        return Err(SqlError::new(state::CANNOT_CONNECT_NOW, "the catalog is being changed")
                            .with_hint("Try again."));
                    }
                }
                txn.put(key, bytes.into());
                Ok(())
            }
        })
        .await
    }

    /// Closes a table on all other nodes and waits until none of them uses it. Its gate on this node is closed.
    pub(super) async fn close_elsewhere(
        &self,
        table: TableId,
        lock_timeout: Option<Duration>,
    ) -> SqlResult<ClosureId> {
        let runtime = self.db().runtime().clone();
        let id = ClosureId(runtime.random(), runtime.random());
        let closing = Closing { db: self.db().clone(), table, id, ended: false };
        let began = self.db().clock().monotonic();
        // Others open what is kept closed without a lease.
        self.ensure_lease().await?;
        while !self.try_write_closure(table, id).await? {
            self.wait_or_give_up(began, lock_timeout).await?;
        }
        loop {
            let Some(waiting) = self.others_unless_open(table, id).await? else {
                return Err(super::session::changed());
            };
            if waiting.iter().all(|(_, lease)| lease.acknowledged.contains(&id)) {
                return Ok(closing.done());
            }
            self.wait_or_give_up(began, lock_timeout).await?;
        }
    }

    async fn wait_or_give_up(&self, began: Duration, lock_timeout: Option<Duration>) -> SqlResult<()> {
        let waited = self.db().clock().monotonic().saturating_sub(began);
        if lock_timeout.is_some_and(|limit| waited >= limit) {
            return Err(timed_out());
        }
        if waited > PATIENCE {
            return Err(timed_out()
                .with_detail("Transactions on other nodes have been using the table for too long.")
                .with_hint("End the transactions that use the table, then try again."));
        }
        self.db().runtime().sleep(POLL).await;
        Ok(())
    }

    /// The others' leases; `None` if somebody has removed the closure.
    async fn others_unless_open(
        &self,
        table: TableId,
        id: ClosureId,
    ) -> SqlResult<Option<Vec<(u32, Lease)>>> {
        store::transact(self.db(), |txn| async move {
            let held = txn.get(&closure_key(table)).await?;
            let held: Option<Closure> = held.map(|bytes| codec::decode(&bytes)).transpose()?;
            match held.is_some_and(|held| held.id == id) {
                true => others(self.db(), &txn).await.map(Some),
                false => Ok(None),
            }
        })
        .await
    }

    /// False while a living node holds the table closed.
    async fn try_write_closure(&self, table: TableId, id: ClosureId) -> SqlResult<bool> {
        let db = self.db();
        store::transact(db, |txn| async move {
            let key = closure_key(table);
            let living = others(db, &txn).await?;
            let held = txn.get_locked(&key, LockStrength::Update, WaitPolicy::Block).await?;
            if let Some(held) = held {
                let held: Closure = codec::decode(&held)?;
                if living.iter().any(|(node, _)| *node == held.node.0) {
                    return Ok(false);
                }
            }
            txn.put(key, codec::encode(&Closure { id, node: db.node() }).into());
            Ok(true)
        })
        .await
    }

    /// Within the transaction that makes the change: ends the closure with it, if it is still there.
    pub(super) async fn end_closure(&self, txn: &Txn, table: TableId, id: ClosureId) -> SqlResult<()> {
        if !self.holds_closure(txn, table, id).await? {
            return Err(super::session::changed());
        }
        self.delete_closure(txn, table);
        Ok(())
    }

    /// Within the transaction that makes the change and has seen that the closure is still there.
    pub(super) fn delete_closure(&self, txn: &Txn, table: TableId) {
        txn.delete(closure_key(table));
    }

    /// Whether a closure is still there, as it is until the transaction ends: not if this node was taken for dead.
    pub(super) async fn holds_closure(&self, txn: &Txn, table: TableId, id: ClosureId) -> SqlResult<bool> {
        let held = txn.get_locked(&closure_key(table), LockStrength::Update, WaitPolicy::Block).await?;
        let held: Option<Closure> = held.map(|bytes| codec::decode(&bytes)).transpose()?;
        Ok(held.is_some_and(|held| held.id == id))
    }

    /// Ends a closure whose transaction has changed nothing.
    pub(super) async fn remove_closure(&self, table: TableId, id: ClosureId) -> SqlResult<()> {
        remove_closure(self.db(), table, id, WaitPolicy::Block).await
    }

    /// Waits until every other node knows the newest catalog, or has lost its lease.
    pub(super) async fn wait_until_known(&self) -> SqlResult<()> {
        let deadline = self.db().clock().monotonic() + LEASE;
        while self.db().clock().monotonic() < deadline {
            let (mark, loaded) = self.loaded().await;
            let others = others_now(self.db()).await?;
            if others.iter().all(|(_, lease)| lease.mark == mark || lease.loaded >= loaded) {
                return Ok(());
            }
            self.db().runtime().sleep(POLL).await;
            self.refresh().await?;
        }
        Ok(())
    }
}

/// A closure that is being made. If nothing comes of it - an error, a cancelled statement, a client that is gone - it is
/// removed: nobody else may do that while this node lives.
struct Closing {
    db: Db,
    table: TableId,
    id: ClosureId,
    ended: bool,
}

impl Closing {
    fn done(mut self) -> ClosureId {
        self.ended = true;
        self.id
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.ended {
            remove_closure_later(&self.db, self.table, self.id);
        }
    }
}

/// Removes a closure in the background, however long that takes.
pub(super) fn remove_closure_later(db: &Db, table: TableId, id: ClosureId) {
    let task = {
        let db = db.clone();
        async move { remove_closure_at_last(&db, table, id).await }
    };
    db.runtime().spawn("end closure", Box::pin(task));
}

/// Ends a closure in the background, then opens the gate. The change may still be about to be committed, or be committed and
/// not be known here: with the closure goes whatever has not been committed by then.
pub(super) fn open_when_settled(cache: &Arc<CatalogCache>, gate: Slot, table: TableId, id: ClosureId) {
    let task = {
        let cache = cache.clone();
        async move {
            remove_closure_at_last(cache.db(), table, id).await;
            while cache.refresh().await.is_err() {
                cache.db().runtime().sleep(PERIOD).await;
            }
            cache.gates.open(&gate, table);
        }
    };
    cache.db().runtime().spawn("open table", Box::pin(task));
}

async fn remove_closure_at_last(db: &Db, table: TableId, id: ClosureId) {
    let mut told = false;
    // Gone already if the transaction has committed; nobody knows that after an ambiguous error.
    while let Err(error) = remove_closure(db, table, id, WaitPolicy::Block).await {
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%error, table = table.0, "other transactions cannot be let at a table again yet");
        }
        db.runtime().sleep(PERIOD).await;
    }
}

async fn remove_closure(db: &Db, table: TableId, id: ClosureId, wait: WaitPolicy) -> SqlResult<()> {
    store::transact(db, |txn| async move {
        let key = closure_key(table);
        let held = txn.get_locked(&key, LockStrength::Update, wait).await?;
        let held: Option<Closure> = held.map(|bytes| codec::decode(&bytes)).transpose()?;
        if held.is_some_and(|held| held.id == id) {
            txn.delete(key);
        }
        Ok(())
    })
    .await
}
