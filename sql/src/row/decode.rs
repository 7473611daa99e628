//! Stored pairs to column vectors.
//!
//! A [`RowDecoder`] is made once for an index and the wanted columns, and says for each where it stands: in the key, in
//! the value, or - where the key may be lossy - in the value if it is there, else in the key. Key columns that are not
//! wanted and stand behind all wanted ones are not even skipped over.

use meridian_txn::KvBlock;
use smallvec::SmallVec;

use super::corrupt;
use super::datum_value::{self, take_varint};
use super::index::{IndexEncoder, KeyPart};
use super::key;
use super::value::{Layout, Slot};
use crate::catalog::{ColumnId, IndexDescriptor, TableDescriptor};
use crate::error::{SqlError, SqlResult};
use crate::types::{Batch, Column, Datum, Oid};

/// Length of `table/<table>/<index>`.
const PREFIX: usize = 9;

/// Where a wanted column is found.
#[derive(Clone, Debug)]
enum Source {
    /// In the key, and `outputs` says so.
    Key,
    /// The `slot`th of the columns asked of the value; absent: `missing`.
    Value { slot: usize, missing: Datum },
    /// In the value if it is there, else in the key.
    ValueOrKey { slot: usize, part: usize },
}

#[derive(Clone, Debug)]
pub struct RowDecoder {
    types: Vec<Oid>,
    sources: Vec<Source>,
    /// Key columns followed by the rest of the primary key.
    parts: Vec<KeyPart>,
    /// How many of `parts` are index columns proper.
    key_parts: usize,
    /// How many of `parts` have to be looked at.
    needed_parts: usize,
    /// For each of `parts`: the output column that takes it straight from the key.
    outputs: Vec<Option<usize>>,
    /// The ids asked of the value.
    value_ids: SmallVec<[u32; 16]>,
    /// The value begins with the rest of the primary key (unless that is in the key).
    suffix_in_value: bool,
}

impl RowDecoder {
    /// Decodes `wanted` out of the rows of the primary index.
    pub fn primary(table: &TableDescriptor, wanted: &[ColumnId]) -> SqlResult<Self> {
        Self::new(table, &table.primary, &IndexEncoder::primary(table)?, wanted)
    }

    /// Decodes `wanted` out of the entries of a secondary index, which must hold them all (see [`covers`]).
    pub fn secondary(
        table: &TableDescriptor,
        index: &IndexDescriptor,
        wanted: &[ColumnId],
    ) -> SqlResult<Self> {
        Self::new(table, index, &IndexEncoder::secondary(table, index)?, wanted)
    }

    fn new(
        table: &TableDescriptor,
        index: &IndexDescriptor,
        encoder: &IndexEncoder,
        wanted: &[ColumnId],
    ) -> SqlResult<Self> {
        let parts: Vec<KeyPart> = encoder.key.iter().chain(&encoder.suffix).copied().collect();
        let mut decoder = RowDecoder {
            types: Vec::with_capacity(wanted.len()),
            sources: Vec::with_capacity(wanted.len()),
            outputs: vec![None; parts.len()],
            key_parts: encoder.key.len(),
            needed_parts: 0,
            parts,
            value_ids: SmallVec::new(),
            suffix_in_value: !encoder.primary && encoder.unique,
        };
        for (output, id) in wanted.iter().enumerate() {
            let column =
                table.columns.iter().find(|c| c.id == *id).ok_or_else(|| {
                    SqlError::internal(format!("table {} has no column {id:?}", table.name))
                })?;
            decoder.types.push(column.ty.oid);
            let part = decoder.parts.iter().position(|p| p.column == *id);
            if let Some(part) = part {
                decoder.needed_parts = decoder.needed_parts.max(part + 1);
            } else if !encoder.primary && !index.include.contains(id) {
                return Err(SqlError::internal(format!("index {} does not hold {id:?}", index.name)));
            }
            let slot = decoder.value_ids.len();
            let source = match part {
                Some(part) if decoder.parts[part].kind.may_be_lossy() => Source::ValueOrKey { slot, part },
                Some(part) if decoder.outputs[part].is_none() => {
                    decoder.outputs[part] = Some(output);
                    Source::Key
                }
                // Wanted twice.
                Some(part) => Source::ValueOrKey { slot, part },
                None => {
                    let missing = match &column.missing_value {
                        Some(bytes) => datum_value::decode(column.ty.oid, bytes)?,
                        None => Datum::Null,
                    };
                    Source::Value { slot, missing }
                }
            };
            if !matches!(source, Source::Key) {
                decoder.value_ids.push(id.0);
            }
            decoder.sources.push(source);
        }
        Ok(decoder)
    }

    /// Empty columns to decode into.
    pub fn columns(&self) -> Vec<Column> {
        self.types.iter().map(|ty| Column::for_type(*ty)).collect()
    }

    /// All rows of the block.
    pub fn decode_block(&self, block: &KvBlock) -> SqlResult<Batch> {
        let mut columns = self.columns();
        self.decode_rows(block, 0..block.len(), &mut columns)?;
        Ok(Batch { columns: columns.into_iter().map(Into::into).collect(), rows: block.len() })
    }

    /// Appends some rows of the block to `columns`.
    pub fn decode_rows(
        &self,
        block: &KvBlock,
        rows: std::ops::Range<usize>,
        columns: &mut [Column],
    ) -> SqlResult<()> {
        let mut layout = Layout::default();
        for row in rows {
            self.decode_pair(&mut layout, block.key(row), block.value(row), columns)?;
        }
        Ok(())
    }

    /// Appends one row to `columns`.
    pub fn decode_row(&self, key: &[u8], value: &[u8], columns: &mut [Column]) -> SqlResult<()> {
        self.decode_pair(&mut Layout::default(), key, value, columns)
    }

    fn decode_pair(
        &self,
        layout: &mut Layout,
        key: &[u8],
        mut value: &[u8],
        columns: &mut [Column],
    ) -> SqlResult<()> {
        let mut input = key.get(PREFIX..).ok_or_else(|| corrupt("short key"))?;
        let suffix = if self.suffix_in_value { split_suffix(&mut value)? } else { &[] };
        // Where each part begins, for those that are read again below.
        let mut starts = SmallVec::<[&[u8]; 8]>::new();
        for (n, part) in self.parts[..self.needed_parts].iter().enumerate() {
            if n == self.key_parts && !suffix.is_empty() {
                input = suffix;
            }
            starts.push(input);
            match self.outputs[n] {
                Some(output) => {
                    key::decode_into(&mut input, part.kind, part.direction, &mut columns[output])?;
                }
                None => key::skip(&mut input, part.kind, part.direction)?,
            }
        }
        if self.value_ids.is_empty() {
            return Ok(());
        }
        let body = layout.read(&self.value_ids, value)?;
        for (output, source) in self.sources.iter().enumerate() {
            let column = &mut columns[output];
            match source {
                Source::Key => {}
                Source::Value { slot, missing } => match layout.slots[*slot] {
                    Slot::Present(n) => datum_value::decode_into(self.types[output], body.get(n)?, column)?,
                    Slot::Null => column.push(&Datum::Null),
                    Slot::Absent => column.push(missing),
                },
                Source::ValueOrKey { slot, part } => match layout.slots[*slot] {
                    Slot::Present(n) => datum_value::decode_into(self.types[output], body.get(n)?, column)?,
                    _ => {
                        let KeyPart { kind, direction, .. } = self.parts[*part];
                        let mut input = starts[*part];
                        key::decode_into(&mut input, kind, direction, column)?;
                    }
                },
            }
        }
        Ok(())
    }
}

/// Takes the rest of the primary key off the front of a unique entry's value.
fn split_suffix<'a>(value: &mut &'a [u8]) -> SqlResult<&'a [u8]> {
    let length = take_varint(value)? as usize;
    let (suffix, rest) = value.split_at_checked(length).ok_or_else(|| corrupt("short index entry"))?;
    *value = rest;
    Ok(suffix)
}

/// Whether entries of a secondary index hold the column.
pub fn covers(table: &TableDescriptor, index: &IndexDescriptor, column: ColumnId) -> bool {
    let keys = index.key.iter().chain(&table.primary.key);
    keys.map(|k| k.column).chain(index.include.iter().copied()).any(|c| c == column)
}

/// Finds the row that a secondary entry points to.
#[derive(Clone, Debug)]
pub struct PrimaryKeyFinder {
    prefix: Vec<u8>,
    key: Vec<KeyPart>,
    suffix: Vec<KeyPart>,
    /// For each primary key column: its place among `key` ++ `suffix`, and its direction in the primary index.
    order: Vec<(usize, key::Direction)>,
    unique: bool,
}

impl PrimaryKeyFinder {
    pub fn new(table: &TableDescriptor, index: &IndexDescriptor) -> SqlResult<Self> {
        let primary = IndexEncoder::primary(table)?;
        let secondary = IndexEncoder::secondary(table, index)?;
        let mut order = Vec::with_capacity(primary.key.len());
        for part in &primary.key {
            let place = secondary.key.iter().chain(&secondary.suffix).position(|p| p.column == part.column);
            order.push((place.expect("key and suffix together hold the primary key"), part.direction));
        }
        Ok(PrimaryKeyFinder {
            prefix: primary.prefix().to_vec(),
            key: secondary.key,
            suffix: secondary.suffix,
            order,
            unique: secondary.unique,
        })
    }

    /// The key, in the primary index, of the row of this entry.
    pub fn primary_key(&self, key: &[u8], mut value: &[u8]) -> SqlResult<meridian_storage::base::Key> {
        let mut input = key.get(PREFIX..).ok_or_else(|| corrupt("short key"))?;
        let mut pieces = SmallVec::<[&[u8]; 8]>::new();
        for part in &self.key {
            pieces.push(take_piece(&mut input, part)?);
        }
        if self.unique {
            let suffix = split_suffix(&mut value)?;
            if !suffix.is_empty() {
                input = suffix;
            }
        }
        for part in &self.suffix {
            pieces.push(take_piece(&mut input, part)?);
        }
        let mut out = Vec::with_capacity(self.prefix.len() + key.len());
        out.extend_from_slice(&self.prefix);
        for (place, direction) in &self.order {
            let part = self.key.iter().chain(&self.suffix).nth(*place).expect("a place among the parts");
            key::transcode(&mut out, pieces[*place], part.direction, *direction)?;
        }
        Ok(out.into())
    }
}

fn take_piece<'a>(input: &mut &'a [u8], part: &KeyPart) -> SqlResult<&'a [u8]> {
    let before = *input;
    key::skip(input, part.kind, part.direction)?;
    Ok(&before[..before.len() - input.len()])
}
