//! A node whose clock cannot be relied upon: what its clients are told, and what they may still do.

use meridian_storage::base::Unsound;

use super::{say, with_session};

#[test]
fn statements_are_refused_until_the_clock_is_right() {
    with_session(async |session| {
        let clock = session.node.clock().clone();
        assert_eq!(say(session, "CREATE TABLE t (k int PRIMARY KEY)").await.1, None);
        assert_eq!(say(session, "SHOW meridian.clock").await.0, ["sound", "SHOW"]);
        assert_eq!(say(session, "BEGIN; INSERT INTO t VALUES (1)").await.1, None);
        clock.raise_fence(Unsound::Off { ahead: -3_600_000_000_000, median: 0 }, 0);
        // The open block fails, and can be ended.
        assert_eq!(say(session, "INSERT INTO t VALUES (2)").await.1, Some("57P03"));
        assert_eq!(say(session, "SELECT 1").await.1, Some("25P02"));
        assert_eq!(say(session, "ROLLBACK").await.0, ["ROLLBACK"]);
        for refused in ["SELECT 1", "SELECT * FROM t", "BEGIN", "INSERT INTO t VALUES (1)", "DROP TABLE t"] {
            assert_eq!(say(session, refused).await, (vec![], Some("57P03")), "{refused}");
        }
        let state = "fenced: its clock is 3600.000 s behind most other nodes'";
        assert_eq!(say(session, "SHOW meridian.clock").await.0, [state, "SHOW"]);
        clock.lift_fence();
        assert_eq!(say(session, "SELECT count(*) FROM t").await.0, ["0", "SELECT 1"]);
    });
}
