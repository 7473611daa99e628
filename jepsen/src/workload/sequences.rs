//! Numbers that are given out, and counters that are made or increased by the same statement: no two calls of `nextval` ever
//! give the same number, whatever became of their transactions; nor do two rows get the same one from a serial column. What
//! upserts add up to is the sum of the rows that were written beside them, exactly.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, first_number, number, text};

/// For each unit of scale.
const COUNTERS: u64 = 6;
const MAX_ATTEMPTS: u64 = 20;
/// There are fewer looks when there is more to read: one operation in ten, and in one more for each so many tickets.
const TICKETS_PER_LOOK: u64 = 200;

pub struct Sequences {
    counters: u64,
    tally: Tally,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Numbers that anybody was given, by the sequence.
    given: BTreeSet<(&'static str, i64)>,
    /// Whether a ticket is there, as far as its client knows.
    tickets: BTreeMap<String, Option<bool>>,
}

impl Book {
    fn give(&mut self, sequence: &'static str, n: i64) -> Option<String> {
        (!self.given.insert((sequence, n))).then(|| format!("{sequence} has given {n} twice"))
    }
}

impl Sequences {
    pub fn new(setting: Setting) -> Self {
        Sequences {
            counters: COUNTERS * setting.scale,
            tally: Tally::new(setting.excused),
            book: Mutex::default(),
        }
    }

    fn give(&self, sequence: &'static str, n: i64) {
        let twice = self.book.lock().give(sequence, n);
        self.tally.violations(twice);
    }

    /// Some numbers, in a transaction that may be rolled back.
    async fn numbers(&self, asking: &mut Asking<'_>, cached: bool, keep: bool) -> Result<(), Refusal> {
        let name = if cached { "numbers_cached" } else { "numbers" };
        asking.begin(Level::Serializable).await?;
        for _ in 0..2 {
            let n = first_number(&asking.say(&format!("SELECT nextval('{name}')")).await?)?;
            self.give(name, n);
            let current = first_number(&asking.say(&format!("SELECT currval('{name}')")).await?)?;
            if current != n {
                return Err(Refusal::wrong(format!("nextval has given {n}, and currval gives {current}")));
            }
        }
        if keep { asking.commit().await } else { asking.rollback().await }
    }

    async fn ticket(&self, client: &mut dyn Client, id: &str, chance: &mut dyn Chance) {
        let (counter, n) = (chance.below(self.counters), 1 + chance.below(9));
        let level = Level::ALL[chance.below(3) as usize];
        self.book.lock().tickets.insert(id.into(), None);
        for attempt in 0..=MAX_ATTEMPTS {
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = self.write_ticket(&mut asking, level, id, (counter, n)).await;
            let told = asking.end(done).await;
            if told.may_be_repeated() && attempt < MAX_ATTEMPTS {
                self.tally.retried();
                continue;
            }
            let there = match told {
                Told::Done(()) => Some(true),
                Told::Refused(_) => Some(false),
                Told::Unknown(_) => None,
            };
            self.book.lock().tickets.insert(id.into(), there);
            return;
        }
    }

    async fn write_ticket(
        &self,
        asking: &mut Asking<'_>,
        level: Level,
        id: &str,
        (counter, n): (u64, u64),
    ) -> Result<(), Refusal> {
        asking.begin(level).await?;
        let upsert = "ON CONFLICT (counter) DO UPDATE SET n = sums.n + EXCLUDED.n";
        asking.say(&format!("INSERT INTO sums VALUES ({counter}, {n}) {upsert}")).await?;
        let insert =
            format!("INSERT INTO tickets (id, counter, n) VALUES ('{id}', {counter}, {n}) RETURNING number");
        let number = first_number(&asking.say(&insert).await?)?;
        self.give("tickets", number);
        asking.commit().await
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let before = self.book.lock().tickets.clone();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(seen.wrong(&before));
        Ok(())
    }
}

impl Workload for Sequences {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE SEQUENCE numbers".into(),
            "CREATE SEQUENCE numbers_cached CACHE 10".into(),
            "CREATE TABLE sums (counter int8 PRIMARY KEY, n int8 NOT NULL)".into(),
            // Where ranges may be split.
            format!("INSERT INTO sums SELECT i, 0 FROM generate_series(0, {}) AS i", self.counters / 2),
            "CREATE TABLE tickets (number bigserial, id text PRIMARY KEY, counter int8 NOT NULL, n int8 NOT NULL)".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let sizes = self.book.lock().tickets.len() as u64 / TICKETS_PER_LOOK;
            match chance.below(10 + sizes) {
                // What cannot be read now proves nothing.
                0 => drop(self.look(client).await),
                1..4 => {
                    let mut asking = Asking::new(client, &self.tally, &[]);
                    let done = self.numbers(&mut asking, chance.percent(50), chance.percent(70)).await;
                    asking.end(done).await;
                }
                _ => self.ticket(client, id, chance).await,
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

/// All of it, as one snapshot shows it.
struct Seen {
    sums: BTreeMap<i64, i64>,
    /// Id: number, counter, n.
    tickets: BTreeMap<String, (i64, i64, i64)>,
}

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let sums = asking.say("SELECT counter, n FROM sums WHERE n <> 0").await?.rows;
    let tickets = asking.say("SELECT number, counter, n, id FROM tickets").await?.rows;
    asking.commit().await?;
    let sum = |row: &Row| Ok((number(&row[0])?, number(&row[1])?));
    let ticket = |row: &Row| Ok((text(&row[3])?, (number(&row[0])?, number(&row[1])?, number(&row[2])?)));
    Ok(Seen {
        sums: sums.iter().map(sum).collect::<Result<_, Refusal>>()?,
        tickets: tickets.iter().map(ticket).collect::<Result<_, Refusal>>()?,
    })
}

impl Seen {
    fn wrong(&self, known: &BTreeMap<String, Option<bool>>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for (id, (number, counter, n)) in &self.tickets {
            *sums.entry(*counter).or_default() += n;
            if !numbers.insert(number) {
                wrong.push(format!("two tickets have the number {number}, one of them {id}"));
            }
        }
        if sums != self.sums {
            wrong.push(format!("the counters are {:?}; what the tickets add up to is {sums:?}", self.sums));
        }
        for (id, there) in known {
            match (there, self.tickets.contains_key(id)) {
                (Some(true), false) => wrong.push(format!("acknowledged, but not there: {id}")),
                (Some(false), true) => wrong.push(format!("refused, but there: {id}")),
                _ => {}
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_twice_or_lost_is_found_out() {
        let mut book = Book::default();
        assert_eq!(book.give("a", 1), None);
        assert_eq!(book.give("b", 1), None);
        assert_eq!(book.give("a", 1).as_deref(), Some("a has given 1 twice"));
        let seen = |sum, number| Seen {
            sums: BTreeMap::from([(1, sum)]),
            tickets: BTreeMap::from([("t".into(), (7, 1, 2)), ("u".into(), (number, 1, 3))]),
        };
        let known = |there| BTreeMap::from([("t".to_string(), there)]);
        assert_eq!(seen(5, 8).wrong(&known(Some(true))), [""; 0]);
        assert!(seen(4, 8).wrong(&known(None))[0].starts_with("the counters are {1: 4}"));
        assert!(seen(5, 7).wrong(&known(None))[0].starts_with("two tickets have the number 7"));
        assert_eq!(seen(5, 8).wrong(&known(Some(false))), ["refused, but there: t"]);
        let other = BTreeMap::from([("v".to_string(), Some(true))]);
        assert_eq!(seen(5, 8).wrong(&other), ["acknowledged, but not there: v"]);
    }
}
