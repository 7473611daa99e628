//! Clients that take one step of their workload after the other, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_jepsen::workload::{Chance, Client, Refusal, Workload};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::samples::Samples;
use super::session::{Dice, Gateway, Session};

/// How long statements that make tables may be refused for want of a leader.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// A client whose node turned it away waits about so long before it asks another.
const TURNED_AWAY: Duration = Duration::from_millis(100);
/// A client that went to another node looks after this time whether its own is back. If clients stayed where they are, all
/// would end up at a node that takes them in and answers nobody.
const AWAY_MAX: Duration = Duration::from_secs(3);

pub struct Load {
    clients: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// Makes what the clients need, through the first node.
pub async fn open(work: &dyn Workload, gateways: &Arc<Vec<Gateway>>) -> Result<(), String> {
    let mut session = Session::new(gateways.clone(), 0, Arc::new(Samples::new()));
    for text in work.open() {
        let until = Instant::now() + OPEN_WITHIN;
        loop {
            let said = async {
                session.connect().await?;
                session.say(&text).await
            };
            match said.await {
                Ok(_) => break,
                // What is repeated must not have happened.
                Err(e) if Instant::now() < until && !e.leaves_commit_open() && may_pass(&e) => {
                    sleep(TURNED_AWAY).await;
                }
                Err(e) => return Err(format!("{text}: {} {}", e.code, e.message)),
            }
        }
    }
    Ok(())
}

fn may_pass(e: &Refusal) -> bool {
    ["40001", "40P01", "08001", "57P03"].contains(&e.code.as_str())
}

impl Load {
    /// So many clients, in turn on the nodes and on the workloads.
    pub fn start(
        works: &[Arc<dyn Workload>],
        gateways: &Arc<Vec<Gateway>>,
        clients: usize,
        seed: u64,
        samples: &Arc<Samples>,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |i: usize| {
            let session = Session::new(gateways.clone(), i, samples.clone());
            let dice = Dice(StdRng::seed_from_u64(seed.wrapping_add(i as u64)));
            tokio::spawn(run(i, works[i % works.len()].clone(), session, dice, stop.clone()))
        };
        Load { clients: (0..clients).map(client).collect(), stop }
    }

    /// Waits until every client has heard, or given up, what became of what it asked. `false`: some still wait.
    pub async fn stop(self, within: Duration) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        let until = Instant::now() + within;
        let mut all = true;
        for client in self.clients {
            let aborted = client.abort_handle();
            match timeout(until.saturating_duration_since(Instant::now()), client).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => std::panic::resume_unwind(e.into_panic()),
                Err(_) => {
                    aborted.abort();
                    all = false;
                }
            }
        }
        all
    }
}

async fn run(
    number: usize,
    work: Arc<dyn Workload>,
    mut session: Session,
    mut dice: Dice,
    stop: Arc<AtomicBool>,
) {
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        work.step(&mut session, &format!("{number}-{step}"), &mut dice).await;
        if session.is_turned_away {
            let wait = TURNED_AWAY.mul_f64(0.5 + dice.below(100) as f64 / 100.0);
            session.rest(wait).await;
        }
        if session.is_turned_away {
            session.go_elsewhere(&mut dice).await;
        } else if session.away_for() > AWAY_MAX {
            session.go_home();
        }
    }
    session.leave().await;
}
