//! Work for many ranges: cut at their bounds, sent at once, and cut again where a bound has moved.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use meridian_storage::base::{Key, Span};

use super::send::BACKOFF_MIN;
use super::{MAX_ROUNDS, Route, Router};
use crate::rpc::{BatchRequest, BatchResponse, KvError, RefreshSpan};

/// An item that belongs to the range of a key, or can be cut at a range's end.
pub trait Divide: Clone + Send {
    fn start(&self) -> &Key;
    /// What is left of the item at and above `end`, which is taken off; `None` if it lies wholly below.
    fn cut(&mut self, end: &Key) -> Option<Self>;
}

impl Divide for Key {
    fn start(&self) -> &Key {
        self
    }
    fn cut(&mut self, _: &Key) -> Option<Self> {
        None
    }
}

impl Divide for (usize, Key) {
    fn start(&self) -> &Key {
        &self.1
    }
    fn cut(&mut self, _: &Key) -> Option<Self> {
        None
    }
}

impl Divide for (Key, Option<Bytes>) {
    fn start(&self) -> &Key {
        &self.0
    }
    fn cut(&mut self, _: &Key) -> Option<Self> {
        None
    }
}

impl Divide for Span {
    fn start(&self) -> &Key {
        &self.start
    }
    fn cut(&mut self, end: &Key) -> Option<Self> {
        if self.end <= *end {
            return None;
        }
        let rest = Span::new(end.clone(), self.end.clone());
        self.end = end.clone();
        Some(rest)
    }
}

impl Divide for RefreshSpan {
    fn start(&self) -> &Key {
        &self.span.start
    }
    fn cut(&mut self, end: &Key) -> Option<Self> {
        self.span.cut(end).map(|span| RefreshSpan { span, ..*self })
    }
}

/// How it went, range by range.
pub struct FanOut<T> {
    pub done: Vec<(Vec<T>, BatchResponse)>,
    pub failed: Vec<(Vec<T>, KvError)>,
}

impl<T> FanOut<T> {
    /// All answers, or the error that says most about what to do.
    pub fn into_result(mut self) -> Result<Vec<(Vec<T>, BatchResponse)>, KvError> {
        if self.failed.is_empty() {
            return Ok(self.done);
        }
        self.failed.sort_by_key(|(_, e)| severity(e));
        match self.failed.pop() {
            Some((_, e)) => Err(e),
            None => Ok(self.done),
        }
    }
}

/// An error that ends the transaction comes before one that only moves it; of the latter the latest time counts.
fn severity(e: &KvError) -> (u8, meridian_storage::base::Timestamp) {
    let zero = Default::default();
    match e {
        KvError::Internal { .. }
        | KvError::Corruption { .. }
        | KvError::Io { .. }
        | KvError::Unsupported { .. } => (9, zero),
        KvError::Ambiguous { .. } => (8, zero),
        KvError::TxnAborted { .. } => (7, zero),
        KvError::Deadlock { .. } => (6, zero),
        KvError::LockNotAvailable { .. } | KvError::LockTimeout { .. } => (5, zero),
        KvError::RefreshFailed { .. } | KvError::SnapshotTooOld { .. } => (4, zero),
        KvError::Unavailable { .. } | KvError::Fenced { .. } => (3, zero),
        KvError::WriteTooOld { ts, .. }
        | KvError::ReadWithinUncertainty { ts, .. }
        | KvError::RefreshNeeded { ts } => (2, *ts),
        KvError::NotLeaseholder { .. }
        | KvError::RangeNotFound { .. }
        | KvError::RangeMismatch { .. }
        | KvError::Overloaded { .. } => (1, zero),
    }
}

impl Router {
    /// Groups items by their ranges, cutting those that reach over a bound. Groups and items in key order.
    pub async fn divide<T: Divide>(&self, mut items: Vec<T>) -> Result<Vec<(Arc<Route>, Vec<T>)>, KvError> {
        items.sort_by(|a, b| b.start().cmp(a.start()));
        let mut groups: Vec<(Arc<Route>, Vec<T>)> = Vec::new();
        while let Some(mut item) = items.pop() {
            let fits = groups.last().is_some_and(|(route, _)| route.descriptor.contains(item.start()));
            if !fits {
                let route = self.route(item.start()).await?;
                groups.push((route, Vec::new()));
            }
            let Some((route, group)) = groups.last_mut() else { continue };
            if let Some(rest) = item.cut(&route.descriptor.end) {
                // Back among what is left, in order.
                let at = items.partition_point(|other| other.start() > rest.start());
                items.insert(at, rest);
            }
            group.push(item);
        }
        Ok(groups)
    }

    /// The one range that holds everything from `first` to `last` (included), if it is one.
    pub async fn single_range(&self, first: &Key, last: &Key) -> Result<Option<Arc<Route>>, KvError> {
        let route = self.route(first).await?;
        Ok(route.descriptor.contains(last).then_some(route))
    }

    /// Sends to each range the batch that `build` makes of its items, all at once, and waits for all.
    pub async fn fan_out<T: Divide>(
        &self,
        items: Vec<T>,
        build: impl Fn(&[T]) -> BatchRequest + Send + Sync,
    ) -> FanOut<T> {
        let mut out = FanOut { done: Vec::new(), failed: Vec::new() };
        let mut todo = items;
        let mut rounds = 0;
        let mut backoff = BACKOFF_MIN;
        while !todo.is_empty() {
            if rounds > 2 {
                self.pause(&mut backoff).await;
            }
            let groups = match self.divide(std::mem::take(&mut todo)).await {
                Ok(groups) => groups,
                Err(e) => {
                    out.failed.push((Vec::new(), e));
                    return out;
                }
            };
            let sent = groups.into_iter().map(|(route, group)| {
                let batch = build(&group);
                async move {
                    let answer = self.send_to(&route, batch).await;
                    (group, answer)
                }
            });
            rounds += 1;
            for (group, answer) in join_all(sent).await {
                match answer {
                    Ok(response) => out.done.push((group, response)),
                    Err(KvError::RangeMismatch { .. }) if rounds < MAX_ROUNDS => todo.extend(group),
                    Err(e) => out.failed.push((group, e)),
                }
            }
        }
        out
    }
}
