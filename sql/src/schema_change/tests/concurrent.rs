//! Schema changes beside running transactions, on several nodes: nothing that was acknowledged is lost, and every index holds
//! exactly what the rows say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use meridian_storage::base::runtime::timeout;
use meridian_storage::base::{Key, Runtime, keys};
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::{Cluster, Faults};
use meridian_txn::{Db, LockStrength, ScanOptions, TxnOptions, WaitPolicy};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::world::Session;
use crate::catalog::{CatalogCache, ElementState, TableDescriptor, store};
use crate::row::{BatchRow, IndexEncoder, RowBuf, RowDecoder};
use crate::schema_change::backfill::all_columns;
use crate::schema_change::jobs;
use crate::types::Oid;
use crate::types::text::{TextContext, output};

const NODES: u32 = 3;
const ROWS: i64 = 150;

/// What the writers were told.
#[derive(Default)]
struct Acknowledged {
    increments: AtomicI64,
    rows: AtomicI64,
    next_id: AtomicI64,
    stop: AtomicBool,
    /// The change that is going on, for messages.
    change: Mutex<&'static str>,
}

/// Runs a statement, again while the table has its other name.
async fn on_table(session: &mut Session, sql: &str) -> String {
    loop {
        match session.retry(sql).await {
            Ok(text) => return text,
            Err(e) if e.code() == "42P01" => session.pause().await,
            Err(e) => panic!("{sql}: {e:?}"),
        }
    }
}

/// Changes rows until it is told to stop.
async fn write(runtime: SimRuntime, cache: Arc<CatalogCache>, done: Arc<Acknowledged>) {
    let mut session = Session::new(cache);
    while !done.stop.load(Ordering::SeqCst) {
        let id = runtime.random() as i64 % ROWS;
        let (id, k) = (id.abs(), runtime.random() % 1000);
        match runtime.random() % 8 {
            0 => {
                let id = ROWS + done.next_id.fetch_add(1, Ordering::SeqCst);
                on_table(&mut session, &format!("insert into t (id, k, n) values ({id}, {k}, 0)")).await;
                done.rows.fetch_add(1, Ordering::SeqCst);
            }
            1 => {
                // Rows beyond the first ones are only inserted and deleted: increments are never deleted.
                let newest = ROWS + done.next_id.load(Ordering::SeqCst) - 3;
                let sql = format!("delete from t where id >= {ROWS} and id < {newest}");
                let gone = on_table(&mut session, &sql).await;
                let gone: i64 = gone.trim_start_matches("DELETE ").parse().expect("a number");
                done.rows.fetch_sub(gone, Ordering::SeqCst);
            }
            _ => {
                let sql = format!("update t set n = n + 1, k = {k} where id = {id}");
                assert_eq!(
                    on_table(&mut session, &sql).await,
                    "UPDATE 1",
                    "row {id} during {}",
                    done.change.lock()
                );
                done.increments.fetch_add(1, Ordering::SeqCst);
            }
        }
        runtime.sleep(Duration::from_millis(runtime.random() % 30)).await;
    }
}

const CHANGES: &[&str] = &[
    "create index i_k on t (k)",
    "alter table t add column c int default 5",
    "alter table t add primary key (id)",
    "create unique index i_kid on t (k desc, id) include (n)",
    "alter table t alter column n type bigint",
    "drop index i_k",
    "create index i_part on t (k) where k > 500",
    "alter table t drop column c",
    "alter table t alter column k type numeric using k + 0.5",
    "alter table t rename to u",
    "alter table u rename to t",
    "alter table t add constraint nonnegative check (n >= 0)",
];

async fn scenario(runtime: SimRuntime, gateways: Vec<Db>) {
    let mut caches = Vec::new();
    for db in &gateways {
        let cache = CatalogCache::open(db.clone()).await.expect("the catalog");
        runtime.spawn("jobs", Box::pin(jobs::run_loop(cache.clone())));
        caches.push(cache);
    }
    let mut setup = Session::new(caches[0].clone());
    setup.retry("create table t (id int not null, k int, n int)").await.expect("a table");
    let fill = format!("insert into t select i, i, 0 from generate_series(0, {}) i", ROWS - 1);
    setup.retry(&fill).await.expect("rows");
    let done = Arc::new(Acknowledged::default());
    for cache in &caches {
        for _ in 0..2 {
            runtime.spawn("writer", Box::pin(write(runtime.clone(), cache.clone(), done.clone())));
        }
    }
    for change in CHANGES {
        *done.change.lock() = change;
        let node = runtime.random() as usize % caches.len();
        let mut session = Session::new(caches[node].clone());
        session.retry(change).await.unwrap_or_else(|e| panic!("{change}: {e:?}"));
        runtime.sleep(Duration::from_millis(runtime.random() % 500)).await;
    }
    done.stop.store(true, Ordering::SeqCst);
    runtime.sleep(Duration::from_secs(5)).await;
    for cache in &caches {
        let mut session = Session::new(cache.clone());
        let sums = session.retry("select count(*), sum(n) from t").await.expect("a count");
        let rows = ROWS + done.rows.load(Ordering::SeqCst);
        assert_eq!(sums.trim(), format!("{rows}|{}", done.increments.load(Ordering::SeqCst)));
    }
    assert!(done.increments.load(Ordering::SeqCst) > 20, "the writers have hardly run");
    let catalog = caches[0].refresh().await.expect("the catalog");
    let table = catalog.tables.values().find(|t| t.name == "t").expect("the table");
    assert_eq!(table.indexes.len(), 2);
    check_indexes(&gateways[0], table).await;
}

/// Every index holds the entries of the rows, and nothing else.
async fn check_indexes(db: &Db, table: &TableDescriptor) {
    let txn = db.begin(TxnOptions::default());
    let mut expected: Vec<BTreeMap<Vec<u8>, Vec<u8>>> = vec![BTreeMap::new(); table.indexes.len()];
    let decoder = RowDecoder::primary(table, &all_columns(table)).expect("a decoder");
    let primary = IndexEncoder::primary(table).expect("an encoder");
    let mut scanner = txn.scan(primary.span(), ScanOptions::default());
    let mut buf = RowBuf::default();
    while let Some(block) = scanner.next_block().await.expect("rows") {
        let batch = decoder.decode_block(&block).expect("rows");
        for row in 0..batch.rows {
            let source = BatchRow { batch: &batch, row };
            for (index, entries) in table.indexes.iter().zip(&mut expected) {
                assert_eq!(index.state, ElementState::Public, "{}", index.name);
                if index.predicate.is_some() {
                    let k = &batch.columns[1].datum(row);
                    let k = output(Oid::NUMERIC, k, &TextContext::detached());
                    if k.parse::<f64>().expect("a number") <= 500.0 {
                        continue;
                    }
                }
                let encoder = IndexEncoder::secondary(table, index).expect("an encoder");
                let key = encoder.encode_key(&source).expect("a key").to_vec();
                let value = encoder.encode_value(&source, &mut buf).expect("a value").to_vec();
                assert!(entries.insert(key, value).is_none());
            }
        }
    }
    for (index, expected) in table.indexes.iter().zip(expected) {
        let encoder = IndexEncoder::secondary(table, index).expect("an encoder");
        let mut scanner = txn.scan(encoder.span(), ScanOptions::default());
        let mut actual = BTreeMap::new();
        while let Some(block) = scanner.next_block().await.expect("entries") {
            actual.extend(block.iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
        }
        assert_eq!(actual.len(), expected.len(), "{}", index.name);
        assert!(actual == expected, "{} differs", index.name);
    }
}

fn run(seed: u64, faults: Faults) {
    let runtime = SimRuntime::shuffled(seed);
    let cluster = Cluster::new(&runtime, NODES);
    cluster.set_faults(faults);
    runtime.block_on(scenario(runtime.clone(), cluster.gateways.clone()));
    runtime.shut_down();
}

#[test]
fn changes_beside_writers_lose_nothing() {
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    for seed in 1..=seeds {
        eprintln!("seed {seed}");
        run(seed, Faults { delay: Duration::from_millis(3), ..Faults::default() });
    }
}

/// Three nodes with a table `t` of 500 rows and an empty table `u`.
async fn two_tables(runtime: &SimRuntime, cluster: &Cluster) -> Vec<Arc<CatalogCache>> {
    let mut caches = Vec::new();
    for db in cluster.gateways.iter().take(NODES as usize) {
        let cache = CatalogCache::open(db.clone()).await.expect("the catalog");
        runtime.spawn("jobs", Box::pin(jobs::run_loop(cache.clone())));
        caches.push(cache);
    }
    let mut setup = Session::new(caches[0].clone());
    for sql in [
        "create table t (id int primary key, k int)",
        "create table u (id int primary key)",
        "insert into t select i, i from generate_series(1, 500) i",
    ] {
        setup.retry(sql).await.expect("a table");
    }
    caches
}

/// A session in a block that uses `t`.
async fn reader_of_t(cache: &Arc<CatalogCache>) -> Session {
    let mut reader = Session::new(cache.clone());
    loop {
        reader.retry("begin").await.expect("a block");
        match reader.run("select count(*) from t", &mut Vec::new()).await {
            Ok(_) => return reader,
            Err(e) => assert!(store::is_retryable(&e), "{e:?}"),
        }
        reader.retry("rollback").await.expect("the end");
        reader.pause().await;
    }
}

/// Where it is stored that `t` is closed.
fn closure_of_t(cache: &CatalogCache) -> Key {
    let catalog = cache.current();
    let t = catalog.tables.values().find(|t| t.name == "t").expect("the table");
    keys::system_key("catalog_closure", &t.id.0.to_be_bytes())
}

/// Until `t` has an index that is being built.
async fn half_built(runtime: &SimRuntime, cache: &CatalogCache) {
    loop {
        let catalog = cache.refresh().await.expect("the catalog");
        let t = catalog.tables.values().find(|t| t.name == "t").expect("the table");
        if t.indexes.iter().any(|i| i.state != ElementState::Public) {
            return;
        }
        runtime.sleep(Duration::from_millis(1)).await;
    }
}

/// Runs the statement on the node and answers how long that took.
async fn time(cache: &Arc<CatalogCache>, sql: &str) -> Duration {
    let clock = cache.db().clock().clone();
    let begun = clock.monotonic();
    Session::new(cache.clone()).retry(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    clock.monotonic() - begun
}

/// A job that waits for a table, because a transaction uses it, stands in the way of no change of another table: its node
/// looks at the catalog meanwhile.
#[test]
fn a_job_that_waits_for_a_table_holds_up_no_other_change() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, NODES);
    runtime.block_on(async {
        let caches = two_tables(&runtime, &cluster).await;
        // The builder goes when the index has been published, and leaves a job to others.
        let published = half_built(&runtime, &caches[0]);
        {
            let mut builder = Session::new(caches[1].clone());
            let build = builder.retry("create index i on t (k)");
            futures::pin_mut!(build, published);
            let first = futures::future::select(build, published).await;
            assert!(matches!(first, futures::future::Either::Right(_)), "the index is still being built");
        }
        let mut reader = reader_of_t(&caches[2]).await;
        runtime.sleep(jobs::BUILD_PATIENCE + Duration::from_secs(3)).await;
        for (n, cache) in caches.iter().enumerate() {
            let took = time(cache, &format!("alter table u add column c{n} int")).await;
            assert!(took < Duration::from_secs(5), "{took:?} through node {n}");
        }
        reader.retry("commit").await.expect("the end");
    });
    runtime.shut_down();
}

/// A change waits for a reader, on its own node or on another. If it is given up, the table is open to all again.
#[test]
fn a_change_that_is_given_up_leaves_the_table_open() {
    for reading in [0, 2] {
        let runtime = SimRuntime::shuffled(1);
        let cluster = Cluster::new(&runtime, NODES);
        runtime.block_on(async {
            let caches = two_tables(&runtime, &cluster).await;
            let mut reader = reader_of_t(&caches[reading]).await;
            let mut changing = Session::new(caches[0].clone());
            {
                let change = changing.retry("alter table t add column c int");
                let done = timeout(&runtime, Duration::from_secs(3), change).await;
                assert!(done.is_none(), "the table is in use");
            }
            // Its session goes on, as after a cancelled statement.
            changing.retry("begin").await.expect("a block");
            changing.retry("rollback").await.expect("the end of the block");
            reader.retry("commit").await.expect("the end");
            for (n, cache) in caches.iter().enumerate() {
                let took = time(cache, &format!("insert into t values ({}, 1)", 501 + n)).await;
                assert!(took < Duration::from_secs(5), "{took:?} through node {n}");
            }
        });
        runtime.shut_down();
    }
}

/// A node that dies while it keeps a table closed keeps it closed no longer than its lease lasts, or until it starts again.
#[test]
fn a_dead_node_keeps_no_table_closed() {
    for starts_again in [false, true] {
        let runtime = SimRuntime::shuffled(1);
        let cluster = Cluster::new(&runtime, NODES + 1);
        runtime.block_on(async {
            let caches = two_tables(&runtime, &cluster).await;
            let dying = Arc::new(Notify::new());
            let former = CatalogCache::open(cluster.gateways[3].clone()).await.expect("the catalog");
            let mut session = Session::new(former.clone());
            let life = {
                let dying = dying.clone();
                async move {
                    futures::future::select(Box::pin(jobs::run_loop(former)), Box::pin(dying.notified()))
                        .await;
                }
            };
            runtime.spawn("jobs", Box::pin(life));
            session.retry("begin").await.expect("a block");
            session.retry("alter table t add column c int").await.expect("the table is closed");
            dying.notify_one();
            std::mem::forget(session);
            let patience = if starts_again {
                CatalogCache::open(cluster.gateways[3].clone()).await.expect("the catalog");
                Duration::from_secs(2)
            } else {
                Duration::from_secs(20)
            };
            for (n, cache) in caches.iter().enumerate() {
                let took = time(cache, &format!("insert into t values ({}, 1)", 501 + n)).await;
                assert!(took < patience, "{took:?} through node {n}");
            }
        });
        runtime.shut_down();
    }
}

/// Of two that drop an index, the second finds none.
#[test]
fn an_index_is_dropped_once() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, NODES);
    runtime.block_on(async {
        let caches = two_tables(&runtime, &cluster).await;
        Session::new(caches[0].clone()).retry("create index i on t (k)").await.expect("an index");
        let mut reader = reader_of_t(&caches[2]).await;
        let drop_it = |node: usize, sql| {
            let mut session = Session::new(caches[node].clone());
            async move { session.retry(sql).await }
        };
        let end = async {
            runtime.sleep(Duration::from_secs(1)).await;
            reader.retry("commit").await.expect("the end");
        };
        let all = futures::join!(
            drop_it(0, "drop index i"),
            drop_it(1, "drop index i"),
            drop_it(2, "drop index if exists i"),
            end
        );
        let all = [all.0, all.1, all.2];
        let refused: Vec<_> = all.iter().filter_map(|r| r.as_ref().err()).collect();
        assert!(!refused.is_empty() && refused.iter().all(|e| e.code() == "42704"), "{all:?}");
        assert!(all[2].is_ok(), "{all:?}");
    });
    runtime.shut_down();
}

/// An index that is filled, but cannot be opened for reading as others use the table, does not stay behind.
#[test]
fn an_index_that_cannot_be_finished_is_gone_soon() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, NODES);
    runtime.block_on(async {
        let caches = two_tables(&runtime, &cluster).await;
        time(&caches[0], "insert into t select i, i from generate_series(501, 5000) i").await;
        cluster.set_faults(Faults { delay: Duration::from_millis(3), ..Faults::default() });
        let mut builder = Session::new(caches[0].clone());
        let reading = async {
            half_built(&runtime, &caches[0]).await;
            reader_of_t(&caches[0]).await
        };
        let (built, mut reader) = futures::join!(builder.retry("create index i on t (k)"), reading);
        assert_eq!(built.map_err(|e| e.code()), Err("55P03"));
        reader.retry("commit").await.expect("the end");
        runtime.sleep(Duration::from_secs(3)).await;
        let took = time(&caches[1], "create index i on t (k)").await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
    runtime.shut_down();
}

/// A node that was taken for dead may be committing its change at that moment: until that has ended, one way or the other,
/// nobody uses the table as it was.
#[test]
fn a_change_that_is_being_committed_keeps_its_table_closed() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, NODES + 1);
    runtime.block_on(async {
        let caches = two_tables(&runtime, &cluster).await;
        let slow = &cluster.gateways[3];
        let mut session = Session::new(CatalogCache::open(slow.clone()).await.expect("the catalog"));
        session.retry("begin").await.expect("a block");
        let looks = CatalogCache::open(slow.clone()).await.expect("the catalog");
        let closed = futures::future::select(
            Box::pin(session.retry("alter table t add column c int")),
            Box::pin(jobs::run_loop(looks)),
        );
        let futures::future::Either::Left((Ok(_), _)) = closed.await else { panic!("the table is closed") };
        let commit = slow.begin(TxnOptions::default());
        let key = closure_of_t(&caches[0]);
        let held = commit.get_locked(&key, LockStrength::Update, WaitPolicy::Block).await.expect("readable");
        assert!(held.is_some(), "the closure");
        runtime.sleep(Duration::from_secs(20)).await;
        {
            let insert = time(&caches[0], "insert into t values (501, 1)");
            let done = timeout(&runtime, Duration::from_secs(3), insert).await;
            assert!(done.is_none(), "the table is used beside its change");
        }
        commit.rollback().await;
        let took = time(&caches[0], "insert into t values (502, 1)").await;
        assert!(took < Duration::from_secs(3), "{took:?}");
        std::mem::forget(session);
    });
    runtime.shut_down();
}

/// The transaction may be committed after its session has gone: on its own node, too, nobody uses the table as it was.
#[test]
fn a_table_stays_closed_on_its_own_node_until_the_change_is_known() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, NODES);
    runtime.block_on(async {
        let caches = two_tables(&runtime, &cluster).await;
        let mut session = Session::new(caches[0].clone());
        session.retry("begin").await.expect("a block");
        session.retry("alter table t add column c int default 7").await.expect("a column");
        let txn = session.leave_to_commit().await;
        let mut insert = Box::pin(time(&caches[0], "insert into t (id, k) values (501, 1)"));
        let early = timeout(&runtime, Duration::from_secs(3), &mut insert).await;
        assert!(early.is_none(), "the table is used beside its change");
        txn.commit().await.expect("nobody was let in");
        timeout(&runtime, Duration::from_secs(3), insert).await.expect("the table is open again");
        let rows = Session::new(caches[0].clone()).retry("update t set c = 0 where c = 7").await;
        assert_eq!(rows.expect("a column"), "UPDATE 501");
    });
    runtime.shut_down();
}

/// A node that dies as it ends its change leaves a lock, which nobody waits for: it keeps no table closed.
#[test]
fn a_dead_nodes_lock_keeps_no_table_closed() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, NODES + 1);
    runtime.block_on(async {
        let caches = two_tables(&runtime, &cluster).await;
        let dead = &cluster.gateways[3];
        let mut session = Session::new(CatalogCache::open(dead.clone()).await.expect("the catalog"));
        session.retry("begin").await.expect("a block");
        let looks = CatalogCache::open(dead.clone()).await.expect("the catalog");
        let closed = futures::future::select(
            Box::pin(session.retry("alter table t add column c int")),
            Box::pin(jobs::run_loop(looks)),
        );
        let futures::future::Either::Left((Ok(_), _)) = closed.await else { panic!("the table is closed") };
        let commit = dead.begin(TxnOptions::default());
        let key = closure_of_t(&caches[0]);
        commit.get_locked(&key, LockStrength::Update, WaitPolicy::Block).await.expect("readable");
        cluster.cut_off(dead.node());
        let insert = time(&caches[0], "insert into t values (501, 1)");
        timeout(&runtime, Duration::from_secs(25), insert).await.expect("the table is open again");
        std::mem::forget(session);
    });
    runtime.shut_down();
}
