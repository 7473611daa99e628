//! Statements and portals of the protocol whose names change hands: nothing comes back to itself without end.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, execute, nodes, say, session, with_session};
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
