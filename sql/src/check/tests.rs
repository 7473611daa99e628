//! Damage that is done below SQL is found, and nothing else is.

use meridian_storage::base::{Key, Span};
use meridian_txn::testing::{SimRuntime, local_db};
use meridian_txn::{Db, ScanOptions, TxnOptions};

use super::*;
use crate::catalog::CatalogCache;
use crate::session::SqlNode;
use crate::testing::{connect, query};

const SCHEMA: &str = "
    CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE, price numeric(9, 2));
    CREATE TABLE c (id int PRIMARY KEY, p int NOT NULL REFERENCES p, n int CHECK (n > 0), note text);
    CREATE INDEX c_p ON c (p DESC) INCLUDE (n);
    CREATE INDEX c_note ON c (note) WHERE n > 10;
    INSERT INTO p VALUES (1, 'one', 1.50), (2, 'two', NULL), (3, NULL, -0.0);
    INSERT INTO c VALUES (1, 1, 5, 'a'), (2, 1, 15, 'b'), (3, 2, 25, NULL)";

/// Runs `damage` on a database with the schema, and answers what is found then.
fn found(damage: impl AsyncFnOnce(&Db)) -> Vec<String> {
    let runtime = SimRuntime::new(1);
    let (db, _participant) = local_db(&runtime);
    let found = runtime.block_on(async {
        let catalog = CatalogCache::open(db.clone()).await.expect("an empty cluster");
        let mut session = connect(SqlNode::new(db.clone(), catalog).into()).await.expect("the superuser");
        query(&mut session, SCHEMA).await.expect("a schema");
        damage(&db).await;
        all(&db).await
    });
    runtime.shut_down();
    found
}

async fn all(db: &Db) -> Vec<String> {
    let (at, mut next, mut found) = (db.clock().now(), Some(first_key()), Vec::new());
    while let Some(from) = next.take() {
        let part = sweep(db, at, from).await.expect("nothing is in the way");
        found.extend(part.violations.iter().map(|v| format!("{}: {}", v.table, v.what)));
        next = part.next;
    }
    found
}

/// The keys and values of an index, in order.
async fn index(db: &Db, table: &str, index: &str) -> Vec<(Key, bytes::Bytes)> {
    let txn = db.begin(TxnOptions::default());
    let catalog = store::load(&txn).await.expect("a catalog");
    let table = catalog.tables.values().find(|t| t.name == table).expect("the table");
    let index = table.all_indexes().find(|i| i.name == index).expect("the index");
    let span: Span = span_of(table, index);
    txn.scan(span, ScanOptions::default()).collect().await.expect("nothing is in the way")
}

async fn put(db: &Db, key: &Key, value: Option<bytes::Bytes>) {
    let txn = db.begin(TxnOptions::default());
    match value {
        Some(value) => txn.put(key.clone(), value),
        None => txn.delete(key.clone()),
    }
    txn.commit().await.expect("nobody is in the way");
}

#[test]
fn what_sql_has_written_is_in_order() {
    assert_eq!(found(async |_| {}), Vec::<String>::new());
}

#[test]
fn an_entry_that_is_missing_is_found() {
    let found = found(async |db| {
        let entries = index(db, "c", "c_p").await;
        put(db, &entries[0].0, None).await;
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("public.c: row (id)=(3): index c_p has no entry (p)=(2) at "), "{found:?}");
}

#[test]
fn an_entry_without_its_row_is_found() {
    let found = found(async |db| {
        let rows = index(db, "c", "c_pkey").await;
        put(db, &rows[1].0, None).await;
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("public.c: entry of index c_p: the row under "), "{found:?}");
    assert!(found[1].starts_with("public.c: entry of index c_note: the row under "), "{found:?}");
}

#[test]
fn an_entry_with_other_columns_than_its_row_is_found() {
    let found = found(async |db| {
        let entries = index(db, "c", "c_p").await;
        put(db, &entries[0].0, Some(entries[1].1.clone())).await;
    });
    assert_eq!(found, ["public.c: entry of index c_p: its row (id)=(3) has other columns"]);
}

#[test]
fn two_rows_with_one_unique_key_are_found() {
    let found = found(async |db| {
        let rows = index(db, "p", "p_pkey").await;
        put(db, &rows[1].0, Some(rows[0].1.clone())).await;
    });
    let text = found.join("\n");
    assert!(
        text.contains("row (id)=(2): unique index p_name_key has (name)=(one) for the row under"),
        "{text}"
    );
    assert!(text.contains("entry of index p_name_key: its row (id)=(2) has the entry"), "{text}");
}

#[test]
fn orphans_and_rows_against_their_checks_are_found() {
    let found = found(async |db| {
        let parents = index(db, "p", "p_pkey").await;
        put(db, &parents[1].0, None).await;
        let (key, row) = index(db, "c", "c_pkey").await.remove(0);
        // n stands before the note, which is one letter: 5 becomes -5.
        let mut row = row.to_vec();
        let at = row.len() - 2;
        assert_eq!(row[at], 5);
        row[at] = -5i8 as u8;
        put(db, &key, Some(row.into())).await;
    });
    let text = found.join("\n");
    assert!(text.contains("row (id)=(1): check c_n_check is false"), "{text}");
    assert!(text.contains("row (id)=(3): foreign key c_p_fkey: p has no row under"), "{text}");
}

#[test]
fn a_row_that_does_not_decode_is_found() {
    let found = found(async |db| {
        let rows = index(db, "p", "p_pkey").await;
        put(db, &rows[0].0, Some(bytes::Bytes::from_static(b"\x99"))).await;
    });
    assert!(found[0].starts_with("public.p: cannot be decoded: invalid stored row"), "{found:?}");
}

#[test]
fn damage_that_came_later_is_not_seen() {
    let runtime = SimRuntime::new(1);
    let (db, _participant) = local_db(&runtime);
    runtime.block_on(async {
        let catalog = CatalogCache::open(db.clone()).await.expect("an empty cluster");
        let mut session = connect(SqlNode::new(db.clone(), catalog).into()).await.expect("the superuser");
        query(&mut session, SCHEMA).await.expect("a schema");
        let at = db.clock().now();
        let entries = index(&db, "c", "c_p").await;
        put(&db, &entries[0].0, None).await;
        let part = sweep(&db, at, first_key()).await.expect("nothing is in the way");
        assert_eq!((part.violations, part.next), (vec![], None));
        assert_eq!(part.looked_at, 3 + 2 + 1 + 3 + 3 + 2);
        assert_eq!(all(&db).await.len(), 1);
    });
    runtime.shut_down();
}
