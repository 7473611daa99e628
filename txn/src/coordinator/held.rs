//! What a transaction holds by locks, and as of when.
//!
//! Locks are in the memory of leaseholders, and are lost with a lease. What was read under them is noted, so that the commit
//! can validate that it was not lost to anybody: rows, and the spans of scans that a lock elsewhere was to keep true
//! (a row that comes is as bad as one that goes). What others may do to a row in spite of its lock is not validated: under
//! KEY SHARE, to update it. (What they may not, to change a unique key, leaves a deletion only in that key's index: whoever
//! relies on one locks the index entry, as the checks of foreign keys do.)
//!
//! A scan that would read too much to be validated - a whole table, for the rows that refer to one that is deleted - rests on
//! the locks alone. So those that exclude KEY SHARE must not have been lost, which their ranges are asked for with the
//! writes; and whoever has lost a KEY SHARE lock finds out from the lock, or the deletion, that has taken its place. (That is
//! the one case in which locks decide whether a commit is right.)
//!
//! At SERIALIZABLE what was read is validated anyhow; rows under KEY SHARE are in here nevertheless, for the sake of those
//! below SERIALIZABLE that delete them.
//!
//! What must stay true: what was locked is in here, as of when it was locked, until the transaction's intent protects it, and
//! again when a savepoint takes the intent back: the lock stays. Nothing else is: a commit that fails must have lost
//! something.

use std::collections::{BTreeMap, BTreeSet};

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span, Timestamp};

use crate::rpc::{LockStrength, RefreshSpan, Write};

/// Among so many rows or spans, duplicates are looked for.
const MANY: usize = 4096;

#[derive(Default)]
pub(super) struct Held {
    rows: Rows,
    spans: Vec<RefreshSpan>,
    /// Rows that were among `rows` until an intent protected them, which a savepoint may take back: key, since when, and
    /// whether only their presence matters.
    written: BTreeSet<(Key, Timestamp, bool)>,
    /// How many rows and spans there were after duplicates were looked for.
    distinct: (usize, usize),
}

/// Rows that no intent protects.
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<RefreshSpan>,
    /// Which of them nobody else can hold by KEY SHARE, and a time at which that was so first, by the range's clock.
    exclusive: BTreeMap<Key, Timestamp>,
    /// Something that was scanned rests on that.
    relied_on: bool,
}

impl Rows {
    /// For requests that are made without the transaction's mutex.
    pub fn snapshot(&self) -> Rows {
        let exclusive = if self.relied_on { self.exclusive.clone() } else { BTreeMap::new() };
        Rows { rows: self.rows.clone(), exclusive, relied_on: self.relied_on }
    }

    /// Those among `writes` (ascending by key): they are validated where they are written.
    pub fn among(&self, writes: &[Write]) -> Vec<RefreshSpan> {
        if planted::is(Planted::LostUpdateBelowSerializable) {
            return Vec::new();
        }
        let mut among: Vec<RefreshSpan> =
            self.rows.iter().filter(|row| writes_row(writes, row)).cloned().collect();
        if self.relied_on {
            let locked = writes.iter().filter_map(|(key, _)| self.exclusive.get_key_value(key));
            among.extend(locked.map(|(key, since)| RefreshSpan::locked(key.clone(), *since)));
        }
        among
    }
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.rows.rows.is_empty() && self.spans.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Held::default();
    }

    /// `now`: when the lock was held, by the clock of the range.
    pub fn add_row(&mut self, key: Key, lock: LockStrength, from: Timestamp, now: Timestamp) {
        if lock == LockStrength::Update {
            self.note_exclusive(key.clone(), now);
        }
        self.push_row(key, from, lock == LockStrength::KeyShare);
    }

    /// Nobody else could hold the row by KEY SHARE at `now`, by the clock of its range.
    pub fn note_exclusive(&mut self, key: Key, now: Timestamp) {
        self.rows.exclusive.entry(key).or_insert(now);
    }

    /// Something was scanned that only the locks on what is written keep true.
    pub fn rely_on_locks(&mut self) {
        self.rows.relied_on = true;
    }

    fn push_row(&mut self, key: Key, from: Timestamp, presence: bool) {
        self.rows.rows.push(RefreshSpan { presence, ..RefreshSpan::new(Span::point(key), from) });
        // Many rows may refer to one.
        weed(&mut self.rows.rows, &mut self.distinct.0);
    }

    pub fn add_span(&mut self, span: Span, from: Timestamp) {
        self.spans.push(RefreshSpan::new(span, from));
        // A table without an index on its foreign key is scanned as a whole for every row of the other.
        weed(&mut self.spans, &mut self.distinct.1);
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Rows under KEY SHARE, in order.
    pub fn present(&self) -> Vec<RefreshSpan> {
        distinct(self.rows.rows.iter().filter(|row| row.presence).cloned().collect())
    }

    /// Nothing of [`present`](Self::present) has changed up to then.
    pub fn note_present(&mut self, to: Timestamp) {
        for row in self.rows.rows.iter_mut().filter(|row| row.presence) {
            row.from.forward(to);
        }
    }

    /// Everything but the rows that the transaction writes, in order.
    pub fn unwritten(&self, wrote: impl Fn(&Key) -> bool) -> Vec<RefreshSpan> {
        if planted::is(Planted::LostUpdateBelowSerializable) {
            return Vec::new();
        }
        let rows = self.rows.rows.iter().filter(|row| !wrote(&row.span.start));
        distinct(rows.chain(&self.spans).cloned().collect())
    }

    /// These rows have intents now; `undoable`: which a savepoint may take back.
    pub fn note_written(&mut self, writes: &[Write], undoable: bool) {
        let written = &mut self.written;
        self.rows.rows.retain(|row| {
            let unwritten = !writes_row(writes, row);
            if undoable && !unwritten {
                written.insert((row.span.start.clone(), row.from, row.presence));
            }
            unwritten
        });
        if !undoable {
            for (key, _) in writes {
                self.rows.exclusive.remove(key);
            }
        }
    }

    /// The intents of these rows are to be removed, but the locks stay.
    pub fn note_undone<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) {
        for key in keys {
            let least = (key.clone(), Timestamp::ZERO, false);
            while let Some(row) = self.written.range(&least..).next().filter(|row| row.0 == *key).cloned() {
                self.written.remove(&row);
                let (key, from, presence) = row;
                self.push_row(key, from, presence);
            }
        }
    }

    /// No savepoint is left that could take an intent back.
    pub fn note_final(&mut self) {
        for (key, ..) in std::mem::take(&mut self.written) {
            self.rows.exclusive.remove(&key);
        }
    }
}

fn writes_row(writes: &[Write], row: &RefreshSpan) -> bool {
    writes.binary_search_by(|(key, _)| key.cmp(&row.span.start)).is_ok()
}

fn weed(spans: &mut Vec<RefreshSpan>, left: &mut usize) {
    if spans.len() >= MANY.max(2 * *left) {
        *spans = distinct(std::mem::take(spans));
        *left = spans.len();
    }
}

/// Without those that another one covers, from an earlier time on.
fn distinct(mut spans: Vec<RefreshSpan>) -> Vec<RefreshSpan> {
    spans.sort_by(|a, b| {
        let in_order = (&a.span.start, a.from, a.presence).cmp(&(&b.span.start, b.from, b.presence));
        in_order.then_with(|| b.span.end.cmp(&a.span.end))
    });
    let mut kept: Vec<RefreshSpan> = Vec::with_capacity(spans.len());
    for next in spans {
        let covers = |last: &RefreshSpan| {
            last.from <= next.from && last.presence <= next.presence && last.span.contains_span(&next.span)
        };
        if !kept.last().is_some_and(covers) {
            kept.push(next);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(a: u32, b: u32) -> Span {
        Span::new(Key::copy_from(&a.to_be_bytes()), Key::copy_from(&b.to_be_bytes()))
    }

    fn at(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    #[test]
    fn a_span_is_validated_once_from_its_earliest_time() {
        let mut held = Held::default();
        held.add_span(span(0, 9), at(5));
        held.add_span(span(0, 9), at(7));
        held.add_span(span(0, 9), at(6));
        held.add_span(span(3, 4), at(8));
        held.add_span(span(3, 4), at(4));
        let from = |r: &RefreshSpan| (r.span.clone(), r.from.wall);
        let spans: Vec<(Span, u64)> = held.unwritten(|_| false).iter().map(from).collect();
        assert_eq!(spans, [(span(0, 9), 5), (span(3, 4), 4)]);
    }

    #[test]
    fn rows_are_validated_where_they_are_written_or_apart() {
        let mut held = Held::default();
        for key in ["a", "b", "c"] {
            held.add_row(key.into(), LockStrength::Update, at(1), at(1));
        }
        let writes = [(Key::from("b"), None), (Key::from("d"), None)];
        let keys = |spans: Vec<RefreshSpan>| spans.into_iter().map(|r| r.span.start).collect::<Vec<Key>>();
        assert_eq!(keys(held.rows().among(&writes)), [Key::from("b")]);
        let wrote = |key: &Key| writes.iter().any(|(k, _)| k == key);
        assert_eq!(keys(held.unwritten(wrote)), [Key::from("a"), Key::from("c")]);
        held.note_written(&writes, false);
        assert_eq!(keys(held.unwritten(|_| false)), [Key::from("a"), Key::from("c")]);
    }

    #[test]
    fn a_row_whose_intent_is_taken_back_is_held_as_before() {
        let mut held = Held::default();
        held.add_row("a".into(), LockStrength::KeyShare, at(1), at(1));
        held.add_row("a".into(), LockStrength::Update, at(5), at(5));
        held.add_row("b".into(), LockStrength::Update, at(2), at(2));
        let before = held.unwritten(|_| false);
        held.note_written(&[("a".into(), None), ("b".into(), None)], true);
        assert!(held.is_empty());
        held.note_undone([&"a".into(), &"c".into()]);
        assert_eq!(held.unwritten(|_| false), before[..2]);
        held.note_final();
        held.note_undone([&"b".into()]);
        assert_eq!(held.unwritten(|_| false), before[..2]);
    }

    #[test]
    fn a_row_that_is_held_weakly_first_may_have_been_updated_before_it_is_held_strongly() {
        let mut held = Held::default();
        held.add_row("a".into(), LockStrength::KeyShare, at(1), at(1));
        held.add_row("a".into(), LockStrength::KeyShare, at(2), at(2));
        held.add_row("a".into(), LockStrength::NoKeyUpdate, at(5), at(5));
        held.add_row("a".into(), LockStrength::KeyShare, at(6), at(6));
        let entries: Vec<(u64, bool)> =
            held.unwritten(|_| false).iter().map(|r| (r.from.wall, r.presence)).collect();
        assert_eq!(entries, [(1, true), (5, false)]);
    }

    #[test]
    fn however_often_a_table_is_scanned_it_is_validated_once() {
        let mut held = Held::default();
        for n in 0..3 * MANY as u32 {
            held.add_span(span(0, 1 << 20), at(u64::from(n)));
            held.add_span(span(1 << 20, 1 << 21), at(u64::from(n)));
        }
        assert!(held.spans.len() <= MANY);
        let from = |r: &RefreshSpan| (r.span.clone(), r.from.wall);
        let spans: Vec<(Span, u64)> = held.unwritten(|_| false).iter().map(from).collect();
        assert_eq!(spans, [(span(0, 1 << 20), 0), (span(1 << 20, 1 << 21), 0)]);
        for n in 0..3 * MANY as u32 {
            let start = (1 << 22) + 2 * n;
            held.add_span(span(start, start + 1), at(0));
        }
        assert_eq!(held.unwritten(|_| false).len(), 3 * MANY + 2, "nothing is merged with what lies between");
    }
}
