//! Probes: places that only rare circumstances lead to, each with a name and a count of how often it was passed.
//!
//! A test that never comes to such a place says nothing about it. The simulator reports all probes after its runs, those with a
//! count of zero included, and its test fails when one is never passed; a running node shows them among its metrics.
//! (The idea is FoundationDB's, whose simulator requires that every `CODE_PROBE` is hit.)
//!
//! What must stay true: a probe counts and does nothing else; it stands where passing it is rare, never on a path that every
//! statement takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[doc(hidden)]
pub use linkme;

/// A place that was passed so often by this process.
pub struct Probe {
    name: &'static str,
    passed: AtomicU64,
}

impl Probe {
    pub const fn new(name: &'static str) -> Self {
        Probe { name, passed: AtomicU64::new(0) }
    }

    #[inline]
    pub fn pass(&self) {
        self.passed.fetch_add(1, Relaxed);
    }
}

/// Every probe of the program, whether it was passed or not: the linker gathers them.
#[linkme::distributed_slice]
pub static PROBES: [&'static Probe] = [..];

/// How often every probe was passed, by name. Places of one name are counted together.
pub fn counts() -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for probe in PROBES {
        *counts.entry(probe.name).or_default() += probe.passed.load(Relaxed);
    }
    counts
}

/// Counts that this place was passed: `probe!("snapshot refused: it overlaps another range");`
#[macro_export]
macro_rules! probe {
    ($name:literal) => {{
        static PROBE: $crate::base::probe::Probe = $crate::base::probe::Probe::new($name);
        #[$crate::base::probe::linkme::distributed_slice($crate::base::probe::PROBES)]
        #[linkme(crate = $crate::base::probe::linkme)]
        static ENTRY: &$crate::base::probe::Probe = &PROBE;
        PROBE.pass();
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() {
        probe!("test: never passed");
    }

    #[test]
    fn a_probe_is_known_before_it_is_passed() {
        let _not_called: fn() = never;
        assert_eq!(counts().get("test: never passed"), Some(&0));
        for _ in 0..3 {
            probe!("test: passed");
        }
        assert_eq!(counts().get("test: passed"), Some(&3));
    }
}
