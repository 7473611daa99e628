//! A slow disk: the kernel holds back what a process writes beyond so many operations a second (control groups, `blkio` of the
//! first version or `io` of the second). A sync then takes tenths of seconds.
//!
//! What must stay true: a group's name says whose it is, so that it can be removed when its owner is dead (`world`).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::world;

/// One way in which the kernel can be told.
struct Way {
    /// The group below which groups are made.
    home: PathBuf,
    limit: &'static str,
    /// The line that sets a limit, and the one that lifts it.
    line: fn(device: &str, operations: Option<u32>) -> String,
}

/// Where groups of ours may be found.
pub fn homes() -> Vec<PathBuf> {
    ways().into_iter().map(|w| w.home).collect()
}

/// Slows down what a process writes to the disk on which `store` is; `None` lifts the limit. Says what it did.
pub fn set(node: usize, process: u32, store: &Path, operations: Option<u32>) -> Result<(), String> {
    let device = device(store)?;
    let way = ways().into_iter().next().ok_or("the kernel has no control group that limits disks")?;
    let group = way.home.join(world::name(&format!("n{node}")));
    if operations.is_none() && !group.exists() {
        return Ok(());
    }
    let failed = |e: std::io::Error| format!("{}: {e}", group.display());
    if !group.exists() {
        std::fs::create_dir(&group).map_err(failed)?;
    }
    std::fs::write(group.join(way.limit), (way.line)(&device, operations)).map_err(failed)?;
    std::fs::write(group.join("cgroup.procs"), process.to_string()).map_err(failed)
}

/// Whether it could be done for a store in this folder.
pub fn possible(folder: &Path) -> Result<(), String> {
    device(folder)?;
    let way = ways().into_iter().next().ok_or("the kernel has no control group that limits disks")?;
    let group = way.home.join(world::name("probe"));
    std::fs::create_dir(&group).map_err(|e| format!("control groups are not ours to make: {e}"))?;
    std::fs::remove_dir(&group).map_err(|e| format!("{}: {e}", group.display()))
}

fn ways() -> Vec<Way> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut ways = Vec::new();
    for mount in mounts.lines() {
        let columns: Vec<_> = mount.split(' ').collect();
        let [_, at, kind, options, ..] = columns[..] else { continue };
        let home = PathBuf::from(at);
        if kind == "cgroup" && options.split(',').any(|o| o == "blkio") {
            let line = |device: &str, n: Option<u32>| format!("{device} {}", n.unwrap_or(0));
            ways.push(Way { home, limit: "blkio.throttle.write_iops_device", line });
        } else if kind == "cgroup2" {
            let controllers =
                std::fs::read_to_string(home.join("cgroup.subtree_control")).unwrap_or_default();
            if controllers.split_whitespace().any(|c| c == "io") {
                let line = |device: &str, n: Option<u32>| {
                    format!("{device} wiops={}", n.map_or("max".into(), |n| n.to_string()))
                };
                ways.push(Way { home, limit: "io.max", line });
            }
        }
    }
    ways
}

/// The number of the whole disk under a folder.
fn device(folder: &Path) -> Result<String, String> {
    let number = std::fs::metadata(folder).map_err(|e| format!("{}: {e}", folder.display()))?.dev();
    let name = format!("{}:{}", libc::major(number), libc::minor(number));
    let block = Path::new("/sys/dev/block").join(&name);
    if !block.exists() {
        return Err(format!("{} is on no disk of which the kernel would know", folder.display()));
    }
    if !block.join("partition").exists() {
        return Ok(name);
    }
    // A partition's folder is in that of its disk.
    let disk = block.canonicalize().ok().and_then(|p| std::fs::read_to_string(p.parent()?.join("dev")).ok());
    Ok(disk.map_or(name, |d| d.trim().to_string()))
}
