//! Parents come and go, children refer to them; each child has a number that no other has. Whatever the isolation level, no
//! child is without its parent, no number is there twice, and every index says what its table says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_sql::error::SqlResult;
use meridian_sql::testing::query;
use meridian_storage::base::BoxFuture;
use meridian_storage::store::testing::Chance;
use parking_lot::Mutex;

use super::Workload;
use super::ask::{Asking, Deed, Told, ask};
use crate::simulate::cluster::Cluster;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;

const PARENTS: u64 = 8;
const NUMBERS: u64 = 30;

pub struct Constraints {
    cluster: Arc<Cluster>,
    /// Children that were acknowledged and that nothing takes away.
    kept: Mutex<BTreeSet<String>>,
}

/// Of a level that the seed chooses for each transaction.
fn begin(chance: &mut Chance) -> &'static str {
    match chance.below(3) {
        0 => "BEGIN ISOLATION LEVEL READ COMMITTED",
        1 => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        _ => "BEGIN ISOLATION LEVEL SERIALIZABLE",
    }
}

impl Constraints {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Constraints { cluster, kept: Mutex::default() })
    }
}

impl Workload for Constraints {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut session = connect(up).await.expect("the catalog is open");
            for text in [
                "CREATE TABLE parents (id int8 PRIMARY KEY, note text)",
                "CREATE TABLE children (id text PRIMARY KEY, number int8 UNIQUE, \
                    strict int8 REFERENCES parents, loose int8 REFERENCES parents ON DELETE CASCADE, \
                    free int8 REFERENCES parents ON DELETE SET NULL)",
                "CREATE INDEX children_loose ON children (loose)",
                &format!("INSERT INTO parents SELECT p, '' FROM generate_series(0, {}) AS p", PARENTS - 1),
            ] {
                query(&mut session, text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            }
            session.close().await;
        })
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (a, b, c) = (chance.below(PARENTS), chance.below(PARENTS), chance.below(PARENTS));
            let number = chance.below(NUMBERS);
            let mut safe = false;
            let text = match chance.below(12) {
                0..4 => {
                    let loose = if chance.percent(50) { b.to_string() } else { "NULL".into() };
                    // Cascades take children away, and deletions those whose name says so.
                    let name = if chance.percent(50) { format!("x{id}") } else { id.clone() };
                    safe = loose == "NULL" && name == id;
                    format!("INSERT INTO children VALUES ('{name}', {number}, {a}, {loose}, {c})")
                }
                4..6 => {
                    format!("UPDATE children SET number = {number}, free = {c} WHERE number = {}", number / 2)
                }
                6 => format!("UPDATE children SET strict = {a} WHERE strict = {b}"),
                7 => format!("DELETE FROM parents WHERE id = {a}"),
                8 => format!("DELETE FROM children WHERE number = {number} AND id LIKE 'x%'"),
                9..11 => format!("INSERT INTO parents VALUES ({a}, '{id}') ON CONFLICT DO NOTHING"),
                _ => String::new(),
            };
            let begin = begin(chance);
            let deed: Deed<()> = match text.is_empty() {
                true => Box::new(|asking| Box::pin(look(asking, BTreeSet::new()))),
                false => Box::new(move |asking| {
                    Box::pin(async move {
                        asking.say(begin).await?;
                        asking.say(&text).await?;
                        asking.commit().await
                    })
                }),
            };
            let told = ask(&self.cluster, &up, &id, &["23503", "23505"], deed).await;
            if let (Told::Done(()), true) = (told, safe) {
                self.kept.lock().insert(id);
            }
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let kept = self.kept.lock().clone();
            let deed: Deed<()> = Box::new(move |asking| Box::pin(look(asking, kept)));
            let told = ask(&self.cluster, up, "last look", &[], deed).await;
            assert!(matches!(told, Told::Done(())), "the last look is {told:?}");
        })
    }
}

async fn look(asking: &mut Asking, kept: BTreeSet<String>) -> SqlResult<()> {
    asking.say("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let parents = asking.say("SELECT id FROM parents").await?.rows;
    let children = asking.say("SELECT id, number, strict, loose, free FROM children").await?.rows;
    let by_number =
        asking.say("SELECT id, number FROM children WHERE number >= 0 ORDER BY number").await?.rows;
    let by_loose = asking.say("SELECT id, loose FROM children WHERE loose >= 0 ORDER BY loose").await?.rows;
    asking.commit().await?;
    let parents: BTreeSet<_> = parents.into_iter().map(|row| row[0].clone()).collect();
    let mut numbers = BTreeMap::new();
    for child in &children {
        for refers in child[2..].iter().filter(|r| r.is_some()) {
            assert!(parents.contains(refers), "{child:?} refers to a parent that is not there");
        }
        if let Some(twin) = numbers.insert(child[1].clone(), child) {
            panic!("{child:?} and {twin:?} have the same number");
        }
    }
    let mut expected: Vec<_> = children.iter().map(|c| (c[0].clone(), c[1].clone())).collect();
    let mut found: Vec<_> = by_number.into_iter().map(|c| (c[0].clone(), c[1].clone())).collect();
    expected.sort();
    found.sort();
    assert_eq!(expected, found, "the index on numbers does not say what the rows say");
    let mut expected: Vec<_> = children.iter().filter(|c| c[3].is_some()).map(|c| c[0].clone()).collect();
    let mut found: Vec<_> = by_loose.into_iter().map(|c| c[0].clone()).collect();
    expected.sort();
    found.sort();
    assert_eq!(expected, found, "the index on parents does not say what the rows say");
    let there: BTreeSet<String> = children.iter().filter_map(|c| c[0].clone()).collect();
    let lost: Vec<_> = kept.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged, but not there: {lost:?}");
    Ok(())
}
