//! Packets between nodes are lost, late, overtaken, doubled: on every link, or on those of one node.
//!
//! Through proxies nothing can be lost or doubled; there is only the delay.

use std::time::Duration;

use rand::Rng;

use super::{Doing, Nemesis, Site};
use crate::network::Link;

pub const VARIANTS: [&str; 5] = ["loss", "delay", "reorder", "duplicate", "all"];

pub struct Packets {
    variant: Option<&'static str>,
    changed: Vec<(usize, usize)>,
}

impl Packets {
    pub fn new(variant: Option<&'static str>) -> Packets {
        Packets { variant, changed: vec![] }
    }
}

impl Nemesis for Packets {
    fn possible(&self, site: &Site) -> Result<(), String> {
        let network = &site.cluster.network;
        match self.variant {
            _ if !network.has_links() => Err("the network has no switch and no proxies".into()),
            None | Some("delay") => Ok(()),
            Some(variant) if !network.has_packets() => {
                Err(format!("{variant}: proxies carry streams, not packets; only namespaces have packets"))
            }
            Some(_) => Ok(()),
        }
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let variant = match self.variant {
                _ if !site.cluster.network.has_packets() => "delay",
                Some(v) => v,
                None => site.choose(&VARIANTS),
            };
            let (bad, what) = bad_link(variant, &mut site.chance);
            let nodes: Vec<_> = site.cluster.nodes.iter().map(|n| n.number).collect();
            let one = site.chance.random_bool(0.5).then(|| site.choose(&nodes));
            for from in &nodes {
                for to in nodes.iter().filter(|to| *to != from) {
                    if one.is_none_or(|one| one == *from || one == *to) {
                        let cut = |l: &mut Link| *l = Link { cut: l.cut, ..bad };
                        site.cluster.network.links.change(*from, *to, cut);
                        self.changed.push((*from, *to));
                    }
                }
            }
            Ok(format!("{what}, {}", one.map_or("everywhere".into(), |n| format!("from and to n{n}"))))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            for (from, to) in self.changed.drain(..) {
                let whole = |l: &mut Link| *l = Link { cut: l.cut, ..Link::default() };
                site.cluster.network.links.change(from, to, whole);
            }
            Ok("packets arrive in time and in order".into())
        })
    }
}

fn bad_link(variant: &str, chance: &mut impl Rng) -> (Link, String) {
    let mut link = Link::default();
    let mut what = Vec::new();
    let has = |one: &str| variant == one || variant == "all";
    if has("loss") {
        link.loss = [0.02, 0.1, 0.3][chance.random_range(0..3)];
        what.push(format!("{} % of packets are lost", link.loss * 100.0));
    }
    if has("delay") || has("reorder") {
        let ms = [10, 50, 150][chance.random_range(0..3)];
        (link.delay, link.jitter) = (Duration::from_millis(ms), Duration::from_millis(ms / 2));
        what.push(format!("packets are {ms} to {} ms late", ms + ms / 2));
    }
    if has("reorder") {
        link.reorder = true;
        what.push("they overtake one another".into());
    }
    if has("duplicate") {
        link.duplicate = 0.2;
        what.push("20 % of packets come twice".into());
    }
    (link, what.join(", "))
}
