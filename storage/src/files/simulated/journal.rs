//! What was asked of a simulated disk and is not durable yet; and what a crash makes of it.
//!
//! Everything is done at once and can be undone: a crash undoes all that is not durable, and then does again what it
//! leaves. So the common case, no crash, costs little.
//!
//! A sync that fails is as the kernel's (Rebello and others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020):
//! what was to be written is dropped, still there for whoever reads it, and for no later sync to write.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::handle::joined;
use super::{Crash, State};
use crate::base::Chance;

/// A disk writes a sector wholly or not at all, says the standard; not all do.
const SECTOR: u64 = 512;

/// What a file holds.
#[derive(Default)]
pub(super) struct Content {
    pub bytes: Vec<u8>,
    /// Not known to be durable, oldest first.
    pub pending: VecDeque<Write>,
    /// What the last sync made durable, and its number.
    last_sync: (u64, Range<u64>),
}

pub(super) struct Write {
    begun: Duration,
    pub standing: Standing,
    at: u64,
    new: Vec<u8>,
    old: Vec<u8>,
    /// How long the file was before.
    old_len: u64,
}

/// How far a write has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No sync covers it.
    Waiting,
    /// The number of the sync that covers it, and when that ends.
    Syncing(u64, Duration),
    /// A sync that covered it has failed: it is in the machine's memory, and nothing takes it to the medium any more.
    Dropped,
}

impl Write {
    fn span(&self) -> Range<u64> {
        self.at..self.at + self.new.len() as u64
    }

    /// A later one is durable: it stays when this one is undone, and when it is done again.
    fn lie_under(&mut self, later: &Write) {
        let (span, over) = (self.span(), later.span());
        self.old_len = self.old_len.max(over.end);
        let covered = span.end.min(self.old_len).saturating_sub(self.at) as usize;
        self.old.resize(covered, 0);
        for at in span.start.max(over.start)..span.end.min(over.end) {
            let byte = later.new[(at - over.start) as usize];
            (self.old[(at - span.start) as usize], self.new[(at - span.start) as usize]) = (byte, byte);
        }
    }
}

impl Content {
    pub fn write(&mut self, begun: Duration, at: u64, bytes: &[u8]) {
        let (old_len, end) = (self.bytes.len() as u64, at + bytes.len() as u64);
        let old = self.bytes.get(at as usize..(end.min(old_len)) as usize).unwrap_or_default().to_vec();
        self.pending.push_back(Write {
            begun,
            standing: Standing::Waiting,
            at,
            new: bytes.to_vec(),
            old,
            old_len,
        });
        self.put(at, bytes);
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let end = at as usize + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at as usize..end].copy_from_slice(bytes);
    }

    /// Forgets what is durable by now.
    pub fn settle(&mut self, now: Duration) {
        while let Some(at) = self.pending.iter().position(|write| write.standing != Standing::Dropped) {
            let Standing::Syncing(number, done) = self.pending[at].standing else { return };
            let Some(write) = (done <= now).then(|| self.pending.remove(at)).flatten() else { return };
            self.pending.iter_mut().take(at).for_each(|dropped| dropped.lie_under(&write));
            let span = write.span();
            self.last_sync = match &self.last_sync {
                (same, with) if *same == number => (number, joined(with.clone(), span)),
                _ => (number, span),
            };
        }
    }

    /// Whether the byte was durable before the last sync.
    pub fn is_long_durable(&self, at: u64) -> bool {
        at < self.bytes.len() as u64
            && !self.last_sync.1.contains(&at)
            && !self.pending.iter().any(|write| write.span().contains(&at))
    }

    /// Back to what is durable; returns what was not.
    fn undo(&mut self) -> VecDeque<Write> {
        for write in self.pending.iter().rev() {
            let at = write.at as usize;
            self.bytes[at..at + write.old.len()].copy_from_slice(&write.old);
            self.bytes.truncate(write.old_len as usize);
        }
        std::mem::take(&mut self.pending)
    }

    /// Does a part of a write again. Says whether it is not all of it, nor nothing.
    fn tear(&mut self, write: &Write, survival: Survival, chance: &mut Chance) -> bool {
        let Range { start, end } = write.span();
        let mut at = start;
        let (mut kept, mut spoilt) = (0, 0);
        while at < end {
            let to = ((at / SECTOR + 1) * SECTOR).min(end);
            let mut piece = write.new[(at - start) as usize..(to - start) as usize].to_vec();
            match survival.of_a_sector(chance) {
                Fate::Lost => {
                    at = to;
                    continue;
                }
                Fate::Kept => kept += to - at,
                Fate::Zeroed => {
                    piece.fill(0);
                    spoilt += 1;
                }
                Fate::Garbled => {
                    piece.iter_mut().for_each(|b| *b = chance.bits() as u8);
                    spoilt += 1;
                }
                Fate::Cut => {
                    piece.truncate(chance.below(to - at) as usize);
                    spoilt += 1;
                }
            }
            self.put(at, &piece);
            at = to;
        }
        spoilt > 0 || (kept > 0 && kept < end - start)
    }
}

/// A change of names.
pub(super) struct Change {
    pub begun: Duration,
    pub durable: Option<Duration>,
    pub deed: Deed,
}

pub(super) enum Deed {
    Create {
        path: PathBuf,
        id: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        id: u64,
        /// What had the name before.
        over: Option<u64>,
    },
    Remove {
        path: PathBuf,
        id: u64,
    },
}

type Names = BTreeMap<PathBuf, u64>;

impl Deed {
    pub fn is_in(&self, folder: &Path) -> bool {
        let (Deed::Create { path, .. } | Deed::Rename { to: path, .. } | Deed::Remove { path, .. }) = self;
        path.parent() == Some(folder)
    }

    fn ids(&self) -> [Option<u64>; 2] {
        match self {
            Deed::Create { id, .. } | Deed::Remove { id, .. } => [Some(*id), None],
            Deed::Rename { id, over, .. } => [Some(*id), *over],
        }
    }

    /// False if what came before it was lost, so that it cannot be.
    pub fn redo(&self, names: &mut Names) -> bool {
        match self {
            Deed::Create { path, id } if !names.contains_key(path) => {
                names.insert(path.clone(), *id);
            }
            Deed::Rename { from, to, id, .. } if names.get(from) == Some(id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            Deed::Remove { path, id } if names.get(path) == Some(id) => {
                names.remove(path);
            }
            _ => return false,
        }
        true
    }

    fn undo(&self, names: &mut Names) {
        match self {
            Deed::Create { path, .. } => {
                names.remove(path);
            }
            Deed::Rename { from, to, id, over } => {
                match over {
                    Some(over) => names.insert(to.clone(), *over),
                    None => names.remove(to),
                };
                names.insert(from.clone(), *id);
            }
            Deed::Remove { path, id } => {
                names.insert(path.clone(), *id);
            }
        }
    }
}

/// What becomes of a sector that was not synced.
enum Fate {
    Lost,
    Kept,
    Zeroed,
    Garbled,
    /// Written to somewhere in the middle.
    Cut,
}

/// How much a power loss leaves of what was not synced, in percent.
#[derive(Clone, Copy)]
struct Survival {
    percent: u64,
    torn_percent: u64,
}

impl Survival {
    /// Each crash has a character of its own: nothing is left, all is, or anything.
    fn choose(chance: &mut Chance) -> Self {
        let percent = [0, 100, 50, 50, 90, 20][chance.below(6) as usize];
        Survival { percent, torn_percent: [0, 20, 60][chance.below(3) as usize] }
    }

    fn of_a_sector(self, chance: &mut Chance) -> Fate {
        if chance.percent(self.torn_percent) {
            return match chance.below(3) {
                0 => Fate::Zeroed,
                1 => Fate::Garbled,
                _ => Fate::Cut,
            };
        }
        if chance.percent(self.percent) { Fate::Kept } else { Fate::Lost }
    }
}

impl State {
    /// Forgets what is durable by now.
    pub(super) fn settle(&mut self, now: Duration) {
        self.contents.values_mut().for_each(|content| content.settle(now));
        if self.changes.iter().any(|change| change.durable.is_some_and(|done| done <= now)) {
            self.changes.retain(|change| change.durable.is_none_or(|done| done > now));
            self.forget_nameless();
        }
    }

    /// Everything that was asked for has been done by now.
    pub(super) fn catch_up(&mut self, now: Duration) {
        self.free_at = self.free_at.min(now);
        for write in self.contents.values_mut().flat_map(|content| &mut content.pending) {
            write.begun = write.begun.min(now);
            if let Standing::Syncing(_, done) = &mut write.standing {
                *done = now.min(*done);
            }
        }
        for change in &mut self.changes {
            change.begun = change.begun.min(now);
            change.durable = change.durable.map(|done| done.min(now));
        }
    }

    fn forget_nameless(&mut self) {
        let waiting = self.changes.iter().flat_map(|change| change.deed.ids()).flatten();
        let needed: Vec<u64> = self.names.values().copied().chain(waiting).collect();
        self.contents.retain(|id, _| needed.contains(id));
    }

    pub(super) fn crash(&mut self, how: Crash, now: Duration) {
        self.settle(now);
        self.life += 1;
        self.locks.clear();
        self.has_failed = false;
        self.free_at = now;
        let survival = Survival::choose(&mut self.chance);
        self.crash_names(how, now, survival);
        // The memory gives up what need not be written when it likes, and then reads it from the medium.
        let forgets = self.chance.percent(25);
        for content in self.contents.values_mut() {
            // What the disk had not begun has not been; nor has a sync that did not end.
            for write in content.undo().into_iter().filter(|write| write.begun <= now) {
                let dropped = write.standing == Standing::Dropped;
                match how {
                    Crash::Process if dropped && forgets => {}
                    Crash::Process => {
                        content.write(write.begun, write.at, &write.new);
                        let again = content.pending.back_mut().filter(|_| dropped);
                        again.into_iter().for_each(|write| write.standing = Standing::Dropped);
                    }
                    Crash::Power if dropped => {}
                    Crash::Power => {
                        self.counts.torn_writes +=
                            u64::from(content.tear(&write, survival, &mut self.chance));
                    }
                }
            }
        }
        self.forget_nameless();
    }

    fn crash_names(&mut self, how: Crash, now: Duration, survival: Survival) {
        let changes = std::mem::take(&mut self.changes);
        changes.iter().rev().for_each(|change| change.deed.undo(&mut self.names));
        for mut change in changes.into_iter().filter(|change| change.begun <= now) {
            let durable = change.durable.is_some_and(|done| done <= now);
            let kept = durable || how == Crash::Process || self.chance.percent(survival.percent);
            if !kept || !change.deed.redo(&mut self.names) {
                self.counts.lost_names += 1;
            } else if how == Crash::Process {
                change.durable = None;
                self.changes.push(change);
            }
        }
    }
}
