//! A rolling upgrade: one node after the other is asked to end and comes back as another build, or as the same.

use std::time::Duration;

use tokio::time::timeout;

use super::{Doing, Nemesis, Site, listed, restart};

/// Whoever upgrades waits for a node before the next one, but not for ever: there may be other faults.
const BACK_WITHIN: Duration = Duration::from_secs(10);

pub struct Upgrade;

impl Nemesis for Upgrade {
    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let nodes = site.free();
            let mut late = 0;
            for number in &nodes {
                restart::stop(site, *number).await?;
                if let Some(binary) = site.upgrade_to.clone() {
                    site.node(*number)?.binary = binary;
                }
                site.start(&[*number])?;
                let back = timeout(BACK_WITHIN, site.node(*number)?.wait_until_ready()).await;
                late += usize::from(!matches!(back, Ok(Ok(()))));
            }
            let how = site.upgrade_to.as_ref().map_or("again".into(), |p| format!("as {}", p.display()));
            let late = if late == 0 {
                String::new()
            } else {
                format!("; {late} were not well within {BACK_WITHIN:?}")
            };
            Ok(format!("{} came back {how}, one after the other{late}", listed(&nodes)))
        })
    }

    fn heal<'a>(&'a mut self, _: &'a mut Site) -> Doing<'a> {
        Box::pin(async { Ok("all run the same build".into()) })
    }
}
