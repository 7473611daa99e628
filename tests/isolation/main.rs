//! Two and three sessions that meet, statement by statement, at every isolation level: the specification of what one session
//! sees of another, and of who waits for whom.
//!
//! A script in `scripts/` is one scenario: tables, rows, steps in a fixed order, a final query; below the first `==` stand
//! the answers, level by level. Each script was also run on PostgreSQL 15. Where it answered as Meridian does, one section
//! holds for both; where not, both stand there and a `differs` line says why the difference is legitimate.
//!
//! Independent of any golden text: the outcome of what committed is compared with that of the same transactions one after
//! the other, in every order (`serial>`). At SERIALIZABLE there must be one that gives the same answers and the same final
//! rows. That the weaker levels' anomalies do show as `none` proves that the check can fail.
//!
//! `REWRITE=1` records Meridian's answers anew. `POSTGRES=127.0.0.1:5432` runs the scripts on that server too (as `postgres`,
//! who may log in without a password), and compares, or with `REWRITE=1` records.

#[allow(dead_code, reason = "shared with tests/cluster, which uses more of it")]
#[path = "../cluster/node.rs"]
mod node;
mod runner;
mod script;
mod serial;
mod session;
#[allow(dead_code, reason = "shared with tests/cluster, which uses more of it")]
#[path = "../cluster/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use futures::StreamExt;

use node::{Node, Ports};
use runner::{Answers, Server};
use script::{LEVELS, Script};

/// Scripts wait more than they work, so several run at a time.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isolation/scripts");
    let only = std::env::var("SCRIPT").ok();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("readable").map(|e| e.expect("readable").path()).collect();
    paths.sort();
    let mut scripts: Vec<Script> = paths.iter().map(|p| Script::read(p)).collect();
    scripts.retain(|s| only.as_ref().is_none_or(|o| s.name.contains(o)));
    assert!(!scripts.is_empty(), "there are scripts");

    let rewrite = std::env::var_os("REWRITE").is_some();
    if let Ok(address) = std::env::var("POSTGRES") {
        let server = Server::postgresql(address.parse::<SocketAddr>().expect("POSTGRES is host:port"));
        let (answers, broken) = run_all(server, &scripts, rewrite).await;
        assert!(broken.is_empty(), "PostgreSQL:\n{}", broken.join("\n"));
        settle(&mut scripts, answers, rewrite, |a| &mut a.postgresql);
    }
    let node = Node::start("mem".as_ref(), Ports::free(), None).await;
    let begun = Instant::now();
    let (answers, broken) = run_all(Server::meridian(node.sql), &scripts, rewrite).await;
    println!("{} scripts in {:?}", scripts.len(), begun.elapsed());
    settle(&mut scripts, answers, rewrite, |a| &mut a.meridian);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    for script in &scripts {
        script.check_differences();
    }
}

async fn run_all(server: Server, scripts: &[Script], rewrite: bool) -> (Vec<Answers>, Vec<String>) {
    let server = &server;
    for script in scripts {
        server.create(script).await;
    }
    let jobs = scripts.iter().map(|script| async move {
        let (mut answers, mut broken) = (Answers::default(), Vec::new());
        let mut replays = serial::Replays::default();
        for level in LEVELS.into_iter().filter(|l| script.levels.contains(l)) {
            let expected = if rewrite { None } else { script.recorded(level, server.kind) };
            let found = runner::run(server, script, level, expected, &mut replays).await;
            answers.insert(level.to_string(), found.answers);
            broken.extend(found.broken);
        }
        (answers, broken)
    });
    let found: Vec<_> = futures::stream::iter(jobs).buffered(AT_ONCE).collect().await;
    let (answers, broken): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    (answers, broken.concat())
}

/// Compares with what is recorded, or records.
fn settle(
    scripts: &mut [Script],
    found: Vec<Answers>,
    rewrite: bool,
    of: impl Fn(&mut script::Recorded) -> &mut Answers,
) {
    let mut wrong = String::new();
    for (script, found) in scripts.iter_mut().zip(found) {
        let recorded = of(&mut script.recorded);
        if rewrite {
            *recorded = found;
            script.write();
        } else if *recorded != found {
            for (level, answer) in &found {
                let was = recorded.get(level).map(String::as_str).unwrap_or_default();
                if was != answer {
                    wrong += &format!("{}, {level}: recorded\n{was}\nfound\n{answer}\n", script.name);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
