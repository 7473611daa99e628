//! What a checker has to say: the verdict, the anomalies by name with how often, and the first examples of each.
//!
//! What must stay true: the verdict is `valid` only if nothing that the model proscribes was found and nothing that bears
//! on it was left unlooked at.

use std::collections::BTreeMap;
use std::fmt;

use super::anomaly::Anomaly;
use super::cycles::Cycle;
use super::model::Model;

/// Examples that are kept of each anomaly; the rest is counted.
pub const EXAMPLES_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    Invalid,
    /// The history does not tell, or the search was cut short.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Finding {
    /// For people; several lines for a cycle.
    pub text: String,
    pub cycle: Option<Cycle>,
}

#[derive(Clone, Debug, Default)]
pub struct Found {
    pub count: usize,
    /// The first of them.
    pub examples: Vec<Finding>,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub model: Model,
    pub found: BTreeMap<Anomaly, Found>,
    /// Why nothing can be said although nothing was found.
    pub doubts: Vec<String>,
}

/// The history is not one that the checker is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error(
        "{value} is written to {key} by {first} and by {second}: it cannot be told who wrote what is read"
    )]
    WrittenTwice { key: String, value: String, first: u64, second: u64 },
    #[error("{op} of the operation at {index} does not belong into a {workload} history")]
    Foreign { op: String, index: u64, workload: &'static str },
    #[error("the model {model} is not for a {workload} history")]
    Model { model: Model, workload: &'static str },
}

impl Report {
    pub(super) fn new(model: Model) -> Report {
        Report { model, found: BTreeMap::new(), doubts: Vec::new() }
    }

    pub(super) fn add(&mut self, anomaly: Anomaly, finding: impl FnOnce() -> Finding) {
        let found = self.found.entry(anomaly).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(finding());
        }
    }

    pub(super) fn say(&mut self, anomaly: Anomaly, text: impl FnOnce() -> String) {
        self.add(anomaly, || Finding { text: text(), cycle: None });
    }

    pub fn verdict(&self) -> Verdict {
        if self.found.keys().any(|a| self.model.proscribes(*a)) {
            Verdict::Invalid
        } else if !self.doubts.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Valid
        }
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.found.keys().map(|a| a.name()).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Valid => "valid",
            Verdict::Invalid => "invalid",
            Verdict::Unknown => "unknown",
        })
    }
}

/// The verdict, then each anomaly with its first example.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.model, self.verdict())?;
        for doubt in &self.doubts {
            writeln!(f, "not looked at: {doubt}")?;
        }
        for (anomaly, found) in &self.found {
            let allowed = if self.model.proscribes(*anomaly) { "" } else { ", which the model allows" };
            writeln!(f, "\n{anomaly}: {}{allowed}", found.count)?;
            for line in found.examples.first().map_or("", |e| &e.text).lines() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}
