//! What breaks nodes. A nemesis makes one fault on one node, and undoes it later; when and on whom is the run's business.

mod kill;
mod pause;

use clap::ValueEnum;

use crate::cluster::Node;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Nemesis {
    /// SIGKILL: what was not synced by the process is lost to it (the page cache survives).
    Kill,
    /// SIGSTOP: the node is silent, and wakes up with an old idea of the time.
    Pause,
    /// No faults.
    None,
}

impl Nemesis {
    pub async fn inject(self, node: &mut Node) -> Result<(), String> {
        match self {
            Nemesis::Kill => kill::inject(node).await,
            Nemesis::Pause => pause::inject(node),
            Nemesis::None => Ok(()),
        }
    }

    /// Undoes the fault and waits until the node says that it is well.
    pub async fn heal(self, node: &mut Node) -> Result<(), String> {
        match self {
            Nemesis::Kill => kill::heal(node)?,
            Nemesis::Pause => pause::heal(node)?,
            Nemesis::None => return Ok(()),
        }
        node.wait_until_ready().await
    }
}
