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
