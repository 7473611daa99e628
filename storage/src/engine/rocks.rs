//! The disk engine: RocksDB without its write-ahead log.
//!
//! What must stay true:
//! - Nothing is written to RocksDB's own log: the Raft log is the only one. What was not flushed is lost with the
//!   process, even in an orderly end (flushing is the store's decision, so that it knows what is durable).
//! - All column families flush atomically, so that what survives a crash is a prefix of the batches.
//! - A new database is never made in place of one that has lost its `CURRENT`: RocksDB would remove its files.
//! - An error of the disk or a failed checksum is reported with the file that it concerns, and stops writes.
//!
//! Point reads of versions go through the *key part* (all but the timestamp): it is the prefix of the bloom filters, so
//! a seek for one key looks only into the files that may hold it. That is sound only for whole version keys; every
//! other iterator asks for total order.
//!
//! Memory: of what is given for caching, a quarter is for rows, the rest for blocks of all families. Indexes and filters are held outside of it (two lookups fewer for
//! every read), about 1.5 bytes per key. Memtables grow as they are filled.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBPinnableSlice,
    DBRawIterator, Env, ErrorKind, FlushOptions, LogLevel, Options, Range, ReadOptions, ReadTier,
    SliceTransform, WriteOptions,
};

use super::{
    BatchOp, Cf, Engine, EngineIter, IterOptions, Reader, RowCache, Snapshot, VersionFilter, VersionSweep,
    WriteBatch, key_part,
};
use crate::base::{StorageError, StorageResult};

const MIB: usize = 1 << 20;
/// Of [`Cf::Data`], and of [`Cf::Lock`], which holds as many entries while much is being written; the other families are
/// small. When one is full, all families are flushed.
const DATA_MEMTABLE_BYTES: usize = 64 * MIB;
const LOCK_MEMTABLE_BYTES: usize = 32 * MIB;
const OTHER_MEMTABLE_BYTES: usize = 8 * MIB;

/// How the engine is opened.
#[derive(Clone)]
pub struct RocksOptions {
    /// An empty database, if there is none.
    pub create: bool,
    /// For blocks of all families, uncompressed, and for rows that are read again and again.
    pub cache_bytes: usize,
    /// Threads for flushes and compactions, at low priority.
    pub background_threads: usize,
    /// Drops old versions in compaction.
    pub filter: Option<Arc<dyn VersionFilter>>,
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions { create: true, cache_bytes: 128 * MIB, background_threads: 2, filter: None }
    }
}

/// See the module's documentation.
pub struct RocksEngine {
    db: DB,
    path: PathBuf,
    get_options: ReadOptions,
    durable_options: ReadOptions,
    write_options: WriteOptions,
    /// What empty memtables occupy.
    idle_memtable_bytes: u64,
    cache: Cache,
    rows: RowCache,
    locks: LockWatch,
    /// Since the lock family was rewritten last: how many locks were set and removed one by one, and whether spans of them were
    /// removed.
    locks_set: AtomicU64,
    locks_removed: AtomicU64,
    lock_spans_removed: AtomicBool,
    /// For each family the size of its files and their expansion, of when it was asked for last.
    expansions: Mutex<[(u64, f64); Cf::ALL.len()]>,
    /// See [`Engine::fault`].
    fault: OnceLock<StorageError>,
}

/// RocksDB asks the kernel to read ahead at the third block of a scan, whether the blocks are cached or not: that is a
/// system call for most scans of a hundred rows. Scans that gain from it are longer. (The crate has no name for this option.)
const READ_AHEAD_LATE: (&str, &str) =
    ("block_based_table_factory", "{num_file_reads_for_auto_readahead=32;}");

/// Of the memory for caching, the part that is for rows.
const ROWS_SHARE: usize = 4;

/// Knows whether the lock family, which is normally empty, is so right now. Then nobody needs to look.
///
/// What must stay true: `seen_empty_at` equals `begun` only if the family was seen empty and no batch that puts a lock has
/// begun since. A batch counts itself before it is written, so whoever sees the old count may as well have looked
/// before the lock was there.
struct LockWatch {
    /// Batches that put locks, beginning with 1.
    begun: AtomicU64,
    seen_empty_at: AtomicU64,
    /// Those that have begun and are not written yet.
    under_way: AtomicU64,
}

/// Removed locks in memory beyond which they are swept out.
const LOCK_TOMBSTONES: u64 = 20_000;

impl RocksEngine {
    /// Whether there is a database in `path`, whole or damaged: one that a crash has left half-made is none.
    pub fn exists(path: impl AsRef<Path>) -> StorageResult<bool> {
        let path = path.as_ref();
        let error = |e: io::Error| StorageError::Io(format!("{}: {e}", path.display()));
        let current = path.join("CURRENT");
        if current.try_exists().map_err(error)? {
            return Ok(true);
        }
        let files = match std::fs::read_dir(path) {
            Ok(files) => files,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(error(e)),
        };
        for file in files {
            let name = file.map_err(error)?.file_name();
            let name = name.to_string_lossy();
            // The first manifest is made before `CURRENT`, and gives way to another as soon as the database is opened.
            if name.ends_with(".sst") || name.starts_with("MANIFEST-") && name != "MANIFEST-000001" {
                return Err(StorageError::Corruption(format!("{} is missing", current.display())));
            }
        }
        Ok(false)
    }

    /// Opens the engine in `path`, which is created if it does not exist, unless the options forbid it.
    pub fn open(path: impl AsRef<Path>, options: RocksOptions) -> StorageResult<Self> {
        let path = path.as_ref().to_owned();
        if !Self::exists(&path)? && !options.create {
            return Err(StorageError::Corruption(format!("{} is missing", path.join("CURRENT").display())));
        }
        let row_bytes = options.cache_bytes / ROWS_SHARE;
        let cache = Cache::new_lru_cache(options.cache_bytes - row_bytes);
        let error = |e| classify(&path, e);
        let db_options = database_options(&options).map_err(error)?;
        let families = Cf::ALL.map(|cf| {
            ColumnFamilyDescriptor::new(cf.name(), family_options(cf, &cache, options.filter.as_ref()))
        });
        let db = DB::open_cf_descriptors(&db_options, &path, families).map_err(error)?;
        if let Some(data) = db.cf_handle(Cf::Data.name()) {
            db.set_options_cf(data, &[READ_AHEAD_LATE]).map_err(error)?;
        }
        let mut durable_options = ReadOptions::default();
        durable_options.set_read_tier(ReadTier::Persisted);
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let mut engine = RocksEngine {
            db,
            path,
            get_options: ReadOptions::default(),
            durable_options,
            write_options,
            idle_memtable_bytes: 0,
            cache,
            rows: RowCache::new(row_bytes),
            locks: LockWatch { begun: 1.into(), seen_empty_at: 0.into(), under_way: 0.into() },
            locks_set: AtomicU64::new(0),
            locks_removed: AtomicU64::new(0),
            lock_spans_removed: AtomicBool::new(false),
            expansions: Mutex::new([(0, 1.0); Cf::ALL.len()]),
            fault: OnceLock::new(),
        };
        engine.idle_memtable_bytes = engine.memtable_bytes();
        engine.watch_locks();
        Ok(engine)
    }

    /// Rewrites everything of a family in its last form, applying the version filter. For tests and repair.
    pub fn compact(&self, cf: Cf) {
        self.db.compact_range_cf(self.family(cf), None::<&[u8]>, None::<&[u8]>);
    }

    fn family(&self, cf: Cf) -> &ColumnFamily {
        self.db.cf_handle(cf.name()).expect("every family is opened with the database")
    }

    fn error(&self, e: rocksdb::Error) -> StorageError {
        let is_fault = matches!(e.kind(), ErrorKind::IOError | ErrorKind::Corruption);
        let error = classify(&self.path, e);
        if is_fault {
            self.fault.get_or_init(|| error.clone());
        }
        error
    }

    /// Looks whether there are locks.
    fn watch_locks(&self) {
        let begun = self.locks.begun.load(SeqCst);
        // What is under way was counted before, and may not be seen.
        if self.locks.under_way.load(SeqCst) > 0 || self.locks.seen_empty_at.load(SeqCst) == begun {
            return;
        }
        let mut it = self.iter(Cf::Lock, IterOptions::default());
        it.seek_to_first();
        if !it.valid() && it.status().is_ok() {
            self.locks.seen_empty_at.store(begun, SeqCst);
        }
    }

    /// What the lock family will have to be rid of.
    fn count(&self, op: &BatchOp<'_>) {
        match op {
            BatchOp::Put { cf: Cf::Lock, .. } => _ = self.locks_set.fetch_add(1, Ordering::Relaxed),
            BatchOp::Delete { cf: Cf::Lock, .. } => _ = self.locks_removed.fetch_add(1, Ordering::Relaxed),
            BatchOp::DeleteRange { cf: Cf::Lock, .. } => {
                self.lock_spans_removed.store(true, Ordering::Relaxed)
            }
            _ => {}
        }
    }

    fn memtable_bytes(&self) -> u64 {
        self.sum_of(c"rocksdb.cur-size-all-mem-tables")
    }

    /// How many bytes of keys and values a family has for each byte in its files, where they are compressed.
    ///
    /// RocksDB looks at every file for that, and keeps everybody else waiting: it is asked again only when there are others.
    fn expansion(&self, cf: Cf) -> f64 {
        let size = self.db.property_int_value_cf(self.family(cf), c"rocksdb.live-sst-files-size");
        let size = size.ok().flatten().unwrap_or(0);
        let mut known = self.expansions.lock();
        let (known_size, expansion) = &mut known[cf as usize];
        if *known_size != size {
            (*known_size, *expansion) = (size, self.compute_expansion(cf));
        }
        *expansion
    }

    fn compute_expansion(&self, cf: Cf) -> f64 {
        let property = self.db.property_value_cf(self.family(cf), c"rocksdb.aggregated-table-properties");
        let text = property.ok().flatten().unwrap_or_default();
        let number = |name: &str| -> f64 {
            let value = text.split("; ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|v| v.trim().parse().ok()).unwrap_or(0.0)
        };
        let (raw, stored) = (number("raw key size") + number("raw value size"), number("data block size"));
        if raw > 0.0 && stored > 0.0 { raw / stored } else { 1.0 }
    }

    fn sum_of(&self, property: &CStr) -> u64 {
        let of = |cf| self.db.property_int_value_cf(self.family(cf), property).ok().flatten();
        Cf::ALL.into_iter().filter_map(of).sum()
    }
}

fn database_options(options: &RocksOptions) -> Result<Options, rocksdb::Error> {
    // Not in the crate's own list of options. Flushing at the end would hide a store that forgot to.
    let mut o = Options::default().get_options_from_string("avoid_flush_during_shutdown=true")?;
    let mut env = Env::new()?;
    env.lower_thread_pool_cpu_priority();
    env.lower_high_priority_thread_pool_cpu_priority();
    o.set_env(&env);
    o.create_if_missing(options.create);
    o.create_missing_column_families(true);
    o.set_atomic_flush(true);
    o.set_paranoid_checks(true);
    o.set_max_background_jobs(options.background_threads.max(1) as i32);
    o.set_max_open_files(4096);
    o.set_bytes_per_sync(MIB as u64);
    o.set_log_level(LogLevel::Warn);
    o.set_keep_log_file_num(4);
    o.set_max_log_file_size(4 * MIB);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    Ok(o)
}

fn family_options(cf: Cf, cache: &Cache, filter: Option<&Arc<dyn VersionFilter>>) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(16 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_format_version(6);
    table.set_optimize_filters_for_memory(true);
    let mut o = Options::default();
    o.set_compression_type(DBCompressionType::Lz4);
    o.set_write_buffer_size(match cf {
        Cf::Data => DATA_MEMTABLE_BYTES,
        Cf::Lock => LOCK_MEMTABLE_BYTES,
        _ => OTHER_MEMTABLE_BYTES,
    });
    o.set_max_write_buffer_number(3);
    if cf == Cf::Data {
        o.set_prefix_extractor(SliceTransform::create(
            "meridian.key_part",
            |raw| key_part(raw).unwrap_or(raw),
            Some(|raw| key_part(raw).is_some()),
        ));
        // Whole version keys are rarely asked for; the filters then hold the key parts alone.
        table.set_whole_key_filtering(false);
        o.set_memtable_prefix_bloom_ratio(0.02);
        if let Some(filter) = filter {
            o.set_compaction_filter_factory(SweepFactory(filter.clone()));
        }
    }
    o.set_block_based_table_factory(&table);
    o
}

/// Says what an operator can do, and where.
fn classify(path: &Path, e: rocksdb::Error) -> StorageError {
    let text = e.to_string();
    let path = path.display();
    if text.contains("lock") && text.contains("LOCK") {
        return StorageError::Config(format!(
            "the directory {path} is in use by another process: stop it, or choose another directory ({text})"
        ));
    }
    if text.contains("No space left") {
        return StorageError::Io(format!("the disk that holds {path} is full: free some space ({text})"));
    }
    match e.kind() {
        ErrorKind::Corruption => StorageError::Corruption(format!("in {path}: {text}")),
        ErrorKind::InvalidArgument => StorageError::Config(format!("{path}: {text}")),
        _ => StorageError::Io(format!("{path}: {text}")),
    }
}

fn owned(found: Option<DBPinnableSlice<'_>>) -> Option<Bytes> {
    found.map(|v| Bytes::copy_from_slice(&v))
}

fn iterator_options(cf: Cf, options: IterOptions) -> ReadOptions {
    let mut o = ReadOptions::default();
    if let Some(lower) = options.lower {
        o.set_iterate_lower_bound(lower);
    }
    if let Some(upper) = options.upper {
        o.set_iterate_upper_bound(upper);
    }
    if cf == Cf::Data {
        if options.one_key {
            o.set_prefix_same_as_start(true);
        } else {
            o.set_total_order_seek(true);
        }
    }
    o
}

impl Reader for RocksEngine {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let found = self.db.get_pinned_cf_opt(self.family(cf), key, &self.get_options);
        found.map(owned).map_err(|e| self.error(e))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_> {
        let it = self.db.raw_iterator_cf_opt(self.family(cf), iterator_options(cf, options));
        Box::new(RocksIter { it, engine: self })
    }

    fn rows(&self) -> Option<&RowCache> {
        Some(&self.rows)
    }

    fn knows_no_locks(&self) -> bool {
        self.locks.seen_empty_at.load(SeqCst) == self.locks.begun.load(SeqCst)
    }
}

impl Engine for RocksEngine {
    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(RocksSnapshot { snapshot: self.db.snapshot(), engine: self })
    }

    fn write(&self, batch: &WriteBatch) -> StorageResult<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut to = rocksdb::WriteBatch::with_capacity_bytes(batch.as_bytes().len() + 8 * batch.len() + 16);
        let mut puts_locks = false;
        for op in batch.ops() {
            self.count(&op);
            match op {
                BatchOp::Put { cf, key, value } => {
                    puts_locks |= cf == Cf::Lock;
                    to.put_cf(self.family(cf), key, value);
                }
                BatchOp::Delete { cf, key } => to.delete_cf(self.family(cf), key),
                BatchOp::DeleteRange { cf, start, end } if start < end => {
                    to.delete_range_cf(self.family(cf), start, end);
                }
                BatchOp::DeleteRange { .. } => {}
            }
        }
        if puts_locks {
            self.locks.under_way.fetch_add(1, SeqCst);
            self.locks.begun.fetch_add(1, SeqCst);
        }
        let taken = self.rows.begin(batch);
        let written = self.db.write_opt(to, &self.write_options).map_err(|e| self.error(e));
        self.rows.end(batch, taken, written.is_ok());
        if puts_locks {
            self.locks.under_way.fetch_sub(1, SeqCst);
        }
        written
    }

    fn get_durable(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        // Without a write-ahead log, the persisted tier is the files: memtables are passed over.
        let found = self.db.get_pinned_cf_opt(self.family(cf), key, &self.durable_options);
        found.map(owned).map_err(|e| self.error(e))
    }

    fn flush(&self) -> StorageResult<()> {
        let families = Cf::ALL.map(|cf| self.family(cf));
        let spans_removed = self.lock_spans_removed.swap(false, Ordering::Relaxed);
        self.db.flush_cfs_opt(&families.each_ref(), &FlushOptions::default()).map_err(|e| self.error(e))?;
        // Locks live shortly: what a flush writes of them are mostly tombstones, which every scan would have to step
        // over. The family is nearly empty afterwards, so rewriting it is cheap - but not while a large transaction
        // fills it.
        let set = self.locks_set.load(Ordering::Relaxed);
        let removed = self.locks_removed.load(Ordering::Relaxed);
        if spans_removed || removed >= LOCK_TOMBSTONES || removed > 0 && 2 * removed >= set {
            self.locks_set.fetch_sub(set, Ordering::Relaxed);
            self.locks_removed.fetch_sub(removed, Ordering::Relaxed);
            self.db.compact_range_cf(self.family(Cf::Lock), None::<&[u8]>, None::<&[u8]>);
        }
        self.watch_locks();
        Ok(())
    }

    fn wants_flush(&self) -> bool {
        self.watch_locks();
        let property = "rocksdb.num-deletes-active-mem-table";
        let deletes = self.db.property_int_value_cf(self.family(Cf::Lock), property).ok().flatten();
        self.lock_spans_removed.load(Ordering::Relaxed) || deletes.is_some_and(|n| n >= LOCK_TOMBSTONES)
    }

    fn unflushed_bytes(&self) -> u64 {
        self.memtable_bytes().saturating_sub(self.idle_memtable_bytes)
    }

    fn approximate_size(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64> {
        let in_files = self.db.get_approximate_sizes_cf(self.family(cf), &[Range::new(start, end)]);
        let in_files: u64 = in_files.into_iter().sum();
        Ok((in_files as f64 * self.expansion(cf)) as u64)
    }

    fn fault(&self) -> Option<StorageError> {
        self.fault.get().cloned()
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("engine_unflushed_bytes", self.unflushed_bytes() as f64),
            ("engine_file_bytes", self.sum_of(c"rocksdb.total-sst-files-size") as f64),
            ("engine_live_bytes", self.sum_of(c"rocksdb.estimate-live-data-size") as f64),
            ("engine_keys", self.sum_of(c"rocksdb.estimate-num-keys") as f64),
            ("engine_index_and_filter_bytes", self.sum_of(c"rocksdb.estimate-table-readers-mem") as f64),
            (
                "engine_compaction_pending_bytes",
                self.sum_of(c"rocksdb.estimate-pending-compaction-bytes") as f64,
            ),
            ("engine_running_compactions", self.sum_of(c"rocksdb.num-running-compactions") as f64),
            ("engine_block_cache_bytes", self.cache.get_usage() as f64),
            ("engine_background_errors", self.sum_of(c"rocksdb.background-errors") as f64),
        ]
    }
}

struct RocksSnapshot<'a> {
    snapshot: rocksdb::Snapshot<'a>,
    engine: &'a RocksEngine,
}

impl Reader for RocksSnapshot<'_> {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let found = self.snapshot.get_pinned_cf(self.engine.family(cf), key);
        found.map(owned).map_err(|e| self.engine.error(e))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_> {
        let options = iterator_options(cf, options);
        let it = self.snapshot.raw_iterator_cf_opt(self.engine.family(cf), options);
        Box::new(RocksIter { it, engine: self.engine })
    }
}

impl Snapshot for RocksSnapshot<'_> {}

struct RocksIter<'a> {
    it: DBRawIterator<'a>,
    engine: &'a RocksEngine,
}

impl EngineIter for RocksIter<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.it.seek(key);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        self.it.seek_for_prev(key);
    }

    fn seek_to_first(&mut self) {
        self.it.seek_to_first();
    }

    fn seek_to_last(&mut self) {
        self.it.seek_to_last();
    }

    fn next(&mut self) {
        self.it.next();
    }

    fn prev(&mut self) {
        self.it.prev();
    }

    fn valid(&self) -> bool {
        self.it.valid()
    }

    fn key(&self) -> &[u8] {
        self.it.key().expect("the iterator is valid")
    }

    fn value(&self) -> &[u8] {
        self.it.value().expect("the iterator is valid")
    }

    fn status(&self) -> StorageResult<()> {
        self.it.status().map_err(|e| self.engine.error(e))
    }
}

struct SweepFactory(Arc<dyn VersionFilter>);

impl CompactionFilterFactory for SweepFactory {
    type Filter = Sweep;

    fn create(&mut self, _: CompactionFilterContext) -> Sweep {
        Sweep(self.0.begin())
    }

    fn name(&self) -> &CStr {
        c"meridian.version_filter"
    }
}

struct Sweep(Box<dyn VersionSweep>);

impl CompactionFilter for Sweep {
    fn filter(&mut self, _: u32, key: &[u8], value: &[u8]) -> Decision {
        if self.0.drops(key, value) { Decision::Remove } else { Decision::Keep }
    }

    fn name(&self) -> &CStr {
        c"meridian.version_filter"
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::engine::conformance::{Crashable, conformance};

    struct OnDisk {
        folder: TempDir,
        /// `None` only while it is opened again.
        engine: Option<RocksEngine>,
    }

    impl OnDisk {
        fn new() -> Self {
            let folder = TempDir::new().expect("a folder");
            let engine = open(folder.path()).expect("opened");
            OnDisk { folder, engine: Some(engine) }
        }
    }

    fn open(path: &Path) -> StorageResult<RocksEngine> {
        RocksEngine::open(path, RocksOptions { cache_bytes: 8 * MIB, ..RocksOptions::default() })
    }

    impl Crashable for OnDisk {
        fn engine(&self) -> &dyn Engine {
            self.engine.as_ref().expect("open")
        }

        fn crash(mut self) -> Self {
            self.engine = None;
            self.engine = Some(open(self.folder.path()).expect("opened again"));
            self
        }
    }

    conformance!(OnDisk::new());

    #[test]
    fn a_directory_in_use_is_refused() {
        let d = OnDisk::new();
        match open(d.folder.path()) {
            Err(StorageError::Config(text)) => assert!(text.contains("in use by another process"), "{text}"),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }

    fn with_one_file() -> (OnDisk, PathBuf) {
        let d = OnDisk::new();
        let mut b = WriteBatch::new();
        for n in 0..2000u32 {
            b.put(Cf::Data, &n.to_be_bytes(), &[n as u8; 100]);
        }
        d.engine().write(&b).expect("written");
        d.engine().flush().expect("flushed");
        let files = std::fs::read_dir(d.folder.path()).expect("folder").map(|f| f.expect("file").path());
        let file = files.into_iter().find(|f| f.extension().is_some_and(|e| e == "sst")).expect("a table");
        (d, file)
    }

    #[test]
    fn a_damaged_file_is_corruption_and_named() {
        let (mut d, file) = with_one_file();
        d.engine = None;
        let mut bytes = std::fs::read(&file).expect("read");
        bytes[1000] ^= 0x10;
        std::fs::write(&file, bytes).expect("written");
        let engine = open(d.folder.path()).expect("the damage is where the start does not read");
        assert!(engine.fault().is_none(), "nobody has met it");
        let mut it = engine.iter(Cf::Data, IterOptions::default());
        it.seek_to_first();
        while it.valid() {
            it.next();
        }
        let name = file.file_name().expect("a name").to_string_lossy().to_string();
        for told in [it.status().err(), engine.fault()] {
            match told {
                Some(StorageError::Corruption(text)) => assert!(text.contains(&name), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_error_of_the_disk_is_remembered_and_others_are_not() {
        let (d, file) = with_one_file();
        let engine = d.engine.as_ref().expect("open");
        let unasked = Options::default().get_options_from_string("no_such_option=1").err().expect("refused");
        assert!(matches!(engine.error(unasked), StorageError::Config(_)));
        assert!(engine.fault().is_none());
        let nothing = DB::list_cf(&Options::default(), file.join("below")).expect_err("below a file");
        assert!(matches!(engine.error(nothing), StorageError::Io(_)));
        let told = engine.fault();
        assert!(matches!(&told, Some(StorageError::Io(text)) if text.contains("below")), "{told:?}");
    }

    #[test]
    fn a_missing_file_is_not_served_around() {
        let (mut d, file) = with_one_file();
        d.engine = None;
        std::fs::remove_file(&file).expect("removed");
        assert!(matches!(open(d.folder.path()), Err(StorageError::Corruption(_) | StorageError::Io(_))));
    }

    #[test]
    fn a_database_that_lost_its_current_file_is_left_as_it_is() {
        let (mut d, file) = with_one_file();
        d.engine = None;
        let current = d.folder.path().join("CURRENT");
        let content = std::fs::read(&current).expect("read");
        std::fs::remove_file(&current).expect("removed");
        match open(d.folder.path()).map(|_| ()) {
            Err(StorageError::Corruption(text)) => assert!(text.contains("CURRENT is missing"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(file.exists() && !current.exists(), "the refusal has changed something");
        std::fs::write(&current, content).expect("written");
        let engine = open(d.folder.path()).expect("it is whole again");
        assert!(engine.get(Cf::Data, &7u32.to_be_bytes()).expect("read").is_some());
    }

    #[test]
    fn a_database_is_created_only_if_that_is_allowed() {
        let folder = TempDir::new().expect("a folder");
        // A crash of the first start has left it.
        std::fs::write(folder.path().join("MANIFEST-000001"), b"").expect("written");
        let options = RocksOptions { create: false, cache_bytes: 8 * MIB, ..RocksOptions::default() };
        let refused = RocksEngine::open(folder.path(), options.clone()).map(|_| ());
        assert!(matches!(refused, Err(StorageError::Corruption(_))), "{refused:?}");
        drop(open(folder.path()).expect("created"));
        assert!(!folder.path().join("MANIFEST-000001").exists(), "an opened database has another");
        RocksEngine::open(folder.path(), options).expect("it exists");
    }

    #[test]
    fn sizes_are_those_of_the_data_however_well_it_is_compressed() {
        let disk = OnDisk::new();
        let mut batch = WriteBatch::new();
        for n in 0..4096u32 {
            batch.put(Cf::Data, &n.to_be_bytes(), &[b'x'; 1000]);
        }
        disk.engine().write(&batch).expect("written");
        disk.engine().flush().expect("flushed");
        let size = disk.engine().approximate_size(Cf::Data, &0u32.to_be_bytes(), &2048u32.to_be_bytes());
        let size = size.expect("a size");
        assert!((1_500_000..3_000_000).contains(&size), "2 MB and not {size}");
    }

    /// Bounds of ranges are not version keys, and must not be taken for the prefix of one.
    #[test]
    fn bounds_are_outside_the_prefix_domain() {
        assert_eq!(key_part(b"k\0\x01abcdefghijkl"), Some(&b"k\0\x01"[..]));
        for bound in [&b""[..], b"k\0\x01", b"a long key of many bytes\0\x01", b"abcdefghijklmnop"] {
            assert_eq!(key_part(bound), None);
        }
    }
}
