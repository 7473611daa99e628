//! SQL over the simulated cluster: the catalog of a machine, and sessions on it.

use std::sync::Arc;
use std::time::Duration;

use meridian_sql::catalog::CatalogCache;
use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::schema_change::jobs;
use meridian_sql::session::{Session, SqlNode};
use meridian_sql::testing;
use meridian_storage::base::Runtime;

use super::machine::{Up, World};

/// Opens the catalog, however long that takes, and then takes statements.
pub async fn open(up: Up, world: Arc<World>) {
    let catalog = loop {
        match CatalogCache::open(up.db.clone()).await {
            Ok(catalog) => break catalog,
            Err(e) => world.trace.say(format_args!("{}: no catalog yet: {}", up.store.node(), e.message())),
        }
        up.process.sleep(Duration::from_millis(300)).await;
    };
    let node = Arc::new(SqlNode::new(up.db.clone(), catalog.clone()));
    world.trace.say(format_args!("{} takes statements", up.store.node()));
    world.sessions.lock().push(Arc::downgrade(&node));
    assert!(up.sql.set(node).is_ok(), "a machine opens its catalog once");
    jobs::run_loop(catalog).await;
}

pub async fn connect(up: &Up) -> SqlResult<Session> {
    let refused = || SqlError::new("57P03", "the database system is starting up");
    testing::connect(up.sql.get().cloned().ok_or_else(refused)?).await
}
