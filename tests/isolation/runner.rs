//! Runs a script's steps, one after the other, and notes the answers.
//!
//! Whether a step waits is a matter of time, and a busy machine is slow. So the recorded answers say how long to look: a step that
//! should answer gets all the time it needs, and only one that should wait is given a short while to show that it does
//! not. A machine that is too slow can hide a difference, but never invent one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::script::Script;
use super::serial::{self, Replays};
use super::session::Session;

/// By level.
pub type Answers = BTreeMap<String, String>;

/// What a run of a script found.
pub struct Found {
    pub answers: String,
    /// What must never be, whatever is recorded.
    pub broken: Vec<String>,
}

/// Until a step that has not answered is said to wait.
const WAITS: Duration = Duration::from_millis(300);
/// While recording, when nothing is known of the step: long enough for a deadlock to be found.
const WAITS_RECORDING: Duration = Duration::from_millis(1500);
/// A step that should answer.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Meridian,
    Postgresql,
}

pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
}

impl Server {
    pub fn meridian(address: SocketAddr) -> Server {
        Server { kind: Kind::Meridian, address }
    }

    pub fn postgresql(address: SocketAddr) -> Server {
        Server { kind: Kind::Postgresql, address }
    }

    /// A session in the script's schema. PostgreSQL finds deadlocks soon and uses indexes even in small tables, because a
    /// scan of a whole table conflicts with every write to it.
    pub async fn open(&self, script: &Script, level: &str) -> Session {
        let mut settings =
            format!("SET search_path = {}; SET default_transaction_isolation = '{level}'", script.name);
        if self.kind == Kind::Postgresql {
            settings += "; SET deadlock_timeout = '50ms'; SET enable_seqscan = off";
        }
        Session::open(self.address, &settings).await
    }

    pub async fn create(&self, script: &Script) {
        let mut session = Session::open(self.address, &format!("SET search_path = {}", script.name)).await;
        session.run(&format!("DROP SCHEMA IF EXISTS {} CASCADE", script.name)).await;
        must(&mut session, &format!("CREATE SCHEMA {}", script.name)).await;
        for sql in &script.tables {
            must(&mut session, sql).await;
        }
    }
}

/// A statement that succeeds.
pub async fn must(session: &mut Session, sql: &str) -> String {
    let answer = session.run(sql).await;
    assert!(!answer.contains("ERROR"), "{sql}: {answer}");
    answer
}

/// The rows as the script wants them at the beginning.
pub async fn reset(session: &mut Session, script: &Script) {
    for table in script.table_names().iter().rev() {
        must(session, &format!("DELETE FROM {table}")).await;
    }
    for sql in &script.rows {
        must(session, sql).await;
    }
}

/// A step and the answers to it, as recorded.
struct Expected<'e> {
    waits: bool,
    go_on: Vec<&'e str>,
}

fn expected(block: &str) -> Expected<'_> {
    let (step, others) = block.split_once('\n').unwrap_or((block, ""));
    Expected {
        waits: step.ends_with("→ waits"),
        go_on: others.lines().filter_map(|l| Some(l.trim().split_once(" goes on: ")?.0)).collect(),
    }
}

struct Run<'r> {
    sessions: BTreeMap<&'r str, Session>,
    /// What each session's statements answered, in their order.
    answers: Vec<Option<String>>,
    /// The step that a session waits in.
    waits_in: BTreeMap<&'r str, usize>,
    out: String,
}

pub async fn run(
    server: &Server,
    script: &Script,
    level: &str,
    recorded: Option<&str>,
    replays: &mut Replays,
) -> Found {
    let mut control = server.open(script, "serializable").await;
    reset(&mut control, script).await;
    let mut run = Run {
        sessions: BTreeMap::new(),
        answers: vec![None; script.steps.len()],
        waits_in: BTreeMap::new(),
        out: String::new(),
    };
    for (name, _) in &script.steps {
        if !run.sessions.contains_key(name.as_str()) {
            run.sessions.insert(name, server.open(script, level).await);
        }
    }
    let blocks = recorded.map(split_blocks);
    for (at, (name, sql)) in script.steps.iter().enumerate() {
        let expected = blocks.as_ref().map(|b| b.get(at).map(|b| expected(b)));
        // A session that waits must answer before its next statement.
        if run.waits_in.contains_key(name.as_str()) {
            let late = run.look(name, LIMIT).await;
            assert!(late, "{}, {level}: {name} waits for ever, before: {sql}\n{}", script.name, run.out);
        }
        run.step(at, name, sql, expected).await;
    }
    let names: Vec<&str> = run.waits_in.keys().copied().collect();
    for name in names {
        assert!(run.look(name, LIMIT).await, "{}, {level}: {name} waits for ever\n{}", script.name, run.out);
    }
    drop(run.sessions);
    let last = must(&mut control, &script.last).await;
    let mut broken = Vec::new();
    for (_, query) in script.holds.iter().filter(|(l, _)| *l == level) {
        let holds = must(&mut control, query).await;
        if holds != "(t) SELECT 1" {
            broken.push(format!("{}, {level}: does not hold: {query}\n{}", script.name, run.out));
        }
    }
    let answers: Vec<String> = run.answers.into_iter().map(Option::unwrap_or_default).collect();
    let order = serial::order(&mut control, script, &answers, &last, replays).await;
    let order_text = order.as_deref().unwrap_or("none");
    let answers = format!("{}final> {} → {last}\nserial> {order_text}", run.out, script.last);
    if level == "serializable" && order.is_none() {
        broken.push(format!("{}: not serializable:\n{answers}", script.name));
    }
    Found { answers, broken }
}

fn split_blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with(' ')
            && let Some(block) = blocks.last_mut()
        {
            *block += "\n";
            *block += line;
        } else {
            blocks.push(line.into());
        }
    }
    blocks
}

impl<'r> Run<'r> {
    async fn step(&mut self, at: usize, name: &'r str, sql: &str, expected: Option<Option<Expected<'_>>>) {
        self.out += &format!("{name}> {sql}");
        self.sessions.get_mut(name).expect("known").begin(sql);
        self.waits_in.insert(name, at);
        let patience = match &expected {
            Some(Some(e)) if !e.waits => LIMIT,
            Some(Some(_)) => WAITS,
            _ => WAITS_RECORDING,
        };
        let answer = self.sessions.get_mut(name).expect("known").answer(patience).await;
        match answer {
            Some(answer) => {
                self.waits_in.remove(name);
                self.out += &format!(" → {answer}\n");
                self.answers[at] = Some(answer);
            }
            None => self.out += " → waits\n",
        }
        // Those who waited before: may this step have let them go?
        let others: Vec<&str> = self.waits_in.keys().copied().filter(|n| *n != name).collect();
        for other in others {
            let patience = match &expected {
                Some(Some(e)) if e.go_on.contains(&other) => LIMIT,
                Some(Some(_)) => WAITS,
                _ => WAITS_RECORDING,
            };
            self.look(other, patience).await;
        }
        // And the step itself, if another's end let it go.
        if self.waits_in.contains_key(name) && expected.flatten().is_none_or(|e| e.go_on.contains(&name)) {
            self.look(name, LIMIT.min(WAITS_RECORDING)).await;
        }
    }

    /// Whether a waiting session has answered in time.
    async fn look(&mut self, name: &'r str, within: Duration) -> bool {
        let Some(answer) = self.sessions.get_mut(name).expect("known").answer(within).await else {
            return false;
        };
        if let Some(at) = self.waits_in.remove(name) {
            self.out += &format!("    {name} goes on: {answer}\n");
            self.answers[at] = Some(answer);
        }
        true
    }
}
