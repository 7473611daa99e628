//! What breaks clusters. A nemesis makes a fault and undoes it later, and says what it has done; when is the run's business.
//!
//! What must stay true: a node is in the hands of one nemesis at a time, where that matters ([`Site::take`]); what was
//! injected is healed by the same nemesis, whatever other faults there are; what no fault excuses is a wrong
//! ([`Site::wrongs`]), what merely could not be done is an error.

mod kill;
mod pause;
mod restart;
mod partition;
mod packets;
mod clock;
mod disk_full;
mod disk_slow;
mod member;
mod ranges;
mod upgrade;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::cluster::{Cluster, Node};

/// A sentence about what was done.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

pub trait Nemesis: Send {
    /// Why it cannot be had here.
    fn possible(&self, _: &Site) -> Result<(), String> {
        Ok(())
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a>;

    /// Undoes what is still to be undone.
    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a>;
}

/// What nemeses work on.
pub struct Site {
    pub cluster: Cluster,
    pub chance: StdRng,
    /// The bound on the clocks that the nodes were told.
    pub clock_bound: Option<Duration>,
    pub upgrade_to: Option<PathBuf>,
    /// What no fault excuses, a sentence each.
    pub wrongs: Vec<String>,
    /// Nodes that are in a nemesis's hands, by number.
    taken: BTreeSet<usize>,
}

impl Site {
    pub fn new(cluster: Cluster, chance: StdRng) -> Site {
        let (wrongs, taken) = (Vec::new(), BTreeSet::new());
        Site { cluster, chance, clock_bound: None, upgrade_to: None, wrongs, taken }
    }

    pub fn node(&mut self, number: usize) -> Result<&mut Node, String> {
        self.cluster.node_mut(number).ok_or_else(|| format!("there is no node {number}"))
    }

    /// Nodes that no nemesis has in hand.
    pub fn free(&self) -> Vec<usize> {
        let numbers = self.cluster.nodes.iter().map(|n| n.number);
        numbers.filter(|n| !self.taken.contains(n)).collect()
    }

    /// Takes nodes in hand: as many as there are, if there are fewer.
    fn take(&mut self, count: usize) -> Result<Vec<usize>, String> {
        let mut free = self.free();
        free.shuffle(&mut self.chance);
        free.truncate(count);
        free.sort();
        if free.is_empty() {
            return Err("other faults have all nodes".into());
        }
        self.taken.extend(&free);
        Ok(free)
    }

    fn release(&mut self, nodes: &[usize]) {
        self.taken.retain(|n| !nodes.contains(n));
    }

    /// Nodes that the cluster can be without.
    fn minority(&self) -> usize {
        ((self.cluster.nodes.len() - 1) / 2).max(1)
    }

    fn choose<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.chance).expect("there is something to choose from")
    }

    /// Starts processes that are gone. Whether they become well is seen when the other faults are over, too.
    fn start(&mut self, nodes: &[usize]) -> Result<(), String> {
        nodes.iter().try_for_each(|n| self.cluster.start_node(*n))
    }
}

/// Where it goes, and a word about it.
pub struct Registered {
    pub name: &'static str,
    pub about: &'static str,
    pub variants: &'static [&'static str],
    make: fn(Option<&'static str>) -> Box<dyn Nemesis>,
}

/// By name.
pub static ALL: [Registered; 11] = [
    Registered {
        name: "kill",
        about: "SIGKILL: what was not synced by the process is lost to it (the page cache survives)",
        variants: &kill::VARIANTS,
        make: |v| Box::new(kill::Kill::new(v)),
    },
    Registered {
        name: "pause",
        about: "SIGSTOP: nodes are silent, and wake up with an old idea of the time",
        variants: &pause::VARIANTS,
        make: |v| Box::new(pause::Pause::new(v)),
    },
    Registered {
        name: "restart",
        about: "SIGTERM: a node hands over what it leads, ends and comes back",
        variants: &[],
        make: |_| Box::new(restart::Restart::default()),
    },
    Registered {
        name: "partition",
        about: "nodes do not hear one another",
        variants: &partition::VARIANTS,
        make: |v| Box::new(partition::Partition::new(v)),
    },
    Registered {
        name: "packets",
        about: "packets are lost, late, overtaken, doubled",
        variants: &packets::VARIANTS,
        make: |v| Box::new(packets::Packets::new(v)),
    },
    Registered {
        name: "clock",
        about: "clocks are wrong, within the bound that the nodes were told",
        variants: &clock::VARIANTS,
        make: |v| Box::new(clock::Clocks::new(v)),
    },
    Registered {
        name: "disk-full",
        about: "a node's disk has no room left",
        variants: &[],
        make: |_| Box::new(disk_full::DiskFull::default()),
    },
    Registered {
        name: "disk-slow",
        about: "a node's disk takes tenths of seconds for a sync",
        variants: &[],
        make: |_| Box::new(disk_slow::DiskSlow::default()),
    },
    Registered {
        name: "member",
        about: "a node joins and leaves again, or one is replaced by an empty one",
        variants: &member::VARIANTS,
        make: |v| Box::new(member::Member::new(v)),
    },
    Registered {
        name: "ranges",
        about: "the tables' ranges are split",
        variants: &[],
        make: |_| Box::new(ranges::Ranges),
    },
    Registered {
        name: "upgrade",
        about: "one node after the other is stopped and comes back, as --upgrade-to if that is given",
        variants: &[],
        make: |_| Box::new(upgrade::Upgrade),
    },
];

/// The one of this name: `kill`, or with a variant, `kill:all`.
pub fn find(name: &str) -> Result<Box<dyn Nemesis>, String> {
    let (name, variant) = name.split_once(':').map_or((name, None), |(n, v)| (n, Some(v)));
    let names = || ALL.iter().map(|n| n.name).collect::<Vec<_>>().join(", ");
    let found = ALL.iter().find(|n| n.name == name);
    let found = found.ok_or_else(|| format!("there is no nemesis `{name}`: {}, mixed, none", names()))?;
    let variant = match variant {
        None => None,
        Some(wanted) => Some(*found.variants.iter().find(|v| **v == wanted).ok_or_else(|| {
            format!("`{name}` has no variant `{wanted}`, but: {}", found.variants.join(", "))
        })?),
    };
    Ok((found.make)(variant))
}

fn listed(nodes: &[usize]) -> String {
    let numbers: Vec<_> = nodes.iter().map(|n| format!("n{n}")).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nemeses_are_found_by_name_and_variant() {
        for n in &ALL {
            assert!(find(n.name).is_ok());
            assert!(n.variants.iter().all(|v| find(&format!("{}:{v}", n.name)).is_ok()));
        }
        assert!(find("kill:half").is_err() && find("meteor").is_err());
    }
}
