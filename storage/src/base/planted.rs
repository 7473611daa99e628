//! Bugs that are planted on purpose, one at a time, to prove that the simulator finds them.
//!
//! A test that has never failed says little. Each of these breaks one promise of the architecture, at the place where the
//! code keeps it, and in the way in which one might break it by mistake; a run of `meridian simulate --planted NAME` that does
//! not fail shows a hole in the simulator's workloads or checkers.
//!
//! What must stay true:
//! - Without the cargo feature `planted`, [`is`] is a constant false: no branch, no load, nothing of this is in the binary.
//! - With it, nothing changes until `plant` is called, and only the simulator's command line calls it.
//! - A hook is one condition. It does nothing but break its promise.
//!
//! What is planted holds for the whole process: all the runs of one command have the same bug.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Declares the bugs, each with its name and what it breaks.
macro_rules! bugs {
    ($($bug:ident $name:literal $what:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Planted {
            $(#[doc = $what] $bug,)*
        }

        #[cfg(feature = "planted")]
        impl Planted {
            pub const ALL: &[Planted] = &[$(Planted::$bug,)*];

            /// As it is written on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Planted::$bug => $name,)*
                }
            }

            /// What it breaks, in a sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(Planted::$bug => $what,)*
                }
            }
        }
    };
}

bugs! {
    // Clocks.
    ClockIgnoresMessages "clock-ignores-messages"
        "a node's clock does not move up to the timestamps that messages bring";
    ClockBackwards "clock-backwards"
        "a node's clock goes back with the machine's";
    SkipUncertainty "skip-uncertainty"
        "a read takes no notice of versions that another clock may have written before it began";
    SkipCommitWait "skip-commit-wait"
        "a commit is acknowledged before its time has passed on every clock, where the bound is known";
    ClockUnfenced "clock-unfenced"
        "a node whose clock is beyond the bound serves on (shows with clock-bad)";

    // Reads, and the writes that must not go below them.
    SkipRefresh "skip-refresh"
        "a serializable transaction commits at a later time whether or not what it has read still holds";
    ForgetReadSpans "forget-read-spans"
        "what scans have read is not remembered, so that it is never refreshed";
    OnePhaseOverReads "one-phase-over-reads"
        "a commit in one phase goes below what others have read";
    NoTimestampCacheBump "no-timestamp-cache-bump"
        "a new leaseholder writes below what was read under the leases before";
    SplitForgetsReads "split-forgets-reads"
        "the right side of a split writes below what was read before the split";
    SplitTrustsStaleMemory "split-trusts-stale-memory"
        "the right side of a split goes by what its node knew at the split, though others may have led it since";

    // Writes, locks and the ends of transactions.
    WriteOverLocks "write-over-locks"
        "a write takes no notice of the locks and intents of others";
    LostUpdateBelowSerializable "lost-update-below-serializable"
        "below SERIALIZABLE, a commit does not prove that what it had locked was not lost with a lease";
    SavepointKeepsWrites "savepoint-keeps-writes"
        "ROLLBACK TO takes no write back";
    ParallelCommitEarly "parallel-commit-early"
        "a parallel commit is acknowledged when its record stands, whatever became of its writes";
    RecoverWithoutCheck "recover-without-check"
        "a staging transaction is recovered as committed without a look at its writes";
    RecoverAsAborted "recover-as-aborted"
        "a staging transaction is recovered as aborted though all its writes stand";
    QueryLeavesNoMark "query-leaves-no-mark"
        "a write that recovery has found missing may still come";

    // Leases.
    ServeWithoutLease "serve-without-lease"
        "a leader serves on when a majority no longer supports it";
    LeaseOverlap "lease-overlap"
        "a store tells a leader of more support than it will keep, so that the next lease begins before the last has ended";
    RestartForgetsPromises "restart-forgets-promises"
        "a store that restarts votes at once, though it had promised not to";

    // The log, the engine and whole states.
    AckBeforeSync "ack-before-sync"
        "entries and votes are acknowledged before they are synced";
    AckBeforeMajority "ack-before-majority"
        "a leader commits what is in its own log alone";
    AppliedBeforeData "applied-before-data"
        "the applied index is written before what was applied, not with it";
    TruncateBeforeFlush "truncate-before-flush"
        "the log is truncated up to what is applied, though the engine may lose it in a crash";
    SplitLosesIntents "split-loses-intents"
        "the right side of a split has no locks, so that what was provisional counts as committed";
    SnapshotWithoutLocks "snapshot-without-locks"
        "a snapshot leaves the locks out, so that what was provisional counts as committed";

    // Tables.
    UniqueWithoutLock "unique-without-lock"
        "a unique key is looked up without a lock before it is written (shows below SERIALIZABLE)";
    ForeignKeyWithoutLock "foreign-key-without-lock"
        "a referenced row is looked up without a lock (shows below SERIALIZABLE)";
    BackfillIgnoresWrites "backfill-ignores-writes"
        "the filling of an index overwrites what others have written to it since the rows were read";
}

/// The planted bug's place among all, from 1; 0 for none.
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Whether `bug` is planted.
#[inline(always)]
pub fn is(bug: Planted) -> bool {
    cfg!(feature = "planted") && PLANTED.load(Relaxed) == bug as usize + 1
}

/// From now on, in the whole process; to be called before anything runs.
#[cfg(feature = "planted")]
pub fn plant(bug: Planted) {
    PLANTED.store(bug as usize + 1, Relaxed);
}

#[cfg(feature = "planted")]
impl std::str::FromStr for Planted {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Planted::ALL.iter().find(|bug| bug.name() == name);
        found.copied().ok_or_else(|| format!("`{name}` is no planted bug; `list` shows them"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_planted_by_itself() {
        assert!(!is(Planted::SkipRefresh));
    }

    #[cfg(feature = "planted")]
    #[test]
    fn every_bug_is_found_by_its_name() {
        for bug in Planted::ALL {
            assert_eq!(bug.name().parse(), Ok(*bug));
        }
        assert!("none-such".parse::<Planted>().is_err());
    }
}
