//! All replicas of a node, driven in turns: one log write, one sync, one engine batch, one batch of messages per
//! destination - however many ranges took part.
//!
//! ```text
//!   tasks ── propose ──┐                               ┌── answers, observer
//!   network ─ messages ┼─► inbox ─► turn: step ─► work off: send, apply, write + sync, send
//!   timers ─── ticks ──┘                               └── transport
//! ```
//!
//! What must stay true:
//!
//! 1. **The Raft log is the only write-ahead log.** The engine is written without one. A range's applied index is in the
//!    same engine batch as what it applied; after a crash the engine is at some earlier point, and the log above the
//!    applied index is replayed. So the log is truncated only up to the *durable* applied index (`maintain`), a
//!    snapshot is flushed before the log is reset to it (`snapshots`), and a removed replica's log goes after its tombstone
//!    is flushed (`membership`).
//! 2. **Acknowledged means synced on a majority and applied here.** `progress` gives the order.
//! 3. **A replica serves only under a lease** (`replica::lease` tells why that is safe; `liveness` and `elections` keep
//!    the promises behind it). Leadership that ends is noticed before any message that follows from it leaves.
//! 4. **The core is deterministic.** Time is passed in, chance comes from the runtime, iteration is ordered wherever
//!    order can be seen.
//! 5. **Nothing is served by a clock that cannot be relied upon** (`watch` says when that is, `fence` what follows).
//! 6. **Nothing idle costs.** Only replicas with something to do are touched in a turn, only those that wait for time
//!    are ticked.
//!
//! An I/O error or a broken invariant ends the core, and with it the node: raft-rs, too, panics rather than go on with
//! a log that is not what it was told.

mod absent;
mod absorb;
mod admin;
mod config;
mod core;
mod driven;
mod driver;
mod elections;
mod fence;
mod handle;
mod inbox;
mod liveness;
mod maintain;
mod membership;
mod merge;
mod open;
mod progress;
mod receive;
mod right_side;
mod snapshots;
mod split;
pub mod testing;
mod transport;
mod watch;
#[cfg(test)]
mod tests;

pub use self::config::StoreConfig;
pub use self::core::{StoreCore, StoreParts};
pub use self::handle::{StoreHandle, StoreStatus};
pub use self::liveness::PeerStatus;
pub use self::open::{FIRST_RANGE, bootstrap, identity, join, open};
pub use self::split::{FIRST_LEASE_TERM, halves};
pub use self::transport::{Envelope, MessageBatch, NoTransport, RaftTransport};
