//! Which of many keys have never been written: asked before a bulk of new rows is stored.
//!
//! Keys in order are asked with one walk over each family instead of a lookup each: where the walk stands, every key
//! before the entry that it sees is known to be absent. A thousand rows appended to a table take one seek.
//!
//! What must stay true: "untouched" is said only of keys that have neither a lock nor a version, whoever's. The other
//! answer means nothing: when the walk has to seek for every key, it is given up, and lookups (which have filters) are
//! cheaper.

use crate::base::{Key, StorageResult};
use crate::engine::{Cf, EngineIter, IterOptions, Reader};

use super::key;

/// Seeks in a row that told of one key only, after which the walk is given up.
const PATIENCE: u32 = 16;

/// For each of `keys`, which ascend, whether it surely has neither lock nor version. Under latches on all of them.
pub fn untouched<'k>(
    reader: &dyn Reader,
    keys: impl ExactSizeIterator<Item = &'k Key> + DoubleEndedIterator + Clone,
) -> StorageResult<Vec<bool>> {
    let mut answers = Vec::with_capacity(keys.len());
    let Some(last) = keys.clone().next_back() else { return Ok(answers) };
    // What has been removed beyond the last key shall not be stepped over.
    let mut upper = key::encode_key(last);
    key::after_versions(&mut upper);
    let bounds = IterOptions { upper: Some(upper.into()), ..IterOptions::default() };
    let mut locks = Walk::new(reader, Cf::Lock, bounds.clone());
    let mut versions = Walk::new(reader, Cf::Data, bounds);
    let mut part = Vec::with_capacity(64);
    for key in keys {
        part.clear();
        key::push_key(key, &mut part);
        answers.push(locks.passes(&part)? && versions.passes(&part)?);
    }
    Ok(answers)
}

struct Walk<'a> {
    it: Box<dyn EngineIter + 'a>,
    /// Where the iterator was sent last: nothing stands from there to where it is.
    from: Vec<u8>,
    sent: bool,
    vain: u32,
}

impl<'a> Walk<'a> {
    fn new(reader: &'a dyn Reader, cf: Cf, bounds: IterOptions) -> Self {
        Walk { it: reader.iter(cf, bounds), from: Vec::new(), sent: false, vain: 0 }
    }

    /// Whether nothing begins with `part`, as far as the walk knows.
    fn passes(&mut self, part: &[u8]) -> StorageResult<bool> {
        if self.vain >= PATIENCE {
            return Ok(false);
        }
        let known = self.sent && part >= self.from.as_slice() && !(self.it.valid() && self.it.key() < part);
        if known {
            self.vain = 0;
        } else {
            self.vain += 1;
            self.it.seek(part);
            self.it.status()?;
            self.sent = true;
            self.from.clear();
            self.from.extend_from_slice(part);
        }
        Ok(!(self.it.valid() && self.it.key().starts_with(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Timestamp, TxnId};
    use crate::engine::{Engine, MemEngine, WriteBatch};
    use crate::mvcc::{LockRecord, LockStrength, write};

    fn key(n: u32) -> Key {
        Key::copy_from(format!("k{n:06}").as_bytes())
    }

    #[test]
    fn only_keys_without_locks_and_versions_are_untouched() {
        let engine = MemEngine::new();
        let mut batch = WriteBatch::new();
        write::put(&mut batch, &key(10), Timestamp::new(5, 0), b"v");
        write::delete(&mut batch, &key(500), Timestamp::new(5, 0));
        let record = LockRecord {
            txn: TxnId(1),
            anchor: key(1),
            epoch: 0,
            write_ts: Timestamp::new(9, 0),
            strength: LockStrength::Exclusive,
            seq: 1,
        };
        write::put_lock(&mut batch, &key(700), &record);
        let shared = LockRecord { strength: LockStrength::Shared, ..record };
        write::put_lock(&mut batch, &key(800), &shared);
        engine.write(&batch).expect("written");
        let keys: Vec<Key> = (0..1000).map(key).collect();
        let answers = untouched(&engine, keys.iter()).expect("read");
        let touched: Vec<usize> = (0..1000).filter(|&n| !answers[n]).collect();
        assert_eq!(touched, [10, 500, 700, 800]);
    }

    #[test]
    fn a_walk_that_does_not_pay_is_given_up_and_says_nothing_wrong() {
        let engine = MemEngine::new();
        let mut batch = WriteBatch::new();
        for n in 0..100 {
            write::put(&mut batch, &key(n), Timestamp::new(5, 0), b"v");
        }
        engine.write(&batch).expect("written");
        let keys: Vec<Key> = (0..1000).map(key).collect();
        let answers = untouched(&engine, keys.iter()).expect("read");
        assert!(answers.iter().all(|untouched| !untouched));
    }
}
