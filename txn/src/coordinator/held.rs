//! What a transaction below SERIALIZABLE holds by locks, and as of when.
//!
//! Locks are in the memory of leaseholders, and are lost with a lease. What was read under them is noted, so that the commit
//! can validate that it was not lost to anybody: rows, and the spans of scans that a lock elsewhere was to keep true
//! (a row that comes is as bad as one that goes).
//!
//! What must stay true: everything that was locked is in here, at its time or an earlier one, until the transaction's
//! intent protects it. There may be more: a validation can fail without need, never succeed wrongly.

use meridian_storage::base::{Key, Span, Timestamp};

use crate::rpc::{RefreshSpan, Write};

/// Beyond this many spans, neighbours are merged with what lies between them, until half as many are left.
const SPANS: usize = 4096;

#[derive(Clone, Default)]
pub(super) struct Held {
    rows: Vec<RefreshSpan>,
    spans: Vec<RefreshSpan>,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.spans.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Held::default();
    }

    pub fn add_row(&mut self, key: Key, from: Timestamp) {
        self.rows.push(RefreshSpan { span: Span::point(key), from });
    }

    pub fn add_span(&mut self, span: Span, from: Timestamp) {
        self.spans.push(RefreshSpan { span, from });
        if self.spans.len() > SPANS {
            self.spans = condense(std::mem::take(&mut self.spans));
        }
    }

    /// The rows among `writes` (ascending by key): they are validated where they are written.
    pub fn rows_among(&self, writes: &[Write]) -> Vec<RefreshSpan> {
        self.rows.iter().filter(|row| writes_row(writes, row)).cloned().collect()
    }

    /// Everything but the rows that the transaction writes, in order.
    pub fn unwritten(&self, wrote: impl Fn(&Key) -> bool) -> Vec<RefreshSpan> {
        let rows = self.rows.iter().filter(|row| !wrote(&row.span.start));
        distinct(rows.chain(&self.spans).cloned().collect())
    }

    /// These rows have intents now.
    pub fn note_written(&mut self, writes: &[Write]) {
        self.rows.retain(|row| !writes_row(writes, row));
    }
}

fn writes_row(writes: &[Write], row: &RefreshSpan) -> bool {
    writes.binary_search_by(|(key, _)| key.cmp(&row.span.start)).is_ok()
}

/// Without those that another one covers, from an earlier time on.
fn distinct(mut spans: Vec<RefreshSpan>) -> Vec<RefreshSpan> {
    spans.sort_by(|a, b| {
        (&a.span.start, a.from).cmp(&(&b.span.start, b.from)).then_with(|| b.span.end.cmp(&a.span.end))
    });
    let mut kept: Vec<RefreshSpan> = Vec::with_capacity(spans.len());
    for next in spans {
        let covers = |last: &RefreshSpan| last.from <= next.from && last.span.contains_span(&next.span);
        if !kept.last().is_some_and(covers) {
            kept.push(next);
        }
    }
    kept
}

fn condense(spans: Vec<RefreshSpan>) -> Vec<RefreshSpan> {
    let mut spans = distinct(spans);
    while spans.len() > SPANS / 2 {
        spans = spans.chunks(2).map(|pair| pair.iter().cloned().reduce(hull).expect("not empty")).collect();
    }
    spans
}

/// Both, and what lies between them.
fn hull(a: RefreshSpan, b: RefreshSpan) -> RefreshSpan {
    let span = Span::new(a.span.start.min(b.span.start), a.span.end.max(b.span.end));
    RefreshSpan { span, from: a.from.min(b.from) }
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
            held.add_row(key.into(), at(1));
        }
        let writes = [(Key::from("b"), None), (Key::from("d"), None)];
        let keys = |spans: Vec<RefreshSpan>| spans.into_iter().map(|r| r.span.start).collect::<Vec<Key>>();
        assert_eq!(keys(held.rows_among(&writes)), [Key::from("b")]);
        let wrote = |key: &Key| writes.iter().any(|(k, _)| k == key);
        assert_eq!(keys(held.unwritten(wrote)), [Key::from("a"), Key::from("c")]);
        held.note_written(&writes);
        assert_eq!(keys(held.unwritten(|_| false)), [Key::from("a"), Key::from("c")]);
    }

    #[test]
    fn however_many_spans_all_stay_covered() {
        let mut held = Held::default();
        let all: Vec<RefreshSpan> = (0..3 * SPANS as u32)
            .map(|n| RefreshSpan { span: span(n * 10, n * 10 + 1), from: at(u64::from(n % 7)) })
            .collect();
        for r in &all {
            held.add_span(r.span.clone(), r.from);
        }
        let spans = held.unwritten(|_| false);
        assert!(spans.len() <= SPANS);
        let covered = |r: &RefreshSpan| {
            let end = spans.partition_point(|s| s.span.start <= r.span.start);
            spans[..end].last().is_some_and(|s| s.from <= r.from && s.span.contains_span(&r.span))
        };
        assert!(all.iter().all(covered));
    }
}
