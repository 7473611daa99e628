//! The node's copy of the catalog: the newest version that it knows, shared by all its sessions.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use meridian_storage::base::Timestamp;
use meridian_txn::{Db, TxnOptions};
use parking_lot::{Mutex, RwLock};

use super::cluster::{Membership, PERIOD};
use super::gate::Gates;
use super::past::Pasts;
use super::sequence::Sequences;
use super::{Catalog, TableId, store};
use crate::error::{SqlResult, state};
use crate::types::Oid;

/// OIDs are taken from the cluster's counter in blocks of so many.
const OID_BLOCK: u64 = 64;

/// How often a load is begun again because somebody has changed what it had read.
const REFRESH_ATTEMPTS: u32 = 20;

type Loaded = (Option<Bytes>, Timestamp);

pub struct CatalogCache {
    db: Db,
    current: RwLock<Arc<Catalog>>,
    /// `current`'s version, readable without its lock.
    version: AtomicU64,
    /// The stored version mark that `current` belongs to, and when it was last seen to be the newest. Held over a load,
    /// so that loads go one after the other.
    loaded: tokio::sync::Mutex<Loaded>,
    membership: Membership,
    oids: Mutex<Range<u64>>,
    pub(super) gates: Gates,
    sequences: Sequences,
    pasts: Pasts,
}

impl CatalogCache {
    /// Opens the catalog of a cluster, a new one if there is none.
    pub async fn open(db: Db) -> SqlResult<Arc<Self>> {
        store::bootstrap(&db).await?;
        let cache = Arc::new(CatalogCache {
            sequences: Sequences::new(db.clone()),
            db,
            current: RwLock::default(),
            version: AtomicU64::new(0),
            loaded: tokio::sync::Mutex::default(),
            membership: Membership::default(),
            oids: Mutex::new(0..0),
            gates: Gates::default(),
            pasts: Pasts::default(),
        });
        cache.end_former_closures().await?;
        // A change of the catalog that is under way must have seen this node's lease, or the node the change.
        while let Err(error) = cache.keep_up().await {
            if error.code() != state::CANNOT_CONNECT_NOW {
                return Err(error);
            }
            cache.db.runtime().sleep(PERIOD).await;
        }
        Ok(cache)
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The newest version that this node knows.
    pub fn current(&self) -> Arc<Catalog> {
        self.current.read().clone()
    }

    /// Its number: one atomic load. Cached plans compare it with the version that they were made for.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The mark of the catalog that is loaded, and when it was last seen to be the newest.
    pub(super) async fn loaded(&self) -> (Vec<u8>, Timestamp) {
        let loaded = self.loaded.lock().await;
        (loaded.0.as_ref().map(|mark| mark.to_vec()).unwrap_or_default(), loaded.1)
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(super) fn pasts(&self) -> &Pasts {
        &self.pasts
    }

    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// Looks whether the stored catalog has changed, and loads it if so.
    pub async fn refresh(&self) -> SqlResult<Arc<Catalog>> {
        let mut loaded = self.loaded.lock().await;
        for _ in 1..REFRESH_ATTEMPTS {
            match self.load(&mut loaded).await {
                Err(e) if store::is_retryable(&e) => {}
                done => return done,
            }
        }
        self.load(&mut loaded).await
    }

    async fn load(&self, loaded: &mut Loaded) -> SqlResult<Arc<Catalog>> {
        let txn = self.db.begin(TxnOptions { read_only: true, ..Default::default() });
        let mark = txn.get(&store::version_key()).await?;
        if mark == loaded.0 && self.version() > 0 {
            loaded.1.forward(txn.read_timestamp());
            return Ok(self.current());
        }
        let mut catalog = store::load(&txn).await?;
        let before = self.current();
        catalog.version = before.version + 1;
        catalog.mark.clone_from(&mark);
        catalog.since = keep_unchanged(&before, &mut catalog, txn.read_timestamp());
        let catalog = Arc::new(catalog);
        *self.current.write() = catalog.clone();
        self.version.store(catalog.version, Ordering::Release);
        *loaded = (mark, txn.read_timestamp());
        Ok(catalog)
    }

    /// A new OID; also the id of a new table, schema or database.
    pub async fn new_oid(&self) -> SqlResult<Oid> {
        loop {
            if let Some(oid) = self.oids.lock().next() {
                return Ok(Oid(oid as u32));
            }
            let block = store::take_numbers(&self.db, "oid", Oid::FIRST_USER.0.into(), OID_BLOCK).await?;
            *self.oids.lock() = block;
        }
    }
}

/// Shares the descriptors that have not changed with the version before, and says since when the others are the newest.
fn keep_unchanged(before: &Catalog, after: &mut Catalog, now: Timestamp) -> BTreeMap<TableId, Timestamp> {
    let mut since = BTreeMap::new();
    for (id, table) in &mut after.tables {
        match before.tables.get(id) {
            Some(old) if old.version == table.version => {
                *table = old.clone();
                if let Some(at) = before.since.get(id) {
                    since.insert(*id, *at);
                }
            }
            // What was there when the node started is older than every transaction of the node.
            _ if before.version == 0 => {}
            _ => {
                since.insert(*id, now);
            }
        }
    }
    since
}
