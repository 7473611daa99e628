//! `meridian-jepsen suite`: every workload under every nemesis, one run after the other, and a table of what came of it.
//!
//! Each run is a process of its own, in a world of its own, and leaves its folder.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args;
use meridian_jepsen::workload;

use crate::nemesis;
use crate::parse_duration;
use crate::test::{STYLE, Summary};

#[derive(Args, Clone, Debug)]
pub struct SuiteArgs {
    /// The `meridian` binary.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    #[arg(long, default_value_t = 5)]
    nodes: u8,
    /// Of each run.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    time_limit: Duration,
    /// Only these workloads.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workload: Vec<String>,
    /// Only these nemeses.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    nemesis: Vec<String>,
    /// Where the runs' folders and the table are.
    #[arg(long, value_name = "DIR", default_value = "jepsen-suite")]
    keep: PathBuf,
    /// Begins no run that could not end within this time.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    stop_after: Option<Duration>,
    /// Further flags of each `test`, after `--`.
    #[arg(last = true)]
    more: Vec<String>,
}

/// How one run ended.
struct Cell {
    workload: String,
    nemesis: String,
    folder: String,
    word: &'static str,
    summary: Option<Summary>,
    took: Duration,
}

/// Above what a run is told: a cluster's start, its end, and the judgement.
const BESIDES: Duration = Duration::from_secs(40);

pub fn run(args: &SuiteArgs) -> Result<ExitCode, String> {
    let or_all = |given: &[String], all: Vec<String>| if given.is_empty() { all } else { given.to_vec() };
    let workloads = or_all(&args.workload, workload::ALL.iter().map(|w| w.name.to_string()).collect());
    let all = nemesis::ALL.iter().map(|n| n.name.to_string()).chain(["mixed".into(), "none".into()]);
    let nemeses = or_all(&args.nemesis, all.collect());
    std::fs::create_dir_all(&args.keep).map_err(|e| format!("{}: {e}", args.keep.display()))?;
    let (begun, mut cells) = (Instant::now(), Vec::new());
    for nemesis in &nemeses {
        for workload in &workloads {
            if args.stop_after.is_some_and(|max| begun.elapsed() + args.time_limit + BESIDES > max) {
                continue;
            }
            let cell = one(args, workload, nemesis)?;
            println!(
                "{:<12} {:<12} {:<8} {:>4} s  {}",
                workload,
                nemesis,
                cell.word,
                cell.took.as_secs(),
                cell.folder
            );
            cells.push(cell);
            write(&args.keep, "index.html", &html(&workloads, &nemeses, &cells))?;
            write(&args.keep, "suite.txt", &text(&cells))?;
        }
    }
    print!("{}", text(&cells));
    let bad = cells.iter().any(|c| c.word == "INVALID" || c.word == "failed");
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    std::fs::write(folder.join(name), text).map_err(|e| format!("{}: {e}", folder.join(name).display()))
}

fn one(args: &SuiteArgs, workload: &str, nemesis: &str) -> Result<Cell, String> {
    let name = format!("{workload}-{}", nemesis.replace(':', "-"));
    let (folder, begun) = (args.keep.join(&name), Instant::now());
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(failed)?;
    }
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let log = std::fs::File::create(folder.join("run.log")).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("test").arg("--binary").arg(&args.binary).arg("--keep").arg(&folder);
    command.args(["--nodes", &args.nodes.to_string(), "--workload", workload, "--nemesis", nemesis]);
    command.args(["--time-limit", &format!("{}s", args.time_limit.as_secs_f64())]).args(&args.more);
    // SAFETY: the closure runs in the child between fork and exec and makes one async-signal-safe system call.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    command.stdout(log.try_clone().map_err(failed)?).stderr(log);
    let status = command.status().map_err(|e| format!("cannot run myself: {e}"))?;
    let word = match status.code() {
        Some(0) => "valid",
        Some(1) => "INVALID",
        Some(3) => "skipped",
        _ => "failed",
    };
    let summary = Summary::read(&folder);
    Ok(Cell {
        workload: workload.into(),
        nemesis: nemesis.into(),
        folder: name,
        word,
        summary,
        took: begun.elapsed(),
    })
}

fn text(cells: &[Cell]) -> String {
    let mut out = format!(
        "{:<12} {:<12} {:<8} {:<44} without service\n",
        "workload", "nemesis", "verdict", "transactions"
    );
    for c in cells {
        let fact = |name| c.summary.as_ref().and_then(|s| s.get(name)).unwrap_or("-");
        let _ = writeln!(
            out,
            "{:<12} {:<12} {:<8} {:<44} {}",
            c.workload,
            c.nemesis,
            c.word,
            fact("transactions"),
            fact("without service")
        );
        for wrong in c.summary.iter().flat_map(|s| &s.wrongs) {
            let _ = writeln!(out, "    wrong: {}", wrong.lines().next().unwrap_or_default());
        }
    }
    let count = |word| cells.iter().filter(|c| c.word == word).count();
    let _ = writeln!(
        out,
        "{} valid, {} INVALID, {} skipped, {} failed to run",
        count("valid"),
        count("INVALID"),
        count("skipped"),
        count("failed")
    );
    out
}

fn html(workloads: &[String], nemeses: &[String], cells: &[Cell]) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Workloads under faults</title>\n\
         <style>{STYLE}</style></head><body><header><h1>Workloads under faults</h1></header>\n\
         <p>Each cell leads to its run: transactions done, and the longest time without service.</p>\n<table><tr><th></th>"
    );
    for w in workloads {
        let _ = write!(out, "<th>{w}</th>");
    }
    out.push_str("</tr>\n");
    for n in nemeses {
        let _ = write!(out, "<tr><th>{n}</th>");
        for w in workloads {
            match cells.iter().find(|c| c.workload == *w && c.nemesis == *n) {
                Some(c) => out.push_str(&html_cell(c)),
                None => out.push_str("<td></td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></body></html>\n");
    out
}

fn html_cell(c: &Cell) -> String {
    let page = if c.summary.is_some() { "index.html" } else { "run.log" };
    let fact = |name| c.summary.as_ref().and_then(|s| s.get(name));
    let done = fact("transactions").and_then(|t| t.split(',').next()).unwrap_or_default();
    let gap = fact("without service").and_then(|t| t.rsplit("max ").next()).unwrap_or_default();
    format!(
        "<td class=\"{}\"><a href=\"{}/{page}\">{}</a><br><small>{done}<br>{gap}</small></td>",
        c.word.to_lowercase(),
        c.folder,
        c.word
    )
}
