//! After the last fault the cluster must heal by itself: every node is up and well, the clients hear what became of what they
//! asked, and within bounded time everything can be read, and is right, through every node.

use std::sync::Arc;
use std::time::Duration;

use meridian_jepsen::workload::Workload;
use tokio::time::{Instant, sleep};

use super::load::Load;
use super::samples::Samples;
use super::session::{Gateway, Session};
use crate::nemesis::Site;

/// From the end of the last fault, and of the last operation, to the last look through the last node.
const LOOKS_WITHIN: Duration = Duration::from_secs(10);
/// A client may wait for one answer as long as it waits for any, and then for the next.
const CLIENTS_END_WITHIN: Duration = Duration::from_secs(30);
/// Beyond the bound looks are tried on, so that it is known how bad it is.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What was measured, a line each, and what was wrong.
pub struct Recovery {
    pub said: Vec<String>,
    pub wrongs: Vec<String>,
}

pub async fn check(
    site: &mut Site,
    load: Load,
    works: &[Arc<dyn Workload>],
    gateways: &Arc<Vec<Gateway>>,
) -> Recovery {
    let mut found = Recovery { said: vec![], wrongs: vec![] };
    if !site.cluster.network.links.are_whole() {
        found.wrongs.push("a nemesis has left a link broken".into());
    }
    site.cluster.network.links.heal();
    let healed = Instant::now();
    let ended = load.stop(CLIENTS_END_WITHIN).await;
    found.said.push(format!("clients ended {:.1} s after the last fault", healed.elapsed().as_secs_f64()));
    if !ended {
        found
            .wrongs
            .push(format!("{CLIENTS_END_WITHIN:?} after the last fault, clients still wait for answers"));
    }
    for node in &mut site.cluster.nodes {
        let well = node.wait_until_ready().await;
        found.wrongs.extend(well.err());
    }
    let begun = Instant::now();
    let looks = works.iter().flat_map(|work| {
        (0..gateways.len()).map(|at| tokio::spawn(look(work.clone(), gateways.clone(), at, begun)))
    });
    let looks: Vec<_> = looks.collect();
    let mut last = Duration::ZERO;
    for look in looks {
        match look.await {
            Ok(Ok(took)) => last = last.max(took),
            Ok(Err(e)) => found.wrongs.push(e),
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }
    found
        .said
        .push(format!("everything was read through every node after another {:.1} s", last.as_secs_f64()));
    if last > LOOKS_WITHIN {
        let late = format!(
            "after the last fault it took {:.1} s until everything could be read through every node: {LOOKS_WITHIN:?} are allowed",
            last.as_secs_f64()
        );
        found.wrongs.push(late);
    }
    let fallen = site.cluster.fallen();
    found.wrongs.extend(fallen);
    found
}

/// Looks through one node until it succeeds; gives when that was.
async fn look(
    work: Arc<dyn Workload>,
    gateways: Arc<Vec<Gateway>>,
    at: usize,
    begun: Instant,
) -> Result<Duration, String> {
    let mut session = Session::new(gateways.clone(), at, Arc::new(Samples::new()));
    loop {
        match work.last_look(&mut session).await {
            Ok(()) => return Ok(begun.elapsed()),
            Err(e) if begun.elapsed() > GIVEN_UP_AFTER => {
                let number = gateways[at].number;
                return Err(format!(
                    "through n{number} not everything can be read: {} {}",
                    e.code, e.message
                ));
            }
            Err(_) => sleep(AGAIN_AFTER).await,
        }
    }
}
