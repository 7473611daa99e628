//! ANALYZE: reads a table and counts.
//!
//! All rows are counted. Values are looked at up to a bound; beyond it what was seen stands for the rest.
//! Distinct values are counted exactly up to a few thousand, then estimated by the smallest hashes (Bar-Yossef et al.,
//! "Counting distinct elements in a data stream", 2002).

use std::collections::BTreeSet;
use std::hash::Hasher;

use meridian_txn::ScanOptions;

use super::ExecContext;
use super::keys::KeyColumn;
use super::write::public_columns;
use crate::catalog::{ColumnStatistics, TableDescriptor, TableStatistics};
use crate::error::SqlResult;
use crate::row::{IndexEncoder, RowDecoder, ValueRef};
use crate::types::Column;

/// Rows whose values are looked at.
const SAMPLED_ROWS: usize = 300_000;
/// Smallest hashes that are kept per column.
const KEPT: usize = 2048;

#[derive(Default)]
struct Sketch {
    smallest: BTreeSet<u64>,
    nulls: u64,
    bytes: u64,
    values: u64,
}

impl Sketch {
    fn add(&mut self, key: &KeyColumn, column: &Column, rows: usize) {
        let mut bytes = Vec::new();
        for row in 0..rows {
            let value = ValueRef::of_column(column, row);
            if value.is_null() {
                self.nulls += 1;
                continue;
            }
            self.values += 1;
            bytes.clear();
            if key.encode(&mut bytes, value).is_err() {
                // A type that cannot be compared: only its NULLs are counted.
                continue;
            }
            self.bytes += bytes.len() as u64;
            let mut hasher = rustc_hash::FxHasher::default();
            hasher.write(&bytes);
            self.keep(mix(hasher.finish()));
        }
    }

    fn keep(&mut self, hash: u64) {
        if self.smallest.len() == KEPT && self.smallest.last().is_some_and(|largest| hash >= *largest) {
            return;
        }
        self.smallest.insert(hash);
        if self.smallest.len() > KEPT {
            self.smallest.pop_last();
        }
    }

    fn distinct(&self) -> f64 {
        match self.smallest.last() {
            Some(largest) if self.smallest.len() == KEPT => {
                (KEPT - 1) as f64 / (*largest as f64 / u64::MAX as f64)
            }
            _ => self.smallest.len() as f64,
        }
    }

    fn finish(&self, rows: f64, sampled: f64) -> ColumnStatistics {
        let seen = self.distinct();
        // Nearly all different: more rows, more values. Otherwise the values are taken to be all seen.
        let distinct = if seen > 0.1 * sampled { seen * rows / sampled.max(1.0) } else { seen };
        ColumnStatistics {
            distinct,
            null_fraction: if sampled > 0.0 { self.nulls as f64 / sampled } else { 0.0 },
            width: if self.values > 0 { self.bytes as f64 / self.values as f64 } else { 0.0 },
        }
    }
}

/// Spreads a hash over all bits (the finalizer of SplitMix64).
fn mix(mut h: u64) -> u64 {
    h ^= h >> 30;
    h = h.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h ^= h >> 27;
    h = h.wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// The statistics of a table as the transaction sees it.
pub async fn analyze(ctx: &ExecContext, table: &TableDescriptor) -> SqlResult<TableStatistics> {
    let columns: Vec<_> = public_columns(table).collect();
    let ids: Vec<_> = columns.iter().map(|c| c.id).collect();
    let decoder = RowDecoder::primary(table, &ids)?;
    let keys: Vec<KeyColumn> = columns.iter().map(|c| KeyColumn::equality(c.ty.oid)).collect();
    let mut sketches: Vec<Sketch> = columns.iter().map(|_| Sketch::default()).collect();
    let mut scanner = ctx.txn().scan(IndexEncoder::primary(table)?.span(), ScanOptions::default());
    let (mut rows, mut sampled) = (0usize, 0usize);
    while let Some(block) = scanner.next_block().await? {
        ctx.check_cancel()?;
        rows += block.len();
        if sampled >= SAMPLED_ROWS {
            continue;
        }
        let batch = decoder.decode_block(&block)?;
        sampled += batch.rows;
        for ((sketch, key), column) in sketches.iter_mut().zip(&keys).zip(&batch.columns) {
            sketch.add(key, column, batch.rows);
        }
    }
    let finish = |s: &Sketch| s.finish(rows as f64, sampled as f64);
    Ok(TableStatistics {
        rows: rows as f64,
        columns: ids.into_iter().zip(sketches.iter().map(finish)).collect(),
    })
}
