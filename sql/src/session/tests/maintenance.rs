//! VACUUM, REINDEX and CLUSTER: what is named has to be there, and options have to be known.

use super::talk;

const SETUP: (&str, &[&str]) = (
    "CREATE TABLE t (k int PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS a; CREATE INDEX i ON t (k); CREATE TABLE u (k int)",
    &["CREATE TABLE", "CREATE VIEW", "CREATE INDEX", "CREATE TABLE"],
);

#[test]
fn reindex_names_what_is_there() {
    talk(&[
        SETUP,
        ("REINDEX TABLE t", &["REINDEX"]),
        ("REINDEX TABLE pg_class", &["REINDEX"]),
        ("REINDEX TABLE nosuch", &["42P01"]),
        ("REINDEX TABLE nosuch.t", &["3F000"]),
        ("REINDEX TABLE v", &["42809"]),
        ("REINDEX TABLE i", &["42809"]),
        ("REINDEX INDEX i", &["REINDEX"]),
        ("REINDEX INDEX t", &["42809"]),
        ("REINDEX INDEX nosuch", &["42P01"]),
        ("REINDEX SCHEMA public", &["REINDEX"]),
        ("REINDEX SCHEMA nosuch", &["3F000"]),
        ("REINDEX DATABASE postgres", &["REINDEX"]),
        ("REINDEX DATABASE nosuch", &["0A000"]),
        ("REINDEX (CONCURRENTLY, VERBOSE off, TABLESPACE pg_default) TABLE CONCURRENTLY t", &["REINDEX"]),
        ("REINDEX (NONSENSE) TABLE t", &["42601"]),
        ("REINDEX (TABLESPACE nosuch) TABLE t", &["42704"]),
        ("REINDEX", &["42601"]),
        ("REINDEX t", &["42601"]),
        ("REINDEX TABLE t junk", &["42601"]),
        ("BEGIN", &["BEGIN"]),
        ("REINDEX TABLE t", &["REINDEX"]),
        ("REINDEX TABLE CONCURRENTLY t", &["25001"]),
        ("ROLLBACK", &["ROLLBACK"]),
        ("SELECT 1; REINDEX SCHEMA public", &["1", "SELECT 1", "25001"]),
    ]);
}

#[test]
fn cluster_names_what_is_there() {
    talk(&[
        SETUP,
        ("CLUSTER", &["CLUSTER"]),
        ("CLUSTER t USING t_pkey", &["CLUSTER"]),
        ("CLUSTER (VERBOSE) t USING i", &["CLUSTER"]),
        ("CLUSTER i ON t", &["CLUSTER"]),
        // By which is not kept; by none is known.
        ("CLUSTER t", &["CLUSTER"]),
        ("CREATE TABLE bare (k int)", &["CREATE TABLE"]),
        ("CLUSTER bare", &["42704"]),
        ("CLUSTER nosuch", &["42P01"]),
        ("CLUSTER nosuch USING i", &["42P01"]),
        ("CLUSTER t USING nosuch", &["42704"]),
        ("CLUSTER u USING i", &["42809"]),
        ("CLUSTER v USING nosuch", &["42809"]),
        ("CLUSTER (NONSENSE) t", &["42601"]),
        ("CLUSTER t junk", &["42601"]),
        ("BEGIN", &["BEGIN"]),
        ("CLUSTER", &["25001"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}

#[test]
fn vacuum_knows_its_options() {
    talk(&[
        SETUP,
        ("VACUUM (FULL, NONSENSE)", &["42601"]),
        ("VACUUM (FULL maybe) t", &["42601"]),
        (
            "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING, SKIP_LOCKED, INDEX_CLEANUP auto, PROCESS_TOAST, TRUNCATE) t",
            &["VACUUM"],
        ),
        ("VACUUM (PARALLEL 2, VERBOSE off, ANALYZE) t", &["VACUUM"]),
        ("VACUUM (PARALLEL) t", &["42601"]),
        ("VACUUM (PARALLEL many) t", &["42601"]),
        ("VACUUM (FULL, PARALLEL 2) t", &["0A000"]),
        ("VACUUM (FULL, PARALLEL 0) t", &["VACUUM"]),
        ("VACUUM (FULL, DISABLE_PAGE_SKIPPING) t", &["0A000"]),
        ("VACUUM (FULL off, PARALLEL 2, DISABLE_PAGE_SKIPPING) t", &["VACUUM"]),
        ("VACUUM ()", &["42601"]),
        ("VACUUM (FULL) nosuch", &["42P01"]),
        ("VACUUM FULL FREEZE VERBOSE ANALYZE t", &["VACUUM"]),
        ("ANALYZE (VERBOSE, SKIP_LOCKED) t", &["ANALYZE"]),
        ("ANALYZE VERBOSE t (k)", &["ANALYZE"]),
        ("ANALYZE (FULL) t", &["42601"]),
    ]);
}

#[test]
fn what_there_is_not_is_named() {
    talk(&[
        ("ALTER SYSTEM SET work_mem = '1MB'", &["0A000"]),
        ("CREATE TABLESPACE x LOCATION '/x'", &["0A000"]),
        ("DROP TABLESPACE x", &["0A000"]),
        ("CREATE PROCEDURE p() LANGUAGE sql AS ''", &["0A000"]),
        ("CREATE OR REPLACE PROCEDURE p() LANGUAGE sql AS ''", &["0A000"]),
    ]);
}
