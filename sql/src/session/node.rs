//! What all sessions of a node share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meridian_storage::base::{Clock, Runtime};
use meridian_txn::Db;
use parking_lot::Mutex;

use super::admission::Admission;
use crate::catalog::CatalogCache;

pub struct SqlNode {
    pub db: Db,
    pub catalog: Arc<CatalogCache>,
    /// The guarantee that SERIALIZABLE gives here: what `SHOW meridian.consistency` says.
    pub consistency: String,
    /// When the node started, microseconds since 2000-01-01 UTC.
    pub started: i64,
    /// Sessions for pg_stat_activity, by backend pid.
    pub sessions: Mutex<BTreeMap<u32, Arc<Activity>>>,
    pub counters: Counters,
    pub admission: Arc<Admission>,
}

/// What one session does, for others to see.
#[derive(Default)]
pub struct Activity {
    pub user: String,
    pub database: String,
    pub started: i64,
    /// The wall clock at the beginning of its open transaction, nanoseconds since the Unix epoch; 0 if there is none.
    /// What that transaction may read is not garbage.
    pub transaction: AtomicU64,
    pub now: Mutex<ActivityNow>,
}

/// A session among those of its node. Whichever way the session goes, it is not counted any more: a transaction that seemed open
/// for ever would keep garbage for ever.
pub(super) struct Registration {
    node: Arc<SqlNode>,
    pid: u32,
}

impl Registration {
    pub fn new(node: Arc<SqlNode>, pid: u32, activity: Arc<Activity>) -> Self {
        node.sessions.lock().insert(pid, activity);
        Registration { node, pid }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.node.sessions.lock().remove(&self.pid);
    }
}

#[derive(Default, Clone)]
pub struct ActivityNow {
    pub application: String,
    pub state: &'static str,
    pub query: Arc<str>,
    pub query_start: i64,
}

/// Counted for the metrics page.
#[derive(Default)]
pub struct Counters {
    pub statements: AtomicU64,
    /// Errors given to clients, by SQLSTATE.
    pub errors: Mutex<BTreeMap<&'static str, u64>>,
    pub commits: AtomicU64,
    pub rollbacks: AtomicU64,
    /// Serialization failures that were retried unseen.
    pub retries: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl SqlNode {
    /// A node that has just started, with no session, and no guarantee to speak of yet.
    pub fn new(db: Db, catalog: Arc<CatalogCache>) -> Self {
        SqlNode {
            db,
            catalog,
            consistency: String::new(),
            started: 0,
            sessions: Mutex::default(),
            counters: Counters::default(),
            admission: Arc::default(),
        }
    }

    /// When the oldest open transaction of the node began, nanoseconds since the Unix epoch.
    pub fn oldest_transaction(&self) -> Option<u64> {
        let sessions = self.sessions.lock();
        sessions.values().map(|a| a.transaction.load(Ordering::Relaxed)).filter(|began| *began > 0).min()
    }

    pub fn clock(&self) -> &Clock {
        self.db.clock()
    }

    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.db.runtime()
    }

    /// Whether the node's clock can be relied upon: what `SHOW meridian.clock` says.
    pub fn clock_state(&self) -> String {
        match self.clock().unsound() {
            None => "sound".into(),
            Some(reason) => format!("fenced: {reason}"),
        }
    }

    /// Microseconds since 2000-01-01 UTC.
    pub fn now(&self) -> i64 {
        (self.clock().wall_ns() / 1000) as i64 - POSTGRES_EPOCH_MICROS
    }
}

#[cfg(test)]
mod tests {
    use meridian_txn::testing::{SimRuntime, local_db};

    use super::*;
    use crate::testing::{connect, query};

    #[test]
    fn a_session_that_is_gone_keeps_no_garbage() {
        let runtime = SimRuntime::new(1);
        let (db, _) = local_db(&runtime);
        runtime.block_on(async {
            let catalog = CatalogCache::open(db.clone()).await.expect("an empty cluster");
            let node = Arc::new(SqlNode::new(db, catalog));
            let mut session = connect(node.clone()).await.expect("a session");
            query(&mut session, "begin; select 1").await.expect("a block");
            assert!(node.oldest_transaction().is_some());
            drop(session);
            assert_eq!(node.oldest_transaction(), None);
        });
        runtime.shut_down();
    }
}
