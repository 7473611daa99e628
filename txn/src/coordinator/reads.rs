//! What the transaction has read, for proving later that it has not changed.
//!
//! What must stay true: every key that was read is in the set. The set may hold more: when it grows beyond its limit,
//! neighbours are merged with what lies between them. That can make a refresh fail without need, never succeed wrongly.

use meridian_storage::base::{Key, Span};

/// A span, or a single key without the cost of naming its successor.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Read {
    Point(Key),
    Span(Span),
}

impl Read {
    fn into_span(self) -> Span {
        match self {
            Read::Point(key) => Span::point(key),
            Read::Span(span) => span,
        }
    }
}

#[derive(Clone)]
pub(super) struct SpanSet {
    reads: Vec<Read>,
    /// Beyond this many entries, the set is condensed to at most half as many.
    limit: usize,
    /// Counts condensations: positions in the list are worth nothing after one.
    generation: u64,
}

/// A position in a set, for asking what came later.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    generation: u64,
    len: usize,
}

impl SpanSet {
    pub fn new(limit: usize) -> Self {
        SpanSet { reads: Vec::new(), limit: limit.max(2), generation: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    pub fn clear(&mut self) {
        self.reads.clear();
        self.generation += 1;
    }

    pub fn add_point(&mut self, key: &Key) {
        if !matches!(self.reads.last(), Some(Read::Point(last)) if last == key) {
            self.add(Read::Point(key.clone()));
        }
    }

    pub fn add_span(&mut self, span: Span) {
        // A scan goes on where it was: grow the entry.
        if let Some(Read::Span(last)) = self.reads.last_mut()
            && last.end == span.start
        {
            self.generation += 1;
            last.end = span.end;
            return;
        }
        self.add(Read::Span(span));
    }

    fn add(&mut self, read: Read) {
        self.reads.push(read);
        if self.reads.len() > self.limit {
            self.condense();
        }
    }

    /// Everything, sorted and without overlaps.
    pub fn spans(&self) -> Vec<Span> {
        coalesce(self.reads.iter().cloned().map(Read::into_span).collect())
    }

    /// [`spans`](Self::spans), which are forgotten here.
    pub fn take(&mut self) -> Vec<Span> {
        let spans = self.spans();
        self.clear();
        spans
    }

    pub fn mark(&self) -> Mark {
        Mark { generation: self.generation, len: self.reads.len() }
    }

    /// What was added since the mark (or everything, if that cannot be told any more).
    pub fn since(&self, mark: Mark) -> Vec<Span> {
        let from = if mark.generation == self.generation { mark.len } else { 0 };
        coalesce(self.reads[from..].iter().cloned().map(Read::into_span).collect())
    }

    fn condense(&mut self) {
        self.generation += 1;
        let mut spans = self.spans();
        while spans.len() > self.limit / 2 {
            spans = spans
                .chunks(2)
                .map(|pair| Span::new(pair[0].start.clone(), pair[pair.len() - 1].end.clone()))
                .collect();
        }
        self.reads = spans.into_iter().map(Read::Span).collect();
    }
}

fn coalesce(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.start.cmp(&b.start));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => {
                if span.end > last.end {
                    last.end = span.end;
                }
            }
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(a: &str, b: &str) -> Span {
        Span::new(a.into(), b.into())
    }

    #[test]
    fn overlapping_and_touching_spans_are_one() {
        let mut set = SpanSet::new(10);
        set.add_span(span("m", "p"));
        set.add_span(span("a", "c"));
        set.add_span(span("c", "d"));
        set.add_point(&"n".into());
        assert_eq!(set.spans(), [span("a", "d"), span("m", "p")]);
    }

    #[test]
    fn since_tells_what_is_new() {
        let mut set = SpanSet::new(10);
        set.add_point(&"a".into());
        let mark = set.mark();
        assert!(set.since(mark).is_empty());
        set.add_point(&"b".into());
        assert_eq!(set.since(mark), [Span::point("b".into())]);
        set.add_span(span("c", "d"));
        let mark = set.mark();
        set.add_span(span("d", "e"));
        assert_eq!(set.since(mark).len(), 3, "a span that grew is new");
    }

    #[test]
    fn a_condensed_set_still_covers_everything() {
        let mut set = SpanSet::new(10);
        let keys: Vec<Key> = (0..30).map(|i| Key::copy_from(&(i * 10u32).to_be_bytes())).collect();
        for key in &keys {
            set.add_point(key);
        }
        let spans = set.spans();
        assert!(spans.len() <= 10);
        assert!(keys.iter().all(|k| spans.iter().any(|s| s.contains(k))));
    }
}
