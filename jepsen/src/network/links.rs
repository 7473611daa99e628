//! What happens to what one node sends to another: one link for each ordered pair.
//!
//! Links are changed by the nemesis and read for every packet, or piece of a stream, that travels.

use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

/// As many nodes as a run may ever have, those that join included. Nodes count from 1.
pub const NODES_MAX: usize = 40;

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Nothing arrives.
    pub cut: bool,
    /// The part of packets that is lost.
    pub loss: f64,
    /// The part of packets that arrives twice.
    pub duplicate: f64,
    pub delay: Duration,
    /// Added to the delay, by chance up to this.
    pub jitter: Duration,
    /// A packet may overtake those before it, as the jitter has it.
    pub reorder: bool,
}

pub struct Links {
    all: RwLock<Vec<Link>>,
    changes: watch::Sender<u64>,
}

impl Links {
    pub fn new() -> Links {
        Links {
            all: RwLock::new(vec![Link::default(); NODES_MAX * NODES_MAX]),
            changes: watch::Sender::new(0),
        }
    }

    pub fn get(&self, from: usize, to: usize) -> Link {
        self.all.read()[index(from, to)]
    }

    pub fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Link)) {
        change(&mut self.all.write()[index(from, to)]);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Every link is whole again.
    pub fn heal(&self) {
        self.all.write().fill(Link::default());
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn are_whole(&self) -> bool {
        self.all.read().iter().all(|l| *l == Link::default())
    }

    /// Waits until what one sends to the other may arrive.
    pub async fn wait_until_whole(&self, from: usize, to: usize) {
        let mut changes = self.changes.subscribe();
        // The sender lives as long as the links.
        let _ = changes.wait_for(|_| !self.get(from, to).cut).await;
    }
}

fn index(from: usize, to: usize) -> usize {
    assert!((1..NODES_MAX).contains(&from) && (1..NODES_MAX).contains(&to), "a link {from} to {to}");
    from * NODES_MAX + to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_is_one_direction() {
        let links = Links::new();
        links.change(1, 2, |l| l.cut = true);
        assert!(links.get(1, 2).cut && !links.get(2, 1).cut && !links.are_whole());
        let waiting =
            async { tokio::time::timeout(Duration::from_millis(20), links.wait_until_whole(1, 2)).await };
        assert!(waiting.await.is_err());
        links.wait_until_whole(2, 1).await;
        let (_, ()) = tokio::join!(links.wait_until_whole(1, 2), async { links.heal() });
        assert!(links.are_whole());
    }
}
