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

/// The ranges know only the newest of a transaction's intents.
#[test]
fn a_moment_refuses_what_lies_beneath_later_spills() {
    run(async |db| {
        set(&db, &table("a/1"), "1").await;
        set(&db, &table("z/1"), "1").await;
        let txn = begin(&db);
        txn.put(table("b/1"), "spilled".into());
        txn.flush().await.expect("spill");
        txn.put(table("c/1"), "buffered".into());
        txn.delete(table("z/1"));
        let moment = txn.moment();
        for key in ["a/1", "a/2", "c/1", "z/1"] {
            txn.put(table(key), "later".into());
        }
        assert_eq!(seen(&txn, &moment, "a", "~").await, Ok("a/1=1 b/1=spilled c/1=buffered".into()));
        for _ in 0..2 {
            txn.flush().await.expect("spill");
            assert_eq!(seen(&txn, &moment, "a", "b").await, Err("0A000"));
            assert_eq!(seen(&txn, &moment, "b", "~").await, Ok("b/1=spilled c/1=buffered".into()));
            for key in ["a/1", "a/2"] {
                let e = txn.get_at(&moment, &[table("b/1"), table(key)]).await.expect_err("hidden");
                assert_eq!((e.sqlstate(), e.hint.is_some()), ("0A000", true));
            }
            let others = [table("b/1"), table("c/1"), table("z/1")];
            let values = txn.get_at(&moment, &others).await.expect("read");
            assert_eq!(values, [Some("spilled".into()), Some("buffered".into()), None]);
            for key in ["a/1", "c/1", "z/1"] {
                txn.put(table(key), "later still".into());
            }
        }
        txn.flush().await.expect("spill");
        let all = "a/1=later still a/2=later b/1=spilled c/1=later still z/1=later still";
        let now = txn.moment();
        assert_eq!(seen(&txn, &now, "a", "~").await, Ok(all.into()));
        txn.put(table("b/1"), "once more".into());
        txn.flush().await.expect("spill");
        assert_eq!(seen(&txn, &moment, "b", "c").await, Err("0A000"), "was spilled before, but not so");
        assert_eq!(seen(&txn, &now, "b", "c").await, Err("0A000"));
        assert_eq!(seen(&txn, &now, "c", "~").await, Ok("c/1=later still z/1=later still".into()));
        txn.commit().await.expect("commit");
    });
}

async fn seen(txn: &Txn, moment: &Moment, from: &str, to: &str) -> Result<String, &'static str> {
    let rows = txn.scan_at(moment, Span::new(table(from), table(to)), ScanOptions::default()).collect().await;
    let text = |(k, v): &(Key, Bytes)| format!("{}={}", k[1..].escape_ascii(), v.escape_ascii());
    rows.map(|rows| rows.iter().map(text).collect::<Vec<_>>().join(" ")).map_err(|e| e.sqlstate())
}

/// What a scan has passed already may be spilled, and what it will not come to.
#[test]
fn a_moment_reads_as_far_as_nothing_was_spilled() {
    run(async |db| {
        for key in ["a/1", "a/2", "a/3", "a/4"] {
            set(&db, &table(key), "1").await;
        }
        let txn = begin(&db);
        let moment = txn.moment();
        let options = ScanOptions { batch_bytes: 1, ..ScanOptions::default() };
        let mut scanner = txn.scan_at(&moment, Span::new(table("a"), table("b")), options);
        scanner.next_block().await.expect("scan").expect("a/1");
        txn.put(table("a/1"), "2".into());
        txn.put(table("a/4"), "2".into());
        txn.flush().await.expect("spill");
        for key in ["a/2", "a/3"] {
            let block = scanner.next_block().await.expect("scan").expect("a block");
            assert_eq!(block.key(0), &table(key)[..]);
        }
        assert_eq!(scanner.next_block().await.expect_err("it would see 2").sqlstate(), "0A000");
    });
}

#[test]
fn a_moment_sees_again_what_was_hidden_by_writes_that_are_rolled_back() {
    for others in [0, 9] {
        run(async |db| {
            for key in ["a/1", "b/1"] {
                set(&db, &table(key), "1").await;
            }
            let txn = begin(&db);
            let moment = txn.moment();
            let outer = txn.savepoint();
            txn.put(table("b/1"), "2".into());
            let inner = txn.savepoint();
            txn.put(table("a/1"), "2".into());
            for n in 0..others {
                txn.put(table(&format!("a/{}", n + 2)), "2".into());
            }
            txn.flush().await.expect("spill");
            let both = [seen(&txn, &moment, "a", "b").await, seen(&txn, &moment, "b", "c").await];
            assert_eq!(both, [Err("0A000"), Err("0A000")]);
            txn.rollback_to(inner);
            let both = [seen(&txn, &moment, "a", "b").await, seen(&txn, &moment, "b", "c").await];
            assert_eq!(both, [Ok("a/1=1".into()), Err("0A000")], "b/1 was written before");
            txn.put(table("a/1"), "3".into());
            txn.flush().await.expect("spill");
            txn.release(inner);
            assert_eq!(seen(&txn, &moment, "a", "b").await, Err("0A000"), "now the outer one's");
            if others > 0 {
                // Of a key among many nobody knows whether it was written, and so it is put back as it was.
                txn.rollback_to(outer);
                assert_eq!(seen(&txn, &moment, "b", "c").await, Err("0A000"));
                return;
            }
            txn.rollback_to(outer);
            assert_eq!(seen(&txn, &moment, "a", "c").await, Ok("a/1=1 b/1=1".into()));
            txn.put(table("a/1"), "4".into());
            txn.flush().await.expect("spill");
            txn.release(outer);
            assert_eq!(seen(&txn, &moment, "a", "b").await, Err("0A000"));
            txn.commit().await.expect("commit");
        });
    }
}

/// Rows that are locked are read as they are now; those that the transaction has written since do not stand.
#[test]
fn what_was_spilled_since_a_moment_does_not_stand() {
    run(async |db| {
        set(&db, &table("a/1"), "1").await;
        set(&db, &table("z/1"), "1").await;
        let txn = begin(&db);
        txn.put(table("b/1"), "1".into());
        txn.flush().await.expect("spill");
        for key in ["c/1", "d/1"] {
            txn.put(table(key), "1".into());
        }
        let moment = txn.moment();
        let stands = async |key: &str| {
            let key = table(key);
            let value = txn.get(&key).await.expect("read").expect("a row");
            txn.stands_since(&moment, &key, &value).map_err(|e| e.sqlstate())
        };
        // The same value, in another write.
        txn.put(table("a/1"), Bytes::copy_from_slice(b"1"));
        txn.put(table("c/1"), Bytes::copy_from_slice(b"1"));
        for spilled in [false, true] {
            for (key, expected) in
                [("a/1", false), ("b/1", true), ("c/1", false), ("d/1", true), ("z/1", true)]
            {
                assert_eq!(stands(key).await, Ok(expected), "{key} {spilled}");
            }
            txn.flush().await.expect("spill");
        }
        for n in 1..9 {
            txn.put(table(&format!("y/{n}")), "1".into());
        }
        txn.flush().await.expect("spill");
        for (key, expected) in
            [("b/1", Ok(true)), ("d/1", Ok(true)), ("y/2", Err("0A000")), ("z/1", Ok(true))]
        {
            assert_eq!(stands(key).await, expected, "{key}");
        }
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
