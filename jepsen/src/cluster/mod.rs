//! Process control: a cluster of real `meridian` processes, each with a place in a network, a disk and a clock.
//!
//! What must stay true: no process outlives the run. A node is killed when its handle is dropped, and by the kernel when
//! this process dies in whatever way. A node that ends unasked is noticed.

mod http;
mod node;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::clock::{FakeClock, Library};
use crate::disk::Disk;
use crate::network::Network;
use crate::world;
pub use http::metric;
pub use node::Node;

const REPLICATED_WITHIN: Duration = Duration::from_secs(120);
/// Replicas that a range is to have, if there are that many nodes.
pub const REPLICAS: usize = 3;

/// How the nodes are made.
pub struct Make {
    pub binary: PathBuf,
    /// Where stores and logs are; else a folder that goes with the cluster.
    pub folder: Option<PathBuf>,
    /// The size of each node's own file system, if it is to have one.
    pub disk: Option<u64>,
    /// Loaded into the processes, if they are to have clocks of their own.
    pub clocks: Option<Library>,
    /// Further flags of `meridian start`.
    pub flags: Vec<String>,
}

impl Make {
    pub fn plain(binary: &Path, folder: Option<&Path>) -> Make {
        let (binary, folder) = (binary.to_path_buf(), folder.map(Path::to_path_buf));
        Make { binary, folder, disk: None, clocks: None, flags: vec![] }
    }
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub network: Network,
    make: Make,
    folder: PathBuf,
    /// Nodes that were ever made.
    made: usize,
    /// Removed at the end, unless the user named a folder.
    _temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts the nodes one after the other and waits until every range has its replicas.
    pub async fn start(make: Make, nodes: usize, network: Network) -> Result<Cluster, String> {
        let temporary = match &make.folder {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix(&world::name("bank"))
                    .tempdir()
                    .map_err(|e| format!("cannot make a folder: {e}"))?,
            ),
        };
        let folder = match (&make.folder, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(dir)) => dir.path().to_path_buf(),
            (None, None) => return Err("no folder".into()),
        };
        std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let mut cluster =
            Cluster { nodes: Vec::new(), network, make, folder, made: 0, _temporary: temporary };
        for _ in 0..nodes {
            cluster.add().await?;
        }
        cluster.wait_until_replicated().await?;
        Ok(cluster)
    }

    /// Makes a node, which joins if there are others, and waits until it is well. Gives its number.
    pub async fn add(&mut self) -> Result<usize, String> {
        self.made += 1;
        let number = self.made;
        let place = self.network.place(number).await?;
        let named = |what: &str| self.folder.join(format!("n{number}{what}"));
        let disk = match self.make.disk {
            Some(bytes) => Disk::limited(&named(".img"), &named(""), bytes).await?,
            None => Disk::folder(named("")),
        };
        let clock = match &self.make.clocks {
            Some(library) => Some(FakeClock::new(library, named(".clock"))?),
            None => None,
        };
        let join = self.nodes.iter().map(|n| n.place.reached_at().to_string()).collect();
        let (binary, flags) = (self.make.binary.clone(), self.make.flags.clone());
        let log = named(".log");
        self.nodes.push(Node { number, binary, place, disk, clock, flags, join, log, child: None });
        self.start_node(number)?;
        let node = self.node_mut(number).ok_or("the node is gone")?;
        node.wait_until_ready().await?;
        Ok(number)
    }

    pub fn node_mut(&mut self, number: usize) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|n| n.number == number)
    }

    /// Starts the process of a node that has none.
    pub fn start_node(&mut self, number: usize) -> Result<(), String> {
        let node = self.node_mut(number).ok_or_else(|| format!("there is no node {number}"))?;
        let process = node.start()?;
        self.network.node_runs_as(number, process);
        Ok(())
    }

    /// A node that has left is no more.
    pub fn forget(&mut self, number: usize) {
        self.nodes.retain(|n| n.number != number);
    }

    /// Takes away what a node that has left had on its disk.
    pub fn empty(&mut self, number: usize) -> Result<(), String> {
        let join = self.nodes.iter().filter(|n| n.number != number);
        let join: Vec<_> = join.map(|n| n.place.reached_at().to_string()).collect();
        let node = self.node_mut(number).ok_or_else(|| format!("there is no node {number}"))?;
        node.join = join;
        std::fs::remove_dir_all(&node.disk.store).map_err(|e| format!("{}: {e}", node.disk.store.display()))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    /// The node that leads most ranges, if one answers.
    pub async fn leads_most(&self) -> Option<usize> {
        let mut most = None;
        for (at, node) in self.nodes.iter().enumerate() {
            let page = node.get("/metrics").await.unwrap_or_default();
            let leases = metric(&page, "meridian_leases").unwrap_or(0.0);
            if leases > most.map_or(0.0, |(most, _)| most) {
                most = Some((leases, at));
            }
        }
        most.map(|(_, at)| at)
    }

    /// Under which id the cluster knows a node: the newest at its address.
    pub async fn id_of(&self, number: usize) -> Result<String, String> {
        let node = self.nodes.iter().find(|n| n.number == number);
        let address =
            node.ok_or_else(|| format!("there is no node {number}"))?.place.reached_at().to_string();
        let status = self.ask_other(number, &["status"]).await?;
        let id = newest_at(&status, &address);
        id.map(String::from).ok_or_else(|| format!("nobody knows node {number} at {address}:\n{status}"))
    }

    /// Asks `meridian node …` of nodes other than this one, until one answers. Gives what was printed.
    pub async fn ask_other(&self, number: usize, arguments: &[&str]) -> Result<String, String> {
        let mut errors = vec!["there is no other node".to_string()];
        for node in self.nodes.iter().filter(|n| n.number != number && n.runs()) {
            let mut command = Command::new(&node.binary);
            let host = node.place.rpc.to_string();
            command.arg("node").args(arguments).args(["--host", &host]).kill_on_drop(true);
            node.place.enter(&mut command);
            let done = command.output().await.map_err(|e| format!("cannot run meridian node: {e}"))?;
            if done.status.success() {
                return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
            }
            let said =
                [&done.stdout[..], &done.stderr].map(|s| String::from_utf8_lossy(s).trim().to_string());
            errors.push(said.join(" "));
        }
        Err(errors.pop().unwrap_or_default())
    }

    /// Waits until the nodes hold as many replicas as the ranges that are led should have.
    async fn wait_until_replicated(&self) -> Result<(), String> {
        let until = Instant::now() + REPLICATED_WITHIN;
        let want = REPLICAS.min(self.nodes.len()) as f64;
        loop {
            let (mut replicas, mut leases) = (0.0, 0.0);
            for node in &self.nodes {
                let page = node.get("/metrics").await.unwrap_or_default();
                replicas += metric(&page, "meridian_ranges").unwrap_or(0.0);
                leases += metric(&page, "meridian_leases").unwrap_or(0.0);
            }
            if leases > 0.0 && replicas >= want * leases {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "after {REPLICATED_WITHIN:?} there are {replicas} replicas of {leases} ranges\n{}",
                    self.nodes.iter().map(|n| n.log_tail(10)).collect::<String>()
                ));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Nodes that ended although nobody ended them.
    pub fn fallen(&mut self) -> Vec<String> {
        self.nodes.iter_mut().filter_map(Node::fallen).collect()
    }
}

/// Of the lines of `meridian node status`, the last with this address; ids only grow.
fn newest_at<'s>(status: &'s str, address: &str) -> Option<&'s str> {
    let columns = status.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    columns.filter(|c| c.get(1) == Some(&address)).filter_map(|c| c.first().copied()).next_back()
}

#[cfg(test)]
mod tests {
    use super::newest_at;

    #[test]
    fn of_nodes_at_one_address_the_newest_counts() {
        let status = "cluster 12\nnode  rpc  sql\n   1  a:1  b:1  live\n   2  a:2  b:2  decommissioned\n   4  a:2  b:2  live\n";
        assert_eq!(newest_at(status, "a:2"), Some("4"));
        assert_eq!(newest_at(status, "a:1"), Some("1"));
        assert_eq!(newest_at(status, "a:3"), None);
    }
}
