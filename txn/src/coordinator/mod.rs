//! The transaction's half at the gateway: everything that the SQL layer sees of keys.
//!
//! A [`Txn`] is a stack of small parts. From the SQL layer down to the ranges:
//!
//! 1. [`buffer`] - the transaction's own writes and their savepoints. On top, because a transaction sees its own writes
//!    whatever happens below; what it answers costs nothing.
//! 2. [`read`], [`scanner`] - reads of what the buffer does not know, sent through the router. [`moment`] - the same with
//!    the buffer as it was, as long as [`spills`] does not stand in the way. [`alive`] - whether what was spilled was still
//!    there when it was read.
//! 3. [`reads`], [`held`] - the books of what was read, and of what was locked. Below the buffer: reading one's own writes
//!    proves nothing.
//! 4. [`refresh`] - moves the snapshot when a range asks for it. Below the books, which it reads; above the router,
//!    so that a moved read is simply sent again, and nobody above notices.
//! 5. [`flush`], [`commit`] - turn the buffer into replicated writes.
//! 6. [`finish`] - what is left to do when the outcome is known: records, intents, locks. [`heartbeat`] tells the record
//!    meanwhile that somebody is still there.
//!
//! What must stay true:
//! - A transaction is acknowledged only after its commit is replicated; if nobody knows whether it is, that is said.
//! - No mutex is held across an await. Every step reads the state, sends, and then checks that what it gets back still
//!   fits the state.
//! - Whatever a transaction leaves in the ranges can be found again: anything that may hold a lock or an intent is
//!   entered in the books before the request is sent.

pub mod error;
pub mod options;
mod buffer;
mod spills;
mod intents;
mod reads;
mod held;
mod state;
pub mod db;
pub mod layout;
mod strays;
pub mod txn;
mod alive;
mod read;
pub mod scanner;
mod moment;
mod refresh;
mod flush;
mod commit;
mod finish;
mod heartbeat;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod random_tests;

pub use buffer::Savepoint;
pub use db::Db;
pub use error::{TxnError, TxnErrorKind, TxnResult};
pub use layout::LeftOver;
pub use moment::Moment;
pub use options::{CommitOutcome, ScanOptions, TxnOptions};
pub use scanner::Scanner;
pub use txn::Txn;
