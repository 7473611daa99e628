//! What fuzzing has found stays found: every input that once broke something, and some that go far, through the targets.
//!
//! The targets are those of `tests/fuzz`, built here without libFuzzer.

use std::path::Path;

#[path = "fuzz/src/lib.rs"]
mod fuzz;

/// Runs what is kept for a target. A panic names the input.
fn run(name: &str) {
    let (_, target) = fuzz::TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/regressions").join(name);
    let mut inputs: Vec<_> =
        std::fs::read_dir(&folder).expect("inputs").map(|e| e.expect("an input").path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for path in inputs {
        let input = std::fs::read(&path).expect("an input");
        let done = std::panic::catch_unwind(|| target(&input));
        assert!(done.is_ok(), "{} fails", path.display());
    }
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_run() {
            let names: Vec<&str> = fuzz::TARGETS.into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}
targets!(codec, columns, rows, rpc, log_replay, protocol, sql);
