//! Numbers that are given out, and counters that are made or increased by the same statement: no two calls of `nextval` ever
//! give the same number, whatever became of their transactions; nor do two rows get the same one from a serial column. What
//! upserts add up to is the sum of the rows that were written beside them, exactly.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::known::{self, Known, State, States};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, fill, first_number, number, text};

/// For each unit of scale.
const COUNTERS: u64 = 6;
const MAX_ATTEMPTS: u64 = 20;
/// There are fewer looks when there is more to read: one operation in ten, and in one more for each so many tickets.
const TICKETS_PER_LOOK: u64 = 200;

pub struct Sequences {
    counters: u64,
    tally: Tally,
    given: Mutex<Given>,
    tickets: Known,
}

/// Numbers that anybody was given, by the sequence.
#[derive(Default)]
struct Given(BTreeSet<(&'static str, i64)>);

impl Given {
    fn give(&mut self, sequence: &'static str, n: i64) -> Option<String> {
        (!self.0.insert((sequence, n))).then(|| format!("{sequence} has given {n} twice"))
    }
}

impl Sequences {
    pub fn new(setting: Setting) -> Self {
        Sequences {
            counters: COUNTERS * setting.scale,
            tally: Tally::new(setting.excused),
            given: Mutex::default(),
            tickets: Known::default(),
        }
    }

    fn give(&self, sequence: &'static str, n: i64) {
        let twice = self.given.lock().give(sequence, n);
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
        self.tickets.set(id, State::Open);
        for attempt in 0..=MAX_ATTEMPTS {
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = self.write_ticket(&mut asking, level, id, (counter, n)).await;
            let told = asking.end(done).await;
            if told.may_be_repeated() && attempt < MAX_ATTEMPTS {
                self.tally.retried();
                continue;
            }
            self.tickets.set(id, State::made(&told));
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
        let before = self.tickets.now();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(seen.wrong(&before, &self.tickets.now()));
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
            fill("sums", "i, 0", self.counters / 2 + 1),
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
            let sizes = self.tickets.len() as u64 / TICKETS_PER_LOOK;
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
    let seen = Seen {
        sums: sums.iter().map(sum).collect::<Result<_, Refusal>>()?,
        tickets: tickets.iter().map(ticket).collect::<Result<_, Refusal>>()?,
    };
    match seen.sums.len() == sums.len() && seen.tickets.len() == tickets.len() {
        true => Ok(seen),
        false => Err(Refusal::wrong(format!("a row is there twice: {sums:?}, {tickets:?}"))),
    }
}

impl Seen {
    fn wrong(&self, before: &States, now: &States) -> Vec<String> {
        let mut wrong = known::wrong(before, now, |id| self.tickets.contains_key(id));
        wrong.extend(known::strangers(now, self.tickets.keys().map(String::as_str)));
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
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_twice_or_lost_is_found_out() {
        let mut given = Given::default();
        assert_eq!(given.give("a", 1), None);
        assert_eq!(given.give("b", 1), None);
        assert_eq!(given.give("a", 1).as_deref(), Some("a has given 1 twice"));
        let seen = |sum, number| Seen {
            sums: BTreeMap::from([(1, sum)]),
            tickets: BTreeMap::from([("t".into(), (7, 1, 2)), ("u".into(), (number, 1, 3))]),
        };
        let wrong = |seen: Seen, id: &str, state| {
            let known = ["t", "u", id].map(|i| (i.to_string(), if i == id { state } else { State::Open }));
            seen.wrong(&known.clone().into(), &known.into())
        };
        assert_eq!(wrong(seen(5, 8), "t", State::There), [""; 0]);
        assert!(wrong(seen(4, 8), "t", State::Open)[0].starts_with("the counters are {1: 4}"));
        assert!(wrong(seen(5, 7), "t", State::Open)[0].starts_with("two tickets have the number 7"));
        assert_eq!(wrong(seen(5, 8), "t", State::Refused), ["refused, but there: t"]);
        assert_eq!(wrong(seen(5, 8), "v", State::There), ["acknowledged, but not there: v"]);
    }
}
