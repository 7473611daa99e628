//! Clients change rows, and columns, and remember what was there at some time: because a transaction has seen it and was told the
//! time of its snapshot, because it has committed and was told when, or because they have asked for the past itself. Later others
//! ask AS OF that time, through any gateway.
//!
//! What is checked: what was there at a time stays what was there, by every way to ask for it, with the columns of then; nobody
//! commits at a time that has been read. What is no longer kept is refused, never made up.

use std::time::Duration;

use parking_lot::Mutex;

use super::Workload;
use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;

/// For each unit of scale.
const ROWS: u64 = 24;
const KEPT: usize = 200;
/// Of those, how many are looked at in the end.
const LAST: usize = 12;

/// The clock of this gateway may not have come so far yet; a moment later it has.
const TO_COME: &str = "22023";
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 10;
/// Versions may have been collected since.
const COLLECTED: &str = "72000";
const EXCUSED: [&str; 2] = [COLLECTED, TO_COME];
/// And there may have been no table yet: some seconds ago, or by a clock that is behind.
const EXCUSED_BEFORE: [&str; 4] = [COLLECTED, TO_COME, "42P01", "3D000"];
/// Of a schema change: the column is there already.
const EXCUSED_RESHAPING: [&str; 1] = ["42701"];

/// Where the clause stands in a question.
const CLAUSE: &str = "<>";
const QUESTIONS: [&str; 4] = [
    "SELECT * FROM relics <> ORDER BY id",
    "SELECT value, id FROM relics <> WHERE value >= 0 ORDER BY value, id",
    "SELECT count(*), sum(value), max(id) FROM relics <>",
    "SELECT id FROM relics <> WHERE maker LIKE '%1' ORDER BY id",
];

/// What was there.
#[derive(Clone, Debug)]
struct Memory {
    at: String,
    question: String,
    rows: Vec<Row>,
}

/// How the past is asked for.
#[derive(Clone, Copy, Debug)]
enum How {
    Statement,
    Block,
    SetTransaction,
    Cursor,
}

const WAYS: [How; 4] = [How::Statement, How::Block, How::SetTransaction, How::Cursor];

pub struct Past {
    rows: u64,
    memories: Mutex<Vec<Memory>>,
    tally: Tally,
}

impl Past {
    pub fn new(setting: Setting) -> Self {
        Past { rows: ROWS * setting.scale, memories: Mutex::default(), tally: Tally::new(setting.excused) }
    }

    fn keep(&self, memory: Memory, chance: &mut dyn Chance) {
        let mut memories = self.memories.lock();
        if memories.len() < KEPT {
            memories.push(memory);
        } else {
            memories[chance.below(KEPT as u64) as usize] = memory;
        }
    }

    fn some_memory(&self, chance: &mut dyn Chance) -> Option<Memory> {
        let memories = self.memories.lock();
        // More often a young one: old ones are refused.
        let back = chance.below(memories.len() as u64).min(chance.below(memories.len() as u64));
        memories.len().checked_sub(1 + back as usize).map(|at| memories[at].clone())
    }

    async fn change(&self, client: &mut dyn Client, id: &str, chance: &mut dyn Chance) {
        let (row, other, value) = (chance.below(self.rows), chance.below(self.rows), chance.below(1000));
        let text = match chance.below(4) {
            0 => format!("DELETE FROM relics WHERE id = {row}"),
            1 => format!("UPDATE relics SET value = {value} WHERE id BETWEEN {row} AND {row} + 4"),
            // In several ranges, perhaps.
            2 => format!(
                "UPDATE relics SET value = value + 1 WHERE id = {row}; \
                 UPDATE relics SET value = value - 1 WHERE id = {other}"
            ),
            _ => {
                let update = "ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value, maker = EXCLUDED.maker";
                format!("INSERT INTO relics (id, value, maker) VALUES ({row}, {value}, '{id}') {update}")
            }
        };
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = asking.say_alone(&text).await;
        asking.end(done).await;
    }

    async fn reshape(&self, client: &mut dyn Client, chance: &mut dyn Chance) {
        let column = chance.below(2);
        let text = match chance.below(2) {
            0 => format!("ALTER TABLE relics ADD COLUMN extra{column} int8 DEFAULT {}", chance.below(100)),
            _ => format!("ALTER TABLE relics DROP COLUMN IF EXISTS extra{column}"),
        };
        let mut asking = Asking::new(client, &self.tally, &EXCUSED_RESHAPING);
        let done = asking.say_alone(&text).await;
        asking.end(done).await;
    }

    /// Remembers what one of the questions is answered with.
    async fn see(&self, client: &mut dyn Client, chance: &mut dyn Chance) {
        let question = QUESTIONS[chance.below(QUESTIONS.len() as u64) as usize];
        let level = if chance.percent(30) { Level::RepeatableRead } else { Level::Serializable };
        // Where the present is asked, its snapshot may move as long as nobody has been told where it is.
        let (begin, excused) = match chance.below(3) {
            0 => ("BEGIN AS OF SYSTEM TIME now()".into(), &EXCUSED_BEFORE[..]),
            1 => (format!("BEGIN AS OF SYSTEM TIME '-{}ms'", chance.below(3_000)), &EXCUSED_BEFORE[..]),
            _ => (format!("BEGIN ISOLATION LEVEL {} READ ONLY", level.sql()), &[][..]),
        };
        let told_first = chance.percent(50);
        let mut asking = Asking::new(client, &self.tally, excused);
        let done = see(&mut asking, &begin, question, told_first).await;
        if let Ok(memory) = asking.end(done).await.into_result() {
            self.keep(memory, chance);
        }
    }

    /// Remembers a row that it has written, at the time of the commit: SERIALIZABLE keeps to what it has said.
    async fn write(&self, client: &mut dyn Client, chance: &mut dyn Chance) {
        let (row, value) = (chance.below(self.rows), chance.below(1000));
        let told_first = chance.percent(50);
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = write(&mut asking, row, value, told_first).await;
        if let Ok(memory) = asking.end(done).await.into_result() {
            self.keep(memory, chance);
        }
    }

    async fn recall(&self, client: &mut dyn Client, memory: &Memory, how: How) -> Result<(), Refusal> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut asking = Asking::new(client, &self.tally, &EXCUSED);
            let done = recall(&mut asking, memory, how).await;
            match asking.end(done).await.into_result() {
                Ok(()) => {
                    self.tally.looked();
                    return Ok(());
                }
                Err(refusal) if refusal.code == TO_COME && attempt < ATTEMPTS => client.rest(PAUSE).await,
                Err(refusal) => return Err(refusal),
            }
        }
    }
}

async fn see(
    asking: &mut Asking<'_>,
    begin: &str,
    question: &str,
    told_first: bool,
) -> Result<Memory, Refusal> {
    asking.say(begin).await?;
    let before = if told_first { Some(time(asking).await?) } else { None };
    let rows = asking.say(&question.replace(CLAUSE, "")).await?.rows;
    let at = time(asking).await?;
    if before.as_ref().is_some_and(|before| *before != at) {
        return Err(Refusal::wrong(format!("{begin}: the time is {before:?}, and then {at}")));
    }
    asking.commit().await?;
    Ok(Memory { at, question: question.into(), rows })
}

async fn write(asking: &mut Asking<'_>, row: u64, value: u64, told_first: bool) -> Result<Memory, Refusal> {
    asking.begin(Level::Serializable).await?;
    let before = if told_first { Some(time(asking).await?) } else { None };
    let update = format!("UPDATE relics SET value = {value} WHERE id = {row}");
    let written = asking.say(&update).await?.count();
    let at = match before {
        Some(at) => at,
        None => time(asking).await?,
    };
    asking.commit().await?;
    let rows = if written == 0 { Vec::new() } else { vec![vec![Some(value.to_string())]] };
    Ok(Memory { at, question: format!("SELECT value FROM relics {CLAUSE} WHERE id = {row}"), rows })
}

/// The time of the transaction's snapshot.
async fn time(asking: &mut Asking<'_>) -> Result<String, Refusal> {
    let answer = asking.say("SELECT cluster_logical_timestamp()").await?;
    let first = answer.first().map(String::from);
    first.ok_or_else(|| Refusal::wrong("cluster_logical_timestamp() is nothing"))
}

async fn recall(asking: &mut Asking<'_>, memory: &Memory, how: How) -> Result<(), Refusal> {
    let clause = format!("AS OF SYSTEM TIME {}", memory.at);
    let question = memory.question.replace(CLAUSE, "");
    let mut seen = Vec::new();
    match how {
        How::Statement => seen.push(asking.say(&memory.question.replace(CLAUSE, &clause)).await?.rows),
        How::Block | How::SetTransaction => {
            match how {
                How::Block => asking.say(&format!("BEGIN {clause}")).await?,
                _ => asking.say(&format!("BEGIN; SET TRANSACTION {clause}")).await?,
            };
            for _ in 0..2 {
                seen.push(asking.say(&question).await?.rows);
            }
            asking.commit().await?;
        }
        How::Cursor => {
            asking.say(&format!("BEGIN {clause}")).await?;
            asking.say(&format!("DECLARE old CURSOR FOR {question}")).await?;
            let mut rows = asking.say("FETCH 3 FROM old").await?.rows;
            rows.extend(asking.say("FETCH ALL FROM old").await?.rows);
            seen.push(rows);
            asking.commit().await?;
        }
    }
    match seen.iter().find(|rows| **rows != memory.rows) {
        None => Ok(()),
        Some(rows) => {
            let Memory { at, question, rows: then } = memory;
            Err(Refusal::wrong(format!("{how:?}: {question} at {at} was {then:?}, and is {rows:?}")))
        }
    }
}

impl Workload for Past {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE relics (id int8 PRIMARY KEY, value int8 NOT NULL, maker text NOT NULL, UNIQUE (value, id))"
                .into(),
            format!(
                "INSERT INTO relics SELECT i, i, 'w' || i FROM generate_series(0, {}) AS i",
                self.rows - 1
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
            match chance.below(40) {
                0..16 => self.change(client, id, chance).await,
                16..17 => self.reshape(client, chance).await,
                17..25 => self.see(client, chance).await,
                25..28 => self.write(client, chance).await,
                _ => {
                    let Some(memory) = self.some_memory(chance) else { return };
                    if chance.percent(50) {
                        client.go_elsewhere(chance).await;
                    }
                    let how = WAYS[chance.below(WAYS.len() as u64) as usize];
                    // What cannot be read now proves nothing.
                    let _ = self.recall(client, &memory, how).await;
                }
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let memories = self.memories.lock().iter().rev().take(LAST).cloned().collect::<Vec<_>>();
            for (memory, how) in memories.iter().zip(WAYS.iter().cycle()) {
                match self.recall(client, memory, *how).await {
                    Err(refusal) if refusal.code == COLLECTED => {}
                    done => done?,
                }
            }
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Scripted, ready, rows, tag};
    use super::*;

    /// The rows that were there, and each further answer.
    fn recalled(answers: &'static [&'static [&'static [&'static str]]], how: How) -> Vec<String> {
        let work = Past::new(Setting::default());
        let memory = Memory {
            at: "17.0000000001".into(),
            question: QUESTIONS[0].into(),
            rows: rows(&[&["1", "10", "a"], &["2", "20", "b"]]),
        };
        let mut left = answers.iter();
        let mut client = Scripted::new(move |text| match text.split(' ').next() {
            Some("SELECT" | "FETCH") => {
                let rows = rows(left.next().copied().unwrap_or_default());
                Ok(Answer { rows, tags: vec![] })
            }
            _ => tag(text),
        });
        let _ = ready(work.recall(&mut client, &memory, how));
        assert!(client.said.iter().any(|text| text.contains("AS OF SYSTEM TIME 17.0000000001")));
        work.tally.take_violations()
    }

    const SAME: &[&[&str]] = &[&["1", "10", "a"], &["2", "20", "b"]];
    const LATER: &[&[&str]] = &[&["1", "11", "a"], &["2", "20", "b"]];
    const WIDER: &[&[&str]] = &[&["1", "10", "a", "7"], &["2", "20", "b", "7"]];

    #[test]
    fn another_past_is_found_out() {
        for how in [How::Statement, How::Cursor] {
            assert_eq!(recalled(&[SAME], how), [""; 0], "{how:?}");
            for other in [&[LATER][..], &[WIDER], &[&[]]] {
                assert!(recalled(other, how)[0].contains("at 17.0000000001 was"), "{how:?}");
            }
        }
        for how in [How::Block, How::SetTransaction] {
            assert_eq!(recalled(&[SAME, SAME], how), [""; 0], "{how:?}");
            assert!(recalled(&[SAME, LATER], how)[0].contains("at 17.0000000001 was"), "{how:?}");
        }
    }

    #[test]
    fn a_time_that_changes_is_found_out() {
        let work = Past::new(Setting::default());
        let mut asked = 0;
        let mut client = Scripted::new(move |text| match text.split(' ').next() {
            Some("SELECT") => {
                asked += 1;
                Ok(Answer { rows: rows(&[&[&format!("{asked}.0000000000")]]), tags: vec![] })
            }
            _ => tag(text),
        });
        let mut asking = Asking::new(&mut client, &work.tally, &[]);
        let done = ready(see(&mut asking, "BEGIN", QUESTIONS[2], true));
        ready(asking.end(done));
        assert!(work.tally.take_violations()[0].contains("the time is"));
    }

    #[test]
    fn what_is_collected_is_refused_and_nothing_else_is() {
        for (code, violations) in [(COLLECTED, 0), (TO_COME, 0), ("42P01", 1)] {
            let work = Past::new(Setting::default());
            let memory = Memory { at: "17.0".into(), question: QUESTIONS[1].into(), rows: Vec::new() };
            let mut client = Scripted::new(move |_| Err(Refusal::new(code, "no")));
            let _ = ready(work.recall(&mut client, &memory, How::Statement));
            assert_eq!(work.tally.take_violations().len(), violations, "{code}");
        }
    }
}
