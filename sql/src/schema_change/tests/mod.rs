//! Golden scripts of schema changes, over real transactions in memory. `REWRITE=1` writes what comes out.
//!
//! A script is a list of blocks: a statement, `----`, its notices, rows, tag or error, an empty line. A line `@b` before a
//! statement says which session runs it. `jobs` runs the jobs that are due; `keys` counts what is stored of
//! the tables.

mod concurrent;
mod world;

use std::path::Path;

use meridian_txn::testing::run;

use world::World;

async fn run_script(db: meridian_txn::Db, path: &Path) {
    let script = std::fs::read_to_string(path).expect("a script");
    let mut world = World::new(db).await;
    let mut actual = String::new();
    for block in script.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let (input, _) = block.split_once("\n----").unwrap_or((block.trim_end(), ""));
        let lines = input.lines().filter(|l| !l.starts_with('#') && !l.starts_with('@'));
        let sql: String = lines.map(|l| format!("{l}\n")).collect();
        let sql = sql.trim();
        if sql.is_empty() {
            actual.push_str(&format!("{}\n\n", input.trim()));
            continue;
        }
        let session = input.lines().find_map(|l| l.strip_prefix('@')).unwrap_or("a");
        let result = world.run(session, sql).await;
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema_change/tests/testdata");
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

/// Foreign keys stand in the order of their creation, on a node that has seen the schema change as on one that has not.
#[test]
fn inbound_keys_have_one_order() {
    run(async |db| {
        let mut world = World::new(db).await;
        for sql in [
            "create table users (id int primary key)",
            "create table posts (id int primary key, u int)",
            "create table comments (id int primary key, u int references users)",
            "alter table posts add foreign key (u) references users",
            "create table likes (id int primary key, u int references users)",
            "alter table comments add column t text",
        ] {
            let result = world.run("a", sql).await;
            assert!(!result.starts_with("ERROR"), "{sql}: {result}");
        }
        for catalog in world.catalogs().await {
            let users = catalog.tables.values().find(|t| t.name == "users").expect("the table");
            let names = catalog.inbound[&users.id].iter().map(|(id, at)| {
                let key = &catalog.tables[id].foreign_keys[*at];
                key.name.as_str()
            });
            assert_eq!(names.collect::<Vec<_>>(), ["comments_u_fkey", "posts_u_fkey", "likes_u_fkey"]);
        }
    });
}
