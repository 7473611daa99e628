//! Golden scripts of interleaved sessions: what each step answered, waited for, or failed with.
//!
//! ```text
//! scenario: two writers of one row           a database of its own for each scenario
//! init x=1 y=2                               committed before anything else
//! split m                                    ranges are divided at m
//! A begin serializable                       -> ok
//! A lock x                                   -> 1
//! B begin read committed                     -> ok
//! B lock x                                   -> (waits)
//! A put x 2                                  -> ok
//! A commit                                   -> ok
//!   B lock x -> 2                            what another session's step answers at last
//! final                                      -> x=2 y=2
//! ```
//!
//! What follows `->`, and lines that begin with a blank, are the outcome: with `REWRITE=1` in the environment they are
//! written anew instead of being compared. Time stands still, but for `wait 100ms`.
//!
//! Steps of a session: `begin LEVEL [read only]`, `statement`, `get K…`, `scan A B`, `lock K [share…] [nowait|skip]`,
//! `put K V`, `del K`, `savepoint N`, `rollback to N`, `release N`, `flush`, `commit`, `rollback`, `restart`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::keys::TABLE;
use meridian_storage::base::{Key, Runtime, Span};
use parking_lot::Mutex;

use super::SimRuntime;
use crate::{
    Db, Isolation, LockStrength, Savepoint, ScanOptions, Txn, TxnError, TxnOptions, TxnResult, WaitPolicy,
};

/// Runs every scenario of the file against databases that `make` makes, and compares (or rewrites) the outcome.
pub fn check(path: &Path, make: impl Fn(&SimRuntime) -> Db) {
    let name = path.display();
    let script = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let outcome = run(&script, make);
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, outcome).unwrap_or_else(|e| panic!("{name}: {e}"));
        return;
    }
    for (i, (want, got)) in script.lines().zip(outcome.lines()).enumerate() {
        assert_eq!(got, want, "{name}:{}", i + 1);
    }
    assert_eq!(outcome.lines().count(), script.lines().count(), "{name} ends early");
}

fn run(script: &str, make: impl Fn(&SimRuntime) -> Db) -> String {
    let mut out = String::new();
    let mut stage = None;
    for line in script.lines() {
        if line.starts_with(' ') {
            continue;
        }
        let step = line.split(" -> ").next().unwrap_or_default().trim_end();
        if step.is_empty() || step.starts_with('#') {
            out.push_str(step);
            out.push('\n');
        } else if step.starts_with("scenario:") {
            out.push_str(step);
            out.push('\n');
            let runtime = SimRuntime::new(1);
            stage =
                Some(Stage { db: make(&runtime), runtime, sessions: BTreeMap::new(), done: Done::default() });
        } else {
            let stage = stage.as_mut().unwrap_or_else(|| panic!("a step before the first scenario: {step}"));
            stage.step(step, &mut out);
        }
    }
    out
}

type Done = Arc<Mutex<Vec<(String, String)>>>;

/// One scenario under way.
struct Stage {
    runtime: SimRuntime,
    db: Db,
    sessions: BTreeMap<String, Arc<Mutex<Session>>>,
    /// Steps that have come to an end, with what they answered.
    done: Done,
}

#[derive(Default)]
struct Session {
    txn: Option<Txn>,
    savepoints: BTreeMap<String, Savepoint>,
}

impl Stage {
    fn step(&mut self, step: &str, out: &mut String) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let answer = match words[..] {
            ["init", ref pairs @ ..] => {
                self.runtime.block_on(init(&self.db, pairs));
                None
            }
            ["split", at] => {
                let split = self.runtime.block_on(self.db.split_at(key(at)));
                split.err().map(|e| e.to_string())
            }
            ["wait", time] => {
                let ms = time.trim_end_matches("ms").parse().unwrap_or_else(|_| panic!("{step}"));
                self.runtime.run_for(Duration::from_millis(ms));
                None
            }
            ["final"] => Some(self.runtime.block_on(contents(&self.db))),
            [session, ..] => {
                self.start(session, step);
                self.runtime.run_until_stalled();
                let mut done = self.done.lock();
                let own = done.iter().position(|(s, _)| s == step);
                Some(own.map_or_else(|| "(waits)".into(), |at| done.remove(at).1))
            }
            [] => None,
        };
        match answer {
            Some(answer) => writeln!(out, "{step:<36} -> {answer}").expect("strings can be written to"),
            None => writeln!(out, "{step}").expect("strings can be written to"),
        }
        for (step, answer) in self.done.lock().drain(..) {
            writeln!(out, "  {step} -> {answer}").expect("strings can be written to");
        }
    }

    fn start(&mut self, session: &str, step: &str) {
        let session = self.sessions.entry(session.to_owned()).or_default().clone();
        let (db, done, step) = (self.db.clone(), self.done.clone(), step.to_owned());
        let task = async move {
            let words: Vec<&str> = step.split_whitespace().skip(1).collect();
            let answer = match execute(&db, &session, &words).await {
                Ok(answer) => answer,
                Err(e) => describe(&e),
            };
            done.lock().push((step.clone(), answer));
        };
        self.runtime.spawn("script step", Box::pin(task));
    }
}

fn describe(e: &TxnError) -> String {
    format!("ERROR {}: {}", e.sqlstate(), e.message)
}

fn key(name: &str) -> Key {
    [&[TABLE], name.as_bytes()].concat().into()
}

fn text(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(|| "none".into(), |b| b.escape_ascii().to_string())
}

async fn init(db: &Db, pairs: &[&str]) {
    let txn = db.begin(TxnOptions::default());
    for pair in pairs {
        let (k, v) = pair.split_once('=').unwrap_or_else(|| panic!("{pair}"));
        txn.put(key(k), Bytes::copy_from_slice(v.as_bytes()));
    }
    txn.commit().await.expect("nothing is in the way");
}

async fn contents(db: &Db) -> String {
    let txn = db.begin(TxnOptions::default());
    let span = Span::prefix(Key::from(&[TABLE][..]));
    let rows = match txn.scan(span, ScanOptions::default()).collect().await {
        Ok(rows) => rows,
        Err(e) => return describe(&e),
    };
    txn.rollback().await;
    show(rows)
}

fn show(rows: Vec<(Key, Bytes)>) -> String {
    if rows.is_empty() {
        return "empty".into();
    }
    let rows = rows.iter().map(|(k, v)| format!("{}={}", k[1..].escape_ascii(), v.escape_ascii()));
    rows.collect::<Vec<_>>().join(" ")
}

async fn execute(db: &Db, session: &Mutex<Session>, words: &[&str]) -> TxnResult<String> {
    if let ["begin", level @ ..] = words {
        session.lock().txn = Some(db.begin(options(level)));
        return Ok("ok".into());
    }
    let txn = session.lock().txn.clone().expect("the session has begun");
    match words {
        ["statement"] => txn.begin_statement(),
        ["get", k] => return Ok(text(txn.get(&key(k)).await?)),
        ["get", ks @ ..] => {
            let keys: Vec<Key> = ks.iter().map(|k| key(k)).collect();
            let values = txn.get_many(&keys, None).await?;
            return Ok(values.into_iter().map(text).collect::<Vec<_>>().join(" "));
        }
        ["scan", from, to] => {
            let span = Span::new(key(from), key(to));
            return Ok(show(txn.scan(span, ScanOptions::default()).collect().await?));
        }
        ["lock", k, how @ ..] => {
            let (strength, wait) = lock_options(how);
            return Ok(text(txn.get_locked(&key(k), strength, wait).await?));
        }
        ["put", k, v] => txn.put(key(k), Bytes::copy_from_slice(v.as_bytes())),
        ["del", k] => txn.delete(key(k)),
        ["savepoint", name] => {
            let savepoint = txn.savepoint();
            session.lock().savepoints.insert((*name).to_owned(), savepoint);
        }
        ["rollback", "to", name] => txn.rollback_to(session.lock().savepoints[*name]),
        ["release", name] => txn.release(session.lock().savepoints[*name]),
        ["flush"] => txn.flush().await?,
        ["commit"] => drop(txn.commit().await?),
        ["rollback"] => txn.rollback().await,
        ["restart"] => txn.restart(),
        _ => panic!("no such step: {words:?}"),
    }
    Ok("ok".into())
}

fn options(words: &[&str]) -> TxnOptions {
    let (isolation, rest) = match words {
        ["read", "committed", rest @ ..] => (Isolation::ReadCommitted, rest),
        ["snapshot", rest @ ..] => (Isolation::Snapshot, rest),
        ["serializable", rest @ ..] => (Isolation::Serializable, rest),
        _ => panic!("no such level: {words:?}"),
    };
    TxnOptions { isolation, read_only: rest == ["read", "only"], ..TxnOptions::default() }
}

fn lock_options(words: &[&str]) -> (LockStrength, WaitPolicy) {
    let mut how = (LockStrength::Update, WaitPolicy::Block);
    for word in words {
        match *word {
            "key-share" => how.0 = LockStrength::KeyShare,
            "share" => how.0 = LockStrength::Share,
            "no-key-update" => how.0 = LockStrength::NoKeyUpdate,
            "nowait" => how.1 = WaitPolicy::NoWait,
            "skip" => how.1 = WaitPolicy::Skip,
            _ => panic!("no such lock: {word}"),
        }
    }
    how
}
