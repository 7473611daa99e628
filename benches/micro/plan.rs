//! From a statement's text to its physical plan; the unit is one statement.
//!
//! `parse` is the syntax tree alone. `prepare` is all that the protocol's Parse message asks for: tree, names and types, access
//! path, and the plan kept under a name. It is what a client pays that does not prepare its statements.

use criterion::{Criterion, Throughput};
use futures::FutureExt;
use meridian_sql::parse;

use crate::session::Database;

/// As `pgbench --initialize --foreign-keys` creates it.
const SCHEMA: &str = "
    create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
    create table pgbench_accounts
        (aid int primary key, bid int references pgbench_branches, abalance int, filler char(84))";

const STATEMENTS: [(&str, &str); 2] = [
    ("point_select", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"),
    ("tpcb_update", "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"),
];

pub fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan/parse");
    group.throughput(Throughput::Elements(1));
    for (name, text) in STATEMENTS {
        group.bench_function(name, |b| {
            b.iter(|| parse::parse_single(text).expect("SQL").expect("a statement"))
        });
    }
    group.finish();

    let mut database = None;
    let mut group = c.benchmark_group("plan/prepare");
    group.throughput(Throughput::Elements(1));
    for (name, text) in STATEMENTS {
        group.bench_function(name, |b| {
            let Database { session, .. } = database.get_or_insert_with(|| Database::with(SCHEMA));
            b.iter(|| {
                let planned = session.parse("", text, &[]).now_or_never();
                planned.expect("planning waits for nothing").expect("the tables are there");
            });
        });
    }
    group.finish();
}
