//! Nodes do not hear one another: in both directions or in one, in halves, around a bridge, in a ring, or alone.

use rand::seq::SliceRandom;

use super::{Doing, Nemesis, Site, listed};

pub const VARIANTS: [&str; 7] = ["halves", "bridge", "ring", "leaseholder", "alone", "deaf", "mute"];

pub struct Partition {
    variant: Option<&'static str>,
    cut: Vec<(usize, usize)>,
}

impl Partition {
    pub fn new(variant: Option<&'static str>) -> Partition {
        Partition { variant, cut: vec![] }
    }
}

impl Nemesis for Partition {
    fn possible(&self, site: &Site) -> Result<(), String> {
        match site.cluster.nodes.len() {
            0 | 1 => Err("there is nobody to be parted from".into()),
            _ if !site.cluster.network.has_links() => Err("the network has no switch and no proxies".into()),
            _ => Ok(()),
        }
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let variant = self.variant.unwrap_or_else(|| site.choose(&VARIANTS));
            let leader = match variant {
                "leaseholder" => site.cluster.leads_most().await,
                _ => None,
            };
            let mut nodes: Vec<_> = site.cluster.nodes.iter().map(|n| n.number).collect();
            nodes.shuffle(&mut site.chance);
            if let Some(leader) = leader {
                nodes.sort_by_key(|n| *n != leader);
            }
            let (cut, what) = links_to_cut(variant, &nodes);
            for (from, to) in &cut {
                site.cluster.network.links.change(*from, *to, |l| l.cut = true);
            }
            self.cut = cut;
            Ok(what)
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            for (from, to) in std::mem::take(&mut self.cut) {
                site.cluster.network.links.change(from, to, |l| l.cut = false);
            }
            Ok("all hear one another".into())
        })
    }
}

/// The directions to cut, among nodes in an order of chance, and what that is. Who is to be alone is the first.
fn links_to_cut(variant: &str, nodes: &[usize]) -> (Vec<(usize, usize)>, String) {
    let (one, rest) = (nodes[0], &nodes[1..]);
    let (left, right) = nodes.split_at(nodes.len() / 2);
    let between = |a: &[usize], b: &[usize]| -> Vec<(usize, usize)> {
        a.iter().flat_map(|a| b.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect()
    };
    match variant {
        "halves" => (between(left, right), format!("{} | {}", listed(left), listed(right))),
        "bridge" => {
            let (middle, right) = (right[0], &right[1..]);
            (between(left, right), format!("{} | {}, and n{middle} hears both", listed(left), listed(right)))
        }
        "ring" => (ring(nodes), format!("in the ring {} each hears its neighbours only", listed(nodes))),
        "deaf" => (rest.iter().map(|n| (*n, one)).collect(), format!("n{one} hears nobody, but is heard")),
        "mute" => (rest.iter().map(|n| (one, *n)).collect(), format!("n{one} is not heard, but hears")),
        "leaseholder" => (between(&[one], rest), format!("n{one}, which leads most, is alone")),
        _ => (between(&[one], rest), format!("n{one} is alone")),
    }
}

/// Each hears the next and the one before. Of three all are neighbours: there the first and the second are parted.
fn ring(nodes: &[usize]) -> Vec<(usize, usize)> {
    let n = nodes.len();
    let apart = |a: usize, b: usize| match n {
        0..=3 => a + b == 1,
        _ => !matches!((b + n - a) % n, 0 | 1) && (b + n - a) % n != n - 1,
    };
    let pairs = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
    pairs.filter(|(a, b)| apart(*a, *b)).map(|(a, b)| (nodes[a], nodes[b])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(variant: &str, nodes: &[usize]) -> Vec<(usize, usize)> {
        let (mut cut, _) = links_to_cut(variant, nodes);
        cut.sort();
        cut
    }

    #[test]
    fn what_is_cut() {
        assert_eq!(cut("halves", &[1, 2, 3]), [(1, 2), (1, 3), (2, 1), (3, 1)]);
        assert_eq!(cut("bridge", &[1, 2, 3]), [(1, 3), (3, 1)]);
        assert_eq!(cut("deaf", &[2, 1, 3]), [(1, 2), (3, 2)]);
        assert_eq!(cut("mute", &[2, 1, 3]), [(2, 1), (2, 3)]);
        assert_eq!(cut("alone", &[2, 1, 3]), [(1, 2), (2, 1), (2, 3), (3, 2)]);
        assert_eq!(cut("ring", &[1, 2, 3]), [(1, 2), (2, 1)]);
    }

    #[test]
    fn in_a_ring_of_five_each_hears_two_others() {
        let cut = cut("ring", &[5, 3, 1, 2, 4]);
        for n in 1..=5 {
            assert_eq!(cut.iter().filter(|(from, _)| *from == n).count(), 2);
        }
        assert!(!cut.contains(&(5, 3)) && !cut.contains(&(5, 4)) && cut.contains(&(5, 1)));
    }

    #[test]
    fn a_bridge_of_five_hears_all() {
        let cut = cut("bridge", &[1, 2, 3, 4, 5]);
        assert!(cut.iter().all(|(from, to)| *from != 3 && *to != 3));
        assert_eq!(cut.len(), 8);
    }
}
