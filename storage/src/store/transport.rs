//! What stores say to one another, and its byte form.
//!
//! Messages travel in batches, one batch per destination and turn, fire and forget: a batch may be lost, delayed,
//! repeated or overtaken, as a whole. The binary carries them over one long-lived stream per pair of nodes.
//!
//! What must stay true: every batch carries the sender's clock as of the moment it leaves, and the receiver shows it
//! to its own clock before it looks at anything else. Leases rest on that (see `replica::lease`).
//!
//! Raft's own messages are opaque bytes here; they are decoded by the replica they are for.

use bytes::Bytes;

use crate::base::wire::{Reader, put_bytes, put_timestamp, put_varint};
use crate::base::{Key, NodeId, RangeId, ReplicaId, StorageResult, Timestamp};
use crate::replica::RangeDescriptor;

const FORMAT: u8 = 3;

/// Carries batches to other nodes. Never blocks; may drop.
pub trait RaftTransport: Send + Sync + 'static {
    fn send(&self, batch: MessageBatch);
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageBatch {
    pub from: NodeId,
    pub to: NodeId,
    /// The sender's clock when the batch left.
    pub clock: Timestamp,
    pub envelopes: Vec<Envelope>,
}

/// One message between two stores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Envelope {
    Raft(RaftEnvelope),
    /// "I live; support me until then."
    Heartbeat(Heartbeat),
    /// "I support you."
    Support(Support),
    /// "What time is it with you?"
    Probe(Probe),
    /// "This."
    Echo(Echo),
    /// "This is the range now; you are no longer part of it."
    Removed(RangeDescriptor),
    /// "Am I still part of this range?" Answered only if not.
    StillMember {
        range: RangeId,
        replica: ReplicaId,
    },
    /// "I am bound to your replica, but it does not lead: does it serve no more?" `start`: of the range.
    HasRelinquished {
        range: RangeId,
        replica: ReplicaId,
        start: Key,
    },
    /// "That replica is gone, and its lease with it: promises to it are void."
    Relinquished {
        range: RangeId,
        replica: ReplicaId,
    },
    /// "The split was applied here, and that replica does not lead: what was promised to the leader of the left side is void."
    Parted {
        range: RangeId,
        replica: ReplicaId,
    },
    /// "That range was merged into another one; all its replicas are dead."
    Absorbed {
        range: RangeId,
    },
    /// "I am about to merge that range into mine; how is it there?"
    AskRight {
        of: MergeAttempt,
        wish: Wish,
    },
    RightIs {
        of: MergeAttempt,
        state: RightState,
    },
    Chunk(SnapshotChunk),
    ChunkAnswer(ChunkAnswer),
}

/// One attempt to merge a range into its left neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MergeAttempt {
    pub left: RangeId,
    /// The left range's generation when it began.
    pub attempt: u64,
    pub right: RangeId,
    /// The right range's generation, for which alone it may be frozen.
    pub generation: u64,
}

/// What is to be done with the right side of a merge by whoever leads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Wish {
    Tell = 0,
    Freeze = 1,
    LetGo = 2,
}

/// How the right side of a merge is on a node, in the order in which it comes to that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum RightState {
    /// Not frozen by the attempt; it may yet be.
    Whole = 0,
    Frozen = 1,
    /// The attempt has passed.
    Free = 2,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RaftEnvelope {
    pub range: RangeId,
    pub from: ReplicaId,
    pub to: ReplicaId,
    /// The epoch of support in which the sending replica is bound to the receiving node as its leader; 0 if it is not.
    pub promise: u64,
    /// Of a request for a vote: where the candidate's range begins.
    pub start: Key,
    /// A message of raft-rs, in its protobuf form.
    pub message: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Grows with every start of the sender.
    pub incarnation: u64,
    /// By the sender's clock.
    pub support_until: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Support {
    pub epoch: u64,
    pub until: Timestamp,
}

/// Answered whatever the clocks of the two say: by it, nodes find out which of them is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Grows with every start of the sender.
    pub incarnation: u64,
    /// The sender's monotonic clock, nanoseconds.
    pub sent: u64,
    /// Whether it relies on its wall clock.
    pub sound: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Those of the probe answered.
    pub incarnation: u64,
    pub sent: u64,
    /// The wall clock of who answers, when it answered; nanoseconds since the Unix epoch.
    pub wall: u64,
    /// Whether it relies on that clock itself.
    pub sound: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotChunk {
    pub range: RangeId,
    pub from: ReplicaId,
    pub to: ReplicaId,
    /// Of this transfer; a new attempt has a new one.
    pub transfer: u64,
    /// From 0, without gaps.
    pub number: u32,
    /// With the first chunk: the encoded head of the snapshot.
    pub head: Bytes,
    /// A write batch in byte form; empty in the last chunk.
    pub data: Bytes,
    /// With the last chunk: the Raft message that the snapshot belongs to.
    pub message: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkAnswer {
    pub range: RangeId,
    pub transfer: u64,
    pub number: u32,
    pub accepted: bool,
}

impl MessageBatch {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 96 * self.envelopes.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.from.0.to_be_bytes());
        out.extend_from_slice(&self.to.0.to_be_bytes());
        put_timestamp(&mut out, self.clock);
        put_varint(&mut out, self.envelopes.len() as u64);
        for e in &self.envelopes {
            e.encode(&mut out);
        }
        out
    }

    /// Shares the memory of `bytes`.
    pub fn decode(bytes: Bytes) -> StorageResult<MessageBatch> {
        let mut r = Reader::new(bytes, "a batch of messages between stores");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let (from, to, clock) = (NodeId(r.u32()?), NodeId(r.u32()?), r.timestamp()?);
        let n = r.count()?;
        let mut envelopes = Vec::with_capacity(n.min(1024));
        for _ in 0..n {
            envelopes.push(Envelope::decode(&mut r)?);
        }
        r.end()?;
        Ok(MessageBatch { from, to, clock, envelopes })
    }
}

impl Envelope {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Envelope::Raft(e) => 32 + e.message.len(),
            Envelope::Chunk(c) => 64 + c.head.len() + c.data.len() + c.message.len(),
            _ => 64,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Envelope::Raft(e) => {
                out.push(1);
                put_varint(out, e.range.0);
                put_varint(out, e.from.0);
                put_varint(out, e.to.0);
                put_varint(out, e.promise);
                put_bytes(out, &e.start);
                put_bytes(out, &e.message);
            }
            Envelope::Heartbeat(h) => {
                out.push(2);
                put_varint(out, h.incarnation);
                put_timestamp(out, h.support_until);
            }
            Envelope::Support(s) => {
                out.push(3);
                put_varint(out, s.epoch);
                put_timestamp(out, s.until);
            }
            Envelope::Probe(p) => {
                out.push(11);
                put_varint(out, p.incarnation);
                put_varint(out, p.sent);
                out.push(u8::from(p.sound));
            }
            Envelope::Echo(e) => {
                out.push(12);
                for n in [e.incarnation, e.sent, e.wall] {
                    put_varint(out, n);
                }
                out.push(u8::from(e.sound));
            }
            Envelope::Removed(descriptor) => {
                out.push(4);
                put_bytes(out, &descriptor.encode());
            }
            Envelope::StillMember { range, replica } => {
                out.push(5);
                put_varint(out, range.0);
                put_varint(out, replica.0);
            }
            Envelope::HasRelinquished { range, replica, start } => {
                out.push(8);
                put_varint(out, range.0);
                put_varint(out, replica.0);
                put_bytes(out, start);
            }
            Envelope::Relinquished { range, replica } => {
                out.push(9);
                put_varint(out, range.0);
                put_varint(out, replica.0);
            }
            Envelope::Parted { range, replica } => {
                out.push(10);
                put_varint(out, range.0);
                put_varint(out, replica.0);
            }
            Envelope::Absorbed { range } => {
                out.push(13);
                put_varint(out, range.0);
            }
            Envelope::AskRight { of, wish } => {
                out.push(14);
                of.encode(out);
                out.push(*wish as u8);
            }
            Envelope::RightIs { of, state } => {
                out.push(15);
                of.encode(out);
                out.push(*state as u8);
            }
            Envelope::Chunk(c) => {
                out.push(6);
                for n in [c.range.0, c.from.0, c.to.0, c.transfer, u64::from(c.number)] {
                    put_varint(out, n);
                }
                put_bytes(out, &c.head);
                put_bytes(out, &c.data);
                put_bytes(out, &c.message);
            }
            Envelope::ChunkAnswer(a) => {
                out.push(7);
                put_varint(out, a.range.0);
                put_varint(out, a.transfer);
                put_varint(out, u64::from(a.number));
                out.push(u8::from(a.accepted));
            }
        }
    }

    fn decode(r: &mut Reader) -> StorageResult<Envelope> {
        Ok(match r.u8()? {
            1 => Envelope::Raft(RaftEnvelope {
                range: RangeId(r.varint()?),
                from: ReplicaId(r.varint()?),
                to: ReplicaId(r.varint()?),
                promise: r.varint()?,
                start: r.key()?,
                message: r.bytes()?,
            }),
            2 => Envelope::Heartbeat(Heartbeat { incarnation: r.varint()?, support_until: r.timestamp()? }),
            3 => Envelope::Support(Support { epoch: r.varint()?, until: r.timestamp()? }),
            11 => Envelope::Probe(Probe { incarnation: r.varint()?, sent: r.varint()?, sound: r.u8()? != 0 }),
            12 => Envelope::Echo(Echo {
                incarnation: r.varint()?,
                sent: r.varint()?,
                wall: r.varint()?,
                sound: r.u8()? != 0,
            }),
            4 => Envelope::Removed(RangeDescriptor::decode(r.bytes()?)?),
            5 => Envelope::StillMember { range: RangeId(r.varint()?), replica: ReplicaId(r.varint()?) },
            6 => Envelope::Chunk(SnapshotChunk {
                range: RangeId(r.varint()?),
                from: ReplicaId(r.varint()?),
                to: ReplicaId(r.varint()?),
                transfer: r.varint()?,
                number: number(r)?,
                head: r.bytes()?,
                data: r.bytes()?,
                message: r.bytes()?,
            }),
            7 => Envelope::ChunkAnswer(ChunkAnswer {
                range: RangeId(r.varint()?),
                transfer: r.varint()?,
                number: number(r)?,
                accepted: r.u8()? != 0,
            }),
            8 => Envelope::HasRelinquished {
                range: RangeId(r.varint()?),
                replica: ReplicaId(r.varint()?),
                start: r.key()?,
            },
            9 => Envelope::Relinquished { range: RangeId(r.varint()?), replica: ReplicaId(r.varint()?) },
            10 => Envelope::Parted { range: RangeId(r.varint()?), replica: ReplicaId(r.varint()?) },
            13 => Envelope::Absorbed { range: RangeId(r.varint()?) },
            14 => {
                let of = MergeAttempt::decode(r)?;
                let wish = match r.u8()? {
                    0 => Wish::Tell,
                    1 => Wish::Freeze,
                    2 => Wish::LetGo,
                    _ => return Err(r.malformed()),
                };
                Envelope::AskRight { of, wish }
            }
            15 => {
                let of = MergeAttempt::decode(r)?;
                let state = match r.u8()? {
                    0 => RightState::Whole,
                    1 => RightState::Frozen,
                    2 => RightState::Free,
                    _ => return Err(r.malformed()),
                };
                Envelope::RightIs { of, state }
            }
            _ => return Err(r.malformed()),
        })
    }
}

impl MergeAttempt {
    fn encode(&self, out: &mut Vec<u8>) {
        [self.left.0, self.attempt, self.right.0, self.generation].iter().for_each(|n| put_varint(out, *n));
    }

    fn decode(r: &mut Reader) -> StorageResult<Self> {
        let (left, attempt) = (RangeId(r.varint()?), r.varint()?);
        Ok(MergeAttempt { left, attempt, right: RangeId(r.varint()?), generation: r.varint()? })
    }
}

fn number(r: &mut Reader) -> StorageResult<u32> {
    u32::try_from(r.varint()?).map_err(|_| r.malformed())
}

/// A transport to nowhere, for a node that has no peers.
pub struct NoTransport;

impl RaftTransport for NoTransport {
    fn send(&self, _: MessageBatch) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> MessageBatch {
        let bytes = Bytes::from_static;
        let descriptor = RangeDescriptor {
            range: RangeId(300),
            start: Key::MIN,
            end: Key::from("x"),
            generation: 2,
            replicas: vec![],
            next_replica: ReplicaId(3),
            merging: Default::default(),
        };
        let at = Timestamp::new(99, 1);
        let of = MergeAttempt { left: RangeId(300), attempt: 4, right: RangeId(301), generation: 1 << 40 };
        MessageBatch {
            from: NodeId(1),
            to: NodeId(2),
            clock: Timestamp::new(1 << 60, 7),
            envelopes: vec![
                Envelope::Raft(RaftEnvelope {
                    range: RangeId(300),
                    from: ReplicaId(1),
                    to: ReplicaId(2),
                    promise: 1 << 33,
                    start: Key::from("m"),
                    message: bytes(b"raft"),
                }),
                Envelope::Heartbeat(Heartbeat { incarnation: 3, support_until: at }),
                Envelope::Support(Support { epoch: 9, until: at }),
                Envelope::Probe(Probe { incarnation: 3, sent: 5, sound: false }),
                Envelope::Echo(Echo { incarnation: 3, sent: 5, wall: 1 << 60, sound: true }),
                Envelope::Removed(descriptor),
                Envelope::StillMember { range: RangeId(1), replica: ReplicaId(4) },
                Envelope::HasRelinquished { range: RangeId(1), replica: ReplicaId(4), start: Key::from("m") },
                Envelope::Relinquished { range: RangeId(1), replica: ReplicaId(4) },
                Envelope::Parted { range: RangeId(1), replica: ReplicaId(4) },
                Envelope::Absorbed { range: RangeId(300) },
                Envelope::AskRight { of, wish: Wish::Freeze },
                Envelope::RightIs { of, state: RightState::Frozen },
                Envelope::Chunk(SnapshotChunk {
                    range: RangeId(1),
                    from: ReplicaId(1),
                    to: ReplicaId(2),
                    transfer: 8,
                    number: 0,
                    head: bytes(b"head"),
                    data: bytes(b"data"),
                    message: bytes(b""),
                }),
                Envelope::ChunkAnswer(ChunkAnswer {
                    range: RangeId(1),
                    transfer: 8,
                    number: 0,
                    accepted: true,
                }),
            ],
        }
    }

    #[test]
    fn every_message_survives_the_round_trip() {
        let batch = sample();
        assert_eq!(MessageBatch::decode(batch.encode().into()).expect("well formed"), batch);
    }

    #[test]
    fn every_truncation_is_refused() {
        let all = Bytes::from(sample().encode());
        for n in 0..all.len() {
            assert!(MessageBatch::decode(all.slice(..n)).is_err(), "{n} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(mut bytes: Vec<u8>, flip: prop::sample::Index, to: u8) {
            let _ = MessageBatch::decode(bytes.clone().into());
            bytes = sample().encode();
            let at = flip.index(bytes.len());
            bytes[at] = to;
            let _ = MessageBatch::decode(bytes.into());
        }
    }
}
