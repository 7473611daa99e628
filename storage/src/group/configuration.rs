//! Descriptors and raft-rs's configurations: the same facts in two forms.
//!
//! The descriptor is what is stored and applied; raft-rs's `ConfState` is always derived from it, and a
//! configuration change is always the difference of two descriptors. So the two cannot come to disagree.

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::replica::{RangeDescriptor, ReplicaKind};

/// What a descriptor means to raft-rs.
pub fn conf_state(descriptor: &RangeDescriptor) -> ConfState {
    let mut state = ConfState::default();
    let joint = descriptor.is_joint();
    for r in &descriptor.replicas {
        let id = r.replica.0;
        match r.kind {
            ReplicaKind::Voter => {
                state.voters.push(id);
                if joint {
                    state.voters_outgoing.push(id);
                }
            }
            ReplicaKind::Incoming => state.voters.push(id),
            ReplicaKind::Outgoing => state.voters_outgoing.push(id),
            ReplicaKind::Learner => state.learners.push(id),
        }
    }
    state
}

/// Why a change of replicas is not one step of Raft.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOneStep;

/// The configuration change that leads from one descriptor to the next.
///
/// One change of one voter, or any change of learners alone, is a simple change; what has incoming or outgoing
/// voters enters the joint configuration explicitly; what ceases to have them leaves it.
pub fn change_between(from: &RangeDescriptor, to: &RangeDescriptor) -> Result<ConfChangeV2, NotOneStep> {
    if from.is_joint() {
        let expected = from.left_joint();
        return if to.same_replicas(&expected) { Ok(ConfChangeV2::default()) } else { Err(NotOneStep) };
    }
    let mut changes = Vec::new();
    let mut push = |kind: ConfChangeType, id: u64| {
        let mut change = ConfChangeSingle::default();
        change.set_change_type(kind);
        change.node_id = id;
        changes.push(change);
    };
    for r in &to.replicas {
        let before = from.replica(r.replica).map(|b| b.kind);
        match (before, r.kind) {
            (b, k) if b == Some(k) => {}
            (None | Some(ReplicaKind::Learner), ReplicaKind::Voter | ReplicaKind::Incoming) => {
                push(ConfChangeType::AddNode, r.replica.0);
            }
            (None, ReplicaKind::Learner) => push(ConfChangeType::AddLearnerNode, r.replica.0),
            (Some(ReplicaKind::Voter), ReplicaKind::Outgoing) => {
                push(ConfChangeType::RemoveNode, r.replica.0);
            }
            _ => return Err(NotOneStep),
        }
    }
    for r in &from.replicas {
        if to.replica(r.replica).is_none() {
            push(ConfChangeType::RemoveNode, r.replica.0);
        }
    }
    let mut change = ConfChangeV2::default();
    if to.is_joint() {
        change.set_transition(ConfChangeTransition::Explicit);
    } else if changes.len() != 1 {
        return Err(NotOneStep);
    }
    change.set_changes(changes.into());
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Key, NodeId, RangeId, ReplicaId};
    use crate::replica::ReplicaDescriptor;

    fn descriptor(replicas: &[(u64, ReplicaKind)]) -> RangeDescriptor {
        RangeDescriptor {
            range: RangeId(1),
            start: Key::MIN,
            end: Key::from("z"),
            generation: 1,
            replicas: replicas
                .iter()
                .map(|&(id, kind)| ReplicaDescriptor {
                    node: NodeId(id as u32),
                    replica: ReplicaId(id),
                    kind,
                })
                .collect(),
            next_replica: ReplicaId(9),
            merging: Default::default(),
        }
    }

    #[test]
    fn a_replacement_goes_through_the_joint_configuration() {
        use ReplicaKind::*;
        let with_learner = descriptor(&[(1, Voter), (2, Voter), (3, Voter), (4, Learner)]);
        let joint = descriptor(&[(1, Voter), (2, Voter), (3, Outgoing), (4, Incoming)]);
        let enter = change_between(&with_learner, &joint).expect("one step");
        assert_eq!(enter.enter_joint(), Some(false));
        let state = conf_state(&joint);
        assert_eq!((state.voters, state.voters_outgoing), (vec![1, 2, 4], vec![1, 2, 3]));
        let leave = change_between(&joint, &joint.left_joint()).expect("one step");
        assert!(leave.leave_joint());
    }

    #[test]
    fn one_learner_or_one_voter_is_a_simple_change() {
        use ReplicaKind::*;
        let one = descriptor(&[(1, Voter)]);
        let learner = descriptor(&[(1, Voter), (2, Learner)]);
        let two = descriptor(&[(1, Voter), (2, Voter)]);
        for (a, b) in [(&one, &learner), (&learner, &two), (&two, &one)] {
            assert_eq!(change_between(a, b).expect("one step").enter_joint(), None);
        }
    }

    #[test]
    fn what_is_not_one_step_is_refused() {
        use ReplicaKind::*;
        let one = descriptor(&[(1, Voter)]);
        let three = descriptor(&[(1, Voter), (2, Voter), (3, Voter)]);
        assert_eq!(change_between(&one, &three), Err(NotOneStep));
        let joint = descriptor(&[(1, Voter), (2, Incoming), (3, Outgoing)]);
        assert_eq!(change_between(&joint, &one), Err(NotOneStep));
    }
}
