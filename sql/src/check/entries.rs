//! From the entries of a secondary index to their rows.

use meridian_txn::{KvBlock, Txn};

use super::rows::Index;
use super::{Report, named_values};
use crate::catalog::{Catalog, IndexDescriptor, TableDescriptor};
use crate::error::SqlResult;
use crate::row::RowDecoder;
use crate::schema_change::backfill::all_columns;
use crate::types::Batch;

/// What every entry of an index is held against.
pub struct Entries<'c> {
    table: &'c TableDescriptor,
    index: Index<'c>,
    decoder: RowDecoder,
}

impl<'c> Entries<'c> {
    pub fn new(catalog: &Catalog, table: &'c TableDescriptor, index: &'c IndexDescriptor) -> SqlResult<Self> {
        Ok(Entries {
            table,
            index: Index::new(catalog, table, index)?,
            decoder: RowDecoder::primary(table, &all_columns(table))?,
        })
    }

    /// The row of every entry is there, and gives this entry.
    pub async fn check(&self, txn: &Txn, block: &KvBlock, report: &mut Report) -> SqlResult<()> {
        let name = &self.index.descriptor.name;
        let mut rows = Vec::with_capacity(block.len());
        let mut from = Vec::with_capacity(block.len());
        for (entry, value) in block.iter() {
            match self.index.finder.primary_key(entry, value) {
                Ok(row) => {
                    rows.push(row);
                    from.push((entry, value));
                }
                Err(e) => {
                    report.say(entry, format!("entry of index {name} cannot be decoded: {}", e.message()))
                }
            }
        }
        let found = txn.get_many(&rows, None).await?;
        for (((entry, value), row), stored) in from.into_iter().zip(&rows).zip(found) {
            let Some(stored) = stored else {
                report.say(entry, format!("entry of index {name}: the row under {row} is not there"));
                continue;
            };
            let mut columns = self.decoder.columns();
            if self.decoder.decode_row(row, &stored, &mut columns).is_err() {
                // The sweep of the rows says so.
                continue;
            }
            let batch = Batch { columns: columns.into_iter().map(Into::into).collect(), rows: 1 };
            let who = || named_values(self.table, &self.table.primary, &batch, 0);
            match self.index.entry(&batch, 0)? {
                Some(expected) if *expected == *entry => {
                    if self.index.value(&batch, 0)? != value {
                        let what = format!("entry of index {name}: its row {} has other columns", who());
                        report.say(entry, what);
                    }
                }
                Some(expected) => {
                    let what = format!("entry of index {name}: its row {} has the entry {expected}", who());
                    report.say(entry, what);
                }
                None => {
                    let what = format!("entry of index {name}: its row {} is not in the index", who());
                    report.say(entry, what);
                }
            }
        }
        Ok(())
    }
}
