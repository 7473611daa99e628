//! Rows under ids that nobody else uses, a few in each transaction; meanwhile scans of all of them.
//!
//! What is checked, in every serializable scan and at the end: all rows of a transaction are there, or none; those of one
//! that was acknowledged before the scan began are there, those of one that was refused are not.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::known::State;
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, text};

/// There are fewer scans when there is more to read: one operation in five, and in one more for each so many rows.
const ROWS_PER_SCAN: u64 = 100;

/// By transaction: its rows, and what became of it.
type Sent = BTreeMap<String, (Vec<String>, State)>;

pub struct Set {
    tally: Tally,
    sent: Mutex<Sent>,
}

impl Set {
    pub fn new(setting: Setting) -> Self {
        Set { tally: Tally::new(setting.excused), sent: Mutex::default() }
    }

    async fn add(&self, client: &mut dyn Client, id: &str, chance: &mut dyn Chance) {
        // Anywhere between the others.
        let rows: Vec<String> =
            (0..1 + chance.below(3)).map(|n| format!("{:02x}-{id}-{n}", chance.below(256))).collect();
        self.sent.lock().insert(id.into(), (rows.clone(), State::Open));
        let level = Level::ALL[chance.below(3) as usize];
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = match chance.percent(50) {
            true => one_by_one(&mut asking, level, &rows).await,
            false => at_once(&mut asking, &rows).await,
        };
        let state = State::made(&asking.end(done).await);
        self.sent.lock().insert(id.into(), (rows, state));
    }

    async fn scan(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let before = self.sent.lock().clone();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = scan(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        let wrong = check(&seen, &before, &self.sent.lock());
        self.tally.violations(wrong);
        Ok(())
    }
}

/// What is wrong with a scan; `before`: what was known when it began.
fn check(seen: &BTreeSet<String>, before: &Sent, sent: &Sent) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut strangers: BTreeSet<&String> = seen.iter().collect();
    for (id, (rows, state)) in sent {
        let there = rows.iter().filter(|row| strangers.remove(row)).count();
        let known = before.get(id).map_or(State::Open, |(_, state)| *state);
        match (known, *state) {
            (State::There, _) if there < rows.len() => {
                wrong.push(format!("acknowledged, but {there} of {rows:?} are there"));
            }
            // However long it took until its client knew.
            (_, State::Refused) if there > 0 => {
                wrong.push(format!("refused, but {there} of {rows:?} are there"));
            }
            _ if there > 0 && there < rows.len() => {
                wrong.push(format!("{there} of {rows:?} are there, which came at once"));
            }
            _ => {}
        }
    }
    if !strangers.is_empty() {
        wrong.push(format!("nobody sent {strangers:?}"));
    }
    wrong
}

async fn one_by_one(asking: &mut Asking<'_>, level: Level, rows: &[String]) -> Result<(), Refusal> {
    asking.begin(level).await?;
    for row in rows {
        asking.say(&format!("INSERT INTO members VALUES ('{row}')")).await?;
    }
    asking.commit().await
}

async fn at_once(asking: &mut Asking<'_>, rows: &[String]) -> Result<(), Refusal> {
    let values: Vec<String> = rows.iter().map(|row| format!("('{row}')")).collect();
    asking.say_alone(&format!("INSERT INTO members VALUES {}", values.join(", "))).await.map(drop)
}

async fn scan(asking: &mut Asking<'_>) -> Result<BTreeSet<String>, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let rows = asking.say("SELECT id FROM members WHERE id < 'w'").await?.rows;
    let count = asking.say("SELECT count(*) FROM members WHERE id < 'w'").await?;
    asking.commit().await?;
    let seen: BTreeSet<String> = rows.iter().map(|row| text(&row[0])).collect::<Result<_, _>>()?;
    let count = super::first_number(&count)?;
    if seen.len() != rows.len() || count != rows.len() as i64 {
        let said = format!("of {} rows {} are different, and {count} are counted", rows.len(), seen.len());
        return Err(Refusal::wrong(said));
    }
    Ok(seen)
}

impl Workload for Set {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE members (id text PRIMARY KEY)".into(),
            // Where ranges may be split: between the others, and behind them.
            "INSERT INTO members VALUES ('x'), ('y'), ('z')".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let sizes = self.sent.lock().len() as u64 / ROWS_PER_SCAN;
            match chance.below(5 + sizes) {
                // What cannot be read now proves nothing.
                0 => drop(self.scan(client).await),
                _ => self.add(client, id, chance).await,
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.scan(client))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_too_much_is_found_out() {
        let sent = |state| Sent::from([("t".into(), (vec!["a".into(), "b".into()], state))]);
        let checked = |seen: &[&str], state| {
            check(&seen.iter().map(|s| s.to_string()).collect(), &sent(state), &sent(state))
        };
        assert_eq!(checked(&["a", "b"], State::There), [""; 0]);
        assert_eq!(checked(&[], State::Refused), [""; 0]);
        assert_eq!(checked(&[], State::Open), [""; 0]);
        assert!(checked(&[], State::There)[0].starts_with("acknowledged, but 0 of"));
        assert!(checked(&["a", "b"], State::Refused)[0].starts_with("refused, but 2 of"));
        assert!(checked(&["a"], State::Open)[0].ends_with("which came at once"));
        assert!(checked(&["c"], State::Open)[0].starts_with("nobody sent"));
        let all = BTreeSet::from(["a".into(), "b".into()]);
        let dirty = check(&all, &sent(State::Open), &sent(State::Refused));
        assert!(dirty[0].starts_with("refused, but 2 of"), "{dirty:?}");
    }
}
