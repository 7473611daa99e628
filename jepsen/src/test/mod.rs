//! `meridian-jepsen test`: a cluster, workloads, nemeses, and a verdict, with a folder that says how it came about.

mod wire;
mod samples;
mod session;
mod load;
mod rounds;
mod recovery;
mod numbers;
mod report;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use meridian_jepsen::workload::{self, Client, Level, Setting, Workload};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::clock::Library;
use crate::cluster::{Cluster, Make};
use crate::nemesis::{self, Site};
use crate::network::Network;
use crate::parse_duration;
use crate::world::{self, World};
use load::Load;
pub use report::STYLE;
use rounds::{Armed, Plan};
use samples::Samples;
use session::{Gateway, Session};
pub use verdict::{Ended, Summary};

/// A disk that is to be filled up. The log's segments are of 64 MiB.
const DISK_BYTES: u64 = 2 << 30;
/// The bound that nodes are told. All real clocks are one clock, and only faults make them differ.
const CLOCK_BOUND: Duration = Duration::from_millis(10);
const CLOCK_BOUND_FOR_FAULTS: Duration = Duration::from_millis(100);

#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// The `meridian` binary.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// What clients do; several side by side. `list` shows all.
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    workload: Vec<String>,
    /// Faults, of each round; with a variant: `kill:all`. `mixed`: one to three a round, of all that are possible. `none`.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "none")]
    nemesis: Vec<String>,
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    time_limit: Duration,
    /// How long a fault lasts, about.
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = parse_duration)]
    fault_time: Duration,
    /// Time between the last fault's end and the next fault.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    settle: Duration,
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// For the workloads that hold at several levels.
    #[arg(long, value_enum, default_value = "serializable")]
    isolation: Isolation,
    /// How large tables are.
    #[arg(long, default_value_t = 2)]
    scale: u64,
    /// The bound on the clocks that the nodes are told.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_clock_offset: Option<Duration>,
    /// The build that nodes become in a rolling upgrade.
    #[arg(long, value_name = "PATH")]
    upgrade_to: Option<PathBuf>,
    /// Further flags of `meridian start`, as in --start=--range-size=1MiB.
    #[arg(long, value_name = "FLAG")]
    start: Vec<String>,
    /// Where nodes live: in network namespaces if they can be had, or on loopback behind proxies.
    #[arg(long, value_enum, default_value = "auto")]
    network: Where,
    /// Of the nemeses' choices and the clients'. What real processes make of them is another matter.
    #[arg(long)]
    seed: Option<u64>,
    /// Keeps history, logs, page, and, if something was wrong, the stores in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Where {
    Auto,
    Loopback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl TestArgs {
    pub fn wants_namespaces(&self) -> bool {
        self.network == Where::Auto
    }

    /// Whether a nemesis of this name may come.
    fn may_break(&self, name: &str) -> bool {
        self.nemesis.iter().any(|n| n == "mixed" || n.split(':').next() == Some(name))
    }

    fn clock_bound(&self) -> Duration {
        let usual = if self.may_break("clock") { CLOCK_BOUND_FOR_FAULTS } else { CLOCK_BOUND };
        self.max_clock_offset.unwrap_or(usual)
    }

    fn level(&self) -> Level {
        match self.isolation {
            Isolation::ReadCommitted => Level::ReadCommitted,
            Isolation::RepeatableRead => Level::RepeatableRead,
            Isolation::Serializable => Level::Serializable,
        }
    }
}

/// Names of what there is.
pub fn list() -> String {
    let mut text = "workloads\n".to_string();
    for w in workload::ALL {
        text += &format!("  {:<12} {}\n", w.name, w.about);
    }
    text += "nemeses\n";
    for n in &nemesis::ALL {
        let variants =
            if n.variants.is_empty() { String::new() } else { format!(" ({})", n.variants.join(", ")) };
        text += &format!("  {:<12} {}{variants}\n", n.name, n.about);
    }
    text + "  mixed        one to three of all that are possible, each round\n  none\n"
}

pub async fn run(args: TestArgs, world: &World) -> Result<Ended, String> {
    if args.workload.iter().chain(&args.nemesis).any(|n| n == "list") {
        print!("{}", list());
        return Ok(Ended::Valid);
    }
    let folder = args.keep.clone().unwrap_or_else(world::folder);
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}, folder {}", folder.display());
    let makers = args
        .workload
        .iter()
        .map(|name| workload::find(name).ok_or_else(|| format!("there is no workload `{name}`\n{}", list())));
    let makers = makers.collect::<Result<Vec<_>, _>>()?;

    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let (network, mut skipped) = network(&args, world);
    let make = make(&args, &folder, world, &mut skipped);
    let cluster = Cluster::start(make, args.nodes.into(), network).await?;
    let mut site = Site::new(cluster, StdRng::seed_from_u64(seed));
    site.clock_bound = Some(args.clock_bound());
    site.upgrade_to = args.upgrade_to.clone();
    let mut plan = plan(&args, &site, &mut skipped)?;
    for (name, why) in &skipped {
        println!("skipped: {name}: {why}");
    }
    if plan.nemeses.is_empty() && !args.nemesis.iter().any(|n| n == "none") {
        return Ok(Ended::Skipped(skipped.iter().map(|(n, why)| format!("{n}: {why}")).collect()));
    }

    let gateways = site.cluster.nodes.iter().map(|n| Gateway { number: n.number, sql: n.place.sql });
    let gateways: Arc<Vec<Gateway>> = Arc::new(gateways.collect());
    let consistency = consistency(&gateways).await?;
    let excused = if args.may_break("disk-full") { vec!["53100".to_string()] } else { vec![] };
    let setting = Setting {
        strict: consistency.starts_with("strict"),
        level: args.level(),
        scale: args.scale,
        excused,
    };
    let works: Vec<Arc<dyn Workload>> = makers.iter().map(|m| (m.make)(setting.clone())).collect();
    for work in &works {
        load::open(&**work, &gateways).await?;
    }
    let samples = Arc::new(Samples::new());
    let load = Load::start(&works, &gateways, args.clients, seed, &samples);
    let windows = rounds::run(&mut plan, &mut site, &samples).await;
    let calm = samples.now();
    let recovery = recovery::check(&mut site, load, &works, &gateways).await;
    works.iter().for_each(|w| w.close());
    // Before the stores are taken away under them.
    for node in &mut site.cluster.nodes {
        node.kill().await?;
    }

    let run = report::Run {
        args: &args,
        seed,
        consistency,
        skipped,
        windows,
        calm,
        samples: samples.take(),
        recovery,
    };
    report::conclude(run, site, &works, &folder)
}

/// Where the nodes live, and what cannot be had there.
fn network(args: &TestArgs, world: &World) -> (Network, Vec<(String, String)>) {
    match world {
        World::Own => match Network::spaces() {
            Ok(network) => (network, vec![]),
            Err(e) => (Network::loopback(), vec![("namespaces".into(), e)]),
        },
        World::Shared(why) if args.wants_namespaces() => {
            (Network::loopback(), vec![("namespaces".into(), why.clone())])
        }
        _ => (Network::loopback(), vec![]),
    }
}

fn make(
    args: &TestArgs,
    folder: &std::path::Path,
    world: &World,
    skipped: &mut Vec<(String, String)>,
) -> Make {
    let bound = format!("{}ms", args.clock_bound().as_millis());
    let mut flags = vec!["--max-clock-offset".to_string(), bound];
    flags.extend(args.start.iter().cloned());
    let own_disks = args.may_break("disk-full") && matches!(world, World::Own);
    let clocks = args.may_break("clock").then(|| Library::make(folder));
    let clocks = match clocks.transpose() {
        Ok(clocks) => clocks,
        Err(why) => {
            skipped.push(("clock".into(), why));
            None
        }
    };
    Make {
        binary: args.binary.clone(),
        folder: Some(folder.to_path_buf()),
        disk: own_disks.then_some(DISK_BYTES),
        clocks,
        flags,
    }
}

fn plan(args: &TestArgs, site: &Site, skipped: &mut Vec<(String, String)>) -> Result<Plan, String> {
    let mixed = args.nemesis.iter().any(|n| n == "mixed");
    let names: Vec<String> = match mixed {
        true => nemesis::ALL.iter().map(|n| n.name.to_string()).collect(),
        false => args.nemesis.iter().filter(|n| *n != "none").cloned().collect(),
    };
    let mut nemeses = Vec::new();
    for name in names {
        let nemesis = nemesis::find(&name)?;
        match nemesis.possible(site) {
            Ok(()) => nemeses.push(Armed { name, nemesis }),
            Err(why) if skipped.iter().all(|(n, _)| *n != name) => skipped.push((name, why)),
            Err(_) => {}
        }
    }
    let (time_limit, fault_time, settle) = (args.time_limit, args.fault_time, args.settle);
    Ok(Plan { nemeses, mixed, time_limit, fault_time, settle })
}

async fn consistency(gateways: &Arc<Vec<Gateway>>) -> Result<String, String> {
    let mut session = Session::new(gateways.clone(), 0, Arc::new(Samples::new()));
    let asked = async {
        session.connect().await?;
        session.say("SHOW meridian.consistency").await
    };
    let answer = asked.await.map_err(|e| format!("SHOW meridian.consistency: {} {}", e.code, e.message))?;
    Ok(answer.first().unwrap_or_default().to_string())
}
