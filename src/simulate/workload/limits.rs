//! Rows of a group may be added as long as there are fewer than so many: what each transaction does depends on rows that are
//! not there yet. At SERIALIZABLE no group ever has more; nor does a sum that is kept beside them differ from the rows.
//!
//! (The phantom of A. Adya, "Weak Consistency", 1999, section 2.2, P3.)

use std::sync::Arc;

use meridian_sql::error::SqlResult;
use meridian_sql::testing::query;
use meridian_storage::base::BoxFuture;
use meridian_storage::store::testing::Chance;

use super::Workload;
use super::ask::{Asking, Deed, ask};
use crate::simulate::cluster::Cluster;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;

const GROUPS: u64 = 5;
const ROOM: i64 = 4;

pub struct Limits {
    cluster: Arc<Cluster>,
}

impl Limits {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Limits { cluster })
    }
}

impl Workload for Limits {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut session = connect(up).await.expect("the catalog is open");
            for text in [
                "CREATE TABLE duties (id text PRIMARY KEY, team int8 NOT NULL, hours int8 NOT NULL)",
                "CREATE INDEX duties_team ON duties (team)",
                "CREATE TABLE teams (team int8 PRIMARY KEY, hours int8 NOT NULL)",
                &format!("INSERT INTO teams SELECT t, 0 FROM generate_series(0, {}) AS t", GROUPS - 1),
            ] {
                query(&mut session, text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            }
            session.close().await;
        })
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (team, hours) = (chance.below(GROUPS), 1 + chance.below(8) as i64);
            let name = id.clone();
            let deed: Deed<()> = match chance.below(10) {
                0..5 => Box::new(move |asking| Box::pin(add(asking, team, name, hours))),
                5..8 => Box::new(move |asking| Box::pin(drop_first(asking, team))),
                _ => Box::new(move |asking| Box::pin(look(asking))),
            };
            ask(&self.cluster, &up, &id, &[], deed).await;
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let deed: Deed<()> = Box::new(|asking| Box::pin(look(asking)));
            let told = ask(&self.cluster, up, "last look", &[], deed).await;
            assert!(matches!(told, super::ask::Told::Done(())), "the last look is {told:?}");
        })
    }
}

/// Takes on a duty if the team has room, which only a count can tell.
async fn add(asking: &mut Asking, team: u64, id: String, hours: i64) -> SqlResult<()> {
    asking.say("BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
    let count = asking.say(&format!("SELECT count(*) FROM duties WHERE team = {team}")).await?;
    if number(&count.rows[0][0]) < ROOM {
        asking.say(&format!("INSERT INTO duties VALUES ('{id}', {team}, {hours})")).await?;
        let sum = "(SELECT COALESCE(sum(hours), 0)::int8 FROM duties WHERE team = teams.team)";
        asking.say(&format!("UPDATE teams SET hours = {sum} WHERE team = {team}")).await?;
    }
    asking.commit().await
}

async fn drop_first(asking: &mut Asking, team: u64) -> SqlResult<()> {
    asking.say("BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
    let first = format!("SELECT id, hours FROM duties WHERE team = {team} ORDER BY id LIMIT 1");
    if let [row] = &asking.say(&first).await?.rows[..] {
        let id = row[0].clone().unwrap_or_default();
        let gone = asking.say(&format!("DELETE FROM duties WHERE id = '{id}'")).await?;
        assert_eq!(gone.tags, ["DELETE 1"], "{id} was just read");
        let hours = number(&row[1]);
        asking.say(&format!("UPDATE teams SET hours = hours - {hours} WHERE team = {team}")).await?;
    }
    asking.commit().await
}

/// No team has more than it has room for; the sums are those of the rows.
async fn look(asking: &mut Asking) -> SqlResult<()> {
    asking.say("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    let teams = asking.say("SELECT team, hours FROM teams ORDER BY team").await?.rows;
    let duties = asking.say("SELECT team, hours, id FROM duties").await?.rows;
    let by_index = asking.say("SELECT count(*) FROM duties WHERE team >= 0 AND team < 1000").await?.rows;
    asking.commit().await?;
    assert_eq!(number(&by_index[0][0]), duties.len() as i64, "the index does not say what the rows say");
    for team in &teams {
        let of_team: Vec<_> = duties.iter().filter(|d| d[0] == team[0]).collect();
        let sum: i64 = of_team.iter().map(|d| number(&d[1])).sum();
        assert!(of_team.len() as i64 <= ROOM, "there is room for {ROOM} in {team:?}: {of_team:?}");
        assert_eq!(number(&team[1]), sum, "hours of {team:?}: {of_team:?}");
    }
    Ok(())
}

fn number(value: &Option<String>) -> i64 {
    value.as_deref().and_then(|v| v.parse().ok()).expect("a number")
}
