//! Snapshots between stores: who may send, what is being received, and what is being installed.
//!
//! The data travels beside Raft's messages, in chunks, at most [`WINDOW`] of them unanswered, and the first alone: it asks
//! whether the snapshot may come. Chunks may overtake one another and come twice. Raft's own message comes
//! with the last chunk and is stepped only when everything is staged. Reading and installing run in tasks of their own;
//! while a snapshot is installed its group is not stepped, and messages to it are dropped.
//!
//! What must stay true: a snapshot is accepted only if its span overlaps no other replica of this store, nor any
//! other snapshot that is being received; but for replicas that the range has taken in since, which it takes the place of
//! (see `merge`). A follower that has not applied a split yet refuses the right-hand side: the split will bring it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType, Snapshot};

use super::core::StoreCore;
use super::driven::Driven;
use super::inbox::{Inbox, Input};
use super::transport::{ChunkAnswer, Envelope, SnapshotChunk};
use crate::apply::snapshot::{self, ChunkReader, SnapshotHead};
use crate::base::runtime::timeout;
use crate::base::{NodeId, RangeId, ReplicaId, Runtime, StorageError, StorageResult};
use crate::engine::{Engine, WriteBatch};
use crate::group::{Event, Group, conf_state};
use crate::log::{LogBatch, LogOp, LogState};
use crate::probe;
use crate::replica::{RangeDescriptor, ReplicaDescriptor};

/// Chunks on their way at a time.
const WINDOW: u32 = 4;
/// Without an answer for this long, a transfer is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The last answer comes when everything is installed.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What has been staged is thrown away when nothing more comes for this long.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Snapshots {
    max_outgoing: usize,
    next_transfer: u64,
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: BTreeMap<RangeId, Incoming>,
}

/// A transfer; the task that makes it ends when nobody can answer any more.
struct Outgoing {
    range: RangeId,
    to: NodeId,
    answers: mpsc::UnboundedSender<ChunkAnswer>,
}

struct Incoming {
    from: NodeId,
    transfer: u64,
    next: u32,
    /// Chunks that have overtaken the next one.
    early: BTreeMap<u32, SnapshotChunk>,
    head: SnapshotHead,
    deadline: Duration,
    /// The number of the last chunk, and what is to be sent, when the installation is done.
    installing: Option<(u32, Vec<Message>)>,
}

impl Snapshots {
    pub fn new(max_outgoing: usize, incarnation: u64) -> Self {
        Snapshots {
            max_outgoing,
            next_transfer: incarnation << 32,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }

    /// The range is no more.
    pub fn forget(&mut self, range: RangeId) {
        self.incoming.remove(&range);
    }

    /// The ranges of which a snapshot is on its way into the engine.
    pub fn being_installed(&self) -> impl Iterator<Item = &RangeDescriptor> {
        self.incoming.values().filter(|i| i.installing.is_some()).map(|i| &i.head.descriptor)
    }

    pub fn on_answer(&mut self, answer: ChunkAnswer) {
        if let Some(outgoing) = self.outgoing.get(&answer.transfer) {
            // A task that is gone has said so in the inbox.
            let _ = outgoing.answers.unbounded_send(answer);
        }
    }

    /// What was sent to the node has been lost with its memory: the transfers have failed.
    pub fn on_restart(&mut self, of: NodeId) {
        self.outgoing.retain(|_, o| o.to != of);
    }
}

impl StoreCore {
    // --- sending ---

    /// Raft wants `to` to have a snapshot.
    pub(super) fn send_snapshot(&mut self, range: RangeId, to: ReplicaId, node: NodeId, message: Message) {
        if self.snapshots.outgoing.len() >= self.snapshots.max_outgoing {
            probe!("snapshot: put off, too many are being sent");
            // It asks again when the follower answers the next heartbeat.
            return self.step(range, Event::SnapshotSent { to, ok: false });
        }
        let Some(d) = self.replicas.get(&range) else { return };
        self.snapshots.next_transfer += 1;
        let transfer = self.snapshots.next_transfer;
        let (tx, answers) = mpsc::unbounded();
        self.snapshots.outgoing.insert(transfer, Outgoing { range, to: node, answers: tx });
        let sender = Sender {
            engine: self.parts.engine.clone(),
            chunk_bytes: self.parts.config.snapshot_chunk_bytes,
            inbox: self.shared.inbox.clone(),
            runtime: self.parts.runtime.clone(),
            range,
            from: d.group.id(),
            to,
            node,
            transfer,
            answers,
            unanswered: BTreeSet::new(),
            window: 1,
        };
        let inbox = self.shared.inbox.clone();
        self.parts.runtime.spawn(
            "send a snapshot",
            Box::pin(async move {
                let ok = match sender.run(message).await {
                    Ok(ok) => ok,
                    Err(e) => {
                        tracing::error!(%range, "a snapshot cannot be read: {e}");
                        false
                    }
                };
                inbox.push(Input::SnapshotSent { range, to, transfer, ok });
            }),
        );
    }

    pub(super) fn snapshot_sent(&mut self, range: RangeId, to: ReplicaId, transfer: u64, ok: bool) {
        self.snapshots.outgoing.remove(&transfer);
        self.awake.insert(range);
        self.step(range, Event::SnapshotSent { to, ok });
    }

    /// Of a range that is led here: followers that have installed a snapshot, whose last answer was lost.
    pub(super) fn snapshots_arrived(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get(&range) else { return };
        let Some(descriptor) = d.descriptor.clone() else { return };
        let has = |r: &&ReplicaDescriptor| d.group.standing(r.replica).is_some_and(|s| s.has_snapshot);
        let arrived: Vec<_> = descriptor.replicas.iter().filter(has).map(|r| (r.replica, r.node)).collect();
        for (to, node) in arrived {
            probe!("snapshot: installed, and the answer was lost");
            self.step(range, Event::SnapshotSent { to, ok: true });
            self.snapshots.outgoing.retain(|_, o| (o.range, o.to) != (range, node));
        }
    }

    // --- receiving ---

    pub(super) fn receive_chunk(&mut self, from: NodeId, chunk: SnapshotChunk) -> StorageResult<()> {
        let (range, transfer, number) = (chunk.range, chunk.transfer, chunk.number);
        let refusal = Envelope::ChunkAnswer(ChunkAnswer { range, transfer, number, accepted: false });
        let comes_in = |i: &Incoming| i.from == from && i.transfer == transfer;
        let known = self.snapshots.incoming.get(&range).is_some_and(comes_in);
        if !known && (number != 0 || !self.begin_receiving(from, &chunk)?) {
            self.send(from, refusal);
            return Ok(());
        }
        let deadline = self.now + RECEIVE_TIMEOUT;
        let Some(incoming) = self.snapshots.incoming.get_mut(&range) else { return Ok(()) };
        if number < incoming.next || number >= incoming.next + WINDOW {
            probe!("snapshot: a chunk comes twice");
            return Ok(());
        }
        incoming.deadline = deadline;
        incoming.early.insert(number, chunk);
        loop {
            let Some(incoming) = self.snapshots.incoming.get_mut(&range).filter(|i| comes_in(i)) else {
                return Ok(());
            };
            let Some(chunk) = incoming.early.remove(&incoming.next) else {
                return Ok(());
            };
            incoming.next += 1;
            self.receive_next_chunk(from, chunk)?;
        }
    }

    fn receive_next_chunk(&mut self, from: NodeId, chunk: SnapshotChunk) -> StorageResult<()> {
        let (range, transfer, number) = (chunk.range, chunk.transfer, chunk.number);
        if !chunk.data.is_empty() {
            snapshot::stage(&*self.parts.engine, range, number, &chunk.data)?;
        }
        if !chunk.message.is_empty() {
            return self.received_whole(from, chunk);
        }
        self.send(from, Envelope::ChunkAnswer(ChunkAnswer { range, transfer, number, accepted: true }));
        Ok(())
    }

    /// Whether a snapshot may come in.
    fn begin_receiving(&mut self, from: NodeId, chunk: &SnapshotChunk) -> StorageResult<bool> {
        let range = chunk.range;
        let Ok(head) = SnapshotHead::decode(chunk.head.clone()) else { return Ok(false) };
        let named = head.descriptor.replica(chunk.to).is_some_and(|r| r.node == self.node);
        probe!("snapshot: offered");
        let dead = self.tombstones.get(&range).is_some_and(|next| chunk.to < *next);
        if head.descriptor.range != range || !named || dead {
            return Ok(false);
        }
        if let Some(d) = self.replicas.get(&range) {
            // A snapshot must not jump over a split that is committed and not applied: it would never happen here.
            let behind =
                d.group.applied().0 < d.group.committed() && !(d.stranded && chunk.to > d.group.id());
            if d.group.is_applying_snapshot() || behind || chunk.to < d.group.id() {
                return Ok(false);
            }
            if chunk.to > d.group.id() {
                probe!("snapshot: replaces an earlier replica");
                self.destroy(range, chunk.to)?;
            }
        }
        let span = head.descriptor.span();
        let absorbed = self.absorbed_by(&head.descriptor);
        let taken = |r: &RangeId| absorbed.as_ref().is_some_and(|a| a.contains(r));
        let overlaps = absorbed.is_none()
            || self
                .snapshots
                .incoming
                .iter()
                .any(|(r, i)| *r != range && !taken(r) && i.head.descriptor.span().overlaps(&span));
        let busy = self.snapshots.incoming.get(&range).is_some_and(|i| i.installing.is_some());
        if overlaps || busy {
            probe!("snapshot: refused, it overlaps a range that has not been split here yet");
            return Ok(false);
        }
        snapshot::discard_staged(&*self.parts.engine, range)?;
        let deadline = self.now + RECEIVE_TIMEOUT;
        let (transfer, early) = (chunk.transfer, BTreeMap::new());
        let incoming = Incoming { from, transfer, next: 0, early, head, deadline, installing: None };
        self.snapshots.incoming.insert(range, incoming);
        Ok(true)
    }

    /// Everything is staged: Raft decides whether it wants it.
    fn received_whole(&mut self, from: NodeId, chunk: SnapshotChunk) -> StorageResult<()> {
        let range = chunk.range;
        let mut m = Message::default();
        let decoded = m.merge_from_bytes(&chunk.message).is_ok()
            && m.get_msg_type() == MessageType::MsgSnapshot
            && (m.from, m.to) == (chunk.from.0, chunk.to.0);
        let head = self.snapshots.incoming.get(&range).map(|i| i.head.clone());
        let behind = self.replicas.get(&range).is_some_and(|d| d.group.applied().0 < d.group.committed());
        // What it takes the place of, if anything, may have moved on meanwhile.
        let fits = |h: &SnapshotHead| self.absorbed_by(&h.descriptor).is_some();
        let Some(head) = head
            .filter(|h| decoded && !behind && m.get_snapshot().get_metadata().index == h.index && fits(h))
        else {
            return self.stop_receiving(range, from, &chunk, false);
        };
        if !self.replicas.contains_key(&range) {
            self.adopt_empty(range, chunk.to, &head)?;
        }
        let (sender, term) = (m.from, m.term);
        if let Some(d) = self.replicas.get_mut(&range) {
            d.addresses.insert(chunk.from, from);
        }
        self.step(range, Event::Message(m));
        self.note_promises(range, from, MessageType::MsgSnapshot, sender, term, 0);
        let Some(d) = self.replicas.get(&range) else { return Ok(()) };
        if !d.group.holds_snapshot() {
            probe!("snapshot: Raft does not take it");
            // Not needed; or from a leader whose term is over, which will hear of that when it speaks next.
            let not_needed = d.group.term() <= term;
            return self.stop_receiving(range, from, &chunk, not_needed);
        }
        if let Some(incoming) = self.snapshots.incoming.get_mut(&range) {
            incoming.installing = Some((chunk.number, Vec::new()));
        }
        self.make_room(&head)
    }

    fn stop_receiving(
        &mut self,
        range: RangeId,
        from: NodeId,
        chunk: &SnapshotChunk,
        accepted: bool,
    ) -> StorageResult<()> {
        self.snapshots.incoming.remove(&range);
        snapshot::discard_staged(&*self.parts.engine, range)?;
        if self.replicas.get(&range).is_some_and(|d| d.descriptor.is_none()) {
            self.replicas.remove(&range);
            self.awake.remove(&range);
        }
        let (transfer, number) = (chunk.transfer, chunk.number);
        self.send(from, Envelope::ChunkAnswer(ChunkAnswer { range, transfer, number, accepted }));
        Ok(())
    }

    /// A replica that will consist of the snapshot.
    fn adopt_empty(&mut self, range: RangeId, id: ReplicaId, head: &SnapshotHead) -> StorageResult<()> {
        let mut log_state = LogState::default();
        log_state.keep_vote(&self.absent_log(range)?);
        let group = Group::new(range, id, self.parts.log.clone(), log_state, (0, 0), None)?;
        let replica = self.shared.new_replica(head.descriptor.clone(), head.gc_threshold);
        self.adopt(Driven::new(replica, None, group));
        Ok(())
    }

    // --- installing ---

    /// Raft has taken the snapshot. `after` is to be sent when it is durable.
    pub(super) fn begin_install(
        &mut self,
        range: RangeId,
        wanted: &Snapshot,
        after: Vec<Message>,
    ) -> StorageResult<()> {
        let incoming = self.snapshots.incoming.get_mut(&range);
        let Some(incoming) = incoming.filter(|i| i.head.index == wanted.get_metadata().index) else {
            return Err(StorageError::Corruption(format!("{range} took a snapshot that was never received")));
        };
        if let Some((_, messages)) = &mut incoming.installing {
            *messages = after;
        }
        let head = incoming.head.clone();
        let mut batch = WriteBatch::new();
        snapshot::mark_complete(&mut batch, &head);
        self.parts.engine.write(&batch)?;
        let old = self.replicas.get(&range).and_then(|d| d.descriptor.as_ref()).map(|d| d.span());
        let (engine, inbox) = (self.parts.engine.clone(), self.shared.inbox.clone());
        self.parts.runtime.spawn_blocking(
            "install a snapshot",
            Box::pin(async move {
                let result = snapshot::install(&*engine, &head, old.as_ref()).await;
                inbox.push(Input::SnapshotInstalled { head, result });
            }),
        );
        Ok(())
    }

    pub(super) async fn snapshot_installed(
        &mut self,
        head: SnapshotHead,
        result: StorageResult<()>,
    ) -> StorageResult<()> {
        result?;
        let range = head.descriptor.range;
        let Some(d) = self.replicas.get(&range) else { return Ok(()) };
        let old = d.descriptor.clone();
        let mut ops = Vec::new();
        if old.is_none() {
            // Whatever an earlier replica left in the log. Its tombstone is flushed by now. A vote given before this one
            // was there is in its hard state.
            ops.push((range, LogOp::Destroy));
        }
        ops.push((range, LogOp::Reset { index: head.index, term: head.term }));
        ops.push((range, LogOp::SetHardState(d.group.hard_state())));
        self.write_log(&LogBatch { ops }, true).await?;
        probe!("snapshot: installed");
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        self.shared.destroyed.lock().retain(|r| *r != range);
        d.group.snapshot_applied(head.index, head.term, &head.descriptor);
        d.set_descriptor(Arc::new(head.descriptor.clone()));
        d.proposals.give_up("the replica was overtaken by a snapshot");
        d.replica.set_gc_threshold(head.gc_threshold);
        let replica = d.replica.clone();
        match &old {
            Some(_) => self.shared.redescribe(&replica, head.descriptor.clone()),
            None => self.shared.publish(&replica),
        }
        self.count_peers(old.as_deref(), Some(&head.descriptor));
        if let Some(incoming) = self.snapshots.incoming.remove(&range)
            && let Some((number, after)) = incoming.installing
        {
            self.route(range, after);
            let answer = ChunkAnswer { range, transfer: incoming.transfer, number, accepted: true };
            self.send(incoming.from, Envelope::ChunkAnswer(answer));
        }
        self.awake.insert(range);
        self.mark(range);
        Ok(())
    }

    /// Forgets what nobody goes on sending.
    pub(super) fn snapshot_timeouts(&mut self) -> StorageResult<()> {
        let now = self.now;
        let late: Vec<RangeId> = self
            .snapshots
            .incoming
            .iter()
            .filter(|(_, i)| i.installing.is_none() && i.deadline <= now)
            .map(|(r, _)| *r)
            .collect();
        for range in late {
            probe!("snapshot: given up, nothing more came");
            self.snapshots.incoming.remove(&range);
            snapshot::discard_staged(&*self.parts.engine, range)?;
        }
        Ok(())
    }
}

/// Sends one snapshot.
struct Sender {
    engine: Arc<dyn Engine>,
    chunk_bytes: usize,
    inbox: Arc<Inbox>,
    runtime: Arc<dyn Runtime>,
    range: RangeId,
    from: ReplicaId,
    to: ReplicaId,
    node: NodeId,
    transfer: u64,
    answers: mpsc::UnboundedReceiver<ChunkAnswer>,
    unanswered: BTreeSet<u32>,
    window: usize,
}

impl Sender {
    /// Whether the receiver has installed it, or needs it no longer.
    async fn run(mut self, mut message: Message) -> StorageResult<bool> {
        let engine = self.engine.clone();
        let view = engine.snapshot();
        let head = SnapshotHead::read(&*view, self.range)?;
        let metadata = message.mut_snapshot().mut_metadata();
        if head.index < metadata.index || head.descriptor.replica(self.to).is_none() {
            return Ok(false);
        }
        (metadata.index, metadata.term) = (head.index, head.term);
        metadata.set_conf_state(conf_state(&head.descriptor));
        let mut reader = ChunkReader::new(&*view, &head.descriptor, self.chunk_bytes);
        let mut number = 0;
        while let Some(data) = reader.next_chunk()? {
            let first = if number == 0 { head.encode().into() } else { Bytes::new() };
            if !self.send(number, first, data.into_bytes(), Bytes::new()).await {
                return Ok(false);
            }
            number += 1;
        }
        let Ok(message) = message.write_to_bytes() else { return Ok(false) };
        let first = if number == 0 { head.encode().into() } else { Bytes::new() };
        if !self.send(number, first, Bytes::new(), message.into()).await {
            return Ok(false);
        }
        while !self.unanswered.is_empty() {
            let within = if self.unanswered.len() == 1 { INSTALL_TIMEOUT } else { ANSWER_TIMEOUT };
            if !self.answered(within).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends one chunk when the window has room. False if the transfer has failed.
    async fn send(&mut self, number: u32, head: Bytes, data: Bytes, message: Bytes) -> bool {
        while self.unanswered.len() >= self.window {
            if !self.answered(ANSWER_TIMEOUT).await {
                return false;
            }
            self.window = WINDOW as usize;
        }
        self.unanswered.insert(number);
        let (range, from, to, transfer) = (self.range, self.from, self.to, self.transfer);
        let chunk = SnapshotChunk { range, from, to, transfer, number, head, data, message };
        self.inbox.push(Input::Send { to: self.node, envelope: Envelope::Chunk(chunk) })
    }

    /// False if the transfer has failed: nothing came in time, or the receiver has restarted.
    async fn answered(&mut self, within: Duration) -> bool {
        loop {
            match timeout(&*self.runtime, within, self.answers.next()).await {
                // An answer may come twice.
                Some(Some(answer)) if !self.unanswered.remove(&answer.number) => {}
                Some(Some(answer)) => return answer.accepted,
                _ => return false,
            }
        }
    }
}
