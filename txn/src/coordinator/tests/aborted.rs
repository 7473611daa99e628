//! What a transaction reads that others have aborted, and that has not heard of it.

use super::*;
use crate::rpc::{BatchRequest, EndKind, Request, Resolution, Response};

/// Does what others do who take the transaction for dead: its record says so, then its intents are removed.
async fn abort_behind_its_back(txn: &Txn, keys: &[Key]) {
    let (header, meta) = {
        let state = txn.lock_state();
        (state.header(WaitPolicy::Block), state.meta.clone())
    };
    let end = Request::EndTxn {
        how: EndKind::Abort,
        intents: keys.to_vec(),
        spans: Vec::new(),
        in_flight: Vec::new(),
        pinned: false,
    };
    let batch = BatchRequest { header: header.clone(), requests: vec![end] };
    let answer = txn.send_to_key(&meta.anchor, batch).await.expect("abort");
    assert!(matches!(answer.responses[..], [Response::Done]));
    for key in keys {
        let (epoch, keys) = (meta.epoch, vec![key.clone()]);
        let resolve =
            Request::ResolveIntents { txn: meta.id, epoch, to: Resolution::Aborted, keys, spans: Vec::new() };
        let header = crate::rpc::Header { txn: None, ..header.clone() };
        let batch = BatchRequest { header, requests: vec![resolve] };
        txn.send_to_key(key, batch).await.expect("resolve");
    }
}

async fn spilled_and_aborted(db: &Db) -> Txn {
    set(db, &table("a"), "before").await;
    let txn = begin(db);
    txn.put(table("a"), "mine".into());
    txn.put(table("b"), "mine".into());
    txn.flush().await.expect("spill");
    assert_eq!(get(&txn, &table("a")).await.as_deref(), Some("mine"));
    abort_behind_its_back(&txn, &[table("a"), table("b")]).await;
    txn
}

#[test]
fn nobody_reads_on_without_what_it_has_spilled() {
    run(async |db| {
        let aborted = |e: TxnError| assert_eq!(e.kind, TxnErrorKind::Retry, "{e}");
        let txn = spilled_and_aborted(&db).await;
        aborted(txn.get(&table("a")).await.expect_err("the old value would be wrong"));
        aborted(txn.commit().await.expect_err("it was aborted"));
        let txn = spilled_and_aborted(&db).await;
        aborted(txn.get_many(&[table("b"), table("c")], None).await.expect_err("b is gone"));
        let txn = spilled_and_aborted(&db).await;
        let span = Span::new(table(""), table("~"));
        aborted(txn.scan(span, ScanOptions::default()).collect().await.expect_err("both are gone"));
        // What it has never written shows the same in any case.
        let txn = spilled_and_aborted(&db).await;
        assert_eq!(get(&txn, &table("c")).await, None);
    });
}
