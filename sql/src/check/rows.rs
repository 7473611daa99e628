//! From rows to what they must have: columns that are not NULL, checks, entries in indexes, rows that they refer to.

use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::Key;
use meridian_txn::{KvBlock, Txn};

use super::{Report, decode_alone, named_values};
use crate::bind::{BindContext, Clause, bind_scalar};
use crate::catalog::{Catalog, ElementState, IndexDescriptor, TableDescriptor, virtual_tables};
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::expr::eval::{BatchRow as EvalRow, eval};
use crate::registry::EvalContext;
use crate::row::{BatchRow, IndexEncoder, PrimaryKeyFinder, RowBuf, RowDecoder};
use crate::schema_change::backfill::all_columns;
use crate::schema_change::references::{Reference, References};
use crate::types::{Batch, Datum};

/// What every row of a table is held against.
pub struct Rows<'c> {
    table: &'c TableDescriptor,
    decoder: RowDecoder,
    key: IndexEncoder,
    checks: Vec<(&'c str, Expr)>,
    indexes: Vec<Index<'c>>,
    references: Vec<(&'c str, String, References)>,
}

/// An index that every row must be in, if the predicate says so.
pub struct Index<'c> {
    pub descriptor: &'c IndexDescriptor,
    pub encoder: IndexEncoder,
    pub finder: PrimaryKeyFinder,
    predicate: Option<Expr>,
}

impl<'c> Index<'c> {
    pub fn new(
        catalog: &Catalog,
        table: &'c TableDescriptor,
        descriptor: &'c IndexDescriptor,
    ) -> SqlResult<Self> {
        let predicate = match &descriptor.predicate {
            Some(text) => Some(bind(catalog, table, text, Clause::IndexPredicate)?),
            None => None,
        };
        Ok(Index {
            descriptor,
            encoder: IndexEncoder::secondary(table, descriptor)?,
            finder: PrimaryKeyFinder::new(table, descriptor)?,
            predicate,
        })
    }

    /// The key of the row's entry; `None` if it has none.
    pub fn entry(&self, batch: &Batch, row: usize) -> SqlResult<Option<Key>> {
        if let Some(predicate) = &self.predicate
            && eval(predicate, &EvalRow { batch, row }, &EvalContext::detached())? != Datum::Bool(true)
        {
            return Ok(None);
        }
        self.encoder.encode_key(&BatchRow { batch, row }).map(Some)
    }

    /// The value of the row's entry.
    pub fn value(&self, batch: &Batch, row: usize) -> SqlResult<Bytes> {
        self.encoder.encode_value(&BatchRow { batch, row }, &mut RowBuf::default())
    }
}

fn bind(catalog: &Catalog, table: &TableDescriptor, text: &str, clause: Clause) -> SqlResult<Expr> {
    let eval = EvalContext::detached();
    let context = BindContext {
        catalog,
        database: table.database,
        search_path: &[table.schema],
        virtual_tables: virtual_tables::lookup,
        eval: &eval,
    };
    bind_scalar(context, text, &Arc::new(table.clone()), clause)
}

impl<'c> Rows<'c> {
    pub fn new(catalog: &'c Catalog, table: &'c TableDescriptor) -> SqlResult<Self> {
        let checks = table.checks.iter().filter(|c| c.validated);
        let checks = checks.map(|c| Ok((c.name.as_str(), bind(catalog, table, &c.expr, Clause::Check)?)));
        let indexes = table.indexes.iter().filter(|i| i.state == ElementState::Public);
        let indexes = indexes.map(|i| Index::new(catalog, table, i));
        let mut references = Vec::new();
        for key in table.foreign_keys.iter().filter(|k| k.validated) {
            let target = catalog
                .tables
                .get(&key.references)
                .ok_or_else(|| SqlError::internal("a foreign key to a table that is gone"))?;
            references.push((key.name.as_str(), target.name.clone(), References::new(table, target, key)?));
        }
        Ok(Rows {
            table,
            decoder: RowDecoder::primary(table, &all_columns(table))?,
            key: IndexEncoder::primary(table)?,
            checks: checks.collect::<SqlResult<_>>()?,
            indexes: indexes.collect::<SqlResult<_>>()?,
            references,
        })
    }

    pub async fn check(&self, txn: &Txn, block: &KvBlock, report: &mut Report) -> SqlResult<()> {
        // Rows that decode, and where each stands in the block.
        let mut rows = Vec::with_capacity(block.len());
        for at in 0..block.len() {
            if let Some(batch) = decode_alone(&self.decoder, block, at, report) {
                self.alone(block.key(at), &batch, report)?;
                rows.push((at, batch));
            }
        }
        for index in &self.indexes {
            self.entries(txn, index, block, &rows, report).await?;
        }
        for (name, target, references) in &self.references {
            let mut wanted = Vec::new();
            let mut from = Vec::new();
            for (at, batch) in &rows {
                match references.of(batch, 0)? {
                    Reference::None => {}
                    Reference::Mixed => report.say(
                        block.key(*at),
                        format!("{}: foreign key {name} is NULL in part", self.name(batch)),
                    ),
                    Reference::To(key) => {
                        wanted.push(key);
                        from.push((*at, batch));
                    }
                }
            }
            let found = txn.get_many(&wanted, None).await?;
            for ((at, batch), key) in
                from.into_iter().zip(&wanted).zip(found).filter(|(_, f)| f.is_none()).map(|(from, _)| from)
            {
                let what =
                    format!("{}: foreign key {name}: {target} has no row under {key}", self.name(batch));
                report.say(block.key(at), what);
            }
        }
        Ok(())
    }

    /// What a row's own columns say.
    fn alone(&self, key: &[u8], batch: &Batch, report: &mut Report) -> SqlResult<()> {
        let expected = self.key.encode_key(&BatchRow { batch, row: 0 })?;
        if *expected != *key {
            report.say(key, format!("{}: the row belongs under {expected}", self.name(batch)));
        }
        for (position, column) in self.table.public_columns().enumerate() {
            if column.not_null && batch.columns[position].is_null(0) {
                report
                    .say(key, format!("{}: column {} is NULL, and NOT NULL", self.name(batch), column.name));
            }
        }
        for (name, condition) in &self.checks {
            match eval(condition, &EvalRow { batch, row: 0 }, &EvalContext::detached()) {
                Ok(Datum::Bool(false)) => {
                    report.say(key, format!("{}: check {name} is false", self.name(batch)));
                }
                Ok(_) => {}
                Err(e) => report.say(
                    key,
                    format!("{}: check {name} cannot be evaluated: {}", self.name(batch), e.message()),
                ),
            }
        }
        Ok(())
    }

    /// Every row has its entry, and the entry is this row's.
    async fn entries(
        &self,
        txn: &Txn,
        index: &Index<'_>,
        block: &KvBlock,
        rows: &[(usize, Batch)],
        report: &mut Report,
    ) -> SqlResult<()> {
        let mut wanted = Vec::with_capacity(rows.len());
        let mut from = Vec::with_capacity(rows.len());
        for (at, batch) in rows {
            if let Some(entry) = index.entry(batch, 0)? {
                wanted.push(entry);
                from.push((*at, batch));
            }
        }
        let found = txn.get_many(&wanted, None).await?;
        let name = &index.descriptor.name;
        for (((at, batch), entry), value) in from.into_iter().zip(&wanted).zip(found) {
            let (row, key) = (block.key(at), named_values(self.table, index.descriptor, batch, 0));
            let Some(value) = value else {
                report.say(row, format!("{}: index {name} has no entry {key} at {entry}", self.name(batch)));
                continue;
            };
            let points_to = index.finder.primary_key(entry, &value);
            match points_to {
                Ok(points_to) if *points_to == *row => {}
                Ok(other) if index.descriptor.unique => report.say(
                    row,
                    format!("{}: unique index {name} has {key} for the row under {other}", self.name(batch)),
                ),
                Ok(other) => report
                    .say(row, format!("{}: index {name}: entry {key} points to {other}", self.name(batch))),
                Err(e) => report.say(entry, format!("index {name} cannot be decoded: {}", e.message())),
            }
        }
        Ok(())
    }

    /// What people call the row.
    fn name(&self, batch: &Batch) -> String {
        format!("row {}", named_values(self.table, &self.table.primary, batch, 0))
    }
}
