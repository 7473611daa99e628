//! Descriptors as bytes. Fields stand in order; a version byte comes first, so that a later version can read an
//! earlier one's.
//!
//! Numbers are little-endian, strings and lists carry their length as a 32-bit number.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::error::{SqlError, SqlResult, state};
use crate::types::{Oid, SqlType};

/// The format of all descriptors.
const VERSION: u8 = 1;

/// Something with a stored form.
pub trait Stored: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut &[u8]) -> SqlResult<Self>;
}

pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut out = vec![VERSION];
    value.put(&mut out);
    out
}

pub fn decode<T: Stored>(bytes: &[u8]) -> SqlResult<T> {
    let (&version, mut rest) = bytes.split_first().ok_or_else(damaged)?;
    if version != VERSION {
        return Err(SqlError::new(
            state::DATA_CORRUPTED,
            format!("descriptor of format {version}, written by a newer version"),
        ));
    }
    let value = T::take(&mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(damaged()) }
}

fn damaged() -> SqlError {
    SqlError::new(state::DATA_CORRUPTED, "invalid stored descriptor")
}

fn split<'a>(input: &mut &'a [u8], n: usize) -> SqlResult<&'a [u8]> {
    let (head, rest) = input.split_at_checked(n).ok_or_else(damaged)?;
    *input = rest;
    Ok(head)
}

macro_rules! stored_number {
    ($($ty:ty),*) => {$(
        impl Stored for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(input: &mut &[u8]) -> SqlResult<Self> {
                let bytes = split(input, size_of::<$ty>())?;
                Ok(<$ty>::from_le_bytes(bytes.try_into().expect("as many bytes as asked for")))
            }
        }
    )*};
}
stored_number!(u8, u32, u64, i32, i64, f64);

macro_rules! stored_id {
    ($($ty:ident),*) => {$(
        impl Stored for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(input: &mut &[u8]) -> SqlResult<Self> {
                Ok($ty(Stored::take(input)?))
            }
        }
    )*};
}
stored_id!(TableId, ColumnId, IndexId, SchemaId, DatabaseId, Oid);

macro_rules! stored_struct {
    ($ty:ident { $($field:ident),* $(,)? }) => {
        impl Stored for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn take(input: &mut &[u8]) -> SqlResult<Self> {
                Ok($ty { $($field: Stored::take(input)?),* })
            }
        }
    };
}

macro_rules! stored_enum {
    ($ty:ident { $($code:literal => $variant:ident),* $(,)? }) => {
        impl Stored for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $($ty::$variant => $code),* });
            }
            fn take(input: &mut &[u8]) -> SqlResult<Self> {
                match u8::take(input)? {
                    $($code => Ok($ty::$variant),)*
                    _ => Err(damaged()),
                }
            }
        }
    };
}

impl Stored for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        Ok(u8::take(input)? != 0)
    }
}

impl Stored for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        let n = u32::take(input)? as usize;
        String::from_utf8(split(input, n)?.to_vec()).map_err(|_| damaged())
    }
}

impl Stored for Arc<[u8]> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self);
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        let n = u32::take(input)? as usize;
        Ok(split(input, n)?.into())
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        Ok(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        (0..u32::take(input)?).map(|_| T::take(input)).collect()
    }
}

impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        (0..u32::take(input)?).map(|_| Ok((K::take(input)?, V::take(input)?))).collect()
    }
}

impl Stored for TableKind {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            TableKind::Table => out.push(1),
            TableKind::View { query } => {
                out.push(2);
                query.put(out);
            }
            TableKind::Sequence(options) => {
                out.push(3);
                options.put(out);
            }
        }
    }
    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        Ok(match u8::take(input)? {
            1 => TableKind::Table,
            2 => TableKind::View { query: Stored::take(input)? },
            3 => TableKind::Sequence(Stored::take(input)?),
            _ => return Err(damaged()),
        })
    }
}

stored_enum!(ElementState { 1 => DeleteOnly, 2 => WriteOnly, 3 => Public, 4 => Dropping });
stored_enum!(Identity { 1 => Always, 2 => ByDefault });
stored_enum!(FkAction { 1 => NoAction, 2 => Restrict, 3 => Cascade, 4 => SetNull, 5 => SetDefault });
stored_struct!(SqlType { oid, typmod });
stored_struct!(TableDescriptor {
    id,
    database,
    schema,
    name,
    version,
    kind,
    columns,
    next_column,
    primary,
    indexes,
    next_index,
    checks,
    foreign_keys,
    next_constraint,
});
stored_struct!(ColumnDescriptor {
    id,
    name,
    ty,
    not_null,
    default,
    owned_sequence,
    identity,
    hidden,
    state,
    missing_value,
});
stored_struct!(IndexDescriptor {
    id,
    name,
    oid,
    unique,
    constraint,
    is_primary_key,
    key,
    include,
    predicate,
    state,
});
stored_struct!(IndexColumn { column, descending, nulls_first });
stored_struct!(CheckConstraint { oid, name, expr, validated });
stored_struct!(ForeignKey {
    oid,
    name,
    columns,
    references,
    referenced_columns,
    on_delete,
    on_update,
    match_full,
    validated,
});
stored_struct!(SequenceOptions { ty, start, increment, min, max, cycle, cache });
stored_struct!(SchemaDescriptor { id, database, name });
stored_struct!(DatabaseDescriptor { id, name });
stored_struct!(RoleDescriptor { oid, name, superuser, can_login, password });
stored_struct!(TableStatistics { rows, columns });
stored_struct!(ColumnStatistics { distinct, null_fraction, width });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_reads_back_and_damage_is_noticed() {
        let options = SequenceOptions {
            ty: Oid::INT8,
            start: 1,
            increment: -1,
            min: -9,
            max: 1,
            cycle: true,
            cache: 7,
        };
        let bytes = encode(&TableKind::Sequence(options));
        assert!(
            matches!(decode::<TableKind>(&bytes).unwrap(), TableKind::Sequence(o) if o.min == -9 && o.cycle)
        );
        for cut in 0..bytes.len() {
            assert!(decode::<TableKind>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decode::<TableKind>(&[&bytes[..], &[0]].concat()).is_err());
    }
}
