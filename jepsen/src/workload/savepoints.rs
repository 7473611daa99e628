//! Transactions that write many rows, more than their gateways care to hold back, under savepoints that are nested, released
//! and rolled back to: what they see of their own writes meanwhile, and what is there afterwards, is exactly what was kept.
//! Each transaction writes rows of its own; what became of one that nothing was heard of is all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, number};

/// Rows of a chunk, at most, for each unit of scale.
const CHUNK: u64 = 60;
/// The rows of a transaction are numbered up to here.
const ROWS: u64 = 400;
/// After a transaction a client rests, at most so long: there are few of them, and each is large.
const REST_MS: u64 = 2_000;
/// Of a row, besides its number.
const PADDING: usize = 60;
const NESTED_MAX: usize = 4;

/// The rows that a transaction keeps: their numbers, with the number of the write that made them what they are.
type Rows = BTreeMap<u64, u64>;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// From, to, the number of the write. What is there is replaced.
    Write(u64, u64, u64),
    Update(u64, u64, u64),
    Delete(u64, u64),
    Savepoint(usize),
    RollbackTo(usize),
    Release(usize),
    /// It reads what it has written.
    Look,
}

/// A transaction as it will be asked for, and what it keeps.
#[derive(Clone, Debug)]
struct Plan {
    /// Each with what the transaction sees after it.
    steps: Vec<(Step, Rows)>,
    kept: Rows,
}

impl Plan {
    fn new(chance: &mut dyn Chance, scale: u64) -> Self {
        let mut steps: Vec<(Step, Rows)> = Vec::new();
        // What was there when each savepoint was set.
        let mut savepoints: Vec<Rows> = Vec::new();
        let mut rows = Rows::new();
        let length = 3 + chance.below(10);
        for write in 1..=length {
            let from = chance.below(ROWS * scale);
            let to = (from + chance.below(CHUNK * scale)).min(ROWS * scale - 1);
            let step = match chance.below(12) {
                0..4 => Step::Write(from, to, write),
                4..6 => Step::Update(from, to, write),
                6 => Step::Delete(from, to),
                7..9 if savepoints.len() < NESTED_MAX => Step::Savepoint(savepoints.len()),
                9..11 if !savepoints.is_empty() => {
                    Step::RollbackTo(chance.below(savepoints.len() as u64) as usize)
                }
                11 if !savepoints.is_empty() => Step::Release(chance.below(savepoints.len() as u64) as usize),
                _ => Step::Look,
            };
            match step {
                Step::Write(from, to, write) => rows.extend((from..=to).map(|n| (n, write))),
                Step::Update(from, to, write) => {
                    rows.range_mut(from..=to).for_each(|(_, written)| *written = write);
                }
                Step::Delete(from, to) => rows.retain(|n, _| !(from..=to).contains(n)),
                Step::Savepoint(_) => savepoints.push(rows.clone()),
                Step::RollbackTo(at) => {
                    // The savepoint itself stays.
                    savepoints.truncate(at + 1);
                    rows.clone_from(&savepoints[at]);
                }
                Step::Release(at) => savepoints.truncate(at),
                Step::Look => {}
            }
            steps.push((step, rows.clone()));
        }
        Plan { steps, kept: rows }
    }
}

/// What is known of the rows of a transaction.
enum State {
    Open(Rows),
    There(Rows),
    Never,
}

pub struct Savepoints {
    scale: u64,
    tally: Tally,
    known: Mutex<BTreeMap<String, State>>,
}

impl Savepoints {
    pub fn new(setting: Setting) -> Self {
        Savepoints { scale: setting.scale, tally: Tally::new(setting.excused), known: Mutex::default() }
    }

    async fn look(&self, client: &mut dyn Client, id: &str) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking, id).await;
        let found = asking.end(done).await.into_result()?;
        self.tally.looked();
        let wrong = match self.known.lock().get(id) {
            Some(State::There(kept)) => differs(kept, &found),
            Some(State::Open(kept)) if !found.is_empty() => differs(kept, &found),
            Some(State::Never) => differs(&Rows::new(), &found),
            Some(State::Open(_)) | None => None,
        };
        self.tally.violations(wrong.map(|wrong| format!("{id}: {wrong}")));
        Ok(())
    }

    /// Takes away what somebody has looked at, so that tables stay small.
    async fn clear(&self, client: &mut dyn Client, id: &str) {
        let rows = match self.known.lock().get(id) {
            Some(State::There(rows)) => rows.clone(),
            // What may still come is not forgotten.
            _ => return,
        };
        self.known.lock().insert(id.into(), State::Open(rows.clone()));
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = asking.say_alone(&format!("DELETE FROM pages WHERE txn = '{id}'")).await;
        let state = match asking.end(done).await {
            Told::Done(answer) => {
                let (kept, deleted) = (rows.len() as u64, answer.count());
                if kept != deleted {
                    self.tally
                        .violation(format!("{id}: {kept} rows were kept, and {deleted} there to be deleted"));
                }
                State::Never
            }
            Told::Refused(_) => State::There(rows),
            Told::Unknown(_) => return,
        };
        self.known.lock().insert(id.into(), state);
    }
}

impl Workload for Savepoints {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE pages (txn text, n int8, write int8 NOT NULL, padding text, PRIMARY KEY (txn, n))"
                .into(),
            "CREATE INDEX pages_write ON pages (write)".into(),
            // Where ranges may be split.
            "INSERT INTO pages SELECT 'w' || i, 0, 0, '' FROM generate_series(0, 5) AS i".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let plan = Plan::new(chance, self.scale);
            let level = Level::ALL[chance.below(3) as usize];
            self.known.lock().insert(id.into(), State::Open(plan.kept.clone()));
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = transact(&mut asking, id, level, &plan).await;
            let state = match asking.end(done).await {
                Told::Done(()) => State::There(plan.kept),
                Told::Refused(_) => State::Never,
                Told::Unknown(_) => State::Open(plan.kept),
            };
            self.known.lock().insert(id.into(), state);
            client.go_elsewhere(chance).await;
            // What cannot be read now is looked at in the end.
            if self.look(client, id).await.is_ok() {
                self.clear(client, id).await;
            }
            client.rest(Duration::from_millis(chance.below(REST_MS))).await;
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            // What was never there needs no second look.
            let left = |state: &State| !matches!(state, State::Never);
            let ids: BTreeSet<String> =
                self.known.lock().iter().filter(|(_, s)| left(s)).map(|(id, _)| id.clone()).collect();
            for id in &ids {
                self.look(client, id).await?;
            }
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = asking.say("SELECT DISTINCT txn FROM pages WHERE write > 0").await;
            let found = asking.end(done).await.into_result()?;
            let strange = found.rows.iter().flatten().flatten().filter(|id| !ids.contains(*id));
            self.tally
                .violations(strange.map(|id| format!("nothing of {id} was kept, and some of it is there")));
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn transact(asking: &mut Asking<'_>, id: &str, level: Level, plan: &Plan) -> Result<(), Refusal> {
    asking.begin(level).await?;
    let padding = "x".repeat(PADDING);
    for (step, sees) in &plan.steps {
        let text = match step {
            Step::Write(from, to, write) => format!(
                "INSERT INTO pages SELECT '{id}', n, {write}, '{padding}' FROM generate_series({from}, {to}) AS n \
                 ON CONFLICT (txn, n) DO UPDATE SET write = EXCLUDED.write"
            ),
            Step::Update(from, to, write) => {
                format!("UPDATE pages SET write = {write} WHERE txn = '{id}' AND n BETWEEN {from} AND {to}")
            }
            Step::Delete(from, to) => {
                format!("DELETE FROM pages WHERE txn = '{id}' AND n BETWEEN {from} AND {to}")
            }
            Step::Savepoint(at) => format!("SAVEPOINT s{at}"),
            Step::RollbackTo(at) => format!("ROLLBACK TO s{at}"),
            Step::Release(at) => format!("RELEASE s{at}"),
            Step::Look => {
                let found = parse(&asking.say(&select(id)).await?.rows)?;
                if let Some(wrong) = differs(sees, &found) {
                    return Err(Refusal::wrong(format!("{id} sees of its own: {wrong}")));
                }
                continue;
            }
        };
        asking.say(&text).await?;
    }
    asking.commit().await
}

fn select(id: &str) -> String {
    format!("SELECT n, write FROM pages WHERE txn = '{id}'")
}

async fn read(asking: &mut Asking<'_>, id: &str) -> Result<Rows, Refusal> {
    asking.begin_read_only(Level::RepeatableRead).await?;
    let rows = parse(&asking.say(&select(id)).await?.rows)?;
    // The same rows by the other index: with `txn = …` the primary key would be read again.
    let by_index = format!("SELECT n, write FROM pages WHERE write BETWEEN 1 AND 100 AND txn || '' = '{id}'");
    let by_index = parse(&asking.say(&by_index).await?.rows)?;
    asking.commit().await?;
    match differs(&rows, &by_index) {
        Some(wrong) => Err(Refusal::wrong(format!("{id} by the index: {wrong}"))),
        None => Ok(rows),
    }
}

fn parse(rows: &[Row]) -> Result<Rows, Refusal> {
    let parsed: Rows = rows
        .iter()
        .map(|row| Ok((number(&row[0])? as u64, number(&row[1])? as u64)))
        .collect::<Result<_, Refusal>>()?;
    match parsed.len() == rows.len() {
        true => Ok(parsed),
        false => Err(Refusal::wrong("a row is there twice")),
    }
}

/// What is wrong with the rows that were found.
fn differs(expected: &Rows, found: &Rows) -> Option<String> {
    let lost: Vec<_> = expected.iter().filter(|(n, w)| found.get(n) != Some(w)).collect();
    let strange: Vec<_> = found.iter().filter(|(n, w)| expected.get(n) != Some(w)).collect();
    (expected != found).then(|| {
        format!(
            "{} rows were kept, {} are there; lost {lost:?}, strange {strange:?}",
            expected.len(),
            found.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, tag};
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_not_taken_back() {
        // Against the same by hand: the writes that no rollback follows.
        for seed in 0..200 {
            let plan = Plan::new(&mut Dice(seed), 1);
            let mut alive: Vec<&Step> = Vec::new();
            let mut marks: Vec<usize> = Vec::new();
            for (step, _) in &plan.steps {
                match step {
                    Step::Savepoint(_) => marks.push(alive.len()),
                    Step::RollbackTo(at) => {
                        marks.truncate(at + 1);
                        alive.truncate(marks[*at]);
                    }
                    Step::Release(at) => marks.truncate(*at),
                    step => alive.push(step),
                }
            }
            let mut rows = Rows::new();
            for step in alive {
                match step {
                    Step::Write(from, to, write) => rows.extend((*from..=*to).map(|n| (n, *write))),
                    Step::Update(from, to, write) => {
                        rows.range_mut(from..=to).for_each(|(_, written)| *written = *write);
                    }
                    Step::Delete(from, to) => rows.retain(|n, _| n < from || n > to),
                    _ => {}
                }
            }
            assert_eq!(rows, plan.kept, "seed {seed}");
        }
    }

    #[test]
    fn a_transaction_of_which_nothing_was_heard_may_still_come() {
        let work = Savepoints::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("COMMIT") => Err(Refusal::lost("the node went")),
            Some("SELECT") => Ok(Answer::default()),
            _ => tag(text),
        });
        work.known.lock().insert("c1".into(), State::Open(Rows::from([(1, 1)])));
        ready(work.clear(&mut client, "c1"));
        assert!(matches!(work.known.lock().get("c1"), Some(State::Open(_))));
    }

    #[test]
    fn what_was_to_be_taken_away_is_held_to_what_became_of_that() {
        let cleared = |answer: Result<Answer, Refusal>| {
            let work = Savepoints::new(Setting::default());
            work.known.lock().insert("c1".into(), State::There(Rows::from([(1, 1)])));
            let mut client = Scripted::new(move |text| match text.starts_with("DELETE") {
                true => answer.clone(),
                false => tag(text),
            });
            ready(work.clear(&mut client, "c1"));
            // Nothing is to be seen of it in the end.
            assert_eq!(ready(work.last_look(&mut client)), Ok(()));
            work.tally.take_violations().len()
        };
        assert_eq!(cleared(tag("DELETE 1")), 0);
        assert_eq!(cleared(tag("DELETE 0")), 1, "it was there");
        assert_eq!(cleared(Err(Refusal::new("40001", "no"))), 1, "it is there still");
        assert_eq!(cleared(Err(Refusal::lost("the node went"))), 0, "it may be gone");
    }

    #[test]
    fn what_is_lost_or_too_much_is_found_out() {
        let kept = Rows::from([(1, 1), (2, 2)]);
        assert_eq!(differs(&kept, &kept), None);
        assert!(differs(&kept, &Rows::from([(1, 1)])).is_some_and(|d| d.contains("lost [(2, 2)]")));
        assert!(
            differs(&kept, &Rows::from([(1, 1), (2, 1)])).is_some_and(|d| d.contains("strange [(2, 1)]"))
        );
        let work = Savepoints::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer::default()),
            _ => tag(text),
        });
        let mut dice = Dice(1);
        (0..20).for_each(|n| ready(work.step(&mut client, &format!("c{n}"), &mut dice)));
        assert!(work.tally.take_violations().iter().any(|v| v.contains("rows were kept, 0 are there")));
    }
}
