//! Columns and indexes come and go while rows are written. Every index says what its table says, whichever of the two was
//! first; a schema change that was refused has left nothing behind that stands in the way of the next.

use std::sync::Arc;

use meridian_sql::error::SqlResult;
use meridian_sql::testing::query;
use meridian_storage::base::BoxFuture;
use meridian_storage::store::testing::Chance;

use super::Workload;
use super::ask::{Asking, Deed, Told, ask};
use crate::simulate::cluster::Cluster;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;

const ROWS: u64 = 60;
const COLUMNS: u64 = 3;

pub struct Schema {
    cluster: Arc<Cluster>,
}

impl Schema {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Schema { cluster })
    }
}

/// What a statement may say of columns and indexes that come and go: they are there already, they are not there (any
/// more), somebody else is changing them, their rows are not unique.
const EXCUSED: [&str; 7] = ["42701", "42703", "42P07", "42704", "55006", "23505", "0A000"];

impl Workload for Schema {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut session = connect(up).await.expect("the catalog is open");
            for text in [
                "CREATE TABLE things (id int8 PRIMARY KEY, a int8 NOT NULL, b int8)",
                &format!("INSERT INTO things SELECT i, i, i FROM generate_series(0, {}) AS i", ROWS / 2),
            ] {
                query(&mut session, text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            }
            session.close().await;
        })
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (row, other, column) = (chance.below(ROWS), chance.below(ROWS), chance.below(COLUMNS));
            let unique = if chance.percent(30) { "UNIQUE " } else { "" };
            let text = match chance.below(40) {
                0 => format!("CREATE {unique}INDEX things_{column} ON things (b, id)"),
                1 => format!("CREATE INDEX things_a{column} ON things (a)"),
                2 => format!("DROP INDEX IF EXISTS things_{column}, things_a{column}"),
                3 => format!("ALTER TABLE things ADD COLUMN c{column} int8 DEFAULT {row}"),
                4 => format!("ALTER TABLE things DROP COLUMN IF EXISTS c{column}"),
                5..20 => format!(
                    "INSERT INTO things (id, a, b) VALUES ({row}, {other}, {row}) ON CONFLICT DO NOTHING"
                ),
                20..32 => {
                    format!("UPDATE things SET a = a + 1, b = {other} WHERE id BETWEEN {row} AND {row} + 3")
                }
                32..36 => format!("DELETE FROM things WHERE id = {row}"),
                _ => String::new(),
            };
            let deed: Deed<()> = match text.is_empty() {
                true => Box::new(|asking| Box::pin(look(asking))),
                false => {
                    Box::new(move |asking| Box::pin(async move { asking.say_alone(&text).await.map(drop) }))
                }
            };
            ask(&self.cluster, &up, &id, &EXCUSED, deed).await;
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // The last schema change may have been cut off; whoever goes on with it has a moment.
            let deed: Deed<()> = Box::new(|asking| Box::pin(look(asking)));
            let told = ask(&self.cluster, up, "last look", &EXCUSED, deed).await;
            assert!(matches!(told, Told::Done(())), "the last look is {told:?}");
        })
    }
}

/// By the rows, and by each of the columns that an index may be on.
async fn look(asking: &mut Asking) -> SqlResult<()> {
    asking.say("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    let mut rows = asking.say("SELECT id, a, b FROM things").await?.rows;
    let by_a = asking.say("SELECT id, a, b FROM things WHERE a >= 0 AND a < 1000000 ORDER BY a").await?.rows;
    let by_b = asking.say("SELECT id, a, b FROM things WHERE b = 7").await?.rows;
    asking.commit().await?;
    rows.sort();
    for (mut found, expected) in [
        (by_a, rows.clone()),
        (by_b, rows.iter().filter(|r| r[2].as_deref() == Some("7")).cloned().collect()),
    ] {
        found.sort();
        assert_eq!(expected, found, "an index does not say what the rows say");
    }
    Ok(())
}
