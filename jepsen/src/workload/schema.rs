//! Columns and indexes come and go while rows are written. Every index says what its table says, whichever of the two was
//! first; a schema change that was refused has left nothing behind that stands in the way of the next: in the end whatever
//! was made can be taken away, and more be made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, differ, fill};

/// For each unit of scale.
const ROWS: u64 = 60;
const COLUMNS: u64 = 3;

/// What changes the schema may be told that what it makes is there already, or was taken away while it was being made, and
/// that others have used the table, or have been changing it, for too long. No two rows are alike, and nothing is taken away
/// but IF EXISTS.
const CHANGES: &[&str] = &["42701", "42P07", "42704", "55P03"];
/// How often that is tried in the end which others may be in the way of for a moment, and the rest between.
const ATTEMPTS_MAX: u32 = 20;
const REST: Duration = Duration::from_millis(500);

pub struct Schema {
    rows: u64,
    tally: Tally,
    /// Each look in the end makes an index of its own.
    last_looks: AtomicU64,
}

impl Schema {
    pub fn new(setting: Setting) -> Self {
        let tally = Tally::new(setting.excused);
        Schema { rows: ROWS * setting.scale, tally, last_looks: AtomicU64::new(0) }
    }

    /// A statement, and the SQLSTATEs that it may give.
    fn statement(&self, chance: &mut dyn Chance) -> (String, &'static [&'static str]) {
        let (row, other, column) = (chance.below(self.rows), chance.below(self.rows), chance.below(COLUMNS));
        let unique = if chance.percent(30) { "UNIQUE " } else { "" };
        let text = match chance.below(36) {
            0 => format!("CREATE {unique}INDEX things_{column} ON things (b, id)"),
            1 => format!("CREATE INDEX things_a{column} ON things (a)"),
            2 => format!("DROP INDEX IF EXISTS things_{column}, things_a{column}"),
            3 => format!("ALTER TABLE things ADD COLUMN c{column} int8 DEFAULT {row}"),
            4 => format!("ALTER TABLE things DROP COLUMN IF EXISTS c{column}"),
            5..20 => {
                format!("INSERT INTO things (id, a, b) VALUES ({row}, {other}, {row}) ON CONFLICT DO NOTHING")
            }
            20..32 => {
                format!("UPDATE things SET a = a + 1, b = {other} WHERE id BETWEEN {row} AND {row} + 3")
            }
            _ => format!("DELETE FROM things WHERE id = {row}"),
        };
        let changes_schema = ["CREATE", "DROP", "ALTER"].iter().any(|begin| text.starts_with(begin));
        (text, if changes_schema { CHANGES } else { &[] })
    }

    /// Says what nothing may prevent for long.
    async fn insist(&self, client: &mut dyn Client, text: &str) -> Result<(), Refusal> {
        for attempt in 0.. {
            // A retry of the server's may find its own index.
            let mut asking = Asking::new(client, &self.tally, &["42P07", "55P03"]);
            let done = asking.say_alone(text).await;
            let told = asking.end(done).await;
            match told {
                Told::Done(_) => break,
                Told::Refused(e) if e.code == "42P07" => break,
                Told::Refused(e) if ["40001", "40P01", "55P03"].contains(&e.code.as_str()) => {
                    if attempt == ATTEMPTS_MAX {
                        let wrong =
                            format!("{text}: after {attempt} attempts something is in the way: {e:?}");
                        self.tally.violation(wrong);
                        break;
                    }
                    self.tally.retried();
                    client.rest(REST).await;
                }
                Told::Refused(e) | Told::Unknown(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(seen.wrong());
        Ok(())
    }
}

impl Workload for Schema {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE things (id int8 PRIMARY KEY, a int8 NOT NULL, b int8)".into(),
            fill("things", "i, i, i", self.rows / 2 + 1),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if chance.percent(10) {
                // What cannot be read now proves nothing.
                let _ = self.look(client).await;
                return;
            }
            let (text, excused) = self.statement(chance);
            let mut asking = Asking::new(client, &self.tally, excused);
            let done = asking.say_alone(&text).await;
            asking.end(done).await;
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.look(client).await?;
            for column in 0..COLUMNS {
                let drop = format!("DROP INDEX IF EXISTS things_{column}, things_a{column}");
                self.insist(client, &drop).await?;
                self.insist(client, &format!("ALTER TABLE things DROP COLUMN IF EXISTS c{column}")).await?;
            }
            let own = format!("things_last{}", self.last_looks.fetch_add(1, Ordering::Relaxed));
            self.insist(client, &format!("CREATE INDEX {own} ON things (a)")).await?;
            self.look(client).await?;
            self.insist(client, &format!("DROP INDEX IF EXISTS {own}")).await
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// By the rows, and by each of the columns that an index may be on; id, a, b.
struct Seen {
    rows: Vec<Row>,
    by_a: Vec<Row>,
    by_b: Vec<Row>,
}

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let rows = asking.say("SELECT id, a, b FROM things").await?.rows;
    let by_a = asking.say("SELECT id, a, b FROM things WHERE a >= 0 AND a < 1000000 ORDER BY a").await?.rows;
    let by_b = asking.say("SELECT id, a, b FROM things WHERE b = 7").await?.rows;
    asking.commit().await?;
    Ok(Seen { rows, by_a, by_b })
}

impl Seen {
    fn wrong(&self) -> Vec<String> {
        let sevens = self.rows.iter().filter(|r| r[2].as_deref() == Some("7")).cloned();
        let a = differ("an index on a", &self.by_a, self.rows.iter().cloned());
        a.into_iter().chain(differ("an index on b", &self.by_b, sevens)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
    use super::*;

    #[test]
    fn what_stays_in_the_way_is_found_out() {
        let looked = |patience: u32| {
            let work = Schema::new(Setting::default());
            let mut refused = 0;
            let mut client =
                Scripted::new(move |text| match text.starts_with("DROP") && refused < patience {
                    true => {
                        refused += 1;
                        Err(Refusal::new("55P03", "others use it"))
                    }
                    false => tag(text),
                });
            assert_eq!(ready(work.last_look(&mut client)), Ok(()));
            work.tally.take_violations()
        };
        assert_eq!(looked(3), [""; 0]);
        assert!(looked(ATTEMPTS_MAX + 1)[0].contains("something is in the way"));
    }

    #[test]
    fn only_what_changes_the_schema_may_be_told_of_it() {
        for seed in 0..200 {
            let (text, excused) = Schema::new(Setting::default()).statement(&mut Dice(seed));
            assert_eq!(excused.is_empty(), text.contains("INTO") || text.contains("WHERE"), "{text}");
        }
    }

    #[test]
    fn what_must_not_be_is_found_out() {
        let all: &[&[&str]] = &[&["1", "5", "7"], &["2", "6", ""]];
        let seen = |by_a, by_b| Seen { rows: rows(all), by_a: rows(by_a), by_b: rows(by_b) }.wrong();
        assert_eq!(seen(all, &all[..1]), [""; 0]);
        assert!(seen(&all[..1], &all[..1])[0].starts_with("an index on a says"));
        assert!(seen(all, all)[0].starts_with("an index on b says"));
    }
}
