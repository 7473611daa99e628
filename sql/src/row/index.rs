//! Which keys and values a row of a table has: one pair in the primary index, at most one in each secondary index.
//!
//! | index | key, behind `table/<table>/<index>` | value |
//! | --- | --- | --- |
//! | primary | primary key | row value of all other columns |
//! | secondary | index columns, then the rest of the primary key | row value of INCLUDE columns |
//! | unique, no NULL among its columns | index columns | length and bytes of the rest of the primary key, row value |
//! | unique, otherwise | index columns, then the rest of the primary key | length 0, row value |
//!
//! The *rest* of the primary key is its columns that are not index columns themselves, encoded as in the primary
//! index. Row values hold key columns too where the key is not the exact value (see [`super::key`]).

use bytes::Bytes;
use meridian_storage::base::{Key, Span, keys};

use super::datum_value::put_varint;
use super::key::{self, Direction, KeyKind};
use super::value::ValueBuilder;
use super::{RowSource, ValueRef};
use crate::catalog::{ColumnId, ElementState, IndexColumn, IndexDescriptor, IndexId, TableDescriptor};
use crate::error::{SqlError, SqlResult};
use crate::types::Oid;

/// One column of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyPart {
    pub column: ColumnId,
    /// Among the table's public columns.
    pub position: usize,
    pub ty: Oid,
    pub kind: KeyKind,
    pub direction: Direction,
}

impl KeyPart {
    pub(super) fn new(table: &TableDescriptor, of: &IndexColumn) -> SqlResult<Self> {
        let (position, column) = table
            .columns
            .iter()
            .filter(|c| c.state == ElementState::Public)
            .enumerate()
            .find(|(_, c)| c.id == of.column)
            .ok_or_else(|| {
                SqlError::internal(format!("table {} has no column {:?}", table.name, of.column))
            })?;
        let ty = column.ty.oid;
        let kind = KeyKind::of(ty).ok_or_else(|| {
            SqlError::unsupported(format!("an index on column \"{}\": the order of its type", column.name))
        })?;
        let direction = Direction { descending: of.descending, nulls_first: of.nulls_first };
        Ok(KeyPart { column: of.column, position, ty, kind, direction })
    }
}

/// A column that may stand in a row value.
#[derive(Clone, Copy, Debug)]
struct ValuePart {
    id: u32,
    position: usize,
    /// A key column: stored only if its key is lossy.
    key: Option<KeyKind>,
    /// NULL must be said, because absence means something else.
    explicit_null: bool,
}

/// Room for encoding, reused from row to row.
#[derive(Default)]
pub struct RowBuf {
    value: ValueBuilder,
}

/// Encodes the entries of one index.
#[derive(Clone, Debug)]
pub struct IndexEncoder {
    pub id: IndexId,
    pub unique: bool,
    pub primary: bool,
    prefix: Key,
    pub key: Vec<KeyPart>,
    /// What of the primary key is not in `key`; empty for the primary index.
    pub suffix: Vec<KeyPart>,
    value: Vec<ValuePart>,
}

impl IndexEncoder {
    pub fn primary(table: &TableDescriptor) -> SqlResult<Self> {
        Self::new(table, &table.primary, true)
    }

    pub fn secondary(table: &TableDescriptor, index: &IndexDescriptor) -> SqlResult<Self> {
        Self::new(table, index, false)
    }

    fn new(table: &TableDescriptor, index: &IndexDescriptor, primary: bool) -> SqlResult<Self> {
        let part = |c: &IndexColumn| KeyPart::new(table, c);
        let key = index.key.iter().map(part).collect::<SqlResult<Vec<_>>>()?;
        let suffix = if primary {
            Vec::new()
        } else {
            let rest = table.primary.key.iter().filter(|c| key.iter().all(|k| k.column != c.column));
            rest.map(part).collect::<SqlResult<Vec<_>>>()?
        };
        let public = table.columns.iter().filter(|c| c.state == ElementState::Public);
        let mut value = Vec::new();
        for (position, column) in public.enumerate() {
            let key_kind = key.iter().chain(&suffix).find(|k| k.column == column.id).map(|k| k.kind);
            let stored = match key_kind {
                Some(kind) => kind.may_be_lossy(),
                None => primary || index.include.contains(&column.id),
            };
            if stored {
                let explicit_null = column.missing_value.is_some();
                value.push(ValuePart { id: column.id.0, position, key: key_kind, explicit_null });
            }
        }
        value.sort_by_key(|part| part.id);
        Ok(IndexEncoder {
            id: index.id,
            unique: primary || index.unique,
            primary,
            prefix: keys::index_prefix(table.id.0, index.id.0),
            key,
            suffix,
            value,
        })
    }

    /// What every key of the index begins with.
    pub fn prefix(&self) -> &Key {
        &self.prefix
    }

    pub fn span(&self) -> Span {
        Span::prefix(self.prefix.clone())
    }

    /// The beginning of the keys whose first columns have these values, one per column.
    pub fn key_prefix(&self, values: &[ValueRef<'_>]) -> SqlResult<Vec<u8>> {
        let mut out = Vec::with_capacity(16 + 9 * values.len());
        out.extend_from_slice(&self.prefix);
        for (part, value) in self.key.iter().zip(values) {
            key::encode(&mut out, part.kind, part.direction, *value)?;
        }
        Ok(out)
    }

    /// The row's key in this index.
    pub fn encode_key<R: RowSource + ?Sized>(&self, row: &R) -> SqlResult<Key> {
        let mut out = Vec::with_capacity(16 + 9 * (self.key.len() + self.suffix.len()));
        out.extend_from_slice(&self.prefix);
        let has_null = self.encode_parts(&mut out, &self.key, row)?;
        if self.suffix_in_key(has_null) {
            self.encode_parts(&mut out, &self.suffix, row)?;
        }
        Ok(out.into())
    }

    pub fn encode_value<R: RowSource + ?Sized>(&self, row: &R, buf: &mut RowBuf) -> SqlResult<Bytes> {
        let mut out = Vec::new();
        if !self.primary && self.unique {
            let has_null = self.key.iter().any(|part| row.value(part.position).is_null());
            if self.suffix_in_key(has_null) {
                out.push(0);
            } else {
                let mut rest = Vec::with_capacity(9 * self.suffix.len());
                self.encode_parts(&mut rest, &self.suffix, row)?;
                put_varint(&mut out, rest.len() as u64);
                out.extend_from_slice(&rest);
            }
        }
        buf.value.clear();
        for part in &self.value {
            let value = row.value(part.position);
            match part.key {
                Some(kind) if !kind.is_lossy(value) => {}
                _ if value.is_null() => {
                    if part.explicit_null {
                        buf.value.add_null(part.id);
                    }
                }
                _ => buf.value.add(part.id, value)?,
            }
        }
        buf.value.finish(&mut out);
        Ok(out.into())
    }

    /// Two rows with equal columns that are all NOT NULL have the same key: a duplicate.
    fn suffix_in_key(&self, has_null: bool) -> bool {
        !self.unique || has_null
    }

    fn encode_parts<R: RowSource + ?Sized>(
        &self,
        out: &mut Vec<u8>,
        parts: &[KeyPart],
        row: &R,
    ) -> SqlResult<bool> {
        let mut has_null = false;
        for part in parts {
            let value = row.value(part.position);
            has_null |= value.is_null();
            key::encode(out, part.kind, part.direction, value)?;
        }
        Ok(has_null)
    }
}

/// All encoders of a table, made once per plan.
#[derive(Clone, Debug)]
pub struct TableCodec {
    pub primary: IndexEncoder,
    /// With the state that says which writes maintain it; those that no write maintains are left out.
    pub secondary: Vec<(IndexEncoder, ElementState)>,
}

impl TableCodec {
    pub fn new(table: &TableDescriptor) -> SqlResult<Self> {
        let secondary = table
            .indexes
            .iter()
            .map(|index| Ok((IndexEncoder::secondary(table, index)?, index.state)))
            .collect::<SqlResult<Vec<_>>>()?;
        Ok(TableCodec { primary: IndexEncoder::primary(table)?, secondary })
    }
}
