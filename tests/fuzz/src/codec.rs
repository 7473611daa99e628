//! The bytes that stores keep: version keys, values, locks, records, descriptors, commands, snapshots.
//!
//! Whatever the bytes: taking them apart never panics. What was encoded decodes to itself. Encoded keys order as what they
//! stand for.

use bytes::Bytes;
use meridian_sql::catalog::codec as catalog;
use meridian_sql::catalog::{
    DatabaseDescriptor, RoleDescriptor, SchemaDescriptor, TableDescriptor, TableStatistics,
};
use meridian_storage::apply::{ApplyBatch, Bounds, command, snapshot::SnapshotHead};
use meridian_storage::base::{Key, RangeId, Span, Timestamp, TxnId, keys};
use meridian_storage::engine::{Cf, WriteBatch};
use meridian_storage::mvcc::value::{self, Origin};
use meridian_storage::mvcc::{LockRecord, LockStrength, key, lock};
use meridian_storage::replica::{Command, RangeDescriptor};
use meridian_txn::record::TxnRecord;

use super::choices::Choices;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.u8() % 6 {
        0 => versions(&mut choices),
        1 => values(choices.all()),
        2 => locks(&mut choices),
        3 => descriptors(choices.all()),
        4 => commands(choices.all()),
        _ => catalogs(choices.all()),
    }
}

fn timestamp(choices: &mut Choices<'_>) -> Timestamp {
    Timestamp::new(choices.u64(), choices.u32())
}

fn versions(choices: &mut Choices<'_>) {
    let (a_ts, b_ts) = (timestamp(choices), timestamp(choices));
    let (a, b) = (choices.some_bytes(), choices.some_bytes());
    let (a_raw, b_raw) = (key::encode_version(a, a_ts), key::encode_version(b, b_ts));
    assert_eq!(a_raw.cmp(&b_raw), a.cmp(b).then(b_ts.cmp(&a_ts)), "{a:?} at {a_ts}, {b:?} at {b_ts}");
    let (part, ts) = key::split_version(&a_raw).expect("a version that was encoded");
    let mut decoded = Vec::new();
    key::decode_key(part, &mut decoded).expect("a key that was encoded");
    assert_eq!((&decoded[..], ts), (a, a_ts));
    if a < b {
        let (lower, upper) = key::bounds(&Span::new(a.into(), b.into()));
        assert!(*lower <= *a_raw && *a_raw < *upper && *upper <= *b_raw);
    }
    if let Some(end) = Key::from(a).prefix_end() {
        assert_eq!(b.starts_with(a), a <= b && *b < *end);
    }
    assert_eq!(keys::meta_key(&a.into()).cmp(&keys::meta_key(&b.into())), meta_order(a, b));
    let raw = choices.all();
    if let Ok((part, _)) = key::split_version(raw) {
        let _ = key::decode_key(part, &mut Vec::new());
    }
    let _ = key::decode_key(raw, &mut Vec::new());
}

/// The first level comes before the second, and each is in the order of the ends.
fn meta_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let second = |end: &[u8]| *end > [keys::SYSTEM][..];
    second(a).cmp(&second(b)).then(a.cmp(b))
}

fn values(raw: &[u8]) {
    if let Ok(decoded) = value::decode(raw) {
        let origin = if value::is_committed_at_once(raw) { Origin::Committed } else { Origin::Provisional };
        let (header, rest) = value::parts(decoded, origin);
        assert_eq!([&header[..], rest].concat(), raw);
    }
    for origin in [Origin::Committed, Origin::Provisional] {
        let (header, rest) = value::parts(Some(raw), origin);
        let stored = [&header[..], rest].concat();
        assert_eq!(value::decode(&stored).expect("a value that was encoded"), Some(raw));
        assert_eq!(value::is_committed_at_once(&stored), origin == Origin::Committed);
    }
}

fn locks(choices: &mut Choices<'_>) {
    use LockStrength::{Exclusive, Intent, Shared, Update};
    let strength = choices.one_of(&[Shared, Update, Exclusive, Intent]);
    let record = LockRecord {
        txn: TxnId(u128::from(choices.u64()) << 64 | u128::from(choices.u64())),
        epoch: choices.u32(),
        seq: choices.u32(),
        write_ts: timestamp(choices),
        strength,
        anchor: choices.some_bytes().into(),
    };
    assert_eq!(LockRecord::decode(&record.encode()).expect("a lock that was encoded"), record);
    let raw = choices.all();
    if let Ok(record) = LockRecord::decode(raw) {
        assert_eq!(record.encode(), raw);
    }
    let at = lock::lock_key(raw, strength, record.txn);
    assert!(at.starts_with(&key::encode_key(raw)));
    if let Ok(record) = TxnRecord::decode(Bytes::copy_from_slice(raw)) {
        let again = TxnRecord::decode(record.encode()).expect("a record that was encoded");
        assert_eq!(again.encode(), record.encode());
    }
}

fn descriptors(raw: &[u8]) {
    if let Ok(descriptor) = RangeDescriptor::decode(Bytes::copy_from_slice(raw)) {
        let _ = (descriptor.span(), descriptor.is_joint(), descriptor.voters().count());
        let again = RangeDescriptor::decode(descriptor.encode().into());
        assert_eq!(again.expect("a descriptor that was encoded"), descriptor);
    }
    if let Ok(head) = SnapshotHead::decode(Bytes::copy_from_slice(raw)) {
        let again = SnapshotHead::decode(head.encode().into()).expect("a head that was encoded");
        assert_eq!(again.encode(), head.encode());
    }
}

fn commands(raw: &[u8]) {
    let bounds = Bounds::new(RangeId(1), &Span::new("a".into(), "m".into()));
    let _ = ApplyBatch::default().add(&bounds, raw);
    for op in WriteBatch::ops_of(raw) {
        if op.is_err() {
            break;
        }
    }
    if let Ok(batch) = WriteBatch::from_bytes(raw) {
        assert_eq!(batch.ops().count(), batch.len());
        let mut copy = WriteBatch::new();
        copy.append(&batch);
        assert_eq!(copy.ops().count(), batch.len());
    }
    if let Ok(logged) = command::decode(Bytes::copy_from_slice(raw)) {
        let _ = ApplyBatch::default().add(&bounds, &logged.batch);
        let mut batch = WriteBatch::new();
        batch.put(Cf::Data, b"k", raw);
        let again = command::decode(
            command::encode(&Command { term: 1, batch, trigger: logged.trigger.clone() }).into(),
        );
        let again = again.expect("a command that was encoded");
        assert_eq!(format!("{:?}", again.trigger), format!("{:?}", logged.trigger));
    }
}

fn catalogs(raw: &[u8]) {
    fn one<T: catalog::Stored>(raw: &[u8]) {
        if let Ok(found) = catalog::decode::<T>(raw) {
            let bytes = catalog::encode(&found);
            let Ok(again) = catalog::decode::<T>(&bytes) else { panic!("a descriptor that was encoded") };
            assert_eq!(catalog::encode(&again), bytes);
        }
    }
    one::<TableDescriptor>(raw);
    one::<SchemaDescriptor>(raw);
    one::<DatabaseDescriptor>(raw);
    one::<RoleDescriptor>(raw);
    one::<TableStatistics>(raw);
}
