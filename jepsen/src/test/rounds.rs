//! When faults come and go: in rounds, each with some faults that begin one after the other, overlap for a while, and are
//! undone in an order of chance; then the cluster has a moment to settle.

use std::time::Duration;

use rand::Rng;
use rand::seq::{IteratorRandom, SliceRandom};
use tokio::time::{Instant, sleep};

use super::samples::Samples;
use crate::nemesis::{Nemesis, Site};

/// A fault while it lasted.
#[derive(Clone, Debug)]
pub struct Window {
    pub nemesis: String,
    pub what: String,
    pub healed: String,
    pub begun: Duration,
    /// When it began to be undone.
    pub undone: Duration,
    pub ended: Duration,
}

pub struct Plan {
    pub nemeses: Vec<Armed>,
    /// Some of them a round, by chance, rather than all.
    pub mixed: bool,
    pub time_limit: Duration,
    pub fault_time: Duration,
    pub settle: Duration,
}

/// A nemesis and its name.
pub struct Armed {
    pub name: String,
    pub nemesis: Box<dyn Nemesis>,
}

/// A fault that is there.
struct Open {
    which: usize,
    /// `None`: it could not be done, but may have to be undone.
    what: Option<String>,
    begun: Duration,
}

pub async fn run(plan: &mut Plan, site: &mut Site, samples: &Samples) -> Vec<Window> {
    let until = Instant::now() + plan.time_limit;
    let mut windows = Vec::new();
    // A healthy start, so that a gap is the fault's and not the first compilation of a plan.
    sleep(plan.settle).await;
    while Instant::now() + plan.settle < until {
        if plan.nemeses.is_empty() {
            sleep(until - Instant::now()).await;
            break;
        }
        let open = inject(plan, site, samples).await;
        let left = until.saturating_duration_since(Instant::now());
        let time = plan.fault_time.mul_f64(site.chance.random_range(0.5..1.5)).min(left);
        sleep(time).await;
        heal(plan, site, samples, open, &mut windows).await;
        become_well(site, samples).await;
        sleep(plan.settle.min(until.saturating_duration_since(Instant::now()))).await;
    }
    windows
}

async fn inject(plan: &mut Plan, site: &mut Site, samples: &Samples) -> Vec<Open> {
    let mut which: Vec<usize> = (0..plan.nemeses.len()).collect();
    if plan.mixed {
        let count = site.chance.random_range(1..=3);
        which = which.into_iter().choose_multiple(&mut site.chance, count);
    }
    which.shuffle(&mut site.chance);
    let mut open = Vec::new();
    for which in which {
        if !open.is_empty() {
            sleep(Duration::from_millis(site.chance.random_range(0..1500))).await;
        }
        let (begun, armed) = (samples.now(), &mut plan.nemeses[which]);
        let done = armed.nemesis.inject(site).await;
        let said = done.clone().unwrap_or_else(|e| format!("not done: {e}"));
        println!("{:>7.2} s  {:<10} {said}", begun.as_secs_f64(), armed.name);
        open.push(Open { which, what: done.ok(), begun });
    }
    open
}

async fn heal(
    plan: &mut Plan,
    site: &mut Site,
    samples: &Samples,
    mut open: Vec<Open>,
    windows: &mut Vec<Window>,
) {
    open.shuffle(&mut site.chance);
    // Nobody can leave while others are away.
    open.sort_by_key(|o| match plan.nemeses[o.which].name.as_str() {
        name if name.starts_with("member") => 2,
        "disk-full" => 1,
        _ => 0,
    });
    for Open { which, what, begun } in open {
        let (undone, armed) = (samples.now(), &mut plan.nemeses[which]);
        let healed = armed.nemesis.heal(site).await.unwrap_or_else(|e| format!("not healed: {e}"));
        let ended = samples.now();
        let Some(what) = what else { continue };
        println!("{:>7.2} s  {:<10} {healed}", ended.as_secs_f64(), armed.name);
        windows.push(Window { nemesis: armed.name.clone(), what, healed, begun, undone, ended });
    }
}

/// No fault is left: every process is there, and becomes well. What has ended unasked is a wrong, and is started again, since the
/// rest of the run is to show more than this.
async fn become_well(site: &mut Site, samples: &Samples) {
    let begun = samples.now();
    let fallen = site.cluster.fallen();
    site.wrongs.extend(fallen);
    let away: Vec<_> = site.cluster.nodes.iter().filter(|n| !n.runs()).map(|n| n.number).collect();
    for number in away {
        let started = site.cluster.start_node(number);
        site.wrongs.extend(started.err());
    }
    for node in &mut site.cluster.nodes {
        let well = node.wait_until_ready().await;
        site.wrongs.extend(well.err().map(|e| format!("at {:.1} s: {e}", begun.as_secs_f64())));
    }
    let took = samples.now() - begun;
    println!("{:>7.2} s  all nodes are well, after {:.2} s", samples.now().as_secs_f64(), took.as_secs_f64());
}
