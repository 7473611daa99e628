//! Text forms of arrays: `{1,2,NULL,"a b"}`, `[0:1]={a,b}`, nested braces for more dimensions.

use std::fmt::Write;
use std::sync::Arc;

use super::text::{TextContext, input, write_value};
use super::{Array, Datum, Oid, SqlType};
use crate::error::{SqlError, SqlResult, state};

const MAX_DIMENSIONS: usize = 6;

pub fn write(oid: Oid, array: &Array, ctx: &TextContext<'_>, out: &mut String) {
    if matches!(oid, Oid::INT2VECTOR | Oid::OIDVECTOR) {
        return write_vector(array, ctx, out);
    }
    if array.dims.is_empty() {
        out.push_str("{}");
        return;
    }
    if array.dims.iter().any(|(_, lower)| *lower != 1) {
        for (length, lower) in &array.dims {
            write!(out, "[{lower}:{}]", lower + length - 1).expect("writing to a string");
        }
        out.push('=');
    }
    let mut elements = array.elements.iter();
    write_dimension(array.element, &array.dims, &mut elements, ctx, out);
}

fn write_dimension<'a>(
    element: Oid,
    dims: &[(i32, i32)],
    elements: &mut impl Iterator<Item = &'a Datum>,
    ctx: &TextContext<'_>,
    out: &mut String,
) {
    out.push('{');
    for i in 0..dims[0].0 {
        if i > 0 {
            out.push(',');
        }
        if dims.len() > 1 {
            write_dimension(element, &dims[1..], elements, ctx, out);
            continue;
        }
        match elements.next() {
            None | Some(Datum::Null) => out.push_str("NULL"),
            Some(value) => {
                let start = out.len();
                write_value(element, value, ctx, out);
                quote_from(start, out);
            }
        }
    }
    out.push('}');
}

/// Quotes what was appended from `start` on, if an array literal needs it.
fn quote_from(start: usize, out: &mut String) {
    let text = &out[start..];
    let special =
        |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\u{b}';
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return;
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    out.truncate(start);
    out.push('"');
    out.push_str(&quoted);
    out.push('"');
}

fn write_vector(array: &Array, ctx: &TextContext<'_>, out: &mut String) {
    for (i, value) in array.elements.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        write_value(array.element, value, ctx, out);
    }
}

/// `1 2 3`: the form of int2vector and oidvector, whose lower bound is 0.
pub fn parse_vector(oid: Oid, text: &str, ctx: &TextContext<'_>) -> SqlResult<Datum> {
    let element = if oid == Oid::OIDVECTOR { Oid::OID } else { Oid::INT2 };
    let elements = text
        .split_ascii_whitespace()
        .map(|word| input(SqlType::new(element), word, ctx))
        .collect::<SqlResult<Vec<_>>>()?;
    let dims = if elements.is_empty() { Vec::new() } else { vec![(elements.len() as i32, 0)] };
    Ok(Datum::Array(Arc::new(Array { element, dims, elements })))
}

/// Parses an array of `element`s.
pub fn parse(element: SqlType, text: &str, ctx: &TextContext<'_>) -> SqlResult<Datum> {
    let mut parser = Parser { text, rest: text, element, ctx, elements: Vec::new(), lengths: Vec::new() };
    let bounds = parser.bounds()?;
    parser.skip_blanks();
    if !parser.rest.starts_with('{') {
        return Err(parser.malformed("Array value must start with \"{\" or dimension information."));
    }
    parser.dimension(0)?;
    parser.skip_blanks();
    if !parser.rest.is_empty() {
        return Err(parser.malformed("Junk after closing right brace."));
    }
    let dims = parser.finish_dims(bounds)?;
    let array = Array { element: element.oid, dims, elements: parser.elements };
    Ok(Datum::Array(Arc::new(array)))
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    element: SqlType,
    ctx: &'a TextContext<'a>,
    elements: Vec<Datum>,
    /// Length of each dimension, once one array of it has been read to its end.
    lengths: Vec<Option<i32>>,
}

impl Parser<'_> {
    fn malformed(&self, detail: &str) -> SqlError {
        SqlError::new(
            state::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{}\"", self.text),
        )
        .with_detail(detail)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    /// `[lower:upper]…=` in front, as (lower, upper).
    fn bounds(&mut self) -> SqlResult<Option<Vec<(i32, i32)>>> {
        self.skip_blanks();
        if !self.rest.starts_with('[') {
            return Ok(None);
        }
        let mut bounds = Vec::new();
        while let Some(inner) = self.rest.strip_prefix('[') {
            let (spec, rest) = inner
                .split_once(']')
                .ok_or_else(|| self.malformed("Missing \"]\" after array dimensions."))?;
            let number = |s: &str| {
                s.trim().parse::<i32>().map_err(|_| self.malformed("Missing array dimension value."))
            };
            let (lower, upper) = match spec.split_once(':') {
                Some((lower, upper)) => (number(lower)?, number(upper)?),
                None => (1, number(spec)?),
            };
            if upper < lower {
                return Err(SqlError::new("2202E", "upper bound cannot be less than lower bound"));
            }
            bounds.push((lower, upper));
            self.rest = rest;
            self.skip_blanks();
        }
        let rest = self
            .rest
            .strip_prefix('=')
            .ok_or_else(|| self.malformed("Missing \"=\" after array dimensions."))?;
        self.rest = rest;
        Ok(Some(bounds))
    }

    /// One `{…}` of dimension `depth`; `rest` starts with the brace.
    fn dimension(&mut self, depth: usize) -> SqlResult<()> {
        if depth >= MAX_DIMENSIONS {
            return Err(SqlError::new(
                state::PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "number of array dimensions ({}) exceeds the maximum allowed ({MAX_DIMENSIONS})",
                    depth + 1
                ),
            ));
        }
        self.rest = &self.rest[1..];
        if self.lengths.len() == depth {
            self.lengths.push(None);
        }
        let mut count = 0;
        let mut has_values = false;
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return self.close(depth, 0);
        }
        loop {
            self.skip_blanks();
            if self.rest.starts_with('{') {
                if has_values {
                    return Err(self.ragged());
                }
                self.dimension(depth + 1)?;
            } else {
                if self.lengths.len() > depth + 1 {
                    return Err(self.ragged());
                }
                self.value()?;
                has_values = true;
            }
            count += 1;
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return self.close(depth, count);
            } else if self.rest.is_empty() {
                return Err(self.malformed("Unexpected end of input."));
            } else {
                return Err(self.malformed("Unexpected array element."));
            }
        }
    }

    fn ragged(&self) -> SqlError {
        self.malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
    }

    fn close(&mut self, depth: usize, count: i32) -> SqlResult<()> {
        match self.lengths[depth] {
            Some(length) if length != count => Err(self.ragged()),
            _ => {
                self.lengths[depth] = Some(count);
                Ok(())
            }
        }
    }

    fn value(&mut self) -> SqlResult<()> {
        let (text, quoted) =
            if self.rest.starts_with('"') { (self.quoted()?, true) } else { (self.bare()?, false) };
        let value = if !quoted && text.eq_ignore_ascii_case("null") {
            Datum::Null
        } else {
            input(self.element, &text, self.ctx)?
        };
        self.elements.push(value);
        Ok(())
    }

    fn quoted(&mut self) -> SqlResult<String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, escaped)) => out.push(escaped),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.malformed("Unexpected end of input."))
    }

    fn bare(&mut self) -> SqlResult<String> {
        let mut out = String::new();
        // Blanks at the end do not count, unless escaped.
        let mut keep = 0;
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                ',' | '}' => {
                    end = at;
                    break;
                }
                '{' => return Err(self.malformed("Unexpected \"{\" character.")),
                '"' => return Err(self.malformed("Unexpected array element.")),
                '\\' => {
                    if let Some((_, escaped)) = chars.next() {
                        out.push(escaped);
                        keep = out.len();
                    }
                }
                c => {
                    out.push(c);
                    if !c.is_ascii_whitespace() {
                        keep = out.len();
                    }
                }
            }
        }
        self.rest = &self.rest[end..];
        out.truncate(keep);
        if out.is_empty() {
            let detail = match self.rest.chars().next() {
                Some(c) => format!("Unexpected \"{c}\" character."),
                None => "Unexpected end of input.".to_owned(),
            };
            return Err(self.malformed(&detail));
        }
        Ok(out)
    }

    fn finish_dims(&self, bounds: Option<Vec<(i32, i32)>>) -> SqlResult<Vec<(i32, i32)>> {
        let lengths: Vec<i32> = self.lengths.iter().map(|l| l.unwrap_or(0)).collect();
        let Some(bounds) = bounds else {
            return Ok(if self.elements.is_empty() {
                Vec::new()
            } else {
                lengths.iter().map(|l| (*l, 1)).collect()
            });
        };
        let declared: Vec<i32> = bounds.iter().map(|(lower, upper)| upper - lower + 1).collect();
        if declared != lengths {
            return Err(self.malformed("Specified array dimensions do not match array contents."));
        }
        Ok(bounds.iter().zip(lengths).map(|((lower, _), length)| (length, *lower)).collect())
    }
}
