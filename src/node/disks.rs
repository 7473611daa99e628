//! A store's folders: `state`, the engine's, and `log`, the Raft log's.
//!
//! What must stay true: neither is taken for what it was when the other was written. Commits are acknowledged once they are in
//! the log, and reach the state later; votes are in the log alone. A store that lost its log, or got another's, and went
//! on would have lost both without a word. So a new store is made in this order, each step durable before the next:
//!
//! 1. the state, empty;
//! 2. the log, founded with the ids of cluster and node, without a segment;
//! 3. the ids in the state;
//! 4. the log's first segment.
//!
//! A crash after any of them leaves a store that is begun again, or that opens. Everything else is refused: a log with a
//! segment beside a state without ids, ids without a founded log, and ids that differ. A refused start leaves what it
//! found as it was: it may be put right by hand.

use std::path::Path;
use std::sync::Arc;

use meridian_storage::base::StorageError;
use meridian_storage::engine::{Engine, MemEngine, RocksEngine, RocksOptions, VersionFilter};
use meridian_storage::files::{Files, OsFiles};
use meridian_storage::log::{DiskLog, LogOwner, LogStore, MemLog};
use meridian_storage::store;

/// Opens the state, or makes an empty one; in memory without a folder, as everything here.
pub(super) fn open_state(
    folder: Option<&Path>,
    cache_bytes: usize,
    filter: Arc<dyn VersionFilter>,
) -> Result<Arc<dyn Engine>, String> {
    let Some(folder) = folder else {
        return Ok(Arc::new(MemEngine::new()));
    };
    let at = |e| fault(folder, e);
    // Durably: what is made durable in it is of no use without its name.
    OsFiles.create_folder(folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let state = folder.join("state");
    // Before an empty state stands where the lost one may be put back, or in place of one that has lost a file.
    let create = !RocksEngine::exists(&state).map_err(at)?;
    if create {
        refuse_log_without_state(folder)?;
    }
    let options = RocksOptions { create, cache_bytes, filter: Some(filter), ..RocksOptions::default() };
    let engine = RocksEngine::open(state, options).map_err(at)?;
    match store::identity(&engine).map_err(at)? {
        None => refuse_log_without_state(folder)?,
        Some(_) if !folder.join("log").exists() => {
            return Err(format!(
                "store {}: the log folder is missing, and with it commits that were acknowledged\n\
                 Restore {}, or start with an empty --store and --join a cluster that has the data.",
                folder.display(),
                folder.join("log").display()
            ));
        }
        Some(_) => {}
    }
    Ok(Arc::new(engine))
}

fn refuse_log_without_state(folder: &Path) -> Result<(), String> {
    let (state, log) = (folder.join("state"), folder.join("log"));
    match DiskLog::owner(&log).map_err(|e| fault(folder, e))? {
        None => Ok(()),
        Some(owner) => Err(format!(
            "store {}: the state of {owner} is missing, whose log is in {}\n\
             Restore {}, or start with an empty --store and --join a cluster that has the data.",
            folder.display(),
            log.display(),
            state.display()
        )),
    }
}

/// Founds the log of a store that is about to get its identity.
pub(super) fn found_log(folder: Option<&Path>, owner: LogOwner) -> Result<(), String> {
    match folder {
        None => Ok(()),
        Some(folder) => DiskLog::found(folder.join("log"), owner).map_err(|e| fault(folder, e)),
    }
}

/// Opens the log of a store that has its identity.
pub(super) fn open_log(folder: Option<&Path>, owner: LogOwner) -> Result<Arc<dyn LogStore>, String> {
    let Some(folder) = folder else {
        return Ok(Arc::new(MemLog::new()));
    };
    let log = DiskLog::open(folder.join("log"), owner, Default::default());
    Ok(Arc::new(log.map_err(|e| fault(folder, e))?))
}

fn fault(folder: &Path, e: StorageError) -> String {
    let text = format!("store {}: {e}", folder.display());
    match e {
        StorageError::Corruption(_) => format!(
            "{text}\nCommits that were acknowledged may be lost with it. Restore the whole store as it was, or start \
             with an empty --store and --join a cluster that has the data."
        ),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use meridian_storage::base::{NodeId, Timestamp};
    use meridian_storage::mvcc::GcThresholds;
    use tempfile::TempDir;

    use super::*;

    const OWNER: LogOwner = LogOwner { cluster: 7, node: NodeId(1) };

    /// Makes a store, or goes on with one, as far as the first `steps`.
    fn start(folder: &Path, owner: LogOwner, steps: usize) -> Result<(), String> {
        let folder = Some(folder);
        let engine = open_state(folder, 8 << 20, GcThresholds::new())?;
        if steps > 1 && store::identity(&*engine).expect("read").is_none() {
            found_log(folder, owner)?;
            if steps > 2 {
                let at = Timestamp::ZERO;
                store::bootstrap(&*engine, owner.cluster, owner.node, at).expect("an empty state");
            }
        }
        if steps > 3 {
            let id = store::identity(&*engine).expect("read").expect("has ids");
            open_log(folder, LogOwner { cluster: id.cluster, node: id.node })?;
        }
        Ok(())
    }

    #[test]
    fn a_crash_between_any_two_steps_leaves_a_store_that_opens() {
        // The ids of the second start are others, until they have been written.
        let other = LogOwner { cluster: 8, node: NodeId(2) };
        for (steps, again) in (0..=4).flat_map(|steps| (1..=4).map(move |again| (steps, again))) {
            let folder = TempDir::new().expect("a folder");
            if steps > 0 {
                start(folder.path(), OWNER, steps).expect("a new store");
            }
            start(folder.path(), other, again).unwrap_or_else(|e| panic!("{steps}, then {again}: {e}"));
            start(folder.path(), OWNER, 4).unwrap_or_else(|e| panic!("{steps}, {again}, then all: {e}"));
        }
    }

    #[test]
    fn half_a_store_is_refused() {
        for (lost, from) in [("state", 4), ("log", 3), ("log", 4)] {
            let folder = TempDir::new().expect("a folder");
            start(folder.path(), OWNER, from).expect("a new store");
            let path = folder.path().join(lost);
            std::fs::remove_dir_all(&path).expect("removed");
            let refused = || {
                let e = start(folder.path(), OWNER, 4).expect_err("half a store");
                assert!(e.contains("missing") && e.contains(&path.display().to_string()), "{e}");
            };
            refused();
            assert!(!path.exists(), "the refusal has left something in its place");
            // An emptied folder is no better than none.
            std::fs::create_dir(&path).expect("created");
            refused();
            refused();
        }
    }

    /// An empty state in its place would have removed all that can still be saved.
    #[test]
    fn a_state_that_lost_its_current_file_is_refused_and_left_as_it_is() {
        for log in [true, false] {
            let folder = TempDir::new().expect("a folder");
            start(folder.path(), OWNER, 4).expect("a new store");
            let (state, kept) = (folder.path().join("state"), folder.path().join("kept"));
            let tables = || {
                let files = std::fs::read_dir(&state).expect("a folder").map(|f| f.expect("a file").path());
                files.filter(|f| f.extension().is_some_and(|e| e == "sst")).count()
            };
            let before = tables();
            assert!(before > 0);
            std::fs::rename(state.join("CURRENT"), &kept).expect("moved away");
            if !log {
                std::fs::rename(folder.path().join("log"), folder.path().join("away")).expect("moved away");
            }
            for _ in 0..2 {
                let e = start(folder.path(), OWNER, 4).expect_err("the state is not whole");
                assert!(e.contains("missing") && e.contains("CURRENT"), "{e}");
                assert_eq!((tables(), state.join("CURRENT").exists()), (before, false));
            }
            if !log {
                std::fs::rename(folder.path().join("away"), folder.path().join("log")).expect("moved back");
            }
            std::fs::rename(&kept, state.join("CURRENT")).expect("moved back");
            start(folder.path(), OWNER, 4).expect("the state is whole again");
        }
    }
}
