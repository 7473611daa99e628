//! The transaction's half at the gateway: everything that the SQL layer sees of keys.

pub mod error;
pub mod options;
pub mod db;
pub mod txn;
pub mod scanner;

pub use db::Db;
pub use error::{TxnError, TxnErrorKind, TxnResult};
pub use options::{CommitOutcome, ScanOptions, TxnOptions};
pub use scanner::Scanner;
pub use txn::{Savepoint, Txn};
