//! Transactions that write registers and read them; every value is written to a register once. What a read saw tells who
//! wrote it, and what a transaction saw before it wrote tells whom it wrote over: enough to find cycles where lists would be
//! in the way, since every write is blind unless its transaction reads.
//!
//! What must stay true: every transaction is entered before it begins; what is entered as failed surely did not happen.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::check::rw_register::{self, Options};
use crate::history::{MicroOp, Names, Seen, Txn};

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::transcript::Transcript;
use super::{Workload, judge, number};

/// Registers that are worked on at a time, for each unit of scale.
const ACTIVE: u64 = 5;
/// A register that was written so often makes way for a new one.
const WRITES_MAX: i64 = 30;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write {
        key: i64,
        value: i64,
    },
    Read {
        key: i64,
        lock: bool,
    },
    /// Both in one statement.
    ReadBoth(i64, i64),
}

pub struct RwRegister {
    setting: Setting,
    tally: Tally,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    transcript: Transcript<Txn>,
    active_max: u64,
    /// The registers that are worked on, with their last values.
    active: BTreeMap<i64, i64>,
    keys: i64,
}

impl RwRegister {
    pub fn new(setting: Setting) -> Self {
        let tally = Tally::new(setting.excused.clone());
        let book = Book { active_max: ACTIVE * setting.scale, ..Book::default() };
        RwRegister { setting, tally, book: Mutex::new(book) }
    }

    async fn transact(&self, asking: &mut Asking<'_>, steps: &[Step]) -> Result<Vec<Option<i64>>, Refusal> {
        asking.begin(self.setting.level).await?;
        let mut seen = Vec::new();
        for step in steps {
            match *step {
                Step::Write { key, value } => {
                    let upsert = "ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v";
                    asking.say(&format!("INSERT INTO registers VALUES ({key}, {value}) {upsert}")).await?;
                }
                Step::Read { key, lock } => {
                    let lock = if lock { " FOR UPDATE" } else { "" };
                    let answer =
                        asking.say(&format!("SELECT k, v FROM registers WHERE k = {key}{lock}")).await?;
                    seen.push(value_of(&answer.rows, key)?);
                }
                Step::ReadBoth(a, b) => {
                    let answer =
                        asking.say(&format!("SELECT k, v FROM registers WHERE k IN ({a}, {b})")).await?;
                    seen.push(value_of(&answer.rows, a)?);
                    seen.push(value_of(&answer.rows, b)?);
                }
            }
        }
        asking.commit().await?;
        Ok(seen)
    }
}

impl Book {
    fn any_key(&mut self, chance: &mut dyn Chance) -> i64 {
        while (self.active.len() as u64) < self.active_max {
            self.active.insert(self.keys, 0);
            self.keys += 1;
        }
        let at = chance.below(self.active_max) as usize;
        self.active.keys().nth(at).copied().unwrap_or_default()
    }

    fn write(&mut self, key: i64) -> Step {
        let last = self.active.entry(key).or_default();
        *last += 1;
        let value = *last;
        if value >= WRITES_MAX {
            self.active.remove(&key);
        }
        Step::Write { key, value }
    }

    fn plan(&mut self, chance: &mut dyn Chance) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..1 + chance.below(4) {
            let (key, other) = (self.any_key(chance), self.any_key(chance));
            match chance.below(10) {
                // Of these the order of a register's versions is learnt.
                0..4 => steps.extend([Step::Read { key, lock: chance.percent(20) }, self.write(key)]),
                4..6 => steps.push(self.write(key)),
                6..8 if key != other => steps.push(Step::ReadBoth(key, other)),
                _ => steps.push(Step::Read { key, lock: false }),
            }
        }
        steps
    }

    fn asked(&mut self, steps: &[Step]) -> Txn {
        let names = &mut self.transcript.names;
        let mut asked = Vec::new();
        let read = |names: &mut Names, key| MicroOp::Read { key: names.int(key), seen: Seen::Nil };
        for step in steps {
            match *step {
                Step::Write { key, value } => {
                    asked.push(MicroOp::Write { key: names.int(key), value: names.int(value) });
                }
                Step::Read { key, .. } => asked.push(read(names, key)),
                Step::ReadBoth(a, b) => asked.extend([read(names, a), read(names, b)]),
            }
        }
        asked
    }
}

fn value_of(rows: &[Row], key: i64) -> Result<Option<i64>, Refusal> {
    let mut found = None;
    for row in rows {
        if number(&row[0])? == key && found.replace(number(&row[1])?).is_some() {
            return Err(Refusal::wrong(format!("register {key} is there twice: {rows:?}")));
        }
    }
    Ok(found)
}

/// What was asked, with what its reads saw.
fn seen(names: &mut Names, mut asked: Txn, values: Vec<Option<i64>>) -> Txn {
    let mut values = values.into_iter();
    for op in &mut asked {
        if let MicroOp::Read { seen, .. } = op
            && let Some(Some(value)) = values.next()
        {
            *seen = Seen::Value(names.int(value));
        }
    }
    asked
}

impl Workload for RwRegister {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE registers (k int8 PRIMARY KEY, v int8 NOT NULL)".into(),
            // Where ranges may be split.
            "INSERT INTO registers SELECT -k, 0 FROM generate_series(1, 3) AS k".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (steps, asked, process) = {
                let mut book = self.book.lock();
                let steps = book.plan(chance);
                let asked = book.asked(&steps);
                (steps, asked.clone(), book.transcript.begin(asked))
            };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = self.transact(&mut asking, &steps).await;
            let told = asking.end(done).await;
            self.book.lock().transcript.end(process, asked, told, seen);
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let (keys, asked, process) = {
                let mut book = self.book.lock();
                let steps: Vec<Step> = (0..book.keys).map(|key| Step::Read { key, lock: false }).collect();
                let asked = book.asked(&steps);
                (book.keys, asked.clone(), book.transcript.begin(asked))
            };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = read_all(&mut asking, keys).await;
            let told = asking.end(done).await;
            self.book.lock().transcript.end(process, asked, told.clone(), seen);
            told.into_result().map(drop)
        })
    }

    fn close(&self) {
        let history = self.book.lock().transcript.history();
        let model = self.setting.model();
        judge(&self.tally, history, |h| rw_register::check(h, model, Options::of(model)));
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn history(&self) -> Option<String> {
        Some(self.book.lock().transcript.edn())
    }
}

async fn read_all(asking: &mut Asking<'_>, keys: i64) -> Result<Vec<Option<i64>>, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let rows = asking.say("SELECT k, v FROM registers WHERE k >= 0").await?.rows;
    asking.commit().await?;
    (0..keys).map(|key| value_of(&rows, key)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, tag};
    use super::*;

    /// Against a server that shows every transaction the initial state.
    #[test]
    fn what_is_written_over_unseen_is_found_out() {
        let work = RwRegister::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer::default()),
            _ => tag(text),
        });
        let mut dice = Dice(1);
        for _ in 0..40 {
            ready(work.step(&mut client, "c", &mut dice));
        }
        work.close();
        let found = work.tally.take_violations();
        assert!(found.iter().any(|f| f.starts_with("serializable: invalid")), "{found:?}");
        assert!(work.history().is_some_and(|edn| edn.contains("[:w ")));
    }
}
