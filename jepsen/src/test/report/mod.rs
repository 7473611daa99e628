//! The end of a run: its verdict, and the folder that shows how it came about.

mod plot;
mod page;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meridian_jepsen::workload::Workload;

use super::TestArgs;
use super::numbers::{self, Gap};
use super::recovery::Recovery;
use super::rounds::Window;
use super::samples::Sample;
use super::verdict::{Ended, Summary, VERDICT};
use crate::nemesis::Site;
pub use page::STYLE;

/// Violations that are printed; the rest is in the folder.
const SHOWN: usize = 20;
/// Lines of a violation that are printed.
const LINES_SHOWN: usize = 30;

pub struct Run<'a> {
    pub args: &'a TestArgs,
    pub seed: u64,
    pub consistency: String,
    pub skipped: Vec<(String, String)>,
    pub windows: Vec<Window>,
    /// When the last fault was over.
    pub calm: Duration,
    pub samples: Vec<Sample>,
    pub recovery: Recovery,
}

/// Judges, writes the folder, prints. The cluster ends here.
pub fn conclude(
    run: Run<'_>,
    mut site: Site,
    works: &[Arc<dyn Workload>],
    folder: &Path,
) -> Result<Ended, String> {
    let mut wrongs = std::mem::take(&mut site.wrongs);
    wrongs.extend(run.recovery.wrongs.iter().cloned());
    for (work, name) in works.iter().zip(&run.args.workload) {
        wrongs.extend(work.tally().take_violations().into_iter().map(|v| format!("{name}: {v}")));
    }
    let gaps = numbers::gaps(&run.samples, &run.windows, run.args.settle, run.calm);
    let mut summary = summarize(&run, works, &gaps, &wrongs);
    if numbers::outcomes(&run.samples).done == 0 {
        wrongs.push("not one transaction was done".into());
    }
    summary.wrongs = wrongs;
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).map_err(|e| format!("{}: {e}", folder.join(name).display()))
    };
    for (work, name) in works.iter().zip(&run.args.workload) {
        if let Some(history) = work.history() {
            let file = if works.len() == 1 { "history.edn".into() } else { format!("{name}.edn") };
            write(&file, &history)?;
        }
    }
    let logs: Vec<_> =
        site.cluster.nodes.iter().filter_map(|n| Some(n.log().file_name()?.to_str()?.to_string())).collect();
    write(VERDICT, &summary.text())?;
    write("index.html", &page::page(&run, &summary, &gaps, &logs))?;
    print_summary(&summary);
    let valid = summary.wrongs.is_empty();
    drop(site);
    if valid {
        remove_stores(folder);
    }
    Ok(if valid { Ended::Valid } else { Ended::Invalid })
}

fn summarize(run: &Run<'_>, works: &[Arc<dyn Workload>], gaps: &[Gap], wrongs: &[String]) -> Summary {
    let mut s = Summary::default();
    let all = numbers::outcomes(&run.samples);
    s.fact("verdict", if wrongs.is_empty() && all.done > 0 { "valid" } else { "INVALID" });
    s.fact("workload", run.args.workload.join(","));
    s.fact("nemesis", run.args.nemesis.join(","));
    s.fact("nodes", run.args.nodes.to_string());
    s.fact("clients", run.args.clients.to_string());
    s.fact("time", format!("{} s", run.calm.as_secs()));
    s.fact("seed", run.seed.to_string());
    s.fact("consistency", &run.consistency);
    s.fact("faults", run.windows.len().to_string());
    s.fact("transactions", format!("{} done, {} refused, {} unknown", all.done, all.refused, all.unknown));
    for (work, name) in works.iter().zip(&run.args.workload) {
        let c = work.tally().counts();
        let text = format!(
            "{} done, {} refused, {} unknown, {} retries, {} looks at everything, {} operations judged, {} histories undecided",
            c.done, c.refused, c.unknown, c.retries, c.looks, c.judged, c.undecided
        );
        s.fact(&format!("of {name}"), text);
    }
    let errors: Vec<_> = all.errors.iter().map(|(code, (n, _))| format!("{code} {n}")).collect();
    s.fact("errors", if errors.is_empty() { "none".into() } else { errors.join(", ") });
    s.fact("without service", distribution(gaps.iter().map(|g| g.longest)));
    s.fact("back after a fault", distribution(gaps.iter().map(|g| g.back_after)));
    for said in &run.recovery.said {
        s.fact("recovery", said);
    }
    for (name, why) in &run.skipped {
        s.fact("skipped", format!("{name}: {why}"));
    }
    s
}

fn distribution(times: impl Iterator<Item = Duration>) -> String {
    let mut histogram = numbers::histogram();
    times.for_each(|t| numbers::note(&mut histogram, t));
    if histogram.is_empty() {
        return "no faults".into();
    }
    let q = |q| numbers::quantile(&histogram, q);
    format!("p50 {:.2} s, p90 {:.2} s, max {:.2} s", q(0.5), q(0.9), q(1.0))
}

fn print_summary(summary: &Summary) {
    for (name, value) in summary.facts.iter().skip(1) {
        println!("{name}: {value}");
    }
    for wrong in summary.wrongs.iter().take(SHOWN) {
        let lines: Vec<_> = wrong.trim_end().lines().take(LINES_SHOWN).collect();
        println!("wrong: {}", lines.join("\n    "));
    }
    println!("verdict: {}", summary.get("verdict").unwrap_or_default());
}

/// Of a run in which nothing was wrong nobody needs the data.
fn remove_stores(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_node = name.strip_prefix('n').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
        if is_node && path.is_dir() {
            // A mount of ours goes with its world.
            let _ = std::fs::remove_dir_all(&path);
        } else if is_node && !name.ends_with(".log") {
            let _ = std::fs::remove_file(&path);
        }
    }
}
