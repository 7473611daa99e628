//! What reaches a store's core from outside: any thread pushes, the core takes everything at once.
//!
//! The core is woken once per burst: a push notifies only if the core sleeps.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use super::admin::CatchingUp;
use super::right_side::Answers;
use super::transport::{Envelope, MergeAttempt, MessageBatch, Wish};
use crate::apply::snapshot::SnapshotHead;
use crate::base::{NodeId, RangeId, ReplicaId, StorageError, StorageResult};
use crate::replica::RangeDescriptor;

pub type Completion = oneshot::Sender<StorageResult<()>>;

pub enum Input {
    Propose(Proposal),
    Messages(MessageBatch),
    /// From a background task of this store.
    Send {
        to: NodeId,
        envelope: Envelope,
    },
    TransferLease {
        range: RangeId,
        to: NodeId,
        done: Completion,
    },
    /// Whether a new replica is close behind.
    CaughtUp {
        range: RangeId,
        node: NodeId,
        done: oneshot::Sender<StorageResult<CatchingUp>>,
    },
    /// What is known of the right side of a merge, and whatever else is wished of it.
    AskRight {
        of: MergeAttempt,
        wish: Wish,
        done: oneshot::Sender<StorageResult<Answers>>,
    },
    SnapshotSent {
        range: RangeId,
        to: ReplicaId,
        transfer: u64,
        ok: bool,
    },
    SnapshotInstalled {
        head: SnapshotHead,
        result: StorageResult<()>,
    },
    /// A later descriptor of a range than its replica here has.
    LeftBehind(RangeDescriptor),
    /// The engine was flushed: logs may be truncated, dead replicas' logs destroyed.
    Flushed(Flushed),
    /// The nodes of the cluster that are alive.
    Nodes(Vec<NodeId>),
}

/// A command in the form in which it goes into the log.
pub struct Proposal {
    pub range: RangeId,
    /// The term under which it was evaluated.
    pub term: u64,
    pub data: Bytes,
    /// The new replicas, for a change of configuration.
    pub change: Option<RangeDescriptor>,
    pub done: Completion,
}

/// What a flush of the engine has made durable.
pub struct Flushed {
    /// Index and term applied, by range.
    pub applied: Vec<(RangeId, (u64, u64))>,
    /// Replicas whose tombstones are durable.
    pub destroyed: Vec<RangeId>,
    /// Followers that lag no longer hold the log back.
    pub urgent: bool,
}

#[derive(Default)]
struct Queue {
    inputs: Vec<Input>,
    closed: bool,
    sleeping: bool,
}

#[derive(Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    awake: Condvar,
    waker: AtomicWaker,
}

impl Inbox {
    /// False if the store has stopped; the input is dropped then, and its completion with it.
    pub fn push(&self, input: Input) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed {
            return false;
        }
        queue.inputs.push(input);
        let wake = std::mem::take(&mut queue.sleeping);
        drop(queue);
        if wake {
            self.awake.notify_one();
        }
        self.waker.wake();
        true
    }

    /// Moves everything to `into`, which is empty.
    pub fn take(&self, into: &mut Vec<Input>) {
        std::mem::swap(&mut self.queue.lock().inputs, into);
    }

    /// Parks the thread until there is something, or `at_most` has passed. False when the store has been stopped.
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut queue = self.queue.lock();
        if queue.inputs.is_empty() && !queue.closed {
            queue.sleeping = true;
            self.awake.wait_for(&mut queue, at_most);
            queue.sleeping = false;
        }
        !queue.closed
    }

    /// As [`Inbox::wait`], for a driver that is a task: ready when there is something.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        let queue = self.queue.lock();
        if queue.inputs.is_empty() && !queue.closed { Poll::Pending } else { Poll::Ready(()) }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.lock().inputs.is_empty()
    }

    /// No input is accepted from now on; what is in flight is dropped with the core.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.awake.notify_all();
        self.waker.wake();
    }

    pub fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }
}

/// Waits for a completion. A store that stops in between leaves the outcome open.
pub async fn completed(rx: oneshot::Receiver<StorageResult<()>>) -> StorageResult<()> {
    match rx.await {
        Ok(result) => result,
        Err(_) => Err(StorageError::Ambiguous {
            reason: "the store stopped while the command was in flight".into(),
        }),
    }
}
