//! The promises of the module's essay, each by itself.

use std::collections::VecDeque;

use protobuf::Message as _;
use raft::eraftpb::EntryType;

use super::*;
use crate::base::{Key, NodeId};
use crate::log::{LogBatch, LogOp, MemLog};
use crate::replica::{ReplicaDescriptor, ReplicaKind};

const RANGE: RangeId = RangeId(1);

struct Peer {
    group: Group,
    log: Arc<MemLog>,
}

fn descriptor(n: u64) -> RangeDescriptor {
    RangeDescriptor {
        range: RANGE,
        start: Key::MIN,
        end: Key::from("z"),
        generation: 1,
        replicas: (1..=n)
            .map(|i| ReplicaDescriptor {
                node: NodeId(i as u32),
                replica: ReplicaId(i),
                kind: ReplicaKind::Voter,
            })
            .collect(),
        next_replica: ReplicaId(n + 1),
        merging: Default::default(),
    }
}

fn open(id: u64, log: Arc<MemLog>, voters: u64, applied: (u64, u64)) -> Peer {
    let state = log.state(RANGE).expect("memory").unwrap_or_default();
    let group = Group::new(RANGE, ReplicaId(id), log.clone(), state, applied, Some(&descriptor(voters)))
        .expect("a consistent log");
    Peer { group, log }
}

fn peer(id: u64, voters: u64) -> Peer {
    let log = Arc::new(MemLog::new());
    let ops = vec![
        (RANGE, LogOp::Reset { index: 10, term: 5 }),
        (RANGE, LogOp::SetHardState(HardState { term: 5, vote: 0, commit: 10 })),
    ];
    log.write(&LogBatch { ops }, true).expect("memory");
    open(id, log, voters, (10, 5))
}

impl Peer {
    fn write(&self, effects: &Effects) {
        let mut ops = Vec::new();
        if !effects.entries.is_empty() {
            ops.push((RANGE, LogOp::Append(effects.entries.clone())));
        }
        ops.extend(effects.hard_state.map(|hs| (RANGE, LogOp::SetHardState(hs))));
        self.log.write(&LogBatch { ops }, effects.must_sync).expect("memory");
    }

    /// Carries out everything; what was committed, and all messages.
    fn settle(&mut self) -> (Vec<u64>, Vec<Message>) {
        let (mut committed, mut messages) = (Vec::new(), Vec::new());
        while self.group.has_effects() {
            let mut effects = self.group.effects();
            messages.append(&mut effects.messages);
            self.write(&effects);
            self.group.step(Event::Persisted(effects.number)).expect("in order");
            messages.append(&mut effects.messages_after_persist);
            for e in effects.committed {
                committed.push(e.index);
                self.group.step(Event::Applied { index: e.index, term: e.term }).expect("in order");
            }
        }
        (committed, messages)
    }
}

fn entry(data: &'static str) -> Entry {
    Entry { data: data.into(), ..Entry::default() }
}

/// Delivers until nothing is on its way.
fn exchange(peers: &mut [Peer], first: Vec<Message>) {
    let mut flying: VecDeque<Message> = first.into();
    while let Some(m) = flying.pop_front() {
        let Some(to) = peers.get_mut(m.to as usize - 1) else { continue };
        let _ = to.group.step(Event::Message(m));
        flying.extend(to.settle().1);
    }
}

fn elected() -> Vec<Peer> {
    elected_by((1..=3).map(|i| peer(i, 3)).collect())
}

fn elected_by(mut peers: Vec<Peer>) -> Vec<Peer> {
    peers[0].group.step(Event::Campaign(Campaign::PreVote)).expect("a voter");
    let (_, messages) = peers[0].settle();
    exchange(&mut peers, messages);
    assert!(peers[0].group.is_leader());
    peers
}

#[test]
fn a_single_voter_commits_what_it_has_persisted_and_nothing_else() {
    let mut p = peer(1, 1);
    p.group.step(Event::Campaign(Campaign::PreVote)).expect("a voter");
    p.settle();
    assert!(p.group.is_leader());
    p.group.step(Event::Propose(vec![entry("a"), entry("b")])).expect("the leader");
    let effects = p.group.effects();
    assert_eq!(effects.entries.len(), 2);
    assert!(effects.must_sync && effects.committed.is_empty(), "nothing is committed before it is durable");
    p.write(&effects);
    assert!(!p.group.has_effects());
    p.group.step(Event::Persisted(effects.number)).expect("in order");
    assert_eq!(p.settle().0, [12, 13]);
}

#[test]
fn a_leader_sends_before_its_own_disk_has_synced_and_a_follower_answers_after() {
    let mut peers = elected();
    peers[0].group.step(Event::Propose(vec![entry("a")])).expect("the leader");
    let effects = peers[0].group.effects();
    let to: Vec<u64> = effects.messages.iter().map(|m| m.to).collect();
    assert_eq!(to.len(), 2, "to {to:?}");
    let append = effects.messages[0].clone();
    let follower = &mut peers[append.to as usize - 1];
    follower.group.step(Event::Message(append)).expect("a follower");
    let answer = follower.group.effects();
    assert!(answer.messages.is_empty() && answer.must_sync);
    assert_eq!(answer.messages_after_persist.len(), 1);
}

/// The message that the follower takes to say what it lacks must not be filled into one that waits to be sent.
#[test]
fn entries_follow_what_their_message_names_as_the_one_before() {
    let mut peers = elected();
    let mut propose = |entry| {
        peers[0].group.step(Event::Propose(vec![entry])).expect("the leader");
        peers[0].settle().1
    };
    // Node 2 misses the first, and refuses the second. While a configuration waits, commits are told at once.
    let change = change_between(&descriptor(3), &descriptor(4)).expect("one step");
    let mut waiting = Entry { data: change.write_to_bytes().expect("encodes").into(), ..Entry::default() };
    waiting.set_entry_type(EntryType::EntryConfChangeV2);
    let (first, second) = (propose(waiting), propose(entry("b")));
    let to = |node: u64| move |m: &Message| m.to == node;
    let mut answers = Vec::new();
    for m in first.into_iter().filter(to(3)).chain(second) {
        let follower = &mut peers[m.to as usize - 1];
        follower.group.step(Event::Message(m)).expect("a follower");
        answers.extend(follower.settle().1);
    }
    assert_eq!(answers.iter().filter(|m| m.reject).count(), 1, "{answers:?}");
    // What node 3 has makes the leader tell of the commit; before that is sent, it learns of the refusal.
    answers.sort_by_key(|m| m.reject);
    for m in answers {
        peers[0].group.step(Event::Message(m)).expect("the leader");
    }
    let (_, messages) = peers[0].settle();
    let appends: Vec<&Message> = messages.iter().filter(|m| m.to == 2).collect();
    for m in &appends {
        assert!(m.entries.first().is_none_or(|e| e.index == m.index + 1), "{m:?}");
    }
    assert!(appends.iter().any(|m| m.entries.is_empty()) && appends.iter().any(|m| !m.entries.is_empty()));
}

#[test]
fn a_majority_without_the_leaders_disk_commits_but_the_leader_applies_only_what_it_has() {
    let mut peers = elected();
    peers[0].group.step(Event::Propose(vec![entry("a")])).expect("the leader");
    let effects = peers[0].group.effects();
    let index = peers[0].group.last_index();
    let mut answers = Vec::new();
    for m in effects.messages.clone() {
        let follower = &mut peers[m.to as usize - 1];
        follower.group.step(Event::Message(m)).expect("a follower");
        answers.extend(follower.settle().1);
    }
    for m in answers {
        peers[0].group.step(Event::Message(m)).expect("the leader");
    }
    assert_eq!(peers[0].group.committed(), index);
    while peers[0].group.has_effects() {
        assert!(peers[0].group.effects().committed.is_empty(), "not in the leader's log yet");
    }
    peers[0].write(&effects);
    peers[0].group.step(Event::Persisted(effects.number)).expect("in order");
    assert_eq!(peers[0].settle().0, [index]);
}

#[test]
fn the_commit_index_is_written_lazily_and_raised_to_what_was_applied() {
    let mut p = peer(1, 1);
    p.group.step(Event::Campaign(Campaign::PreVote)).expect("a voter");
    p.settle();
    p.group.step(Event::Propose(vec![entry("a")])).expect("the leader");
    p.settle();
    let stored = p.log.state(RANGE).expect("memory").expect("there");
    assert!(stored.hard_state.commit < 12, "no write for a commit index alone");
    let again = open(1, p.log, 1, (12, 6));
    assert_eq!(again.group.committed(), 12);
}

#[test]
fn a_log_that_does_not_hold_the_applied_index_is_corruption() {
    let p = peer(1, 1);
    let state = p.log.state(RANGE).expect("memory").expect("there");
    let opened = Group::new(RANGE, ReplicaId(1), p.log, state, (99, 6), Some(&descriptor(1)));
    assert!(matches!(opened.err(), Some(StorageError::Corruption(_))));
}

#[test]
fn only_a_leader_takes_proposals() {
    let mut peers = elected();
    assert_eq!(peers[1].group.step(Event::Propose(vec![entry("a")])), Err(Refused::NotLeader));
    peers[0].group.step(Event::TransferTo(ReplicaId(2))).expect("the leader");
    assert_eq!(peers[0].group.step(Event::Propose(vec![entry("a")])), Err(Refused::NotLeader));
}

#[test]
fn a_replica_without_a_log_is_sent_a_snapshot() {
    let empty = Arc::new(MemLog::new());
    let group =
        Group::new(RANGE, ReplicaId(3), empty.clone(), LogState::default(), (0, 0), None).expect("empty");
    let mut peers = elected_by(vec![peer(1, 3), peer(2, 3)]);
    peers.push(Peer { group, log: empty });
    // Its first message is lost; the next heartbeat asks again.
    peers[0].group.step(Event::Ping).expect("the leader");
    let (_, messages) = peers[0].settle();
    let mut flying: VecDeque<Message> = messages.into();
    let mut snapshot = None;
    for _ in 0..50 {
        let Some(m) = flying.pop_front() else { break };
        if m.get_msg_type() == MessageType::MsgSnapshot {
            snapshot = Some(m);
            break;
        }
        let to = &mut peers[m.to as usize - 1];
        let _ = to.group.step(Event::Message(m));
        flying.extend(to.settle().1);
    }
    let snapshot = snapshot.expect("the leader's log begins above the new replica's");
    let at = snapshot.get_snapshot().get_metadata().clone();
    assert_eq!(peers[0].group.applied().0, at.index);
    let p = &mut peers[2].group;
    p.step(Event::Message(snapshot)).expect("a follower");
    assert!(p.holds_snapshot());
    // A delayed message whose entries would follow the snapshot.
    let mut append = Message::default();
    append.set_msg_type(MessageType::MsgAppend);
    (append.from, append.to, append.term) = (1, 3, p.term());
    (append.index, append.log_term, append.commit) = (at.index, at.term, at.index);
    append.set_entries(vec![Entry { term: at.term, index: at.index + 1, ..entry("late") }].into());
    assert_eq!(p.step(Event::Message(append)), Err(Refused::Ignored));
    assert!(p.effects().snapshot.is_some() && p.is_applying_snapshot());
    p.snapshot_applied(at.index, at.term, &descriptor(3));
    assert_eq!((p.applied(), p.last_index()), ((at.index, at.term), at.index));
}

/// raft-rs lets votes pass by the time since it last heard of a leader. That must not make a leader step down.
#[test]
fn a_refused_candidate_does_not_hurry_the_leader() {
    let mut peers = elected();
    let mut vote = Message::default();
    vote.set_msg_type(MessageType::MsgRequestPreVote);
    (vote.from, vote.to, vote.term) = (3, 1, peers[0].group.term() + 1);
    for _ in 0..3 {
        peers[0].group.step(Event::Message(vote.clone())).expect("considered");
        peers[0].settle();
        peers[0].group.step(Event::Tick).expect("the leader");
    }
    assert!(peers[0].group.is_leader());
}
