//! Who is in the cluster: what every node tells of itself, spread by gossip.
//!
//! Nodes are few, so each exchange carries everything. Of a node's own statements the newest wins: by the count of its starts,
//! then of its beats, whatever its clock does. What must outlive all of them - addresses, and who is leaving - is also in
//! the cluster's own data, under `system/node/`; addresses are kept in the store's folder too, so that a whole cluster
//! can start again without being told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{Clock, NodeId, Timestamp};
use meridian_storage::replica::RangeDescriptor;
use meridian_txn::participant::NodeLiveness;
use meridian_txn::record::Standing;
use meridian_txn::route::Seeds;
use parking_lot::Mutex;

use crate::rpc::peers::Peers;
use crate::rpc::proto::{Gossip, NodeState, NodeStatus};

pub struct Members {
    me: NodeId,
    clock: Clock,
    peers: Arc<Peers>,
    /// Taken before the peers' locks, and after `file`.
    known: Mutex<Known>,
    /// Where addresses outlive the process; locked while it is written.
    file: Mutex<Option<PathBuf>>,
}

struct Known {
    nodes: BTreeMap<NodeId, Member>,
    first_range: Option<RangeDescriptor>,
}

struct Member {
    state: NodeState,
    /// When a new beat came last, by this node's monotonic clock.
    heard: Duration,
}

impl Members {
    pub fn new(me: NodeState, clock: Clock, peers: Arc<Peers>, folder: Option<&Path>) -> Arc<Self> {
        let id = NodeId(me.node);
        let members = Arc::new(Members {
            me: id,
            clock,
            peers,
            known: Mutex::new(Known { nodes: BTreeMap::new(), first_range: None }),
            file: Mutex::new(folder.map(|f| f.join("peers"))),
        });
        // First what was known: the file is written anew as soon as something is news.
        members.read_file();
        members.enter(me);
        members.write_file();
        members
    }

    /// What this node tells the others.
    pub fn gossip(&self) -> Gossip {
        let known = self.known.lock();
        Gossip {
            nodes: known.nodes.values().map(|m| m.state.clone()).collect(),
            first_range: known.first_range.as_ref().map(|d| Bytes::from(d.encode())).unwrap_or_default(),
        }
    }

    /// Takes over what is news in another node's.
    pub fn merge(&self, gossip: Gossip) {
        for state in gossip.nodes {
            if NodeId(state.node) != self.me {
                self.note(state);
            }
        }
        if !gossip.first_range.is_empty()
            && let Ok(d) = RangeDescriptor::decode(gossip.first_range)
        {
            self.note_first_range(d);
        }
    }

    /// Changes what this node tells of itself, and counts its beat.
    pub fn update_self(&self, change: impl FnOnce(&mut NodeState)) {
        let mut known = self.known.lock();
        if let Some(member) = known.nodes.get_mut(&self.me) {
            member.state.beat += 1;
            change(&mut member.state);
            member.heard = self.clock.monotonic();
        }
    }

    /// Who is leaving is decided by the cluster's data, not by the node.
    pub fn set_decommissioning(&self, node: NodeId, on: bool) {
        if let Some(member) = self.known.lock().nodes.get_mut(&node) {
            member.state.decommissioning = on;
        }
    }

    pub fn note_first_range(&self, descriptor: RangeDescriptor) {
        let mut known = self.known.lock();
        if known.first_range.as_ref().is_none_or(|d| d.generation < descriptor.generation) {
            known.first_range = Some(descriptor);
        }
    }

    fn note(&self, state: NodeState) {
        if self.enter(state) {
            self.write_file();
        }
    }

    /// Whether it brings an address that was not known.
    fn enter(&self, mut state: NodeState) -> bool {
        let id = NodeId(state.node);
        let now = self.clock.monotonic();
        // Held until the peers have it: of two merges at once, the later address must not be overtaken by the earlier one.
        let mut known = self.known.lock();
        let changed = match known.nodes.get_mut(&id) {
            Some(old) if (state.start, state.beat) <= (old.state.start, old.state.beat) => false,
            Some(old) => {
                let changed = old.state.address != state.address;
                state.decommissioning |= old.state.decommissioning;
                *old = Member { state: state.clone(), heard: now };
                changed
            }
            None => {
                known.nodes.insert(id, Member { state: state.clone(), heard: now });
                true
            }
        };
        if changed {
            self.peers.set_address(id, &state.address);
        }
        changed
    }

    /// Every node with how long it has been silent.
    pub fn status(&self) -> Vec<NodeStatus> {
        let now = self.clock.monotonic();
        let known = self.known.lock();
        known
            .nodes
            .values()
            .map(|m| NodeStatus {
                state: Some(m.state.clone()),
                silent_ms: now.saturating_sub(m.heard).as_millis() as u64,
            })
            .collect()
    }

    /// All other nodes that are known, by whichever means.
    pub fn others(&self) -> Vec<NodeId> {
        self.known.lock().nodes.keys().copied().filter(|n| *n != self.me).collect()
    }

    /// The other nodes that have told of themselves lately.
    pub fn living(&self) -> Vec<NodeId> {
        let now = self.clock.monotonic();
        let known = self.known.lock();
        let lives = |m: &Member| m.state.started_ms > 0 && now.saturating_sub(m.heard) < FORGOTTEN_AFTER;
        known.nodes.iter().filter(|(node, m)| **node != self.me && lives(m)).map(|(node, _)| *node).collect()
    }

    fn write_file(&self) {
        let file = self.file.lock();
        let Some(file) = &*file else { return };
        let lines: String = self
            .known
            .lock()
            .nodes
            .values()
            .map(|m| format!("{} {}\n", m.state.node, m.state.address))
            .collect();
        if let Err(e) = replace(file, &lines) {
            tracing::warn!(file = %file.display(), error = %e, "cannot keep the other nodes' addresses");
        }
    }

    /// Addresses from the last run; malformed lines are of no use and of no harm.
    fn read_file(&self) {
        let Some(text) = self.file.lock().as_ref().and_then(|f| std::fs::read_to_string(f).ok()) else {
            return;
        };
        for line in text.lines() {
            if let Some((node, address)) = line.split_once(' ')
                && let Ok(node) = node.parse::<u32>()
                && NodeId(node) != self.me
            {
                self.enter(NodeState { node, address: address.into(), ..Default::default() });
            }
        }
    }
}

/// The old contents or the new, whatever happens meanwhile.
fn replace(file: &Path, contents: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("new");
    let mut new = File::create(&temporary)?;
    new.write_all(contents.as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&temporary, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// So long after a node was last heard of, directly or through others, it is silent.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// So long after that its clock is of no interest any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// A node that has not told of itself for so long was stopped: it cannot know who else is silent.
const STOPPED_FOR: Duration = Duration::from_millis(1500);

impl NodeLiveness for Members {
    fn standing(&self, node: NodeId, since: Timestamp) -> Standing {
        let known = self.known.lock();
        let now = self.clock.monotonic();
        // An entry without a start is an address that was known before: the node has not spoken yet.
        let Some(other) = known.nodes.get(&node).filter(|m| m.state.started_ms > 0) else {
            return Standing::Alive;
        };
        if since.wall / 1_000_000 < other.state.started_ms {
            return Standing::Restarted;
        }
        let awake = known.nodes.get(&self.me).is_some_and(|me| now.saturating_sub(me.heard) < STOPPED_FOR);
        let silent = node != self.me && now.saturating_sub(other.heard) > SILENT_AFTER;
        if silent && awake { Standing::Silent } else { Standing::Alive }
    }
}

impl Seeds for Members {
    fn first_range(&self) -> Option<RangeDescriptor> {
        self.known.lock().first_range.clone()
    }
}
