//! Members come and go: a new node joins and leaves again, or an old one leaves for good and an empty one takes its place.
//!
//! Whoever leaves is decommissioned first, while the other faults are still there, and has a minute to become empty once
//! they are healed.

use std::time::Duration;

use tokio::time::timeout;

use super::{Doing, Nemesis, Site, restart};
use crate::cluster::REPLICAS;

pub const VARIANTS: [&str; 2] = ["join", "replace"];
const EMPTY_WITHIN: Duration = Duration::from_secs(60);

pub struct Member {
    variant: Option<&'static str>,
    going: Option<Going>,
}

/// Who is to leave.
enum Going {
    Newcomer(usize),
    Replaced(usize),
}

impl Member {
    pub fn new(variant: Option<&'static str>) -> Member {
        Member { variant, going: None }
    }
}

impl Nemesis for Member {
    fn possible(&self, site: &Site) -> Result<(), String> {
        match self.variant {
            Some("replace") if site.cluster.nodes.len() <= REPLICAS => Err(format!(
                "a range has {REPLICAS} replicas, and of {} nodes none can leave",
                site.cluster.nodes.len()
            )),
            _ => Ok(()),
        }
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let few = site.cluster.nodes.len() <= REPLICAS;
            let variant = self.variant.unwrap_or_else(|| if few { "join" } else { site.choose(&VARIANTS) });
            if variant == "join" {
                let number = site.cluster.add().await?;
                site.taken.insert(number);
                self.going = Some(Going::Newcomer(number));
                return Ok(format!("n{number} has joined"));
            }
            let number = site.take(1)?[0];
            self.going = Some(Going::Replaced(number));
            let id = site.cluster.id_of(number).await?;
            site.cluster.ask_other(number, &["decommission", &id, "--no-wait"]).await?;
            Ok(format!("n{number} (node {id}) is to leave"))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let Some(going) = self.going.take() else { return Ok("nobody is to leave".into()) };
            let (Going::Newcomer(number) | Going::Replaced(number)) = going;
            let id = site.cluster.id_of(number).await?;
            let begun = tokio::time::Instant::now();
            let left = timeout(EMPTY_WITHIN, site.cluster.ask_other(number, &["decommission", &id])).await;
            match left {
                Ok(Ok(_)) => {}
                Ok(Err(e)) => {
                    site.wrongs.push(format!("node {id} (n{number}) cannot be decommissioned: {e}"))
                }
                Err(_) => {
                    site.wrongs.push(format!("node {id} (n{number}) is not empty after {EMPTY_WITHIN:?}"));
                }
            }
            let took = begun.elapsed().as_secs_f64();
            restart::stop(site, number).await?;
            site.release(&[number]);
            match going {
                Going::Newcomer(_) => {
                    site.cluster.forget(number);
                    Ok(format!("n{number} was empty after {took:.1} s, and has left"))
                }
                Going::Replaced(_) => {
                    site.cluster.empty(number)?;
                    site.start(&[number])?;
                    Ok(format!("n{number} was empty after {took:.1} s, and comes back with an empty store"))
                }
            }
        })
    }
}
