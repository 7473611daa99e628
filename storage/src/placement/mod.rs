//! Where replicas and leases should be: pure functions from what is known of the cluster to what to do next.
//!
//! Every node plans for the ranges whose leases it holds, so there is no master, and each plans with a slightly
//! different view. What must stay true:
//! - A plan depends on the view alone: the same view gives the same plan.
//! - An action brings the cluster nearer to the goal even if others act at the same time: repairs come before comfort, and
//!   a difference is only evened out when it is larger than what a move changes, so that moves do not go in circles.
//! - Nothing is removed before its successor is in: [`Action::Change`] names both, and the store does them in that order.
//!
//! The loop that gathers the view and carries out the plan lives in the binary.

mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{NodeId, RangeId};
use crate::replica::RangeDescriptor;

pub use plan::plan;

#[derive(Clone, Debug)]
pub struct Policy {
    /// Voters of a range.
    pub replicas: usize,
    /// A node that has not been heard of for this long will not come back.
    pub dead_after: Duration,
    /// A range is split when it has grown beyond this.
    pub split_bytes: u64,
    /// A node's replicas and leases may differ from the mean by this much without being moved: in a hundred, and at least
    /// one replica, two leases.
    pub tolerance_percent: usize,
    /// How many ranges are moved for the sake of balance in one plan.
    pub max_balance_moves: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            replicas: 3,
            dead_after: Duration::from_secs(300),
            split_bytes: 512 << 20,
            tolerance_percent: 10,
            max_balance_moves: 1,
        }
    }
}

#[derive(Clone, Debug)]
pub struct NodeView {
    /// How long the node has been silent.
    pub silent_for: Duration,
    /// The operator wants it empty.
    pub draining: bool,
    /// Its clock cannot be relied upon: it keeps what it has, and is given nothing.
    pub fenced: bool,
    pub replicas: usize,
    pub leases: usize,
}

#[derive(Clone, Debug)]
pub struct RangeView {
    pub descriptor: RangeDescriptor,
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub struct ClusterView {
    pub nodes: BTreeMap<NodeId, NodeView>,
    /// Those whose leases the planning node holds.
    pub ranges: Vec<RangeView>,
    /// Whether it is the planning node's turn to move what need not be moved. If all did it at once, on what they knew of each
    /// other, a node that has too little would get too much, and lose it again.
    pub balances: bool,
}

/// What to do with a range. The arguments fit the calls of [`crate::store::StoreHandle`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Change {
        range: RangeId,
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
        why: Why,
    },
    TransferLease {
        range: RangeId,
        to: NodeId,
        why: Why,
    },
    /// In the middle of its data.
    Split {
        range: RangeId,
    },
}

/// For the log and the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    DeadNode,
    TooFew,
    TooMany,
    Draining,
    /// A change that was interrupted left a learner behind.
    Unfinished,
    Balance,
}
