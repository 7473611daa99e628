//! Counters that only grow, read again and again through whichever gateway: at every isolation level, what is read of a
//! counter after something was known of it is never less than that, nor is what an increment returns ever returned again.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, fill, first_number, number};

/// For each unit of scale.
const COUNTERS: u64 = 4;

pub struct Monotonic {
    level: Level,
    tally: Tally,
    counters: Mutex<Vec<Counter>>,
}

/// What is known of a counter.
#[derive(Clone, Default)]
struct Counter {
    /// It has been at least that.
    floor: i64,
    /// What increments that were acknowledged have made of it.
    made: BTreeSet<i64>,
}

impl Counter {
    /// `floor`: what was known when the read began.
    fn read(&mut self, floor: i64, seen: i64) -> Option<String> {
        self.floor = self.floor.max(seen);
        (seen < floor).then(|| format!("{seen} was read after {floor} was known"))
    }

    fn increment(&mut self, floor: i64, made: i64) -> Option<String> {
        let again = !self.made.insert(made);
        self.floor = self.floor.max(made);
        match (again, made <= floor) {
            (true, _) => Some(format!("two increments have made {made}")),
            (_, true) => Some(format!("an increment has made {made} after {floor} was known")),
            _ => None,
        }
    }
}

impl Monotonic {
    pub fn new(setting: Setting) -> Self {
        let counters = vec![Counter::default(); (COUNTERS * setting.scale) as usize];
        Monotonic { level: setting.level, tally: Tally::new(setting.excused), counters: Mutex::new(counters) }
    }

    fn floors(&self) -> Vec<i64> {
        self.counters.lock().iter().map(|c| c.floor).collect()
    }

    async fn increment(&self, client: &mut dyn Client, counter: usize) -> Result<(), Refusal> {
        let floor = self.floors()[counter];
        let mut asking = Asking::new(client, &self.tally, &[]);
        let update = format!("UPDATE growing SET n = n + 1 WHERE id = {counter} RETURNING n");
        let done = asking.change(self.level, &update).await.and_then(|answer| first_number(&answer));
        let made = asking.end(done).await.into_result()?;
        let wrong = self.counters.lock()[counter].increment(floor, made);
        self.tally.violations(wrong.map(|w| format!("counter {counter}: {w}")));
        Ok(())
    }

    async fn read(&self, client: &mut dyn Client, how: u64) -> Result<(), Refusal> {
        let floors = self.floors();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking, self.level, how, floors.len()).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        let mut counters = self.counters.lock();
        for (counter, n) in seen {
            let wrong = counters[counter].read(floors[counter], n);
            let at = client.gateway();
            self.tally.violations(wrong.map(|w| format!("counter {counter} at {at}: {w}")));
        }
        Ok(())
    }
}

impl Workload for Monotonic {
    fn open(&self) -> Vec<String> {
        let counters = self.counters.lock().len() as u64;
        vec![
            "CREATE TABLE growing (id int8 PRIMARY KEY, id2 int8 NOT NULL, n int8 NOT NULL)".into(),
            "CREATE INDEX growing_id2 ON growing (id2)".into(),
            fill("growing", "i, i, 0", counters),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for _ in 0..1 + chance.below(3) {
                let counters = self.counters.lock().len() as u64;
                let done = match chance.percent(30) {
                    true => self.increment(client, chance.below(counters) as usize).await,
                    false => self.read(client, chance.bits()).await,
                };
                // What cannot be read proves nothing.
                if done.is_err() {
                    return;
                }
                client.go_elsewhere(chance).await;
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            for how in 0..4 {
                self.read(client, how).await?;
            }
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The counters by number: one or all, by key, index or scan.
async fn read(
    asking: &mut Asking<'_>,
    level: Level,
    how: u64,
    counters: usize,
) -> Result<Vec<(usize, i64)>, Refusal> {
    let one = how / 4 % counters as u64;
    let condition = match how % 4 {
        0 => format!("id = {one}"),
        1 => format!("id2 = {one}"),
        2 => "id + id2 >= 0".into(),
        // With one end alone the planner would rather read the table.
        _ => "id2 >= 0 AND id2 < 100000".into(),
    };
    let rows = asking.query(level, &format!("SELECT id, n FROM growing WHERE {condition}")).await?;
    let expected = if how % 4 < 2 { 1 } else { counters };
    if rows.len() != expected {
        return Err(Refusal::wrong(format!("of {expected} counters there are {rows:?}")));
    }
    rows.iter().map(|row| Ok((number(&row[0])? as usize, number(&row[1])?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_is_found_out() {
        let mut counter = Counter::default();
        assert_eq!(counter.increment(0, 1), None);
        assert_eq!(counter.read(1, 3), None);
        assert_eq!(counter.read(1, 2), None, "it began before 3 was known");
        assert_eq!(counter.floor, 3);
        assert_eq!(counter.read(3, 2).as_deref(), Some("2 was read after 3 was known"));
        assert_eq!(counter.increment(3, 3).as_deref(), Some("an increment has made 3 after 3 was known"));
        assert_eq!(counter.increment(0, 1).as_deref(), Some("two increments have made 1"));
    }
}
