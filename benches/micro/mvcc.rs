//! Reading versions, on both engines: by key, where the unit is one key, and in order, where it is one row.
//!
//! A hundred thousand rows of a hundred bytes have three versions each; on disk they are flushed and compacted, and the blocks fit
//! into the cache. Keys are chosen at random, from one seed. As requests do, all read from the engine itself, but for
//! `newest_in_snapshot`: a snapshot has no row cache, and does not know that nothing is locked.

use std::cell::LazyCell;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use meridian_storage::base::{Key, Span, Timestamp, keys};
use meridian_storage::engine::{Cf, Engine, MemEngine, Reader, RocksEngine, RocksOptions, WriteBatch};
use meridian_storage::mvcc::{self, GetOptions, ScanOptions, Seen};
use meridian_storage::store::testing::Chance;
use tempfile::TempDir;

use crate::scaled;

const ROWS: usize = 100_000;
const VERSIONS: u64 = 3;
const VALUE: [u8; 100] = [7; 100];
const TABLE: u32 = 1000;
/// Read so often that the row cache of either engine holds them.
const HOT: u64 = 500;
const LONG_SCAN: usize = 10_000;
const SHORT_SCAN: usize = 100;
const PRESENT: Timestamp = Timestamp::new(1_000_000, 0);

fn version(n: u64) -> Timestamp {
    Timestamp::new((n + 1) * 1000, 0)
}

struct Table {
    engine: Arc<dyn Engine>,
    keys: Vec<Key>,
    /// After the engine: it is removed last.
    _folder: Option<TempDir>,
}

impl Table {
    fn in_memory() -> Self {
        Self::fill(Arc::new(MemEngine::new()), None)
    }

    /// In the folder for temporary files.
    fn on_disk() -> Self {
        let folder = TempDir::new().expect("a folder");
        let engine =
            Arc::new(RocksEngine::open(folder.path(), RocksOptions::default()).expect("a new engine"));
        let table = Self::fill(engine.clone(), Some(folder));
        engine.compact(Cf::Data);
        table
    }

    fn fill(engine: Arc<dyn Engine>, folder: Option<TempDir>) -> Self {
        let prefix = keys::index_prefix(TABLE, 1);
        let key = |n: usize| -> Key { [&prefix[..], &(n as u64).to_be_bytes()].concat().into() };
        let keys: Vec<Key> = (0..scaled(ROWS)).map(key).collect();
        for n in 0..VERSIONS {
            for rows in keys.chunks(1000) {
                let mut batch = WriteBatch::new();
                for key in rows {
                    mvcc::put(&mut batch, key, version(n), &VALUE);
                }
                engine.write(&batch).expect("the engine takes writes");
            }
            engine.flush().expect("the engine flushes");
        }
        Table { engine, keys, _folder: folder }
    }

    /// A span with at least so many rows on the side from which it is read.
    fn span(&self, rows: usize, reverse: bool, chance: &mut Chance) -> Span {
        let at = rows + chance.below((self.keys.len() - 2 * rows) as u64) as usize;
        let at = self.keys[at].clone();
        match reverse {
            false => Span::new(at, keys::index_prefix(TABLE, 2)),
            true => Span::new(keys::index_prefix(TABLE, 1), at),
        }
    }

    fn any_key(&self, chance: &mut Chance) -> &Key {
        &self.keys[chance.below(self.keys.len() as u64) as usize]
    }
}

fn get_value(reader: &dyn Reader, key: &Key, at: Timestamp) {
    let got = mvcc::get(reader, key, at, GetOptions::default()).expect("readable");
    assert!(matches!(got.seen, Seen::Value(..)));
}

fn get(c: &mut Criterion, engine: &str, table: &LazyCell<Table>) {
    let mut group = c.benchmark_group(format!("mvcc/{engine}/get"));
    group.throughput(Throughput::Elements(1));
    let mut chance = Chance::new(1);
    group.bench_function("row_cache", |b| {
        let hot = HOT.min(table.keys.len() as u64);
        b.iter(|| get_value(&*table.engine, &table.keys[chance.below(hot) as usize], PRESENT));
    });
    group.bench_function("newest_in_snapshot", |b| {
        let snapshot = table.engine.snapshot();
        b.iter(|| get_value(&*snapshot, table.any_key(&mut chance), PRESENT));
    });
    group.bench_function("oldest", |b| {
        b.iter(|| get_value(&*table.engine, table.any_key(&mut chance), version(0)));
    });
    group.bench_function("no_such_key", |b| {
        b.iter(|| {
            let absent = table.any_key(&mut chance).next();
            let got = mvcc::get(&*table.engine, &absent, PRESENT, GetOptions::default()).expect("readable");
            assert_eq!(got.seen, Seen::Nothing);
        });
    });
    group.finish();
}

fn scan(c: &mut Criterion, engine: &str, table: &LazyCell<Table>) {
    let mut group = c.benchmark_group(format!("mvcc/{engine}/scan"));
    let mut chance = Chance::new(1);
    let long = scaled(LONG_SCAN);
    for (name, rows, reverse) in [
        ("hundred", SHORT_SCAN, false),
        ("hundred_in_reverse", SHORT_SCAN, true),
        ("ten_thousand", long, false),
    ] {
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let span = table.span(rows, reverse, &mut chance);
                let options = ScanOptions { reverse, max_rows: rows, ..ScanOptions::default() };
                let read = mvcc::scan(&*table.engine, &span, PRESENT, options).expect("readable");
                assert_eq!(read.block.len(), rows);
                read
            });
        });
    }
    group.finish();
}

pub fn benches(c: &mut Criterion) {
    let engines: [(&str, fn() -> Table); 2] = [("rocksdb", Table::on_disk), ("memory", Table::in_memory)];
    for (engine, open) in engines {
        let table = LazyCell::new(open);
        get(c, engine, &table);
        scan(c, engine, &table);
    }
}
