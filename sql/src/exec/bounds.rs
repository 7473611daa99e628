//! From the bounds of an access to keys and spans of keys.
//!
//! Bounds are computed at the start of each execution, because they depend on parameters. A comparison with NULL is
//! true for no row, so one NULL empties its section; so does a range whose ends are the wrong way round. A value outside the range of the column's type (a bigint compared
//! with an integer column) is handled by what the comparison means, not by an error.

use meridian_storage::base::{Key, Span};

use super::{ExecContext, eval};
use crate::error::SqlResult;
use crate::plan::physical::{Access, KeyPart, KeyRange, Section};
use crate::row::IndexEncoder;
use crate::row::ValueRef;
use crate::row::key::{Direction, encode};
use crate::types::{Datum, Oid};

/// What is to be read of an index.
#[derive(Debug, PartialEq)]
pub enum Reads {
    /// Whole keys, ascending, without duplicates.
    Points(Vec<Key>),
    /// Ascending, neither overlapping nor touching.
    Spans(Vec<Span>),
}

/// Marker bytes of [`crate::row::key`]: values of a column stand between NULLs first and NULLs last.
const VALUE: u8 = 0x02;
const AFTER_VALUES: u8 = 0x03;

/// `row`: what the bounds' expressions read besides parameters (the left row of a lookup join).
pub fn reads(access: &Access, row: &[Datum], ctx: &ExecContext) -> SqlResult<Reads> {
    let encoder = &access.codec.index;
    if let [section] = access.bounds.sections.as_slice() {
        if let Some(point) = single_point(section, encoder, row, ctx)? {
            return Ok(point);
        }
        return Ok(match section_reads(section, encoder, row, ctx)? {
            Reads::Spans(spans) => Reads::Spans(merged(spans)),
            points => points,
        });
    }
    let mut keys = Vec::new();
    let mut spans = Vec::new();
    for section in &access.bounds.sections {
        match section_reads(section, encoder, row, ctx)? {
            Reads::Points(more) => keys.extend(more),
            Reads::Spans(more) => spans.extend(more),
        }
    }
    Ok(union(keys, spans))
}

/// What is in any of the sections: in the order of the index, and nothing twice.
fn union(mut keys: Vec<Key>, mut spans: Vec<Span>) -> Reads {
    if spans.is_empty() {
        keys.sort_unstable();
        keys.dedup();
        return Reads::Points(keys);
    }
    spans.extend(keys.into_iter().map(Span::prefix));
    spans.sort_unstable();
    Reads::Spans(merged(spans))
}

/// Of spans in ascending order, those that overlap or touch made one.
fn merged(spans: Vec<Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last) if span.start <= last.end => {
                if span.end > last.end {
                    last.end = span.end;
                }
            }
            _ => out.push(span),
        }
    }
    out
}

fn section_reads(
    section: &Section,
    encoder: &IndexEncoder,
    row: &[Datum],
    ctx: &ExecContext,
) -> SqlResult<Reads> {
    let mut prefixes = vec![encoder.prefix().to_vec()];
    let mut has_null = false;
    for (n, part) in section.prefix.iter().enumerate() {
        has_null |= matches!(part, KeyPart::IsNull);
        let values = part_values(part, encoder, n, row, ctx)?;
        prefixes = extend(&prefixes, &values);
        if prefixes.is_empty() {
            return Ok(Reads::Points(Vec::new()));
        }
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    if encoder.unique && section.prefix.len() == encoder.key.len() && !has_null {
        return Ok(Reads::Points(prefixes.into_iter().map(Key::from).collect()));
    }
    let Some(range) = &section.range else {
        return Ok(Reads::Spans(prefixes.into_iter().map(|p| Span::prefix(p.into())).collect()));
    };
    let Some(limits) = limits(range, encoder, section.prefix.len(), row, ctx)? else {
        return Ok(Reads::Spans(Vec::new()));
    };
    Ok(Reads::Spans(prefixes.iter().filter_map(|p| limits.within(p)).collect()))
}

/// The common case, without detours: every column of a unique key is compared with one value.
fn single_point(
    section: &Section,
    encoder: &IndexEncoder,
    row: &[Datum],
    ctx: &ExecContext,
) -> SqlResult<Option<Reads>> {
    let parts = &section.prefix;
    if !encoder.unique || parts.len() != encoder.key.len() {
        return Ok(None);
    }
    let mut key = Vec::with_capacity(16 + 9 * parts.len());
    key.extend_from_slice(encoder.prefix());
    for (part, column) in parts.iter().zip(&encoder.key) {
        let KeyPart::Eq(e) = part else { return Ok(None) };
        let Fit::Exact(value) = fit(eval::value(e, row, ctx)?, column.ty) else {
            return Ok(Some(Reads::Points(Vec::new())));
        };
        encode(&mut key, column.kind, column.direction, ValueRef::from(&value))?;
    }
    Ok(Some(Reads::Points(vec![key.into()])))
}

fn extend(prefixes: &[Vec<u8>], values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if let ([one], [value]) = (prefixes, values) {
        return vec![[one.as_slice(), value].concat()];
    }
    prefixes.iter().flat_map(|p| values.iter().map(move |v| [p.as_slice(), v].concat())).collect()
}

/// The encoded values that a part allows.
fn part_values(
    part: &KeyPart,
    encoder: &IndexEncoder,
    n: usize,
    row: &[Datum],
    ctx: &ExecContext,
) -> SqlResult<Vec<Vec<u8>>> {
    let column = &encoder.key[n];
    let one = |value: Datum| -> SqlResult<Option<Vec<u8>>> {
        let Fit::Exact(value) = fit(value, column.ty) else { return Ok(None) };
        encoded(encoder, n, &value).map(Some)
    };
    let mut out = Vec::new();
    match part {
        KeyPart::IsNull => out.push(encoded(encoder, n, &Datum::Null)?),
        KeyPart::Eq(e) => out.extend(one(eval::value(e, row, ctx)?)?),
        KeyPart::In(list) => {
            for e in list {
                out.extend(one(eval::value(e, row, ctx)?)?);
            }
        }
        KeyPart::InArray(e) => {
            if let Datum::Array(array) = eval::value(e, row, ctx)? {
                for element in &array.elements {
                    out.extend(one(element.clone())?);
                }
            }
        }
    }
    Ok(out)
}

fn encoded(encoder: &IndexEncoder, n: usize, value: &Datum) -> SqlResult<Vec<u8>> {
    let column = &encoder.key[n];
    let mut out = Vec::with_capacity(10);
    encode(&mut out, column.kind, column.direction, ValueRef::from(value))?;
    Ok(out)
}

/// The encoded ends of a range of one column, in the order of the index.
struct Limits {
    /// Keys at or above this; `after`: above everything that begins with it.
    start: (Vec<u8>, bool),
    /// Keys below this; `after`: up to everything that begins with it.
    end: (Vec<u8>, bool),
}

impl Limits {
    fn within(&self, prefix: &[u8]) -> Option<Span> {
        let place = |(bytes, after): &(Vec<u8>, bool)| {
            let key = Key::from([prefix, bytes].concat());
            if *after { key.prefix_end().expect("a key of a table is not all 0xff") } else { key }
        };
        let (start, end) = (place(&self.start), place(&self.end));
        (start < end).then(|| Span::new(start, end))
    }
}

/// `None`: no value qualifies.
fn limits(
    range: &KeyRange,
    encoder: &IndexEncoder,
    n: usize,
    row: &[Datum],
    ctx: &ExecContext,
) -> SqlResult<Option<Limits>> {
    let Direction { descending, .. } = encoder.key[n].direction;
    let mut lower = None;
    let mut upper = None;
    for (bound, is_lower, to) in [(&range.lower, true, &mut lower), (&range.upper, false, &mut upper)] {
        let Some((e, inclusive)) = bound else { continue };
        match fit(eval::value(e, row, ctx)?, encoder.key[n].ty) {
            Fit::Null => return Ok(None),
            Fit::Exact(value) => *to = Some((encoded(encoder, n, &value)?, *inclusive)),
            // Beyond the type's values: everything or nothing is on the wanted side of it.
            Fit::Below if is_lower => {}
            Fit::Above if !is_lower => {}
            Fit::Below | Fit::Above => return Ok(None),
        }
    }
    let (first, last) = if descending { (upper, lower) } else { (lower, upper) };
    Ok(Some(Limits {
        start: first.map_or((vec![VALUE], false), |(bytes, inclusive)| (bytes, !inclusive)),
        end: last.map_or((vec![AFTER_VALUES], false), |(bytes, inclusive)| (bytes, inclusive)),
    }))
}

/// A value as one of the column's type.
enum Fit {
    Null,
    Exact(Datum),
    /// Less than every value of the type.
    Below,
    Above,
}

fn fit(value: Datum, ty: Oid) -> Fit {
    let integer = match value {
        Datum::Null => return Fit::Null,
        Datum::Int2(v) => i64::from(v),
        Datum::Int4(v) => i64::from(v),
        Datum::Int8(v) => v,
        other => return Fit::Exact(other),
    };
    let outside = || if integer < 0 { Fit::Below } else { Fit::Above };
    match ty {
        Oid::INT2 => i16::try_from(integer).map_or_else(|_| outside(), |v| Fit::Exact(Datum::Int2(v))),
        Oid::INT4 => i32::try_from(integer).map_or_else(|_| outside(), |v| Fit::Exact(Datum::Int4(v))),
        Oid::OID => u32::try_from(integer).map_or_else(|_| outside(), |v| Fit::Exact(Datum::Oid(v))),
        _ => Fit::Exact(Datum::Int8(integer)),
    }
}
