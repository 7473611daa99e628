//! Lock records: whose a lock is, and how strong.
//!
//! Keys in [`Cf::Lock`]: the exclusive holder's record - an intent, or a lock without a value - stands at the key part
//! itself, so that a reader finds it by one lookup. Shared holders stand behind it, at `key part ++ transaction id`;
//! readers never look at them.

use crate::base::{Key, StorageError, StorageResult, Timestamp, TxnId};
use crate::engine::{Cf, IterOptions, Reader};

use super::key;

/// How strong a lock is, weakest first. The numbers are stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum LockStrength {
    /// Others may hold the same (`FOR SHARE`, `FOR KEY SHARE`, foreign keys).
    Shared = 1,
    /// Excludes all but shared holders (`FOR NO KEY UPDATE`).
    Update = 2,
    /// Excludes all others; readers without a lock pass (`FOR UPDATE`).
    Exclusive = 3,
    /// Exclusive, with a provisional version at the record's timestamp.
    Intent = 4,
}

impl LockStrength {
    fn from_u8(n: u8) -> Option<Self> {
        [Self::Shared, Self::Update, Self::Exclusive, Self::Intent].into_iter().find(|s| *s as u8 == n)
    }
}

/// What stands in the lock family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockRecord {
    pub txn: TxnId,
    /// The key at which the transaction's record is found.
    pub anchor: Key,
    /// The transaction's epoch: it grows when the transaction starts over under the same identity. Intents of
    /// earlier epochs are void.
    pub epoch: u32,
    /// The least timestamp at which the transaction can commit, as known here; for an intent, where its provisional
    /// version stands.
    pub write_ts: Timestamp,
    pub strength: LockStrength,
    /// The number, within the transaction, of the statement that wrote it.
    pub seq: u32,
}

const FORMAT: u8 = 1;
const FIXED_LEN: usize = 1 + 1 + 16 + 4 + 4 + 8 + 4;

impl LockRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.anchor.len());
        out.push(FORMAT);
        out.push(self.strength as u8);
        out.extend_from_slice(&self.txn.0.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.write_ts.wall.to_be_bytes());
        out.extend_from_slice(&self.write_ts.logical.to_be_bytes());
        out.extend_from_slice(&self.anchor);
        out
    }

    pub fn decode(bytes: &[u8]) -> StorageResult<Self> {
        Self::parse(bytes).ok_or_else(|| {
            StorageError::Corruption(format!("\"{}\" is not a lock record", bytes.escape_ascii()))
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[format, strength], bytes) = bytes.split_first_chunk()?;
        let (&txn, bytes) = bytes.split_first_chunk()?;
        let (&epoch, bytes) = bytes.split_first_chunk()?;
        let (&seq, bytes) = bytes.split_first_chunk()?;
        let (&wall, bytes) = bytes.split_first_chunk()?;
        let (&logical, anchor) = bytes.split_first_chunk()?;
        (format == FORMAT).then_some(())?;
        Some(LockRecord {
            txn: TxnId(u128::from_be_bytes(txn)),
            anchor: Key::copy_from(anchor),
            epoch: u32::from_be_bytes(epoch),
            write_ts: Timestamp::new(u64::from_be_bytes(wall), u32::from_be_bytes(logical)),
            strength: LockStrength::from_u8(strength)?,
            seq: u32::from_be_bytes(seq),
        })
    }

    pub fn is_intent(&self) -> bool {
        self.strength == LockStrength::Intent
    }
}

/// Where the lock of `holder` on `key` stands: shared holders beside each other, any other at the key itself.
pub fn lock_key(key: &[u8], strength: LockStrength, holder: TxnId) -> Vec<u8> {
    let mut out = key::encode_key(key);
    if strength == LockStrength::Shared {
        out.extend_from_slice(&holder.0.to_be_bytes());
    }
    out
}

/// The exclusive holder's record on `key`, if there is one.
pub fn exclusive_on(reader: &dyn Reader, key: &[u8]) -> StorageResult<Option<LockRecord>> {
    let found = reader.get(Cf::Lock, &key::encode_key(key))?;
    found.map(|bytes| LockRecord::decode(&bytes)).transpose()
}

/// Every replicated lock on `key`, the exclusive one first.
pub fn all_on(reader: &dyn Reader, key: &[u8]) -> StorageResult<Vec<LockRecord>> {
    let lower = key::encode_key(key);
    let mut upper = lower.clone();
    key::after_versions(&mut upper);
    let bounds =
        IterOptions { lower: Some(lower.into()), upper: Some(upper.into()), ..IterOptions::default() };
    let mut it = reader.iter(Cf::Lock, bounds);
    let mut found = Vec::new();
    it.seek_to_first();
    while it.valid() {
        found.push(LockRecord::decode(it.value())?);
        it.next();
    }
    it.status()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LockRecord {
        LockRecord {
            txn: TxnId(0x0102),
            anchor: Key::from("an\0chor"),
            epoch: 3,
            write_ts: Timestamp::new(4, 5),
            strength: LockStrength::Intent,
            seq: 6,
        }
    }

    /// These bytes are on disks. A change here is a change of the storage format.
    #[test]
    fn frozen() {
        let hex: String = record().encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "0104",
                "00000000000000000000000000000102",
                "00000003",
                "00000006",
                "0000000000000004",
                "00000005",
                "616e0063686f72"
            )
        );
    }

    #[test]
    fn decodes_what_was_encoded_and_refuses_damage() {
        let bytes = record().encode();
        assert_eq!(LockRecord::decode(&bytes).expect("well formed"), record());
        for n in 0..FIXED_LEN {
            assert!(LockRecord::decode(&bytes[..n]).is_err(), "{n} bytes");
        }
        for (at, with) in [(0, 2), (1, 0), (1, 5)] {
            let mut damaged = bytes.clone();
            damaged[at] = with;
            assert!(LockRecord::decode(&damaged).is_err());
        }
    }
}
