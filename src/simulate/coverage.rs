//! What happened in a run, counted: a run in which nothing happens proves nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        #[derive(Default)]
        pub struct Coverage { $(pub $name: AtomicU64),+ }

        impl Coverage {
            pub fn add(counter: &AtomicU64) {
                counter.fetch_add(1, Relaxed);
            }

            pub fn count(counter: &AtomicU64, n: u64) {
                counter.fetch_add(n, Relaxed);
            }

            /// Adds another run's.
            pub fn absorb(&self, other: &Coverage) {
                $(self.$name.fetch_add(other.$name.load(Relaxed), Relaxed);)+
            }

            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Relaxed))),+]
            }
        }
    };
}

counters!(
    commits,
    refused,
    unknown,
    retries,
    audits,
    transactions_checked,
    one_phase_commits,
    parallel_commits,
    refreshes,
    pushes,
    recoveries,
    deadlocks,
    crashes,
    cuts,
    flaps,
    pauses,
    crashes_in_commits,
    pauses_in_commits,
    splits_under_reads,
    clock_jumps,
    splits,
    replica_changes,
    joins,
    removals,
    losses,
    transfers,
    moves,
    collections,
    leader_changes,
);

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<String> =
            self.all().into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        f.write_str(&shown.join(", "))
    }
}
