//! Versions and locks: how rows in time are laid out over an [`Engine`](crate::engine::Engine).
//!
//! - **Versions** live in [`Cf::Data`](crate::engine::Cf::Data) under `escaped key ++ inverted timestamp`, so that the
//!   versions of a key stand together, newest first ([`key`]). A version is a value or a tombstone ([`value`]).
//! - **Intents** are versions that are not committed yet. The provisional value stands in `Data` like any other version,
//!   at the intent's timestamp; beside it [`Cf::Lock`](crate::engine::Cf::Lock) says whose it is ([`lock`]).
//!   A commit at that timestamp deletes the lock entry and nothing else; a commit at a later one moves the
//!   version; an abort removes both.
//!
//! What must stay true:
//! - A key has at most one intent, and it is newer than every committed version of the key.
//! - A version without a lock entry at its timestamp is committed.
//! - The lock family is looked at *before* the data family, or both in one snapshot. A reader that has raised the
//!   timestamp cache to its timestamp knows that intents which appear afterwards are above it; so lock before data
//!   finds every intent that matters, and the other order could take an aborted value for a committed one.
//! - Everything here is a function of a [`Reader`](crate::engine::Reader) to a result or to operations in a
//!   [`WriteBatch`](crate::engine::WriteBatch): nothing decides the outcome of a transaction.
//!
//! The lock family is normally empty: a read pays one lookup for it, a scan one seek.
//!
//! Alternatives considered: intents among the versions, under the key's largest timestamp, as CockroachDB did until
//! 2021 - every scan then steps over metadata; provisional values inside the lock record, as TiKV does for short
//! values - a commit then writes the value again. Here a commit writes a few bytes.

pub mod scan;
pub mod get;
pub mod write;
pub mod resolve_span;
pub mod refresh;
pub mod untouched;
pub mod split;
pub mod gc;
pub mod thresholds;
pub mod block;
mod cursor;
pub mod lock;
pub mod value;
pub mod key;

#[cfg(test)]
mod history;
#[cfg(test)]
mod model;

pub use block::KvBlock;
pub use get::{GetOptions, MvccGet, PointReader, Seen, get};
pub use lock::{LockRecord, LockStrength};
pub use refresh::{Change, any_intent_in, any_newer_in, newest_version_ts};
pub use resolve_span::{ResolveLimits, last_of_run, resolve_span};
pub use scan::{ScanOptions, ScanResult, scan};
pub use split::{MvccStats, compute_stats, find_split_key};
pub use thresholds::GcThresholds;
pub use untouched::untouched;
pub use write::{Delta, IntentWrite, NewIntents, Resolution, delete, put, put_intent, resolve_intent};
