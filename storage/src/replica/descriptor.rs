//! What a range is: its bounds, where its replicas are, and whether it is being merged with a neighbour.

use bytes::Bytes;

use crate::base::wire::{Reader, put_bytes, put_varint};
use crate::base::{Key, NodeId, RangeId, ReplicaId, Span, StorageResult};

/// The first byte of an encoded descriptor: of one that is not being merged, and of one that is.
const FORMAT: u8 = 1;
const FORMAT_MERGING: u8 = 2;

/// The numbers are stored: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ReplicaKind {
    Voter = 0,
    /// Receives the log, does not vote; on its way in.
    Learner = 1,
    /// Voter in the new configuration only (joint consensus).
    Incoming = 2,
    /// Voter in the old configuration only (joint consensus).
    Outgoing = 3,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaDescriptor {
    pub node: NodeId,
    pub replica: ReplicaId,
    pub kind: ReplicaKind,
}

/// The part of a range in a merge (see `store::merge`). While it has one, it is neither split nor are its replicas changed.
///
/// `attempt` is the left range's generation when it began; together with the left range it names the merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Merging {
    #[default]
    No,
    /// About to take in the range on its right, which was of this generation before it was frozen.
    Absorbing { right: RangeId, generation: u64, attempt: u64 },
    /// The merge will not be: the range on the right is to be let go.
    GivingUp { right: RangeId, generation: u64, attempt: u64 },
    /// About to be taken in by the range on its left: nothing is served and nothing written, whoever leads.
    Frozen { left: RangeId, attempt: u64 },
}

/// `generation` grows with every change of bounds, replicas, or part in a merge; of two descriptors that overlap, the one
/// with the higher generation is newer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeDescriptor {
    pub range: RangeId,
    pub start: Key,
    pub end: Key,
    pub generation: u64,
    pub replicas: Vec<ReplicaDescriptor>,
    pub next_replica: ReplicaId,
    pub merging: Merging,
}

impl RangeDescriptor {
    pub fn span(&self) -> Span {
        Span::new(self.start.clone(), self.end.clone())
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }

    pub fn replica_on(&self, node: NodeId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|r| r.node == node)
    }

    pub fn voters(&self) -> impl Iterator<Item = &ReplicaDescriptor> {
        self.replicas.iter().filter(|r| matches!(r.kind, ReplicaKind::Voter | ReplicaKind::Incoming))
    }

    pub fn replica(&self, id: ReplicaId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|r| r.replica == id)
    }

    /// Whether the replicas are between two configurations.
    pub fn is_joint(&self) -> bool {
        self.replicas.iter().any(|r| matches!(r.kind, ReplicaKind::Incoming | ReplicaKind::Outgoing))
    }

    /// Whether `other` has the same replicas in the same roles.
    pub fn same_replicas(&self, other: &RangeDescriptor) -> bool {
        self.replicas == other.replicas
    }

    /// The descriptor after leaving the joint configuration.
    #[must_use]
    pub fn left_joint(&self) -> RangeDescriptor {
        let mut next = self.clone();
        next.generation += 1;
        next.replicas.retain(|r| r.kind != ReplicaKind::Outgoing);
        for r in &mut next.replicas {
            if r.kind == ReplicaKind::Incoming {
                r.kind = ReplicaKind::Voter;
            }
        }
        next
    }

    /// The stored and transmitted form: the value of a `meta` row, and part of triggers and snapshots.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + self.start.len() + self.end.len() + 13 * self.replicas.len());
        out.push(if self.merging == Merging::No { FORMAT } else { FORMAT_MERGING });
        out.extend_from_slice(&self.range.0.to_be_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.next_replica.0.to_be_bytes());
        put_bytes(&mut out, &self.start);
        put_bytes(&mut out, &self.end);
        put_varint(&mut out, self.replicas.len() as u64);
        for r in &self.replicas {
            out.extend_from_slice(&r.node.0.to_be_bytes());
            out.extend_from_slice(&r.replica.0.to_be_bytes());
            out.push(r.kind as u8);
        }
        self.merging.encode(&mut out);
        out
    }

    pub fn is_frozen(&self) -> bool {
        matches!(self.merging, Merging::Frozen { .. })
    }

    pub fn decode(bytes: Bytes) -> StorageResult<Self> {
        let mut r = Reader::new(bytes, "a range descriptor");
        let format = r.u8()?;
        if format != FORMAT && format != FORMAT_MERGING {
            return Err(r.malformed());
        }
        let (range, generation, next_replica) = (RangeId(r.u64()?), r.u64()?, ReplicaId(r.u64()?));
        let (start, end) = (r.key()?, r.key()?);
        if start >= end {
            return Err(r.malformed());
        }
        let n = r.count()?;
        let mut replicas = Vec::with_capacity(n);
        for _ in 0..n {
            let (node, replica) = (NodeId(r.u32()?), ReplicaId(r.u64()?));
            let kind = ReplicaKind::from_u8(r.u8()?).ok_or_else(|| r.malformed())?;
            replicas.push(ReplicaDescriptor { node, replica, kind });
        }
        let merging = if format == FORMAT_MERGING { Merging::decode(&mut r)? } else { Merging::No };
        r.end()?;
        Ok(RangeDescriptor { range, start, end, generation, replicas, next_replica, merging })
    }
}

impl Merging {
    fn encode(self, out: &mut Vec<u8>) {
        let (kind, numbers) = match self {
            Merging::No => return,
            Merging::Absorbing { right, generation, attempt } => (1, [right.0, generation, attempt]),
            Merging::GivingUp { right, generation, attempt } => (2, [right.0, generation, attempt]),
            Merging::Frozen { left, attempt } => (3, [left.0, 0, attempt]),
        };
        out.push(kind);
        numbers.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
    }

    fn decode(r: &mut Reader) -> StorageResult<Self> {
        let kind = r.u8()?;
        let (range, generation, attempt) = (RangeId(r.u64()?), r.u64()?, r.u64()?);
        Ok(match kind {
            1 => Merging::Absorbing { right: range, generation, attempt },
            2 => Merging::GivingUp { right: range, generation, attempt },
            3 => Merging::Frozen { left: range, attempt },
            _ => return Err(r.malformed()),
        })
    }
}

impl ReplicaKind {
    fn from_u8(n: u8) -> Option<Self> {
        use ReplicaKind::*;
        [Voter, Learner, Incoming, Outgoing].into_iter().find(|k| *k as u8 == n)
    }

    /// Whether the replica counts in either half of the configuration.
    pub fn votes(self) -> bool {
        self != ReplicaKind::Learner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RangeDescriptor {
        let replica = |n, kind| ReplicaDescriptor { node: NodeId(n), replica: ReplicaId(n.into()), kind };
        RangeDescriptor {
            range: RangeId(7),
            start: Key::from("b"),
            end: Key::from("m"),
            generation: 3,
            replicas: vec![
                replica(1, ReplicaKind::Voter),
                replica(2, ReplicaKind::Outgoing),
                replica(3, ReplicaKind::Incoming),
            ],
            next_replica: ReplicaId(4),
            merging: Merging::No,
        }
    }

    #[test]
    fn the_encoded_form_survives_and_truncations_are_refused() {
        let (range, generation, attempt) = (RangeId(9), 4, 5);
        for merging in [
            Merging::No,
            Merging::Absorbing { right: range, generation, attempt },
            Merging::GivingUp { right: range, generation, attempt },
            Merging::Frozen { left: range, attempt },
        ] {
            let sample = RangeDescriptor { merging, ..sample() };
            let bytes = Bytes::from(sample.encode());
            assert_eq!(RangeDescriptor::decode(bytes.clone()).expect("well formed"), sample);
            for n in 0..bytes.len() {
                assert!(RangeDescriptor::decode(bytes.slice(..n)).is_err(), "{n} bytes");
            }
        }
    }

    #[test]
    fn leaving_the_joint_configuration_keeps_the_incoming_side() {
        let left = sample().left_joint();
        let kinds: Vec<_> = left.replicas.iter().map(|r| (r.node.0, r.kind)).collect();
        assert_eq!(kinds, [(1, ReplicaKind::Voter), (3, ReplicaKind::Voter)]);
        assert!(!left.is_joint());
    }
}
