//! Rows to index keys and back, over an integer, a text, a numeric and a timestamp, in both directions.
//!
//! The index is not unique, so that each key ends with the primary key, as most do. The unit is one key; decoding takes a block
//! of them, as a scan of the index alone does, and yields columns.

use std::cell::LazyCell;

use criterion::{Criterion, Throughput};
use meridian_sql::row::{IndexEncoder, RowBuf, RowDecoder};
use meridian_sql::types::Datum;
use meridian_sql::types::numeric::Numeric;
use meridian_storage::mvcc;
use meridian_txn::KvBlock;

use crate::session::Database;

const SCHEMA: &str = "
    create table event (id bigint primary key, tenant int not null, name text not null, amount numeric(12, 2) not null,
        at timestamptz not null);
    create index ascending on event (tenant, name, amount, at);
    create index descending on event (tenant desc, name desc, amount desc, at desc)";

/// In a block, and so in a round of a scan.
const ROWS: usize = 100;

struct Index {
    encoder: IndexEncoder,
    decoder: RowDecoder,
    rows: Vec<Vec<Datum>>,
    /// The entries of all rows.
    block: KvBlock,
}

impl Index {
    fn new(name: &str) -> Self {
        let table = Database::with(SCHEMA).table("event");
        let index = table.indexes.iter().find(|index| index.name == name).expect("an index of the schema");
        let encoder = IndexEncoder::secondary(&table, index).expect("ordered types");
        let wanted: Vec<_> = table.columns.iter().map(|column| column.id).collect();
        let decoder = RowDecoder::secondary(&table, index, &wanted).expect("the index holds every column");
        let rows: Vec<_> = (0..ROWS as i64).map(row).collect();
        let (mut block, mut buf) = (mvcc::KvBlock::new(), RowBuf::default());
        for row in &rows {
            let key = encoder.encode_key(row).expect("no value is too long");
            block.push(&key, &encoder.encode_value(row, &mut buf).expect("no value is too long"));
        }
        let block = KvBlock::from(block);
        let decoded = decoder.decode_block(&block).expect("what was encoded");
        for (n, row) in rows.iter().enumerate() {
            let read: Vec<_> = decoded.columns.iter().map(|column| column.datum(n)).collect();
            assert_eq!(read, *row, "a row reads back as it was written");
        }
        Index { encoder, decoder, rows, block }
    }
}

/// The `n`th event: amounts with and without trailing zeros, a minute apart.
fn row(n: i64) -> Vec<Datum> {
    vec![
        Datum::Int8(1_000_000 + n),
        Datum::Int4((n % 7) as i32),
        Datum::text(&format!("payment received, order {n:06}")),
        Datum::Numeric(Box::new(Numeric::from_i128(i128::from(n) * 12_347, 2))),
        Datum::Timestamp(820_000_000_000_000 + n * 60_000_000),
    ]
}

pub fn benches(c: &mut Criterion) {
    for direction in ["ascending", "descending"] {
        let index = LazyCell::new(|| Index::new(direction));
        let mut group = c.benchmark_group(format!("key_codec/{direction}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("encode", |b| {
            let Index { encoder, rows, .. } = &*index;
            b.iter(|| {
                rows.iter().map(|row| encoder.encode_key(row).expect("as before").len()).sum::<usize>()
            });
        });
        group.bench_function("decode", |b| {
            let Index { decoder, block, .. } = &*index;
            b.iter(|| decoder.decode_block(block).expect("as before"));
        });
        group.finish();
    }
}
