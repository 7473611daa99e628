//! Runs the golden scripts of `testdata/`: the specification of versions, intents and scans, in small scenarios.
//!
//! A scenario is a comment that says what it shows, commands, a line `----`, and what they print. Each begins with an
//! empty engine. `REWRITE=1` writes what is printed now into the files; the difference is reviewed like code.
//!
//! Commands (timestamps are `wall` or `wall,logical`; `t1` is a transaction; keys and values are plain text;
//! in a span, `\0` is a zero byte):
//!
//! ```text
//! put KEY TS VALUE | del KEY TS                      committed versions
//! intent KEY TS t1 VALUE|- [epoch=N]                 provisional value, or tombstone
//! lock KEY TS t1 STRENGTH                            lock without a value
//! commit KEY t1 TS [epoch=N] | abort KEY t1 | push KEY t1 TS
//! get KEY TS [t1] [epoch=N] [limit=TS] [newest]
//! scan FROM TO TS [t1] [epoch=N] [limit=TS] [newest] [rows=N] [bytes=N] [conflicts=N] [reverse]
//! newer FROM TO TS TS [t1] | newest KEY | stats FROM TO | split FROM TO BYTES | dump
//! gc FROM TO TS                                      explicit collection below a threshold
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::{Key, Span, StorageResult, Timestamp, TxnId};
use crate::engine::{Cf, Engine, IterOptions, MemEngine, Reader, WriteBatch};

#[test]
fn scripts_do_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mvcc/testdata");
    let entries = std::fs::read_dir(&folder).expect("the folder of the scripts");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no scripts in {}", folder.display());
    let rewrite = std::env::var_os("REWRITE").is_some();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a text file");
        let now = run_file(&text);
        if rewrite {
            std::fs::write(&file, now).expect("rewritten");
        } else {
            assert!(text == now, "{} now prints:\n{now}", file.display());
        }
    }
}

/// Scenarios are separated by blank lines.
fn run_file(text: &str) -> String {
    let scenarios: Vec<String> = text.trim().split("\n\n").map(run_scenario).collect();
    scenarios.join("\n\n") + "\n"
}

fn run_scenario(text: &str) -> String {
    let mut out = String::new();
    let mut printed = String::new();
    let engine = MemEngine::new();
    for line in text.lines().take_while(|line| *line != "----") {
        writeln!(out, "{line}").expect("a string");
        if line.starts_with('#') {
            continue;
        }
        match run_command(&engine, &Command::parse(line)) {
            Ok(result) if result.is_empty() => {}
            Ok(result) => writeln!(printed, "{line}:\n{}", indent(&result)).expect("a string"),
            Err(e) => writeln!(printed, "{line}:\n  error: {e}").expect("a string"),
        }
    }
    format!("{out}----\n{}", printed.trim_end())
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
}

/// A line of a script: words, `name=value` settings, and flags, each found where it is asked for.
struct Command<'a> {
    line: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Self {
        Command { line, words: line.split_whitespace().collect() }
    }

    fn word(&self, n: usize) -> &'a str {
        self.words.get(n).unwrap_or_else(|| panic!("too few words: {}", self.line))
    }

    fn ts(&self, n: usize) -> Timestamp {
        timestamp(self.word(n))
    }

    fn txn(&self, n: usize) -> TxnId {
        transaction(self.word(n)).unwrap_or_else(|| panic!("no transaction: {}", self.line))
    }

    fn span(&self, n: usize) -> Span {
        let key = |n| Key::from(self.word(n).replace("\\0", "\0").as_str());
        Span::new(key(n), key(n + 1))
    }

    fn setting(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> usize {
        self.setting(name).map_or(0, |n| n.parse().expect("a number"))
    }

    fn flag(&self, name: &str) -> bool {
        self.words.contains(&name)
    }

    fn any_txn(&self) -> Option<TxnId> {
        self.words.iter().find_map(|w| transaction(w))
    }

    fn get_options(&self) -> GetOptions {
        GetOptions {
            txn: self.any_txn(),
            epoch: self.number("epoch") as u32,
            uncertainty_limit: self.setting("limit").map_or(Timestamp::ZERO, timestamp),
            newest: self.flag("newest"),
        }
    }
}

fn timestamp(text: &str) -> Timestamp {
    let (wall, logical) = text.split_once(',').unwrap_or((text, "0"));
    Timestamp::new(wall.parse().expect("wall time"), logical.parse().expect("logical time"))
}

fn transaction(word: &str) -> Option<TxnId> {
    word.strip_prefix('t')?.parse().ok().map(TxnId)
}

fn show_ts(ts: Timestamp) -> String {
    if ts.logical == 0 { ts.wall.to_string() } else { format!("{},{}", ts.wall, ts.logical) }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn show_lock(l: &LockRecord) -> String {
    let epoch = if l.epoch == 0 { String::new() } else { format!(" epoch={}", l.epoch) };
    format!("{:?} of t{} at {}{epoch}", l.strength, l.txn.0, show_ts(l.write_ts))
}

fn record(c: &Command<'_>, strength: LockStrength) -> LockRecord {
    LockRecord {
        txn: c.txn(3),
        anchor: Key::from(c.word(1)),
        epoch: c.number("epoch") as u32,
        write_ts: c.ts(2),
        strength,
        seq: 0,
    }
}

fn run_command(engine: &MemEngine, c: &Command<'_>) -> StorageResult<String> {
    let mut batch = WriteBatch::new();
    let key = c.words.get(1).copied().unwrap_or_default().as_bytes();
    let printed = match c.word(0) {
        "put" => {
            put(&mut batch, key, c.ts(2), c.word(3).as_bytes());
            String::new()
        }
        "del" => {
            delete(&mut batch, key, c.ts(2));
            String::new()
        }
        "intent" => write_intent(engine, &mut batch, c)?,
        "lock" => {
            let strength = match c.word(4) {
                "shared" => LockStrength::Shared,
                "update" => LockStrength::Update,
                _ => LockStrength::Exclusive,
            };
            write::put_lock(&mut batch, key, &record(c, strength));
            String::new()
        }
        "commit" => {
            let resolution = Resolution::Commit { at: c.ts(3), epoch: c.number("epoch") as u32 };
            resolved(resolve_intent(engine, &mut batch, key, c.txn(2), resolution)?)
        }
        "abort" => resolved(resolve_intent(engine, &mut batch, key, c.txn(2), Resolution::Abort)?),
        "push" => {
            let resolution = Resolution::Push { to: c.ts(3) };
            resolved(resolve_intent(engine, &mut batch, key, c.txn(2), resolution)?)
        }
        "gc" => {
            let done = gc::collect(engine, &mut batch, &c.span(1), c.ts(3), 1 << 20)?;
            format!("{} versions dropped", -done.delta.versions)
        }
        _ => read(engine, c)?,
    };
    engine.write(&batch)?;
    Ok(printed)
}

fn resolved(delta: Option<Delta>) -> String {
    if delta.is_none() { "no lock".into() } else { String::new() }
}

fn write_intent(engine: &MemEngine, batch: &mut WriteBatch, c: &Command<'_>) -> StorageResult<String> {
    let value = Some(c.word(4)).filter(|v| *v != "-").map(str::as_bytes);
    let record = record(c, LockStrength::Intent);
    Ok(match put_intent(engine, batch, c.word(1).as_bytes(), value, &record)? {
        IntentWrite::Written(_) => String::new(),
        IntentWrite::Locked(l) => format!("locked: {}", show_lock(&l)),
        IntentWrite::TooOld(ts) => format!("too old: there is a version at {}", show_ts(ts)),
    })
}

fn read(engine: &MemEngine, c: &Command<'_>) -> StorageResult<String> {
    Ok(match c.word(0) {
        "get" => show_get(&get(engine, c.word(1).as_bytes(), c.ts(2), c.get_options())?),
        "scan" => {
            let options = ScanOptions {
                get: c.get_options(),
                reverse: c.flag("reverse"),
                max_rows: c.number("rows"),
                max_bytes: c.number("bytes"),
                max_conflicts: c.number("conflicts"),
            };
            show_scan(&scan(engine, &c.span(1), c.ts(3), options)?)
        }
        "newer" => {
            let what = if c.flag("deletion") { Change::Deletion } else { Change::Any };
            match any_newer_in(engine, &c.span(1), (c.ts(3), c.ts(4)), what, c.any_txn())? {
                None => "nothing".into(),
                Some(refresh::Newer::Version(ts)) => format!("version at {}", show_ts(ts)),
                Some(refresh::Newer::Intent(l)) => show_lock(&l),
            }
        }
        "newest" => newest_version_ts(engine, c.word(1).as_bytes())?.map_or("none".into(), show_ts),
        "stats" => {
            let s = compute_stats(engine, &c.span(1))?;
            format!("keys={} rows={} versions={} locks={}", s.keys, s.rows, s.versions, s.locks)
        }
        "split" => {
            let target = c.word(3).parse().expect("bytes");
            find_split_key(engine, &c.span(1), target)?.map_or("none".into(), |k| text(&k))
        }
        "dump" => dump(engine)?,
        other => panic!("no such command: {other}"),
    })
}

fn show_get(found: &MvccGet) -> String {
    let mut out = match &found.seen {
        Seen::Value(v, ts) => format!("{} @{}", text(v), show_ts(*ts)),
        Seen::Nothing => "nothing".into(),
        Seen::Locked(l) => format!("locked: {}", show_lock(l)),
        Seen::Uncertain(ts) => format!("uncertain: version at {}", show_ts(*ts)),
    };
    if let Some(ts) = found.newest_above {
        write!(out, " (newest above: {})", show_ts(ts)).expect("a string");
    }
    out
}

fn show_scan(found: &ScanResult) -> String {
    let mut out = String::new();
    let mut line = |l: String| writeln!(out, "{l}").expect("a string");
    found.block.iter().for_each(|(k, v)| line(format!("{} = {}", text(k), text(v))));
    found.conflicts.iter().for_each(|(k, l)| line(format!("{} is locked: {}", text(k), show_lock(l))));
    found.uncertain.iter().for_each(|ts| line(format!("uncertain: version at {}", show_ts(*ts))));
    found.newest_above.iter().for_each(|ts| line(format!("newest above: {}", show_ts(*ts))));
    found.resume.iter().for_each(|s| line(format!("resume {} to {}", text(&s.start), text(&s.end))));
    if out.is_empty() { "nothing".into() } else { out }
}

fn dump(engine: &MemEngine) -> StorageResult<String> {
    let mut out = String::new();
    for cf in [Cf::Data, Cf::Lock] {
        let mut it = engine.iter(cf, IterOptions::default());
        it.seek_to_first();
        while it.valid() {
            let mut key = Vec::new();
            if cf == Cf::Data {
                let (part, ts) = key::split_version(it.key())?;
                key::decode_key(part, &mut key)?;
                let value = value::decode(it.value())?.map_or("tombstone".into(), text);
                writeln!(out, "{} @{} = {value}", text(&key), show_ts(ts)).expect("a string");
            } else {
                let shared = it.key().len() - if it.key().ends_with(&[0, 1]) { 0 } else { 16 };
                key::decode_key(&it.key()[..shared], &mut key)?;
                let lock = LockRecord::decode(it.value())?;
                writeln!(out, "{} lock: {}", text(&key), show_lock(&lock)).expect("a string");
            }
            it.next();
        }
    }
    Ok(if out.is_empty() { "empty".into() } else { out })
}
