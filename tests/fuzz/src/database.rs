//! A database in memory in this thread, with the tables that the targets name.

use std::cell::RefCell;
use std::sync::Arc;

use meridian_sql::STACK_BYTES;
use meridian_sql::catalog::CatalogCache;
use meridian_sql::session::{Session, SqlNode};
use meridian_sql::testing::{connect, query};
use meridian_txn::testing::{SimRuntime, local_db};

/// One of everything that the catalog knows.
const SCHEMA: &str = "
    CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(12, 2), d timestamptz DEFAULT now(), e int[], f bool NOT NULL
        DEFAULT true, g jsonb, h bytea, i float8, j date, k interval, l uuid);
    CREATE INDEX t_b ON t (b DESC) INCLUDE (c);
    CREATE UNIQUE INDEX t_c ON t (c) WHERE f;
    CREATE TABLE u (x bigint PRIMARY KEY, a int REFERENCES t ON DELETE CASCADE, y varchar(10) UNIQUE, z char(4),
        CHECK (x > 0));
    CREATE INDEX u_a ON u (a);
    CREATE TABLE w (k int, v int, PRIMARY KEY (k, v));
    CREATE TABLE s (id serial PRIMARY KEY, n smallint, r real);
    CREATE VIEW v AS SELECT t.a, u.x, t.b || u.y AS both FROM t JOIN u ON u.a = t.a WHERE t.f;
    CREATE SEQUENCE q;
    INSERT INTO t (a, b, c, e) VALUES (1, 'one', 1.5, '{1,2}'), (2, 'two', 2.5, NULL), (3, NULL, NULL, '{}');
    INSERT INTO u VALUES (1, 1, 'x', 'ab'), (2, 2, 'y', 'c'), (3, NULL, NULL, NULL);
    INSERT INTO w VALUES (1, 1), (1, 2), (2, 1)";

pub struct Database {
    pub node: Arc<SqlNode>,
    pub runtime: SimRuntime,
}

impl Database {
    pub fn new() -> Self {
        let runtime = SimRuntime::new(1);
        let (db, _) = local_db(&runtime);
        let node = runtime.block_on(async {
            let catalog = CatalogCache::open(db.clone()).await.expect("an empty cluster");
            let node = Arc::new(SqlNode::new(db, catalog));
            let mut session = connect(node.clone()).await.expect("the superuser");
            query(&mut session, SCHEMA).await.expect("a schema");
            session.close().await;
            node
        });
        Database { node, runtime }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.runtime.shut_down();
    }
}

thread_local! {
    static PLANNER: RefCell<Option<(Database, Session)>> = const { RefCell::new(None) };
}

/// Hands out a session that is only asked to plan, so that no run leaves anything to the next one.
pub fn plan_with(run: impl FnOnce(&SimRuntime, &mut Session)) {
    PLANNER.with_borrow_mut(|planner| {
        let (database, session) = planner.get_or_insert_with(|| {
            let database = Database::new();
            let session = database.runtime.block_on(connect(database.node.clone())).expect("the superuser");
            (database, session)
        });
        run(&database.runtime, session);
    });
}

/// Runs with the stack that a thread of a node has.
pub fn with_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::grow(STACK_BYTES, run)
}
