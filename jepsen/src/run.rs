//! A run: a cluster, clients, a fault per round, the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::checkers::{self, gaps};
use crate::cluster::{Cluster, Make, Node};
use crate::network::Network;
use crate::parse_duration;
use crate::records::{History, Outcome};
use crate::workloads::bank;
use crate::workloads::pgbench::{self, Load};

/// Violations that are printed; the rest is counted.
const SHOWN: usize = 20;

#[derive(Args, Clone, Debug)]
pub struct BankArgs {
    /// The `meridian` binary: a cluster of its own is started, broken and removed.
    #[arg(long, value_name = "PATH", required_unless_present = "url", conflicts_with = "url")]
    binary: Option<PathBuf>,
    /// A node of a running cluster, which is left in peace; once for each node.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Faults, each on the next node in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long, value_enum, default_value = "kill")]
    nemesis: Fault,
    #[arg(long, default_value_t = 8)]
    clients: usize,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(2..))]
    accounts: i64,
    /// Runs pgbench's TPC-B at this scale beside it, with two clients on every node.
    #[arg(long, value_name = "SCALE", value_parser = clap::value_parser!(u32).range(1..))]
    pgbench: Option<u32>,
    /// How long a fault lasts; without faults, how long a round does.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    restart_after: Duration,
    /// Time between a node's return and the next fault.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    settle: Duration,
    /// The longest time without service that passes.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    gap_max: Option<Duration>,
    /// Keeps the nodes' stores and logs, and the history, in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What happens to one node at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// SIGKILL: what was not synced by the process is lost to it (the page cache survives).
    Kill,
    /// SIGSTOP: the node is silent, and wakes up with an old idea of the time.
    Pause,
    /// No faults.
    None,
}

impl Fault {
    async fn inject(self, node: &mut Node) -> Result<(), String> {
        match self {
            Fault::Kill => node.kill().await,
            Fault::Pause => node.signal(libc::SIGSTOP),
            Fault::None => Ok(()),
        }
    }

    /// Undoes the fault and waits until the node says that it is well.
    async fn heal(self, node: &mut Node) -> Result<(), String> {
        match self {
            Fault::Kill => drop(node.start()?),
            Fault::Pause => node.signal(libc::SIGCONT)?,
            Fault::None => return Ok(()),
        }
        node.wait_until_ready().await
    }
}

pub async fn bank(args: BankArgs) -> Result<(), String> {
    let mut cluster = match &args.binary {
        Some(binary) => {
            let make = Make::plain(binary, args.keep.as_deref());
            let cluster = Cluster::start(make, args.nodes.into(), Network::plain()).await?;
            println!("{} nodes run in {}", args.nodes, cluster.folder().display());
            Some(cluster)
        }
        None => None,
    };
    let urls = Arc::new(cluster.as_ref().map_or_else(|| args.url.clone(), Cluster::urls));
    bank::setup(&urls, args.accounts).await?;
    let history = Arc::new(History::new());
    let stop = Arc::new(AtomicBool::new(false));
    let load = match args.pgbench {
        Some(scale) => Some(Load::start(&urls, scale, &stop).await?),
        None => None,
    };
    let clients = Clients::start(&args, &urls, &history, stop);
    let rounds = match &mut cluster {
        Some(cluster) => break_nodes(&args, cluster, &history).await,
        None => {
            sleep(args.restart_after * args.rounds).await;
            Ok((vec![], vec![]))
        }
    };
    clients.stop().await;
    let counts = match load {
        Some(load) => Some(load.finish().await),
        None => None,
    };
    if let Some(dir) = &args.keep {
        let file = dir.join("history.edn");
        std::fs::write(&file, history.with(|r| r.edn()))
            .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    }
    let (service_gaps, mut broken) = rounds?;
    let end = bank::read_final(&urls).await?;
    broken.extend(history.with(|r| checkers::bank::check(r, &end, args.accounts, bank::OPENING)));
    report(&history, &end, service_gaps);
    if let Some(counts) = counts {
        broken.extend(checkers::pgbench::check(counts, pgbench::read_sums(&urls).await?));
        println!(
            "pgbench: {} transactions, {} failed after retries, {} clients cut off",
            counts.made, counts.failed, counts.cut_off
        );
    }
    verdict(&broken)
}

struct Clients {
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    fn start(
        args: &BankArgs,
        urls: &Arc<Vec<String>>,
        history: &Arc<History>,
        stop: Arc<AtomicBool>,
    ) -> Clients {
        let client = |i| bank::run(i, urls.clone(), args.accounts, history.clone(), stop.clone());
        Clients { tasks: (0..args.clients).map(|i| tokio::spawn(client(i))).collect(), stop }
    }

    /// Waits until every client has heard, or given up, what became of its last transaction.
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            if let Err(e) = task.await {
                std::panic::resume_unwind(e.into_panic());
            }
        }
    }
}

/// The rounds. Gives the time without service after each fault, and what went wrong with the nodes.
async fn break_nodes(
    args: &BankArgs,
    cluster: &mut Cluster,
    history: &History,
) -> Result<(Vec<Duration>, Vec<String>), String> {
    let (mut all, mut broken) = (Vec::new(), Vec::new());
    // A healthy start, so that a gap is the fault's and not the first compilation of a plan.
    sleep(args.settle).await;
    for round in 0..args.rounds as usize {
        let victim = round % cluster.nodes.len();
        let fault = history.now();
        args.nemesis.inject(&mut cluster.nodes[victim]).await?;
        sleep(args.restart_after).await;
        let until = history.now();
        args.nemesis.heal(&mut cluster.nodes[victim]).await?;
        let back = history.now() - until;
        sleep(args.settle).await;
        let gaps = measure(history, victim + 1, cluster.nodes.len(), fault, until);
        println!(
            "round {:>2}: {:?} node {}: {} commits meanwhile; none for {:.2} s, on the worst live node for {:.2} s; \
             back after {:.1} s",
            round + 1,
            args.nemesis,
            victim + 1,
            gaps.commits,
            gaps.cluster.as_secs_f64(),
            gaps.worst_node.as_secs_f64(),
            back.as_secs_f64()
        );
        if args.gap_max.is_some_and(|max| gaps.cluster > max) {
            broken.push(format!("round {}: {:.2} s without service", round + 1, gaps.cluster.as_secs_f64()));
        }
        all.push(gaps.cluster);
        let fallen = cluster.fallen();
        if !fallen.is_empty() {
            broken.extend(fallen);
            break;
        }
    }
    Ok((all, broken))
}

struct Gaps {
    commits: usize,
    /// On no live node was there a commit for so long.
    cluster: Duration,
    /// The largest of the live nodes' own gaps.
    worst_node: Duration,
}

fn measure(history: &History, victim: usize, nodes: usize, fault: Duration, until: Duration) -> Gaps {
    history.with(|r| {
        let on = |node: usize| {
            r.transfers
                .iter()
                .filter(move |t| t.node == node && t.outcome == Outcome::Acknowledged)
                .map(|t| t.ended)
                .filter(move |t| (fault..until).contains(t))
        };
        let live = || (1..=nodes).filter(move |n| *n != victim || nodes == 1);
        Gaps {
            commits: live().map(|n| on(n).count()).sum(),
            cluster: gaps::longest(live().flat_map(on), fault, until),
            worst_node: live().map(|n| gaps::longest(on(n), fault, until)).max().unwrap_or_default(),
        }
    })
}

fn report(history: &History, end: &checkers::bank::Final, service_gaps: Vec<Duration>) {
    history.with(|r| {
        let count = |is: fn(&Outcome) -> bool| r.transfers.iter().filter(|t| is(&t.outcome)).count();
        println!(
            "transfers: {} acknowledged, {} refused, {} indeterminate; {} in the ledger; {} totals read",
            count(|o| *o == Outcome::Acknowledged),
            count(|o| matches!(o, Outcome::Refused(_))),
            count(|o| matches!(o, Outcome::Indeterminate(_))),
            end.ledger.len(),
            r.totals.len()
        );
        let errors: Vec<_> = r.errors.iter().map(|(kind, n)| format!("{kind}: {n}")).collect();
        println!("errors: {}", if errors.is_empty() { "none".into() } else { errors.join(", ") });
    });
    println!("time without service: {}", gaps::distribution(service_gaps));
}

fn verdict(broken: &[String]) -> Result<(), String> {
    if broken.is_empty() {
        println!("verdict: valid");
        return Ok(());
    }
    for b in broken.iter().take(SHOWN) {
        println!("broken: {b}");
    }
    Err(format!("verdict: INVALID, {} violations", broken.len()))
}
