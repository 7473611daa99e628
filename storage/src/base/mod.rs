//! The nouns of the storage layer: keys, spans, identifiers, timestamps, the clock and the runtime.
//!
//! Nothing here does I/O or reads the time of day: [`Clock`] and [`Runtime`] are the only doors to the outside,
//! and a simulation replaces both.

pub mod chance;
pub mod clock;
pub mod error;
pub mod ids;
pub mod key;
pub mod keys;
pub mod offsets;
pub mod planted;
pub mod probe;
pub mod runtime;
pub mod timestamp;
pub mod wire;

pub use chance::Chance;
pub use clock::{Clock, Hlc, PhysicalClock, Unsound};
pub use error::{StorageError, StorageResult};
pub use ids::{NodeId, RangeId, ReplicaId, TxnId};
pub use key::{Key, Span};
pub use runtime::{BoxFuture, Runtime};
pub use timestamp::Timestamp;
