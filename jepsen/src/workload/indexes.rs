//! A table with indexes of every kind - plain, unique, of two columns, partial, with columns beside - and rows that come, go
//! and change so that entries of each are made, moved and removed. In each of many transactions, and beside its own writes
//! that nobody else sees yet, every index says what the rows say; no two rows have the same unique value.

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, differ, fill, number};

/// For each unit of scale.
const ROWS: u64 = 40;
/// Values of a column that is not unique.
const VALUES: u64 = 6;

pub struct Indexes {
    rows: u64,
    tally: Tally,
}

impl Indexes {
    pub fn new(setting: Setting) -> Self {
        Indexes { rows: ROWS * setting.scale, tally: Tally::new(setting.excused) }
    }

    /// A statement, and the SQLSTATEs that it may give.
    fn statement(&self, chance: &mut dyn Chance) -> (String, &'static [&'static str]) {
        let (id, other) = (chance.below(self.rows), chance.below(self.rows));
        let (a, u) = (chance.below(VALUES), chance.below(2 * self.rows));
        let c = if chance.percent(30) { "NULL".into() } else { format!("'c{}'", chance.below(VALUES)) };
        let text = match chance.below(12) {
            0..4 => {
                let set = "DO UPDATE SET a = EXCLUDED.a, u = EXCLUDED.u, c = EXCLUDED.c";
                format!("INSERT INTO items VALUES ({id}, {a}, {u}, {c}, {other}) ON CONFLICT (id) {set}")
            }
            4 => {
                format!("INSERT INTO items VALUES ({id}, {a}, {u}, {c}, {other}) ON CONFLICT (u) DO NOTHING")
            }
            5 => format!("UPDATE items SET a = {a} WHERE id BETWEEN {id} AND {id} + 3"),
            6 => format!("UPDATE items SET u = {u} WHERE id = {id}"),
            7 => format!("UPDATE items SET c = {c}, d = d + 1 WHERE a = {a}"),
            // The keys themselves move.
            8 => format!("UPDATE items SET id = {other} WHERE id = {id}"),
            9 => format!("UPDATE items SET u = NULL WHERE u = {u}"),
            10 => format!("DELETE FROM items WHERE id BETWEEN {id} AND {id} + 1"),
            _ => format!("DELETE FROM items WHERE a = {a} AND d < {other}"),
        };
        // Only of these the new key, or the new unique value, may be another row's.
        let may_clash = ["INSERT", "UPDATE items SET u = ", "UPDATE items SET id"];
        let may_clash = may_clash.iter().any(|begin| text.starts_with(begin)) && !text.contains("u = NULL");
        (text, if may_clash { &["23505"] } else { &[] })
    }

    async fn change(
        &self,
        asking: &mut Asking<'_>,
        level: Level,
        chance: &mut dyn Chance,
    ) -> Result<Vec<String>, Refusal> {
        asking.begin(level).await?;
        for n in 0..1 + chance.below(3) {
            let savepoint = chance.percent(25);
            if savepoint {
                asking.say(&format!("SAVEPOINT s{n}")).await?;
            }
            let (text, excused) = self.statement(chance);
            asking.excuse(excused);
            asking.say(&text).await?;
            asking.excuse(&[]);
            if savepoint && chance.percent(50) {
                asking.say(&format!("ROLLBACK TO s{n}")).await?;
            }
        }
        let wrong = if chance.percent(50) { read(asking).await?.wrong()? } else { Vec::new() };
        if chance.percent(10) {
            asking.rollback().await?;
        } else {
            asking.commit().await?;
        }
        Ok(wrong)
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = look(&mut asking).await;
        let wrong = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(wrong);
        Ok(())
    }
}

impl Workload for Indexes {
    fn open(&self) -> Vec<String> {
        let row = format!("i, i % {VALUES}, i, 'c' || i % {VALUES}, i");
        vec![
            "CREATE TABLE items (id int8 PRIMARY KEY, a int8 NOT NULL, u int8, c text, d int8 NOT NULL)"
                .into(),
            "CREATE INDEX items_a ON items (a)".into(),
            "CREATE UNIQUE INDEX items_u ON items (u)".into(),
            "CREATE INDEX items_c_a ON items (c, a) INCLUDE (d)".into(),
            "CREATE INDEX items_part ON items (d) WHERE a = 1".into(),
            fill("items", &row, self.rows / 2 + 1),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if chance.percent(20) {
                // What cannot be read now proves nothing.
                let _ = self.look(client).await;
                return;
            }
            // Statements of one transaction at READ COMMITTED see different snapshots, which cannot be compared.
            let level = if chance.percent(30) { Level::RepeatableRead } else { Level::Serializable };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = self.change(&mut asking, level, chance).await;
            if let Ok(wrong) = asking.end(done).await.into_result() {
                self.tally.violations(wrong);
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.look(client).await?;
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = must_use_their_indexes(&mut asking).await;
            asking.end(done).await.into_result()
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// All of it, as one snapshot shows it: id, a, u, c, d.
#[derive(Clone, Default)]
struct Seen {
    rows: Vec<Row>,
    by_a: Vec<Row>,
    by_u: Vec<Row>,
    /// Of those whose c is c1: id, a, c, d.
    by_c: Vec<Row>,
    /// Of those whose a is 1.
    by_part: Vec<Row>,
}

async fn look(asking: &mut Asking<'_>) -> Result<Vec<String>, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let seen = read(asking).await?;
    asking.commit().await?;
    seen.wrong()
}

/// Each with the index by which the planner answers it.
const BY_KEY: &str = "SELECT id, a, u, c, d FROM items WHERE id >= 0";
const BY_A: (&str, &str) =
    ("items_a", "SELECT id, a, u, c, d FROM items WHERE a >= 0 AND a < 1000 ORDER BY a");
const BY_U: (&str, &str) = ("items_u", "SELECT id, a, u, c, d FROM items WHERE u >= 0 ORDER BY u");
const BY_C: (&str, &str) = ("items_c_a", "SELECT id, a, c, d FROM items WHERE c = 'c1' ORDER BY a");
const BY_PART: (&str, &str) =
    ("items_part", "SELECT id, a, u, c, d FROM items WHERE a = 1 AND d >= 0 AND d < 100000 ORDER BY d");

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    Ok(Seen {
        rows: asking.say(BY_KEY).await?.rows,
        by_a: asking.say(BY_A.1).await?.rows,
        by_u: asking.say(BY_U.1).await?.rows,
        by_c: asking.say(BY_C.1).await?.rows,
        by_part: asking.say(BY_PART.1).await?.rows,
    })
}

/// Rows that no index gave would say nothing of it.
async fn must_use_their_indexes(asking: &mut Asking<'_>) -> Result<(), Refusal> {
    for (index, query) in [BY_A, BY_U, BY_C, BY_PART] {
        let plan = asking.say(&format!("EXPLAIN {query}")).await?;
        let uses_it = |line: &String| line.contains(&format!(" using {index} "));
        if !plan.rows.iter().flatten().flatten().any(uses_it) {
            return Err(Refusal::wrong(format!("{query} is to read {index}, and is planned as {plan:?}")));
        }
    }
    Ok(())
}

impl Seen {
    fn wrong(&self) -> Result<Vec<String>, Refusal> {
        let with = |column: usize, value: &'static str| {
            self.rows.iter().filter(move |row| row[column].as_deref() == Some(value)).cloned()
        };
        let c1 =
            with(3, "c1").map(|row| vec![row[0].clone(), row[1].clone(), row[3].clone(), row[4].clone()]);
        let mut wrong: Vec<String> = [
            differ("the index on a", &self.by_a, self.rows.iter().cloned()),
            differ("the index on u", &self.by_u, self.rows.iter().filter(|row| row[2].is_some()).cloned()),
            differ("the index on c and a", &self.by_c, c1),
            differ("the partial index", &self.by_part, with(1, "1")),
        ]
        .into_iter()
        .flatten()
        .collect();
        // What an index gives is in its order.
        for (name, rows, column) in [("a", &self.by_a, 1), ("u", &self.by_u, 2), ("d", &self.by_part, 4)] {
            let values = rows.iter().map(|row| number(&row[column])).collect::<Result<Vec<_>, _>>()?;
            if !values.is_sorted() {
                wrong.push(format!("in the order of {name}: {values:?}"));
            }
            if name == "u" && values.windows(2).any(|pair| pair[0] == pair[1]) {
                wrong.push(format!("two rows have the same unique value: {values:?}"));
            }
        }
        Ok(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
    use super::*;

    fn right() -> Seen {
        let (x, y) = (&["1", "1", "5", "c1", "9"][..], &["2", "3", "", "", "4"][..]);
        Seen {
            rows: rows(&[x, y]),
            by_a: rows(&[x, y]),
            by_u: rows(&[x]),
            by_c: rows(&[&["1", "1", "c1", "9"]]),
            by_part: rows(&[x]),
        }
    }

    #[test]
    fn a_query_that_does_not_read_its_index_is_found_out() {
        let looked = |scan: &'static str| {
            let work = Indexes::new(Setting::default());
            let mut client = Scripted::new(move |text| match text.strip_prefix("EXPLAIN ") {
                Some(_) => Ok(Answer { rows: rows(&[&[scan]]), tags: vec![] }),
                None => tag(text),
            });
            let looked = ready(work.last_look(&mut client));
            (looked.is_ok(), work.tally.take_violations().len())
        };
        assert_eq!(looked("Index Scan using items_a on items"), (false, 1));
        let all = "Scan using items_a on, using items_u on, using items_c_a on, using items_part on";
        assert_eq!(looked(all), (true, 0));
    }

    /// Against a server that finds a twin for everything.
    #[test]
    fn only_who_gives_a_row_a_key_may_meet_its_twin() {
        for seed in 0..100 {
            let work = Indexes::new(Setting::default());
            let mut client = Scripted::new(|text| match text.split(' ').next() {
                Some("INSERT" | "UPDATE" | "DELETE") => Err(Refusal::new("23505", "it is there")),
                _ => tag(text),
            });
            let mut asking = Asking::new(&mut client, &work.tally, &[]);
            let done = ready(work.change(&mut asking, Level::Serializable, &mut Dice(seed)));
            ready(asking.end(done));
            let said = client.said.iter().find(|s| s.contains("items")).cloned().unwrap_or_default();
            let harmless =
                ["DELETE", "UPDATE items SET a", "UPDATE items SET c", "UPDATE items SET u = NULL"];
            let right = harmless.iter().any(|begin| said.starts_with(begin));
            assert_eq!(work.tally.take_violations().len(), usize::from(right), "{said}");
        }
    }

    #[test]
    fn an_index_that_differs_is_found_out() {
        assert_eq!(right().wrong(), Ok(vec![]));
        let spoils: [(&str, fn(&mut Seen)); 6] = [
            ("the index on a says", |s| s.by_a[0][4] = Some("8".into())),
            ("the index on u says", |s| s.by_u.clear()),
            ("the index on c and a says", |s| s.by_c.push(s.by_c[0].clone())),
            ("the partial index says", |s| s.by_part.clear()),
            ("in the order of a", |s| s.by_a.reverse()),
            ("two rows have the same unique value", |s| {
                s.rows[1][2] = Some("5".into());
                s.by_a = s.rows.clone();
                s.by_u = s.rows.clone();
            }),
        ];
        for (expected, spoil) in spoils {
            let mut seen = right();
            spoil(&mut seen);
            let wrong = seen.wrong().expect("numbers");
            assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{expected}: {wrong:?}");
        }
    }
}
