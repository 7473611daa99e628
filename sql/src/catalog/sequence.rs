//! Sequences: `nextval`, `setval` and their kin, and the row ids of tables without a primary key.
//!
//! As in PostgreSQL they stand outside of transactions: a value once given is never given again, whatever becomes of
//! the transaction. A node takes values from the stored sequence in blocks - as many as CACHE says, but no fewer than
//! [`LOG_AHEAD`], as PostgreSQL logs ahead - so most calls touch no key. Therefore a crash leaves a gap, and on
//! different nodes values are given out of order, as CACHE allows for sessions in PostgreSQL.
//!
//! Stored under `system/sequence/<id>`: the last value (8 bytes), and whether it has been given (1 byte).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::{Key, keys};
use meridian_txn::{Db, LockStrength, Txn, WaitPolicy};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::{SequenceOptions, TableDescriptor, TableId, store};
use crate::error::{SqlError, SqlResult, state};

/// PostgreSQL's SEQ_LOG_VALS.
const LOG_AHEAD: i64 = 32;
const ROW_ID_BLOCK: u64 = 64;
const ROW_ID_BLOCK_MAX: u64 = 1 << 16;

pub struct Sequences {
    db: Db,
    blocks: Mutex<FxHashMap<TableId, Arc<tokio::sync::Mutex<Block>>>>,
    row_ids: Mutex<FxHashMap<TableId, RowIds>>,
}

/// Values that this node may give without asking.
#[derive(Default)]
struct Block {
    next: i64,
    remaining: i64,
    /// The last of them.
    end: i64,
    /// Of the descriptor that the values were taken under: ALTER SEQUENCE voids them.
    version: u64,
    /// The last value given on this node, while the block is alive.
    last: Option<i64>,
}

impl Block {
    /// (the last value given, the last value taken) of a block that is given up before its end.
    fn unused(&self) -> Option<(i64, i64)> {
        self.last.filter(|_| self.remaining > 0).map(|last| (last, self.end))
    }
}

struct RowIds {
    free: Range<u64>,
    next_block: u64,
}

/// What is stored of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceState {
    pub last: i64,
    pub called: bool,
}

impl SequenceState {
    /// The state before the values were taken that were never given, if nothing has happened since.
    fn without(self, unused: Option<(i64, i64)>) -> Self {
        match unused {
            Some((given, taken)) if self == (SequenceState { last: taken, called: true }) => {
                SequenceState { last: given, called: true }
            }
            _ => self,
        }
    }
}

impl Sequences {
    pub fn new(db: Db) -> Self {
        Sequences { db, blocks: Mutex::default(), row_ids: Mutex::default() }
    }

    fn block(&self, id: TableId) -> Arc<tokio::sync::Mutex<Block>> {
        self.blocks.lock().entry(id).or_default().clone()
    }

    /// `nextval`.
    pub async fn next_value(&self, sequence: &TableDescriptor) -> SqlResult<i64> {
        let options = options_of(sequence)?;
        let block = self.block(sequence.id);
        let mut block = block.lock().await;
        if block.remaining == 0 || block.version != sequence.version {
            let unused = block.unused();
            let (next, count) = self.take_block(sequence, options, unused).await?;
            let end = next + (count - 1) * options.increment;
            *block = Block { next, remaining: count, end, version: sequence.version, last: None };
        }
        let value = block.next;
        block.remaining -= 1;
        block.next = value.saturating_add(options.increment);
        block.last = Some(value);
        Ok(value)
    }

    /// Takes values off the stored sequence: the first, and how many.
    ///
    /// `unused`: of the block that this node has given up. If nobody has touched the sequence since that block was
    /// taken, its remaining values go back first.
    async fn take_block(
        &self,
        sequence: &TableDescriptor,
        options: &SequenceOptions,
        unused: Option<(i64, i64)>,
    ) -> SqlResult<(i64, i64)> {
        let key = state_key(sequence.id);
        store::transact(&self.db, |txn| {
            let key = key.clone();
            async move {
                let stored = read_locked(&txn, &key, options).await?.without(unused);
                let (first, count) = next_block(&sequence.name, options, stored)?;
                let last = first + (count - 1) * options.increment;
                write(&txn, key, SequenceState { last, called: true });
                Ok((first, count))
            }
        })
        .await
    }

    /// `setval(sequence, value, called)`.
    pub async fn set_value(&self, sequence: &TableDescriptor, value: i64, called: bool) -> SqlResult<()> {
        let options = options_of(sequence)?;
        if value < options.min || value > options.max {
            return Err(SqlError::new(
                state::NUMERIC_VALUE_OUT_OF_RANGE,
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    sequence.name, options.min, options.max
                ),
            ));
        }
        let block = self.block(sequence.id);
        let mut block = block.lock().await;
        let key = state_key(sequence.id);
        store::transact(&self.db, |txn| {
            let key = key.clone();
            async move {
                read_locked(&txn, &key, options).await?;
                write(&txn, key, SequenceState { last: value, called });
                Ok(())
            }
        })
        .await?;
        *block = Block::default();
        Ok(())
    }

    /// `last_value` and `is_called`, as far as this node knows.
    pub async fn peek(&self, sequence: &TableDescriptor) -> SqlResult<SequenceState> {
        let options = options_of(sequence)?;
        let block = self.block(sequence.id);
        let block = block.lock().await;
        if let Some(last) = block.last.filter(|_| block.version == sequence.version) {
            return Ok(SequenceState { last, called: true });
        }
        let unused = block.unused();
        let key = state_key(sequence.id);
        store::transact(&self.db, |txn| {
            let key = key.clone();
            async move { Ok(read(txn.get(&key).await?, options)?.without(unused)) }
        })
        .await
    }

    /// As [`peek`](Self::peek), in the past that the transaction reads: the last value that any node had taken by then.
    pub async fn peek_past(&self, txn: &Txn, sequence: &TableDescriptor) -> SqlResult<SequenceState> {
        read(txn.get(&state_key(sequence.id)).await?, options_of(sequence)?)
    }

    /// `count` new row ids for a table without a primary key.
    pub async fn row_ids(&self, table: TableId, count: u64) -> SqlResult<Range<i64>> {
        let wanted = {
            let mut all = self.row_ids.lock();
            let ids = all.entry(table).or_insert(RowIds { free: 0..0, next_block: ROW_ID_BLOCK });
            if let Some(range) = take_front(&mut ids.free, count) {
                return Ok(range);
            }
            let wanted = ids.next_block.max(count);
            ids.next_block = (ids.next_block * 2).min(ROW_ID_BLOCK_MAX);
            wanted
        };
        // Two sessions may get here at once: then each takes a block, and what is left of the smaller is lost.
        let mut block = store::take_numbers(&self.db, &format!("rowid/{}", table.0), 1, wanted).await?;
        let range = take_front(&mut block, count).expect("a block of at least as many as wanted");
        let mut all = self.row_ids.lock();
        if let Some(ids) =
            all.get_mut(&table).filter(|ids| ids.free.end - ids.free.start < block.end - block.start)
        {
            ids.free = block;
        }
        Ok(range)
    }
}

fn take_front(free: &mut Range<u64>, count: u64) -> Option<Range<i64>> {
    (free.end - free.start >= count).then(|| {
        let start = free.start;
        free.start += count;
        start as i64..(start + count) as i64
    })
}

fn options_of(sequence: &TableDescriptor) -> SqlResult<&SequenceOptions> {
    sequence.sequence().ok_or_else(|| {
        SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{}\" is not a sequence", sequence.name))
    })
}

fn state_key(id: TableId) -> Key {
    keys::system_key("sequence", &id.0.to_be_bytes())
}

fn read(stored: Option<Bytes>, options: &SequenceOptions) -> SqlResult<SequenceState> {
    let Some(bytes) = stored else { return Ok(SequenceState { last: options.start, called: false }) };
    let (last, called) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| SqlError::new(state::DATA_CORRUPTED, "invalid stored sequence"))?;
    Ok(SequenceState { last: i64::from_be_bytes(*last), called: called == [1] })
}

async fn read_locked(txn: &Txn, key: &Key, options: &SequenceOptions) -> SqlResult<SequenceState> {
    read(txn.get_locked(key, LockStrength::Update, WaitPolicy::Block).await?, options)
}

fn write(txn: &Txn, key: Key, state: SequenceState) {
    let mut value = state.last.to_be_bytes().to_vec();
    value.push(state.called.into());
    txn.put(key, value.into());
}

/// Sets a sequence as a part of a transaction (RESTART); the caller keeps others from it.
pub fn write_in_transaction(txn: &Txn, id: TableId, state: SequenceState) {
    write(txn, state_key(id), state);
}

/// Drops what is stored of a sequence, as a part of a transaction.
pub fn delete_in_transaction(txn: &Txn, id: TableId) {
    txn.delete(state_key(id));
}

/// The values after `stored`: the first, and how many there are to take at once.
fn next_block(name: &str, options: &SequenceOptions, stored: SequenceState) -> SqlResult<(i64, i64)> {
    let up = options.increment > 0;
    let within = |v: i64| v >= options.min && v <= options.max;
    let first = if stored.called {
        stored.last.checked_add(options.increment).filter(|v| within(*v))
    } else {
        Some(stored.last)
    };
    let first = match first {
        Some(first) => first,
        None if options.cycle => {
            if up {
                options.min
            } else {
                options.max
            }
        }
        None => {
            let (which, limit) = if up { ("maximum", options.max) } else { ("minimum", options.min) };
            return Err(SqlError::new(
                state::SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
                format!("nextval: reached {which} value of sequence \"{name}\" ({limit})"),
            ));
        }
    };
    let room = if up {
        (i128::from(options.max) - i128::from(first)) / i128::from(options.increment)
    } else {
        (i128::from(first) - i128::from(options.min)) / -i128::from(options.increment)
    };
    let wanted = i128::from(options.cache.max(LOG_AHEAD));
    Ok((first, wanted.min(room + 1) as i64))
}

/// What a session remembers for `currval` and `lastval`.
#[derive(Clone, Debug, Default)]
pub struct SessionSequences {
    values: FxHashMap<TableId, i64>,
    last: Option<TableId>,
}

impl SessionSequences {
    /// A value was given to this session, or set by it to be the last one given.
    pub fn note(&mut self, sequence: TableId, value: i64, by_nextval: bool) {
        self.values.insert(sequence, value);
        if by_nextval {
            self.last = Some(sequence);
        }
    }

    pub fn currval(&self, sequence: TableId, name: &str) -> SqlResult<i64> {
        self.values.get(&sequence).copied().ok_or_else(|| {
            SqlError::new(
                state::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("currval of sequence \"{name}\" is not yet defined in this session"),
            )
        })
    }

    pub fn lastval(&self) -> SqlResult<i64> {
        self.last.and_then(|id| self.values.get(&id)).copied().ok_or_else(|| {
            SqlError::new(
                state::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "lastval is not yet defined in this session",
            )
        })
    }

    /// DISCARD SEQUENCES.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Oid;

    fn options(increment: i64, min: i64, max: i64, cycle: bool) -> SequenceOptions {
        let start = if increment > 0 { min } else { max };
        SequenceOptions { ty: Oid::INT8, start, increment, min, max, cycle, cache: 1 }
    }

    fn at(last: i64, called: bool) -> SequenceState {
        SequenceState { last, called }
    }

    #[test]
    fn blocks_end_at_the_limit_and_wrap_only_with_cycle() {
        let up = options(1, 1, 9, false);
        assert_eq!(next_block("s", &up, at(1, false)).unwrap(), (1, 9));
        assert_eq!(next_block("s", &up, at(5, true)).unwrap(), (6, 4));
        let end = next_block("s", &up, at(9, true)).unwrap_err();
        assert_eq!(
            (end.code(), end.message()),
            ("2200H", "nextval: reached maximum value of sequence \"s\" (9)")
        );
        assert_eq!(next_block("s", &options(1, 1, 9, true), at(9, true)).unwrap(), (1, 9));
        let down = options(-2, -5, 5, false);
        assert_eq!(next_block("s", &down, at(5, false)).unwrap(), (5, 6));
        assert_eq!(
            next_block("s", &down, at(-5, true)).unwrap_err().message(),
            "nextval: reached minimum value of sequence \"s\" (-5)"
        );
        let wide = options(i64::MAX, 1, i64::MAX, false);
        assert_eq!(next_block("s", &wide, at(1, false)).unwrap(), (1, 1));
        assert!(next_block("s", &wide, at(1, true)).is_err());
    }

    #[test]
    fn currval_is_of_the_session() {
        let mut session = SessionSequences::default();
        assert_eq!(session.lastval().unwrap_err().code(), "55000");
        session.note(TableId(1), 5, true);
        session.note(TableId(2), 7, false);
        assert_eq!(session.currval(TableId(2), "b").unwrap(), 7);
        assert_eq!(session.lastval().unwrap(), 5, "setval does not change lastval");
    }
}
