//! Parents come and go, children refer to them; each child has a number that no other has. Whatever the isolation level, no
//! child is without its parent, no number is there twice, and every index says what its table says.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, differ};

/// For each unit of scale.
const PARENTS: u64 = 8;
const NUMBERS: u64 = 30;

pub struct Constraints {
    scale: u64,
    tally: Tally,
    /// Children that were acknowledged and that nothing takes away.
    kept: Mutex<BTreeSet<String>>,
}

impl Constraints {
    pub fn new(setting: Setting) -> Self {
        let tally = Tally::new(setting.excused);
        Constraints { scale: setting.scale, tally, kept: Mutex::default() }
    }

    /// A statement, and whether the child that it makes stays.
    fn statement(&self, id: &str, chance: &mut dyn Chance) -> (String, bool) {
        let parents = PARENTS * self.scale;
        let (a, b, c) = (chance.below(parents), chance.below(parents), chance.below(parents));
        let number = chance.below(NUMBERS * self.scale);
        let text = match chance.below(11) {
            0..4 => {
                let loose = if chance.percent(50) { b.to_string() } else { "NULL".into() };
                // Cascades take children away, and deletions those whose name says so.
                let name = if chance.percent(50) { format!("x{id}") } else { id.to_string() };
                let stays = loose == "NULL" && name == id;
                let text = format!("INSERT INTO children VALUES ('{name}', {number}, {a}, {loose}, {c})");
                return (text, stays);
            }
            4..6 => {
                format!("UPDATE children SET number = {number}, free = {c} WHERE number = {}", number / 2)
            }
            6 => format!("UPDATE children SET strict = {a} WHERE strict = {b}"),
            7 => format!("DELETE FROM parents WHERE id = {a}"),
            8 => format!("DELETE FROM children WHERE number = {number} AND id LIKE 'x%'"),
            _ => format!("INSERT INTO parents VALUES ({a}, '{id}') ON CONFLICT DO NOTHING"),
        };
        (text, false)
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let kept = self.kept.lock().clone();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(seen.wrong(&kept));
        Ok(())
    }
}

impl Workload for Constraints {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE parents (id int8 PRIMARY KEY, note text)".into(),
            "CREATE TABLE children (id text PRIMARY KEY, number int8 UNIQUE, \
             strict int8 REFERENCES parents, loose int8 REFERENCES parents ON DELETE CASCADE, \
             free int8 REFERENCES parents ON DELETE SET NULL)"
                .into(),
            "CREATE INDEX children_loose ON children (loose)".into(),
            format!(
                "INSERT INTO parents SELECT p, '' FROM generate_series(0, {}) AS p",
                PARENTS * self.scale - 1
            ),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if chance.percent(8) {
                // What cannot be read now proves nothing.
                let _ = self.look(client).await;
                return;
            }
            let (text, stays) = self.statement(id, chance);
            let level = Level::ALL[chance.below(3) as usize];
            let mut asking = Asking::new(client, &self.tally, &["23503", "23505"]);
            let done = transact(&mut asking, level, &text).await;
            if let (Told::Done(()), true) = (asking.end(done).await, stays) {
                self.kept.lock().insert(id.into());
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.look(client))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn transact(asking: &mut Asking<'_>, level: Level, text: &str) -> Result<(), Refusal> {
    asking.begin(level).await?;
    asking.say(text).await?;
    asking.commit().await
}

/// All of it, as one snapshot shows it.
#[derive(Default)]
struct Seen {
    parents: Vec<Row>,
    /// Id, number, strict, loose, free.
    children: Vec<Row>,
    /// Id and number.
    by_number: Vec<Row>,
    /// Id.
    by_loose: Vec<Row>,
}

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    asking.begin_read_only(Level::RepeatableRead).await?;
    let seen = Seen {
        parents: asking.say("SELECT id FROM parents").await?.rows,
        children: asking.say("SELECT id, number, strict, loose, free FROM children").await?.rows,
        by_number: asking
            .say("SELECT id, number FROM children WHERE number >= 0 ORDER BY number")
            .await?
            .rows,
        by_loose: asking.say("SELECT id FROM children WHERE loose >= 0 ORDER BY loose").await?.rows,
    };
    asking.commit().await?;
    Ok(seen)
}

impl Seen {
    fn wrong(&self, kept: &BTreeSet<String>) -> Vec<String> {
        let mut wrong = Vec::new();
        let parents: BTreeSet<_> = self.parents.iter().map(|row| &row[0]).collect();
        let mut numbers = BTreeMap::new();
        for child in &self.children {
            if child[2..].iter().any(|refers| refers.is_some() && !parents.contains(refers)) {
                wrong.push(format!("{child:?} refers to a parent that is not there"));
            }
            if let Some(twin) = numbers.insert(&child[1], child) {
                wrong.push(format!("{child:?} and {twin:?} have the same number"));
            }
        }
        let numbers = self.children.iter().map(|c| c[..2].to_vec());
        wrong.extend(differ("the index on numbers", &self.by_number, numbers));
        let loose = self.children.iter().filter(|c| c[3].is_some()).map(|c| c[..1].to_vec());
        wrong.extend(differ("the index on parents", &self.by_loose, loose));
        let there: BTreeSet<&String> = self.children.iter().filter_map(|c| c[0].as_ref()).collect();
        let lost: Vec<_> = kept.iter().filter(|id| !there.contains(id)).collect();
        if !lost.is_empty() {
            wrong.push(format!("acknowledged, but not there: {lost:?}"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::rows;
    use super::*;

    fn right() -> Seen {
        Seen {
            parents: rows(&[&["1"], &["2"]]),
            children: rows(&[&["a", "7", "1", "", "2"], &["b", "8", "2", "1", ""]]),
            by_number: rows(&[&["b", "8"], &["a", "7"]]),
            by_loose: rows(&[&["b"]]),
        }
    }

    #[test]
    fn what_must_not_be_is_found_out() {
        let kept = BTreeSet::from(["a".to_string()]);
        assert_eq!(right().wrong(&kept), [""; 0]);
        let orphan = Seen { parents: rows(&[&["1"]]), ..right() };
        assert_eq!(orphan.wrong(&kept).len(), 2, "both refer to 2");
        let twins = Seen {
            children: rows(&[&["a", "7", "1", "", "2"], &["b", "7", "2", "1", ""]]),
            by_number: rows(&[&["b", "7"], &["a", "7"]]),
            ..right()
        };
        assert!(twins.wrong(&kept)[0].contains("have the same number"));
        let stale = Seen { by_number: rows(&[&["b", "7"], &["a", "7"]]), ..right() };
        assert!(stale.wrong(&kept)[0].starts_with("the index on numbers says"));
        let short = Seen { by_loose: vec![], ..right() };
        assert!(short.wrong(&kept)[0].starts_with("the index on parents says"));
        let lost = right().wrong(&BTreeSet::from(["c".to_string()]));
        assert_eq!(lost, ["acknowledged, but not there: [\"c\"]"]);
    }
}
