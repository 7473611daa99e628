//! The order of values: one comparison for all types, by representation.
//!
//! It is the order that ORDER BY, b-tree indexes and DISTINCT see: NaN above all numbers and equal to itself, text by
//! bytes (collation C), arrays and records element by element with NULLs last. Values of different integer or float
//! widths compare by value. char(n) compares without its trailing blanks; since text has the same representation,
//! that is the affair of bpchar's own operators and of [`compare_typed`].

use std::cmp::Ordering;

use super::{Array, Datum, Interval, Json, Oid, Record};

/// Compares two values that are not NULL; a NULL is above every value.
pub fn compare(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Int4(x), Datum::Int4(y)) => x.cmp(y),
        (Datum::Int8(x), Datum::Int8(y)) => x.cmp(y),
        (Datum::Text(x), Datum::Text(y)) => x.as_bytes().cmp(y.as_bytes()),
        (Datum::Bool(x), Datum::Bool(y)) => x.cmp(y),
        (Datum::Numeric(x), Datum::Numeric(y)) => x.compare(y),
        (Datum::Bytes(x), Datum::Bytes(y)) => x.cmp(y),
        (Datum::Date(x), Datum::Date(y)) => x.cmp(y),
        (Datum::Time(x), Datum::Time(y)) | (Datum::Timestamp(x), Datum::Timestamp(y)) => x.cmp(y),
        (Datum::Interval(x), Datum::Interval(y)) => x.span().cmp(&y.span()),
        (Datum::Uuid(x), Datum::Uuid(y)) => x.cmp(y),
        (Datum::Oid(x), Datum::Oid(y)) => x.cmp(y),
        (Datum::Array(x), Datum::Array(y)) => compare_arrays(x, y),
        (Datum::Record(x), Datum::Record(y)) => compare_records(x, y),
        (Datum::Jsonb(x), Datum::Jsonb(y)) => compare_json(x, y),
        (Datum::Null, Datum::Null) => Ordering::Equal,
        (Datum::Null, _) => Ordering::Greater,
        (_, Datum::Null) => Ordering::Less,
        _ => compare_mixed(a, b),
    }
}

/// As [`compare`], for values of a known type: char(n) ignores trailing blanks.
pub fn compare_typed(oid: Oid, a: &Datum, b: &Datum) -> Ordering {
    match (oid, a, b) {
        (Oid::BPCHAR, Datum::Text(x), Datum::Text(y)) => {
            x.trim_end_matches(' ').as_bytes().cmp(y.trim_end_matches(' ').as_bytes())
        }
        _ => compare(a, b),
    }
}

/// PostgreSQL's order of floats: -0 = 0, NaN = NaN above everything.
pub fn compare_floats(x: f64, y: f64) -> Ordering {
    x.partial_cmp(&y).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()))
}

fn integer(d: &Datum) -> Option<i64> {
    match d {
        Datum::Int2(v) => Some(i64::from(*v)),
        Datum::Int4(v) => Some(i64::from(*v)),
        Datum::Int8(v) => Some(*v),
        Datum::Oid(v) => Some(i64::from(*v)),
        _ => None,
    }
}

fn float(d: &Datum) -> Option<f64> {
    match d {
        Datum::Float4(v) => Some(f64::from(*v)),
        Datum::Float8(v) => Some(*v),
        _ => None,
    }
}

fn compare_mixed(a: &Datum, b: &Datum) -> Ordering {
    if let (Some(x), Some(y)) = (integer(a), integer(b)) {
        return x.cmp(&y);
    }
    if let (Some(x), Some(y)) = (float(a), float(b)) {
        return compare_floats(x, y);
    }
    panic!("values of different types compared: {a:?} and {b:?}")
}

fn compare_arrays(a: &Array, b: &Array) -> Ordering {
    let by_element =
        a.elements.iter().zip(&b.elements).map(|(x, y)| compare_typed(a.element, x, y)).find(|o| o.is_ne());
    by_element
        .unwrap_or_else(|| a.elements.len().cmp(&b.elements.len()))
        .then_with(|| a.dims.len().cmp(&b.dims.len()))
        .then_with(|| a.dims.cmp(&b.dims))
}

fn compare_records(a: &Record, b: &Record) -> Ordering {
    let mut types = a.types.iter();
    let mut next_type = || types.next().copied().unwrap_or(Oid::INVALID);
    let by_field =
        a.fields.iter().zip(&b.fields).map(|(x, y)| compare_typed(next_type(), x, y)).find(|o| o.is_ne());
    by_field.unwrap_or_else(|| a.fields.len().cmp(&b.fields.len()))
}

/// jsonb's order: Object > Array > Boolean > Number > String > Null; more members above fewer.
pub fn compare_json(a: &Json, b: &Json) -> Ordering {
    fn rank(j: &Json) -> u8 {
        match j {
            Json::Null => 0,
            Json::String(_) => 1,
            Json::Number(_) => 2,
            Json::Bool(_) => 3,
            Json::Array(_) => 4,
            Json::Object(_) => 5,
        }
    }
    match (a, b) {
        (Json::String(x), Json::String(y)) => x.as_bytes().cmp(y.as_bytes()),
        (Json::Number(x), Json::Number(y)) => x.compare(y),
        (Json::Bool(x), Json::Bool(y)) => x.cmp(y),
        (Json::Array(x), Json::Array(y)) => x.len().cmp(&y.len()).then_with(|| {
            x.iter().zip(y).map(|(x, y)| compare_json(x, y)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Json::Object(x), Json::Object(y)) => x.len().cmp(&y.len()).then_with(|| {
            let member = |((k, v), (l, w)): (&(String, Json), &(String, Json))| {
                k.as_bytes().cmp(l.as_bytes()).then_with(|| compare_json(v, w))
            };
            x.iter().zip(y).map(member).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

impl Interval {
    /// Microseconds, counting a month as 30 days: PostgreSQL's order of intervals.
    pub fn span(&self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * 86_400_000_000 + i128::from(self.micros)
    }
}

/// Writes a form of the value that is equal for equal values (as [`compare`] sees it) of one type, and different for
/// different ones: the key of a hash table. NULL has a form too. Not ordered.
pub fn hash_key(value: &Datum, out: &mut Vec<u8>) {
    fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        out.push(tag);
        out.extend_from_slice(bytes);
    }
    fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        out.push(tag);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    match value {
        Datum::Null => out.push(0),
        Datum::Bool(v) => tagged(out, 1, &[u8::from(*v)]),
        Datum::Int2(v) => tagged(out, 2, &i64::from(*v).to_le_bytes()),
        Datum::Int4(v) => tagged(out, 2, &i64::from(*v).to_le_bytes()),
        Datum::Int8(v) => tagged(out, 2, &v.to_le_bytes()),
        Datum::Oid(v) => tagged(out, 2, &i64::from(*v).to_le_bytes()),
        Datum::Float4(v) => tagged(out, 3, &canonical_float(f64::from(*v))),
        Datum::Float8(v) => tagged(out, 3, &canonical_float(*v)),
        Datum::Numeric(n) => {
            out.push(4);
            n.hash_key(out);
        }
        Datum::Text(v) => sized(out, 5, v.as_bytes()),
        Datum::Bytes(v) => sized(out, 6, v),
        Datum::Date(v) => tagged(out, 7, &v.to_le_bytes()),
        Datum::Time(v) => tagged(out, 8, &v.to_le_bytes()),
        Datum::Timestamp(v) => tagged(out, 9, &v.to_le_bytes()),
        Datum::Interval(v) => tagged(out, 10, &v.span().to_le_bytes()),
        Datum::Uuid(v) => tagged(out, 11, v),
        Datum::Array(a) => {
            tagged(out, 12, &(a.dims.len() as u32).to_le_bytes());
            for (length, lower) in &a.dims {
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&lower.to_le_bytes());
            }
            a.elements.iter().for_each(|e| hash_key(e, out));
        }
        Datum::Record(r) => {
            tagged(out, 13, &(r.fields.len() as u32).to_le_bytes());
            r.fields.iter().for_each(|e| hash_key(e, out));
        }
        Datum::Jsonb(j) => hash_json(j, out),
    }
}

fn canonical_float(v: f64) -> [u8; 8] {
    let v = if v.is_nan() { f64::NAN } else { v + 0.0 };
    v.to_bits().to_le_bytes()
}

fn hash_json(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.push(20),
        Json::Bool(v) => out.extend_from_slice(&[21, u8::from(*v)]),
        Json::Number(n) => {
            out.push(22);
            n.hash_key(out);
        }
        Json::String(s) => {
            out.push(23);
            out.extend_from_slice(&(s.len() as u32).to_le_bytes());
            out.extend_from_slice(s.as_bytes());
        }
        Json::Array(a) => {
            out.push(24);
            out.extend_from_slice(&(a.len() as u32).to_le_bytes());
            a.iter().for_each(|e| hash_json(e, out));
        }
        Json::Object(o) => {
            out.push(25);
            out.extend_from_slice(&(o.len() as u32).to_le_bytes());
            for (key, value) in o {
                hash_json(&Json::String(key.clone()), out);
                hash_json(value, out);
            }
        }
    }
}
