//! Statements and portals of the protocol whose names change hands: nothing comes back to itself without end.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, bind, execute, nodes, say, session, with_session};
use crate::session::{Format, Session};

#[test]
fn names_that_lead_back_to_themselves() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = session(&node).await;
        assert_eq!(say(&mut s, "PREPARE p AS SELECT 1; PREPARE q AS EXECUTE p").await.1, Some("42601"));
        assert_eq!(say(&mut s, "PREPARE p AS SELECT 1").await.1, None);
        s.parse("q", "EXECUTE p", &[]).await.expect("an EXECUTE");
        s.close_statement("p");
        s.parse("p", "EXECUTE q", &[]).await.expect("an EXECUTE");
        let error = s.bind("", "p", &[], Vec::new(), Vec::new()).await.expect_err("an EXECUTE of an EXECUTE");
        assert_eq!(error.code(), "0A000");
        s.close_statement("p");
        // It reaches itself when it runs, however it has got its name.
        s.parse("p", "SELECT 1", &[]).await.expect("a query");
        s.parse("r", "EXECUTE p", &[]).await.expect("an EXECUTE");
        s.close_statement("p");
        s.parse("", "SELECT 1", &[]).await.expect("a query");
        s.close_statement("q");
        assert_eq!(say(&mut s, "PREPARE q AS SELECT 1").await.1, None);
        s.parse("p", "EXECUTE q", &[]).await.expect("an EXECUTE");
        s.close_statement("q");
        assert_eq!(say(&mut s, "EXECUTE r").await.1, Some("0A000"));
        assert_eq!(say(&mut s, "EXECUTE p").await.1, Some("0A000"));

        // A portal that fetches from the cursor of its own name.
        s.parse("f", "FETCH FROM c", &[]).await.expect("a FETCH");
        assert_eq!(say(&mut s, "BEGIN").await.1, None);
        s.bind("c", "f", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(say(&mut s, "SET search_path = public").await.1, None);
        assert!(s.describe_portal("c").expect("a portal").fields.is_none());
        assert!(s.execute("c", 0, false, &mut Recorder::default()).await.is_err());
    });
    runtime.shut_down();
}

#[test]
fn execute_returns_what_the_statement_does() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = session(&node).await;
        for (sql, field) in
            [("SELECT 1 AS one", "one"), ("EXPLAIN SELECT 1", "QUERY PLAN"), ("SHOW datestyle", "DateStyle")]
        {
            s.parse("p", sql, &[]).await.expect("a statement");
            s.parse("", "EXECUTE p", &[]).await.expect("an EXECUTE");
            let fields = s.describe_statement("").expect("a statement").fields.expect("rows");
            assert_eq!(fields.iter().map(|f| f.name.to_string()).collect::<Vec<_>>(), [field], "{sql}");
            s.close_statement("p");
            s.close_statement("");
        }
    });
    runtime.shut_down();
}

/// The columns that the portal is described with; empty for a portal without rows.
fn columns(session: &mut Session, portal: &str) -> Vec<String> {
    let fields = session.describe_portal(portal).expect("a portal").fields;
    fields.iter().flat_map(|f| f.iter().map(|f| f.name.to_string())).collect()
}

#[test]
fn a_portal_has_the_columns_of_what_its_name_denotes() {
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN").await.1, None);
        s.parse("f", "FETCH 2 FROM c", &[]).await.expect("a FETCH");
        assert!(s.describe_statement("f").expect("a statement").fields.is_none());
        assert_eq!(say(s, "DECLARE c CURSOR FOR SELECT 1 AS a, 'x' AS b").await.1, None);
        s.bind("", "f", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(columns(s, ""), ["a", "b"]);
        assert_eq!(execute(s, "", 0).await, ["1|x", "FETCH 1"]);
        let formats = vec![Format::Text; 3];
        assert_eq!(s.bind("", "f", &[], Vec::new(), formats).await.map_err(|e| e.code()), Err("08P01"));

        assert_eq!(say(s, "PREPARE p AS SELECT 1 AS a").await.1, None);
        s.parse("e", "EXECUTE p", &[]).await.expect("an EXECUTE");
        s.bind("", "e", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(columns(s, ""), ["a"]);
        assert_eq!(say(s, "DEALLOCATE p; PREPARE p AS SELECT 'x' AS b, 2 AS c").await.1, None);
        s.bind("", "e", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(columns(s, ""), ["b", "c"]);
        assert_eq!(execute(s, "", 0).await, ["x|2", "SELECT 1"]);
        assert_eq!(say(s, "DEALLOCATE p").await.1, None);
        s.bind("", "e", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(columns(s, ""), [""; 0]);
        assert_eq!(execute(s, "", 0).await, ["26000"]);
    });
}

/// Rows of other columns than those of the portal's description would be misread.
#[test]
fn a_portal_keeps_the_columns_that_it_was_made_with() {
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN; PREPARE p AS SELECT 1 AS a").await.1, None);
        s.parse("e", "EXECUTE p", &[]).await.expect("an EXECUTE");
        s.bind("w", "e", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(say(s, "DEALLOCATE p; PREPARE p AS SELECT 'x' AS b, 2 AS c").await.1, None);
        assert_eq!(columns(s, "w"), ["a"]);
        assert_eq!(execute(s, "w", 0).await, ["0A000"]);
    });
}

/// What executions of a statement's portal tell, one after the other, each with the row limit.
async fn pieces<const N: usize>(session: &mut Session, sql: &str, max_rows: usize) -> [String; N] {
    session.close_statement("s");
    session.parse("s", sql, &[]).await.expect("a statement");
    session.bind("", "s", &[], Vec::new(), Vec::new()).await.expect("a portal");
    let mut told = [const { String::new() }; N];
    for t in &mut told {
        *t = execute(session, "", max_rows).await.join(" ");
    }
    told
}

#[test]
fn execute_and_fetch_stop_at_the_row_limit() {
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN; PREPARE p AS SELECT generate_series(1, 10)").await.1, None);
        assert_eq!(
            pieces(s, "EXECUTE p", 3).await,
            ["1 2 3 suspended", "4 5 6 suspended", "7 8 9 suspended", "10 SELECT 1", "SELECT 0"]
        );
        // The cursor moves by the whole FETCH.
        assert_eq!(say(s, "DECLARE c CURSOR FOR SELECT generate_series(1, 20)").await.1, None);
        assert_eq!(
            pieces(s, "FETCH 8 c", 3).await,
            ["1 2 3 suspended", "4 5 6 suspended", "7 8 FETCH 2", "FETCH 0"]
        );
        assert_eq!(say(s, "FETCH 1 c").await.0, ["9", "FETCH 1"]);
        assert_eq!(
            pieces(s, "FETCH 8 c", 4).await,
            ["10 11 12 13 suspended", "14 15 16 17 suspended", "FETCH 0", "FETCH 0"]
        );
        assert_eq!(pieces(s, "FETCH 8 c", 0).await, ["18 19 20 FETCH 3", "FETCH 0"]);
        assert_eq!(pieces(s, "SHOW datestyle", 1).await, ["ISO, MDY suspended", "SHOW", "SHOW"]);
        let explained =
            pieces::<4>(s, "EXPLAIN (COSTS OFF) SELECT count(*) FROM generate_series(1, 2)", 1).await;
        assert!(explained[0].ends_with(" suspended"), "{explained:?}");
        assert_eq!(explained[3], "EXPLAIN");
    });
}

#[test]
fn what_changes_data_runs_to_its_end_at_the_row_limit() {
    with_session(async |s| {
        assert_eq!(say(s, "CREATE TABLE t (k int PRIMARY KEY)").await.1, None);
        assert_eq!(
            say(s, "BEGIN; PREPARE p AS INSERT INTO t VALUES (1), (2), (3) RETURNING k").await.1,
            None
        );
        assert_eq!(pieces(s, "EXECUTE p", 2).await, ["1 2 suspended"]);
        let insert = "INSERT INTO t VALUES (5), (6), (7) RETURNING k";
        assert_eq!(pieces(s, insert, 2).await, ["5 6 suspended", "7 INSERT 0 1", "INSERT 0 0"]);
        assert_eq!(say(s, "SELECT count(*) FROM t").await.0, ["6", "SELECT 1"]);
        // What returns no rows runs once.
        assert_eq!(pieces(s, "INSERT INTO t VALUES (4)", 2).await, ["INSERT 0 1", "55000"]);
    });
}

/// As a whole, and on what it has itself written: no moment stands still for it.
#[test]
fn with_that_changes_data_does_so_at_once() {
    with_session(async |s| {
        let schema = "CREATE TABLE p (id int PRIMARY KEY);
            CREATE TABLE c (k int PRIMARY KEY,
                x int REFERENCES p ON DELETE SET NULL, y int REFERENCES p ON DELETE SET NULL);
            CREATE INDEX ON c (x); CREATE INDEX ON c (y);
            INSERT INTO p VALUES (1), (2), (3); INSERT INTO c VALUES (10, 1, 1), (20, 2, 2)";
        assert_eq!(say(s, schema).await.1, None);
        assert_eq!(say(s, "BEGIN").await.1, None);
        let delete = "WITH d AS (DELETE FROM p WHERE id < 3 RETURNING id) SELECT id FROM d ORDER BY id";
        assert_eq!(pieces(s, delete, 1).await, ["1 suspended"]);
        assert_eq!(say(s, "SELECT count(*) FROM p").await.0, ["1", "SELECT 1"]);
        assert_eq!(say(s, "SELECT x IS NULL AND y IS NULL FROM c").await.0, ["t", "t", "SELECT 2"]);
        // Parentheses change nothing.
        let delete = "(WITH d AS (DELETE FROM c RETURNING k) SELECT k FROM d ORDER BY k)";
        assert_eq!(pieces(s, delete, 1).await, ["10 suspended"]);
        assert_eq!(say(s, "SELECT count(*) FROM c").await.0, ["0", "SELECT 1"]);
        // What returns no rows says how many it has changed.
        let insert = "WITH i AS (INSERT INTO p VALUES (7) RETURNING id) INSERT INTO c SELECT id + 1 FROM i";
        assert_eq!(pieces(s, insert, 9).await, ["INSERT 0 1"]);
        // FETCH, too, runs a portal's statement once.
        for (portal, sql) in [
            ("i", "INSERT INTO p VALUES (4), (5), (6) RETURNING id"),
            ("w", "WITH d AS (DELETE FROM p WHERE id > 4 RETURNING id) SELECT id FROM d ORDER BY id"),
        ] {
            s.parse(portal, sql, &[]).await.expect("a statement");
            s.bind(portal, portal, &[], Vec::new(), Vec::new()).await.expect("a portal");
        }
        assert_eq!(say(s, "FETCH 2 FROM i").await.0, ["4", "5", "FETCH 2"]);
        assert_eq!(say(s, "FETCH 1 FROM w").await.0, ["5", "FETCH 1"]);
        assert_eq!(say(s, "SELECT id FROM p ORDER BY id").await.0, ["3", "4", "SELECT 2"]);
        assert_eq!(say(s, "FETCH ALL FROM i; FETCH ALL FROM w").await.0[..2], ["6", "FETCH 1"]);
        assert_eq!(say(s, "COMMIT").await.1, None);
    });
}

#[test]
fn a_cursor_reads_what_answers_at_once() {
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN; PREPARE p AS SELECT generate_series(1, 3)").await.1, None);
        for (portal, sql) in [("g", "SHOW datestyle"), ("e", "EXECUTE p"), ("f", "FETCH 2 FROM e")] {
            s.parse(portal, sql, &[]).await.expect("a statement");
            s.bind(portal, portal, &[], Vec::new(), Vec::new()).await.expect("a portal");
        }
        assert_eq!(say(s, "FETCH 1 FROM g").await.0, ["ISO, MDY", "FETCH 1"]);
        assert_eq!(say(s, "FETCH 1 FROM g").await.0, ["FETCH 0"]);
        assert_eq!(say(s, "FETCH 1 FROM f").await.0, ["1", "FETCH 1"]);
        assert_eq!(say(s, "FETCH 1 FROM e").await.0, ["3", "FETCH 1"]);
        assert_eq!(execute(s, "f", 0).await, ["2", "FETCH 1"]);
        s.parse("", "EXPLAIN SELECT 1", &[]).await.expect("a statement");
        s.bind("x", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(say(s, "MOVE 100 FROM x; FETCH 1 FROM x").await.0[1..], ["FETCH 0"]);
        s.parse("", "SAVEPOINT a", &[]).await.expect("a statement");
        s.bind("n", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(say(s, "FETCH 1 FROM n").await.1, Some("55000"));
    });
}

/// Each of the portals would run while it runs.
#[test]
fn portals_that_fetch_from_one_another() {
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN; DECLARE b CURSOR FOR SELECT 1").await.1, None);
        s.parse("from_a", "FETCH FROM a", &[]).await.expect("a FETCH");
        s.parse("from_b", "FETCH FROM b", &[]).await.expect("a FETCH");
        s.bind("a", "from_b", &[], Vec::new(), Vec::new()).await.expect("a portal");
        s.close_portal("b");
        s.bind("b", "from_a", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(execute(s, "a", 0).await, ["55000"]);
    });
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN; DECLARE c0 CURSOR FOR SELECT 1").await.1, None);
        for n in 1..100 {
            s.parse("", &format!("FETCH FROM c{}", n - 1), &[]).await.expect("a FETCH");
            s.bind(&format!("c{n}"), "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        }
        assert_eq!(execute(s, "c3", 0).await, ["1", "FETCH 1"]);
        assert_eq!(execute(s, "c99", 0).await, ["54001"]);
    });
}

/// What changes data under a row limit has run to its end before its first row is seen, and is committed after the last.
#[test]
fn rows_that_do_not_arrive_are_not_committed() {
    with_session(async |s| {
        assert_eq!(say(s, "CREATE TABLE t (k int PRIMARY KEY)").await.1, None);
        let insert = "INSERT INTO t SELECT generate_series(1, 3) RETURNING k";
        for text in [insert, &format!("WITH i AS ({insert}) SELECT k FROM i ORDER BY k")] {
            assert_eq!(say(s, "SET statement_timeout = '1s'").await.1, None);
            bind(s, "", text).await;
            let mut client = Recorder { stalled: true, ..Recorder::default() };
            let e = s.execute("", 2, true, &mut client).await.expect_err("the client takes nothing");
            assert_eq!(e.code(), "57014");
            s.fail(&e, &mut client).await;
            s.sync(&mut client).await.expect("nothing is left to be done");
            assert_eq!(say(s, "SELECT count(*) FROM t").await.0, ["0", "SELECT 1"], "{text}");

            bind(s, "", text).await;
            let mut client = Recorder::default();
            s.execute("", 2, true, &mut client).await.expect("the first rows");
            assert_eq!(client.told, ["1", "2", "suspended"]);
            let rest = execute(s, "", 2).await;
            assert_eq!(rest[0], "3", "{text}");
            s.sync(&mut client).await.expect("a commit");
            assert_eq!(say(s, "SELECT count(*) FROM t").await.0, ["3", "SELECT 1"], "{text}");
            assert_eq!(say(s, "DELETE FROM t").await.1, None);
        }
    });
}
