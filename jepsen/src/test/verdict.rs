//! How a run ended, as a file that people and `suite` read.

use std::fmt::Write;
use std::path::Path;

/// The file in the run's folder.
pub const VERDICT: &str = "verdict.txt";

#[derive(Debug)]
pub enum Ended {
    Valid,
    Invalid,
    /// Nothing of what was to be broken can be broken here.
    Skipped(Vec<String>),
}

/// Facts by name, then what was wrong, a line each; further lines of the same are indented.
#[derive(Default, Debug, PartialEq)]
pub struct Summary {
    pub facts: Vec<(String, String)>,
    pub wrongs: Vec<String>,
}

impl Summary {
    pub fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push((name.into(), value.into()));
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            let _ = writeln!(text, "{name}: {}", value.replace('\n', " "));
        }
        for wrong in &self.wrongs {
            let _ = writeln!(text, "wrong: {}", wrong.trim_end().replace('\n', "\n    "));
        }
        text
    }

    pub fn read(folder: &Path) -> Option<Summary> {
        Some(Summary::parse(&std::fs::read_to_string(folder.join(VERDICT)).ok()?))
    }

    fn parse(text: &str) -> Summary {
        let mut summary = Summary::default();
        for line in text.lines() {
            match (line.strip_prefix("    "), line.split_once(": ")) {
                (Some(more), _) => {
                    if let Some(wrong) = summary.wrongs.last_mut() {
                        *wrong += &format!("\n{more}");
                    }
                }
                (None, Some(("wrong", what))) => summary.wrongs.push(what.into()),
                (None, Some((name, value))) => summary.fact(name, value),
                (None, None) => {}
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn what_is_written_is_read() {
        let mut summary = Summary::default();
        summary.fact("verdict", "INVALID");
        summary.fact("longest time without service", "p50 1.2 s: bad");
        summary.wrongs = vec!["a: cycle\nof two\n    lines".into(), "lost".into()];
        assert_eq!(Summary::parse(&summary.text()), summary);
        assert_eq!(summary.get("verdict"), Some("INVALID"));
    }
}
