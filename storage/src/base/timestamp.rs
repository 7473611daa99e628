//! Hybrid logical timestamps (Kulkarni et al., "Logical Physical Clocks", 2014).

use std::fmt;
use std::time::Duration;

/// A point in the cluster's time: nanoseconds since the Unix epoch, then a counter. Ordered by both in turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch.
    pub wall: u64,
    /// Orders events within one nanosecond.
    pub logical: u32,
}

impl Timestamp {
    pub const ZERO: Timestamp = Timestamp { wall: 0, logical: 0 };
    pub const MAX: Timestamp = Timestamp { wall: u64::MAX, logical: u32::MAX };

    pub const fn new(wall: u64, logical: u32) -> Self {
        Timestamp { wall, logical }
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The smallest timestamp above this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.logical.checked_add(1) {
            Some(logical) => Timestamp { wall: self.wall, logical },
            None => Timestamp { wall: self.wall.saturating_add(1), logical: 0 },
        }
    }

    /// The largest timestamp below this one; zero stays zero.
    #[must_use]
    pub fn prev(self) -> Self {
        match (self.wall, self.logical) {
            (0, 0) => self,
            (wall, 0) => Timestamp { wall: wall - 1, logical: u32::MAX },
            (wall, logical) => Timestamp { wall, logical: logical - 1 },
        }
    }

    /// This timestamp moved later by `d`; saturates.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "saturating, so not what `+` promises")]
    pub fn add(self, d: Duration) -> Self {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Timestamp { wall: self.wall.saturating_add(nanos), logical: self.logical }
    }

    /// The larger of the two; for raising a timestamp in place.
    pub fn forward(&mut self, to: Timestamp) -> bool {
        if to > *self {
            *self = to;
            true
        } else {
            false
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09},{}", self.wall / 1_000_000_000, self.wall % 1_000_000_000, self.logical)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
