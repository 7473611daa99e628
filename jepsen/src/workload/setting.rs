//! What a run tells its workloads of the cluster and of itself.

use crate::check::Model;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::ReadCommitted, Level::RepeatableRead, Level::Serializable];

    /// As in `BEGIN ISOLATION LEVEL …`.
    pub fn sql(self) -> &'static str {
        match self {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Setting {
    /// Whether SERIALIZABLE is strict here: what begins after a transaction was acknowledged comes after it.
    pub strict: bool,
    /// For the workloads that hold at several levels, one of those that they name. The others choose for themselves.
    pub level: Level,
    /// How large tables are; 1 for a simulation.
    pub scale: u64,
    /// SQLSTATEs that the faults of this run may give to any statement, besides those that any fault may.
    pub excused: Vec<String>,
}

impl Default for Setting {
    fn default() -> Self {
        Setting { strict: false, level: Level::Serializable, scale: 1, excused: Vec::new() }
    }
}

impl Setting {
    /// What a history of transactions at this level is held to.
    pub fn model(&self) -> Model {
        match self.level {
            Level::Serializable if self.strict => Model::StrictSerializable,
            Level::Serializable => Model::Serializable,
            Level::RepeatableRead => Model::SnapshotIsolation,
            Level::ReadCommitted => Model::ReadCommitted,
        }
    }
}
