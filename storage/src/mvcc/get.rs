//! Reading single keys: one lookup in the row cache; else one for the lock and one seek for the version.
//!
//! What the cache gives is the newest version of a key without a lock ([`crate::engine::rows`]): whoever reads at or above it
//! sees it, and nothing above it makes the read uncertain. A reader below it looks into the engine.

use bytes::{Buf, Bytes};

use crate::base::{StorageResult, Timestamp, TxnId};
use crate::engine::rows::{Found, Ticket};
use crate::engine::{Cf, EngineIter, IterOptions, Reader};

use super::cursor::{KeyView, Pick, View, pick};
use super::lock::LockRecord;
use super::{key, value};

/// As whom a key is read, and what else is asked.
#[derive(Clone, Copy, Default, Debug)]
pub struct GetOptions {
    /// The reading transaction: it sees its own intents, of its own epoch.
    pub txn: Option<TxnId>,
    pub epoch: u32,
    /// A version above the timestamp of the read, but at or below this, may have been written before the read began:
    /// the read is uncertain. Zero: nothing is.
    pub uncertainty_limit: Timestamp,
    /// For a read that goes before a write: look for versions and intents at any timestamp.
    pub newest: bool,
}

/// What a read of one key found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MvccGet {
    pub seen: Seen,
    /// The newest committed version met above the timestamp of the read: the newest of all with
    /// [`GetOptions::newest`], else only one that made the read uncertain.
    pub newest_above: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    Value(Bytes, Timestamp),
    /// No version, or a tombstone.
    Nothing,
    /// Another transaction's intent, which must be resolved first.
    Locked(Box<LockRecord>),
    /// The newest version is above the timestamp of the read and within its uncertainty: read again at or above this.
    Uncertain(Timestamp),
}

/// Reads `key` as of `ts`.
pub fn get(reader: &dyn Reader, key: &[u8], ts: Timestamp, options: GetOptions) -> StorageResult<MvccGet> {
    // For one key, the lock is read before the iterator is made: as the module `mvcc` demands.
    PointReader::new(reader, ts, options).get(key)
}

/// Reads any number of keys as of one timestamp, over one iterator: a quarter cheaper than as many calls of [`get`],
/// and four times cheaper when the keys are neighbours.
///
/// Only over a snapshot, or under latches on all the keys: the iterator stays while locks are looked up, and an intent
/// that is resolved meanwhile would leave an aborted value behind, taken for a committed one.
pub struct PointReader<'a> {
    reader: &'a dyn Reader,
    view: View,
    /// Made at the first version that is looked for.
    data: Option<Box<dyn EngineIter + 'a>>,
    target: Vec<u8>,
}

impl<'a> PointReader<'a> {
    pub fn new(reader: &'a dyn Reader, ts: Timestamp, options: GetOptions) -> Self {
        PointReader { reader, view: View { ts, options }, data: None, target: Vec::new() }
    }

    pub fn get(&mut self, key: &[u8]) -> StorageResult<MvccGet> {
        self.target.clear();
        key::push_key(key, &mut self.target);
        let ticket = match self.reader.rows().map(|rows| rows.find(&self.target)) {
            Some(Found::Newest(row)) if row.version <= self.view.ts => {
                let seen = match value::decode(&row.stored)? {
                    Some(_) => {
                        let mut value = row.stored;
                        value.advance(value::HEADER_LEN);
                        Seen::Value(value, row.version)
                    }
                    None => Seen::Nothing,
                };
                return Ok(MvccGet { seen, newest_above: None });
            }
            // An iterator that is older than the ticket may see what the ticket does not vouch for.
            Some(Found::Unknown(ticket)) if self.data.is_none() => Some(ticket),
            _ => None,
        };
        self.look(ticket)
    }

    /// Reads the key whose part is in `target` from the engine, and with a ticket enters it into the row cache.
    fn look(&mut self, ticket: Option<Ticket>) -> StorageResult<MvccGet> {
        let part = self.target.len();
        let lock = match self.reader.knows_no_locks() {
            true => None,
            false => self.reader.get(Cf::Lock, &self.target)?,
        };
        let lock = lock.map(|bytes| LockRecord::decode(&bytes)).transpose()?;
        let ticket = ticket.filter(|_| lock.is_none());
        let (ts, limit, ignored) = match (self.view.of_key(lock.as_ref()), lock) {
            (KeyView::At { ts, limit, ignored }, _) => (ts, limit, ignored),
            (KeyView::Conflict, Some(lock)) => {
                return Ok(MvccGet { seen: Seen::Locked(Box::new(lock)), newest_above: None });
            }
            (KeyView::Conflict, None) => unreachable!("a conflict is with a lock"),
        };
        // To know that a version is the newest, one must have begun above it.
        let from = if self.view.options.newest || ticket.is_some() { Timestamp::MAX } else { limit };
        key::push_timestamp(from, &mut self.target);
        let reader = self.reader;
        let data = self.data.get_or_insert_with(|| {
            reader.iter(Cf::Data, IterOptions { one_key: true, ..IterOptions::default() })
        });
        data.seek(&self.target);
        let mut newest_above = None;
        let picked = pick(&mut **data, &self.target[..part], (ts, limit, ignored), &mut newest_above)?;
        let seen = match picked {
            Pick::Visible(version) => {
                let mut stored = Bytes::copy_from_slice(data.value());
                if let (Some(ticket), None, Some(rows)) = (ticket, newest_above, reader.rows()) {
                    rows.enter(&self.target[..part], ticket, version, stored.clone());
                }
                stored.advance(value::HEADER_LEN);
                Seen::Value(stored, version)
            }
            Pick::Nothing => Seen::Nothing,
            Pick::Uncertain(version) => Seen::Uncertain(version),
        };
        if !self.view.options.newest {
            // Versions above the limit were only stepped over.
            newest_above = if let Seen::Uncertain(version) = seen { Some(version) } else { None };
        }
        Ok(MvccGet { seen, newest_above })
    }
}
