//! Where nodes live and how they reach one another: in namespaces with a switch of ours between them, or on loopback with
//! proxies of ours before them. Either way what one node sends to another goes through [`Links`], and what clients say
//! to nodes does not.

mod links;
mod owner;
mod proxy;
mod spaces;
mod switch;

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::process::Command;

pub use links::{Link, Links};
use proxy::Processes;
use switch::Switch;

const SQL: u16 = 7432;
const RPC: u16 = 7433;
const HTTP: u16 = 7434;

/// Where a node lives.
#[derive(Clone)]
pub struct Place {
    pub sql: SocketAddr,
    pub http: SocketAddr,
    /// Where it listens for other nodes.
    pub rpc: SocketAddr,
    /// Where other nodes find it, if that is elsewhere.
    pub advertised: Option<SocketAddr>,
    /// The network namespace that its process enters.
    pub namespace: Option<Arc<OwnedFd>>,
}

impl Place {
    /// Where other nodes find it.
    pub fn reached_at(&self) -> SocketAddr {
        self.advertised.unwrap_or(self.rpc)
    }

    /// Lets what the command runs be in the node's namespace.
    pub fn enter(&self, command: &mut Command) {
        let Some(namespace) = self.namespace.clone() else { return };
        // SAFETY: the closure runs in the child between fork and exec and makes one async-signal-safe system call.
        unsafe {
            command.pre_exec(move || match libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }
}

/// Whether nodes can have namespaces, once this program has some of its own.
pub fn spaces_are_possible() -> Result<(), String> {
    spaces::possible()
}

pub struct Network {
    pub links: Arc<Links>,
    kind: Kind,
}

enum Kind {
    Spaces(Arc<Switch>),
    Loopback(Processes),
    /// Loopback without anything between.
    Plain,
}

impl Network {
    /// Namespaces: only in a world of our own.
    pub fn spaces() -> Result<Network, String> {
        spaces::make_bridge()?;
        let links = Arc::new(Links::new());
        Ok(Network { links: links.clone(), kind: Kind::Spaces(Switch::new(links)) })
    }

    pub fn loopback() -> Network {
        Network { links: Arc::new(Links::new()), kind: Kind::Loopback(Processes::default()) }
    }

    pub fn plain() -> Network {
        Network { links: Arc::new(Links::new()), kind: Kind::Plain }
    }

    /// Whether single packets can be lost, doubled and overtaken.
    pub fn has_packets(&self) -> bool {
        matches!(self.kind, Kind::Spaces(_))
    }

    /// Whether links can be cut and slowed down.
    pub fn has_links(&self) -> bool {
        !matches!(self.kind, Kind::Plain)
    }

    /// Makes a place for a node, counted from 1.
    pub async fn place(&self, node: usize) -> Result<Place, String> {
        if node >= links::NODES_MAX {
            return Err(format!(
                "a run has at most {} nodes, those that have left included",
                links::NODES_MAX - 1
            ));
        }
        match &self.kind {
            Kind::Spaces(switch) => {
                let space = spaces::make(node)?;
                switch.plug(node, space.interface)?;
                let client = |port| SocketAddr::from((spaces::client_address(node), port));
                let rpc = SocketAddr::from((switch::address(node), RPC));
                let namespace = Some(space.namespace);
                Ok(Place { sql: client(SQL), http: client(HTTP), rpc, advertised: None, namespace })
            }
            Kind::Loopback(processes) => {
                let mut place = free_ports()?;
                let listener =
                    TcpListener::bind("127.0.0.1:0").await.map_err(|e| format!("no free port: {e}"))?;
                place.advertised = Some(listener.local_addr().map_err(|e| e.to_string())?);
                tokio::spawn(proxy::run(listener, node, place.rpc, self.links.clone(), processes.clone()));
                Ok(place)
            }
            Kind::Plain => free_ports(),
        }
    }

    /// To be told of every process that runs a node.
    pub fn node_runs_as(&self, node: usize, process: u32) {
        if let Kind::Loopback(processes) = &self.kind {
            let mut processes = processes.lock();
            processes.retain(|_, n| *n != node);
            processes.insert(process, node);
        }
    }
}

/// Ports that are free now; all are held until the last one is found, so that they differ.
fn free_ports() -> Result<Place, String> {
    let mut held = Vec::new();
    let mut one = || -> Result<SocketAddr, String> {
        let failed = |e: std::io::Error| format!("no free port: {e}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        held.push(listener);
        Ok(at)
    };
    Ok(Place { sql: one()?, rpc: one()?, http: one()?, advertised: None, namespace: None })
}
