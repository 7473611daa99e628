//! What a node is told at its start, resolved and checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use meridian_storage::store::StoreConfig;

pub struct NodeConfig {
    /// `None`: in memory.
    pub folder: Option<PathBuf>,
    pub sql: SocketAddr,
    pub rpc: SocketAddr,
    /// Where other nodes find it, if not there.
    pub advertised_rpc: Option<SocketAddr>,
    pub http: SocketAddr,
    /// Addresses of nodes of the cluster to join.
    pub join: Vec<String>,
    /// How long to look for one of them that answers: nodes of a new cluster are often started together.
    pub join_for: Duration,
    /// Bytes of block cache.
    pub cache: u64,
    /// A range is split when it is larger, in bytes.
    pub range_size: u64,
    pub insecure: bool,
    pub max_clock_offset: Option<Duration>,
    /// How long a node may be silent before its replicas are replaced.
    pub replace_after: Duration,
    /// How long an old version of a row is kept at least.
    pub gc_after: Duration,
    pub store: StoreConfig,
}

impl NodeConfig {
    /// Without encryption and passwords, anybody who reaches a port is the superuser.
    pub fn check(&self) -> Result<(), String> {
        for (flag, address) in
            [("--listen-sql", self.sql), ("--listen-rpc", self.rpc), ("--listen-http", self.http)]
        {
            if !address.ip().is_loopback() && !self.insecure {
                return Err(format!(
                    "{flag} {address} is not a loopback address, and this node has no certificates\n\
                     Listen on 127.0.0.1, or give --insecure if everybody who can reach the port may do everything."
                ));
            }
        }
        Ok(())
    }
}
