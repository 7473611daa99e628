//! The command line.

pub mod debug;
pub mod node;
pub mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub const DEFAULT_SQL: &str = "127.0.0.1:7432";
pub const DEFAULT_RPC: &str = "127.0.0.1:7433";
pub const DEFAULT_HTTP: &str = "127.0.0.1:7434";

/// A distributed SQL database that speaks PostgreSQL's protocol.
#[derive(Parser)]
#[command(name = "meridian", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Runs a node: a new cluster of its own, or part of the one named by --join.
    Start(StartArgs),
    /// Runs a throw-away cluster in this process, with sample data.
    Demo(DemoArgs),
    /// Looks after the nodes of a running cluster.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Looks into a running cluster.
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Puts load on a running cluster, over SQL.
    #[command(subcommand)]
    Workload(crate::workload::WorkloadCommand),
    Simulate(crate::simulate::SimulateArgs),
}

#[derive(Args, Clone, Debug)]
pub struct StartArgs {
    /// Where the data is: a folder, or `mem` for a node that forgets.
    #[arg(long, value_name = "DIR|mem", default_value = "meridian-data")]
    pub store: Store,
    /// Where PostgreSQL clients connect.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_SQL)]
    pub listen_sql: Address,
    /// Where other nodes connect; also the address that they are told, unless there is --advertise-rpc.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_RPC)]
    pub listen_rpc: Address,
    /// Where other nodes find this one, if that is not where it listens: behind a proxy or a translation of addresses.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_rpc: Option<Address>,
    /// Where health checks, metrics and the console are.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_HTTP)]
    pub listen_http: Address,
    /// Addresses (--listen-rpc) of nodes of the cluster to join; needed only at a node's first start.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<Address>,
    /// How long to look for a node of --join that answers.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, hide = true)]
    pub join_for: Duration,
    /// Memory for the block cache: bytes, or with a unit (64MiB, 1GiB).
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    pub cache: Size,
    /// A range is split when it has grown beyond this, old versions included.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_range_size)]
    pub range_size: Size,
    /// Allows other addresses than loopback without encryption and passwords.
    #[arg(long)]
    pub insecure: bool,
    /// The largest difference between any two nodes' clocks, if it is known: makes SERIALIZABLE strict.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_clock_offset: Option<Duration>,
    /// How long a node may be silent before its replicas are replaced.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub replace_after: Duration,
    /// How long old versions of rows are kept at least, and longer while a transaction may read them.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_gc_after)]
    pub gc_after: Duration,
}

pub const DEFAULT_GC_AFTER: Duration = Duration::from_secs(300);

/// Nodes hear of one another's transactions within a few seconds.
fn parse_gc_after(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time < Duration::from_secs(5) { Err("must be at least 5s".into()) } else { Ok(time) }
}

/// Each range is a Raft group with costs of its own.
fn parse_range_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 < 1 << 20 { Err("must be at least 1MiB".into()) } else { Ok(size) }
}

#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub nodes: u32,
    /// Where PostgreSQL clients connect: the first node here, the others on ports that are free.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_SQL)]
    pub listen_sql: Address,
}

#[derive(Subcommand)]
pub enum NodeCommand {
    /// Lists the cluster's nodes.
    Status(NodeArgs),
    /// Moves everything off a node, for good; it can be stopped afterwards.
    Decommission {
        /// The node's number, as `node status` shows it.
        node: u32,
        #[command(flatten)]
        args: NodeArgs,
        /// Returns at once rather than when the node is empty.
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Subcommand)]
pub enum DebugCommand {
    /// Holds all rows, indexes, constraints and ranges against one another, while others go on; fails if anything is wrong.
    Check {
        #[command(flatten)]
        args: NodeArgs,
        /// For how long locks of ended transactions may stand.
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
        locks_older: Duration,
    },
}

#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// The --listen-rpc address of any node.
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_RPC)]
    pub host: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    Memory,
    Folder(PathBuf),
}

impl FromStr for Store {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "" => Err("name a folder, or mem".into()),
            "mem" => Ok(Store::Memory),
            dir => Ok(Store::Folder(dir.into())),
        }
    }
}

/// HOST:PORT, resolved when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub async fn resolve(&self) -> Result<SocketAddr, String> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        found
            .map_err(|e| format!("cannot resolve {self}: {e}"))?
            .next()
            .ok_or_else(|| format!("cannot resolve {self}: no address"))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (host, port) = s.rsplit_once(':').ok_or_else(|| format!("`{s}` is not HOST:PORT"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().map_err(|_| format!("`{port}` is not a port"))?;
        if host.is_empty() {
            return Err(format!("`{s}` is not HOST:PORT"));
        }
        Ok(Address { host: host.into(), port })
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let n: u64 = s[..digits].parse().map_err(|_| format!("`{s}` is not a size"))?;
        let factor: u64 = match s[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            unit => return Err(format!("`{unit}` is not a unit: use KiB, MiB, GiB or TiB")),
        };
        n.checked_mul(factor).map(Size).ok_or_else(|| format!("`{s}` is too large"))
    }
}

/// `250ms`, `5s`, `5m`, `1h`.
pub fn parse_duration(s: &str) -> Result<Duration, String> {
    let digits = s.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(s.len());
    let n: f64 = s[..digits].parse().map_err(|_| format!("`{s}` is not a time"))?;
    let unit = match &s[digits..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("`{s}` needs a unit: us, ms, s, m or h")),
        unit => return Err(format!("`{unit}` is not a unit of time: use us, ms, s, m or h")),
    };
    Duration::try_from_secs_f64(n * unit).map_err(|_| format!("`{s}` is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn ranges_are_of_the_usual_size_unless_it_is_given() {
        let parsed = |flags: &[&str]| match Cli::try_parse_from([&["meridian", "start"], flags].concat()) {
            Ok(Cli { command: Command::Start(args) }) => Some(args.range_size.0),
            _ => None,
        };
        assert_eq!(parsed(&[]), Some(meridian_storage::placement::Policy::default().split_bytes));
        assert_eq!(parsed(&["--range-size", "64MiB"]), Some(64 << 20));
        assert_eq!(parsed(&["--range-size", "1023KiB"]), None);
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("17".parse(), Ok(Size(17)));
        assert!("1XB".parse::<Size>().is_err());
        assert!("99999999999TiB".parse::<Size>().is_err());
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert!(parse_duration("5").is_err());
        assert!(parse_duration("x").is_err());
    }

    #[test]
    fn addresses_need_host_and_port() {
        assert!("localhost".parse::<Address>().is_err());
        assert!(":1".parse::<Address>().is_err());
        assert!("h:99999".parse::<Address>().is_err());
        assert_eq!("[::1]:5".parse::<Address>().map(|a| a.to_string()), Ok("[::1]:5".into()));
    }
}
