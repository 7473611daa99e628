//! What every engine must do: one suite, run against each implementation.
//!
//! A [`Crashable`] is an engine that can lose its memory: the in-memory engine forgets what was not flushed, the disk
//! engine is abandoned and opened again from its files.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Cf, Engine, EngineIter, IterOptions, Reader, WriteBatch};

pub(super) trait Crashable {
    fn engine(&self) -> &dyn Engine;
    /// The engine as it is found after a crash.
    fn crash(self) -> Self;
}

/// Runs every test of the suite against the engine that the expression makes.
macro_rules! conformance {
    ($make:expr) => {
        crate::engine::conformance::conformance!(@ $make;
            reads_what_was_written, a_batch_is_ordered, families_are_apart, iterates_within_bounds,
            seeks_both_ways, range_deletion_hides_the_range_only, a_snapshot_sees_one_moment,
            an_iterator_sees_one_moment, a_crash_loses_what_was_not_flushed, a_crash_keeps_what_was_flushed,
            get_durable_sees_what_would_survive, unflushed_bytes_grow_and_fall, behaves_as_a_map, writes_again_after_a_crash,
        );
    };
    (@ $make:expr; $($name:ident),* $(,)?) => {
        $(#[test] fn $name() { crate::engine::conformance::$name(|| $make); })*
    };
}
pub(super) use conformance;

fn batch(ops: &[(&str, Option<&str>)]) -> WriteBatch {
    let mut b = WriteBatch::new();
    for (key, value) in ops {
        match value {
            Some(v) => b.put(Cf::Data, key.as_bytes(), v.as_bytes()),
            None => b.delete(Cf::Data, key.as_bytes()),
        }
    }
    b
}

fn put(e: &dyn Engine, key: &str, value: &str) {
    e.write(&batch(&[(key, Some(value))])).expect("write");
}

fn get(r: &dyn Reader, key: &str) -> Option<String> {
    let value = r.get(Cf::Data, key.as_bytes()).expect("get");
    value.map(|v| String::from_utf8(v.to_vec()).expect("text"))
}

fn all_of(mut it: Box<dyn EngineIter + '_>) -> Vec<String> {
    let mut out = Vec::new();
    it.seek_to_first();
    while it.valid() {
        out.push(format!("{}={}", it.key().escape_ascii(), it.value().escape_ascii()));
        it.next();
    }
    it.status().expect("no error");
    out
}

fn reversed(mut it: Box<dyn EngineIter + '_>) -> Vec<String> {
    let mut out = Vec::new();
    it.seek_to_last();
    while it.valid() {
        out.push(format!("{}={}", it.key().escape_ascii(), it.value().escape_ascii()));
        it.prev();
    }
    it.status().expect("no error");
    out
}

fn bounds(lower: &'static str, upper: &'static str) -> IterOptions {
    IterOptions {
        lower: Some(Bytes::from_static(lower.as_bytes())),
        upper: Some(Bytes::from_static(upper.as_bytes())),
        ..IterOptions::default()
    }
}

pub(super) fn reads_what_was_written<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    assert_eq!(get(e, "a"), None);
    put(e, "a", "1");
    put(e, "a", "2");
    put(e, "", "the empty key");
    assert_eq!(get(e, "a").as_deref(), Some("2"));
    assert_eq!(get(e, "").as_deref(), Some("the empty key"));
    e.write(&batch(&[("a", None)])).expect("delete");
    assert_eq!(get(e, "a"), None);
}

pub(super) fn a_batch_is_ordered<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    e.write(&batch(&[("a", Some("1")), ("a", Some("2")), ("b", Some("1")), ("b", None)])).expect("write");
    assert_eq!(get(e, "a").as_deref(), Some("2"));
    assert_eq!(get(e, "b"), None);
    let mut b = batch(&[("c", Some("1")), ("e", Some("1"))]);
    b.delete_range(Cf::Data, b"a", b"d");
    b.put(Cf::Data, b"b", b"after");
    e.write(&b).expect("write");
    assert_eq!(all_of(e.iter(Cf::Data, IterOptions::default())), ["b=after", "e=1"]);
}

pub(super) fn families_are_apart<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    let mut b = WriteBatch::new();
    for cf in Cf::ALL {
        b.put(cf, b"k", cf.name().as_bytes());
    }
    b.delete_range(Cf::Record, b"a", b"z");
    e.write(&b).expect("write");
    for cf in Cf::ALL {
        let expected = (cf != Cf::Record).then(|| Bytes::from_static(cf.name().as_bytes()));
        assert_eq!(e.get(cf, b"k").expect("get"), expected, "{cf:?}");
    }
}

pub(super) fn iterates_within_bounds<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    for k in ["a", "b", "c", "d"] {
        put(e, k, "1");
    }
    e.flush().expect("flush");
    e.write(&batch(&[("c", None), ("bb", Some("2"))])).expect("write");
    assert_eq!(all_of(e.iter(Cf::Data, bounds("b", "d"))), ["b=1", "bb=2"]);
    assert_eq!(reversed(e.iter(Cf::Data, bounds("b", "d"))), ["bb=2", "b=1"]);
    assert_eq!(all_of(e.iter(Cf::Data, IterOptions::default())), ["a=1", "b=1", "bb=2", "d=1"]);
    assert_eq!(reversed(e.iter(Cf::Data, IterOptions::default())), ["d=1", "bb=2", "b=1", "a=1"]);
    assert!(all_of(e.iter(Cf::Data, bounds("x", "z"))).is_empty());
    assert!(reversed(e.iter(Cf::Data, bounds("x", "z"))).is_empty());
}

pub(super) fn seeks_both_ways<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    for k in ["a", "c", "e", "g"] {
        put(e, k, "1");
    }
    let mut it = e.iter(Cf::Data, bounds("b", "f"));
    let at = |it: &dyn EngineIter| it.valid().then(|| it.key().escape_ascii().to_string());
    for (key, at_or_after, at_or_before) in [
        ("a", Some("c"), None),
        ("c", Some("c"), Some("c")),
        ("d", Some("e"), Some("c")),
        ("f", None, Some("e")),
        ("z", None, Some("e")),
    ] {
        it.seek(key.as_bytes());
        assert_eq!(at(&*it).as_deref(), at_or_after, "seek {key}");
        it.seek_for_prev(key.as_bytes());
        assert_eq!(at(&*it).as_deref(), at_or_before, "seek_for_prev {key}");
    }
    it.seek(b"c");
    it.next();
    it.prev();
    assert_eq!(at(&*it).as_deref(), Some("c"), "a cursor turns round");
    it.prev();
    assert_eq!(at(&*it), None, "the lower bound holds");
}

pub(super) fn range_deletion_hides_the_range_only<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    for k in ["a", "b", "c", "d"] {
        put(e, k, "1");
    }
    let mut b = WriteBatch::new();
    b.delete_range(Cf::Data, b"b", b"d");
    e.write(&b).expect("write");
    assert_eq!(all_of(e.iter(Cf::Data, IterOptions::default())), ["a=1", "d=1"]);
    put(e, "c", "again");
    assert_eq!(all_of(e.iter(Cf::Data, IterOptions::default())), ["a=1", "c=again", "d=1"]);
}

pub(super) fn a_snapshot_sees_one_moment<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    e.write(&batch(&[("a", Some("1")), ("b", Some("1"))])).expect("write");
    let before = e.snapshot();
    e.write(&batch(&[("a", Some("2")), ("b", None), ("c", Some("2"))])).expect("write");
    e.flush().expect("flush");
    put(e, "a", "3");
    assert_eq!(get(&*before, "a").as_deref(), Some("1"));
    assert_eq!(get(&*before, "b").as_deref(), Some("1"));
    assert_eq!(all_of(before.iter(Cf::Data, IterOptions::default())), ["a=1", "b=1"]);
    drop(before);
    assert_eq!(all_of(e.iter(Cf::Data, IterOptions::default())), ["a=3", "c=2"]);
}

pub(super) fn an_iterator_sees_one_moment<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    for k in ["a", "b", "c"] {
        put(e, k, "1");
    }
    let mut it = e.iter(Cf::Data, IterOptions::default());
    it.seek_to_first();
    let mut b = batch(&[("b", Some("2")), ("c", None), ("d", Some("2"))]);
    b.delete_range(Cf::Data, b"a", b"b");
    e.write(&b).expect("write");
    e.flush().expect("flush");
    put(e, "b", "3");
    assert_eq!(all_of(it), ["a=1", "b=1", "c=1"]);
}

pub(super) fn a_crash_loses_what_was_not_flushed<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    put(c.engine(), "a", "1");
    let c = c.crash();
    assert_eq!(all_of(c.engine().iter(Cf::Data, IterOptions::default())), [""; 0]);
}

pub(super) fn a_crash_keeps_what_was_flushed<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let mut b = batch(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    b.put(Cf::State, b"applied", b"1");
    c.engine().write(&b).expect("write");
    c.engine().flush().expect("flush");
    let mut b = batch(&[("a", Some("2")), ("b", None)]);
    b.put(Cf::State, b"applied", b"2");
    b.delete_range(Cf::Data, b"c", b"d");
    c.engine().write(&b).expect("write");
    let c = c.crash();
    assert_eq!(all_of(c.engine().iter(Cf::Data, IterOptions::default())), ["a=1", "b=1", "c=1"]);
    assert_eq!(all_of(c.engine().iter(Cf::State, IterOptions::default())), ["applied=1"]);
}

pub(super) fn writes_again_after_a_crash<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    put(c.engine(), "a", "1");
    c.engine().flush().expect("flush");
    put(c.engine(), "a", "lost");
    let c = c.crash();
    put(c.engine(), "b", "2");
    c.engine().flush().expect("flush");
    put(c.engine(), "c", "lost");
    let c = c.crash();
    assert_eq!(all_of(c.engine().iter(Cf::Data, IterOptions::default())), ["a=1", "b=2"]);
}

pub(super) fn get_durable_sees_what_would_survive<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    put(e, "a", "1");
    assert_eq!(e.get_durable(Cf::Data, b"a").expect("get"), None);
    e.flush().expect("flush");
    put(e, "a", "2");
    put(e, "b", "2");
    assert_eq!(e.get_durable(Cf::Data, b"a").expect("get").as_deref(), Some(&b"1"[..]));
    assert_eq!(e.get_durable(Cf::Data, b"b").expect("get"), None);
    e.flush().expect("flush");
    e.write(&batch(&[("a", None)])).expect("write");
    assert_eq!(e.get_durable(Cf::Data, b"a").expect("get").as_deref(), Some(&b"2"[..]));
    e.flush().expect("flush");
    assert_eq!(e.get_durable(Cf::Data, b"a").expect("get"), None);
}

pub(super) fn unflushed_bytes_grow_and_fall<C: Crashable>(make: impl Fn() -> C) {
    let c = make();
    let e = c.engine();
    let empty = e.unflushed_bytes();
    let mut b = WriteBatch::new();
    b.put(Cf::Data, b"k", &vec![7; 1 << 20]);
    e.write(&b).expect("write");
    assert!(e.unflushed_bytes() >= empty + (1 << 20), "{} after {empty}", e.unflushed_bytes());
    e.flush().expect("flush");
    assert!(e.unflushed_bytes() < 1 << 20, "{}", e.unflushed_bytes());
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
    Flush,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12u8, any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
        3 => (0..12u8).prop_map(Step::Delete),
        1 => (0..12u8, 1..6u8).prop_map(|(k, n)| Step::DeleteRange(k, k + n)),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ]
}

/// Random steps, and after each of them the same content as in a map with a flushed copy.
pub(super) fn behaves_as_a_map<C: Crashable>(make: impl Fn() -> C) {
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        let mut c = make();
        let mut now = BTreeMap::new();
        let mut flushed = BTreeMap::new();
        for step in steps {
            let mut b = WriteBatch::new();
            match step {
                Step::Put(k, v) => {
                    b.put(Cf::Lock, &[k], &[v]);
                    now.insert(k, v);
                }
                Step::Delete(k) => {
                    b.delete(Cf::Lock, &[k]);
                    now.remove(&k);
                }
                Step::DeleteRange(from, to) => {
                    b.delete_range(Cf::Lock, &[from], &[to]);
                    now.retain(|k, _| !(from..to).contains(k));
                }
                Step::Flush => {
                    c.engine().flush().expect("flush");
                    flushed = now.clone();
                }
                Step::Crash => {
                    c = c.crash();
                    now = flushed.clone();
                }
            }
            c.engine().write(&b).expect("write");
            let mut it = c.engine().iter(Cf::Lock, IterOptions::default());
            it.seek_to_first();
            for (k, v) in &now {
                prop_assert!(it.valid());
                prop_assert_eq!((it.key(), it.value()), (&[*k][..], &[*v][..]));
                it.next();
            }
            prop_assert!(!it.valid());
            it.seek_to_last();
            for (k, v) in now.iter().rev() {
                prop_assert!(it.valid());
                prop_assert_eq!((it.key(), it.value()), (&[*k][..], &[*v][..]));
                it.prev();
            }
            prop_assert!(!it.valid());
        }
    });
}
