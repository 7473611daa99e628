//! What may be asked of a simulation: which faults, which workloads, how large, how long.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use meridian_jepsen::workload::{self, Registered};
#[cfg(feature = "planted")]
use meridian_storage::base::planted::Planted;

use crate::cli::parse_duration;

/// Runs whole clusters in virtual time, with faults, from a seed; says what broke, and how to see it again.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// The first seed; each run takes the next one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many runs.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub runs: u64,
    /// Nodes of each cluster, 3 to 9; otherwise the seed chooses.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=9))]
    pub nodes: Option<u32>,
    /// What may go wrong: `all`, `none`, or names with commas between. Each run takes a part of them.
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub faults: Chosen<Fault>,
    /// What the clients do: `all`, or names with commas between. Each run takes some of them.
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub workload: Chosen<Work>,
    /// How long things go wrong in each run, in the time of the cluster.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub time: Duration,
    /// Runs at a time, each in a thread of its own; otherwise as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub jobs: Option<u32>,
    /// Prints every event as it happens; one run at a time.
    #[arg(long)]
    pub trace: bool,
    /// Looks for a smaller run that fails at the same place as the first: with fewer faults, workloads and nodes, in less time.
    #[arg(long, conflicts_with = "trace")]
    pub reduce: bool,
    /// Breaks a promise on purpose, for the runs to find: a bug's name, or `list`.
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "NAME")]
    pub planted: Option<Plant>,
}

/// What `--planted` asks for.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// To see what there is.
    List,
    Bug(Planted),
}

#[cfg(feature = "planted")]
impl FromStr for Plant {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "list" { Ok(Plant::List) } else { s.parse().map(Plant::Bug) }
    }
}

/// What goes wrong, and what an operator does meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum)]
pub enum Fault {
    /// A machine loses power, and with it any part of what was not synced, torn anywhere, or its process ends; now and then
    /// all machines do.
    Crash,
    /// Syncs of a disk take long.
    DiskSlow,
    /// A disk is full for a while.
    DiskFull,
    /// Reads of a disk fail for a while.
    DiskRead,
    /// Syncs of a disk fail for a while, and what they were to make durable is dropped.
    DiskSync,
    /// What lies on a disk is not what was written.
    BitRot,
    /// A machine stands still, and then goes on as if nothing had been.
    Pause,
    /// Nothing passes between two machines, in one direction or both, or between one and all others.
    Partition,
    /// Messages are lost, repeated, overtaken and late.
    Network,
    /// A clock jumps, within the bound.
    Clock,
    /// The clocks of a minority jump beyond the bound, by seconds to hours, in either direction, or drift away; and come back.
    ClockBad,
    /// Ranges are split.
    Split,
    /// Ranges are merged with their neighbours.
    Merge,
    /// Leases move.
    Transfer,
    /// Replicas are moved, whatever the allocator thinks of it.
    Move,
    /// Memory is written to the disk.
    Flush,
    /// Machines join, are drained, and leave.
    Member,
    /// A machine and its disks are lost for good.
    Loss,
}

/// What clients do, and what must be true of it: a workload of `meridian-jepsen`, or [`KEYS`](Work::KEYS).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Work(&'static str);

impl Work {
    /// Transfers and audits on keys, below SQL.
    pub const KEYS: Work = Work("keys");

    pub fn registered(self) -> Option<&'static Registered> {
        workload::find(self.0)
    }
}

impl ValueEnum for Work {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Work>> =
            LazyLock::new(|| workload::ALL.iter().map(|w| Work(w.name)).chain([Work::KEYS]).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let about = self.registered().map_or("Transfers and audits on keys, below SQL", |w| w.about);
        Some(PossibleValue::new(self.0).help(about))
    }
}

/// Names with commas between, `all` or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<T: Ord>(pub BTreeSet<T>);

impl<T: ValueEnum + Ord> FromStr for Chosen<T> {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "all" => return Ok(Chosen(T::value_variants().iter().cloned().collect())),
            "none" => return Ok(Chosen(BTreeSet::new())),
            _ => {}
        }
        let one = |name: &str| {
            T::from_str(name.trim(), false).map_err(|_| {
                let known: Vec<String> = T::value_variants().iter().map(name_of).collect();
                format!("`{name}` is none of all, none, {}", known.join(", "))
            })
        };
        s.split(',').map(one).collect::<Result<_, _>>().map(Chosen)
    }
}

impl<T: ValueEnum + Ord> std::fmt::Display for Chosen<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.len() == T::value_variants().len() {
            return f.write_str("all");
        }
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0.iter().map(name_of).collect::<Vec<_>>().join(","))
    }
}

/// As it is written on the command line.
pub fn name_of<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written() {
        for text in ["all", "none", "crash", "crash,partition"] {
            assert_eq!(text.parse::<Chosen<Fault>>().map(|c| c.to_string()), Ok(text.to_string()));
        }
        let refused = "crash,crush".parse::<Chosen<Fault>>().expect_err("no such fault");
        assert!(refused.starts_with("`crush` is none of all, none, crash"), "{refused}");
        assert!("".parse::<Chosen<Work>>().is_err());
    }
}
