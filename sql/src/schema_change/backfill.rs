//! Filling indexes from the rows that a table has.
//!
//! Every chunk is an ordinary serializable transaction that reads some rows and writes their entries. A concurrent change of
//! one of the rows conflicts with it, so the later of the two sees the other: either the chunk reads the changed row,
//! or the change maintains the entry (which needs the index to be at least write-only, and no statement of before to be
//! still running: the caller has closed the table in between).

use bytes::Bytes;
use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span};
use meridian_storage::probe;
use meridian_txn::{Isolation, KvBlock, ScanOptions, Txn, TxnOptions};

use super::SchemaContext;
use super::jobs::Build;
use crate::catalog::{ColumnId, IndexDescriptor, TableDescriptor, TableId, store};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::expr::eval::{eval, eval_batch};
use crate::registry::EvalContext;
use crate::row::{BatchRow, IndexEncoder, PrimaryKeyFinder, RowBuf, RowDecoder};
use crate::types::{Batch, Datum};

/// What is to be made of every row.
pub struct Fill {
    table: TableId,
    source: Span,
    decoder: RowDecoder,
    /// The new row's columns over the old row; `None`: the row as it is.
    columns: Option<Vec<Expr>>,
    targets: Vec<Target>,
    table_name: String,
}

struct Target {
    encoder: IndexEncoder,
    name: String,
    /// Column names and types, for messages.
    key: Vec<(String, crate::types::Oid)>,
    /// WHERE of a partial index.
    predicate: Option<Expr>,
    /// Finds out whether an existing entry is of the same row; none for primary indexes.
    finder: Option<PrimaryKeyFinder>,
    /// Nobody else writes this index: keys above the largest so far are new without looking.
    largest: Option<Key>,
    exclusive: bool,
}

impl Fill {
    /// Fills one new secondary index of a table.
    pub fn index(
        ctx: &SchemaContext<'_>,
        table: &TableDescriptor,
        index: &IndexDescriptor,
        exclusive: bool,
    ) -> SqlResult<Fill> {
        Ok(Fill {
            table: table.id,
            source: IndexEncoder::primary(table)?.span(),
            decoder: RowDecoder::primary(table, &all_columns(table))?,
            columns: None,
            targets: vec![Target::secondary(ctx, table, index, exclusive)?],
            table_name: table.name.clone(),
        })
    }

    /// Copies the rows of `old` into the indexes of `new`, all of which are new. `columns`: the new row's columns over the
    /// old row.
    pub fn rewrite(
        ctx: &SchemaContext<'_>,
        old: &TableDescriptor,
        new: &TableDescriptor,
        columns: Vec<Expr>,
    ) -> SqlResult<Fill> {
        let mut targets = vec![Target {
            encoder: IndexEncoder::primary(new)?,
            name: new.primary.name.clone(),
            key: key_names(new, &new.primary),
            predicate: None,
            finder: None,
            largest: None,
            exclusive: true,
        }];
        for index in &new.indexes {
            targets.push(Target::secondary(ctx, new, index, true)?);
        }
        Ok(Fill {
            table: old.id,
            source: IndexEncoder::primary(old)?.span(),
            decoder: RowDecoder::primary(old, &all_columns(old))?,
            columns: Some(columns),
            targets,
            table_name: new.name.clone(),
        })
    }

    /// Within the transaction: for tables that it may have written itself.
    pub async fn run_in_transaction(mut self, ctx: &SchemaContext<'_>) -> SqlResult<()> {
        ctx.settle(self.table).await?;
        let eval = ctx.eval();
        let mut scanner = ctx.txn.scan(self.source.clone(), ScanOptions::default());
        while let Some(block) = scanner.next_block().await? {
            ctx.check_cancel()?;
            self.fill_block(ctx.txn, &block, &eval).await?;
            ctx.txn.flush_if_large().await?;
        }
        Ok(())
    }

    /// In many transactions of its own.
    pub async fn run_in_chunks(mut self, ctx: &SchemaContext<'_>, build: &mut Build) -> SqlResult<()> {
        let eval = ctx.eval();
        let mut from = Some(self.source.start.clone());
        while let Some(start) = from {
            ctx.check_cancel()?;
            build.sign_of_life(ctx.db).await?;
            from = self.chunk(ctx, start, &eval).await?;
        }
        Ok(())
    }

    /// One chunk; where the next begins.
    async fn chunk(
        &mut self,
        ctx: &SchemaContext<'_>,
        start: Key,
        eval: &EvalContext<'_>,
    ) -> SqlResult<Option<Key>> {
        loop {
            let mut options = TxnOptions::default();
            if planted::is(Planted::BackfillIgnoresWrites) {
                options.isolation = Isolation::ReadCommitted;
            }
            let txn = ctx.db.begin(options);
            let before: Vec<Option<Key>> = self.targets.iter().map(|t| t.largest.clone()).collect();
            let error = match self.chunk_in(&txn, &start, eval).await {
                Ok(next) => match txn.commit().await {
                    Ok(_) => return Ok(next),
                    Err(e) => e.into(),
                },
                Err(e) => {
                    txn.rollback().await;
                    e
                }
            };
            if !store::is_retryable(&error) {
                return Err(error);
            }
            probe!("backfill: chunk tried again");
            for (target, largest) in self.targets.iter_mut().zip(before) {
                target.largest = largest;
            }
            ctx.check_cancel()?;
        }
    }

    async fn chunk_in(&mut self, txn: &Txn, start: &Key, eval: &EvalContext<'_>) -> SqlResult<Option<Key>> {
        let span = Span::new(start.clone(), self.source.end.clone());
        let rows_max = txn.db().limits().job_rows;
        let mut scanner = txn.scan(span, ScanOptions { limit: rows_max, ..Default::default() });
        let mut rows = 0;
        let mut last = None;
        while let Some(block) = scanner.next_block().await? {
            rows += block.len() as u64;
            last = (!block.is_empty()).then(|| Key::new(block.key_bytes(block.len() - 1)));
            self.fill_block(txn, &block, eval).await?;
        }
        let next = last.filter(|_| rows >= rows_max).map(|key| key.next());
        Ok(next.filter(|next| *next < self.source.end))
    }

    async fn fill_block(&mut self, txn: &Txn, block: &KvBlock, eval: &EvalContext<'_>) -> SqlResult<()> {
        let mut batch = self.decoder.decode_block(block)?;
        if let Some(columns) = &self.columns {
            let columns =
                columns.iter().map(|e| eval_batch(e, &batch, eval)).collect::<SqlResult<Vec<_>>>()?;
            batch = Batch { columns, rows: batch.rows };
        }
        let primary = self.targets[0].encoder.primary;
        for n in 0..self.targets.len() {
            let row_keys = if primary { None } else { Some(block) };
            let table = &self.table_name;
            self.targets[n].put_entries(txn, &batch, row_keys, table, eval).await?;
        }
        Ok(())
    }
}

impl Target {
    fn secondary(
        ctx: &SchemaContext<'_>,
        table: &TableDescriptor,
        index: &IndexDescriptor,
        exclusive: bool,
    ) -> SqlResult<Target> {
        let predicate = match &index.predicate {
            Some(text) => Some(super::validate::bind_condition(ctx, table, text, true)?),
            None => None,
        };
        Ok(Target {
            encoder: IndexEncoder::secondary(table, index)?,
            name: index.name.clone(),
            key: key_names(table, index),
            predicate,
            finder: Some(PrimaryKeyFinder::new(table, index)?),
            largest: None,
            exclusive,
        })
    }

    /// Writes the entries of a batch of rows. `rows`: where they are stored, unless they are being rewritten.
    async fn put_entries(
        &mut self,
        txn: &Txn,
        batch: &Batch,
        rows: Option<&KvBlock>,
        table: &str,
        eval_ctx: &EvalContext<'_>,
    ) -> SqlResult<()> {
        let mut buf = RowBuf::default();
        let mut entries: Vec<(Key, Bytes, usize)> = Vec::with_capacity(batch.rows);
        for row in 0..batch.rows {
            let source = BatchRow { batch, row };
            if let Some(predicate) = &self.predicate {
                let at = crate::expr::eval::BatchRow { batch, row };
                if eval(predicate, &at, eval_ctx)? != Datum::Bool(true) {
                    continue;
                }
            }
            entries.push((
                self.encoder.encode_key(&source)?,
                self.encoder.encode_value(&source, &mut buf)?,
                row,
            ));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if self.encoder.unique {
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(self.duplicate(batch, pair[0].2, table, eval_ctx));
            }
            self.check_existing(txn, &entries, batch, rows, table, eval_ctx).await?;
        }
        for (key, value, _) in entries {
            txn.put(key, value);
        }
        Ok(())
    }

    /// Fails if an entry stands where another row's is to go.
    async fn check_existing(
        &mut self,
        txn: &Txn,
        entries: &[(Key, Bytes, usize)],
        batch: &Batch,
        rows: Option<&KvBlock>,
        table: &str,
        eval_ctx: &EvalContext<'_>,
    ) -> SqlResult<()> {
        let Some((first, ..)) = entries.first() else { return Ok(()) };
        let above_all = self.largest.as_ref().is_none_or(|largest| largest < first);
        let last = entries.last().map(|(key, ..)| key.clone());
        if self.exclusive && above_all {
            self.largest = last;
            return Ok(());
        }
        self.largest = self.largest.take().max(last);
        let keys: Vec<Key> = entries.iter().map(|(key, ..)| key.clone()).collect();
        let found = txn.get_many(&keys, None).await?;
        for ((key, _, row), existing) in entries.iter().zip(found) {
            let Some(existing) = existing else { continue };
            let same_row = match (rows, &self.finder) {
                (Some(block), Some(finder)) => *finder.primary_key(key, &existing)? == *block.key(*row),
                _ => false,
            };
            if !same_row {
                return Err(self.duplicate(batch, *row, table, eval_ctx));
            }
        }
        Ok(())
    }

    fn duplicate(&self, batch: &Batch, row: usize, table: &str, eval_ctx: &EvalContext<'_>) -> SqlError {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        let text = eval_ctx.text();
        let values = self.encoder.key.iter().map(|part| {
            let value = batch.columns[part.position].datum(row);
            if value.is_null() { "null".into() } else { crate::types::text::output(part.ty, &value, &text) }
        });
        let values = values.collect::<Vec<_>>().join(", ");
        SqlError::new(state::UNIQUE_VIOLATION, format!("could not create unique index \"{}\"", self.name))
            .with_detail(format!("Key ({})=({values}) is duplicated.", names.join(", ")))
            .with_constraint("", table, &self.name)
    }
}

pub fn all_columns(table: &TableDescriptor) -> Vec<ColumnId> {
    table.public_columns().map(|c| c.id).collect()
}

fn key_names(table: &TableDescriptor, index: &IndexDescriptor) -> Vec<(String, crate::types::Oid)> {
    let columns = index.key.iter().filter_map(|k| table.column(k.column));
    columns.map(|c| (c.name.clone(), c.ty.oid)).collect()
}
