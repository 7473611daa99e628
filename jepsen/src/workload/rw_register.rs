//! Transactions that write registers and read them; every value is written to a register once. What a read saw tells who
//! wrote it, and what a transaction saw before it wrote tells whom it wrote over: enough to find cycles where lists would be
//! in the way, since every write is blind unless its transaction reads.
//!
//! Besides, no read sees what had been replaced before it began, which an order of transactions alone would not ask for.
//!
//! What must stay true: every transaction is entered before it begins; what is entered as failed surely did not happen.

use std::ops::Range;

use parking_lot::Mutex;

use crate::check::rw_register::{self, Options};
use crate::history::{MicroOp, Names, Seen, Txn};

use super::active::Active;
use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::transcript::{Transcript, answered};
use super::{Workload, judge, number, recent};

/// Registers that are worked on at a time, for each unit of scale.
const REGISTERS: u64 = 5;
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

struct Book {
    transcript: Transcript<Txn>,
    registers: Active,
}

impl RwRegister {
    pub fn new(setting: Setting) -> Self {
        let tally = Tally::new(setting.excused.clone());
        let registers = Active::new(REGISTERS * setting.scale, WRITES_MAX);
        let book = Book { transcript: Transcript::default(), registers };
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
    fn write(&mut self, key: i64) -> Step {
        Step::Write { key, value: self.registers.next_value(key) }
    }

    fn plan(&mut self, chance: &mut dyn Chance) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..1 + chance.below(4) {
            let (key, other) = (self.registers.any(chance), self.registers.any(chance));
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
fn seen(names: &mut Names, asked: Txn, values: Vec<Option<i64>>) -> Txn {
    answered(asked, values.into_iter().map(|value| value.map_or(Seen::Nil, |v| Seen::Value(names.int(v)))))
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
            let (steps, asked) = {
                let mut book = self.book.lock();
                let steps = book.plan(chance);
                let asked = book.asked(&steps);
                (steps, book.transcript.begin(asked))
            };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = self.transact(&mut asking, &steps).await;
            let told = asking.end(done).await;
            self.book.lock().transcript.end(asked, told, seen);
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let (keys, asked) = {
                let mut book = self.book.lock();
                let keys = book.registers.all();
                let steps: Vec<Step> = keys.clone().map(|key| Step::Read { key, lock: false }).collect();
                let asked = book.asked(&steps);
                (keys, book.transcript.begin(asked))
            };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = read_all(&mut asking, keys).await;
            let told = asking.end(done).await;
            self.book.lock().transcript.end(asked, told.clone(), seen);
            told.into_result().map(drop)
        })
    }

    fn close(&self) {
        let transcript = self.book.lock().transcript.clone();
        self.tally.violations(recent::wrong(transcript.events(), &transcript.names));
        let history = transcript.history();
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

async fn read_all(asking: &mut Asking<'_>, keys: Range<i64>) -> Result<Vec<Option<i64>>, Refusal> {
    let rows = asking.query(Level::Serializable, "SELECT k, v FROM registers WHERE k >= 0").await?;
    keys.map(|key| value_of(&rows, key)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::asking::Told;
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

    #[test]
    fn a_write_that_is_lost_in_the_end_is_found_out_at_every_level() {
        for level in Level::ALL {
            let work = RwRegister::new(Setting { level, ..Setting::default() });
            let mut client = Scripted::new(tag);
            let key = work.book.lock().registers.any(&mut Dice(1));
            let write = {
                let mut book = work.book.lock();
                let steps = [book.write(key)];
                let asked = book.asked(&steps);
                book.transcript.begin(asked)
            };
            work.book.lock().transcript.end(write, Told::Done(vec![]), seen);
            assert_eq!(ready(work.last_look(&mut client)), Ok(()));
            work.close();
            let found = work.tally.take_violations();
            assert_eq!(found.len(), 1, "{level:?}: {found:?}");
            assert!(found[0].contains("which was acknowledged before it began"), "{level:?}: {found:?}");
        }
    }
}
