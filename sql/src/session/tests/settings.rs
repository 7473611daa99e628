//! Settings that change with a statement or a transaction: which last, and from when on.

use super::{Recorder, nodes, say, session, talk};
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

#[test]
fn set_config_of_a_failed_statement_does_nothing() {
    talk(&[
        ("SELECT set_config('search_path', 'evil', false), 1/0", &["22012"]),
        ("SELECT 1", &["1", "SELECT 1"]),
        ("SHOW search_path", &["\"$user\", public", "SHOW"]),
        ("COPY (SELECT set_config('search_path', 'evil', false), 1/0) TO STDOUT", &["22012"]),
        ("COPY (SELECT 1) TO STDOUT", &["COPY 1"]),
        ("SHOW search_path", &["\"$user\", public", "SHOW"]),
        ("BEGIN; SAVEPOINT s", &["BEGIN", "SAVEPOINT"]),
        ("SELECT set_config('search_path', 'evil', false), 1/0", &["22012"]),
        ("ROLLBACK TO s; SELECT 1; COMMIT", &["ROLLBACK", "1", "SELECT 1", "COMMIT"]),
        ("SHOW search_path", &["\"$user\", public", "SHOW"]),
    ]);
}

#[test]
fn set_config_acts_when_its_statement_has_run() {
    talk(&[
        ("COPY (SELECT set_config('work_mem', '9MB', false)) TO STDOUT", &["COPY 1"]),
        ("SHOW work_mem", &["9MB", "SHOW"]),
        ("BEGIN", &["BEGIN"]),
        (
            "DECLARE c CURSOR FOR SELECT set_config('work_mem', '8MB', false), generate_series(1, 3)",
            &["DECLARE CURSOR"],
        ),
        ("SHOW work_mem", &["9MB", "SHOW"]),
        ("FETCH c; SHOW work_mem", &["8MB|1", "FETCH 1", "8MB", "SHOW"]),
        ("ROLLBACK; SHOW work_mem", &["ROLLBACK", "9MB", "SHOW"]),
        ("PREPARE p(text) AS SELECT $1", &["PREPARE"]),
        ("EXECUTE p(set_config('work_mem', '6MB', false))", &["6MB", "SELECT 1"]),
        ("SHOW work_mem", &["6MB", "SHOW"]),
        // The statement sees it at once, as SHOW would.
        (
            "SELECT set_config('work_mem', '2048', false), current_setting('work_mem')",
            &["2MB|2MB", "SELECT 1"],
        ),
        ("SELECT set_config('work_mem', '3MB', true)", &["3MB", "SELECT 1"]),
        ("COPY (SELECT set_config('work_mem', '3MB', true)) TO STDOUT", &["COPY 1"]),
        ("SHOW work_mem", &["2MB", "SHOW"]),
    ]);
}

#[test]
fn set_config_of_null_resets() {
    talk(&[
        ("SET work_mem = '9MB'", &["SET"]),
        (
            "SELECT set_config('work_mem', NULL, false), current_setting('work_mem')",
            &["64MB|64MB", "SELECT 1"],
        ),
        ("SHOW work_mem", &["64MB", "SHOW"]),
        ("SET application_name = set; BEGIN", &[SET, "SET", "BEGIN"]),
        ("SELECT set_config('application_name', NULL, true)", &["", "application_name=", "SELECT 1"]),
        ("COMMIT", &[SET, "COMMIT"]),
        (
            "SELECT set_config('search_path', 'x', false), set_config('search_path', NULL, NULL)",
            &["x|\"$user\", public", "SELECT 1"],
        ),
        ("SHOW search_path", &["\"$user\", public", "SHOW"]),
        ("BEGIN READ ONLY", &["BEGIN"]),
        ("SELECT set_config('transaction_read_only', NULL, true)", &["25001"]),
        ("ROLLBACK", &["ROLLBACK"]),
        ("SELECT set_config('server_version', NULL, false)", &["55P02"]),
        ("SELECT set_config(NULL, NULL, false)", &["22004"]),
    ]);
}

#[test]
fn a_reset_of_all_tells_what_it_changes() {
    const ISO: &str = "DateStyle=ISO, MDY";
    talk(&[
        ("RESET ALL", &["RESET"]),
        ("SET application_name = set; SET work_mem = '9MB'", &[SET, "SET", "SET"]),
        ("SET datestyle = 'ISO, MDY'", &[ISO, "SET"]),
        ("RESET ALL", &["application_name=", "RESET"]),
        ("SHOW work_mem", &["64MB", "SHOW"]),
        ("SET datestyle = 'German'", &["DateStyle=German, DMY", "SET"]),
        ("BEGIN; RESET ALL", &["BEGIN", ISO, "RESET"]),
        ("ROLLBACK", &["DateStyle=German, DMY", "ROLLBACK"]),
        ("DISCARD ALL", &[ISO, "DISCARD ALL"]),
        ("DISCARD ALL", &["DISCARD ALL"]),
    ]);
}

#[test]
fn set_config_acts_in_a_portal_that_goes_on() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = session(&node).await;
        assert_eq!(say(&mut s, "BEGIN").await.1, None);
        // More rows than are computed at once.
        let sql = "SELECT set_config('work_mem', n || 'kB', false) FROM generate_series(1001, 9001) n";
        s.parse("", sql, &[]).await.expect("a query");
        s.bind("", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        let mut client = Recorder::default();
        s.execute("", 1, false, &mut client).await.expect("a row");
        assert_eq!(client.told, ["1001kB", "suspended"]);
        s.execute("", 0, false, &mut client).await.expect("the others");
        assert_eq!(say(&mut s, "SHOW work_mem").await.0, ["9001kB", "SHOW"]);
    });
    runtime.shut_down();
}

const LOCAL: &str = "application_name=local";
const SET: &str = "application_name=set";

#[test]
fn set_after_set_local_lasts() {
    talk(&[
        ("BEGIN; SET LOCAL application_name = local", &["BEGIN", LOCAL, "SET"]),
        ("SET application_name = set; COMMIT", &[SET, "SET", "COMMIT"]),
        ("SHOW application_name", &["set", "SHOW"]),
    ]);
}

#[test]
fn the_last_set_lasts_whatever_is_local_around_it() {
    talk(&[
        ("BEGIN; SET application_name = first", &["BEGIN", "application_name=first", "SET"]),
        ("SET LOCAL application_name = local; SAVEPOINT a", &[LOCAL, "SET", "SAVEPOINT"]),
        ("SET application_name = set; SAVEPOINT b", &[SET, "SET", "SAVEPOINT"]),
        ("SET LOCAL application_name = local; RELEASE a", &[LOCAL, "SET", "RELEASE"]),
        ("COMMIT", &[SET, "COMMIT"]),
        ("BEGIN; SET LOCAL application_name = local; SAVEPOINT a", &["BEGIN", LOCAL, "SET", "SAVEPOINT"]),
        ("SET application_name = lost", &["application_name=lost", "SET"]),
        ("ROLLBACK TO a; SHOW application_name", &[LOCAL, "ROLLBACK", "local", "SHOW"]),
        ("COMMIT", &[SET, "COMMIT"]),
        (
            "BEGIN; SET LOCAL application_name = local; RESET application_name; COMMIT",
            &["BEGIN", LOCAL, "SET", "application_name=", "RESET", "COMMIT"],
        ),
        ("SHOW application_name", &["", "SHOW"]),
    ]);
}

#[test]
fn an_error_takes_settings_back_at_once() {
    talk(&[
        ("BEGIN; SET application_name = set", &["BEGIN", SET, "SET"]),
        ("SAVEPOINT s; SET application_name = inner", &["SAVEPOINT", "application_name=inner", "SET"]),
        ("SAVEPOINT t; SET LOCAL application_name = local", &["SAVEPOINT", LOCAL, "SET"]),
        ("SELECT 1/0", &["application_name=inner", "22012"]),
        ("ROLLBACK TO t; SHOW application_name", &["ROLLBACK", "inner", "SHOW"]),
        ("SELECT 1/0", &["22012"]),
        ("ROLLBACK TO s", &[SET, "ROLLBACK"]),
        ("ROLLBACK", &["application_name=", "ROLLBACK"]),
        ("BEGIN; SET application_name = set", &["BEGIN", SET, "SET"]),
        ("SELECT 1/0", &["application_name=", "22012"]),
        ("COMMIT", &["ROLLBACK"]),
    ]);
}

#[test]
fn set_local_outside_a_block_is_checked() {
    talk(&[
        ("SET LOCAL nope = 1", &["42704"]),
        ("SET LOCAL work_mem = 'nope'", &["22023"]),
        ("SET LOCAL work_mem = '1MB'", &["SET"]),
        ("SHOW work_mem", &["64MB", "SHOW"]),
    ]);
}

#[test]
fn a_list_of_names_reads_back_the_same() {
    talk(&[
        ("SET search_path = a, '', B; SHOW search_path", &["SET", "a, \"\", b", "SHOW"]),
        ("SET search_path = 'a, b'; SHOW search_path", &["SET", "\"a, b\"", "SHOW"]),
        ("SET search_path = 'select', 1, \"X\"; SHOW search_path", &["SET", "\"select\", 1, \"X\"", "SHOW"]),
        ("SET search_path = ''; SHOW search_path", &["SET", "\"\"", "SHOW"]),
        ("RESET search_path; SHOW search_path", &["RESET", "\"$user\", public", "SHOW"]),
        ("SET work_mem = 1, 2", &["22023"]),
        ("SET datestyle = 'SQL', dmy", &["DateStyle=SQL, DMY", "SET"]),
        ("SET datestyle = 'iso'", &["DateStyle=ISO, DMY", "SET"]),
        ("SET datestyle = 'iso, sql'", &["22023"]),
        (
            "SELECT set_config('datestyle', 'sql', false), set_config('datestyle', 'mdy', false)",
            &["SQL, DMY|SQL, MDY", "DateStyle=SQL, MDY", "SELECT 1"],
        ),
    ]);
}
