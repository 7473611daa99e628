//! Where the row is that a row refers to.

use meridian_storage::base::Key;

use super::foreign_keys::referenced_index;
use crate::catalog::{ForeignKey, TableDescriptor};
use crate::error::{SqlError, SqlResult};
use crate::row::{IndexEncoder, ValueRef};
use crate::types::Batch;

/// A foreign key of a table, over batches of all its public columns.
pub struct References {
    encoder: IndexEncoder,
    /// For each column of the referenced index: the position of the referencing column.
    positions: Vec<usize>,
    match_full: bool,
}

/// What a row refers to.
pub enum Reference {
    /// Nothing: a column is NULL.
    None,
    /// With MATCH FULL: some columns are NULL, and some are not.
    Mixed,
    /// The key of an entry in the referenced index.
    To(Key),
}

impl References {
    /// `target`: the referenced table.
    pub fn new(table: &TableDescriptor, target: &TableDescriptor, key: &ForeignKey) -> SqlResult<Self> {
        let index = referenced_index(target, &key.referenced_columns)
            .ok_or_else(|| SqlError::internal("a foreign key without its unique index"))?;
        let encoder = if index.id == target.primary.id {
            IndexEncoder::primary(target)?
        } else {
            IndexEncoder::secondary(target, index)?
        };
        let mut positions = Vec::with_capacity(index.key.len());
        for part in &index.key {
            let n = key.referenced_columns.iter().position(|c| *c == part.column);
            let column = n.map(|n| key.columns[n]);
            let position = table.public_columns().position(|c| Some(c.id) == column);
            positions.push(position.ok_or_else(|| SqlError::internal("a foreign key column that is gone"))?);
        }
        Ok(References { encoder, positions, match_full: key.match_full })
    }

    pub fn of(&self, batch: &Batch, row: usize) -> SqlResult<Reference> {
        let nulls = self.positions.iter().filter(|p| batch.columns[**p].is_null(row)).count();
        if nulls > 0 {
            let all = nulls == self.positions.len();
            return Ok(if self.match_full && !all { Reference::Mixed } else { Reference::None });
        }
        let values: Vec<ValueRef<'_>> =
            self.positions.iter().map(|p| ValueRef::of_column(&batch.columns[*p], row)).collect();
        Ok(Reference::To(self.encoder.key_prefix(&values)?.into()))
    }
}
