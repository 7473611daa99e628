//! What the samples come to: counts, errors, percentiles, the time without service after each fault.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::rounds::Window;
use super::samples::{Outcome, Sample};

/// Times are counted in microseconds, up to ten minutes, to three figures.
const LONGEST_US: u64 = 600_000_000;

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constant")
}

pub fn note(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_micros().max(1) as u64);
}

/// A quantile, in seconds.
pub fn quantile(histogram: &Histogram<u64>, q: f64) -> f64 {
    histogram.value_at_quantile(q) as f64 / 1e6
}

/// How long nobody's transaction was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// The longest time between the fault and a while after it: nowhere in the cluster.
    pub longest: Duration,
    /// From when the fault was undone to the first transaction that was done.
    pub back_after: Duration,
}

/// A gap for each fault. What happened within `settle` of its end is its own.
pub fn gaps(samples: &[Sample], windows: &[Window], settle: Duration, end: Duration) -> Vec<Gap> {
    let mut done: Vec<_> = samples.iter().filter(|s| s.outcome == Outcome::Done).map(|s| s.at).collect();
    done.sort();
    let first_from = |t: Duration| done.partition_point(|d| *d < t);
    let gap = |w: &Window| {
        let until = (w.ended + settle).min(end).max(w.ended);
        let mut times = vec![w.begun];
        times.extend(&done[first_from(w.begun)..first_from(until)]);
        times.push(until);
        let longest = times.windows(2).map(|t| t[1] - t[0]).max().unwrap_or_default();
        let back = done.get(first_from(w.ended)).copied().unwrap_or(end.max(w.ended));
        Gap { longest, back_after: back - w.ended }
    };
    windows.iter().map(gap).collect()
}

/// Done, refused, unknown; and errors by SQLSTATE, with how many of them left open what happened.
#[derive(Default)]
pub struct Outcomes {
    pub done: u64,
    pub refused: u64,
    pub unknown: u64,
    pub errors: BTreeMap<String, (u64, u64)>,
}

pub fn outcomes(samples: &[Sample]) -> Outcomes {
    let mut all = Outcomes::default();
    for s in samples {
        match &s.outcome {
            Outcome::Done => all.done += 1,
            Outcome::Refused(code) => {
                all.refused += 1;
                all.errors.entry(code.clone()).or_default().0 += 1;
            }
            Outcome::Unknown(code) => {
                all.unknown += 1;
                let of_code = all.errors.entry(code.clone()).or_default();
                *of_code = (of_code.0 + 1, of_code.1 + 1);
            }
        }
    }
    all
}

/// What a SQLSTATE means, for those that faults give.
pub fn meaning(code: &str) -> &'static str {
    match code {
        "08001" => "no connection",
        "08006" => "connection lost, or no answer in time",
        "23505" => "unique violation",
        "23514" => "check violation",
        "23503" => "foreign key violation",
        "40001" => "serialization failure",
        "40003" => "statement completion unknown",
        "40P01" => "deadlock",
        "53100" => "disk full",
        "53200" => "out of memory",
        "55P03" => "lock not available",
        "57014" => "query cancelled",
        "57P01" => "the node is being stopped",
        "57P03" => "cannot connect now",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn sample(at: u64, outcome: Outcome) -> Sample {
        Sample { node: 1, at: S(at), took: S(1), outcome }
    }

    fn window(begun: u64, undone: u64, ended: u64) -> Window {
        let text = String::new;
        Window {
            nemesis: text(),
            what: text(),
            healed: text(),
            begun: S(begun),
            undone: S(undone),
            ended: S(ended),
        }
    }

    #[test]
    fn a_gap_begins_with_the_fault_and_only_what_is_done_ends_it() {
        let refused = || Outcome::Refused("40001".into());
        let done = [1, 9, 12, 27, 40];
        let mut samples: Vec<_> = done.into_iter().map(|t| sample(t, Outcome::Done)).collect();
        samples.push(sample(15, refused()));
        let gaps = gaps(&samples, &[window(10, 20, 22), window(30, 31, 35)], S(5), S(60));
        assert_eq!(gaps[0], Gap { longest: S(15), back_after: S(5) });
        assert_eq!(gaps[1], Gap { longest: S(10), back_after: S(5) });
        assert_eq!(outcomes(&samples).errors["40001"], (1, 0));
    }

    #[test]
    fn without_any_service_a_gap_lasts_to_the_end() {
        assert_eq!(gaps(&[], &[window(1, 2, 3)], S(5), S(6))[0], Gap { longest: S(5), back_after: S(3) });
    }
}
