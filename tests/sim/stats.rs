//! What happened in a run, counted: a run in which nothing happens proves nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! stats {
    ($($name:ident),+ $(,)?) => {
        #[derive(Default)]
        pub struct Stats { $(pub $name: AtomicU64),+ }

        impl Stats {
            pub fn add(counter: &AtomicU64) {
                counter.fetch_add(1, Relaxed);
            }

            /// Adds another run's.
            pub fn absorb(&self, other: &Stats) {
                $(self.$name.fetch_add(other.$name.load(Relaxed), Relaxed);)+
            }

            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Relaxed))),+]
            }
        }
    };
}

stats!(
    commits,
    refused,
    unknown,
    retries,
    audits,
    one_phase_commits,
    parallel_commits,
    refreshes,
    pushes,
    recoveries,
    deadlocks,
    crashes,
    cuts,
    pauses,
    clock_jumps,
    splits,
    replica_changes,
    transfers,
    leader_changes,
);

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<String> =
            self.all().into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        f.write_str(&shown.join(", "))
    }
}
