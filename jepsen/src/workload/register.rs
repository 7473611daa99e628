//! Single registers that are read, written and compared-and-set, each by one statement, through whichever gateway: at every
//! isolation level there is one order of all operations on a register that explains them and respects real time.
//!
//! What must stay true: every operation is entered before it is sent; a compare-and-set that found another value is one
//! that did not happen.

use parking_lot::Mutex;

use crate::check::linear;
use crate::history::{Names, RegisterFn, RegisterOp};

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::transcript::Transcript;
use super::{Workload, judge, number};

/// Registers that are worked on at a time, for each unit of scale.
const ACTIVE: i64 = 3;
/// After so many operations registers make way for new ones, so that an order is found soon.
const OPERATIONS: i64 = 150;
/// What the search for an order may remember of one register, in bytes.
const MEMORY_MAX: usize = 64 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Read,
    Write(i64),
    Cas(i64, i64),
}

pub struct Register {
    active: i64,
    level: Level,
    tally: Tally,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    transcript: Transcript<RegisterOp>,
    operations: i64,
    /// The last value that was thought of: every value is written once.
    values: i64,
}

impl Register {
    pub fn new(setting: Setting) -> Self {
        let active = ACTIVE * setting.scale as i64;
        Register { active, level: setting.level, tally: Tally::new(setting.excused), book: Mutex::default() }
    }

    /// The first of the registers that are worked on after so many operations.
    fn first_of(&self, operations: i64) -> i64 {
        operations / (OPERATIONS * self.active) * self.active
    }

    fn plan(&self, chance: &mut dyn Chance) -> (i64, Deed) {
        let mut book = self.book.lock();
        book.operations += 1;
        let key = self.first_of(book.operations) + chance.below(self.active as u64) as i64;
        let deed = match chance.below(10) {
            0..4 => Deed::Read,
            4..7 => {
                book.values += 1;
                Deed::Write(book.values)
            }
            _ => {
                // One of the last values may still be there.
                let old = (book.values - chance.below(4) as i64).max(1);
                book.values += 1;
                Deed::Cas(old, book.values)
            }
        };
        (key, deed)
    }

    async fn carry_out(&self, asking: &mut Asking<'_>, key: i64, deed: Deed) -> Result<Option<i64>, Refusal> {
        let text = match deed {
            Deed::Read => format!("SELECT v FROM cells WHERE k = {key}"),
            Deed::Write(v) => {
                format!("INSERT INTO cells VALUES ({key}, {v}) ON CONFLICT (k) DO UPDATE SET v = {v}")
            }
            Deed::Cas(old, new) => format!("UPDATE cells SET v = {new} WHERE k = {key} AND v = {old}"),
        };
        let answer = asking.change(self.level, &text).await?;
        asking.excuse(&[NOT_THERE]);
        match (deed, answer.count(), &answer.rows[..]) {
            (Deed::Cas(..), 0, _) => Err(Refusal::new(NOT_THERE, "another value is there")),
            (Deed::Cas(..) | Deed::Write(_), 1, _) | (Deed::Read, _, []) => Ok(None),
            (Deed::Read, _, [row]) => number(&row[0]).map(Some),
            _ => Err(Refusal::wrong(format!("register {key} is there more than once: {answer:?}"))),
        }
    }

    async fn operate(&self, client: &mut dyn Client, key: i64, deed: Deed) -> Told<Option<i64>> {
        let asked = {
            let mut book = self.book.lock();
            let asked = asked(&mut book.transcript.names, key, deed);
            book.transcript.begin(asked)
        };
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = self.carry_out(&mut asking, key, deed).await;
        let told = asking.end(done).await;
        self.book.lock().transcript.end(asked, told.clone(), seen);
        told
    }
}

/// What a compare-and-set says that found another value: a code of class 00, which no error has.
const NOT_THERE: &str = "00NOT";

fn asked(names: &mut Names, key: i64, deed: Deed) -> RegisterOp {
    let f = match deed {
        Deed::Read => RegisterFn::Read(None),
        Deed::Write(v) => RegisterFn::Write(names.int(v)),
        Deed::Cas(old, new) => RegisterFn::Cas(names.int(old), names.int(new)),
    };
    RegisterOp { key: Some(names.int(key)), f }
}

fn seen(names: &mut Names, asked: RegisterOp, value: Option<i64>) -> RegisterOp {
    match asked.f {
        RegisterFn::Read(_) => RegisterOp { f: RegisterFn::Read(value.map(|v| names.int(v))), ..asked },
        _ => asked,
    }
}

impl Workload for Register {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE cells (k int8 PRIMARY KEY, v int8 NOT NULL)".into(),
            // Where ranges may be split.
            "INSERT INTO cells SELECT -k, 0 FROM generate_series(1, 3) AS k".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (key, deed) = self.plan(chance);
            self.operate(client, key, deed).await;
        })
    }

    /// Reads all registers that there have ever been.
    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let operations = self.book.lock().operations;
            for key in 0..self.first_of(operations) + self.active {
                self.operate(client, key, Deed::Read).await.into_result()?;
            }
            Ok(())
        })
    }

    fn close(&self) {
        let history = self.book.lock().transcript.history();
        judge(&self.tally, history, |h| Ok(linear::check(h, MEMORY_MAX)));
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn history(&self) -> Option<String> {
        Some(self.book.lock().transcript.edn())
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
    use super::*;

    /// Of a register of long ago, too.
    #[test]
    fn a_register_that_is_lost_in_the_end_is_found_out() {
        let work = Register::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer { rows: vec![], tags: vec!["SELECT 0".into()] }),
            _ => tag("INSERT 0 1"),
        });
        assert_eq!(ready(work.operate(&mut client, 0, Deed::Write(1))), Told::Done(None));
        work.book.lock().operations = 10 * OPERATIONS * work.active;
        assert_eq!(ready(work.last_look(&mut client)), Ok(()));
        work.close();
        assert!(work.tally.take_violations()[0].starts_with("linearizable-register: invalid"));
    }

    #[test]
    fn a_register_that_is_there_twice_is_found_out() {
        let work = Register::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer { rows: rows(&[&["1"], &["2"]]), tags: vec!["SELECT 2".into()] }),
            _ => tag("UPDATE 2"),
        });
        for deed in [Deed::Read, Deed::Cas(1, 2)] {
            ready(work.operate(&mut client, 0, deed));
            assert!(work.tally.take_violations()[0].starts_with("register 0 is there more than once"));
        }
    }

    /// Against a server that acknowledges everything and always shows 1.
    #[test]
    fn a_read_of_what_is_past_is_found_out() {
        let work = Register::new(Setting { level: Level::ReadCommitted, ..Setting::default() });
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer { rows: rows(&[&["1"]]), tags: vec!["SELECT 1".into()] }),
            Some("UPDATE") => tag("UPDATE 0"),
            Some("INSERT") => tag("INSERT 0 1"),
            _ => tag(text),
        });
        let mut dice = Dice(2);
        for _ in 0..40 {
            ready(work.step(&mut client, "c", &mut dice));
        }
        work.close();
        let found = work.tally.take_violations();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("linearizable-register: invalid"), "{found:?}");
    }
}
