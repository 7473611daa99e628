//! Random histories against a model: a map of maps, read the slow and obvious way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::{Key, Span, Timestamp, TxnId};
use crate::engine::{Engine, MemEngine, Reader, RocksEngine, RocksOptions, WriteBatch};

type Versions = BTreeMap<Timestamp, Option<Vec<u8>>>;

#[derive(Default, Debug)]
struct Model {
    keys: BTreeMap<Vec<u8>, Versions>,
    intents: BTreeMap<Vec<u8>, (TxnId, Timestamp)>,
}

impl Model {
    /// `Err` is a conflict; then the value, the uncertain version, and the newest version above that counts.
    fn read(&self, key: &[u8], ts: Timestamp, options: GetOptions) -> Result<Answer, TxnId> {
        let mut versions = self.keys.get(key).cloned().unwrap_or_default();
        let limit = ts.max(options.uncertainty_limit);
        if let Some((txn, at)) = self.intents.get(key) {
            if options.txn == Some(*txn) {
                let own = versions.remove(at).expect("a provisional version");
                return Ok(Answer { value: own, ..Answer::default() });
            }
            if *at <= limit || options.newest {
                return Err(*txn);
            }
            versions.remove(at);
        }
        let upper = if options.newest { Timestamp::MAX } else { limit };
        let newest_in = |to| versions.keys().copied().filter(|v| ts < *v && *v <= to).max();
        let (uncertain, above) = (newest_in(limit), newest_in(upper));
        let value = versions.range(..=ts).next_back().and_then(|(_, v)| v.clone());
        let value = if uncertain.is_some() { None } else { value };
        Ok(Answer { value, uncertain, above })
    }
}

#[derive(Default, Debug, PartialEq)]
struct Answer {
    value: Option<Vec<u8>>,
    uncertain: Option<Timestamp>,
    above: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Write {
    key: Vec<u8>,
    ts: Timestamp,
    value: Option<Vec<u8>>,
    /// An intent of this transaction, if it is the newest version of its key.
    intent: Option<TxnId>,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..3)
}

fn ts() -> impl Strategy<Value = Timestamp> {
    (1..20u64, 0..2u32).prop_map(|(wall, logical)| Timestamp::new(wall, logical))
}

fn write() -> impl Strategy<Value = Write> {
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..4));
    let intent = prop::option::weighted(0.2, (1..3u128).prop_map(TxnId));
    (key(), ts(), value, intent).prop_map(|(key, ts, value, intent)| Write { key, ts, value, intent })
}

fn options() -> impl Strategy<Value = GetOptions> {
    let txn = prop::option::of((1..3u128).prop_map(TxnId));
    (txn, prop::option::of(ts()), any::<bool>()).prop_map(|(txn, limit, newest)| GetOptions {
        txn,
        epoch: 0,
        uncertainty_limit: limit.unwrap_or_default(),
        newest,
    })
}

/// Writes to both; an intent only where it may be, above everything else.
fn apply(engine: &dyn Engine, model: &mut Model, write: &Write) {
    let mut batch = WriteBatch::new();
    let versions = model.keys.entry(write.key.clone()).or_default();
    if model.intents.contains_key(&write.key) || versions.contains_key(&write.ts) {
        return;
    }
    let newest = versions.keys().next_back().copied().unwrap_or_default();
    match (write.intent, &write.value) {
        (Some(txn), value) if newest < write.ts => {
            let record = LockRecord {
                txn,
                anchor: Key::from("anchor"),
                epoch: 0,
                write_ts: write.ts,
                strength: LockStrength::Intent,
                seq: 0,
            };
            let written = put_intent(engine, &mut batch, &write.key, value.as_deref(), &record);
            assert!(matches!(written.expect("written"), IntentWrite::Written(_)));
            model.intents.insert(write.key.clone(), (txn, write.ts));
        }
        (_, Some(value)) => {
            put(&mut batch, &write.key, write.ts, value);
        }
        (_, None) => {
            delete(&mut batch, &write.key, write.ts);
        }
    }
    versions.insert(write.ts, write.value.clone());
    engine.write(&batch).expect("written");
}

fn check_gets(engine: &dyn Engine, model: &Model, at: Timestamp, options: GetOptions) {
    let snapshot = engine.snapshot();
    let mut many = PointReader::new(&*snapshot, at, options);
    for key in model.keys.keys().map(Vec::as_slice).chain([&b"absent"[..]]) {
        let found = many.get(key).expect("read");
        let expected = model.read(key, at, options);
        match (&found.seen, expected) {
            (Seen::Locked(l), Err(txn)) => assert_eq!(l.txn, txn),
            (seen, Ok(expected)) => {
                let value = if let Seen::Value(v, _) = seen { Some(v.to_vec()) } else { None };
                let uncertain = if let Seen::Uncertain(ts) = seen { Some(*ts) } else { None };
                assert_eq!(Answer { value, uncertain, above: found.newest_above }, expected, "{key:?}");
            }
            (seen, expected) => panic!("{key:?}: {seen:?} instead of {expected:?}"),
        }
        assert_eq!(found, get(engine, key, at, options).expect("read"));
        // Again, perhaps from the row cache.
        assert_eq!(found, get(engine, key, at, options).expect("read"));
    }
}

/// Scans in pieces of `rows`, as a client with a limit does.
fn check_scan(engine: &dyn Reader, model: &Model, span: &Span, at: Timestamp, options: ScanOptions) {
    let mut expected = ScanResult::default();
    let mut rows = Vec::new();
    for key in model.keys.keys().filter(|k| span.contains(k)) {
        match model.read(key, at, options.get) {
            Err(txn) => expected.conflicts.push((Key::from(key.as_slice()), txn)),
            Ok(answer) => {
                rows.extend(answer.value.map(|v| (key.clone(), v)));
                expected.uncertain = expected.uncertain.max(answer.uncertain);
                expected.above = expected.above.max(answer.above);
            }
        }
    }
    let mut found = Vec::new();
    let mut found_rest = ScanResult::default();
    let mut rest = Some(span.clone());
    while let Some(span) = rest {
        let piece = scan(engine, &span, at, options).expect("read");
        assert!(options.max_rows == 0 || piece.block.len() <= options.max_rows);
        found.extend(piece.block.iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
        found_rest.conflicts.extend(piece.conflicts.into_iter().map(|(k, l)| (k, l.txn)));
        found_rest.uncertain = found_rest.uncertain.max(piece.uncertain);
        found_rest.above = found_rest.above.max(piece.newest_above);
        rest = piece.resume;
    }
    if options.reverse {
        found.reverse();
        found_rest.conflicts.reverse();
    }
    assert_eq!(found, rows);
    assert_eq!(found_rest, expected);

    #[derive(Default, PartialEq, Debug)]
    struct ScanResult {
        conflicts: Vec<(Key, TxnId)>,
        uncertain: Option<Timestamp>,
        above: Option<Timestamp>,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_answer_as_the_model(
        writes in prop::collection::vec(write(), 0..60),
        at in ts(),
        get_options in options(),
        (from, to) in (key(), key()),
        (reverse, max_rows) in (any::<bool>(), 0..4usize),
    ) {
        let (engine, mut model) = (MemEngine::new(), Model::default());
        for write in &writes {
            apply(&engine, &mut model, write);
        }
        check_gets(&engine, &model, at, get_options);
        let span = Span::new(Key::from(from.clone()), Key::from([to, vec![0xff; 3]].concat().max([from, vec![0]].concat())));
        let options = ScanOptions { get: get_options, reverse, max_rows, ..ScanOptions::default() };
        check_scan(&engine, &model, &span, at, options);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same over files: prefix filters and bounds must hide nothing.
    #[test]
    fn reads_of_files_answer_as_the_model(
        writes in prop::collection::vec(prop::collection::vec(write(), 0..40), 1..4),
        at in ts(),
        get_options in options(),
        (reverse, max_rows) in (any::<bool>(), 0..4usize),
    ) {
        RESOURCES.with(|(folder, opened)| {
            let path = folder.path().join(opened.get().to_string());
            opened.set(opened.get() + 1);
            let options = RocksOptions { cache_bytes: 1 << 20, ..RocksOptions::default() };
            let (engine, mut model) = (RocksEngine::open(path, options).expect("opened"), Model::default());
            for (n, writes) in writes.iter().enumerate() {
                writes.iter().for_each(|write| apply(&engine, &mut model, write));
                if n < 2 {
                    engine.flush().expect("flushed");
                }
            }
            check_gets(&engine, &model, at, get_options);
            let span = Span::new(Key::from(&[0][..]), Key::from(&[0xff, 1][..]));
            let options = ScanOptions { get: get_options, reverse, max_rows, ..ScanOptions::default() };
            check_scan(&engine, &model, &span, at, options);
            check_scan(&*engine.snapshot(), &model, &span, at, options);
        });
    }
}

thread_local! {
    /// A folder, and how many engines have been opened in it.
    static RESOURCES: (tempfile::TempDir, std::cell::Cell<u32>) =
        (tempfile::TempDir::new().expect("a folder"), std::cell::Cell::new(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// No read at or above the threshold can tell that a collection has run.
    #[test]
    fn a_collection_changes_no_answer(
        writes in prop::collection::vec(write(), 0..60),
        threshold in ts(),
        later in 0..5u64,
    ) {
        let (engine, mut model) = (MemEngine::new(), Model::default());
        for write in &writes {
            apply(&engine, &mut model, write);
        }
        let everything = Span::new(Key::MIN, Key::from(&[0xff; 4][..]));
        let mut batch = WriteBatch::new();
        gc::collect(&engine, &mut batch, &everything, threshold, usize::MAX).expect("collected");
        engine.write(&batch).expect("written");
        let at = Timestamp::new(threshold.wall + later, threshold.logical);
        check_gets(&engine, &model, at, GetOptions::default());
        check_scan(&engine, &model, &everything, at, ScanOptions::default());
    }
}
