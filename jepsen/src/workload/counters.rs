//! Counters that everybody increases, at every isolation level: by `n = n + 1`, or by writing what was read under a lock. No
//! increment is lost, and none comes twice.
//!
//! What is checked, at every read and at the end: a counter is at least as large as what had been acknowledged when the read
//! began, and at most as what had been sent when it ended and was not refused.

use parking_lot::Mutex;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, fill, first_number};

/// For each unit of scale.
const COUNTERS: u64 = 3;
const MAX_ATTEMPTS: u32 = 20;

pub struct Counters {
    level: Level,
    tally: Tally,
    books: Mutex<Vec<Book>>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Book {
    acknowledged: i64,
    /// Sent, and not refused.
    sent: i64,
}

impl Book {
    /// `before`: what was known when the read began.
    fn check(&self, before: &Book, seen: i64) -> Option<String> {
        let (least, most) = (before.acknowledged, self.sent);
        (seen < least || seen > most).then(|| format!("{seen} was read of what is {least} to {most}"))
    }
}

impl Counters {
    pub fn new(setting: Setting) -> Self {
        let books = Mutex::new(vec![Book::default(); (COUNTERS * setting.scale) as usize]);
        Counters { level: setting.level, tally: Tally::new(setting.excused), books }
    }

    async fn increase(&self, client: &mut dyn Client, counter: usize, amount: i64, locks: bool) {
        self.books.lock()[counter].sent += amount;
        for attempt in 0.. {
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = match locks {
                true => read_and_write(&mut asking, self.level, counter, amount).await,
                false => add(&mut asking, self.level, counter, amount).await,
            };
            let told = asking.end(done).await;
            if told.may_be_repeated() && attempt < MAX_ATTEMPTS {
                self.tally.retried();
                continue;
            }
            let book = &mut self.books.lock()[counter];
            match told {
                Told::Done(()) => book.acknowledged += amount,
                Told::Refused(_) => book.sent -= amount,
                Told::Unknown(_) => {}
            }
            return;
        }
    }

    async fn read(&self, client: &mut dyn Client, counter: usize) -> Result<(), Refusal> {
        let before = self.books.lock()[counter];
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = asking.say(&format!("SELECT n FROM counts WHERE id = {counter}")).await;
        let answer = asking.end(done).await.into_result()?;
        self.tally.looked();
        let seen = first_number(&answer)?;
        let wrong = self.books.lock()[counter].check(&before, seen);
        self.tally.violations(wrong.map(|wrong| format!("counter {counter}: {wrong}")));
        Ok(())
    }
}

impl Workload for Counters {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE counts (id int8 PRIMARY KEY, n int8 NOT NULL)".into(),
            fill("counts", "i, 0", self.books.lock().len() as u64),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let counters = self.books.lock().len() as u64;
            let counter = chance.below(counters) as usize;
            match chance.percent(25) {
                // What cannot be read now proves nothing.
                true => drop(self.read(client, counter).await),
                false => {
                    let amount = 1 + chance.below(3) as i64;
                    self.increase(client, counter, amount, chance.percent(40)).await;
                }
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let counters = self.books.lock().len();
            for counter in 0..counters {
                self.read(client, counter).await?;
            }
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn add(asking: &mut Asking<'_>, level: Level, counter: usize, amount: i64) -> Result<(), Refusal> {
    asking.begin(level).await?;
    asking.say(&format!("UPDATE counts SET n = n + {amount} WHERE id = {counter}")).await?;
    asking.commit().await
}

/// Who reads under a lock may write what it makes of it, even at READ COMMITTED; above, nobody needs the lock.
async fn read_and_write(
    asking: &mut Asking<'_>,
    level: Level,
    counter: usize,
    amount: i64,
) -> Result<(), Refusal> {
    asking.begin(level).await?;
    let lock = if level == Level::ReadCommitted { " FOR UPDATE" } else { "" };
    let n = first_number(&asking.say(&format!("SELECT n FROM counts WHERE id = {counter}{lock}")).await?)?;
    asking.say(&format!("UPDATE counts SET n = {} WHERE id = {counter}", n + amount)).await?;
    asking.commit().await
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
    use super::*;

    #[test]
    fn a_lost_increment_is_found_out() {
        let (before, now) = (Book { acknowledged: 3, sent: 4 }, Book { acknowledged: 4, sent: 6 });
        assert_eq!((now.check(&before, 3), now.check(&before, 6)), (None, None));
        assert_eq!(now.check(&before, 2).as_deref(), Some("2 was read of what is 3 to 6"));
        assert!(now.check(&before, 7).is_some());
    }

    #[test]
    fn a_server_that_forgets_is_found_out() {
        let work = Counters::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer { rows: rows(&[&["0"]]), tags: vec![] }),
            _ => tag(text),
        });
        let mut dice = Dice(1);
        (0..10).for_each(|_| ready(work.step(&mut client, "c", &mut dice)));
        assert_eq!(ready(work.last_look(&mut client)), Ok(()));
        assert!(work.tally.take_violations()[0].contains("0 was read of what is"));
    }
}
