//! What happened in a run, counted: a run in which nothing happens proves nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use meridian_storage::files::simulated::Counts;

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

            /// Adds what happened to a disk.
            pub fn absorb_disk(&self, disk: Counts) {
                for (counter, n) in [
                    (&self.torn_writes, disk.torn_writes),
                    (&self.lost_names, disk.lost_names),
                    (&self.slow_syncs, disk.slow_syncs),
                    (&self.refused_writes, disk.refused_writes),
                    (&self.failed_reads, disk.failed_reads),
                    (&self.failed_syncs, disk.failed_syncs),
                ] {
                    Self::count(counter, n);
                }
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
    torn_writes,
    lost_names,
    slow_syncs,
    full_disks,
    refused_writes,
    failed_reads,
    failed_syncs,
    damages,
    damage_found,
    machines_ended,
    cuts,
    flaps,
    pauses,
    crashes_in_commits,
    pauses_in_commits,
    splits_under_reads,
    clock_jumps,
    bad_clocks,
    fences,
    unfences,
    refused_while_fenced,
    splits,
    merges,
    merges_refused,
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
