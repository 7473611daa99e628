//! The transaction's writes that have not committed: buffered here, or spilled into replicated intents.
//!
//! It lies on top of everything else: a read asks it first, and only what it does not know goes to the ranges.
//! Savepoints are positions in an undo log, which is kept only while there are savepoints.
//!
//! What must stay true:
//! - A key's value is the buffered one if there is one, else that of the transaction's intent if it is live.
//! - For a key that is about to be spilled again, an undo entry that says "as spilled" is replaced by the value
//!   first: afterwards nobody knows it any more.
//! - Keys that were spilled in great number are known only as spans ([`IntentSet`]). A key there may have an intent of this
//!   transaction or not: where a savepoint needs its value, that is read, and written again when going back.
//! - A spilled key stays in `spilled` until the transaction ends: whoever cleans up must look there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span, keys};

use super::intents::IntentSet;
use super::spills::{Moments, SinceMoment};
use crate::rpc::Write;

/// A point that the transaction's writes can be rolled back to.
/// Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Savepoint(u64);

/// What a key was before a write.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Before {
    /// Not written by this transaction.
    Untouched,
    Buffered(Option<Bytes>),
    /// In an intent, whose value was not overwritten since.
    Spilled,
    /// As the last, or not written: it lies where many were spilled.
    PerhapsSpilled,
}

#[derive(Default)]
pub(super) struct WriteBuffer {
    /// Shared with those who keep what there was at a moment; copied when it changes while they do.
    writes: Arc<BTreeMap<Key, Option<Bytes>>>,
    bytes: usize,
    /// Every key that may have an intent, for cleaning up.
    spilled: IntentSet,
    /// Of these, the ones whose intent holds what the transaction has written; but for those known only as spans.
    live: BTreeSet<Key>,
    /// Whether this attempt has written what is known only as spans.
    live_spans: bool,
    /// Of these, the ones whose intents were rolled back and are still there.
    void: BTreeSet<Key>,
    undo: Vec<(Key, Before)>,
    /// Each with the length of the undo log when it was made.
    savepoints: Vec<(Savepoint, usize)>,
    next_savepoint: u64,
    undone_over_intents: u64,
    /// They are told of what is spilled.
    moments: Moments,
}

impl WriteBuffer {
    /// The buffered value: `Some(None)` is a deletion.
    pub fn get(&self, key: &Key) -> Option<Option<Bytes>> {
        self.writes.get(key).cloned()
    }

    pub fn put(&mut self, key: Key, value: Option<Bytes>) {
        let size = size_of(&key, &value);
        let before = self.writes_mut().insert(key.clone(), value);
        if let Some(old) = &before {
            self.bytes -= size_of(&key, old);
        }
        self.bytes += size;
        if !self.savepoints.is_empty() {
            let before = match before {
                Some(value) => Before::Buffered(value),
                None if self.live.contains(&key) => Before::Spilled,
                None if self.spilled.is_in_span(&key) => Before::PerhapsSpilled,
                None => Before::Untouched,
            };
            self.undo.push((key, before));
        }
    }

    /// The buffered writes in a span, in order.
    pub fn in_span(&self, span: &Span) -> Vec<Write> {
        let bounds = (Bound::Included(&span.start), Bound::Excluded(&span.end));
        self.writes.range::<Key, _>(bounds).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn writes_mut(&mut self) -> &mut BTreeMap<Key, Option<Bytes>> {
        Arc::make_mut(&mut self.writes)
    }

    /// All that is written, as it is now.
    pub fn moment(&mut self) -> Arc<SinceMoment> {
        self.moments.take(&self.writes)
    }

    pub fn writes(&self) -> Vec<Write> {
        self.writes.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The buffered writes to what is not the system's.
    pub fn writes_in_tables(&self) -> Vec<Write> {
        let tables = Key::copy_from(&[keys::TABLE]);
        self.writes.range(tables..).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    pub fn first_in_tables(&self) -> Option<Key> {
        let tables = Key::copy_from(&[keys::TABLE]);
        self.writes.range(tables..).next().map(|(k, _)| k.clone())
    }

    /// First and last buffered key.
    pub fn extent(&self) -> Option<(Key, Key)> {
        let (first, _) = self.writes.first_key_value()?;
        let (last, _) = self.writes.last_key_value()?;
        Some((first.clone(), last.clone()))
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether anything is buffered or spilled.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.live.is_empty() && !self.live_spans
    }

    /// Whether it is known to have written the key.
    pub fn wrote(&self, key: &Key) -> bool {
        self.writes.contains_key(key) || self.live.contains(key)
    }

    // ----- savepoints -----

    pub fn savepoint(&mut self) -> Savepoint {
        let savepoint = Savepoint(self.next_savepoint);
        self.next_savepoint += 1;
        self.savepoints.push((savepoint, self.undo.len()));
        savepoint
    }

    pub fn has_savepoints(&self) -> bool {
        !self.savepoints.is_empty()
    }

    /// Undoes all writes since; the savepoint stays, later ones are gone.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        let Some(at) = self.savepoints.iter().position(|(s, _)| *s == savepoint) else { return };
        self.savepoints.truncate(at + 1);
        if planted::is(Planted::SavepointKeepsWrites) {
            return;
        }
        let keep = self.savepoints[at].1;
        self.moments.rollback_to(savepoint);
        while self.undo.len() > keep {
            if let Some((key, before)) = self.undo.pop() {
                self.restore(key, before);
            }
        }
    }

    pub fn release(&mut self, savepoint: Savepoint) {
        if let Some(at) = self.savepoints.iter().position(|(s, _)| *s == savepoint) {
            self.savepoints.truncate(at);
            self.moments.release(savepoint, self.savepoints.last().map(|(s, _)| *s));
        }
        if self.savepoints.is_empty() {
            self.undo.clear();
        }
    }

    fn restore(&mut self, key: Key, before: Before) {
        let old = match before {
            Before::Buffered(value) => {
                if self.live.contains(&key) || self.spilled.is_in_span(&key) {
                    self.undone_over_intents += 1;
                }
                self.bytes += size_of(&key, &value);
                self.writes_mut().insert(key.clone(), value)
            }
            Before::Untouched => {
                if self.live.remove(&key) || self.spilled.is_in_span(&key) {
                    self.void.insert(key.clone());
                }
                self.writes_mut().remove(&key)
            }
            Before::Spilled | Before::PerhapsSpilled => self.writes_mut().remove(&key),
        };
        if let Some(old) = old {
            self.bytes -= size_of(&key, &old);
        }
    }

    // ----- spilling -----

    pub fn spilled(&self) -> &IntentSet {
        &self.spilled
    }

    /// Counts values that were put back over an intent with a later one: whoever reads the ranges without today's buffer
    /// would meet what was rolled back.
    pub fn undone_over_intents(&self) -> u64 {
        self.undone_over_intents
    }

    pub fn has_spilled(&self) -> bool {
        !self.spilled.is_empty()
    }

    /// These keys may have intents from now on.
    pub fn note_spilling(&mut self, writes: &[Write]) {
        if self.spilled.add(writes.iter().map(|(key, _)| key)) {
            self.live.clear();
            self.live_spans = true;
        }
        for (key, _) in writes {
            if self.spilled.is_in_span(key) {
                self.live_spans = true;
            } else {
                self.live.insert(key.clone());
            }
            self.void.remove(key);
        }
    }

    /// Before that: tells the moments that are read at.
    pub fn note_for_moments(&mut self, writes: &[Write]) {
        if !self.moments.is_empty() {
            self.moments.note(writes, &self.savepoints, self.undo.iter().map(|(key, _)| key));
        }
    }

    /// The intents stand: the buffer need not hold these writes any more, unless they were overwritten meanwhile.
    pub fn note_spilled(&mut self, writes: &[Write]) {
        for (key, value) in writes {
            if self.writes.get(key) == Some(value) {
                self.writes_mut().remove(key);
                self.bytes -= size_of(key, value);
            }
        }
    }

    /// Keys whose intents must not be seen any more, to be removed before anything else is read.
    pub fn void(&self) -> &BTreeSet<Key> {
        &self.void
    }

    pub fn has_void(&self) -> bool {
        !self.void.is_empty()
    }

    pub fn note_removed(&mut self, keys: &[Key]) {
        for key in keys {
            self.void.remove(key);
        }
    }

    /// Buffered keys whose intent's value a savepoint still needs, before they are spilled again.
    pub fn needed_before_spilling(&self) -> Vec<Key> {
        let needed = |(k, b): &&(Key, Before)| is_spilled(b) && self.writes.contains_key(k);
        let needed: BTreeSet<&Key> = self.undo.iter().filter(needed).map(|(k, _)| k).collect();
        needed.into_iter().cloned().collect()
    }

    /// What [`needed_before_spilling`](Self::needed_before_spilling) asked for.
    pub fn remember(&mut self, values: &BTreeMap<Key, Option<Bytes>>) {
        for (key, before) in self.undo.iter_mut().filter(|(_, b)| is_spilled(b)) {
            if let Some(value) = values.get(key) {
                *before = Before::Buffered(value.clone());
            }
        }
    }

    /// A new attempt of the transaction: nothing is written, but the old attempt's intents are still to be cleaned.
    pub fn restart(&mut self) {
        self.writes = Arc::default();
        self.bytes = 0;
        // Those in spans are left until the end: intents of earlier attempts count for nothing.
        self.void = self.spilled.keys().clone();
        self.live.clear();
        self.live_spans = false;
        self.undo.clear();
        self.savepoints.clear();
        self.moments = Moments::default();
    }
}

fn is_spilled(before: &Before) -> bool {
    matches!(before, Before::Spilled | Before::PerhapsSpilled)
}

fn size_of(key: &Key, value: &Option<Bytes>) -> usize {
    key.len() + value.as_ref().map_or(0, Bytes::len) + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(s: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(s.as_bytes()))
    }

    fn key(s: &str) -> Key {
        s.into()
    }

    #[test]
    fn nested_savepoints_restore_each_state() {
        let mut b = WriteBuffer::default();
        b.put(key("a"), value("1"));
        let outer = b.savepoint();
        b.put(key("a"), value("2"));
        b.put(key("b"), value("2"));
        let inner = b.savepoint();
        b.put(key("a"), None);
        b.put(key("c"), value("3"));
        b.rollback_to(inner);
        assert_eq!(b.writes(), [(key("a"), value("2")), (key("b"), value("2"))]);
        b.put(key("c"), value("4"));
        b.rollback_to(outer);
        assert_eq!(b.writes(), [(key("a"), value("1"))]);
        b.put(key("a"), value("5"));
        b.release(outer);
        b.rollback_to(outer);
        assert_eq!(b.writes(), [(key("a"), value("5"))], "a released savepoint cannot be rolled back to");
        assert_eq!(b.bytes(), 66);
    }

    #[test]
    fn rolled_back_intents_are_void_or_rewritten() {
        let mut b = WriteBuffer::default();
        b.put(key("a"), value("1"));
        let writes = b.writes();
        b.note_spilling(&writes);
        b.note_spilled(&writes);
        assert_eq!((b.get(&key("a")), b.bytes()), (None, 0));
        let sp = b.savepoint();
        b.put(key("a"), value("2"));
        b.put(key("b"), value("2"));
        assert_eq!(b.needed_before_spilling(), [key("a")]);
        b.remember(&BTreeMap::from([(key("a"), value("1"))]));
        let writes = b.writes();
        b.note_spilling(&writes);
        b.note_spilled(&writes);
        b.rollback_to(sp);
        assert_eq!(b.writes(), [(key("a"), value("1"))], "is written again over the newer intent");
        assert_eq!(b.void(), &BTreeSet::from([key("b")]));
        b.put(key("b"), value("3"));
        b.rollback_to(sp);
        assert_eq!(b.void(), &BTreeSet::from([key("b")]));
        b.note_removed(&[key("b")]);
        assert!(!b.has_void() && !b.wrote(&key("b")));
    }

    /// What an intent once said must not come back when the key is written and rolled back again.
    #[test]
    fn a_removed_intent_is_as_if_never_written() {
        let mut b = WriteBuffer::default();
        let sp = b.savepoint();
        b.put(key("a"), value("1"));
        let writes = b.writes();
        b.note_spilling(&writes);
        b.note_spilled(&writes);
        b.rollback_to(sp);
        b.note_removed(&[key("a")]);
        b.put(key("a"), value("2"));
        assert!(b.needed_before_spilling().is_empty());
        b.rollback_to(sp);
        assert!(b.is_empty() && !b.has_void());
        assert_eq!(b.spilled().keys().len(), 1, "cleaning up still looks there");
    }
}
