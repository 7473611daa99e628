//! Identifiers. Each is its own type, so that none can be passed for another.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A process of the cluster, and the one store that it owns. 0 means "none".
    NodeId, u32, "n"
);
id!(
    /// A contiguous span of keys, replicated by one Raft group. Never reused. The first range is 1.
    RangeId, u64, "r"
);
id!(
    /// A replica of a range within its Raft group; this is raft-rs's peer id. Never reused within a range, so that
    /// a replica that left and came back is a different peer.
    ReplicaId, u64, "p"
);

/// A transaction: 96 random bits, then the node of its coordinator. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u128);

impl TxnId {
    pub fn new(random: u128, coordinator: NodeId) -> TxnId {
        TxnId((random.max(1) << 32) | u128::from(coordinator.0))
    }

    /// The node that runs the transaction; 0 if that is not said.
    pub fn coordinator(self) -> NodeId {
        NodeId(self.0 as u32)
    }

    /// The first eight hex digits: enough for people.
    pub fn short(&self) -> String {
        format!("{:08x}", (self.0 >> 96) as u32)
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
