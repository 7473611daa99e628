//! Merges: a range takes in its right neighbour. Here is the protocol, and what drives it at the left range's leaseholder;
//! `absorb` applies it, `right_side` is what is said to the right range.
//!
//! ```text
//!   left's log                      right's log
//!   ──────────                      ───────────
//!   1. Absorbing(right, attempt)
//!                                   2. Frozen(left, attempt)      no lease any more, whoever leads; nothing is written
//!   3. every node says: frozen here; it carries its clock along
//!   4. Merge ─► the left range is both; the right one is gone, node by node
//!
//!   or, when anything takes too long, or whoever leads the left range next:
//!   5. GivingUp(right, attempt)     6. thawed, or out of reach of the attempt for ever
//!   7. not merging
//! ```
//!
//! All states are in the descriptors ([`Merging`]), so they are replicated, come with snapshots, and each has a generation
//! of its own: what was made from another state (a split, a change of replicas, a second merge) is refused by every replica
//! when it is applied, and while a range takes part in a merge, all of these are refused. So both ranges keep their
//! replicas, which are on the same nodes, from the first step to the last.
//!
//! # What is decided where
//!
//! **The left range's log decides**, by whichever comes first after `Absorbing`: `Merge` or `GivingUp`. The right range is let
//! go only after `GivingUp` has been applied where the left range is led, so it can never be both absorbed and alive. An attempt
//! is named by the left range and its generation: a freeze left over from one says nothing about another. A freeze that
//! arrives when its attempt has been given up is refused, because letting go raises the generation that it was made for.
//!
//! # What can go wrong
//!
//! - *Whoever drives it dies, or loses the lease of the left range.* The next leaseholder finds the state in the descriptor
//!   when its lease begins, and gives up; a `Merge` that was proposed before is below its first entry, so it has been
//!   applied by then or never will be. Nobody's hand is needed: while a range is in a merge under a lease, a task is at it.
//! - *The right range's leader dies or changes while it is frozen.* The freeze is in its log. Whoever leads next has applied it
//!   before its own first entry, at which a lease would begin, and none does. Nothing that is in the log above it, but a
//!   thaw, has any effect.
//! - *A node is down, or slow.* All nodes must have said that the right range is frozen there, so the merge is given up after
//!   a second. Before anything is frozen all are asked whether they are there, so that mostly nothing is ever frozen in vain.
//! - *Reads that the right range has served.* A node that says "frozen here" has given up its lease, and its clock, which was
//!   shown everything it served, comes with the answer; one that was restarted, whose clock may have forgotten, waits until it
//!   has surely passed that, as it does before it votes. So the clock of the left range's leaseholder is above all that any
//!   leaseholder of the right range has served when it proposes the merge, and that of any later leaseholder is above it, too: it
//!   had the entry from there. Writes in what was the right range go above that clock ([`ReplicaObserver::merge`]
//!   comes before the bounds widen); a later lease begins above it anyway.
//! - *A replica of the left range lags, or sleeps.* The right replica beside it is frozen and can only wait. When the merge
//!   is applied there it is complete: it said so. After a crash the engine may be behind both: the commit index of the right
//!   range was synced before the freeze was applied, its log is kept until the merge is flushed, and the left replica waits,
//!   with all that follows, until the right one has come as far again (`absorb`).
//! - *A snapshot of the merged range comes to a node that has the right replica still.* The start of a range is its own until
//!   it is absorbed. So a range of a higher generation that holds the start of another one has taken it in, and the other
//!   one's replica goes in the same batch that decides that the snapshot will be installed. Not before: entries of the log might
//!   come instead of the snapshot, and need it. Not if the other one merely overlaps: it was split, and is alive. Not if the
//!   replica that is to take it in is here and not part of the snapshot: what was merged may have been split again.
//! - *A right replica that was no member any more when the range was frozen, and had not heard of it.* Nobody is left to tell
//!   it. Those who have absorbed the range have a tombstone for all its replicas, and answer whoever asks. A frozen replica
//!   whose left neighbour is here is not let go by that: it will be needed.
//! - *The threshold of garbage.* The merged range has the higher of both; all that are open are above both. Its writes
//!   are above it, because they are above the merge.
//! - *Log truncation.* A left replica whose leader has forgotten the merge gets a snapshot. The right log is destroyed only
//!   when the tombstone is flushed, and with it the merge.
//! - *Locks in memory, outcomes and marks of the right range* are forgotten, as when a lease is lost. Intents and
//!   transaction records are ordered by key and stay where they are.
//! - *`meta`* is told afterwards, like after a split: until then, requests for the right range are told of the merged one.
//!
//! CockroachDB's merges ("Subsume", unanimity, the start of a range as its identity) and TiKV's (`PrepareMerge` in the source's
//! log) are the models. Different here: the state is in the descriptors and not in a transaction, and the freeze needs
//! no lease to hold.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;

use super::handle::StoreHandle;
use super::inbox::Input;
use super::right_side::Answers;
use super::transport::{MergeAttempt, Wish};
use crate::base::{RangeId, StorageError, StorageResult};
use crate::engine::WriteBatch;
use crate::probe;
use crate::replica::{Command, Merging, RangeDescriptor, Replica, ReplicaKind, Trigger};

#[cfg(doc)]
use crate::replica::ReplicaObserver;

const POLL: Duration = Duration::from_millis(10);
/// How long the nodes may take to say that they are there.
const READY_WITHIN: u32 = 50;
/// How long the right range may stay frozen before the merge is given up; in polls.
const FROZEN_WITHIN: u32 = 100;
/// Between two attempts to have the right range let go.
const GIVE_UP_POLL: Duration = Duration::from_millis(30);
/// What is to be proposed is asked for again after so many polls.
const ASK_AGAIN: u32 = 25;

impl StoreHandle {
    /// Has the range take in its right neighbour; what came of it. This node must lead it, and both must have voters, and
    /// nothing else, on the same nodes.
    ///
    /// Once begun it goes on, or is taken back, whether the caller waits or not.
    pub async fn merge(&self, left: RangeId) -> StorageResult<Arc<RangeDescriptor>> {
        let (done, merged) = oneshot::channel();
        let me = self.clone();
        let drive = async move {
            // The caller may have gone away.
            let _ = done.send(me.drive_merge(left).await);
        };
        self.shared.runtime.spawn("merge", Box::pin(drive));
        merged.await.unwrap_or(Err(StorageError::Shutdown))
    }

    async fn drive_merge(&self, left: RangeId) -> StorageResult<Arc<RangeDescriptor>> {
        let replica = self.range_replica(left).ok_or(StorageError::RangeNotFound { range: left })?;
        let term = replica.lease(self.shared.clock.now())?.term;
        let (absorbing, of) = self.plan_merge(&replica.descriptor())?;
        self.until(of, Wish::Tell, READY_WITHIN, |a| a.all_answered()).await?;
        let begun = self.mark(left, term, absorbing).await;
        let merged = match begun {
            Ok(()) => self.absorb(of, term).await,
            Err(e @ StorageError::Ambiguous { .. }) => Err(e),
            // Nothing has begun, by this task.
            Err(e) => return Err(e),
        };
        if merged.is_err() {
            self.give_up_merge(left, term).await;
        }
        merged
    }

    /// The left range's next descriptor, and the attempt's name.
    fn plan_merge(&self, left: &RangeDescriptor) -> StorageResult<(RangeDescriptor, MergeAttempt)> {
        let refuse = |why: &str| Err(StorageError::Config(format!("{} cannot be merged: {why}", left.range)));
        let right = self.replica_for_key(&left.end).map(|r| r.descriptor());
        let Some(right) = right.filter(|r| r.start == left.end) else {
            return refuse("the range on its right is not here, or it is the last one");
        };
        if left.merging != Merging::No || right.merging != Merging::No {
            return Err(StorageError::Overloaded { range: left.range });
        }
        let places = |d: &RangeDescriptor| {
            let mut nodes: Vec<_> = d.replicas.iter().map(|r| (r.node, r.kind)).collect();
            nodes.sort_by_key(|(node, _)| *node);
            nodes
        };
        if places(left) != places(&right) || !left.replicas.iter().all(|r| r.kind == ReplicaKind::Voter) {
            return refuse("the range on its right has other replicas");
        }
        let attempt = left.generation + 1;
        let (range, generation) = (right.range, right.generation);
        let merging = Merging::Absorbing { right: range, generation, attempt };
        let of = MergeAttempt { left: left.range, attempt, right: range, generation };
        Ok((RangeDescriptor { generation: attempt, merging, ..left.clone() }, of))
    }

    /// Freezes the right range, waits until it is frozen everywhere, and takes it in.
    async fn absorb(&self, of: MergeAttempt, term: u64) -> StorageResult<Arc<RangeDescriptor>> {
        self.until(of, Wish::Freeze, FROZEN_WITHIN, Answers::all_frozen).await?;
        let not_here = |range| StorageError::RangeNotFound { range };
        let replica = self.range_replica(of.left).ok_or(not_here(of.left))?;
        let right = self.range_replica(of.right).ok_or(not_here(of.right))?;
        let (current, right) = (replica.descriptor(), (*right.descriptor()).clone());
        let mut left = (*current).clone();
        left.end = right.end.clone();
        left.generation = current.generation.max(right.generation) + 1;
        left.merging = Merging::No;
        // Above the clocks that came with the answers.
        let until = self.shared.clock.now();
        let trigger = Trigger::Merge { left, right, until };
        replica.propose(Command { term, batch: WriteBatch::new(), trigger: Some(trigger) }).await?;
        Ok(replica.descriptor())
    }

    /// Ends a merge in which the range may be as its left side, however long it takes; unless the lease ends, and with it the
    /// duty.
    pub(super) async fn give_up_merge(&self, left: RangeId, term: u64) {
        while let Some(replica) = self.range_replica(left) {
            if replica.lease.held().is_none_or(|lease| lease.term != term) {
                return;
            }
            let current = replica.descriptor();
            let done = match current.merging {
                Merging::No | Merging::Frozen { .. } => return,
                Merging::Absorbing { right, generation, attempt } => {
                    probe!("merge: given up");
                    let merging = Merging::GivingUp { right, generation, attempt };
                    self.mark(left, term, next(&current, merging)).await
                }
                Merging::GivingUp { right, generation, attempt } => {
                    let of = MergeAttempt { left, attempt, right, generation };
                    match self.ask(of, Wish::LetGo).await {
                        Ok(answers) if answers.any_free() => {
                            self.mark(left, term, next(&current, Merging::No)).await
                        }
                        Ok(_) => Ok(()),
                        Err(e) => Err(e),
                    }
                }
            };
            if let Err(e) = done {
                tracing::debug!(range = %left, "a merge is not given up yet: {e}");
            }
            self.shared.runtime.sleep(GIVE_UP_POLL).await;
        }
    }

    /// Asks until the answers are what is waited for.
    async fn until(
        &self,
        of: MergeAttempt,
        wish: Wish,
        polls: u32,
        enough: impl Fn(&Answers) -> bool,
    ) -> StorageResult<()> {
        for round in 0..polls {
            let wish = if round % ASK_AGAIN == 0 { wish } else { Wish::Tell };
            let answers = self.ask(of, wish).await?;
            if answers.any_free() {
                return Err(StorageError::Config(format!("{} has changed in the meantime", of.right)));
            }
            if enough(&answers) {
                return Ok(());
            }
            self.shared.runtime.sleep(POLL).await;
        }
        Err(StorageError::Config(format!("{}: not all nodes have answered in time", of.right)))
    }

    async fn ask(&self, of: MergeAttempt, wish: Wish) -> StorageResult<Answers> {
        let (done, answers) = oneshot::channel();
        if !self.shared.inbox.push(Input::AskRight { of, wish, done }) {
            return Err(StorageError::Shutdown);
        }
        answers.await.unwrap_or(Err(StorageError::Shutdown))
    }

    async fn mark(&self, range: RangeId, term: u64, descriptor: RangeDescriptor) -> StorageResult<()> {
        let replica = self.range_replica(range).ok_or(StorageError::RangeNotFound { range })?;
        let trigger = Some(Trigger::Mark { descriptor });
        replica.propose(Command { term, batch: WriteBatch::new(), trigger }).await
    }
}

/// The same range with another part in a merge.
pub(super) fn next(current: &RangeDescriptor, merging: Merging) -> RangeDescriptor {
    RangeDescriptor { generation: current.generation + 1, merging, ..current.clone() }
}

/// Whether `next` is `current` with another part in a merge, one that may follow.
pub(super) fn marks(current: &RangeDescriptor, next: &RangeDescriptor) -> bool {
    use Merging::{Absorbing, Frozen, GivingUp, No};
    let follows = match (current.merging, next.merging) {
        (No, No | Frozen { .. }) | (GivingUp { .. } | Frozen { .. }, No) => true,
        (No, Absorbing { attempt, .. }) => attempt == next.generation,
        (Absorbing { right: a, attempt: x, .. }, GivingUp { right: b, attempt: y, .. }) => (a, x) == (b, y),
        _ => false,
    };
    follows && *next == self::next(current, next.merging) && !current.is_joint()
}

/// Whether `merged` is what becomes of `left` when it takes in `right`, as it is about to.
pub(super) fn joins(left: &RangeDescriptor, right: &RangeDescriptor, merged: &RangeDescriptor) -> bool {
    let Merging::Absorbing { right: wanted, attempt, .. } = left.merging else { return false };
    let expected = RangeDescriptor {
        end: right.end.clone(),
        generation: left.generation.max(right.generation) + 1,
        merging: Merging::No,
        ..left.clone()
    };
    right.range == wanted
        && right.merging == Merging::Frozen { left: left.range, attempt }
        && right.start == left.end
        && *merged == expected
}
