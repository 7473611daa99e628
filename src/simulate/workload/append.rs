//! Lists that only grow: every transaction appends elements that nobody else appends, and reads lists. From what was read
//! it can be told which transaction came before which; a cycle proves that no order explains what clients were told.
//!
//! (K. Kingsbury, P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020. The checker is
//! that of `meridian-jepsen`.)
//!
//! What must stay true: every transaction is entered before it begins; what is entered as failed surely did not happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_jepsen::check::{Model, Verdict, list_append};
use meridian_jepsen::history::{Event, History, Kind, MicroOp, Names, Seen, Symbol, Txn};
use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::testing::query;
use meridian_storage::base::BoxFuture;
use meridian_storage::store::testing::Chance;
use parking_lot::Mutex;

use super::Workload;
use super::ask::{Asking, Deed, Told, ask};
use crate::simulate::cluster::Cluster;
use crate::simulate::coverage::Coverage;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;

/// Lists that are worked on at a time.
const ACTIVE: usize = 6;
/// A list that is as long as this makes way for a new one.
const LENGTH_MAX: i64 = 24;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Serializable,
    RepeatableRead,
    ReadCommitted,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Serializable => "SERIALIZABLE",
            Level::RepeatableRead => "REPEATABLE READ",
            Level::ReadCommitted => "READ COMMITTED",
        }
    }
}

/// A transaction as it will be asked for.
#[derive(Clone, Debug)]
struct Plan {
    level: Level,
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
    cluster: Arc<Cluster>,
    level: Level,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    events: Vec<Event<Txn>>,
    names: Names,
    processes: i64,
    /// The lists that are worked on, with their next elements.
    active: BTreeMap<i64, i64>,
    keys: i64,
}

impl Append {
    pub fn new(cluster: Arc<Cluster>, chance: &mut Chance) -> Arc<Self> {
        let level = match chance.below(5) {
            0 => Level::RepeatableRead,
            1 => Level::ReadCommitted,
            _ => Level::Serializable,
        };
        Arc::new(Append { cluster, level, book: Mutex::default() })
    }

    fn model(&self) -> Model {
        match self.level {
            Level::Serializable if self.cluster.world.bound_known => Model::StrictSerializable,
            Level::Serializable => Model::Serializable,
            Level::RepeatableRead => Model::SnapshotIsolation,
            Level::ReadCommitted => Model::ReadCommitted,
        }
    }

    fn plan(&self, chance: &mut Chance) -> Plan {
        let mut book = self.book.lock();
        let shape = if chance.percent(15) { Shape::Message } else { Shape::Block };
        let steps_max = if chance.percent(10) { 10 } else { 4 };
        let steps = (0..1 + chance.below(steps_max))
            .map(|_| {
                if chance.percent(50) {
                    let (key, element) = book.next_element(chance);
                    let how = if chance.percent(70) { Write::Upsert } else { Write::UpdateOrInsert };
                    Step::Append { key, element, how }
                } else {
                    let how = match chance.below(10) {
                        0..5 => Read::Point,
                        5..7 => Read::Index,
                        7..9 => Read::Scan,
                        _ => Read::Lock,
                    };
                    Step::Read { key: book.any_key(chance), how }
                }
            })
            .collect();
        let regrets = shape == Shape::Block && chance.percent(10);
        let regretted = if regrets { 1 + chance.below(3) } else { 0 };
        let regretted = (0..regretted).map(|_| book.next_element(chance)).collect();
        Plan { level: self.level, shape, steps, regretted }
    }

    /// Panics if what clients were told cannot have been.
    fn judge(&self) {
        let book = self.book.lock();
        let (events, names) = (book.events.clone(), book.names.clone());
        let history = History::new(events, names).unwrap_or_else(|e| panic!("the history is malformed: {e}"));
        Coverage::count(&self.cluster.world.coverage.transactions_checked, history.operations.len() as u64);
        let report = list_append::check(&history, self.model());
        let report = report.unwrap_or_else(|e| panic!("the history cannot be checked: {e}"));
        assert_ne!(report.verdict(), Verdict::Invalid, "{report}");
    }
}

impl Book {
    fn any_key(&mut self, chance: &mut Chance) -> i64 {
        while self.active.len() < ACTIVE {
            self.active.insert(self.keys, 0);
            self.keys += 1;
        }
        let at = chance.below(ACTIVE as u64) as usize;
        self.active.keys().nth(at).copied().unwrap_or_default()
    }

    fn next_element(&mut self, chance: &mut Chance) -> (i64, i64) {
        let key = self.any_key(chance);
        let next = self.active.entry(key).or_default();
        *next += 1;
        let element = *next;
        if element >= LENGTH_MAX {
            self.active.remove(&key);
        }
        (key, element)
    }

    fn append(&mut self, key: i64, element: i64) -> MicroOp {
        MicroOp::Append { key: self.names.int(key), element: self.names.int(element) }
    }

    /// What is asked for; each transaction is a process of its own, so that nothing is claimed of sessions.
    fn begin(&mut self, value: Txn) -> i64 {
        self.processes += 1;
        self.enter(self.processes, Kind::Invoke, value);
        self.processes
    }

    fn enter(&mut self, process: i64, kind: Kind, value: Txn) {
        self.events.push(Event { index: None, process: Some(process), kind, time: None, value });
    }

    fn asked(&mut self, steps: &[Step]) -> Txn {
        let op = |step: &Step| match *step {
            Step::Append { key, element, .. } => self.append(key, element),
            Step::Read { key, .. } => MicroOp::Read { key: self.names.int(key), seen: Seen::Nil },
        };
        steps.iter().map(op).collect()
    }

    fn told(&mut self, asked: &Txn, reads: Vec<Option<String>>) -> Txn {
        let mut reads = reads.into_iter();
        let mut done = asked.clone();
        for op in &mut done {
            if let MicroOp::Read { seen, .. } = op
                && let Some(text) = reads.next().expect("every read has been answered")
            {
                *seen = Seen::List(self.elements(&text));
            }
        }
        done
    }

    fn elements(&mut self, text: &str) -> Box<[Symbol]> {
        let number = |n: &str| n.parse::<i64>().unwrap_or_else(|_| panic!("{text:?} is no list"));
        text.split(',').map(|n| self.names.int(number(n))).collect()
    }
}

impl Workload for Append {
    fn open<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut session = connect(up).await.expect("the catalog is open");
            for text in [
                "CREATE TABLE lists (k int8 PRIMARY KEY, k2 int8 NOT NULL, v text NOT NULL)",
                "CREATE INDEX lists_k2 ON lists (k2)",
                // Where ranges may be split.
                "INSERT INTO lists SELECT -k, -k, '0' FROM generate_series(1, 3) AS k",
            ] {
                query(&mut session, text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            }
            session.close().await;
        })
    }

    fn step<'a>(&'a self, up: Up, id: String, chance: &'a mut Chance) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let plan = self.plan(chance);
            let (asked, process) = {
                let mut book = self.book.lock();
                let asked = book.asked(&plan.steps);
                let regretted: Txn = plan.regretted.iter().map(|(k, e)| book.append(*k, *e)).collect();
                if !regretted.is_empty() {
                    let process = book.begin(regretted.clone());
                    book.enter(process, Kind::Fail, regretted);
                }
                let process = book.begin(asked.clone());
                (asked, process)
            };
            self.cluster.world.trace.say(format_args!("{id} {plan:?}"));
            let deed: Deed<_> = Box::new(move |asking| Box::pin(transact(asking, plan)));
            // Two may find a list missing, and both begin it.
            let told = ask(&self.cluster, &up, &id, &["23505"], deed).await;
            let mut book = self.book.lock();
            match told {
                Told::Done(reads) => {
                    let told = book.told(&asked, reads);
                    book.enter(process, Kind::Ok, told);
                }
                Told::Refused => book.enter(process, Kind::Fail, asked),
                Told::Unknown => book.enter(process, Kind::Info, asked),
            }
        })
    }

    fn last_look<'a>(&'a self, up: &'a Up) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let keys: Vec<i64> = (0..self.book.lock().keys).collect();
            let steps: Vec<Step> =
                keys.iter().map(|key| Step::Read { key: *key, how: Read::Point }).collect();
            let (asked, process) = {
                let mut book = self.book.lock();
                let asked = book.asked(&steps);
                (asked.clone(), book.begin(asked))
            };
            let seen = all_lists(up).await.unwrap_or_else(|e| panic!("the last look failed: {e:?}"));
            let mut book = self.book.lock();
            let told = book.told(&asked, keys.iter().map(|k| seen.get(k).cloned()).collect());
            book.enter(process, Kind::Ok, told);
        })
    }

    fn close(&self) {
        self.judge();
    }
}

/// What the reads have seen, in their order.
async fn transact(asking: &mut Asking, plan: Plan) -> SqlResult<Vec<Option<String>>> {
    match plan.shape {
        Shape::Block => in_block(asking, &plan).await,
        Shape::Message => in_message(asking, &plan).await,
    }
}

async fn in_block(asking: &mut Asking, plan: &Plan) -> SqlResult<Vec<Option<String>>> {
    asking.say(&format!("BEGIN ISOLATION LEVEL {}", plan.level.name())).await?;
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
                reads.push(answer.rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()));
            }
            Step::Append { key, element, how: Write::Upsert } => {
                asking.say(&append(key, element)).await?;
            }
            Step::Append { key, element, how: Write::UpdateOrInsert } => {
                let update = format!("UPDATE lists SET v = v || ',{element}' WHERE k = {key}");
                if asking.say(&update).await?.tags == ["UPDATE 0"] {
                    asking.say(&format!("INSERT INTO lists VALUES ({key}, {key}, '{element}')")).await?;
                }
            }
        }
    }
    asking.commit().await?;
    Ok(reads)
}

async fn in_message(asking: &mut Asking, plan: &Plan) -> SqlResult<Vec<Option<String>>> {
    asking.say(&format!("SET default_transaction_isolation = '{}'", plan.level.name())).await?;
    let text = |step: &Step| match *step {
        // One row, whatever there is.
        Step::Read { key, .. } => format!("SELECT max(v) FROM lists WHERE k = {key}"),
        Step::Append { key, element, .. } => append(key, element),
    };
    let text: Vec<String> = plan.steps.iter().map(text).collect();
    let answer = asking.say_alone(&text.join("; ")).await?;
    Ok(answer.rows.into_iter().map(|row| row.into_iter().next().flatten()).collect())
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

/// By the primary key; the index must say the same.
async fn all_lists(up: &Up) -> SqlResult<BTreeMap<i64, String>> {
    let mut session = connect(up).await?;
    query(&mut session, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    let rows = query(&mut session, "SELECT k, v FROM lists ORDER BY k").await?.rows;
    let by_index = query(&mut session, "SELECT k2, v FROM lists WHERE k2 < 1000000 ORDER BY k2").await?.rows;
    query(&mut session, "COMMIT").await?;
    session.close().await;
    assert_eq!(rows, by_index, "the index does not say what the rows say");
    let list = |row: Vec<Option<String>>| -> SqlResult<(i64, String)> {
        let mut row = row.into_iter().flatten();
        match (row.next().and_then(|k| k.parse().ok()), row.next()) {
            (Some(k), Some(v)) => Ok((k, v)),
            _ => Err(SqlError::internal("a row that was never written")),
        }
    };
    rows.into_iter().map(list).collect()
}
