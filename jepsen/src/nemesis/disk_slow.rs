//! A node's disk is slow: each sync takes tenths of seconds.

use super::{Doing, Nemesis, Site};
use crate::disk::throttle;

#[derive(Default)]
pub struct DiskSlow {
    victim: Option<usize>,
}

impl Nemesis for DiskSlow {
    fn possible(&self, site: &Site) -> Result<(), String> {
        site.cluster.nodes.iter().try_for_each(|n| throttle::possible(&n.disk.store))
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let victim = site.take(1)?[0];
            self.victim = Some(victim);
            let operations = site.choose(&[10, 25, 50]);
            set(site, victim, Some(operations))?;
            Ok(format!("the disk of n{victim} takes {operations} writes a second"))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let Some(victim) = self.victim.take() else { return Ok("nothing to undo".into()) };
            set(site, victim, None)?;
            site.release(&[victim]);
            Ok(format!("the disk of n{victim} is fast again"))
        })
    }
}

fn set(site: &mut Site, number: usize, operations: Option<u32>) -> Result<(), String> {
    let node = site.node(number)?;
    let process = node.process().ok_or_else(|| format!("node {number} does not run"))?;
    throttle::set(number, process, &node.disk.store, operations)
}
