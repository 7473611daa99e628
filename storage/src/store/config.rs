//! What can be set about a store. The defaults are right for one rack or one region.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// How often a store tells its peers that it lives.
    pub heartbeat_interval: Duration,
    /// For how long it asks for their support: a leader's lease runs out after this, and failover takes a little
    /// longer.
    pub support_duration: Duration,
    /// The least and the most time without support before a follower stands for election.
    pub election_timeout: (Duration, Duration),
    /// How often replicas that have something to wait for are looked at.
    pub tick: Duration,
    /// The engine is flushed when it holds this much in memory, or when the log has grown to `log_bytes`.
    pub unflushed_bytes: u64,
    pub log_bytes: u64,
    /// Entries kept behind the applied index for followers that lag.
    pub log_slack_entries: u64,
    /// How many snapshots this store sends at a time, over all ranges.
    pub max_snapshots: usize,
    /// The size at which a chunk of a snapshot is closed.
    pub snapshot_chunk_bytes: usize,
    /// Wait for more work at most this long in one turn of the driver.
    pub idle_wait: Duration,
}

impl StoreConfig {
    /// Support ends by the clock of who gives it: it must last longer than clocks may differ, or a leader whose clock is behind
    /// is never supported at all.
    pub fn suited_to(mut self, max_offset: Duration) -> Self {
        self.support_duration = self.support_duration.max(max_offset + 4 * self.heartbeat_interval);
        self
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            heartbeat_interval: Duration::from_millis(250),
            support_duration: Duration::from_millis(1500),
            election_timeout: (Duration::from_millis(100), Duration::from_millis(300)),
            tick: Duration::from_millis(50),
            unflushed_bytes: 64 << 20,
            log_bytes: 256 << 20,
            log_slack_entries: 1024,
            max_snapshots: 2,
            snapshot_chunk_bytes: 256 << 10,
            idle_wait: Duration::from_millis(250),
        }
    }
}
