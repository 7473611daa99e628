//! Latches: the short exclusion between requests that are being evaluated or replicated on one range.
//!
//! A writer holds latches over the keys that it writes from before it looks at the timestamp cache until its command
//! is applied. What must stay true:
//!
//! - **Order.** A request enters all its latches in one step and waits for every conflicting one that entered before
//!   it. So requests are served in the order of their arrival wherever they conflict, and cannot deadlock.
//! - **Release.** Dropping a [`LatchGuard`] gives its latches up, whether they were granted or still waited for.
//! - **Reads hold no latches.** A read raises the timestamp cache first and then asks [`Latches::writer_below`]: a
//!   writer that had looked at the cache before is still there (and is waited for) or has been applied; a writer that
//!   looks later goes above the read. This is why a granted latch must become visible before its holder looks at the
//!   timestamp cache, and must stay until its writes can be read.
//!
//! Two reading latches never conflict. They exist for what must exclude writers while it holds latches itself:
//! the validation of a transaction's reads together with its commit. A *non-locking* read never takes one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use meridian_storage::base::{Key, Timestamp};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::signal::Signal;
use crate::eval::{Access, LatchSpan};

/// One request's presence in [`Latches`].
pub struct Latch {
    /// Arrival order.
    id: u64,
    spans: SmallVec<[LatchSpan; 2]>,
    /// A lower bound of the timestamp of what the holder writes (wall part).
    writes_at: AtomicU64,
    granted: AtomicBool,
    released: Signal,
}

impl Latch {
    /// Resolves when the holder has given up its latches.
    pub async fn released(&self) {
        self.released.wait().await;
    }
}

/// The latches of one range.
#[derive(Default)]
pub struct Latches {
    inner: Mutex<Inner>,
    /// How many requests are present; lets a read find out without the mutex that there is nobody.
    present: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// Single keys, the usual case, by key; each list in order of arrival.
    points: BTreeMap<Key, SmallVec<[Arc<Latch>; 1]>>,
    /// Requests that latch at least one true range. Few at any time.
    ranges: Vec<Arc<Latch>>,
}

/// Latches that are entered and not yet given up.
pub struct LatchGuard {
    owner: Arc<Latches>,
    latch: Arc<Latch>,
}

impl Latches {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Enters the latches. The guard is returned at once, with the earlier requests that must be waited for:
    /// [`Latches::acquire`] does that. Without any, the latches are held.
    fn enter(
        self: &Arc<Self>,
        spans: SmallVec<[LatchSpan; 2]>,
        at: Timestamp,
    ) -> (LatchGuard, Vec<Arc<Latch>>) {
        let mut inner = self.inner.lock();
        let mut before: Vec<Arc<Latch>> = Vec::new();
        for span in &spans {
            inner.conflicting(span, &mut |latch| {
                if !before.iter().any(|b| b.id == latch.id) {
                    before.push(latch.clone());
                }
            });
        }
        let latch = Arc::new(Latch {
            id: inner.next,
            spans,
            writes_at: AtomicU64::new(at.wall),
            granted: AtomicBool::new(before.is_empty()),
            released: Signal::default(),
        });
        inner.next += 1;
        inner.insert(&latch);
        self.present.fetch_add(1, Ordering::SeqCst);
        (LatchGuard { owner: self.clone(), latch }, before)
    }

    /// Takes the latches, after every conflicting request that came earlier.
    pub async fn acquire(
        self: &Arc<Self>,
        spans: impl IntoIterator<Item = LatchSpan>,
        at: Timestamp,
    ) -> LatchGuard {
        let (guard, before) = self.enter(spans.into_iter().collect(), at);
        for earlier in before {
            earlier.released.wait().await;
        }
        guard.latch.granted.store(true, Ordering::SeqCst);
        guard
    }

    /// Takes the latches if nothing is in the way.
    pub fn try_acquire(
        self: &Arc<Self>,
        spans: impl IntoIterator<Item = LatchSpan>,
        at: Timestamp,
    ) -> Option<LatchGuard> {
        let (guard, before) = self.enter(spans.into_iter().collect(), at);
        before.is_empty().then_some(guard)
    }

    /// A request that holds a writing latch over any of these keys and may write at or below `at`.
    ///
    /// `end` is `None` for a single key. The caller must have raised the timestamp cache before.
    pub fn writer_below(&self, start: &[u8], end: Option<&Key>, at: Timestamp) -> Option<Arc<Latch>> {
        if self.present.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let matters =
            |l: &Latch| l.granted.load(Ordering::SeqCst) && l.writes_at.load(Ordering::SeqCst) <= at.wall;
        let inner = self.inner.lock();
        let writes = |l: &Latch| {
            l.spans.iter().any(|s| s.access == Access::Write && s.overlaps(start, end)) && matters(l)
        };
        if let Some(found) = inner.ranges.iter().find(|l| writes(l)) {
            return Some(found.clone());
        }
        match end {
            None => inner.points.get(start).and_then(|list| list.iter().find(|l| writes(l)).cloned()),
            Some(end) if start < end.as_bytes() => inner
                .points
                .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(&**end)))
                .find_map(|(_, list)| list.iter().find(|l| writes(l)).cloned()),
            Some(_) => None,
        }
    }

    /// How many requests hold or await latches.
    pub fn len(&self) -> usize {
        self.present.load(Ordering::SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    /// Calls `f` for each request present that conflicts with `span`.
    fn conflicting(&self, span: &LatchSpan, f: &mut impl FnMut(&Arc<Latch>)) {
        let conflicts = |latch: &Latch| latch.spans.iter().any(|s| s.conflicts(span));
        for latch in self.ranges.iter().filter(|l| conflicts(l)) {
            f(latch);
        }
        match &span.end {
            None => {
                for latch in self.points.get(&span.start).into_iter().flatten().filter(|l| conflicts(l)) {
                    f(latch);
                }
            }
            Some(end) if span.start < *end => {
                for (_, list) in self.points.range(span.start.clone()..end.clone()) {
                    for latch in list.iter().filter(|l| conflicts(l)) {
                        f(latch);
                    }
                }
            }
            Some(_) => {}
        }
    }

    fn insert(&mut self, latch: &Arc<Latch>) {
        let mut ranged = false;
        for span in &latch.spans {
            match span.end {
                Some(_) => ranged = true,
                None => {
                    let list = self.points.entry(span.start.clone()).or_default();
                    // A request may name a key twice.
                    if list.last().is_none_or(|last| last.id != latch.id) {
                        list.push(latch.clone());
                    }
                }
            }
        }
        if ranged {
            self.ranges.push(latch.clone());
        }
    }

    fn remove(&mut self, latch: &Latch) {
        for span in &latch.spans {
            if span.end.is_none()
                && let Some(list) = self.points.get_mut(&span.start)
            {
                list.retain(|l| l.id != latch.id);
                if list.is_empty() {
                    self.points.remove(&span.start);
                }
            }
        }
        if latch.spans.iter().any(|s| s.end.is_some()) {
            self.ranges.retain(|l| l.id != latch.id);
        }
    }
}

impl LatchGuard {
    /// The holder will write nothing below `at`: reads below it need not wait.
    pub fn writes_at(&self, at: Timestamp) {
        self.latch.writes_at.fetch_max(at.wall, Ordering::SeqCst);
    }
}

impl Drop for LatchGuard {
    fn drop(&mut self) {
        self.owner.inner.lock().remove(&self.latch);
        self.owner.present.fetch_sub(1, Ordering::SeqCst);
        self.latch.released.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use meridian_storage::base::Span;

    fn ts(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    fn key(k: &str) -> LatchSpan {
        LatchSpan::write_key(k.into())
    }

    #[test]
    fn later_requests_wait_for_earlier_ones_even_if_those_still_wait() {
        let latches = Latches::new();
        let a = latches.try_acquire([key("a")], ts(1)).expect("free");
        let mut b = Box::pin(latches.acquire([key("a"), key("b")], ts(1)));
        assert!((&mut b).now_or_never().is_none());
        // "b" is not held by anybody, but it is promised to the second request.
        assert!(latches.try_acquire([key("b")], ts(1)).is_none());
        let mut c = Box::pin(latches.acquire([LatchSpan::write(&Span::new("a".into(), "z".into()))], ts(1)));
        assert!((&mut c).now_or_never().is_none());
        drop(a);
        let held = (&mut b).now_or_never().expect("granted");
        assert!((&mut c).now_or_never().is_none());
        drop(held);
        assert!(c.now_or_never().is_some());
        assert!(latches.is_empty());
    }

    #[test]
    fn a_waiter_that_is_dropped_leaves_nothing_behind() {
        let latches = Latches::new();
        let a = latches.try_acquire([key("a")], ts(1)).expect("free");
        let mut b = Box::pin(latches.acquire([key("a")], ts(1)));
        assert!((&mut b).now_or_never().is_none());
        drop(b);
        drop(a);
        assert!(latches.is_empty());
        assert!(latches.try_acquire([key("a")], ts(1)).is_some());
    }

    #[test]
    fn a_read_sees_writers_that_hold_at_or_below_its_timestamp() {
        let latches = Latches::new();
        let guard = latches.try_acquire([key("a")], ts(5)).expect("free");
        let end: Key = "c".into();
        assert!(latches.writer_below(b"a", None, ts(5)).is_some());
        assert!(latches.writer_below(b"a", None, ts(4)).is_none());
        assert!(latches.writer_below(b"b", None, ts(9)).is_none());
        assert!(latches.writer_below(b"", Some(&end), ts(9)).is_some());
        guard.writes_at(ts(8));
        assert!(latches.writer_below(b"a", None, ts(7)).is_none());
        // A writer that still waits has not looked at the timestamp cache: it will go above.
        let mut later = Box::pin(latches.acquire([key("a")], ts(1)));
        assert!((&mut later).now_or_never().is_none());
        assert!(latches.writer_below(b"a", None, ts(7)).is_none());
        drop(guard);
        let _held = later.now_or_never().expect("granted");
        assert!(latches.writer_below(b"a", None, ts(7)).is_some());
    }

    #[test]
    fn readers_share() {
        let latches = Latches::new();
        let read = || LatchSpan::read(&Span::new("a".into(), "m".into()));
        let _one = latches.try_acquire([read()], ts(1)).expect("free");
        let _two = latches.try_acquire([read()], ts(1)).expect("shared");
        assert!(latches.try_acquire([key("b")], ts(1)).is_none());
        assert!(latches.try_acquire([key("m")], ts(1)).is_some());
        assert!(latches.writer_below(b"b", None, ts(9)).is_none());
    }
}
