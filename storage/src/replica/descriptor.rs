//! What a range is: its bounds and where its replicas are.

use crate::base::{Key, NodeId, RangeId, ReplicaId, Span};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplicaKind {
    Voter,
    /// Receives the log, does not vote; on its way in.
    Learner,
    /// Voter in the new configuration only (joint consensus).
    Incoming,
    /// Voter in the old configuration only (joint consensus).
    Outgoing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaDescriptor {
    pub node: NodeId,
    pub replica: ReplicaId,
    pub kind: ReplicaKind,
}

/// `generation` grows with every change of bounds or replicas; of two descriptors that overlap, the one with the
/// higher generation is newer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeDescriptor {
    pub range: RangeId,
    pub start: Key,
    pub end: Key,
    pub generation: u64,
    pub replicas: Vec<ReplicaDescriptor>,
    pub next_replica: ReplicaId,
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
}
