//! Where a transaction may have left intents: key by key while they are few, in spans when they are many.
//!
//! A transaction that writes a million rows can neither keep a list of them nor send one. What must stay true: every key that
//! was added is in the set. The set may hold more, between keys: whoever looks there asks for the transaction's own.

use std::collections::BTreeSet;

use meridian_storage::base::{Key, Span};

/// Beyond so many keys, the set is condensed to spans.
const KEYS: usize = if cfg!(test) { 3 } else { 4096 };
/// To at most so many.
const SPANS: usize = if cfg!(test) { 4 } else { 64 };

/// Whether a key is in a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Known {
    No,
    /// It lies where many are.
    Perhaps,
    Yes,
}

#[derive(Clone, Default, Debug)]
pub(super) struct IntentSet {
    keys: BTreeSet<Key>,
    /// In order, without overlaps.
    spans: Vec<Span>,
}

impl IntentSet {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.spans.is_empty()
    }

    /// Those that are known one by one.
    pub fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    /// Where the others are.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether the key is among those that are not known one by one, or may be.
    pub fn is_in_span(&self, key: &[u8]) -> bool {
        let after = self.spans.partition_point(|s| *s.start <= *key);
        after > 0 && self.spans[after - 1].contains(key)
    }

    pub fn find(&self, key: &Key) -> Known {
        match self.is_in_span(key) {
            _ if self.keys.contains(key) => Known::Yes,
            true => Known::Perhaps,
            false => Known::No,
        }
    }

    /// Whether anything in the span is in the set, or may be.
    pub fn meets(&self, span: &Span) -> bool {
        let after = self.spans.partition_point(|s| s.end <= span.start);
        let in_spans = self.spans.get(after).is_some_and(|s| s.start < span.end);
        let from = || self.keys.range::<Key, _>(&span.start..);
        in_spans || from().next().is_some_and(|key| *key < span.end)
    }

    /// Adds another set.
    pub fn absorb(&mut self, other: IntentSet) {
        if !other.spans.is_empty() {
            self.spans.extend(other.spans);
            self.spans = condense(std::mem::take(&mut self.spans));
        }
        self.add(other.keys.iter());
    }

    /// Adds keys in ascending order. True: the set is condensed now.
    pub fn add<'k>(&mut self, keys: impl ExactSizeIterator<Item = &'k Key>) -> bool {
        if self.keys.len() + keys.len() <= KEYS {
            self.keys.extend(keys.filter(|key| !self.is_in_span(key)).cloned().collect::<Vec<_>>());
            return false;
        }
        let own = std::mem::take(&mut self.keys);
        let mut all = std::mem::take(&mut self.spans);
        all.extend(own.into_iter().chain(keys.cloned()).map(Span::point));
        self.spans = condense(all);
        true
    }
}

/// Merges spans until they are few: neighbours that are most alike first, so that what lies between tables, or between
/// indexes, is not covered as long as anything else can be.
fn condense(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.start.cmp(&b.start));
    let mut by_likeness: Vec<usize> = Vec::new();
    for pair in spans.windows(2) {
        let likeness = likeness(&pair[0].start, &pair[1].start);
        if by_likeness.len() <= likeness {
            by_likeness.resize(likeness + 1, 0);
        }
        by_likeness[likeness] += 1;
    }
    // The least likeness at which neighbours must be merged.
    let mut left = spans.len();
    let mut least = by_likeness.len();
    while left > SPANS && least > 0 {
        least -= 1;
        left -= by_likeness[least];
    }
    let mut merged: Vec<Span> = Vec::with_capacity(left);
    let mut before: Option<Key> = None;
    for span in spans {
        let alike = before.as_ref().is_some_and(|b| likeness(b, &span.start) >= least);
        before = Some(span.start.clone());
        match merged.last_mut() {
            Some(last) if alike || span.start <= last.end => {
                if span.end > last.end {
                    last.end = span.end;
                }
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// How many bytes two keys have in common at their beginning.
fn likeness(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(table: &str, n: usize) -> Vec<Key> {
        (0..n).map(|i| Key::copy_from(format!("{table}/{i:08}").as_bytes())).collect()
    }

    #[test]
    fn few_keys_are_known_one_by_one() {
        let mut set = IntentSet::default();
        assert!(!set.add(keys("a", 2).iter()));
        assert!(!set.add(keys("a", 1).iter()));
        assert_eq!((set.keys().len(), set.spans().len()), (2, 0));
    }

    #[test]
    fn many_keys_become_few_spans_that_hold_all_of_them_and_no_other_table() {
        let (mut set, tables) = (IntentSet::default(), ["a", "b/1", "b/2", "d"]);
        for part in 0..10 {
            for table in tables {
                let all = keys(table, 20_000);
                set.add(all[part * 2000..(part + 1) * 2000].iter());
            }
        }
        for table in tables {
            for key in keys(table, 20_000) {
                assert!(set.is_in_span(&key) || set.keys().contains(&key), "{key:?}");
            }
        }
        assert!(set.spans().len() <= SPANS && set.keys().len() <= KEYS);
        for other in ["a", "b", "b/1/1", "b/2/x", "c/1", "d/1", "e"] {
            assert!(!set.is_in_span(other.as_bytes()), "{other}");
        }
    }
}
