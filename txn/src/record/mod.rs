//! The transaction record: the one place that says whether a transaction has committed.
//!
//! It is replicated in the range that holds the transaction's anchor key, in [`Cf::Record`](meridian_storage::engine::Cf),
//! under [`record_key`]. A transaction that commits in one phase never has one.
//!
//! ```text
//!   (none) ──► Pending ──► Staging ──► Committed ──► (none)
//!                 │           │
//!                 └───────────┴──────► Aborted ────► (none)
//! ```
//!
//! - Pending is written by a heartbeat; Staging lists the writes that decide; Committed and Aborted are for ever.
//! - A staging transaction *is* committed if each of its in-flight writes has an intent at or below the staged time.
//!   Then nobody can abort it. If one is missing, whoever has made sure that it stays missing may abort it.

use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{Key, Timestamp, TxnId};

use crate::rpc::codec;
use crate::rpc::wire::{Malformed, wire_enum, wire_struct};
use crate::rpc::{IntentSpan, TxnMeta};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxnStatus {
    Pending,
    Staging,
    Committed,
    Aborted,
}

/// How often the coordinator of a transaction that holds locks or intents says that it lives. The first heartbeat, which
/// creates the record, follows the first lock within this time.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A transaction that has shown no sign of life for so long may be aborted by anybody in whose way it is. Signs of life
/// are its heartbeats, and every lock it takes: so one without a record is presumed alive for this long after its
/// last lock.
pub const EXPIRY: Duration = Duration::from_secs(5);

/// The same, if the node of its coordinator is silent too.
pub const EXPIRY_OF_SILENT: Duration = Duration::from_secs(2);

/// What is believed of the node that runs a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Or not known.
    Alive,
    Silent,
    /// Since the transaction began: it does not run any more.
    Restarted,
}

/// Whether a transaction last known to be alive at `active` may be given up.
pub fn expired(active: Timestamp, now: Timestamp, node: Standing) -> bool {
    match node {
        Standing::Alive => now > active.add(EXPIRY),
        Standing::Silent => now > active.add(EXPIRY_OF_SILENT),
        Standing::Restarted => true,
    }
}

wire_enum!(TxnStatus { 1 => Pending, 2 => Staging, 3 => Committed, 4 => Aborted });

impl TxnStatus {
    pub fn is_final(self) -> bool {
        matches!(self, TxnStatus::Committed | TxnStatus::Aborted)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnRecord {
    /// `meta.write_ts`: staged or committed at; while pending, not below what pushers have asked for.
    pub meta: TxnMeta,
    pub status: TxnStatus,
    /// When the coordinator was last heard of.
    pub heartbeat: Timestamp,
    /// Every key that may hold an intent; known from staging on.
    pub intents: Vec<Key>,
    /// Where further intents may be, if there are too many to name.
    pub spans: Vec<IntentSpan>,
    /// While staging: the writes that decide.
    pub in_flight: Vec<Key>,
    /// While pending: readers wait, and do not push the time. As under SERIALIZABLE, for a transaction that has to prove
    /// that something holds up to the time of its commit, and would not get done.
    pub pinned: bool,
}

wire_struct!(TxnRecord { meta, status, heartbeat, intents, spans, in_flight, pinned });

impl TxnRecord {
    pub fn encode(&self) -> Bytes {
        codec::encode(self)
    }

    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        codec::decode(bytes)
    }
}

/// Where a record is stored: `anchor ++ id`. Records of one anchor lie together, and between its neighbours' in key order.
///
/// The anchor is escaped (`00` becomes `00 ff`, the end is `00 01`), so that the order of records is that of anchors.
pub fn record_key(anchor: &Key, id: TxnId) -> Bytes {
    let mut v = record_prefix(anchor);
    v.extend_from_slice(&id.0.to_be_bytes());
    v.into()
}

/// The lower bound of all records whose anchors are at or above `anchor`: the bounds of a range's records.
pub fn record_prefix(anchor: &[u8]) -> Vec<u8> {
    let mut v = Vec::with_capacity(anchor.len() + 18);
    for &b in anchor {
        v.push(b);
        if b == 0 {
            v.push(0xff);
        }
    }
    v.extend_from_slice(&[0, 1]);
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_in_the_order_of_their_anchors() {
        let anchors: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0"];
        let high = TxnId(u128::MAX);
        for pair in anchors.windows(2) {
            let (a, b) = (Key::from(pair[0]), Key::from(pair[1]));
            assert!(record_key(&a, high) < record_key(&b, TxnId(1)), "{a:?} {b:?}");
            assert!(record_key(&a, high) < record_prefix(&b));
        }
    }
}
