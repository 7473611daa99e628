//! What the clients' sessions and the clock say of the order of transactions.
//!
//! What must stay true: an edge is drawn only where the first surely ended before the second began. An operation of unknown
//! outcome never ended; one whose invocation is not in the history may have begun at any time.
//!
//! Real time is an interval order. Its edges are as many as the square of the history, so only those are drawn that no path
//! of others makes up for: from each operation that ended, and after whose end none has both begun and ended
//! (Elle, section 6, from which the idea is). There are at most as many of them as operations times clients.

use rustc_hash::FxHashMap;

use crate::history::{Operation, Outcome};

use super::anomaly::Order;
use super::graph::{Builder, Kind, Reason};

/// Pairs of operations of which the first ended before the second began, whose transitive closure is all of them.
/// `takes_part` says which operations are looked at.
pub fn realtime<V>(
    operations: &[Operation<V>],
    places: impl Iterator<Item = u32>,
    mut pair: impl FnMut(u32, u32),
) {
    // Invocations and completions, in their order: no two events share a place.
    let mut events: Vec<(u64, u32, bool)> = Vec::new();
    for place in places {
        let operation = &operations[place as usize];
        events.extend(operation.invoked.map(|at| (at, place, true)));
        events.extend(operation.completed.map(|at| (at, place, false)));
    }
    events.sort_unstable();
    // Those that ended and that nothing which ended later follows, with the time of their end.
    let mut frontier: Vec<(u64, u32)> = Vec::new();
    for (at, place, begins) in events {
        if begins {
            frontier.iter().for_each(|(_, before)| pair(*before, place));
        } else {
            // Without an invocation it follows nothing.
            let invoked = operations[place as usize].invoked.unwrap_or(0);
            frontier.retain(|(ended, _)| *ended > invoked);
            frontier.push((at, place));
        }
    }
}

/// Pairs of operations that one client made one after the other.
pub fn sessions<V>(
    operations: &[Operation<V>],
    places: impl Iterator<Item = u32>,
    mut pair: impl FnMut(u32, u32),
) {
    let mut last: FxHashMap<i64, u32> = FxHashMap::default();
    for place in places {
        let operation = &operations[place as usize];
        let Some(process) = operation.process else { continue };
        if let Some(before) = last.get(&process) {
            pair(*before, place);
        }
        match operation.outcome {
            Outcome::Ok => last.insert(process, place),
            // What comes after it may come before it takes effect.
            Outcome::Info => last.remove(&process),
            Outcome::Fail => None,
        };
    }
}

/// When operations ran, and whose they were: the same two orders, asked for a pair at a time.
#[derive(Debug, Default)]
pub struct Timeline(Vec<Span>);

#[derive(Debug)]
struct Span {
    place: u32,
    process: Option<i64>,
    invoked: Option<u64>,
    completed: Option<u64>,
    is_known: bool,
}

impl Timeline {
    pub fn new<V>(operations: &[Operation<V>]) -> Timeline {
        let span = |(place, o): (u32, &Operation<V>)| Span {
            place,
            process: o.process,
            invoked: o.invoked,
            completed: o.completed,
            is_known: o.outcome == Outcome::Ok,
        };
        Timeline((0..).zip(operations).map(span).collect())
    }

    /// Whether an order says that the first comes before the second. Data says nothing here.
    pub fn precedes(&self, order: Order, first: u32, second: u32) -> bool {
        let (Some(a), Some(b)) = (self.0.get(first as usize), self.0.get(second as usize)) else {
            return false;
        };
        match order {
            Order::Data => false,
            Order::Process => {
                a.is_known && a.place < b.place && a.process.is_some() && a.process == b.process
            }
            Order::Realtime => a.completed.zip(b.invoked).is_some_and(|(end, begin)| end < begin),
        }
    }
}

/// Draws both between the operations that took place.
pub fn draw<V>(operations: &[Operation<V>], happened: &[bool], graph: &mut Builder) {
    let places = || (0..operations.len() as u32).filter(|p| happened[*p as usize]);
    sessions(operations, places(), |a, b| graph.edge(a, b, Kind::Process, Reason::default()));
    realtime(operations, places(), |a, b| graph.edge(a, b, Kind::Realtime, Reason::default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(invoked: u64, completed: Option<u64>) -> Operation<()> {
        let outcome = if completed.is_some() { Outcome::Ok } else { Outcome::Info };
        Operation { index: 0, process: None, invoked: Some(invoked), completed, outcome, value: () }
    }

    fn pairs(operations: &[Operation<()>]) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        realtime(operations, 0..operations.len() as u32, |a, b| out.push((a, b)));
        out
    }

    #[test]
    fn what_follows_from_other_edges_is_not_drawn() {
        let one_by_one = [operation(0, Some(1)), operation(2, Some(3)), operation(4, Some(5))];
        assert_eq!(pairs(&one_by_one), [(0, 1), (1, 2)]);
        // 0 and 1 overlap; 2 begins between their ends.
        let overlapping =
            [operation(0, Some(2)), operation(1, Some(4)), operation(3, Some(5)), operation(6, None)];
        assert_eq!(pairs(&overlapping), [(0, 2), (1, 3), (2, 3)]);
    }

    #[test]
    fn the_closure_is_the_whole_interval_order() {
        let mut seed = 7u64;
        for _ in 0..200 {
            let mut next = || {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                seed >> 33
            };
            // Intervals over distinct places.
            let mut ends: Vec<u64> = (0..16).collect();
            for i in (1..ends.len()).rev() {
                ends.swap(i, (next() % (i as u64 + 1)) as usize);
            }
            let operations: Vec<_> = ends
                .chunks(2)
                .map(|c| operation(c[0].min(c[1]), (next() % 5 > 0).then_some(c[0].max(c[1]))))
                .collect();
            let mut reach = [[false; 8]; 8];
            pairs(&operations).into_iter().for_each(|(a, b)| reach[a as usize][b as usize] = true);
            for k in 0..8 {
                for i in 0..8 {
                    for j in 0..8 {
                        reach[i][j] |= reach[i][k] && reach[k][j];
                    }
                }
            }
            for (i, a) in operations.iter().enumerate() {
                for (j, b) in operations.iter().enumerate() {
                    assert_eq!(
                        reach[i][j],
                        a.completed.is_some_and(|end| Some(end) < b.invoked),
                        "{operations:?}"
                    );
                }
            }
        }
    }
}
