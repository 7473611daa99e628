//! Picking, joining and taking apart columns and batches.

use std::sync::Arc;

use crate::types::{Batch, Bitmap, Column, ColumnData, Datum, Oid, VarBytes};

/// Stands for "no row" in a selection: yields NULL.
pub const NO_ROW: u32 = u32::MAX;

/// The chosen rows of a column, in the order of `rows`. None of them is [`NO_ROW`].
pub fn take(column: &Column, rows: &[u32]) -> Column {
    fn pick<T: Copy>(from: &[T], rows: &[u32]) -> Vec<T> {
        rows.iter().map(|r| from[*r as usize]).collect()
    }
    let data = match &column.data {
        ColumnData::Bool(v) => ColumnData::Bool(pick(v, rows)),
        ColumnData::Int2(v) => ColumnData::Int2(pick(v, rows)),
        ColumnData::Int4(v) => ColumnData::Int4(pick(v, rows)),
        ColumnData::Int8(v) => ColumnData::Int8(pick(v, rows)),
        ColumnData::Float4(v) => ColumnData::Float4(pick(v, rows)),
        ColumnData::Float8(v) => ColumnData::Float8(pick(v, rows)),
        ColumnData::Date(v) => ColumnData::Date(pick(v, rows)),
        ColumnData::Timestamp(v) => ColumnData::Timestamp(pick(v, rows)),
        ColumnData::Text(v) => ColumnData::Text(pick_bytes(v, rows)),
        ColumnData::Bytes(v) => ColumnData::Bytes(pick_bytes(v, rows)),
        ColumnData::Datum(v) => ColumnData::Datum(rows.iter().map(|r| v[*r as usize].clone()).collect()),
    };
    let validity = column.validity.as_ref().map(|bits| {
        let mut picked = Bitmap::default();
        rows.iter().for_each(|r| picked.push(bits.get(*r as usize)));
        picked
    });
    Column { data, validity }
}

fn pick_bytes(from: &VarBytes, rows: &[u32]) -> VarBytes {
    let mut out = VarBytes::default();
    out.offsets.reserve(rows.len());
    rows.iter().for_each(|r| out.push(from.get(*r as usize)));
    out
}

/// As [`take`], where some of `rows` are [`NO_ROW`].
pub fn take_or_null(column: &Column, ty: Oid, rows: &[u32]) -> Column {
    if !rows.contains(&NO_ROW) {
        return take(column, rows);
    }
    let mut out = Column::for_type(ty);
    for row in rows {
        match *row {
            NO_ROW => out.push(&Datum::Null),
            row => out.push(&column.datum(row as usize)),
        }
    }
    out
}

/// The chosen rows of a batch.
pub fn take_batch(batch: &Batch, rows: &[u32]) -> Batch {
    let columns = batch.columns.iter().map(|c| Arc::new(take(c, rows))).collect();
    Batch { columns, rows: rows.len() }
}

/// Rows `from..to` of a batch.
pub fn slice(batch: &Batch, from: usize, to: usize) -> Batch {
    if from == 0 && to == batch.rows {
        return batch.clone();
    }
    let rows: Vec<u32> = (from as u32..to as u32).collect();
    take_batch(batch, &rows)
}

/// One batch out of several with the same columns.
pub fn concat(batches: &[Batch], types: &[Oid]) -> Batch {
    if let [one] = batches {
        return one.clone();
    }
    let rows = batches.iter().map(|b| b.rows).sum();
    let columns = types
        .iter()
        .enumerate()
        .map(|(i, ty)| {
            let mut out = Column::for_type(*ty);
            batches.iter().for_each(|b| append(&mut out, &b.columns[i]));
            Arc::new(out)
        })
        .collect();
    Batch { columns, rows }
}

/// Appends all of `from`, which has the same representation.
pub fn append(to: &mut Column, from: &Column) {
    let rows = to.len();
    match (&mut to.data, &from.data) {
        (ColumnData::Bool(a), ColumnData::Bool(b)) => a.extend_from_slice(b),
        (ColumnData::Int2(a), ColumnData::Int2(b)) => a.extend_from_slice(b),
        (ColumnData::Int4(a), ColumnData::Int4(b)) => a.extend_from_slice(b),
        (ColumnData::Int8(a), ColumnData::Int8(b)) => a.extend_from_slice(b),
        (ColumnData::Float4(a), ColumnData::Float4(b)) => a.extend_from_slice(b),
        (ColumnData::Float8(a), ColumnData::Float8(b)) => a.extend_from_slice(b),
        (ColumnData::Date(a), ColumnData::Date(b)) => a.extend_from_slice(b),
        (ColumnData::Timestamp(a), ColumnData::Timestamp(b)) => a.extend_from_slice(b),
        (ColumnData::Text(a), ColumnData::Text(b)) | (ColumnData::Bytes(a), ColumnData::Bytes(b)) => {
            let base = a.bytes.len() as u32;
            a.bytes.extend_from_slice(&b.bytes);
            a.offsets.extend(b.offsets[1..].iter().map(|o| o + base));
        }
        (ColumnData::Datum(a), ColumnData::Datum(b)) => a.extend_from_slice(b),
        _ => {
            (0..from.len()).for_each(|row| to.push(&from.datum(row)));
            return;
        }
    }
    if let Some(bits) = &from.validity {
        let all = to.validity.get_or_insert_with(|| Bitmap::all_set(rows));
        (0..bits.len()).for_each(|i| all.push(bits.get(i)));
    } else if let Some(all) = &mut to.validity {
        (0..from.len()).for_each(|_| all.push(true));
    }
}

/// One row as values.
pub fn row(batch: &Batch, row: usize) -> Vec<Datum> {
    batch.columns.iter().map(|c| c.datum(row)).collect()
}

/// A batch out of rows.
pub fn from_rows<R: AsRef<[Datum]>>(rows: &[R], types: &[Oid]) -> Batch {
    let columns = types
        .iter()
        .enumerate()
        .map(|(i, ty)| {
            let mut column = Column::for_type(*ty);
            rows.iter().for_each(|r| column.push(&r.as_ref()[i]));
            Arc::new(column)
        })
        .collect();
    Batch { columns, rows: rows.len() }
}

/// Two batches of as many rows, side by side.
pub fn zip(left: &Batch, right: &Batch) -> Batch {
    debug_assert_eq!(left.rows, right.rows);
    let columns = left.columns.iter().chain(&right.columns).cloned().collect();
    Batch { columns, rows: left.rows }
}

/// An estimate of the bytes that a batch holds.
pub fn size(batch: &Batch) -> usize {
    batch.columns.iter().map(|c| column_size(c)).sum()
}

fn column_size(column: &Column) -> usize {
    match &column.data {
        ColumnData::Bool(v) => v.len(),
        ColumnData::Int2(v) => 2 * v.len(),
        ColumnData::Int4(v) => 4 * v.len(),
        ColumnData::Int8(v) => 8 * v.len(),
        ColumnData::Float4(v) => 4 * v.len(),
        ColumnData::Float8(v) => 8 * v.len(),
        ColumnData::Date(v) => 4 * v.len(),
        ColumnData::Timestamp(v) => 8 * v.len(),
        ColumnData::Text(v) | ColumnData::Bytes(v) => v.bytes.len() + 4 * v.offsets.len(),
        ColumnData::Datum(v) => v.iter().map(datum_size).sum(),
    }
}

/// Whether two values are the same, bit for bit where `==` is not reflexive.
pub fn identical(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float4(x), Datum::Float4(y)) => x.to_bits() == y.to_bits(),
        (Datum::Float8(x), Datum::Float8(y)) => x.to_bits() == y.to_bits(),
        _ => a == b,
    }
}

/// An estimate of the bytes that a value holds.
pub fn datum_size(value: &Datum) -> usize {
    std::mem::size_of::<Datum>()
        + match value {
            Datum::Text(s) => s.len() + 16,
            Datum::Bytes(b) => b.len() + 16,
            Datum::Numeric(n) => 32 + 2 * n.digits.len(),
            Datum::Array(a) => a.elements.iter().map(datum_size).sum(),
            Datum::Record(r) => r.fields.iter().map(datum_size).sum(),
            _ => 0,
        }
}
