//! A node's disk has no room left, and has room again later. The node may stop at once (exit code 70), and must then come
//! back on its store.

use std::time::Duration;

use tokio::time::Instant;

use super::{Doing, Nemesis, Site};
use crate::client::{bounded, connect};

/// What a node ends with that cannot keep its promises any more.
const FAULT: i32 = 70;
const FELT_WITHIN: Duration = Duration::from_secs(15);
/// More than a segment of the log.
const ROWS_MAX: usize = 100;

#[derive(Default)]
pub struct DiskFull {
    victim: Option<usize>,
}

impl Nemesis for DiskFull {
    fn possible(&self, site: &Site) -> Result<(), String> {
        match site.cluster.nodes.iter().all(|n| n.disk.can_be_filled()) {
            true => Ok(()),
            false => {
                Err("the nodes have no disks of their own, which takes namespaces and loop devices".into())
            }
        }
    }

    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let victim = site.take(1)?[0];
            self.victim = Some(victim);
            let taken = site.node(victim)?.disk.fill()?;
            let written = write(site, victim).await;
            Ok(format!(
                "the disk of n{victim} is full: {} MiB were free; {written} MiB were written since",
                taken >> 20
            ))
        })
    }

    fn heal<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let Some(victim) = self.victim.take() else { return Ok("nothing to free".into()) };
            let ended = site.node(victim)?.ended();
            site.node(victim)?.disk.free()?;
            let said = match ended {
                None => format!("the disk of n{victim} has room again; the node never stopped"),
                Some(status) => {
                    if status.code() != Some(FAULT) {
                        let tail = site.node(victim)?.log_tail(20);
                        let wrong =
                            format!("node {victim} had no room on its disk and ended with {status}\n{tail}");
                        site.wrongs.push(wrong);
                    }
                    site.start(&[victim])?;
                    format!(
                        "the disk of n{victim} has room again; the node had ended ({status}) and was started"
                    )
                }
            };
            site.release(&[victim]);
            Ok(said)
        })
    }
}

/// The log is written some way ahead, so that a full disk is not felt at once: writes through other nodes until it is. Gives the
/// rows of a MiB that were written.
async fn write(site: &mut Site, victim: usize) -> usize {
    let others = site.cluster.nodes.iter().filter(|n| n.number != victim && n.runs());
    let Some(url) = others.map(|n| n.url()).next() else { return 0 };
    let Ok(client) = connect(&url).await else { return 0 };
    let until = Instant::now() + FELT_WITHIN;
    let mut rows = 0;
    let table = "CREATE TABLE IF NOT EXISTS much (id uuid PRIMARY KEY, what text)";
    if bounded(client.batch_execute(table)).await.is_err() {
        return 0;
    }
    while rows < ROWS_MAX && Instant::now() < until && site.node(victim).is_ok_and(|n| n.lives()) {
        let row = "INSERT INTO much VALUES (gen_random_uuid(), repeat('meridian', 131072))";
        if bounded(client.batch_execute(row)).await.is_err() {
            break;
        }
        rows += 1;
    }
    rows
}
