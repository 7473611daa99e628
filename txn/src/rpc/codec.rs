//! Batches to bytes and back, for the transport; and the byte form of range descriptors as `meta` rows hold them, which
//! is the storage layer's: it writes the first one when a cluster begins.

use bytes::Bytes;
use meridian_storage::replica::{Merging, RangeDescriptor, ReplicaDescriptor, ReplicaKind};

use super::error::Reply;
use super::wire::{Input, Malformed, Wire, wire_enum, wire_struct};
use super::{BatchRequest, BatchResponse, KvError};

/// The first byte of every message. Another version is refused, not guessed at.
const VERSION: u8 = 4;

wire_enum!(ReplicaKind { 1 => Voter, 2 => Learner, 3 => Incoming, 4 => Outgoing });
wire_struct!(ReplicaDescriptor { node, replica, kind });
wire_enum!(Merging {
    1 => No,
    2 => Absorbing { right, generation, attempt },
    3 => GivingUp { right, generation, attempt },
    4 => Frozen { left, attempt },
});
wire_struct!(RangeDescriptor { range, start, end, generation, replicas, next_replica, merging });

pub(crate) fn encode<T: Wire>(message: &T) -> Bytes {
    let mut out = vec![VERSION];
    message.put(&mut out);
    out.into()
}

pub(crate) fn decode<T: Wire>(bytes: Bytes) -> Result<T, Malformed> {
    let mut input = Input::new(bytes);
    if input.byte()? != VERSION {
        return Err(Malformed);
    }
    let message = T::take(&mut input)?;
    if input.is_empty() { Ok(message) } else { Err(Malformed) }
}

pub fn encode_request(batch: &BatchRequest) -> Bytes {
    encode(batch)
}

pub fn decode_request(bytes: Bytes) -> Result<BatchRequest, Malformed> {
    decode(bytes)
}

pub fn encode_reply(reply: Result<BatchResponse, KvError>) -> Bytes {
    encode(&match reply {
        Ok(ok) => Reply { ok: Some(ok), err: None },
        Err(err) => Reply { ok: None, err: Some(err) },
    })
}

pub fn decode_reply(bytes: Bytes) -> Result<Result<BatchResponse, KvError>, Malformed> {
    match decode(bytes)? {
        Reply { ok: Some(ok), err: None } => Ok(Ok(ok)),
        Reply { ok: None, err: Some(err) } => Ok(Err(err)),
        _ => Err(Malformed),
    }
}

pub fn encode_descriptor(descriptor: &RangeDescriptor) -> Bytes {
    descriptor.encode().into()
}

pub fn decode_descriptor(bytes: Bytes) -> Result<RangeDescriptor, Malformed> {
    RangeDescriptor::decode(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meridian_storage::base::{Key, NodeId, RangeId, ReplicaId, Span, Timestamp, TxnId};

    use super::*;
    use crate::record::{TxnRecord, TxnStatus};
    use crate::rpc::*;

    fn ts(n: u64) -> Timestamp {
        Timestamp::new(n, n as u32)
    }

    fn meta() -> TxnMeta {
        TxnMeta {
            id: TxnId(0xfeed << 64),
            anchor: "a".into(),
            epoch: 3,
            sequence: 300,
            priority: 7,
            isolation: Isolation::Snapshot,
            min_ts: ts(1),
            read_ts: ts(2),
            write_ts: Timestamp::MAX,
        }
    }

    fn descriptor() -> RangeDescriptor {
        RangeDescriptor {
            range: RangeId(9),
            start: "b".into(),
            end: "c".into(),
            generation: 1 << 40,
            replicas: vec![ReplicaDescriptor {
                node: NodeId(4),
                replica: ReplicaId(5),
                kind: ReplicaKind::Incoming,
            }],
            next_replica: ReplicaId(6),
            merging: Merging::Absorbing { right: RangeId(10), generation: 7, attempt: 1 << 40 },
        }
    }

    fn edge() -> WaitEdge {
        WaitEdge { waiter: TxnId(1), on: TxnId(2), priority: 3, min_ts: ts(4) }
    }

    fn every_request() -> Vec<Request> {
        let key = Key::from("k");
        let span = Span::new("k".into(), "m".into());
        let refresh = vec![RefreshSpan { span: span.clone(), from: ts(5), presence: true, locked: ts(6) }];
        let writes = vec![(key.clone(), Some(Bytes::from_static(b"v"))), (Key::MIN, None)];
        let (keys, spans) = (vec![key.clone()], vec![span.clone()]);
        vec![
            Request::Get { key: key.clone(), lock: Some(LockStrength::NoKeyUpdate) },
            Request::Scan { span: span.clone(), reverse: true, lock: None },
            Request::CommitOnePhase {
                writes: writes.clone(),
                refresh: refresh.clone(),
                refresh_complete: true,
            },
            Request::PutIntents { writes, refresh: refresh.clone() },
            Request::RemoveIntents { keys: keys.clone() },
            Request::Refresh { spans: refresh, to: ts(8) },
            Request::ReleaseLocks { txn: TxnId(1), spans: spans.clone() },
            Request::EndTxn {
                how: EndKind::Stage,
                intents: keys.clone(),
                spans: vec![IntentSpan { span: span.clone(), private: true }],
                in_flight: keys.clone(),
                pinned: true,
            },
            Request::HeartbeatTxn { now: ts(1), pinned: true },
            Request::PushTxn {
                pushee: meta(),
                pusher: Some(meta()),
                kind: PushKind::Timestamp(ts(4)),
                now: ts(3),
                active: ts(2),
                edges: vec![edge()],
            },
            Request::QueryTxn { txn: meta() },
            Request::QueryIntent { key: key.clone(), txn: meta() },
            Request::RecoverTxn { txn: meta(), all_found: false },
            Request::RemoveRecord { txn: TxnId(2), anchor: key.clone() },
            Request::ResolveIntents {
                txn: TxnId(3),
                epoch: 1,
                to: Resolution::Committed(ts(9)),
                keys,
                spans,
            },
            Request::ClearRange { span },
            Request::Gc { threshold: ts(1) },
            Request::AdminSplit { key: key.clone(), right: RangeId(2) },
            Request::AdminMerge { at: key },
            Request::RangeStats,
            Request::OldLocks { before: ts(1), from: "k".into() },
        ]
    }

    fn request() -> BatchRequest {
        let header = Header {
            range: RangeId(1),
            generation: 2,
            now: ts(3),
            gateway: NodeId(4),
            txn: Some(meta()),
            read_ts: ts(5),
            uncertainty_limit: ts(6),
            can_forward_read: true,
            maybe_applied: true,
            wait: WaitPolicy::Skip,
            lock_timeout: Some(Duration::from_millis(7)),
            max_rows: 8,
            max_bytes: 9,
        };
        BatchRequest { header, requests: every_request() }
    }

    fn response() -> BatchResponse {
        let mut rows = KvBlockBuilder::new();
        rows.push(b"k", b"value");
        rows.push(b"", b"");
        let record = TxnRecord {
            meta: meta(),
            status: TxnStatus::Staging,
            heartbeat: ts(1),
            intents: vec!["x".into()],
            spans: vec![IntentSpan { span: Span::new("a".into(), "b".into()), private: true }],
            in_flight: vec!["y".into()],
            pinned: true,
        };
        let stats =
            RangeStats { bytes: 1, reads_per_s: 2, writes_per_s: 3, locks_held: 4, requests_waiting: 5 };
        let lock = OldLock { key: "k".into(), txn: TxnId(1), anchor: "a".into(), epoch: 2, write_ts: ts(3) };
        BatchResponse {
            ts: ts(1),
            now: ts(2),
            responses: vec![
                Response::Done,
                Response::Get { value: Some(Bytes::from_static(b"v")), skipped: false },
                Response::Scan { rows: rows.build(), resume: Some("l".into()) },
                Response::Commit { ts: ts(3) },
                Response::Record { record: Some(Box::new(record)), waiters: vec![edge()] },
                Response::Found { found: true },
                Response::Split { left: descriptor(), right: descriptor() },
                Response::Merged { descriptor: descriptor() },
                Response::Stats { descriptor: descriptor(), stats },
                Response::Locks { locks: vec![lock], resume: "k".into() },
            ],
        }
    }

    fn every_error() -> Vec<KvError> {
        let key = Key::from("k");
        vec![
            KvError::NotLeaseholder {
                range: RangeId(1),
                leaseholder: Some(NodeId(2)),
                descriptor: Some(Box::new(descriptor())),
            },
            KvError::RangeNotFound { range: RangeId(1) },
            KvError::RangeMismatch { descriptors: vec![descriptor()] },
            KvError::Overloaded { range: RangeId(1) },
            KvError::WriteTooOld { key: key.clone(), ts: ts(1) },
            KvError::ReadWithinUncertainty { key: key.clone(), ts: ts(1) },
            KvError::RefreshNeeded { ts: ts(1) },
            KvError::RefreshFailed { key: key.clone(), ts: ts(1) },
            KvError::TxnAborted { reason: AbortReason::LocksLost },
            KvError::LockNotAvailable { key: key.clone() },
            KvError::LockTimeout { key },
            KvError::Deadlock { cycle: vec![TxnId(1), TxnId(2)] },
            KvError::SnapshotTooOld { threshold: ts(1) },
            KvError::Ambiguous { reason: "a".into() },
            KvError::Unavailable { reason: "b".into() },
            KvError::Unsupported { reason: "c".into() },
            KvError::internal("d"),
            KvError::Corruption { reason: "e".into() },
            KvError::Io { reason: "f".into() },
            KvError::Fenced { node: NodeId(2), reason: "e".into() },
        ]
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        assert_eq!(decode_request(encode_request(&request())), Ok(request()));
        assert_eq!(decode_reply(encode_reply(Ok(response()))), Ok(Ok(response())));
        for e in every_error() {
            assert_eq!(decode_reply(encode_reply(Err(e.clone()))), Ok(Err(e)));
        }
        assert_eq!(decode_descriptor(encode_descriptor(&descriptor())), Ok(descriptor()));
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let good = encode_request(&request());
        for n in 0..good.len() {
            assert_eq!(decode_request(good.slice(..n)), Err(Malformed), "{n} bytes");
        }
        let mut longer = good.to_vec();
        longer.push(0);
        assert_eq!(decode_request(longer.into()), Err(Malformed));
        let good = encode_reply(Ok(response()));
        for n in 0..good.len() {
            assert!(decode_reply(good.slice(..n)).is_err(), "{n} bytes");
        }
    }

    /// Damage may decode to another message, but never panics.
    #[test]
    fn damaged_messages_do_not_panic() {
        for good in [encode_request(&request()), encode_reply(Ok(response()))] {
            for at in 0..good.len() {
                for damage in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let mut bad = good.to_vec();
                    bad[at] = damage;
                    let _ = decode_request(bad.clone().into());
                    if let Ok(Ok(response)) = decode_reply(bad.into()) {
                        let _ = format!("{response:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_length_beyond_the_input_does_not_allocate() {
        let mut bytes = vec![VERSION];
        crate::rpc::wire::put_varint(u64::MAX, &mut bytes);
        assert_eq!(decode::<Vec<Key>>(bytes.clone().into()), Err(Malformed));
        assert_eq!(decode::<Bytes>(bytes.into()), Err(Malformed));
    }
}
