//! Looks whether what is stored is what it should be: every row, every index, every constraint of every table.
//!
//! The tables are swept in the order of their keys, a bounded number of rows at a time, each time from where the last one
//! ended: whoever drives it holds nothing but a key. What belongs together is read at one timestamp, so others may write
//! meanwhile.
//!
//! What is held against what:
//! - a row decodes, stands under the key that its columns give, and obeys NOT NULL, CHECK and its foreign keys ([`rows`]);
//! - it has an entry in every index, which points back to it - so that no two rows share one in a unique index;
//! - an entry decodes, its row is there, and the row gives just this entry ([`entries`]).
//!
//! What must stay true: nothing is written, and nothing that is found is set right. Indexes that are being built or dropped
//! are passed over, and so is what a schema change has touched since the timestamp: what is dropped is removed from the
//! past, too.
//!
//! What it does not do: look below the transactions, at versions and locks. See `Db::check_layout` and
//! `Db::left_over_locks` in the transaction layer.

#[cfg(test)]
mod tests;
mod rows;
mod entries;

use meridian_storage::base::{Key, Span, Timestamp, keys};
use meridian_txn::{Db, KvBlock, ScanOptions, Txn, TxnOptions};

use crate::catalog::{Catalog, ElementState, IndexDescriptor, TableDescriptor, store};
use crate::error::SqlResult;
use crate::types::{Batch, text};

/// Rows, or entries, of one part of the sweep.
const ROWS_AT_A_TIME: u64 = 2000;

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// `schema.table`.
    pub table: String,
    /// Where it was seen.
    pub key: Key,
    /// What was seen, and what was expected.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table {}, key {}: {}", self.table, self.key, self.what)
    }
}

/// A part of the sweep.
#[derive(Debug, Default)]
pub struct Part {
    /// Rows and entries that were looked at.
    pub looked_at: u64,
    pub violations: Vec<Violation>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<Key>,
}

/// Where the sweep begins.
pub fn first_key() -> Key {
    Key::from(&[keys::TABLE][..])
}

/// Looks at some rows from `from` on, as they were at `at`.
pub async fn sweep(db: &Db, at: Timestamp, from: Key) -> SqlResult<Part> {
    let txn = db.begin(TxnOptions { read_only: true, as_of: Some(at), ..TxnOptions::default() });
    let catalog = store::load(&txn).await?;
    let mut part = Part { next: Some(from), ..Part::default() };
    while let Some(from) = part.next.take() {
        if part.looked_at >= ROWS_AT_A_TIME {
            part.next = Some(from);
            break;
        }
        let Some((table, index)) = first_at(&catalog, &from) else { break };
        part.next = one_index(&txn, &catalog, (table, index), from, &mut part).await?;
    }
    drop_touched(db, &catalog, &mut part.violations).await?;
    Ok(part)
}

/// The first index with keys at or above `from`.
fn first_at<'c>(catalog: &'c Catalog, from: &Key) -> Option<(&'c TableDescriptor, &'c IndexDescriptor)> {
    let tables = catalog.tables.values().filter(|t| t.is_table());
    tables
        .flat_map(|t| t.all_indexes().map(move |i| (&**t, i)))
        .filter(|(t, i)| i.state == ElementState::Public && span_of(t, i).end > *from)
        .min_by_key(|(t, i)| (t.id, i.id))
}

fn span_of(table: &TableDescriptor, index: &IndexDescriptor) -> Span {
    Span::prefix(keys::index_prefix(table.id.0, index.id.0))
}

/// Looks at an index from `from` on; where to go on.
async fn one_index(
    txn: &Txn,
    catalog: &Catalog,
    (table, index): (&TableDescriptor, &IndexDescriptor),
    from: Key,
    part: &mut Part,
) -> SqlResult<Option<Key>> {
    let span = span_of(table, index);
    let end = span.end.clone();
    let rest = Span::new(from.max(span.start), end.clone());
    let mut report = Report { name: qualified(catalog, table), violations: Vec::new() };
    let primary = index.id == table.primary.id;
    let rows = if primary { Some(rows::Rows::new(catalog, table)?) } else { None };
    let entries = if primary { None } else { Some(entries::Entries::new(catalog, table, index)?) };
    let mut scanner = txn.scan(rest, ScanOptions { limit: ROWS_AT_A_TIME, ..ScanOptions::default() });
    let (mut seen, mut last) = (0, None);
    while let Some(block) = scanner.next_block().await? {
        seen += block.len() as u64;
        last = block.len().checked_sub(1).map(|last| Key::new(block.key_bytes(last)));
        match (&rows, &entries) {
            (Some(rows), _) => rows.check(txn, &block, &mut report).await?,
            (_, Some(entries)) => entries.check(txn, &block, &mut report).await?,
            _ => {}
        }
    }
    part.looked_at += seen;
    part.violations.extend(report.violations);
    Ok(Some(last.filter(|_| seen >= ROWS_AT_A_TIME).map_or(end, |key| key.next())))
}

/// Forgets what was found in tables whose descriptors are others by now.
async fn drop_touched(db: &Db, catalog: &Catalog, violations: &mut Vec<Violation>) -> SqlResult<()> {
    if violations.is_empty() {
        return Ok(());
    }
    let txn = db.begin(TxnOptions { read_only: true, ..TxnOptions::default() });
    let newest = store::load(&txn).await?;
    let stands = |name: &str| {
        catalog.tables.values().any(|table| {
            let now = newest.tables.get(&table.id);
            qualified(catalog, table) == name && now.is_some_and(|now| now.version == table.version)
        })
    };
    violations.retain(|v| stands(&v.table));
    Ok(())
}

fn qualified(catalog: &Catalog, table: &TableDescriptor) -> String {
    format!("{}.{}", catalog.schema_name(table.schema), table.name)
}

/// What was found in a table.
struct Report {
    name: String,
    violations: Vec<Violation>,
}

impl Report {
    fn say(&mut self, key: &[u8], what: impl Into<String>) {
        self.violations.push(Violation {
            table: self.name.clone(),
            key: Key::copy_from(key),
            what: what.into(),
        });
    }
}

/// One row or entry of a block as a batch of its own; `None`, with a word about it, if it does not decode.
fn decode_alone(
    decoder: &crate::row::RowDecoder,
    block: &KvBlock,
    row: usize,
    report: &mut Report,
) -> Option<Batch> {
    let mut columns = decoder.columns();
    match decoder.decode_row(block.key(row), block.value(row), &mut columns) {
        Ok(()) => Some(Batch { columns: columns.into_iter().map(Into::into).collect(), rows: 1 }),
        Err(e) => {
            report.say(block.key(row), format!("cannot be decoded: {}", e.message()));
            None
        }
    }
}

/// `(a, b)=(1, two)`, of the columns of an index.
fn named_values(table: &TableDescriptor, index: &IndexDescriptor, batch: &Batch, row: usize) -> String {
    let context = crate::registry::EvalContext::detached();
    let context = context.text();
    let columns = index.key.iter().filter_map(|part| {
        let (position, column) = table.public_columns().enumerate().find(|(_, c)| c.id == part.column)?;
        let value = batch.columns[position].datum(row);
        let shown =
            if value.is_null() { "NULL".into() } else { text::output(column.ty.oid, &value, &context) };
        Some((column.name.clone(), shown))
    });
    let (names, values): (Vec<String>, Vec<String>) = columns.unzip();
    format!("({})=({})", names.join(", "), values.join(", "))
}
