//! LIKE and ILIKE.

use super::arguments::{bytes, text};
use super::string::lower_case;
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function, Operand};
use crate::types::{Column, ColumnData, Datum, Oid};

fn dangling_escape() -> SqlError {
    SqlError::new(state::INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character")
}

/// Matches bytes; `%` any bytes, `_` one character (`wide`: of UTF-8), `\` takes the next literally.
fn like(value: &[u8], pattern: &[u8], wide: bool) -> SqlResult<bool> {
    let (mut v, mut p) = (0, 0);
    // Where to go on when the text behind the last % does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                retry = Some((v, p));
                continue;
            }
            Some(b'_') if v < value.len() => {
                v += if wide { width(value[v]) } else { 1 };
                p += 1;
                true
            }
            Some(b'\\') => {
                let literal = pattern.get(p + 1).ok_or_else(dangling_escape)?;
                let same = value.get(v) == Some(literal);
                (v, p) = if same { (v + 1, p + 2) } else { (v, p) };
                same
            }
            Some(c) if value.get(v) == Some(c) => {
                (v, p) = (v + 1, p + 1);
                true
            }
            None if v >= value.len() => return Ok(true),
            _ => false,
        };
        if matched {
            continue;
        }
        match retry {
            Some((from, after)) if from < value.len() => {
                v = from + if wide { width(value[from]) } else { 1 };
                p = after;
                retry = Some((v, after));
            }
            _ => return Ok(false),
        }
    }
}

/// Bytes of the UTF-8 character that starts so.
fn width(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

fn text_like(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    like(text(&args[0]).as_bytes(), text(&args[1]).as_bytes(), true).map(Datum::Bool)
}

fn text_not_like(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    like(text(&args[0]).as_bytes(), text(&args[1]).as_bytes(), true).map(|m| Datum::Bool(!m))
}

fn ilike(args: &[Datum]) -> SqlResult<bool> {
    like(lower_case(text(&args[0])).as_bytes(), lower_case(text(&args[1])).as_bytes(), true)
}

fn text_ilike(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    ilike(args).map(Datum::Bool)
}

fn text_not_ilike(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    ilike(args).map(|m| Datum::Bool(!m))
}

fn bytes_like(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    like(bytes(&args[0]), bytes(&args[1]), false).map(Datum::Bool)
}

fn bytes_not_like(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    like(bytes(&args[0]), bytes(&args[1]), false).map(|m| Datum::Bool(!m))
}

/// A text column against one pattern; anything else row by row.
fn vector(args: &[Operand<'_>], rows: usize, negated: bool) -> SqlResult<Column> {
    if let [
        Operand::Column(Column { data: ColumnData::Text(values), validity }),
        Operand::Const(Datum::Text(pattern)),
    ] = args
    {
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            out.push(like(values.get(row), pattern.as_bytes(), true)? != negated);
        }
        return Ok(Column { data: ColumnData::Bool(out), validity: validity.clone() });
    }
    let mut out = Column::for_type(Oid::BOOL);
    for row in 0..rows {
        out.push(&match (args[0].datum(row), args[1].datum(row)) {
            (Datum::Text(v), Datum::Text(p)) => {
                Datum::Bool(like(v.as_bytes(), p.as_bytes(), true)? != negated)
            }
            _ => Datum::Null,
        });
    }
    Ok(out)
}

fn vector_like(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
    vector(args, rows, false)
}

fn vector_not_like(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
    vector(args, rows, true)
}

/// `LIKE … ESCAPE c`: the pattern with `\` as its escape character.
fn like_escape(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (pattern, escape) = (text(&args[0]), text(&args[1]));
    let mut escapes = escape.chars();
    let escape = match (escapes.next(), escapes.next()) {
        (escape, None) => escape,
        _ => {
            return Err(SqlError::new(state::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                .with_hint("Escape string must be empty or one character."));
        }
    };
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                out.push('\\');
                out.extend(chars.next());
            }
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    Ok(Datum::text(&out))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(850, "textlike", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, text_like).vector(vector_like),
    Function::row(851, "textnlike", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, text_not_like).vector(vector_not_like),
    Function::row(1569, "like", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, text_like).vector(vector_like),
    Function::row(1570, "notlike", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, text_not_like).vector(vector_not_like),
    Function::row(1631, "bpcharlike", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, text_like).vector(vector_like),
    Function::row(1632, "bpcharnlike", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, text_not_like).vector(vector_not_like),
    Function::row(858, "namelike", &[Oid::NAME, Oid::TEXT], Oid::BOOL, text_like).vector(vector_like),
    Function::row(859, "namenlike", &[Oid::NAME, Oid::TEXT], Oid::BOOL, text_not_like).vector(vector_not_like),
    Function::row(2005, "bytealike", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, bytes_like),
    Function::row(2006, "byteanlike", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, bytes_not_like),
    Function::row(1633, "texticlike", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, text_ilike),
    Function::row(1634, "texticnlike", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, text_not_ilike),
    Function::row(1660, "bpchariclike", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, text_ilike),
    Function::row(1661, "bpcharicnlike", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, text_not_ilike),
    Function::row(1635, "nameiclike", &[Oid::NAME, Oid::TEXT], Oid::BOOL, text_ilike),
    Function::row(1636, "nameicnlike", &[Oid::NAME, Oid::TEXT], Oid::BOOL, text_not_ilike),
    Function::row(1637, "like_escape", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, like_escape),
];
