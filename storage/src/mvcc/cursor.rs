//! What gets and scans share: how a lock changes the view of a key, and the walk over one key's versions.

use crate::base::{StorageResult, Timestamp};
use crate::engine::{Cf, EngineIter, IterOptions, Reader};

use super::get::GetOptions;
use super::lock::LockRecord;
use super::{key, value};

/// Versions stepped over before a seek is cheaper.
const STEPS_BEFORE_SEEK: usize = 5;

/// At which time, and as whom, keys are read.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub ts: Timestamp,
    pub options: GetOptions,
}

/// How one key is read, given its lock.
pub(super) enum KeyView {
    /// Another transaction's intent is in the way.
    Conflict,
    /// The newest version at or below `ts`; one in `(ts, limit]` makes the read uncertain. `ignored` is a
    /// provisional version that does not count.
    At { ts: Timestamp, limit: Timestamp, ignored: Option<Timestamp> },
}

impl View {
    /// The newest timestamp that can change the answer.
    pub fn limit(&self) -> Timestamp {
        self.ts.max(self.options.uncertainty_limit)
    }

    pub fn of_key(&self, lock: Option<&LockRecord>) -> KeyView {
        let (ts, limit) = (self.ts, self.limit());
        let Some(lock) = lock.filter(|l| l.is_intent()) else {
            return KeyView::At { ts, limit, ignored: None };
        };
        let at = lock.write_ts;
        if self.options.txn == Some(lock.txn) {
            if self.options.epoch == lock.epoch {
                // One's own write is seen whatever its timestamp, and nothing above it is anybody else's.
                return KeyView::At { ts: at, limit: at, ignored: None };
            }
            return KeyView::At { ts, limit, ignored: Some(at) };
        }
        if at <= limit || self.options.newest {
            return KeyView::Conflict;
        }
        KeyView::At { ts, limit, ignored: Some(at) }
    }
}

/// What the walk over a key's versions found.
pub(super) enum Pick {
    /// The iterator stands on the visible version, of this timestamp, and it is not a tombstone.
    Visible(Timestamp),
    Nothing,
    Uncertain(Timestamp),
}

/// Walks from the newest version of a key to the one that the view sees.
///
/// `it` stands on a version of the key, or beyond it if there is none. `part` is its key part; `newest_above` is raised
/// to the newest committed version met above the view's timestamp.
pub(super) fn pick(
    it: &mut dyn EngineIter,
    part: &[u8],
    (ts, limit, ignored): (Timestamp, Timestamp, Option<Timestamp>),
    newest_above: &mut Option<Timestamp>,
) -> StorageResult<Pick> {
    let mut steps = 0;
    while let Some(version) = version_of(it, part)? {
        if Some(version) == ignored {
            it.next();
            continue;
        }
        if version <= ts {
            let visible = value::decode(it.value())?.is_some();
            return Ok(if visible { Pick::Visible(version) } else { Pick::Nothing });
        }
        *newest_above = (*newest_above).max(Some(version));
        if version <= limit {
            return Ok(Pick::Uncertain(version));
        }
        steps += 1;
        if steps < STEPS_BEFORE_SEEK {
            it.next();
        } else {
            let mut target = part.to_vec();
            key::push_timestamp(limit, &mut target);
            it.seek(&target);
        }
    }
    Ok(Pick::Nothing)
}

/// The timestamp of the version on which `it` stands, if it is one of this key's.
pub(super) fn version_of(it: &dyn EngineIter, part: &[u8]) -> StorageResult<Option<Timestamp>> {
    if !it.valid() {
        it.status()?;
        return Ok(None);
    }
    let raw = it.key();
    // A key part ends with its terminator, so what begins with it is a version of it.
    if !raw.starts_with(part) {
        return Ok(None);
    }
    Ok(Some(key::split_version(raw)?.1))
}

/// Moves forward to the first version of the next key.
pub(super) fn skip_key(it: &mut dyn EngineIter, part: &[u8]) {
    for _ in 0..STEPS_BEFORE_SEEK {
        if !it.valid() || !it.key().starts_with(part) {
            return;
        }
        it.next();
    }
    if it.valid() && it.key().starts_with(part) {
        let mut target = part.to_vec();
        key::after_versions(&mut target);
        it.seek(&target);
    }
}

/// Moves backward to the oldest version of the key before.
pub(super) fn skip_key_backward(it: &mut dyn EngineIter, part: &[u8]) {
    for _ in 0..STEPS_BEFORE_SEEK {
        if !it.valid() || !it.key().starts_with(part) {
            return;
        }
        it.prev();
    }
    if it.valid() && it.key().starts_with(part) {
        // The part itself is below all its versions, and is nobody's key.
        it.seek_for_prev(part);
    }
}

/// Follows a walk over keys through the lock family, which is normally empty.
pub(super) struct LockCursor<'a> {
    it: Option<Box<dyn EngineIter + 'a>>,
    reverse: bool,
}

impl<'a> LockCursor<'a> {
    pub fn new(reader: &'a dyn Reader, bounds: IterOptions, reverse: bool) -> StorageResult<Self> {
        if reader.knows_no_locks() {
            return Ok(LockCursor { it: None, reverse });
        }
        let mut it = reader.iter(Cf::Lock, bounds);
        if reverse {
            it.seek_to_last();
        } else {
            it.seek_to_first();
        }
        it.status()?;
        Ok(LockCursor { it: it.valid().then_some(it), reverse })
    }

    /// The exclusive holder's record on the key. Keys must be asked for in the order of the walk.
    pub fn on(&mut self, part: &[u8]) -> StorageResult<Option<LockRecord>> {
        let Some(it) = &mut self.it else { return Ok(None) };
        let mut steps = 0;
        while it.valid() && if self.reverse { it.key() > part } else { it.key() < part } {
            steps += 1;
            match (steps < STEPS_BEFORE_SEEK, self.reverse) {
                (true, true) => it.prev(),
                (true, false) => it.next(),
                (false, true) => it.seek_for_prev(part),
                (false, false) => it.seek(part),
            }
        }
        if !it.valid() {
            it.status()?;
            self.it = None;
            return Ok(None);
        }
        if it.key() == part { LockRecord::decode(it.value()).map(Some) } else { Ok(None) }
    }
}
