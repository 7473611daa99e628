//! Reads of what there was at a moment.

use super::*;

#[test]
fn a_moment_reads_in_a_snapshot_that_the_transaction_has_left() {
    run(async |db| {
        let keys = [table("a"), table("n"), table("o"), table("x")];
        db.split_at(table("m")).await.expect("split");
        for key in &keys[..3] {
            set(&db, key, "1").await;
        }
        let txn = begin_at(&db, Isolation::ReadCommitted);
        txn.begin_statement();
        txn.put(table("o"), "own".into());
        assert_eq!(get(&txn, &keys[0]).await.as_deref(), Some("1"));
        let moment = txn.moment();
        for key in [&keys[0], &keys[1], &keys[3]] {
            set(&db, key, "2").await;
        }
        txn.begin_statement();
        txn.put(table("n"), "later".into());
        let then = txn.get_at(&moment, &keys).await.expect("read");
        let then: Vec<Option<&[u8]>> = then.iter().map(|v| v.as_deref()).collect();
        assert_eq!(then, [Some(&b"1"[..]), Some(b"1"), Some(b"own"), None]);
        assert_eq!(get(&txn, &keys[3]).await.as_deref(), Some("2"));
    });
}

/// What a moment saw is beneath intents that were rolled back, and are still there.
#[test]
fn a_moment_does_not_see_what_was_rolled_back() {
    run(async |db| {
        let txn = begin(&db);
        txn.put(table("a"), "1".into());
        txn.flush().await.expect("spill");
        let moment = txn.moment();
        let all = Span::new(table(""), table("~"));
        let mut begun =
            txn.scan_at(&moment, all.clone(), ScanOptions { batch_bytes: 1, ..ScanOptions::default() });
        let sp = txn.savepoint();
        txn.put(table("a"), "2".into());
        txn.flush().await.expect("spill");
        txn.rollback_to(sp);
        let e = begun.next_block().await.expect_err("it would see 2");
        assert_eq!(e.sqlstate(), "0A000");
        let e = txn.scan_at(&moment, all, ScanOptions::default()).collect().await.expect_err("it, too");
        assert_eq!(e.sqlstate(), "0A000");
        assert_eq!(txn.get_at(&moment, &[table("a")]).await.expect_err("and so").sqlstate(), "0A000");
        assert_eq!(scan(&txn, ScanOptions::default()).await, "a=1");
        txn.commit().await.expect("commit");
    });
}

/// Another node, whose clock is ahead, writes after the statement began: at a time that may be before.
fn with_uncertain(work: impl AsyncFnOnce(&Db, Txn, Moment)) {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 2);
    runtime.block_on(async {
        set(&cluster.gateways[0], &table("a"), "1").await;
        runtime.sleep(Duration::from_secs(1)).await;
        let txn = begin_at(&cluster.gateways[1], Isolation::ReadCommitted);
        txn.begin_statement();
        let moment = txn.moment();
        work(&cluster.gateways[0], txn, moment).await;
    });
    runtime.shut_down();
}

async fn at(txn: &Txn, moment: &Moment) -> [Result<String, &'static str>; 2] {
    let text = |v: &Bytes| String::from_utf8(v.to_vec()).expect("text");
    let key = table("a");
    let got = txn.get_at(moment, std::slice::from_ref(&key)).await;
    let scanned = txn.scan_at(moment, Span::point(key), ScanOptions::default()).collect().await;
    let got = got.map(|v| v[0].as_ref().map_or_else(String::new, text));
    let scanned = scanned.map(|rows| rows.first().map_or_else(String::new, |(_, v)| text(v)));
    [got, scanned].map(|read| read.map_err(|e| e.sqlstate()))
}

#[test]
fn a_moment_stays_where_its_statement_has_moved_to() {
    for scans in [false, true] {
        with_uncertain(async |other, txn, moment| {
            set(other, &table("a"), "2").await;
            if scans {
                let span = Span::point(table("a"));
                let rows = txn.scan_at(&moment, span, ScanOptions::default()).collect().await.expect("scan");
                assert_eq!(rows[0].1, "2");
            } else {
                let values = txn.get_at(&moment, &[table("a")]).await.expect("read");
                assert_eq!(values[0].as_deref(), Some(&b"2"[..]));
            }
            txn.begin_statement();
            assert_eq!(at(&txn, &moment).await, [Ok("2".into()), Ok("2".into())]);
        });
    }
}

#[test]
fn a_moment_that_was_left_moves_when_it_is_told_to() {
    with_uncertain(async |other, txn, moment| {
        assert!(!txn.move_moment(&moment), "nothing was met");
        set(other, &table("a"), "2").await;
        txn.begin_statement();
        assert_eq!(at(&txn, &moment).await, [Err("40001"), Err("40001")]);
        assert!(txn.move_moment(&moment));
        assert_eq!(at(&txn, &moment).await, [Ok("2".into()), Ok("2".into())]);
        assert!(!txn.move_moment(&moment), "it is past it");
        set(other, &table("a"), "3").await;
        assert_eq!(at(&txn, &moment).await, [Ok("2".into()), Ok("2".into())]);
    });
}

/// The transaction itself cannot move over what others have committed since it read.
#[test]
fn a_moment_of_the_last_statement_can_move_without_it() {
    with_uncertain(async |other, txn, moment| {
        assert_eq!(at(&txn, &moment).await, [Ok("1".into()), Ok("1".into())]);
        set(other, &table("a"), "2").await;
        assert_eq!(at(&txn, &moment).await, [Err("40001"), Err("40001")]);
        assert!(txn.move_moment(&moment));
        assert_eq!(at(&txn, &moment).await, [Ok("2".into()), Ok("2".into())]);
    });
}

/// However long after its statement it meets something: what others committed meanwhile is not of the moment.
#[test]
fn a_moment_moves_no_further_than_what_may_be_older() {
    with_uncertain(async |other, txn, moment| {
        assert_eq!(at(&txn, &moment).await, [Ok("1".into()), Ok("1".into())]);
        set(other, &table("a"), "2").await;
        other.runtime().sleep(Duration::from_secs(10)).await;
        set(other, &table("a"), "3").await;
        assert_eq!(at(&txn, &moment).await, [Err("40001"), Err("40001")]);
        assert!(txn.move_moment(&moment));
        assert_eq!(at(&txn, &moment).await, [Ok("2".into()), Ok("2".into())]);
        assert!(!txn.move_moment(&moment), "it is past it");
    });
}
