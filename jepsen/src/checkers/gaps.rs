//! Time without service: the longest time between two successful commits after a fault.

use std::time::Duration;

/// The longest time within `from..until` without a commit. `commits` need no order.
pub fn longest(commits: impl IntoIterator<Item = Duration>, from: Duration, until: Duration) -> Duration {
    let mut times: Vec<_> = commits.into_iter().filter(|t| (from..until).contains(t)).collect();
    times.extend([from, until]);
    times.sort();
    times.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default()
}

/// Least, median, nine in ten, largest.
pub fn distribution(mut gaps: Vec<Duration>) -> String {
    gaps.sort();
    let Some(last) = gaps.len().checked_sub(1) else { return "none measured".into() };
    let at = |q: f64| gaps[(last as f64 * q).round() as usize].as_secs_f64();
    format!("min {:.2} s  p50 {:.2} s  p90 {:.2} s  max {:.2} s", at(0.0), at(0.5), at(0.9), at(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_begins_at_the_fault_and_ends_with_the_window() {
        let s = Duration::from_secs;
        assert_eq!(longest([s(1), s(12), s(13), s(40)], s(10), s(20)), s(7));
        assert_eq!(longest([s(18)], s(10), s(20)), s(8));
        assert_eq!(longest([], s(10), s(20)), s(10));
    }
}
