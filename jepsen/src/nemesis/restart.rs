//! A node is asked to end, as for maintenance: it hands over its leases, ends with 0, and comes back later.

use super::{Doing, Nemesis, Site};

#[derive(Default)]
pub struct Restart {
    victim: Option<usize>,
}

/// Asks a node to end. It has to do so by itself, and say that all is well.
pub async fn stop(site: &mut Site, number: usize) -> Result<(), String> {
    let ended = site.node(number)?.stop().await?;
    if let Some(status) = ended.filter(|s| !s.success()) {
        let tail = site.node(number)?.log_tail(10);
        site.wrongs.push(format!("node {number} was asked to stop and ended with {status}\n{tail}"));
    }
    if ended.is_none() {
        site.wrongs.push(format!("node {number} was asked to stop, did not, and had to be killed"));
    }
    Ok(())
}

impl Nemesis for Restart {
    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let victim = site.take(1)?[0];
            self.victim = Some(victim);
            stop(site, victim).await?;
            Ok(format!("n{victim} ended as it was asked to"))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let Some(victim) = self.victim.take() else { return Ok("nothing to start".into()) };
            let started = site.start(&[victim]);
            site.release(&[victim]);
            started.map(|()| format!("started n{victim}"))
        })
    }
}
