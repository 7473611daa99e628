//! A machine's disk: the files of the real log, simulated, and the state in memory beside them.
//!
//! What must stay true: whatever the disk gets wrong shows as an error of the layer that asked, and is never an answer. The
//! state is an engine that has checksums: of a damaged spot it says that it is damaged, and the spot stays so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use bytes::Bytes;
use meridian_storage::base::{Chance, NodeId, StorageError, StorageResult};
use meridian_storage::engine::{
    Cf, Engine, EngineIter, IterOptions, MemEngine, Reader, RowCache, Snapshot, WriteBatch,
};
use meridian_storage::files::simulated::Crash;
use meridian_storage::files::{Folder, SimFiles};
use meridian_storage::log::{DiskLog, DiskLogOptions, LogOwner};
use parking_lot::Mutex;

use super::machine::{CLUSTER, World};

/// Outlives the machine's processes.
pub struct Disk {
    node: NodeId,
    pub files: SimFiles,
    pub engine: MemEngine,
    /// Some of what lies on it is not what was written.
    rotten: AtomicBool,
    /// Keys of the state that cannot be read any more.
    damaged: Mutex<Option<Spot>>,
    /// How the first read of the state failed in this life of the machine, if one did.
    misread: Mutex<Option<StorageError>>,
    /// The same, in any machine of the run.
    misread_ever: Arc<AtomicBool>,
}

/// Some neighbouring keys.
#[derive(Clone, Debug)]
struct Spot {
    cf: Cf,
    first: Bytes,
    last: Bytes,
}

impl Spot {
    fn holds(&self, cf: Cf, key: &[u8]) -> bool {
        self.cf == cf && self.first <= *key && *key <= self.last
    }
}

impl Disk {
    /// An empty one, on which a log is founded.
    pub fn new(world: &World, node: NodeId, seed: u64) -> Arc<Self> {
        let files = SimFiles::new(world.runtime.clock(), seed);
        let disk = Arc::new(Disk {
            node,
            files: files.clone(),
            engine: MemEngine::new(),
            rotten: AtomicBool::new(false),
            damaged: Mutex::default(),
            misread: Mutex::default(),
            misread_ever: world.misread.clone(),
        });
        DiskLog::found(disk.folder(), disk.owner()).expect("an empty disk");
        files.ail(|a| a.sync_takes = world.sync_takes);
        world.disks.lock().push(files);
        disk
    }

    fn owner(&self) -> LogOwner {
        LogOwner { cluster: CLUSTER, node: self.node }
    }

    fn folder(&self) -> Folder {
        Folder { files: Arc::new(self.files.clone()), path: "/store/log".into() }
    }

    pub fn open_log(&self, options: DiskLogOptions) -> StorageResult<DiskLog> {
        DiskLog::open(self.folder(), self.owner(), options)
    }

    pub fn crash(&self, how: Crash, engine_keeps: u64) {
        self.engine.crash_keeping(engine_keeps);
        self.files.crash(how);
        *self.misread.lock() = None;
    }

    /// Damages what lies on it: a bit of the log, or some keys of the state. Says where.
    pub fn rot(&self, chance: &mut Chance) -> Option<String> {
        let what = if chance.percent(70) {
            let (path, at) = self.files.flip()?;
            format!("{} at byte {at}", path.display())
        } else {
            let spot = self.any_spot(chance)?;
            let what = format!("{spot:?}");
            *self.damaged.lock() = Some(spot);
            what
        };
        self.rotten.store(true, SeqCst);
        Some(what)
    }

    fn any_spot(&self, chance: &mut Chance) -> Option<Spot> {
        let cf = [Cf::Data, Cf::Data, Cf::Data, Cf::State][chance.below(4) as usize];
        let mut keys = Vec::new();
        let mut iter = self.engine.iter(cf, IterOptions::default());
        iter.seek_to_first();
        while iter.valid() {
            keys.push(Bytes::copy_from_slice(iter.key()));
            iter.next();
        }
        let at = chance.below(keys.len() as u64) as usize;
        let last = (at + chance.below(16) as usize).min(keys.len().saturating_sub(1));
        Some(Spot { cf, first: keys.get(at)?.clone(), last: keys.get(last)?.clone() })
    }

    pub fn is_rotten(&self) -> bool {
        self.rotten.load(SeqCst)
    }

    /// How the first read of the state failed since the machine went up.
    pub fn misread(&self) -> Option<StorageError> {
        self.misread.lock().clone()
    }

    /// Whether the disk has done something wrong, and the text of an error or a panic says that it is about a disk: a batch
    /// that the log refuses, for one, is a bug beside any disk.
    pub fn has_caused(&self, text: &str) -> bool {
        let at_fault = self.is_rotten() || self.misread.lock().is_some() || self.files.has_failed();
        at_fault && is_named(text)
    }

    fn fails(&self, e: StorageError) -> StorageError {
        self.misread.lock().get_or_insert_with(|| e.clone());
        self.misread_ever.store(true, SeqCst);
        e
    }

    fn io(&self, e: &std::io::Error) -> StorageError {
        let what = match e.kind() {
            std::io::ErrorKind::StorageFull => "the disk that holds /store/state is full",
            _ => "/store/state",
        };
        StorageError::Io(format!("{what}: {e}"))
    }

    fn read(&self) -> StorageResult<()> {
        self.files.read_other().map_err(|e| self.fails(self.io(&e)))
    }

    fn get_with(
        &self,
        cf: Cf,
        key: &[u8],
        get: impl FnOnce() -> StorageResult<Option<Bytes>>,
    ) -> StorageResult<Option<Bytes>> {
        self.read()?;
        match &*self.damaged.lock() {
            Some(spot) if spot.holds(cf, key) => Err(self.fails(damage())),
            _ => get(),
        }
    }

    fn iter_over<'a>(&'a self, cf: Cf, inner: Box<dyn EngineIter + 'a>) -> Box<dyn EngineIter + 'a> {
        let damaged = self.damaged.lock().clone().filter(|spot| spot.cf == cf);
        match self.read() {
            Ok(()) if damaged.is_none() => inner,
            read => Box::new(DiskIter { disk: self, inner, damaged, error: read.err() }),
        }
    }
}

/// Whether the text of an error says which of a machine's disks it is about: whatever a disk does wrong is told so.
pub fn is_named(text: &str) -> bool {
    text.contains("/store/state") || text.contains("/store/log")
}

fn damage() -> StorageError {
    StorageError::Corruption("a block of /store/state does not have its checksum".into())
}

/// The state, as the store sees it.
pub struct DiskEngine(pub Arc<Disk>);

impl Reader for DiskEngine {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.0.get_with(cf, key, || self.0.engine.get(cf, key))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_> {
        self.0.iter_over(cf, self.0.engine.iter(cf, options))
    }

    fn rows(&self) -> Option<&RowCache> {
        self.0.engine.rows()
    }

    fn knows_no_locks(&self) -> bool {
        self.0.engine.knows_no_locks()
    }
}

impl Engine for DiskEngine {
    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(DiskSnapshot { disk: &self.0, inner: self.0.engine.snapshot() })
    }

    fn write(&self, batch: &WriteBatch) -> StorageResult<()> {
        self.0.engine.write(batch)
    }

    fn get_durable(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.0.get_with(cf, key, || self.0.engine.get_durable(cf, key))
    }

    /// Takes room, and time of the same disk as the log's.
    fn flush(&self) -> StorageResult<()> {
        self.0.files.sync_other().map_err(|e| self.0.io(&e))?;
        self.0.engine.flush()
    }

    fn wants_flush(&self) -> bool {
        self.0.engine.wants_flush()
    }

    fn unflushed_bytes(&self) -> u64 {
        self.0.engine.unflushed_bytes()
    }

    fn approximate_size(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64> {
        self.0.engine.approximate_size(cf, start, end)
    }

    fn fault(&self) -> Option<StorageError> {
        self.0.misread()
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        self.0.engine.metrics()
    }
}

struct DiskSnapshot<'a> {
    disk: &'a Disk,
    inner: Box<dyn Snapshot + 'a>,
}

impl Reader for DiskSnapshot<'_> {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.disk.get_with(cf, key, || self.inner.get(cf, key))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_> {
        self.disk.iter_over(cf, self.inner.iter(cf, options))
    }
}

impl Snapshot for DiskSnapshot<'_> {}

/// Stops for good where something cannot be read.
struct DiskIter<'a> {
    disk: &'a Disk,
    inner: Box<dyn EngineIter + 'a>,
    damaged: Option<Spot>,
    error: Option<StorageError>,
}

impl DiskIter<'_> {
    fn look(&mut self) {
        let damaged = self.damaged.as_ref().filter(|_| self.error.is_none() && self.inner.valid());
        if damaged.is_some_and(|spot| spot.holds(spot.cf, self.inner.key())) {
            self.error = Some(self.disk.fails(damage()));
        }
    }
}

impl EngineIter for DiskIter<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.inner.seek(key);
        self.look();
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        self.inner.seek_for_prev(key);
        self.look();
    }

    fn seek_to_first(&mut self) {
        self.inner.seek_to_first();
        self.look();
    }

    fn seek_to_last(&mut self) {
        self.inner.seek_to_last();
        self.look();
    }

    fn next(&mut self) {
        self.inner.next();
        self.look();
    }

    fn prev(&mut self) {
        self.inner.prev();
        self.look();
    }

    fn valid(&self) -> bool {
        self.error.is_none() && self.inner.valid()
    }

    fn key(&self) -> &[u8] {
        self.inner.key()
    }

    fn value(&self) -> &[u8] {
        self.inner.value()
    }

    fn status(&self) -> StorageResult<()> {
        self.error.clone().map_or(Ok(()), Err)
    }
}
