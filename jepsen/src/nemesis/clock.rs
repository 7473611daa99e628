//! Clocks are wrong: one jumps, all go apart, or one goes to and fro; never so far that two differ by more than the bound.

use std::time::Duration;

use rand::Rng;

use super::{Doing, Nemesis, Site, listed};

pub const VARIANTS: [&str; 3] = ["jump", "apart", "strobe"];
/// Each clock is wrong by at most this part of the bound, so that two differ by less than the bound.
const PART: f64 = 0.45;
/// How often a clock goes to and fro.
const STROBES: usize = 20;
const STROBE: Duration = Duration::from_millis(50);

pub struct Clocks {
    variant: Option<&'static str>,
}

impl Clocks {
    pub fn new(variant: Option<&'static str>) -> Clocks {
        Clocks { variant }
    }
}

impl Nemesis for Clocks {
    fn possible(&self, site: &Site) -> Result<(), String> {
        match site.cluster.nodes.iter().all(|n| n.clock.is_some()) && site.clock_bound.is_some() {
            true => Ok(()),
            false => Err("the nodes run by the machine's clock".into()),
        }
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let variant = self.variant.unwrap_or_else(|| site.choose(&VARIANTS));
            let bound = site.clock_bound.ok_or("there is no bound")?;
            let far = (bound.as_millis() as f64 * PART) as i64;
            let nodes: Vec<_> = site.cluster.nodes.iter().map(|n| n.number).collect();
            let one = site.choose(&nodes);
            match variant {
                "apart" => {
                    let mut said = Vec::new();
                    for n in nodes {
                        let offset = site.chance.random_range(-far..=far);
                        set(site, n, offset)?;
                        said.push(format!("n{n} {offset:+} ms"));
                    }
                    Ok(said.join(", "))
                }
                "strobe" => {
                    for _ in 0..STROBES {
                        for offset in [far, -far] {
                            set(site, one, offset)?;
                            tokio::time::sleep(STROBE).await;
                        }
                    }
                    Ok(format!("n{one} went {STROBES} times from {far:+} to {:+} ms", -far))
                }
                _ => {
                    let offset = site.choose(&[far, -far]);
                    set(site, one, offset)?;
                    Ok(format!("n{one} {offset:+} ms"))
                }
            }
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let nodes: Vec<_> = site.cluster.nodes.iter().map(|n| n.number).collect();
            for n in &nodes {
                set(site, *n, 0)?;
            }
            Ok(format!("the clocks of {} are right", listed(&nodes)))
        })
    }
}

fn set(site: &mut Site, node: usize, offset_ms: i64) -> Result<(), String> {
    site.node(node)?.clock.as_ref().map_or(Ok(()), |c| c.set(offset_ms))
}
