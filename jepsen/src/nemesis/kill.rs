//! Processes die at once and come back on their stores.

use super::{Doing, Nemesis, Site, listed};

pub const VARIANTS: [&str; 3] = ["one", "some", "all"];

pub struct Kill {
    variant: Option<&'static str>,
    victims: Vec<usize>,
}

impl Kill {
    pub fn new(variant: Option<&'static str>) -> Kill {
        Kill { variant, victims: vec![] }
    }
}

/// As many as the variant says: one, as many as the cluster can be without, all.
pub fn count(site: &mut Site, variant: Option<&'static str>) -> usize {
    match variant.unwrap_or_else(|| site.choose(&VARIANTS)) {
        "all" => site.cluster.nodes.len(),
        "some" => site.minority(),
        _ => 1,
    }
}

impl Nemesis for Kill {
    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let count = count(site, self.variant);
            self.victims = site.take(count)?;
            for n in &self.victims {
                site.node(*n)?.signal(libc::SIGKILL)?;
            }
            for n in &self.victims {
                site.node(*n)?.kill().await?;
            }
            Ok(format!("killed {}", listed(&self.victims)))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let victims = std::mem::take(&mut self.victims);
            let started = site.start(&victims);
            site.release(&victims);
            started.map(|()| format!("started {}", listed(&victims)))
        })
    }
}
