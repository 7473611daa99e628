//! What a transaction has spilled since a moment that is still read at.
//!
//! The ranges know only the newest intent of a key. A read at a moment that meets one which was written after the moment
//! cannot tell what lay beneath it; whoever reads at a moment asks here whether it may have met such a one.
//!
//! Keys are kept like those of the intents themselves: one by one while they are few, in spans when they are many. They lie in
//! layers, by the savepoint after which they were last written: going back to it removes these intents, and the layer.
//!
//! What must stay true: whatever was written after the moment, was spilled and was not taken back is in a layer.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use meridian_storage::base::{Key, Span};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::Savepoint;
use super::intents::{IntentSet, Known};
use crate::rpc::Write;

/// Where the transaction wrote last, before its first savepoint or after one of them.
type Writer = Option<Savepoint>;

/// One moment's view of its transaction's writes.
pub(super) struct SinceMoment {
    /// What was buffered then.
    pub own: Arc<BTreeMap<Key, Option<Bytes>>>,
    spilled: Mutex<Spilled>,
}

#[derive(Default)]
struct Spilled {
    /// Keys that were not buffered then: reads at the moment would have to look beneath the intents.
    beneath: Layers,
    /// Keys that were, and were written once more: reads know what there was, and need not look.
    rewritten: Layers,
}

impl SinceMoment {
    /// Whether a read in the span would have to look beneath something spilled since.
    pub fn hides(&self, span: &Span) -> bool {
        self.spilled.lock().beneath.0.values().any(|set| set.meets(span))
    }

    /// Whether a key that was not buffered then was spilled since.
    pub fn spilled(&self, key: &Key) -> Known {
        self.spilled.lock().beneath.find(key)
    }

    /// Whether a key that was buffered then was spilled since with what is another write.
    pub fn rewritten(&self, key: &Key) -> Known {
        self.spilled.lock().rewritten.find(key)
    }

    fn is_untouched(&self) -> bool {
        let spilled = self.spilled.lock();
        spilled.beneath.0.is_empty() && spilled.rewritten.0.is_empty()
    }

    fn note(&self, writes: &[(Writer, &Write)]) {
        let (mut beneath, mut rewritten) = (BTreeMap::new(), BTreeMap::new());
        for (writer, (key, value)) in writes {
            let keys: &mut BTreeMap<Writer, Vec<&Key>> = match self.own.get(key) {
                None => &mut beneath,
                Some(then) if is_same_write(then, value) => continue,
                Some(_) => &mut rewritten,
            };
            keys.entry(*writer).or_default().push(key);
        }
        let mut spilled = self.spilled.lock();
        spilled.beneath.add(beneath);
        spilled.rewritten.add(rewritten);
    }
}

/// Both hold what they show: another write, even of the same value, is at another place.
pub(super) fn is_same_write(a: &Option<Bytes>, b: &Option<Bytes>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.as_ptr() == b.as_ptr(),
        (a, b) => a.is_none() && b.is_none(),
    }
}

#[derive(Default)]
struct Layers(BTreeMap<Writer, IntentSet>);

impl Layers {
    fn add(&mut self, keys: BTreeMap<Writer, Vec<&Key>>) {
        for (writer, keys) in keys {
            self.0.entry(writer).or_default().add(keys.into_iter());
        }
    }

    fn find(&self, key: &Key) -> Known {
        self.0.values().map(|set| set.find(key)).max().unwrap_or(Known::No)
    }

    fn cut(&mut self, savepoint: Savepoint) -> BTreeMap<Writer, IntentSet> {
        self.0.split_off(&Some(savepoint))
    }
}

/// The moments of a transaction that are still read at.
#[derive(Default)]
pub(super) struct Moments(Vec<Weak<SinceMoment>>);

impl Moments {
    /// Now, with these writes buffered.
    pub fn take(&mut self, writes: &Arc<BTreeMap<Key, Option<Bytes>>>) -> Arc<SinceMoment> {
        let last = self.0.last().and_then(Weak::upgrade);
        if let Some(last) = last.filter(|m| Arc::ptr_eq(&m.own, writes) && m.is_untouched()) {
            return last;
        }
        self.0.retain(|m| m.strong_count() > 0);
        let moment = Arc::new(SinceMoment { own: writes.clone(), spilled: Mutex::default() });
        self.0.push(Arc::downgrade(&moment));
        moment
    }

    /// Whether there is nobody to be told of spills.
    pub fn is_empty(&mut self) -> bool {
        self.0.retain(|m| m.strong_count() > 0);
        self.0.is_empty()
    }

    /// These are going to be spilled. `savepoints`: each with the number of the keys in `undo` that were written before it.
    pub fn note<'k>(
        &self,
        writes: &[Write],
        savepoints: &[(Savepoint, usize)],
        undo: impl Iterator<Item = &'k Key>,
    ) {
        let last: FxHashMap<&Key, usize> = undo.enumerate().map(|(n, key)| (key, n)).collect();
        let writer = |key: &Key| {
            let at = last.get(key)?;
            let after = savepoints.partition_point(|(_, before)| before <= at);
            Some(savepoints[after.checked_sub(1)?].0)
        };
        let writes: Vec<(Writer, &Write)> = writes.iter().map(|write| (writer(&write.0), write)).collect();
        self.each(|moment| moment.note(&writes));
    }

    /// What was written after the savepoint is no more.
    pub fn rollback_to(&self, savepoint: Savepoint) {
        self.each(|moment| {
            let mut spilled = moment.spilled.lock();
            spilled.beneath.cut(savepoint);
            spilled.rewritten.cut(savepoint);
        });
    }

    /// What was written after the savepoint now counts as written after `before`.
    pub fn release(&self, savepoint: Savepoint, before: Writer) {
        self.each(|moment| {
            let mut spilled = moment.spilled.lock();
            let Spilled { beneath, rewritten } = &mut *spilled;
            for layers in [beneath, rewritten] {
                for (_, set) in layers.cut(savepoint) {
                    layers.0.entry(before).or_default().absorb(set);
                }
            }
        });
    }

    fn each(&self, mut tell: impl FnMut(&SinceMoment)) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|moment| tell(&moment));
    }
}
