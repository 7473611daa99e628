//! Columns and indexes come and go while rows are written. Every index says what its table says, whichever of the two was
//! first; a schema change that was refused has left nothing behind that stands in the way of the next.

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, differ};

/// For each unit of scale.
const ROWS: u64 = 60;
const COLUMNS: u64 = 3;

/// What a statement may say of columns and indexes that come and go: they are there already, they are not there (any
/// more), somebody else is changing them, their rows are not unique.
const EXCUSED: [&str; 7] = ["42701", "42703", "42P07", "42704", "55006", "23505", "0A000"];

pub struct Schema {
    rows: u64,
    tally: Tally,
}

impl Schema {
    pub fn new(setting: Setting) -> Self {
        Schema { rows: ROWS * setting.scale, tally: Tally::new(setting.excused) }
    }

    fn statement(&self, chance: &mut dyn Chance) -> String {
        let (row, other, column) = (chance.below(self.rows), chance.below(self.rows), chance.below(COLUMNS));
        let unique = if chance.percent(30) { "UNIQUE " } else { "" };
        match chance.below(36) {
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
        }
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        // The last schema change may have been cut off; whoever goes on with it has a moment.
        let mut asking = Asking::new(client, &self.tally, &EXCUSED);
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
            format!("INSERT INTO things SELECT i, i, i FROM generate_series(0, {}) AS i", self.rows / 2),
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
            let text = self.statement(chance);
            let mut asking = Asking::new(client, &self.tally, &EXCUSED);
            let done = asking.say_alone(&text).await;
            asking.end(done).await;
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.look(client))
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
    use super::super::scripted::rows;
    use super::*;

    #[test]
    fn what_must_not_be_is_found_out() {
        let all: &[&[&str]] = &[&["1", "5", "7"], &["2", "6", ""]];
        let seen = |by_a, by_b| Seen { rows: rows(all), by_a: rows(by_a), by_b: rows(by_b) }.wrong();
        assert_eq!(seen(all, &all[..1]), [""; 0]);
        assert!(seen(&all[..1], &all[..1])[0].starts_with("an index on a says"));
        assert!(seen(all, all)[0].starts_with("an index on b says"));
    }
}
