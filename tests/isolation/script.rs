//! The scripts' format.
//!
//! ```text
//! # What it is about.
//! tables            statements that make the tables
//! rows              statements that fill them
//! levels LEVEL, …   which levels make sense; without it, all
//! steps             `session: statement`
//! final             a query of all that matters, once everything has ended
//! holds LEVEL, …: QUERY      must be true in the end
//! differs LEVEL, …: why PostgreSQL's answers are others
//! == LEVEL [server]          the answers
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::runner::{Answers, Kind};

pub const LEVELS: [&str; 3] = ["serializable", "repeatable read", "read committed"];

pub struct Script {
    pub name: String,
    pub tables: Vec<String>,
    pub rows: Vec<String>,
    pub levels: Vec<&'static str>,
    pub steps: Vec<(String, String)>,
    pub last: String,
    pub holds: Vec<(&'static str, String)>,
    pub recorded: Recorded,
    differs: Vec<&'static str>,
    path: PathBuf,
    /// All before the answers, as it stands in the file.
    text: String,
}

#[derive(Default)]
pub struct Recorded {
    pub meridian: Answers,
    pub postgresql: Answers,
}

impl Script {
    pub fn read(path: &Path) -> Script {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let whole = std::fs::read_to_string(path).expect("readable");
        let (text, answers) = match whole.find("\n== ") {
            Some(at) => whole.split_at(at + 1),
            None => (whole.as_str(), ""),
        };
        let mut script = Script {
            name,
            tables: Vec::new(),
            rows: Vec::new(),
            levels: LEVELS.to_vec(),
            steps: Vec::new(),
            last: String::new(),
            holds: Vec::new(),
            recorded: read_answers(answers),
            differs: Vec::new(),
            path: path.into(),
            text: text.trim_end().into(),
        };
        let mut section = "";
        for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            if let Some(line) = line.strip_prefix("  ") {
                script.line(section, line.trim());
            } else {
                section = script.heading(line);
            }
        }
        assert!(!script.steps.is_empty() && !script.last.is_empty(), "{}: no steps, or no end", script.name);
        script
    }

    fn line(&mut self, section: &str, line: &str) {
        match section {
            "tables" => self.tables.push(line.into()),
            "rows" => self.rows.push(line.into()),
            "steps" => {
                let (session, sql) = line.split_once(": ").expect("session: statement");
                self.steps.push((session.into(), sql.into()));
            }
            "final" => self.last = line.into(),
            _ => panic!("{}: a line of nothing: {line}", self.name),
        }
    }

    fn heading<'l>(&mut self, line: &'l str) -> &'l str {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "tables" | "rows" | "steps" | "final" => {}
            "levels" => self.levels = levels(rest),
            "holds" | "differs" => {
                let (at, what) = rest.split_once(": ").expect("levels: what");
                for level in levels(at) {
                    match word {
                        "holds" => self.holds.push((level, what.into())),
                        _ => self.differs.push(level),
                    }
                }
            }
            _ => panic!("{}: not understood: {line}", self.name),
        }
        word
    }

    /// The tables' names, those that refer to others last.
    pub fn table_names(&self) -> Vec<&str> {
        self.tables.iter().filter_map(|t| t.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next()).collect()
    }

    pub fn recorded(&self, level: &str, by: Kind) -> Option<&str> {
        let answers = match by {
            Kind::Meridian => &self.recorded.meridian,
            Kind::Postgresql => &self.recorded.postgresql,
        };
        answers.get(level).map(String::as_str)
    }

    /// Where PostgreSQL answers otherwise, the script says why; where it does not, nothing.
    pub fn check_differences(&self) {
        let Recorded { meridian, postgresql } = &self.recorded;
        for level in &self.levels {
            let (ours, theirs) = (meridian.get(*level), postgresql.get(*level));
            assert!(theirs.is_some(), "{}: PostgreSQL's answers at {level} are not recorded", self.name);
            assert_eq!(
                ours != theirs,
                self.differs.contains(level),
                "{}: Meridian and PostgreSQL differ at {level}, or a `differs` line says so",
                self.name
            );
        }
    }

    pub fn write(&self) {
        let mut out = self.text.clone();
        for level in &self.levels {
            let (ours, theirs) = (self.recorded.meridian.get(*level), self.recorded.postgresql.get(*level));
            match (ours, theirs) {
                (Some(a), Some(b)) if a == b => out += &format!("\n\n== {level}\n{a}"),
                _ => {
                    for (name, answers) in [("Meridian", ours), ("PostgreSQL", theirs)] {
                        out += &answers.map(|a| format!("\n\n== {level}, {name}\n{a}")).unwrap_or_default();
                    }
                }
            }
        }
        std::fs::write(&self.path, out + "\n").expect("writable");
    }
}

fn levels(list: &str) -> Vec<&'static str> {
    let known = |name: &str| {
        LEVELS.into_iter().find(|l| *l == name.trim()).unwrap_or_else(|| panic!("no level: {name}"))
    };
    list.split(',').map(known).collect()
}

fn read_answers(text: &str) -> Recorded {
    let mut recorded = Recorded { meridian: BTreeMap::new(), postgresql: BTreeMap::new() };
    for section in text.split("== ").filter(|s| !s.trim().is_empty()) {
        let (head, body) = section.split_once('\n').expect("a heading has a line");
        let (level, server) = head.split_once(", ").unwrap_or((head, ""));
        let body = body.trim_end().to_string();
        if server != "PostgreSQL" {
            recorded.meridian.insert(level.into(), body.clone());
        }
        if server != "Meridian" {
            recorded.postgresql.insert(level.into(), body);
        }
    }
    recorded
}
