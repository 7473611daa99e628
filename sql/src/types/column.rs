//! Vectors of values: what operators hand to one another.

use std::sync::Arc;

use super::{Datum, Oid};

/// About this many rows travel in one batch; one row when there is one.
pub const BATCH_ROWS: usize = 1024;

/// One bit per row, set where the value is NOT NULL. `None`-like empty means "no NULLs".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    pub fn all_set(len: usize) -> Self {
        Bitmap { words: vec![u64::MAX; len.div_ceil(64)], len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, i: usize) -> bool {
        self.words[i / 64] >> (i % 64) & 1 == 1
    }

    pub fn set(&mut self, i: usize, on: bool) {
        if on {
            self.words[i / 64] |= 1 << (i % 64);
        } else {
            self.words[i / 64] &= !(1 << (i % 64));
        }
    }

    pub fn push(&mut self, on: bool) {
        if self.len == self.words.len() * 64 {
            self.words.push(0);
        }
        self.len += 1;
        self.set(self.len - 1, on);
    }
}

impl Bitmap {
    /// Clears every bit that is clear in `other`.
    pub fn intersect(&mut self, other: &Bitmap) {
        debug_assert_eq!(self.len, other.len);
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }
}

/// Byte strings in one buffer: `offsets` has one more entry than there are values.
#[derive(Clone, Debug, PartialEq)]
pub struct VarBytes {
    pub offsets: Vec<u32>,
    pub bytes: Vec<u8>,
}

impl Default for VarBytes {
    fn default() -> Self {
        VarBytes { offsets: vec![0], bytes: Vec::new() }
    }
}

impl VarBytes {
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.end_value();
    }

    /// What `bytes` has gained is a value. Whoever fills batches bounds their bytes: going on beyond what an offset can say
    /// would mix up the values.
    pub fn end_value(&mut self) {
        let end = u32::try_from(self.bytes.len()).expect("a batch holds less than 4 GiB of a column");
        self.offsets.push(end);
    }

    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// The value as text; this must be a text column.
    pub fn text(&self, i: usize) -> &str {
        std::str::from_utf8(self.get(i)).expect("text columns hold UTF-8")
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The values of a column by representation; at NULL positions there is an arbitrary value.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    Bool(Vec<bool>),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    /// text, varchar, char(n), name: valid UTF-8.
    Text(VarBytes),
    Bytes(VarBytes),
    Date(Vec<i32>),
    /// timestamp and timestamptz.
    Timestamp(Vec<i64>),
    /// Everything else.
    Datum(Vec<Datum>),
}

/// `rows` values of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub data: ColumnData,
    /// Bit set = value present; `None` = no NULLs.
    pub validity: Option<Bitmap>,
}

/// Rows in columns. A batch with no columns still has a number of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub columns: Vec<Arc<Column>>,
    pub rows: usize,
}

impl Column {
    /// An empty column in the representation of type `oid`.
    pub fn for_type(oid: Oid) -> Self {
        let data = match oid {
            Oid::BOOL => ColumnData::Bool(Vec::new()),
            Oid::INT2 => ColumnData::Int2(Vec::new()),
            Oid::INT4 => ColumnData::Int4(Vec::new()),
            Oid::INT8 => ColumnData::Int8(Vec::new()),
            Oid::FLOAT4 => ColumnData::Float4(Vec::new()),
            Oid::FLOAT8 => ColumnData::Float8(Vec::new()),
            Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME | Oid::CHAR | Oid::UNKNOWN | Oid::JSON => {
                ColumnData::Text(VarBytes::default())
            }
            Oid::BYTEA => ColumnData::Bytes(VarBytes::default()),
            Oid::DATE => ColumnData::Date(Vec::new()),
            Oid::TIMESTAMP | Oid::TIMESTAMPTZ => ColumnData::Timestamp(Vec::new()),
            _ => ColumnData::Datum(Vec::new()),
        };
        Column { data, validity: None }
    }

    pub fn len(&self) -> usize {
        match &self.data {
            ColumnData::Bool(v) => v.len(),
            ColumnData::Int2(v) => v.len(),
            ColumnData::Int4(v) => v.len(),
            ColumnData::Int8(v) => v.len(),
            ColumnData::Float4(v) => v.len(),
            ColumnData::Float8(v) => v.len(),
            ColumnData::Text(v) | ColumnData::Bytes(v) => v.len(),
            ColumnData::Date(v) => v.len(),
            ColumnData::Timestamp(v) => v.len(),
            ColumnData::Datum(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_null(&self, row: usize) -> bool {
        match (&self.validity, &self.data) {
            (Some(bits), _) => !bits.get(row),
            (None, ColumnData::Datum(v)) => v[row].is_null(),
            (None, _) => false,
        }
    }

    /// False only if certainly no value is NULL.
    pub fn may_have_nulls(&self) -> bool {
        self.validity.is_some() || matches!(self.data, ColumnData::Datum(_))
    }

    /// A bit for every row, set where the value is not NULL.
    pub fn validity_bitmap(&self) -> Bitmap {
        match &self.validity {
            Some(bits) => bits.clone(),
            None => {
                let mut bits = Bitmap::default();
                (0..self.len()).for_each(|row| bits.push(!self.is_null(row)));
                bits
            }
        }
    }

    /// The value of one row.
    pub fn datum(&self, row: usize) -> Datum {
        if self.is_null(row) {
            return Datum::Null;
        }
        match &self.data {
            ColumnData::Bool(v) => Datum::Bool(v[row]),
            ColumnData::Int2(v) => Datum::Int2(v[row]),
            ColumnData::Int4(v) => Datum::Int4(v[row]),
            ColumnData::Int8(v) => Datum::Int8(v[row]),
            ColumnData::Float4(v) => Datum::Float4(v[row]),
            ColumnData::Float8(v) => Datum::Float8(v[row]),
            ColumnData::Text(v) => Datum::text(v.text(row)),
            ColumnData::Bytes(v) => Datum::Bytes(v.get(row).into()),
            ColumnData::Date(v) => Datum::Date(v[row]),
            ColumnData::Timestamp(v) => Datum::Timestamp(v[row]),
            ColumnData::Datum(v) => v[row].clone(),
        }
    }

    /// Appends a value, which must be NULL or of this column's representation.
    pub fn push(&mut self, value: &Datum) {
        let null = value.is_null();
        let rows = self.len();
        match (&mut self.data, value) {
            (ColumnData::Bool(v), Datum::Bool(x)) => v.push(*x),
            (ColumnData::Int2(v), Datum::Int2(x)) => v.push(*x),
            (ColumnData::Int4(v), Datum::Int4(x)) => v.push(*x),
            (ColumnData::Int8(v), Datum::Int8(x)) => v.push(*x),
            (ColumnData::Float4(v), Datum::Float4(x)) => v.push(*x),
            (ColumnData::Float8(v), Datum::Float8(x)) => v.push(*x),
            (ColumnData::Text(v), Datum::Text(x)) => v.push(x.as_bytes()),
            (ColumnData::Bytes(v), Datum::Bytes(x)) => v.push(x),
            (ColumnData::Date(v), Datum::Date(x)) => v.push(*x),
            (ColumnData::Timestamp(v), Datum::Timestamp(x)) => v.push(*x),
            (ColumnData::Datum(v), x) => v.push(x.clone()),
            (data, Datum::Null) => push_filler(data),
            (data, x) => panic!("value {x:?} in a column of another representation {data:?}"),
        }
        if null && self.validity.is_none() && !matches!(self.data, ColumnData::Datum(_)) {
            self.validity = Some(Bitmap::all_set(rows));
        }
        if let Some(bits) = &mut self.validity {
            bits.push(!null);
        }
    }
}

fn push_filler(data: &mut ColumnData) {
    match data {
        ColumnData::Bool(v) => v.push(false),
        ColumnData::Int2(v) => v.push(0),
        ColumnData::Int4(v) => v.push(0),
        ColumnData::Int8(v) => v.push(0),
        ColumnData::Float4(v) => v.push(0.0),
        ColumnData::Float8(v) => v.push(0.0),
        ColumnData::Text(v) | ColumnData::Bytes(v) => v.push(b""),
        ColumnData::Date(v) => v.push(0),
        ColumnData::Timestamp(v) => v.push(0),
        ColumnData::Datum(v) => v.push(Datum::Null),
    }
}
