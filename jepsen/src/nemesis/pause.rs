//! Processes stand still and go on: nothing they believed of leases and clocks is true any more.

use super::{Doing, Nemesis, Site, kill, listed};

pub const VARIANTS: [&str; 3] = kill::VARIANTS;

pub struct Pause {
    variant: Option<&'static str>,
    victims: Vec<usize>,
}

impl Pause {
    pub fn new(variant: Option<&'static str>) -> Pause {
        Pause { variant, victims: vec![] }
    }
}

impl Nemesis for Pause {
    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let count = kill::count(site, self.variant);
            self.victims = site.take(count)?;
            for n in &self.victims {
                site.node(*n)?.signal(libc::SIGSTOP)?;
            }
            Ok(format!("stopped {}", listed(&self.victims)))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let victims = std::mem::take(&mut self.victims);
            for n in &victims {
                site.node(*n)?.signal(libc::SIGCONT)?;
            }
            site.release(&victims);
            Ok(format!("{} went on", listed(&victims)))
        })
    }
}
