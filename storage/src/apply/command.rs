//! The byte form of a command in a log entry: `format, trigger kind, [trigger], batch`. The batch is the rest of the
//! entry, so that it is neither copied nor measured again when it is applied.

use bytes::Bytes;

use crate::base::StorageResult;
use crate::base::wire::{Reader, put_bytes, put_timestamp};
use crate::replica::{Command, RangeDescriptor, Trigger};

const FORMAT: u8 = 1;
const NONE: u8 = 0;
const SPLIT: u8 = 1;
const CHANGE_REPLICAS: u8 = 2;
const RAISE_GC_THRESHOLD: u8 = 3;
const TRUNCATE: u8 = 4;
const MARK: u8 = 5;
const MERGE: u8 = 6;

/// A command as it comes out of the log. `batch` is in byte form and not checked yet.
#[derive(Debug)]
pub struct LoggedCommand {
    pub trigger: Option<Trigger>,
    pub batch: Bytes,
}

pub fn encode(command: &Command) -> Vec<u8> {
    let batch = command.batch.as_bytes();
    let mut out = Vec::with_capacity(2 + batch.len());
    out.push(FORMAT);
    match &command.trigger {
        None => out.push(NONE),
        Some(Trigger::Split { left, right }) => {
            out.push(SPLIT);
            put_bytes(&mut out, &left.encode());
            put_bytes(&mut out, &right.encode());
        }
        Some(Trigger::ChangeReplicas { descriptor }) => {
            out.push(CHANGE_REPLICAS);
            put_bytes(&mut out, &descriptor.encode());
        }
        Some(Trigger::RaiseGcThreshold { to }) => {
            out.push(RAISE_GC_THRESHOLD);
            put_timestamp(&mut out, *to);
        }
        Some(Trigger::Truncate { index }) => {
            out.push(TRUNCATE);
            out.extend_from_slice(&index.to_be_bytes());
        }
        Some(Trigger::Mark { descriptor }) => {
            out.push(MARK);
            put_bytes(&mut out, &descriptor.encode());
        }
        Some(Trigger::Merge { left, right, until }) => {
            out.push(MERGE);
            put_bytes(&mut out, &left.encode());
            put_bytes(&mut out, &right.encode());
            put_timestamp(&mut out, *until);
        }
    }
    out.extend_from_slice(batch);
    out
}

/// Whether an entry merges two ranges, without a look at the rest.
pub fn is_merge(data: &[u8]) -> bool {
    data.starts_with(&[FORMAT, MERGE])
}

pub fn decode(data: Bytes) -> StorageResult<LoggedCommand> {
    let mut r = Reader::new(data, "a command in the log");
    if r.u8()? != FORMAT {
        return Err(r.malformed());
    }
    let trigger = match r.u8()? {
        NONE => None,
        SPLIT => Some(Trigger::Split {
            left: RangeDescriptor::decode(r.bytes()?)?,
            right: RangeDescriptor::decode(r.bytes()?)?,
        }),
        CHANGE_REPLICAS => Some(Trigger::ChangeReplicas { descriptor: RangeDescriptor::decode(r.bytes()?)? }),
        RAISE_GC_THRESHOLD => Some(Trigger::RaiseGcThreshold { to: r.timestamp()? }),
        TRUNCATE => Some(Trigger::Truncate { index: r.u64()? }),
        MARK => Some(Trigger::Mark { descriptor: RangeDescriptor::decode(r.bytes()?)? }),
        MERGE => Some(Trigger::Merge {
            left: RangeDescriptor::decode(r.bytes()?)?,
            right: RangeDescriptor::decode(r.bytes()?)?,
            until: r.timestamp()?,
        }),
        _ => return Err(r.malformed()),
    };
    Ok(LoggedCommand { trigger, batch: r.rest() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Key, RangeId, ReplicaId, Timestamp};
    use crate::engine::{Cf, WriteBatch};

    #[test]
    fn every_trigger_survives_the_round_trip() {
        let descriptor = RangeDescriptor {
            range: RangeId(3),
            start: Key::from("a"),
            end: Key::from("b"),
            generation: 1,
            replicas: vec![],
            next_replica: ReplicaId(1),
            merging: Default::default(),
        };
        let triggers = [
            None,
            Some(Trigger::Split { left: descriptor.clone(), right: descriptor.clone() }),
            Some(Trigger::ChangeReplicas { descriptor: descriptor.clone() }),
            Some(Trigger::Mark { descriptor: descriptor.clone() }),
            Some(Trigger::Merge { left: descriptor.clone(), right: descriptor, until: Timestamp::new(7, 1) }),
            Some(Trigger::RaiseGcThreshold { to: Timestamp::new(5, 6) }),
            Some(Trigger::Truncate { index: 9 }),
        ];
        for trigger in triggers {
            let mut batch = WriteBatch::new();
            batch.put(Cf::Data, b"k", b"v");
            let command = Command { term: 4, batch, trigger };
            let back = decode(encode(&command).into()).expect("well formed");
            assert_eq!(back.batch, command.batch.as_bytes());
            assert_eq!(format!("{:?}", back.trigger), format!("{:?}", command.trigger));
        }
        assert!(decode(Bytes::from_static(&[FORMAT])).is_err());
        assert!(decode(Bytes::from_static(&[9, 0])).is_err());
    }
}
