//! `meridian-jepsen check`: a history in a file against a model.
//!
//! Ends with 0 if nothing was found, with 1 if the model is refuted or nothing can be said, with 2 if the file is not a
//! history of the workload.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use meridian_jepsen::check::{self, Model, Report, Verdict};
use meridian_jepsen::history::{History, RegisterOp, Txn, Value};

#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// read-committed, snapshot-isolation, serializable, strict-serializable or linearizable-register.
    #[arg(long)]
    model: Model,
    /// What the transactions do. For linearizable-register it is reads, writes and compare-and-sets.
    #[arg(long, value_enum)]
    workload: Option<Workload>,
    /// Draws the cycles into this folder.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// The history: EDN, as Jepsen and Elle write it.
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    ListAppend,
    RwRegister,
}

pub fn run(args: &CheckArgs) -> ExitCode {
    match check(args) {
        Ok(report) => {
            print!("{report}");
            ExitCode::from(u8::from(report.verdict() != Verdict::Valid))
        }
        Err(e) => {
            eprintln!("meridian-jepsen: {}: {e}", args.file.display());
            ExitCode::from(2)
        }
    }
}

fn check(args: &CheckArgs) -> Result<Report, String> {
    let text = std::fs::read_to_string(&args.file).map_err(|e| e.to_string())?;
    if args.model == Model::LinearizableRegister {
        let history = read::<RegisterOp>(&text)?;
        return Ok(check::linear::check(&history, check::linear::MEMORY_MAX));
    }
    let history = read::<Txn>(&text)?;
    drop(text);
    let report = match args.workload {
        Some(Workload::ListAppend) => check::list_append::check(&history, args.model),
        Some(Workload::RwRegister) => {
            let options = check::rw_register::Options::of(args.model);
            check::rw_register::check(&history, args.model, options)
        }
        None => return Err("of which workload is it, list-append or rw-register?".into()),
    };
    let report = report.map_err(|e| e.to_string())?;
    if let Some(dir) = &args.svg {
        draw(&history, &report, dir)?;
    }
    Ok(report)
}

fn read<V: Value>(text: &str) -> Result<History<V>, String> {
    let history = History::<V>::read(text).map_err(|e| e.to_string())?;
    if history.operations.is_empty() {
        return Err("it has no operation of a client".into());
    }
    println!("{} operations, {} events of no client", history.operations.len(), history.ignored);
    Ok(history)
}

fn draw(history: &History<Txn>, report: &Report, dir: &Path) -> Result<(), String> {
    let failed = |path: &Path, e: std::io::Error| format!("cannot write {}: {e}", path.display());
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    for (anomaly, found) in &report.found {
        for (i, cycle) in found.examples.iter().filter_map(|e| e.cycle.as_ref()).enumerate() {
            let path = dir.join(format!("{anomaly}-{}.svg", i + 1));
            std::fs::write(&path, check::draw(history, cycle)).map_err(|e| failed(&path, e))?;
        }
    }
    Ok(())
}
