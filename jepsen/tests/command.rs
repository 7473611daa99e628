//! The command line: verdicts, exit codes, drawings.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::short::events;

fn run(dir: &Path, text: &str, arguments: &[&str]) -> (i32, String) {
    let file = dir.join("history.edn");
    std::fs::write(&file, text).expect("written");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_meridian-jepsen"))
        .arg("check")
        .args(arguments)
        .arg(&file)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("an exit code"), text)
}

fn edn(short: &str) -> String {
    let (events, names) = events(short);
    names.write_events(&events)
}

#[test]
fn the_verdict_is_the_exit_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let skew = edn("ok 0 rx[] ay1\nok 1 ry[] ax1");
    let check =
        |text: &str, model: &str| run(dir.path(), text, &["--model", model, "--workload", "list-append"]);
    let (code, text) = check(&skew, "snapshot-isolation");
    assert!(
        code == 0 && text.contains("snapshot-isolation: valid") && text.contains("which the model allows"),
        "{text}"
    );
    let (code, text) = check(&skew, "serializable");
    assert!(code == 1 && text.contains("serializable: invalid") && text.contains("G2-item: 1"), "{text}");
    let (code, text) = check("{:type :ok :value [[:r 1 [1]]}", "serializable");
    assert!(code == 2 && text.contains("line 1, column 30"), "{text}");
    assert_eq!(check("", "serializable").0, 2);
    assert_eq!(check(&skew, "eventual").0, 2);
    assert_eq!(run(dir.path(), &skew, &["--model", "serializable"]).0, 2);
    assert_eq!(check(&edn("ok 0 wx1"), "serializable").0, 2);
    let (code, text) = check("{:type :ok :process 0 :value []}", "strict-serializable");
    assert!(code == 1 && text.contains("strict-serializable: unknown"), "{text}");
    let register = "{:type :invoke :process 0 :f :read} {:type :ok :process 0 :f :read :value 3}";
    assert_eq!(run(dir.path(), register, &["--model", "linearizable-register"]).0, 1);
}

#[test]
fn what_is_generated_is_what_its_database_keeps() {
    let dir = tempfile::tempdir().expect("a folder");
    let generated = |isolation: &str, workload: &str| {
        let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_meridian-jepsen"))
            .args(["generate", "--transactions", "3000", "--isolation", isolation, "--workload", workload])
            .output()
            .expect("it runs");
        assert!(status.success());
        String::from_utf8(stdout).expect("UTF-8")
    };
    for workload in ["list-append", "rw-register"] {
        let check =
            |text: &str, model: &str| run(dir.path(), text, &["--model", model, "--workload", workload]);
        let strict = generated("strict-serializable", workload);
        assert_eq!(strict, generated("strict-serializable", workload), "the same seed is the same history");
        let (code, text) = check(&strict, "strict-serializable");
        assert!(code == 0 && text.starts_with("3000 operations"), "{text}");
        let snapshot = generated("snapshot-isolation", workload);
        assert_eq!(check(&snapshot, "snapshot-isolation").0, 0);
        assert_eq!(check(&snapshot, "strict-serializable").0, 1);
        let committed = generated("read-committed", workload);
        assert_eq!(check(&committed, "read-committed").0, 0);
        assert_eq!(check(&committed, "snapshot-isolation").0, 1);
    }
}

#[test]
fn cycles_are_drawn_as_well_formed_svg() {
    let dir = tempfile::tempdir().expect("a folder");
    let svg = dir.path().join("cycles");
    let odd = edn("ok 0 ax1 ay1\nok 1 rx[1] ry[]").replace(":x", "\"<x & 'y'>\\\"]]>\"");
    let arguments =
        ["--model", "serializable", "--workload", "list-append", "--svg", svg.to_str().expect("UTF-8")];
    assert_eq!(run(dir.path(), &odd, &arguments).0, 1);
    let text = std::fs::read_to_string(svg.join("G-single-1.svg")).expect("drawn");
    assert!(text.contains("&lt;x &amp; 'y'&gt;"), "{text}");
    well_formed(&text);
}

/// Tags are closed in order, and no `&` or `<` stands for itself.
fn well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        for (i, _) in rest[..at].match_indices('&') {
            assert!(
                ["&lt;", "&gt;", "&amp;", "&quot;"].iter().any(|e| rest[i..].starts_with(e)),
                "{}",
                &rest[i..]
            );
        }
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        assert!(!tag.contains('<'), "{tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}
