//! The coordinator over ranges on one node: what one transaction sees, commits, undoes and waits for.

mod aborted;
mod fenced;
mod held;
mod layout;
mod merges;
mod moments;
mod outcomes;

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use meridian_storage::base::{Hlc, Key, PhysicalClock, Runtime, Span};

use crate::testing::cluster::{Cluster, Faults};
use crate::testing::{SimRuntime, local_db, local_node, model_db, run_on_both as run};
use crate::*;

fn key(s: &str) -> Key {
    s.into()
}

fn table(s: &str) -> Key {
    format!("\x10{s}").as_str().into()
}

fn begin(db: &Db) -> Txn {
    db.begin(TxnOptions::default())
}

fn begin_at(db: &Db, isolation: Isolation) -> Txn {
    db.begin(TxnOptions { isolation, ..TxnOptions::default() })
}

async fn set(db: &Db, key: &Key, value: &str) {
    let txn = begin(db);
    txn.put(key.clone(), Bytes::copy_from_slice(value.as_bytes()));
    txn.commit().await.expect("commit");
}

async fn get(txn: &Txn, key: &Key) -> Option<String> {
    let value = txn.get(key).await.expect("read");
    value.map(|v| String::from_utf8(v.to_vec()).expect("text"))
}

async fn read(db: &Db, key: &Key) -> Option<String> {
    let txn = begin(db);
    let value = get(&txn, key).await;
    txn.commit().await.expect("commit");
    value
}

async fn scan(txn: &Txn, options: ScanOptions) -> String {
    let span = Span::new(table(""), table("~"));
    let rows = txn.scan(span, options).collect().await.expect("scan");
    let text = rows.iter().map(|(k, v)| format!("{}={}", k[1..].escape_ascii(), v.escape_ascii()));
    text.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_transaction_reads_what_it_wrote_and_others_do_not() {
    run(async |db| {
        let txn = begin(&db);
        txn.put(key("k"), "1".into());
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("1"));
        assert_eq!(read(&db, &key("k")).await, None);
        txn.commit().await.expect("commit");
        assert_eq!(read(&db, &key("k")).await.as_deref(), Some("1"));
    });
}

#[test]
fn scans_merge_own_writes_in_both_directions_and_within_limits() {
    run(async |db| {
        for k in ["a", "c", "e", "g"] {
            set(&db, &table(k), "old").await;
        }
        db.split_at(table("d")).await.expect("split");
        let txn = begin(&db);
        txn.put(table("b"), "new".into());
        txn.put(table("c"), "new".into());
        txn.delete(table("e"));
        txn.put(table("z"), "new".into());
        let all = "a=old b=new c=new g=old z=new";
        assert_eq!(scan(&txn, ScanOptions::default()).await, all);
        let reverse = ScanOptions { reverse: true, ..ScanOptions::default() };
        assert_eq!(scan(&txn, reverse).await, "z=new g=old c=new b=new a=old");
        for limit in 1..=5 {
            let rows = scan(&txn, ScanOptions { limit, ..ScanOptions::default() }).await;
            let want: Vec<&str> = all.split(' ').take(limit as usize).collect();
            assert_eq!(rows, want.join(" "), "limit {limit}");
        }
        let tiny = ScanOptions { batch_bytes: 1, ..ScanOptions::default() };
        assert_eq!(scan(&txn, tiny).await, all);
        assert_eq!(scan(&txn, ScanOptions { reverse: true, ..tiny }).await, "z=new g=old c=new b=new a=old");
    });
}

#[test]
fn a_scan_does_not_meet_what_is_written_while_it_runs() {
    run(async |db| {
        for k in ["a", "b"] {
            set(&db, &table(k), "1").await;
        }
        let txn = begin(&db);
        let options = ScanOptions { batch_bytes: 1, ..ScanOptions::default() };
        let mut scanner = txn.scan(Span::new(table(""), table("~")), options);
        let mut rows = 0;
        while let Some(block) = scanner.next_block().await.expect("scan") {
            for (k, _) in block.iter() {
                rows += 1;
                txn.put(Key::copy_from(&[k, b"x"].concat()), "2".into());
            }
        }
        assert_eq!(rows, 2);
    });
}

#[test]
fn a_transaction_over_several_ranges_is_atomic() {
    run(async |db| {
        for at in ["d", "m"] {
            db.split_at(table(at)).await.expect("split");
        }
        let ranges = db.ranges().await.expect("ranges");
        assert_eq!(ranges.len(), 3);
        assert!(ranges.windows(2).all(|w| w[0].end == w[1].start));
        let txn = begin(&db);
        for k in ["a", "e", "z"] {
            txn.put(table(k), "1".into());
        }
        txn.commit().await.expect("commit");
        let txn = begin(&db);
        let keys = [table("z"), table("a"), table("q"), table("e")];
        let values = txn.get_many(&keys, None).await.expect("read");
        let found: Vec<bool> = values.iter().map(Option::is_some).collect();
        assert_eq!(found, [true, true, false, true]);
        assert_eq!(scan(&txn, ScanOptions::default()).await, "a=1 e=1 z=1");
    });
}

#[test]
fn the_second_writer_of_a_row_that_both_read_fails() {
    run(async |db| {
        for isolation in [Isolation::Snapshot, Isolation::Serializable] {
            set(&db, &key("k"), "0").await;
            let (a, b) = (begin_at(&db, isolation), begin_at(&db, isolation));
            for txn in [&a, &b] {
                assert_eq!(get(txn, &key("k")).await.as_deref(), Some("0"));
                txn.put(key("k"), "1".into());
            }
            a.commit().await.expect("the first one wins");
            let e = b.commit().await.expect_err("lost update");
            assert_eq!(e.sqlstate(), "40001");
            assert_eq!(e.message, "could not serialize access due to concurrent update");
        }
    });
}

#[test]
fn write_skew_is_refused_by_serializable_only() {
    for (isolation, allowed) in [(Isolation::Snapshot, true), (Isolation::Serializable, false)] {
        run(async |db| {
            db.split_at(table("m")).await.expect("split");
            let (a, b) = (begin_at(&db, isolation), begin_at(&db, isolation));
            for (txn, other) in [(&a, "z"), (&b, "a")] {
                assert_eq!(get(txn, &table(other)).await, None);
            }
            a.put(table("a"), "1".into());
            b.put(table("z"), "1".into());
            a.commit().await.expect("commit");
            let second = b.commit().await;
            assert_eq!(second.is_ok(), allowed, "{isolation:?}: {second:?}");
        });
    }
}

#[test]
fn a_pushed_transaction_commits_if_what_it_read_still_holds() {
    run(async |db| {
        set(&db, &key("a"), "0").await;
        let txn = begin(&db);
        get(&txn, &key("a")).await;
        txn.put(key("b"), "1".into());
        assert_eq!(read(&db, &key("b")).await, None, "pushes the write above this read");
        let before = txn.read_timestamp();
        let outcome = txn.commit().await.expect("nothing it read has changed");
        assert!(outcome.timestamp > before);
    });
}

#[test]
fn read_committed_locks_see_the_newest_row() {
    run(async |db| {
        set(&db, &key("k"), "0").await;
        let txn = begin_at(&db, Isolation::ReadCommitted);
        txn.begin_statement();
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("0"));
        set(&db, &key("k"), "1").await;
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("0"), "the statement's snapshot");
        let locked = txn.get_locked(&key("k"), LockStrength::Update, WaitPolicy::Block).await;
        assert_eq!(locked.expect("free").as_deref(), Some(&b"1"[..]));
        txn.put(key("k"), "2".into());
        txn.commit().await.expect("commit");
        assert_eq!(read(&db, &key("k")).await.as_deref(), Some("2"));
    });
}

#[test]
fn a_locking_read_moves_a_serializable_snapshot_if_it_can() {
    run(async |db| {
        let txn = begin(&db);
        set(&db, &key("k"), "1").await;
        let locked = txn.get_locked(&key("k"), LockStrength::Update, WaitPolicy::Block).await;
        assert_eq!(locked.expect("moved").as_deref(), Some(&b"1"[..]));
        txn.rollback().await;
        let txn = begin(&db);
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("1"));
        set(&db, &key("k"), "2").await;
        let e = txn.get_locked(&key("k"), LockStrength::Update, WaitPolicy::Block).await;
        assert_eq!(e.expect_err("it has read the old value").sqlstate(), "40001");
        assert!(txn.can_restart());
        txn.restart();
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("2"));
        txn.put(key("k"), "3".into());
        txn.commit().await.expect("the lock was kept");
    });
}

#[test]
fn waiters_get_the_lock_when_its_holder_ends() {
    run(async |db| {
        let (a, b) = (begin(&db), begin(&db));
        let lock = LockStrength::Update;
        a.get_locked(&key("k"), lock, WaitPolicy::Block).await.expect("free");
        let e = b.get_locked(&key("k"), lock, WaitPolicy::NoWait).await.expect_err("taken");
        assert_eq!(e.sqlstate(), "55P03");
        assert_eq!(b.get_locked(&key("k"), lock, WaitPolicy::Skip).await, Ok(None));
        b.set_lock_timeout(Some(Duration::from_millis(10)));
        let e = b.get_locked(&key("k"), lock, WaitPolicy::Block).await.expect_err("taken");
        assert_eq!(e.message, "canceling statement due to lock timeout");
        b.set_lock_timeout(None);
        a.put(key("k"), "a".into());
        let waits = async { b.get_locked(&key("k"), lock, WaitPolicy::Block).await };
        let ends = async {
            db.runtime().sleep(Duration::from_millis(50)).await;
            a.commit().await.expect("commit");
        };
        let (got, ()) = futures::join!(waits, ends);
        assert_eq!(got.expect("released").as_deref(), Some(&b"a"[..]));
        drop(b);
        let c = begin(&db);
        c.get_locked(&key("k"), lock, WaitPolicy::NoWait).await.expect("dropped means rolled back");
    });
}

/// The gateway that has the locks released does not know that their range was divided.
#[test]
fn locks_in_the_other_half_of_a_split_are_released_with_the_transaction() {
    let runtime = SimRuntime::new(1);
    let cluster = Cluster::new(&runtime, 2);
    let [here, there] = &cluster.gateways[..] else { panic!("two gateways") };
    runtime.block_on(async {
        set(here, &table("m"), "1").await;
        let lock = async |db: &Db| {
            let txn = begin(db);
            let got = txn.get_locked(&table("m"), LockStrength::Update, WaitPolicy::NoWait).await;
            (txn, got.map_err(|e| e.sqlstate()))
        };
        let (holder, got) = lock(there).await;
        assert!(got.expect("free").is_some());
        here.split_at(table("c")).await.expect("split");
        assert_eq!(lock(here).await.1, Err("55P03"));
        holder.rollback().await;
        runtime.sleep(Duration::from_millis(20)).await;
        assert!(lock(here).await.1.expect("released").is_some());
    });
}

#[test]
fn a_circle_of_waits_is_a_deadlock() {
    run(async |db| {
        let (a, b) = (begin(&db), begin(&db));
        let lock = LockStrength::Update;
        a.get_locked(&key("x"), lock, WaitPolicy::Block).await.expect("free");
        b.get_locked(&key("y"), lock, WaitPolicy::Block).await.expect("free");
        let (y, x) = (key("y"), key("x"));
        let first = a.get_locked(&y, lock, WaitPolicy::Block);
        let second = async {
            let e = b.get_locked(&x, lock, WaitPolicy::Block).await.expect_err("deadlock");
            b.rollback().await;
            e
        };
        let (first, e) = futures::join!(first, second);
        first.expect("the victim has given way");
        assert_eq!(e.sqlstate(), "40P01");
        assert_eq!(e.message, "deadlock detected");
        assert_eq!(e.detail.expect("who waits for whom").lines().count(), 2);
    });
}

#[test]
fn spilled_writes_are_read_rolled_back_and_committed() {
    run(async |db| {
        db.split_at(table("m")).await.expect("split");
        set(&db, &table("z"), "0").await;
        let txn = begin(&db);
        txn.put(table("a"), "1".into());
        txn.put(table("z"), "1".into());
        txn.flush().await.expect("spill");
        assert_eq!(scan(&txn, ScanOptions::default()).await, "a=1 z=1");
        let sp = txn.savepoint();
        txn.put(table("a"), "2".into());
        txn.put(table("b"), "2".into());
        txn.delete(table("z"));
        txn.flush().await.expect("spill");
        assert_eq!(scan(&txn, ScanOptions::default()).await, "a=2 b=2");
        txn.rollback_to(sp);
        assert_eq!(scan(&txn, ScanOptions::default()).await, "a=1 z=1");
        txn.commit().await.expect("commit");
        assert_eq!(scan(&begin(&db), ScanOptions::default()).await, "a=1 z=1");
    });
}

fn row(n: u32) -> Key {
    table(&format!("{n:05}"))
}

/// Too many to be named: they are found again by spans.
#[test]
fn a_bulk_of_spilled_writes_is_read_rolled_back_and_committed() {
    run(async |db| {
        db.split_at(row(150)).await.expect("split");
        set(&db, &row(1000), "other").await;
        let txn = begin(&db);
        for part in 0..3 {
            (part * 100..part * 100 + 100).for_each(|n| txn.put(row(n), "1".into()));
            txn.flush().await.expect("spill");
        }
        assert_eq!(read(&db, &row(1000)).await.as_deref(), Some("other"), "in nobody's way");
        let sp = txn.savepoint();
        txn.put(row(7), "2".into());
        txn.delete(row(8));
        txn.put(row(9), "2".into());
        txn.put(table("00009x"), "2".into());
        txn.put(row(400), "2".into());
        txn.flush().await.expect("spill");
        for (n, value) in [(7, Some("2")), (8, None), (9, Some("2")), (10, Some("1")), (400, Some("2"))] {
            assert_eq!(get(&txn, &row(n)).await.as_deref(), value, "{n}");
        }
        txn.rollback_to(sp);
        for (n, value) in [(7, Some("1")), (8, Some("1")), (9, Some("1")), (400, None)] {
            assert_eq!(get(&txn, &row(n)).await.as_deref(), value, "{n}");
        }
        assert_eq!(get(&txn, &table("00009x")).await, None, "lies where many were spilled, and was not");
        assert_eq!(scan(&txn, ScanOptions::default()).await.split(' ').count(), 301);
        // Pushes the transaction above where its intents stand.
        txn.put(key("hot"), "1".into());
        assert_eq!(read(&db, &key("hot")).await, None);
        let at = txn.commit().await.expect("commit").timestamp;
        let after = begin(&db);
        assert_eq!(scan(&after, ScanOptions::default()).await.split(' ').count(), 301);
        assert_eq!(read(&db, &row(299)).await.as_deref(), Some("1"));
        let just_before = db.begin(TxnOptions { as_of: Some(at.prev()), ..TxnOptions::default() });
        assert_eq!(get(&just_before, &row(299)).await, None, "not to be seen before the commit");
    });
}

#[test]
fn a_bulk_that_is_rolled_back_leaves_nothing() {
    run(async |db| {
        let txn = begin(&db);
        (0..200).for_each(|n| txn.put(row(n), "1".into()));
        txn.flush().await.expect("spill");
        txn.rollback().await;
        assert_eq!(scan(&begin(&db), ScanOptions::default()).await, "");
        set(&db, &row(100), "2").await;
        assert_eq!(read(&db, &row(100)).await.as_deref(), Some("2"));
    });
}

/// Nobody can tell when rows came to be that could not be found before.
#[test]
fn private_rows_stay_where_they_were_written() {
    run(async |db| {
        let txn = begin(&db);
        txn.note_private(Span::new(row(0), row(1000)));
        (0..200).for_each(|n| txn.put(row(n), "1".into()));
        txn.flush().await.expect("spill");
        let written = txn.read_timestamp();
        db.runtime().sleep(Duration::from_millis(50)).await;
        txn.put(key("hot"), "1".into());
        assert_eq!(read(&db, &key("hot")).await, None);
        let at = txn.commit().await.expect("commit").timestamp;
        assert!(at > written);
        db.runtime().sleep(Duration::from_millis(50)).await;
        assert_eq!(scan(&begin(&db), ScanOptions::default()).await.split(' ').count(), 200);
        let before = db.begin(TxnOptions { as_of: Some(at.prev()), ..TxnOptions::default() });
        assert_eq!(get(&before, &row(100)).await.as_deref(), Some("1"), "its version was not moved");
    });
}

#[test]
fn a_rolled_back_spill_leaves_nothing() {
    run(async |db| {
        let txn = begin(&db);
        txn.put(table("a"), "1".into());
        txn.flush().await.expect("spill");
        txn.rollback().await;
        assert_eq!(scan(&begin(&db), ScanOptions::default()).await, "");
        let other = begin(&db);
        other.put(table("a"), "2".into());
        other.commit().await.expect("nothing is in the way");
    });
}

#[test]
fn the_past_can_be_read_but_not_written() {
    run(async |db| {
        set(&db, &key("k"), "1").await;
        let then = db.clock().now();
        set(&db, &key("k"), "2").await;
        let txn = db.begin(TxnOptions { as_of: Some(then), ..TxnOptions::default() });
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("1"));
        assert!(txn.is_read_only());
        txn.put(key("k"), "3".into());
        assert_eq!(txn.commit().await.expect_err("read only").sqlstate(), "25006");
    });
}

/// Whoever has been told the time of a snapshot can ask for it later and must find the same.
#[test]
fn a_snapshot_whose_time_was_told_stays_there() {
    run(async |db| {
        set(&db, &key("k"), "1").await;
        let txn = begin(&db);
        let told = txn.tell_time(None);
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("1"));
        assert_eq!(txn.tell_time(None), told);
        // Somebody has read at a later time what it is about to write. All that it has read is there still.
        assert_eq!(read(&db, &key("w")).await, None);
        txn.put(key("w"), "1".into());
        let error = txn.commit().await.expect_err("it would have to commit later");
        assert!(error.is_retryable(), "{error}");
        txn.restart();
        let told = txn.tell_time(None);
        assert_eq!(get(&txn, &key("k")).await.as_deref(), Some("1"));
        txn.put(key("w"), "1".into());
        assert_eq!(txn.commit().await.expect("nothing is in the way").timestamp, told);
        let then = db.begin(TxnOptions { as_of: Some(told), ..TxnOptions::default() });
        assert_eq!(get(&then, &key("w")).await.as_deref(), Some("1"));
        assert_eq!((then.tell_time(None), then.reads_the_past()), (told, true));
    });
}

#[test]
fn the_same_seed_gives_the_same_transactions() {
    let ids = |seed| {
        let runtime = SimRuntime::new(seed);
        let (db, _participant) = local_db(&runtime);
        (begin(&db).id(), begin(&db).id())
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}

fn script(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator/testdata").join(name)
}

#[test]
fn anomalies() {
    crate::testing::script::check(&script("anomalies"), |rt| local_db(rt).0);
}

#[test]
fn anomalies_over_the_model() {
    crate::testing::script::check(&script("anomalies"), model_db);
}

#[test]
fn protocol() {
    crate::testing::script::check(&script("protocol"), |rt| local_db(rt).0);
}
