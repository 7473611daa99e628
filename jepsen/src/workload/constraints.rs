//! Parents come and go, children refer to them; each child has a number that no other has. Whatever the isolation level, no
//! child is without its parent, no number is there twice, and every index says what its table says.

use std::collections::{BTreeMap, BTreeSet};

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::known::{self, Known, State, States};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, differ, fill};

/// For each unit of scale.
const PARENTS: u64 = 8;
const NUMBERS: u64 = 30;

pub struct Constraints {
    scale: u64,
    tally: Tally,
    /// Those that something may take away stay open once they were acknowledged.
    children: Known,
}

/// A statement, and what may come of it.
struct Deed {
    text: String,
    /// SQLSTATEs that it may give: a row that it refers to may be missing, or a row that refers to its row be there; a number
    /// may be another's.
    excused: &'static [&'static str],
    /// It makes a child under the step's own id, or under that with an x before.
    child: Option<Child>,
}

#[derive(Clone, Debug)]
struct Child {
    id: String,
    /// Nothing takes it away.
    stays: bool,
}

impl Constraints {
    pub fn new(setting: Setting) -> Self {
        let tally = Tally::new(setting.excused);
        Constraints { scale: setting.scale, tally, children: Known::default() }
    }

    fn deed(&self, id: &str, chance: &mut dyn Chance) -> Deed {
        let parents = PARENTS * self.scale;
        let (a, b, c) = (chance.below(parents), chance.below(parents), chance.below(parents));
        let number = chance.below(NUMBERS * self.scale);
        let (text, excused): (_, &'static [&'static str]) = match chance.below(11) {
            0..4 => {
                let loose = if chance.percent(50) { b.to_string() } else { "NULL".into() };
                // Cascades take children away, and deletions those whose name says so.
                let name = if chance.percent(50) { format!("x{id}") } else { id.to_string() };
                let text = format!("INSERT INTO children VALUES ('{name}', {number}, {a}, {loose}, {c})");
                let child = Child { stays: loose == "NULL" && name == id, id: name };
                return Deed { text, excused: &["23503", "23505"], child: Some(child) };
            }
            4..6 => (
                format!("UPDATE children SET number = {number}, free = {c} WHERE number = {}", number / 2),
                &["23503", "23505"],
            ),
            6 => (format!("UPDATE children SET strict = {a} WHERE strict = {b}"), &["23503"]),
            7 => (format!("DELETE FROM parents WHERE id = {a}"), &["23503"]),
            8 => (format!("DELETE FROM children WHERE number = {number} AND id LIKE 'x%'"), &[]),
            _ => (format!("INSERT INTO parents VALUES ({a}, '{id}') ON CONFLICT DO NOTHING"), &[]),
        };
        Deed { text, excused, child: None }
    }

    async fn carry_out(&self, client: &mut dyn Client, level: Level, deed: &Deed) {
        let enter = |state| deed.child.iter().for_each(|child| self.children.set(&child.id, state));
        enter(State::Open);
        let mut asking = Asking::new(client, &self.tally, deed.excused);
        let done = transact(&mut asking, level, &deed.text).await;
        match asking.end(done).await {
            Told::Done(()) if !deed.child.as_ref().is_some_and(|child| child.stays) => {}
            told => enter(State::made(&told)),
        }
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let before = self.children.now();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(seen.wrong(&before, &self.children.now()));
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
            fill("parents", "i, ''", PARENTS * self.scale),
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
            let deed = self.deed(id, chance);
            let level = Level::ALL[chance.below(3) as usize];
            self.carry_out(client, level, &deed).await;
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
    fn wrong(&self, before: &States, now: &States) -> Vec<String> {
        let there: BTreeSet<&str> = self.children.iter().filter_map(|c| c[0].as_deref()).collect();
        let mut wrong = known::wrong(before, now, |id| there.contains(id));
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
        if there.len() != self.children.len() || parents.len() != self.parents.len() {
            wrong.push(format!("a row is there twice: {:?}, {:?}", self.parents, self.children));
        }
        let numbers = self.children.iter().map(|c| c[..2].to_vec());
        wrong.extend(differ("the index on numbers", &self.by_number, numbers));
        let loose = self.children.iter().filter(|c| c[3].is_some()).map(|c| c[..1].to_vec());
        wrong.extend(differ("the index on parents", &self.by_loose, loose));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
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
        let wrong = |seen: Seen, id: &str, state| {
            let known = States::from([(id.to_string(), state)]);
            seen.wrong(&known, &known)
        };
        let kept = |seen| wrong(seen, "a", State::There);
        assert_eq!(kept(right()), [""; 0]);
        let orphan = Seen { parents: rows(&[&["1"]]), ..right() };
        assert_eq!(kept(orphan).len(), 2, "both refer to 2");
        let doubled = Seen { parents: rows(&[&["1"], &["2"], &["2"]]), ..right() };
        assert!(kept(doubled)[0].starts_with("a row is there twice"));
        let twins = Seen {
            children: rows(&[&["a", "7", "1", "", "2"], &["b", "7", "2", "1", ""]]),
            by_number: rows(&[&["b", "7"], &["a", "7"]]),
            ..right()
        };
        assert!(kept(twins)[0].contains("have the same number"));
        let stale = Seen { by_number: rows(&[&["b", "7"], &["a", "7"]]), ..right() };
        assert!(kept(stale)[0].starts_with("the index on numbers says"));
        let short = Seen { by_loose: vec![], ..right() };
        assert!(kept(short)[0].starts_with("the index on parents says"));
        assert_eq!(wrong(right(), "c", State::There), ["acknowledged, but not there: c"]);
        assert_eq!(wrong(right(), "b", State::Refused), ["refused, but there: b"]);
        assert_eq!(wrong(right(), "c", State::Open), [""; 0], "it may have been taken away");
    }

    /// Against a server that says of every statement that it breaks a constraint.
    #[test]
    fn a_statement_that_can_break_no_constraint_must_not() {
        for seed in 0..40 {
            let work = Constraints::new(Setting::default());
            let deed = work.deed("c", &mut Dice(seed));
            let mut client = Scripted::new(|text| match text.split(' ').next() {
                Some("INSERT" | "UPDATE" | "DELETE") => Err(Refusal::new("23505", "no")),
                _ => tag(text),
            });
            ready(work.carry_out(&mut client, Level::Serializable, &deed));
            let may = deed.text.contains("number") && !deed.text.starts_with("DELETE")
                || deed.text.starts_with("INSERT INTO children");
            assert_eq!(work.tally.take_violations().is_empty(), may, "{}", deed.text);
            let known = deed.child.map(|child| work.children.now()[&child.id]);
            assert!(known.is_none_or(|state| state == State::Refused));
        }
    }
}
