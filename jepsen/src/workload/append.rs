//! Lists that only grow: every transaction appends elements that nobody else appends, and reads lists. From what was read
//! it can be told which transaction came before which; a cycle proves that no order explains what clients were told.
//!
//! (K. Kingsbury, P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020.)
//!
//! Besides, every read sees what was acknowledged before it began, which an order of transactions alone would not ask for.
//!
//! What must stay true: every transaction is entered before it begins; what is entered as failed surely did not happen.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::check::list_append;
use crate::history::{MicroOp, Names, Seen, Txn};

use super::active::Active;
use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::transcript::{Transcript, answered};
use super::{Workload, judge, number, recent, text};

/// Lists that are worked on at a time, for each unit of scale.
const LISTS: u64 = 6;
/// A list that is as long as this makes way for a new one.
const LENGTH_MAX: i64 = 24;

/// A transaction as it will be asked for.
#[derive(Clone, Debug)]
struct Plan {
    shape: Shape,
    steps: Vec<Step>,
    /// Appended within a savepoint, and taken back before the end.
    regretted: Vec<(i64, i64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// BEGIN, one statement at a time, COMMIT.
    Block,
    /// All statements in one message: an implicit transaction.
    Message,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { key: i64, element: i64, how: Write },
    Read { key: i64, how: Read },
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Upsert,
    UpdateOrInsert,
}

#[derive(Clone, Copy, Debug)]
enum Read {
    Point,
    Index,
    /// A condition that no index answers.
    Scan,
    Lock,
}

pub struct Append {
    setting: Setting,
    tally: Tally,
    book: Mutex<Book>,
}

struct Book {
    transcript: Transcript<Txn>,
    lists: Active,
}

/// A list, if there was one.
type List = Option<Vec<i64>>;

impl Append {
    pub fn new(setting: Setting) -> Self {
        let lists = Active::new(LISTS * setting.scale, LENGTH_MAX);
        let tally = Tally::new(setting.excused.clone());
        Append { setting, tally, book: Mutex::new(Book { transcript: Transcript::default(), lists }) }
    }

    fn plan(&self, chance: &mut dyn Chance) -> Plan {
        let mut book = self.book.lock();
        let shape = if chance.percent(15) { Shape::Message } else { Shape::Block };
        let steps_max = if chance.percent(10) { 10 } else { 4 };
        let steps = (0..1 + chance.below(steps_max)).map(|_| book.step(chance)).collect();
        let regrets = shape == Shape::Block && chance.percent(10);
        let regretted = if regrets { 1 + chance.below(3) } else { 0 };
        let regretted = (0..regretted).map(|_| book.next_element(chance)).collect();
        Plan { shape, steps, regretted }
    }

    async fn transact(&self, asking: &mut Asking<'_>, plan: &Plan) -> Result<Vec<List>, Refusal> {
        let level = self.setting.level;
        match plan.shape {
            Shape::Block => in_block(asking, plan, level).await,
            Shape::Message => in_message(asking, plan, level).await,
        }
    }
}

impl Book {
    fn step(&mut self, chance: &mut dyn Chance) -> Step {
        if chance.percent(50) {
            let (key, element) = self.next_element(chance);
            let how = if chance.percent(70) { Write::Upsert } else { Write::UpdateOrInsert };
            return Step::Append { key, element, how };
        }
        let how = match chance.below(10) {
            0..5 => Read::Point,
            5..7 => Read::Index,
            7..9 => Read::Scan,
            _ => Read::Lock,
        };
        Step::Read { key: self.lists.any(chance), how }
    }

    fn next_element(&mut self, chance: &mut dyn Chance) -> (i64, i64) {
        let key = self.lists.any(chance);
        (key, self.lists.next_value(key))
    }

    fn append(&mut self, key: i64, element: i64) -> MicroOp {
        let names = &mut self.transcript.names;
        MicroOp::Append { key: names.int(key), element: names.int(element) }
    }

    fn asked(&mut self, steps: &[Step]) -> Txn {
        let op = |step: &Step| match *step {
            Step::Append { key, element, .. } => self.append(key, element),
            Step::Read { key, .. } => MicroOp::Read { key: self.transcript.names.int(key), seen: Seen::Nil },
        };
        steps.iter().map(op).collect()
    }
}

/// What was asked, with what its reads saw.
fn seen(names: &mut Names, asked: Txn, lists: Vec<List>) -> Txn {
    let mut seen = |list: Vec<i64>| Seen::List(list.into_iter().map(|n| names.int(n)).collect());
    answered(asked, lists.into_iter().map(|list| list.map_or(Seen::Nil, &mut seen)))
}

impl Workload for Append {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE lists (k int8 PRIMARY KEY, k2 int8 NOT NULL, v text NOT NULL)".into(),
            "CREATE INDEX lists_k2 ON lists (k2)".into(),
            // Where ranges may be split.
            "INSERT INTO lists SELECT -k, -k, '0' FROM generate_series(1, 3) AS k".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let plan = self.plan(chance);
            let asked = {
                let mut book = self.book.lock();
                let asked = book.asked(&plan.steps);
                let regretted: Txn = plan.regretted.iter().map(|(k, e)| book.append(*k, *e)).collect();
                if !regretted.is_empty() {
                    book.transcript.never(regretted);
                }
                book.transcript.begin(asked)
            };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = self.transact(&mut asking, &plan).await;
            let told = asking.end(done).await;
            self.book.lock().transcript.end(asked, told, seen);
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let (keys, asked) = {
                let mut book = self.book.lock();
                let keys = book.lists.all();
                let steps: Vec<Step> = keys.clone().map(|key| Step::Read { key, how: Read::Point }).collect();
                let asked = book.asked(&steps);
                (keys, book.transcript.begin(asked))
            };
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = all_lists(&mut asking).await;
            let lists = |all: BTreeMap<i64, Vec<i64>>| keys.map(|k| all.get(&k).cloned()).collect();
            let told = asking.end(done.map(lists)).await;
            self.book.lock().transcript.end(asked, told.clone(), seen);
            told.into_result().map(drop)
        })
    }

    fn close(&self) {
        let transcript = self.book.lock().transcript.clone();
        self.tally.violations(recent::wrong(transcript.events(), &transcript.names));
        let history = transcript.history();
        judge(&self.tally, history, |h| list_append::check(h, self.setting.model()));
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn history(&self) -> Option<String> {
        Some(self.book.lock().transcript.edn())
    }
}

async fn in_block(asking: &mut Asking<'_>, plan: &Plan, level: Level) -> Result<Vec<List>, Refusal> {
    asking.begin(level).await?;
    let mut reads = Vec::new();
    for (n, step) in plan.steps.iter().enumerate() {
        if n == plan.steps.len() / 2 && !plan.regretted.is_empty() {
            asking.say("SAVEPOINT regret").await?;
            for (key, element) in &plan.regretted {
                asking.say(&append(*key, *element)).await?;
            }
            asking.say("ROLLBACK TO regret").await?;
        }
        match *step {
            Step::Read { key, how } => {
                let answer = asking.say(&read(key, how)).await?;
                if answer.rows.len() > 1 {
                    return Err(Refusal::wrong(format!("list {key} is there more than once: {answer:?}")));
                }
                reads.push(list(answer.first())?);
            }
            Step::Append { key, element, how: Write::Upsert } => {
                asking.say(&append(key, element)).await?;
            }
            Step::Append { key, element, how: Write::UpdateOrInsert } => {
                let update = format!("UPDATE lists SET v = v || ',{element}' WHERE k = {key}");
                let updated = asking.say(&update).await?.count();
                if updated > 1 {
                    return Err(Refusal::wrong(format!("list {key} is there {updated} times")));
                }
                if updated == 0 {
                    // Others may have found it missing, too, and begun it.
                    asking.excuse(&["23505"]);
                    asking.say(&format!("INSERT INTO lists VALUES ({key}, {key}, '{element}')")).await?;
                    asking.excuse(&[]);
                }
            }
        }
    }
    asking.commit().await?;
    Ok(reads)
}

async fn in_message(asking: &mut Asking<'_>, plan: &Plan, level: Level) -> Result<Vec<List>, Refusal> {
    asking.spoil();
    asking.say(&format!("SET default_transaction_isolation = '{}'", level.sql())).await?;
    let text = |step: &Step| match *step {
        // One row, whatever there is.
        Step::Read { key, .. } => format!("SELECT max(v) FROM lists WHERE k = {key}"),
        Step::Append { key, element, .. } => append(key, element),
    };
    let text: Vec<String> = plan.steps.iter().map(text).collect();
    let answer = asking.say_alone(&text.join("; ")).await?;
    let reads = plan.steps.iter().filter(|s| matches!(s, Step::Read { .. })).count();
    if answer.rows.len() != reads {
        return Err(Refusal::wrong(format!("{} rows for {reads} counts: {answer:?}", answer.rows.len())));
    }
    answer.rows.iter().map(|row| list(row.first().and_then(|v| v.as_deref()))).collect()
}

fn append(key: i64, element: i64) -> String {
    format!(
        "INSERT INTO lists VALUES ({key}, {key}, '{element}') \
         ON CONFLICT (k) DO UPDATE SET v = lists.v || ',{element}'"
    )
}

fn read(key: i64, how: Read) -> String {
    match how {
        Read::Point => format!("SELECT v FROM lists WHERE k = {key}"),
        Read::Index => format!("SELECT v FROM lists WHERE k2 = {key}"),
        Read::Scan => format!("SELECT v FROM lists WHERE k + k2 = {key} + {key}"),
        Read::Lock => format!("SELECT v FROM lists WHERE k = {key} FOR UPDATE"),
    }
}

fn list(text: Option<&str>) -> Result<List, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let number = |n: &str| n.parse().map_err(|_| Refusal::wrong(format!("{text:?} is no list")));
    text.split(',').map(number).collect::<Result<_, _>>().map(Some)
}

/// By the primary key; the index must say the same.
async fn all_lists(asking: &mut Asking<'_>) -> Result<BTreeMap<i64, Vec<i64>>, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let rows = asking.say("SELECT k, v FROM lists ORDER BY k").await?.rows;
    let by_index = asking.say("SELECT k2, v FROM lists WHERE k2 < 1000000 ORDER BY k2").await?.rows;
    asking.commit().await?;
    if rows != by_index {
        return Err(Refusal::wrong(format!("the index says {by_index:?}, the rows say {rows:?}")));
    }
    let parse = |row: &Row| Ok((number(&row[0])?, list(Some(&text(&row[1])?))?.unwrap_or_default()));
    let lists: BTreeMap<_, _> = rows.iter().map(parse).collect::<Result<_, Refusal>>()?;
    match lists.len() == rows.len() {
        true => Ok(lists),
        false => Err(Refusal::wrong(format!("a list is there more than once: {rows:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::asking::Told;
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
    use super::*;

    /// Steps against a server that loses every write of an acknowledged transaction.
    #[test]
    fn what_is_forgotten_is_found_out() {
        let append = Append::new(Setting { strict: true, ..Setting::default() });
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") if text.contains("max") => {
                let reads = text.matches("SELECT").count();
                Ok(Answer { rows: vec![vec![None]; reads], tags: vec![] })
            }
            Some("SELECT") => tag("SELECT 0"),
            Some("UPDATE") => tag("UPDATE 1"),
            Some("INSERT") if text.contains("SELECT") => {
                let reads = text.matches("SELECT").count();
                Ok(Answer { rows: vec![vec![None]; reads], tags: vec![] })
            }
            _ => tag(text),
        });
        let mut dice = Dice(1);
        for _ in 0..20 {
            ready(append.step(&mut client, "c", &mut dice));
        }
        assert_eq!(append.tally.take_violations(), [""; 0]);
        append.close();
        let found = append.tally.take_violations();
        assert!(found.iter().any(|f| f.starts_with("strict-serializable: invalid")), "{found:?}");
        assert!(append.history().is_some_and(|edn| edn.contains(":append")));
    }

    /// Appends that nobody reads but the last look: at no level could they have come after it.
    #[test]
    fn what_is_forgotten_in_the_end_is_found_out_at_every_level() {
        for level in Level::ALL {
            let append = Append::new(Setting { level, ..Setting::default() });
            let mut client =
                Scripted::new(|text| tag(if text.contains("UPDATE") { "UPDATE 1" } else { text }));
            let (key, element) = append.book.lock().next_element(&mut Dice(1));
            let asked = {
                let mut book = append.book.lock();
                let asked = vec![book.append(key, element)];
                book.transcript.begin(asked)
            };
            append.book.lock().transcript.end(asked, Told::Done(vec![]), seen);
            assert_eq!(ready(append.last_look(&mut client)), Ok(()));
            append.close();
            let found = append.tally.take_violations();
            assert_eq!(found.len(), 1, "{level:?}: {found:?}");
            assert!(found[0].contains("which was acknowledged before it began"), "{level:?}: {found:?}");
        }
    }

    #[test]
    fn a_list_that_is_there_twice_is_found_out() {
        let append = Append::new(Setting::default());
        let twins: &[&[&str]] = &[&["1", "1,2"], &["1", "1"]];
        let mut client = Scripted::new(move |text| match text.starts_with("SELECT") {
            true => Ok(Answer { rows: rows(twins), tags: vec![] }),
            false => tag(text),
        });
        assert!(ready(append.last_look(&mut client)).is_err());
        assert!(append.tally.take_violations()[0].starts_with("a list is there more than once"));
    }

    #[test]
    fn only_who_begins_a_list_may_meet_another_who_does() {
        let violations = |step: Step| {
            let append = Append::new(Setting::default());
            let mut client = Scripted::new(|text| match text.split(' ').next() {
                Some("INSERT") => Err(Refusal::new("23505", "it is there")),
                Some("UPDATE") => tag("UPDATE 0"),
                _ => tag(text),
            });
            let plan = Plan { shape: Shape::Block, steps: vec![step], regretted: vec![] };
            let mut asking = Asking::new(&mut client, &append.tally, &[]);
            let done = ready(append.transact(&mut asking, &plan));
            ready(asking.end(done));
            append.tally.take_violations().len()
        };
        let append = |how| Step::Append { key: 1, element: 1, how };
        assert_eq!((violations(append(Write::UpdateOrInsert)), violations(append(Write::Upsert))), (0, 1));
    }

    #[test]
    fn an_index_that_differs_is_found_out() {
        let append = Append::new(Setting::default());
        let mut client = Scripted::new(|text| match text {
            "SELECT k, v FROM lists ORDER BY k" => Ok(Answer { rows: rows(&[&["1", "1,2"]]), tags: vec![] }),
            _ if text.starts_with("SELECT") => Ok(Answer { rows: rows(&[&["1", "1"]]), tags: vec![] }),
            _ => tag(text),
        });
        assert!(ready(append.last_look(&mut client)).is_err());
        let found = append.tally.take_violations();
        assert!(found[0].starts_with("the index says"), "{found:?}");
    }
}
