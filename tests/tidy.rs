//! The shape of the source is part of the design: layers depend one way, modules are declared in reading order and use only
//! those declared below them, the clock is read in one place, files stay readable.
//!
//! What is too large or out of order today is listed in `tests/tidy.allow` with its size: a ratchet, which only goes down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [(&str, &str); 4] = [
    ("meridian", "src"),
    ("meridian-sql", "sql/src"),
    ("meridian-txn", "txn/src"),
    ("meridian-storage", "storage/src"),
];
/// Longer files had better be two.
const FILE_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn sources(under: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> =
            fs::read_dir(dir).expect("readable").map(|e| e.expect("readable").path()).collect();
        entries.sort();
        for path in entries {
            match path {
                p if p.is_dir() => walk(&p, out),
                p if p.extension().is_some_and(|e| e == "rs") => out.push(p),
                _ => {}
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(under), &mut files);
    files
        .into_iter()
        .map(|p| {
            let text = fs::read_to_string(&p).expect("UTF-8");
            (p.strip_prefix(root()).expect("inside").display().to_string(), text)
        })
        .collect()
}

/// The text before the tests of a file.
fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs")
        || ["/tests/", "/testing", "conformance", "/bench"].iter().any(|part| path.contains(part))
}

fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn layers_depend_one_way() {
    let allowed = [
        ("meridian-storage", &[][..]),
        ("meridian-txn", &["meridian-storage"][..]),
        ("meridian-sql", &["meridian-txn", "meridian-storage"][..]),
    ];
    for (name, may) in allowed {
        let folder = name.trim_start_matches("meridian-");
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines().filter(|l| l.starts_with("meridian")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(may.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn the_time_and_the_outside_are_asked_for_in_one_place() {
    let banned = [
        ("SystemTime::now", "src/node/system.rs"),
        ("Instant::now", "src/node/system.rs"),
        ("thread_rng", ""),
        ("tokio::spawn", "src/"),
        ("tokio::time", "src/"),
        ("std::thread::spawn", "src/"),
        ("std::net::", "src/"),
    ];
    for (_, folder) in CRATES {
        for (path, text) in sources(folder) {
            if is_test(&path) {
                continue;
            }
            for (word, home) in banned {
                let allowed = !home.is_empty() && path.starts_with(home);
                // Timing on the command line's own behalf is not the database's time.
                let workload = path.starts_with("src/workload") || path == "src/node/mod.rs";
                let uses =
                    product(&text).lines().any(|l| !l.trim_start().starts_with("//") && l.contains(word));
                assert!(allowed || workload || !uses, "{path} uses {word}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (_, folder) in CRATES {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{path} does not begin with //!");
        }
    }
}

#[test]
fn nothing_is_left_undone_or_unwrapped() {
    for (_, folder) in CRATES {
        for (path, text) in sources(folder) {
            if is_test(&path) {
                continue;
            }
            for word in ["todo!(", "unimplemented!(", ".unwrap()", "dbg!("] {
                let uses =
                    product(&text).lines().any(|l| !l.trim_start().starts_with("//") && l.contains(word));
                assert!(!uses, "{path} has {word}");
            }
        }
    }
}

/// A module uses only modules that its crate declares below it.
#[test]
fn modules_use_only_what_is_declared_below_them() {
    let mut broken = Vec::new();
    for (name, folder) in CRATES.into_iter().skip(1) {
        let lib = fs::read_to_string(root().join(folder).join("lib.rs")).expect("lib.rs");
        let order: Vec<String> = lib
            .lines()
            .filter_map(|l| l.trim_start_matches("pub ").strip_prefix("mod "))
            .filter_map(|l| l.strip_suffix(';').map(String::from))
            .collect();
        for (path, text) in sources(folder) {
            let inside = path.trim_start_matches(folder).trim_start_matches('/');
            let module = inside.split(['/', '.']).next().unwrap_or_default();
            let Some(own) = order.iter().position(|m| m == module) else { continue };
            for used in uses_of_crate(product(&text)) {
                if let Some(at) = order.iter().position(|m| *m == used)
                    && at < own
                {
                    broken.push(format!("{name}: {module} uses {used}"));
                }
            }
        }
    }
    broken.sort();
    broken.dedup();
    check_ratchet("order", &broken);
}

fn uses_of_crate(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            used.extend(list.split(',').map(|w| word(w.trim())));
        } else {
            used.push(word(rest));
        }
    }
    used
}

fn word(s: &str) -> String {
    s.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for (_, folder) in CRATES {
        for (path, text) in sources(folder) {
            let lines = product(&text).lines().count();
            if lines > FILE_LINES {
                long.push(format!("{path} {lines}"));
            }
        }
    }
    let allowed = allowances("long");
    for entry in &long {
        let (path, lines) = entry.split_once(' ').expect("two words");
        let limit = allowed.get(path).copied().unwrap_or(FILE_LINES);
        let lines: usize = lines.parse().expect("a number");
        assert!(lines <= limit, "{path} has {lines} lines, more than {limit}: split it");
    }
}

/// `kind name [number]` lines of the list of what is tolerated.
fn allowances(kind: &str) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("tests/tidy.allow")).unwrap_or_default();
    text.lines()
        .filter_map(|l| l.strip_prefix(kind)?.strip_prefix(": "))
        .map(|l| match l.rsplit_once(' ') {
            Some((name, number)) if number.parse::<usize>().is_ok() => {
                (name.to_string(), number.parse().unwrap_or_default())
            }
            _ => (l.to_string(), 0),
        })
        .collect()
}

fn check_ratchet(kind: &str, found: &[String]) {
    let allowed = allowances(kind);
    let new: Vec<_> = found.iter().filter(|f| !allowed.contains_key(*f)).collect();
    assert!(new.is_empty(), "against the order of declaration: {new:#?}");
    let gone: Vec<_> = allowed.keys().filter(|a| !found.contains(a)).collect();
    assert!(gone.is_empty(), "no longer so, remove from tests/tidy.allow: {gone:#?}");
}
