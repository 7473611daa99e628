//! Golden scripts through binder, optimizer and executor, over real transactions in memory. `REWRITE=1` writes what comes out.
//!
//! A script is a list of blocks: a statement, `----`, its plan (EXPLAIN), its rows, its tag or its error, an empty line.
//! Each statement is a transaction of its own. CREATE TABLE and CREATE INDEX make the schema; ANALYZE counts. Lines that
//! begin with `#` say what a script is about.

mod alternatives;
mod growth;
mod world;

use std::path::Path;

use meridian_txn::Isolation;
use meridian_txn::testing::run;

use world::World;

async fn run_script(db: meridian_txn::Db, path: &Path) {
    let script = std::fs::read_to_string(path).expect("a script");
    let mut world = World::new(db);
    let mut actual = String::new();
    for block in script.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let (input, _) = block.split_once("\n----").unwrap_or((block.trim_end(), ""));
        let sql: String = input.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let sql = sql.trim();
        if sql.is_empty() {
            actual.push_str(&format!("{}\n\n", input.trim()));
            continue;
        }
        let result = world.run(sql).await;
        actual.push_str(&format!("{}\n----\n{}\n\n", input.trim(), result.trim_end()));
    }
    let actual = format!("{}\n", actual.trim_end());
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, actual).expect("the script is writable");
        return;
    }
    if actual != script {
        let difference = actual.lines().zip(script.lines()).find(|(a, b)| a != b);
        panic!("{}: first difference {difference:?}\n\n{actual}", path.display());
    }
}

#[test]
fn golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exec/tests/testdata");
    let only = std::env::var("SCRIPT").ok();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        if only.as_ref().is_none_or(|name| path.file_stem().is_some_and(|stem| stem == name.as_str())) {
            run(async |db| run_script(db, &path).await);
        }
    }
}

/// Two rows, (1, 10) and (2, 20), and an index on the second column.
async fn two_rows(db: meridian_txn::Db) -> World {
    let mut world = World::new(db);
    for sql in [
        "create table t (id int primary key, v int)",
        "create index t_v on t (v)",
        "insert into t values (1, 10), (2, 20)",
    ] {
        world.run(sql).await;
    }
    world
}

/// READ COMMITTED: a statement that waited for a row looks at its condition again, through whichever index it came.
#[test]
fn a_changed_row_is_looked_at_again() {
    for condition in ["v = 10", "v + 0 = 10", "v < 15 and id < 5", "v = 10 or v between 11 and 12"] {
        run(async |db| {
            let world = two_rows(db).await;
            let (first, second) =
                (world.begin(Isolation::ReadCommitted), world.begin(Isolation::ReadCommitted));
            assert_eq!(world.run_in(&first, "update t set v = v + 100 where id = 1").await, "UPDATE 1");
            let sql = format!("update t set v = v + 1 where {condition}");
            let waiting = world.run_in(&second, &sql);
            let (result, _) = futures::join!(waiting, async { first.commit().await.expect("commits") });
            assert_eq!(result, "UPDATE 0", "{condition}");
            second.commit().await.expect("commits");
        });
    }
}

/// READ COMMITTED: an update that waited adds to what the other has written.
#[test]
fn no_update_is_lost() {
    run(async |db| {
        let mut world = two_rows(db).await;
        let (first, second) = (world.begin(Isolation::ReadCommitted), world.begin(Isolation::ReadCommitted));
        world.run_in(&first, "update t set v = v + 100 where id = 1").await;
        let waiting = world.run_in(&second, "update t set v = v + 1 where v < 15 or id = 1");
        let (result, _) = futures::join!(waiting, async { first.commit().await.expect("commits") });
        assert_eq!(result, "UPDATE 1");
        second.commit().await.expect("commits");
        assert_eq!(world.run("select v from t where id = 1").await.trim(), "111");
    });
}

/// A queue hands each row to one taker, whether its order comes from an index or from a sort.
#[test]
fn a_queue_skips_what_is_locked() {
    for order in ["id", "v + 0"] {
        run(async |db| {
            let world = two_rows(db).await;
            let take =
                format!("select id from t where v > 0 order by {order} limit 1 for update skip locked");
            let all: Vec<_> = (0..3).map(|_| world.begin(Isolation::ReadCommitted)).collect();
            let mut taken = Vec::new();
            for txn in &all {
                taken.push(world.run_in(txn, &take).await);
            }
            assert_eq!(taken, ["1", "2", "(no rows)"], "{order}");
        });
    }
}

/// A referenced row cannot go away while a row that refers to it is being stored.
#[test]
fn a_reference_holds_its_row() {
    run(async |db| {
        let mut world = two_rows(db).await;
        world.run("create table r (id int primary key, t int references t)").await;
        let (first, second) = (world.begin(Isolation::ReadCommitted), world.begin(Isolation::ReadCommitted));
        assert_eq!(world.run_in(&first, "insert into r values (1, 2)").await, "INSERT 1");
        // Changing what is not referenced is no conflict.
        let third = world.begin(Isolation::ReadCommitted);
        assert_eq!(world.run_in(&third, "update t set v = 0 where id = 2").await, "UPDATE 1");
        third.commit().await.expect("commits");
        let waiting = world.run_in(&second, "delete from t where id = 2");
        let (result, _) = futures::join!(waiting, async { first.commit().await.expect("commits") });
        assert!(result.starts_with("ERROR 23503"), "{result}");
    });
}

/// What gathers rows stops at the statement's budget.
#[test]
fn memory_is_bounded() {
    run(async |db| {
        let mut world = World::new(db);
        world.memory = 200_000;
        let rows = "select g, g::text t from generate_series(1, 20000) g";
        for sql in [
            format!("select * from ({rows}) x order by t"),
            format!("select t, count(*) from ({rows}) x group by t"),
            format!("select distinct t from ({rows}) x"),
            format!("select count(*) from ({rows}) x join ({rows}) y on x.t = y.t"),
            format!("select t, count(*) over (partition by t) from ({rows}) x"),
            format!("with c as ({rows}) select count(*) from c a, c b where a.g = 1 and b.g = 1"),
        ] {
            let result = world.run(&sql).await;
            assert!(result.starts_with("ERROR 53200"), "{sql}: {result}");
        }
        let top = format!("select g from ({rows}) x order by t desc limit 1");
        assert_eq!(world.run(&top).await.trim(), "9999");
    });
}

/// Rows that RETURNING gives are all there before the first is taken.
#[test]
fn what_is_returned_is_bounded() {
    run(async |db| {
        let mut world = World::new(db);
        world.run("create table t (id int primary key, v int)").await;
        world.run("insert into t select g, g from generate_series(1, 300) g").await;
        world.memory = 200_000;
        let large = "returning repeat('x', 1000)";
        for sql in [
            "insert into t select g, g from generate_series(301, 600) g",
            "update t set v = v + 1",
            "delete from t where id > 0",
        ] {
            let result = world.run(&format!("{sql} {large}")).await;
            assert!(result.starts_with("ERROR 53200"), "{sql}: {result}");
            let result =
                world.run(&format!("with c as ({sql} returning 1 as one) select count(*) from c")).await;
            assert_eq!(result.trim(), "300", "{sql}");
            world.run("delete from t where id > 300").await;
        }
    });
}
