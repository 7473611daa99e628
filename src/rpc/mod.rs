//! Traffic between nodes, over gRPC.
//!
//! One long-lived bidirectional stream per ordered pair of nodes carries everything that is frequent: batches of Raft
//! envelopes (one way) and key-value requests with their responses, told apart by an id. Rare things - joining, gossip,
//! administration - are unary calls.
//!
//! What must stay true:
//! - Raft messages may be dropped, and are when the stream's queue is full: Raft repeats them. Nothing waits for a slow peer.
//! - A key-value request that was handed to a stream which then broke has an unknown outcome
//!   ([`meridian_txn::rpc::TransportError::Lost`]); one that found no stream surely did not happen (`NotSent`).
//! - A stream begins with a greeting that names cluster, sender and receiver; a node refuses streams meant for another.

pub mod server;
pub mod peers;
pub mod proto;

#[allow(clippy::all, missing_docs)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/meridian.Node.rs"));
}
