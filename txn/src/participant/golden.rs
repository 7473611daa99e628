//! Scripts that say what a leaseholder does: `testdata/*.txt`, one subject a file, each scenario named and introduced.
//!
//! Two nodes serve a range each: keys below `m`, and the rest. A line that begins with a letter is a command; indented
//! lines below it are what followed. A request that has to wait runs on in the background; what it answers
//! in the end stands below the command that let it go on. `==` begins a scenario, with nodes of its own. `REWRITE=1`
//! records the files anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::AbortHandle;
use meridian_storage::base::{
    BoxFuture, Clock, Hlc, Key, NodeId, RangeId, Runtime, Span, Timestamp, TxnId, keys,
};
use meridian_storage::engine::memory::MemEngine;
use meridian_storage::engine::{Cf, IterOptions, Reader};
use meridian_storage::mvcc::{self, LockRecord, key as version_key};
use meridian_storage::replica::{LocalReplica, Replica};
use parking_lot::Mutex;

use super::{NodeLiveness, Participant};
use crate::record::Standing;
use crate::rpc::*;
use crate::testing::SimRuntime;

struct Node {
    participant: Arc<Participant>,
    engine: Arc<MemEngine>,
    replica: Arc<LocalReplica>,
}

struct World {
    runtime: SimRuntime,
    clock: Clock,
    nodes: Arc<Vec<Node>>,
    _loopback: Arc<Loopback>,
    txns: BTreeMap<String, TxnMeta>,
    /// The last request of each transaction.
    last: BTreeMap<String, AbortHandle>,
    /// What requests in the background have answered since the last command.
    answers: Arc<Mutex<Vec<String>>>,
    lost: Arc<Lost>,
}

/// Nodes that run transactions, and before when what they had begun is lost.
#[derive(Default)]
struct Lost(Mutex<BTreeMap<NodeId, (Timestamp, Standing)>>);

impl NodeLiveness for Lost {
    fn standing(&self, node: NodeId, since: Timestamp) -> Standing {
        let lost = self.0.lock().get(&node).copied();
        lost.filter(|(before, _)| since < *before).map_or(Standing::Alive, |(_, standing)| standing)
    }
}

/// Routes by the fixed boundary; looks for ranges that were split off by their order of creation.
struct Loopback(Arc<Vec<Node>>);

fn home(nodes: &[Node], key: &[u8]) -> (usize, RangeId) {
    let node = usize::from(key >= &b"m"[..]);
    let ranges = nodes[node].participant.ranges.read();
    let of_key = |r: &&Arc<super::range::RangeState>| r.replica.descriptor().contains(key);
    let found = ranges.values().find(of_key).map(|r| r.replica.range_id());
    (node, found.unwrap_or(nodes[node].replica.descriptor().range))
}

impl KeySender for Loopback {
    fn resolve_spans(
        &self,
        header: Header,
        txn: &TxnMeta,
        to: Resolution,
        spans: Vec<IntentSpan>,
    ) -> BoxFuture<'static, Result<(), KvError>> {
        let (txn, epoch) = (txn.id, txn.epoch);
        let sent: Vec<_> = spans
            .into_iter()
            .map(|span| {
                let (key, spans) = (span.span.start.clone(), vec![span.span]);
                let requests = vec![Request::ResolveIntents { txn, epoch, to, keys: Vec::new(), spans }];
                self.send_to_key(key, BatchRequest { header: header.clone(), requests })
            })
            .collect();
        Box::pin(async move {
            for answer in sent {
                answer.await?;
            }
            Ok(())
        })
    }

    fn send_to_key(
        &self,
        key: Key,
        mut batch: BatchRequest,
    ) -> BoxFuture<'static, Result<BatchResponse, KvError>> {
        let (node, range) = home(&self.0, &key);
        batch.header.range = range;
        let participant = self.0[node].participant.clone();
        Box::pin(async move { participant.execute(batch).await })
    }
}

fn ts(n: u64) -> Timestamp {
    Timestamp::new(n, 0)
}

fn show(t: Timestamp) -> String {
    match (t.wall, t.logical) {
        (wall, 0) => format!("{wall}"),
        (wall, logical) => format!("{wall}+{logical}"),
    }
}

impl World {
    fn new() -> World {
        let runtime = SimRuntime::new(1);
        let clock = Hlc::new(runtime.clock(), Duration::from_secs(3600), false);
        let node = |id: u32, start: Key, end: Key| {
            let participant = Participant::new(NodeId(id), clock.clone(), Arc::new(runtime.clone()));
            let engine = Arc::new(MemEngine::new());
            let span = Span::new(start, end);
            let observer = Some(participant.clone() as Arc<dyn meridian_storage::replica::ReplicaObserver>);
            let replica = LocalReplica::with_observer(RangeId(u64::from(id)), span, engine.clone(), observer);
            Node { participant, engine, replica }
        };
        let nodes =
            Arc::new(vec![node(1, keys::min_key(), "m".into()), node(2, "m".into(), keys::max_key())]);
        let lost = Arc::new(Lost::default());
        let loopback = Arc::new(Loopback(nodes.clone()));
        for node in nodes.iter() {
            node.participant.set_sender(&loopback);
            node.participant.set_liveness(lost.clone());
        }
        let (txns, last, answers) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        World { runtime, clock, nodes, _loopback: loopback, txns, last, answers, lost }
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut out = match self.command(&words) {
            Some(out) => out,
            None => format!("what is '{line}'?"),
        };
        self.runtime.run_until_stalled();
        for answer in self.answers.lock().drain(..) {
            let _ = write!(out, "\n{answer}");
        }
        out
    }

    fn command(&mut self, words: &[&str]) -> Option<String> {
        match words {
            ["begin", name, at, options @ ..] => self.begin(name, at, options),
            ["move", name, at] => {
                let txn = self.txns.get_mut(*name)?;
                (txn.read_ts, txn.write_ts) = (number(at)?, number(at)?);
                txn.sequence += 1;
                Some(String::new())
            }
            ["advance", ms] => {
                let d = Duration::from_millis(ms.strip_suffix("ms")?.parse().ok()?);
                self.runtime.block_on(self.runtime.sleep(d));
                Some(String::new())
            }
            ["cancel", name] => {
                self.last.remove(*name)?.abort();
                Some(String::new())
            }
            ["locks"] => Some(self.locks()),
            ["data"] => Some(self.data()),
            ["lose-node", node] => self.lose_node(node, Timestamp::MAX, Standing::Restarted),
            ["silence-node", node] => self.lose_node(node, Timestamp::MAX, Standing::Silent),
            ["restart-node", node, at] => self.lose_node(node, number(at)?, Standing::Restarted),
            ["lose-lease", node] => {
                self.nodes[node.parse::<usize>().ok()? - 1].replica.lose_lease();
                Some(String::new())
            }
            ["acquire-lease", node, at] => {
                self.nodes[node.parse::<usize>().ok()? - 1].replica.acquire_lease(number(at)?);
                Some(String::new())
            }
            _ => Some(self.send(words)),
        }
    }

    fn lose_node(&self, node: &str, before: Timestamp, standing: Standing) -> Option<String> {
        self.lost.0.lock().insert(NodeId(node.parse().ok()?), (before, standing));
        Some(String::new())
    }

    fn begin(&mut self, name: &str, at: &str, options: &[&str]) -> Option<String> {
        let at = number(at)?;
        let mut txn = TxnMeta {
            id: TxnId(u128::from(name.strip_prefix('t')?.parse::<u32>().ok()?) << 96),
            anchor: Key::MIN,
            epoch: 0,
            sequence: 1,
            priority: 0,
            isolation: Isolation::Serializable,
            min_ts: at,
            read_ts: at,
            write_ts: at,
        };
        for option in options {
            match option.split_once('=') {
                Some(("anchor", key)) => txn.anchor = key.into(),
                Some(("priority", n)) => txn.priority = n.parse().ok()?,
                // `n << 96`, as without a node: what is shown of it stays the same.
                Some(("node", n)) => txn.id = TxnId::new(txn.id.0 >> 32, NodeId(n.parse().ok()?)),
                None if *option == "snapshot" => txn.isolation = Isolation::Snapshot,
                None if *option == "read-committed" => txn.isolation = Isolation::ReadCommitted,
                None if *option == "restarted" => txn.epoch = 1,
                _ => return None,
            }
        }
        self.txns.insert(name.into(), txn);
        Some(String::new())
    }

    /// Sends a request; says what it answers, or that it waits.
    fn send(&mut self, words: &[&str]) -> String {
        let (name, rest) = match words.split_first() {
            Some((first, rest)) if self.txns.contains_key(*first) => (Some(*first), rest),
            _ => (None, words),
        };
        let mut header = Header { now: Timestamp::ZERO, gateway: NodeId(1), ..Header::default() };
        let mut rest: Vec<&str> = rest.to_vec();
        rest.retain(|word| !option(word, &mut header));
        let Some((key, request)) = self.request(name, &rest, &mut header) else {
            return format!("what is '{}'?", words.join(" "));
        };
        if let Some(txn) = name.and_then(|n| self.txns.get_mut(n)) {
            if txn.anchor.is_empty() {
                txn.anchor = key.clone();
            }
            header.read_ts = txn.read_ts;
            header.txn = Some(txn.clone());
        }
        let (node, range) = home(&self.nodes, &key);
        header.range = range;
        let batch = BatchRequest { header, requests: vec![request] };
        let participant = self.nodes[node].participant.clone();
        let (answers, label) = (self.answers.clone(), words.join(" "));
        // Whether it has been said that the request waits.
        let waits = Arc::new(Mutex::new(None));
        let state = waits.clone();
        let (request, handle) = futures::future::abortable(async move {
            let answer = describe(participant.execute(batch).await);
            let label = if *state.lock() == Some(true) { format!("{label}: ") } else { String::new() };
            *state.lock() = Some(false);
            answers.lock().push(format!("{label}{answer}"));
        });
        self.last.insert(words[0].into(), handle);
        self.runtime.spawn("request", Box::pin(async move { request.await.unwrap_or_default() }));
        self.runtime.run_until_stalled();
        let mut state = waits.lock();
        if state.is_some() {
            return String::new();
        }
        *state = Some(true);
        "waits".into()
    }

    fn request(&self, name: Option<&str>, words: &[&str], header: &mut Header) -> Option<(Key, Request)> {
        let txn = |name: &str| self.txns.get(name).cloned();
        let me = name.and_then(txn);
        let key_of = |w: &str| -> Key { w.into() };
        let rest = words.get(1..)?;
        Some(match words[0] {
            "get" => {
                let key = key_of(rest.first()?);
                (key.clone(), Request::Get { key, lock: lock(rest) })
            }
            "scan" => {
                let span = span(rest.first()?)?;
                let reverse = rest.contains(&"reverse");
                (span.start.clone(), Request::Scan { span, reverse, lock: lock(rest) })
            }
            "put" => {
                let writes = writes(rest);
                (writes.first()?.0.clone(), Request::PutIntents { writes, refresh: Vec::new() })
            }
            "remove" => {
                let keys: Vec<Key> = rest.iter().map(|w| key_of(w)).collect();
                (keys.first()?.clone(), Request::RemoveIntents { keys })
            }
            "commit-one-phase" => {
                let writes = writes(rest);
                let from = me.as_ref()?.read_ts;
                let spans = rest.iter().filter_map(|w| span(w.strip_prefix("read:")?));
                let refresh = spans.map(|span| RefreshSpan::new(span, from)).collect();
                let refresh_complete = !rest.contains(&"incomplete");
                let key = writes.first()?.0.clone();
                (key, Request::CommitOnePhase { writes, refresh, refresh_complete })
            }
            "refresh" => {
                let (span, to) = (span(rest.first()?)?, number(rest.get(1)?)?);
                let (from, presence) = (me.as_ref()?.read_ts, rest.contains(&"presence"));
                let refresh = RefreshSpan { presence, ..RefreshSpan::new(span.clone(), from) };
                (span.start.clone(), Request::Refresh { spans: vec![refresh], to })
            }
            "release" => ("a".into(), Request::ReleaseLocks { txn: me.as_ref()?.id, spans: Vec::new() }),
            "end" => {
                let how = match *rest.first()? {
                    "commit" => EndKind::Commit,
                    "stage" => EndKind::Stage,
                    "abort" => EndKind::Abort,
                    _ => return None,
                };
                let keys = |prefix: &str| {
                    rest.iter().filter_map(|w| w.strip_prefix(prefix)).map(key_of).collect::<Vec<Key>>()
                };
                let mut intents = keys("intent:");
                let in_flight = keys("in-flight:");
                let spans = rest
                    .iter()
                    .filter_map(|w| {
                        Some(IntentSpan { span: span(w.strip_prefix("span:")?)?, private: false })
                    })
                    .collect();
                intents.extend(in_flight.iter().cloned());
                let pinned = rest.contains(&"pinned");
                (me?.anchor, Request::EndTxn { how, intents, spans, in_flight, pinned })
            }
            "heartbeat" => (
                me?.anchor,
                Request::HeartbeatTxn { now: self.clock.now(), pinned: rest.contains(&"pinned") },
            ),
            "push" => {
                let pushee = txn(rest.first()?)?;
                let kind = match *rest.get(1)? {
                    "abort" => PushKind::Abort,
                    "touch" => PushKind::Touch,
                    at => PushKind::Timestamp(number(at)?),
                };
                let (now, active, edges) = (self.clock.now(), pushee.min_ts, Vec::new());
                let key = pushee.anchor.clone();
                (key, Request::PushTxn { pushee, pusher: me, kind, now, active, edges })
            }
            "query" => {
                let txn = txn(rest.first()?)?;
                (txn.anchor.clone(), Request::QueryTxn { txn })
            }
            "query-intent" => {
                let (key, txn) = (key_of(rest.get(1)?), txn(rest.first()?)?);
                (key.clone(), Request::QueryIntent { key, txn })
            }
            "recover" => {
                let txn = txn(rest.first()?)?;
                (txn.anchor.clone(), Request::RecoverTxn { txn, all_found: rest.get(1) == Some(&"found") })
            }
            "forget" => {
                let txn = txn(rest.first()?)?;
                (txn.anchor.clone(), Request::RemoveRecord { txn: txn.id, anchor: txn.anchor })
            }
            "resolve" => {
                let txn = txn(rest.first()?)?;
                let to = match rest.get(1)?.split_once(':') {
                    Some(("committed", at)) => Resolution::Committed(number(at)?),
                    Some(("pushed", at)) => Resolution::Pushed(number(at)?),
                    _ => Resolution::Aborted,
                };
                let (spans, keys): (Vec<&str>, Vec<&str>) = rest[2..].iter().partition(|w| w.contains(".."));
                let spans: Vec<Span> = spans.iter().filter_map(|w| span(w)).collect();
                let keys: Vec<Key> = keys.iter().map(|w| key_of(w)).collect();
                let at = keys.first().or(spans.first().map(|s| &s.start))?.clone();
                (at, Request::ResolveIntents { txn: txn.id, epoch: txn.epoch, to, keys, spans })
            }
            "clear" => {
                let span = span(rest.first()?)?;
                (span.start.clone(), Request::ClearRange { span })
            }
            "gc" => ("a".into(), Request::Gc { threshold: number(rest.first()?)? }),
            "split" => {
                let key = key_of(rest.first()?);
                header.wait = WaitPolicy::Block;
                (key.clone(), Request::AdminSplit { key, right: RangeId(7) })
            }
            _ => return None,
        })
    }

    fn locks(&self) -> String {
        let mut out = String::new();
        for node in self.nodes.iter() {
            let mut ranges: Vec<RangeId> = node.participant.ranges.read().keys().copied().collect();
            ranges.sort();
            for range in ranges {
                out += &node.participant.describe_locks(range).unwrap_or_default();
            }
        }
        if out.is_empty() { "none".into() } else { out.trim_end().to_string() }
    }

    /// Versions, intents and records, as they are stored.
    fn data(&self) -> String {
        let mut out = String::new();
        for node in self.nodes.iter() {
            let mut it = node.engine.iter(Cf::Data, IterOptions::default());
            it.seek_to_first();
            while it.valid() {
                let (part, at) = version_key::split_version(it.key()).expect("a version");
                let mut key = Vec::new();
                version_key::decode_key(part, &mut key).expect("a key");
                let lock = mvcc::lock::exclusive_on(&*node.engine, &key).expect("memory");
                let value = mvcc::value::decode(it.value()).expect("a value");
                let value = value.map_or("deleted".into(), |v| v.escape_ascii().to_string());
                let _ = write!(out, "{} @{} = {value}", key.escape_ascii(), show(at));
                if let Some(lock) = lock.filter(|l: &LockRecord| l.is_intent() && l.write_ts == at) {
                    let _ = write!(out, " (intent of {:?})", lock.txn);
                }
                out.push('\n');
                it.next();
            }
            let mut it = node.engine.iter(Cf::Record, IterOptions::default());
            it.seek_to_first();
            while it.valid() {
                let record = crate::record::TxnRecord::decode(Bytes::copy_from_slice(it.value()));
                let _ = writeln!(out, "record: {}", describe_record(&record.expect("a record")));
                it.next();
            }
        }
        if out.is_empty() { "nothing".into() } else { out.trim_end().to_string() }
    }
}

fn number(word: &str) -> Option<Timestamp> {
    Some(ts(word.trim_start_matches('@').parse().ok()?))
}

fn span(word: &str) -> Option<Span> {
    match word.split_once("..") {
        Some((start, end)) => Some(Span::new(start.into(), end.into())),
        None => Some(Span::point(word.into())),
    }
}

fn lock(words: &[&str]) -> Option<LockStrength> {
    words.iter().find_map(|w| match *w {
        "for-key-share" => Some(LockStrength::KeyShare),
        "for-share" => Some(LockStrength::Share),
        "for-no-key-update" => Some(LockStrength::NoKeyUpdate),
        "for-update" => Some(LockStrength::Update),
        _ => None,
    })
}

fn writes(words: &[&str]) -> Vec<Write> {
    let pairs = words.iter().filter_map(|w| w.split_once('='));
    pairs.map(|(k, v)| (k.into(), (v != "-").then(|| Bytes::copy_from_slice(v.as_bytes())))).collect()
}

/// Takes a word that goes into the header.
fn option(word: &str, header: &mut Header) -> bool {
    match word.split_once('=') {
        None if word == "nowait" => header.wait = WaitPolicy::NoWait,
        None if word == "skip-locked" => header.wait = WaitPolicy::Skip,
        None if word == "repeated" => header.maybe_applied = true,
        None if word == "may-move" => header.can_forward_read = true,
        None if word.starts_with('@') => header.read_ts = number(word).unwrap_or_default(),
        Some(("rows", n)) => header.max_rows = n.parse().unwrap_or_default(),
        Some(("uncertain-to", n)) => header.uncertainty_limit = number(n).unwrap_or_default(),
        Some(("timeout", ms)) => {
            let ms = ms.trim_end_matches("ms").parse().unwrap_or_default();
            header.lock_timeout = Some(Duration::from_millis(ms));
        }
        _ => return false,
    }
    true
}

fn describe_record(record: &crate::record::TxnRecord) -> String {
    let mut out = format!("{:?} {:?} at {}", record.meta.id, record.status, show(record.meta.write_ts));
    if !record.intents.is_empty() {
        let _ = write!(out, " intents {:?}", record.intents);
    }
    if !record.spans.is_empty() {
        let _ = write!(out, " spans {:?}", record.spans);
    }
    if !record.in_flight.is_empty() {
        let _ = write!(out, " in flight {:?}", record.in_flight);
    }
    out
}

fn describe(answer: Result<BatchResponse, KvError>) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(KvError::RangeMismatch { descriptors }) => {
            let known = descriptors.iter().map(|d| format!("{} {:?}", d.range, d.span()));
            return format!("error: wrong range; known are {}", known.collect::<Vec<_>>().join(", "));
        }
        Err(e) => return format!("error: {}", fold_numbers(&e.to_string())),
    };
    let text = match &answer.responses[0] {
        Response::Done => "done".to_string(),
        Response::Get { skipped: true, .. } => "skipped".into(),
        Response::Get { value, .. } => {
            value.as_ref().map_or("nothing".into(), |v| v.escape_ascii().to_string())
        }
        Response::Scan { rows, resume } => {
            let rows = rows.iter().map(|(k, v)| format!("{}={}", k.escape_ascii(), v.escape_ascii()));
            let mut text = rows.collect::<Vec<_>>().join(" ");
            if let Some(resume) = resume {
                let _ = write!(text, " (more from {resume})");
            }
            if text.is_empty() { "no rows".into() } else { text }
        }
        Response::Commit { ts } => format!("committed at {}", show(*ts)),
        Response::Record { record, waiters } => {
            let mut text = record.as_ref().map_or("no record".into(), |r| describe_record(r));
            for edge in waiters {
                let _ = write!(text, "; {:?} waits for {:?}", edge.waiter, edge.on);
            }
            text
        }
        Response::Found { found } => if *found { "found" } else { "missing" }.into(),
        Response::Merged { descriptor } => format!("{} {:?}", descriptor.range, descriptor.span()),
        Response::Split { left, right } => {
            format!("{} {:?}, {} {:?}", left.range, left.span(), right.range, right.span())
        }
        Response::Stats { .. } => "stats".into(),
        Response::Locks { locks, .. } => format!("{} old locks", locks.len()),
    };
    if answer.ts.wall > 0 && answer.ts.wall < 1_000_000 {
        format!("{text} (@{})", show(answer.ts))
    } else {
        text
    }
}

/// Timestamps in messages are `seconds.nanoseconds,logical`; in the scripts they are small numbers.
fn fold_numbers(text: &str) -> String {
    let fold = |word: &str| {
        let (whole, logical) = word.split_once(',')?;
        let (s, ns) = whole.split_once('.')?;
        let wall = s.parse::<u64>().ok()? * 1_000_000_000 + ns.parse::<u64>().ok()?;
        Some(show(Timestamp::new(wall, logical.parse().ok()?)))
    };
    let words = text.split(' ').map(|w| fold(w).unwrap_or_else(|| w.to_string()));
    words.collect::<Vec<_>>().join(" ")
}

fn replay(script: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with(' ') {
            continue;
        }
        let _ = writeln!(out, "{line}");
        if line.starts_with("==") {
            world = World::new();
        } else if line.starts_with(|c: char| c.is_ascii_lowercase()) {
            for line in world.run(line).lines().filter(|l| !l.is_empty()) {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

fn golden(name: &str) {
    let path = format!("{}/src/participant/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).expect("a script");
    let actual = replay(&expected);
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, &actual).expect("writable");
        return;
    }
    for (n, (e, a)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(e, a, "{name}.txt, line {}", n + 1);
    }
    assert_eq!(expected.lines().count(), actual.lines().count(), "{name}.txt");
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { golden(stringify!($name)) })*
    };
}

scripts!(
    reads,
    locks,
    waiting,
    deadlocks,
    one_phase_commit,
    intents,
    records,
    parallel_commit,
    lost_nodes,
    garbage,
    leases,
    splits
);
