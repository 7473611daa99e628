//! Real processes that are killed, as `meridian-jepsen test` does it: a short run on loopback, where nodes reach one another
//! through proxies, so that the whole way from the faults to the verdict is gone once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MERIDIAN: &str = env!("CARGO_BIN_EXE_meridian");

/// The other program of the workspace, beside this one. Tests of this package alone do not build it.
fn jepsen() -> PathBuf {
    let program = Path::new(MERIDIAN).with_file_name("meridian-jepsen");
    if !program.exists() {
        let release = MERIDIAN.contains("/release/").then_some("--release");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--workspace", "--bin", "meridian-jepsen"]).args(release);
        assert!(build.status().expect("cargo runs").success());
    }
    program
}

fn test(folder: &Path, arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(jepsen());
    command
        .args(["test", "--network", "loopback", "--nodes", "3", "--binary", MERIDIAN, "--keep"])
        .arg(folder);
    let output = command.args(arguments).output().expect("it runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit([' ', ',', ':']).find_map(|n| n.parse().ok()).unwrap_or_default()
}

#[test]
fn appends_under_kills_are_serializable_and_the_folder_shows_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let arguments = [
        "--workload",
        "append",
        "--nemesis",
        "kill:some",
        "--time-limit",
        "15s",
        "--fault-time",
        "3s",
        "--settle",
        "2s",
    ];
    let (output, text) = test(dir.path(), &arguments);
    assert!(output.status.success(), "{text}");
    let verdict = std::fs::read_to_string(dir.path().join("verdict.txt")).expect("written");
    assert!(verdict.starts_with("verdict: valid\n"), "{verdict}");
    let transactions = verdict.lines().find(|l| l.starts_with("transactions:")).expect("counted");
    assert!(number_before(transactions, " done") > 20, "{verdict}");
    assert!(text.contains("killed n") && text.contains("started n"), "{text}");

    let history = std::fs::read_to_string(dir.path().join("history.edn")).expect("written");
    assert!(history.contains(":type :ok"), "{history:.200}");
    let page = std::fs::read_to_string(dir.path().join("index.html")).expect("written");
    assert!(page.contains("<svg") && page.contains("killed n") && page.ends_with("</html>\n"));
    let nodes = (1..=3).map(|n| dir.path().join(format!("n{n}")));
    assert!(nodes.clone().all(|n| n.with_extension("log").exists() && !n.exists()), "logs stay, stores go");
}

#[test]
fn what_cannot_be_broken_here_is_skipped_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let (output, text) = test(dir.path(), &["--workload", "append", "--nemesis", "packets:loss"]);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("skipped: packets:loss: loss: proxies carry streams"), "{text}");
}

/// Numbers of processes that have this folder in their command line.
fn processes_of(folder: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_folder = processes.filter(|p| {
        let line = std::fs::read(p.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).split('\0').any(|word| word.starts_with(folder))
    });
    of_folder.map(|p| p.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until it is so, for half a minute.
#[allow(clippy::disallowed_methods, reason = "other processes have no clock of ours")]
fn until(what: &str, so: impl Fn() -> bool) {
    for _ in 0..300 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{what}: not within half a minute");
}

#[test]
fn nothing_is_left_of_a_run_that_was_killed() {
    let mut command = Command::new(jepsen());
    command.args([
        "test",
        "--nodes",
        "1",
        "--binary",
        MERIDIAN,
        "--workload",
        "append",
        "--time-limit",
        "60s",
    ]);
    let mut run = command.stdout(std::process::Stdio::null()).spawn().expect("it runs");
    // As it is named for whoever cleans up.
    let folder = std::env::temp_dir().join(format!("meridian-jepsen-{}-run", run.id()));
    let name = folder.to_string_lossy().into_owned();
    until("the node runs", || !processes_of(&name).is_empty());
    run.kill().expect("killed");
    run.wait().expect("it was ours");
    until("the node is gone", || processes_of(&name).is_empty());
    let next = Command::new(jepsen()).args(["test", "--binary", "-", "--workload", "list"]).output();
    assert!(next.expect("it runs").status.success());
    assert!(!folder.exists(), "the next run cleans up");
}
