//! Serializable transactions over replicated ranges: the coordinator at the gateway, the participant at the leaseholder.
//!
//! The two halves never import each other: they share the protocol in [`rpc`] and the transaction record in [`record`].

pub mod testing;
pub mod coordinator;
pub mod route;
pub mod participant;
pub mod eval;
pub mod clock;
pub mod record;
pub mod rpc;
mod limits;

pub use coordinator::{
    CommitOutcome, Db, LeftOver, Moment, Savepoint, ScanOptions, Scanner, Txn, TxnError, TxnErrorKind,
    TxnOptions, TxnResult,
};
pub use limits::Limits;
pub use rpc::{Isolation, KvBlock, LockStrength, WaitPolicy};
