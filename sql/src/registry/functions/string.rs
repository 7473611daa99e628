//! Functions of text: length, parts, search, case, padding, trimming, quoting.

use super::arguments::{bytes, int, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{CallTypes, EvalContext, Function, Operand};
use crate::types::{Column, ColumnData, Datum, Oid, VarBytes, text as forms};

fn negative_length() -> SqlError {
    SqlError::new(state::SUBSTRING_ERROR, "negative substring length not allowed")
}

fn too_large() -> SqlError {
    SqlError::new(state::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// The longest text that a function may make.
const MAX_LENGTH: usize = 1 << 30;

fn text_cat(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Text([text(&args[0]), text(&args[1])].concat().into()))
}

fn bytes_cat(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bytes([bytes(&args[0]), bytes(&args[1])].concat().into()))
}

/// `text || any` and `any || text`: through the text form.
fn any_cat(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut out = String::new();
    for (value, ty) in args.iter().zip(types.args) {
        cast_text(ty.oid, value, ctx, &mut out);
    }
    Ok(Datum::text(&out))
}

/// As a cast to text: booleans in full, char(n) without its padding.
fn cast_text(ty: Oid, value: &Datum, ctx: &EvalContext<'_>, out: &mut String) {
    match value {
        Datum::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Datum::Text(v) if ty == Oid::BPCHAR => out.push_str(v.trim_end_matches(' ')),
        value => forms::write_value(ty, value, &ctx.text(), out),
    }
}

fn characters(s: &str) -> usize {
    if s.is_ascii() { s.len() } else { s.chars().count() }
}

fn char_length(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(characters(text(&args[0])) as i32))
}

fn vector_char_length(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
    let Operand::Column(Column { data: ColumnData::Text(values), validity }) = &args[0] else {
        let mut out = Column::for_type(Oid::INT4);
        for row in 0..rows {
            out.push(&match args[0].datum(row) {
                Datum::Text(v) => Datum::Int4(characters(&v) as i32),
                _ => Datum::Null,
            });
        }
        return Ok(out);
    };
    let lengths = (0..rows).map(|row| characters(values.text(row)) as i32).collect();
    Ok(Column { data: ColumnData::Int4(lengths), validity: validity.clone() })
}

fn bpchar_length(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(characters(text(&args[0]).trim_end_matches(' ')) as i32))
}

fn octet_length(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(octets(&args[0]) as i32))
}

fn bit_length(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(octets(&args[0]) as i32 * 8))
}

fn octets(value: &Datum) -> usize {
    match value {
        Datum::Text(v) => v.len(),
        value => bytes(value).len(),
    }
}

/// Case maps character by character, as the C library's functions do: what would become several stays.
fn upper_case(s: &str) -> String {
    fn map(c: char) -> char {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(u), None) => u,
            _ => c,
        }
    }
    if s.is_ascii() { s.to_ascii_uppercase() } else { s.chars().map(map).collect() }
}

pub(super) fn lower_case(s: &str) -> String {
    fn map(c: char) -> char {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(l), None) => l,
            _ => c,
        }
    }
    if s.is_ascii() { s.to_ascii_lowercase() } else { s.chars().map(map).collect() }
}

fn lower(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(&lower_case(text(&args[0]))))
}

fn upper(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(&upper_case(text(&args[0]))))
}

/// Lower and upper case of a whole column of ASCII text; other text row by row.
fn vector_case(args: &[Operand<'_>], rows: usize, map: fn(&str) -> String) -> Column {
    let mut out = Column { data: ColumnData::Text(VarBytes::default()), validity: None };
    for row in 0..rows {
        out.push(&match args[0].datum(row) {
            Datum::Text(v) => Datum::text(&map(&v)),
            _ => Datum::Null,
        });
    }
    out
}

fn vector_lower(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
    Ok(vector_case(args, rows, lower_case))
}

fn vector_upper(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
    Ok(vector_case(args, rows, upper_case))
}

fn initcap(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut out = String::new();
    let mut in_word = false;
    for c in text(&args[0]).chars() {
        if in_word {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        in_word = c.is_alphanumeric();
    }
    Ok(Datum::text(&out))
}

/// Characters `start` to `start + length` (1-based, cut to what is there) as a byte range.
fn character_range(s: &str, start: i64, length: Option<i64>) -> SqlResult<std::ops::Range<usize>> {
    let end = match length {
        None => i64::MAX,
        Some(n) if n < 0 && start.checked_add(n).is_some() => return Err(negative_length()),
        Some(n) => start.saturating_add(n),
    };
    let first = start.max(1) - 1;
    let last = (end.max(1) - 1).max(first);
    let offset = |at: i64| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if s.is_ascii() { at.min(s.len()) } else { s.char_indices().nth(at).map_or(s.len(), |(i, _)| i) }
    };
    Ok(offset(first)..offset(last))
}

fn substring(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let s = text(&args[0]);
    let range = character_range(s, int(&args[1]), args.get(2).map(int))?;
    Ok(Datum::text(&s[range]))
}

fn bytes_substring(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let b = bytes(&args[0]);
    let start = int(&args[1]);
    let end = match args.get(2).map(int) {
        None => i64::MAX,
        Some(n) if n < 0 => return Err(negative_length()),
        Some(n) => start.saturating_add(n),
    };
    let first = (start.max(1) - 1).min(b.len() as i64);
    let last = (end.max(1) - 1).min(b.len() as i64).max(first);
    Ok(Datum::Bytes(b[first as usize..last as usize].into()))
}

fn overlay(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, new, start) = (text(&args[0]), text(&args[1]), int(&args[2]));
    let length = args.get(3).map_or_else(|| characters(new) as i64, int);
    if start <= 0 {
        return Err(negative_length());
    }
    let head = character_range(s, 1, Some(start - 1))?;
    let tail = character_range(s, start.saturating_add(length), None)?;
    Ok(Datum::text(&[&s[head], new, &s[tail]].concat()))
}

/// Keeps `n` characters from the front; negative: all but the last -n.
fn left(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, n) = (text(&args[0]), int(&args[1]));
    let keep = if n < 0 { (characters(s) as i64 + n).max(0) } else { n };
    Ok(Datum::text(&s[character_range(s, 1, Some(keep))?]))
}

fn right(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, n) = (text(&args[0]), int(&args[1]));
    let length = characters(s) as i64;
    let skip = if n < 0 { -n } else { (length - n).max(0) };
    Ok(Datum::text(&s[character_range(s, skip + 1, None)?]))
}

fn pad(args: &[Datum], at_left: bool) -> SqlResult<Datum> {
    let (s, width) = (text(&args[0]), int(&args[1]).max(0) as usize);
    let fill = args.get(2).map_or(" ", text);
    if width > MAX_LENGTH {
        return Err(too_large());
    }
    let length = characters(s);
    if length >= width {
        return Ok(Datum::text(&s[character_range(s, 1, Some(width as i64))?]));
    }
    if fill.is_empty() {
        return Ok(args[0].clone());
    }
    let padding: String = fill.chars().cycle().take(width - length).collect();
    Ok(Datum::text(&if at_left { padding + s } else { s.to_owned() + &padding }))
}

fn lpad(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    pad(args, true)
}

fn rpad(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    pad(args, false)
}

fn trim_set(args: &[Datum]) -> impl Fn(char) -> bool {
    let set: Vec<char> = args.get(1).map_or(" ", text).chars().collect();
    move |c| set.contains(&c)
}

fn btrim(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let in_set = trim_set(args);
    Ok(Datum::text(text(&args[0]).trim_matches(&in_set)))
}

fn ltrim(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let in_set = trim_set(args);
    Ok(Datum::text(text(&args[0]).trim_start_matches(&in_set)))
}

fn rtrim(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let in_set = trim_set(args);
    Ok(Datum::text(text(&args[0]).trim_end_matches(&in_set)))
}

fn bytes_trim(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (b, set) = (bytes(&args[0]), bytes(&args[1]));
    let start = b.iter().position(|x| !set.contains(x)).unwrap_or(b.len());
    let end = b.iter().rposition(|x| !set.contains(x)).map_or(start, |i| i + 1);
    Ok(Datum::Bytes(b[start..end].into()))
}

fn position(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, part) = (text(&args[0]), text(&args[1]));
    Ok(Datum::Int4(s.find(part).map_or(0, |at| characters(&s[..at]) as i32 + 1)))
}

fn bytes_position(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let at = memchr::memmem::find(bytes(&args[0]), bytes(&args[1]));
    Ok(Datum::Int4(at.map_or(0, |at| at as i32 + 1)))
}

fn replace(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, from, to) = (text(&args[0]), text(&args[1]), text(&args[2]));
    Ok(if from.is_empty() { args[0].clone() } else { Datum::text(&s.replace(from, to)) })
}

fn translate(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, from, to) = (text(&args[0]), text(&args[1]), text(&args[2]));
    let to: Vec<char> = to.chars().collect();
    let from: Vec<char> = from.chars().collect();
    let out: String = s
        .chars()
        .filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        })
        .collect();
    Ok(Datum::text(&out))
}

fn split_part(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, separator, n) = (text(&args[0]), text(&args[1]), int(&args[2]));
    if n == 0 {
        return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    let parts: Vec<&str> = match (s.is_empty(), separator.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![s],
        (false, false) => s.split(separator).collect(),
    };
    let at = if n > 0 { n - 1 } else { parts.len() as i64 + n };
    Ok(Datum::text(usize::try_from(at).ok().and_then(|at| parts.get(at)).unwrap_or(&"")))
}

fn repeat(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (s, n) = (text(&args[0]), int(&args[1]).max(0) as usize);
    if s.len().saturating_mul(n) > MAX_LENGTH {
        return Err(too_large());
    }
    Ok(Datum::text(&s.repeat(n)))
}

fn reverse(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(&text(&args[0]).chars().rev().collect::<String>()))
}

fn concat(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut out = String::new();
    for (value, ty) in args.iter().zip(types.args) {
        forms::write_value(ty.oid, value, &ctx.text(), &mut out);
    }
    Ok(Datum::text(&out))
}

fn concat_ws(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Text(separator) = &args[0] else { return Ok(Datum::Null) };
    let mut out = String::new();
    let mut first = true;
    for (value, ty) in args.iter().zip(types.args).skip(1).filter(|(v, _)| !v.is_null()) {
        if !std::mem::take(&mut first) {
            out.push_str(separator);
        }
        forms::write_value(ty.oid, value, &ctx.text(), &mut out);
    }
    Ok(Datum::text(&out))
}

fn ascii(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(text(&args[0]).chars().next().map_or(0, |c| c as i32)))
}

fn chr(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let code = int(&args[0]);
    if code == 0 {
        return Err(SqlError::new(state::PROGRAM_LIMIT_EXCEEDED, "null character not permitted"));
    }
    if code < 0 {
        return Err(SqlError::new(state::PROGRAM_LIMIT_EXCEEDED, "character number must be positive"));
    }
    match u32::try_from(code).ok().and_then(char::from_u32) {
        Some(c) => Ok(Datum::text(c.encode_utf8(&mut [0; 4]))),
        None => Err(SqlError::new(
            state::PROGRAM_LIMIT_EXCEEDED,
            format!("requested character too large for encoding: {code}"),
        )),
    }
}

fn to_hex(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(&match &args[0] {
        Datum::Int4(v) => format!("{v:x}"),
        other => format!("{:x}", int(other)),
    }))
}

fn starts_with(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(text(&args[0]).starts_with(text(&args[1]))))
}

/// Keywords that cannot stand as a bare identifier everywhere.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
    "between", "bigint", "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check",
    "coalesce", "collate", "collation", "column", "concurrently", "constraint", "create", "cross",
    "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct",
    "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign",
    "freeze", "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in",
    "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull",
    "join", "lateral", "leading", "least", "left", "like", "limit", "localtime", "localtimestamp",
    "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif", "numeric",
    "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing", "position",
    "precision", "primary", "real", "references", "returning", "right", "row", "select", "session_user",
    "setof", "similar", "smallint", "some", "substring", "symmetric", "table", "tablesample", "then",
    "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using",
    "values", "varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes",
    "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
    "xmlserialize", "xmltable",
];

/// An identifier as it must be written in SQL.
pub fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && KEYWORDS.binary_search(&name).is_err();
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A string literal; with backslashes it takes the E form.
pub fn quote_string(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if value.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn quote_ident(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(&quote_identifier(text(&args[0]))))
}

fn quote_literal(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut form = String::new();
    cast_text(types.args[0].oid, &args[0], ctx, &mut form);
    Ok(Datum::text(&quote_string(&form)))
}

fn quote_nullable(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    if args[0].is_null() { Ok(Datum::text("NULL")) } else { quote_literal(ctx, types, args) }
}

/// Names are folded and qualified names split, as SQL does: `parse_ident`.
fn parse_ident(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let source = text(&args[0]);
    let invalid = || {
        SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("string is not a valid identifier: \"{source}\""),
        )
    };
    let mut parts = Vec::new();
    let mut rest = source.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut at = 0;
            loop {
                let end = quoted[at..].find('"').ok_or_else(invalid)? + at;
                name.push_str(&quoted[at..end]);
                if quoted[end + 1..].starts_with('"') {
                    name.push('"');
                    at = end + 2;
                } else {
                    rest = quoted[end + 1..].trim_start();
                    break;
                }
            }
            if name.is_empty() {
                return Err(invalid());
            }
            parts.push(Datum::text(&name));
        } else {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
                return Err(invalid());
            }
            parts.push(Datum::text(&rest[..end].to_lowercase()));
            rest = rest[end..].trim_start();
        }
        match rest.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() => break,
            None => return Err(invalid()),
        }
    }
    let names = crate::types::Array::from_elements(Oid::TEXT, parts);
    Ok(Datum::Array(std::sync::Arc::new(names)))
}

/// `format(…)`: `%[n$][-][width]{s|I|L}` and `%%`.
fn format(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let Datum::Text(template) = &args[0] else { return Ok(Datum::Null) };
    let (values, value_types) = (&args[1..], &types.args[1..]);
    let invalid = |message: String| SqlError::new(state::INVALID_PARAMETER_VALUE, message);
    let argument = |n: usize| -> SqlResult<(&Datum, Oid)> {
        values
            .get(n)
            .map(|v| (v, value_types[n].oid))
            .ok_or_else(|| invalid("too few arguments for format()".into()))
    };
    let mut out = String::new();
    let mut next = 0;
    let mut rest = &**template;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let directive = Directive::parse(&mut rest).ok_or_else(|| {
            invalid("unterminated format() type specifier".into()).with_hint("For a single \"%\" use \"%%\".")
        })?;
        let (mut left, mut width) = (directive.left, directive.width);
        if directive.width_from_argument {
            let n = directive.width_position.map_or(next, |p| p - 1);
            next = n + 1;
            let (value, _) = argument(n)?;
            width = if value.is_null() { 0 } else { int(value) };
            if width < 0 {
                (left, width) = (true, -width);
            }
        }
        if directive.position == Some(0) {
            return Err(invalid("format specifies argument 0, but arguments are numbered from 1".into()));
        }
        let n = directive.position.map_or(next, |p| p - 1);
        next = n + 1;
        let (value, ty) = argument(n)?;
        let mut plain = String::new();
        forms::write_value(ty, value, &ctx.text(), &mut plain);
        let shown = match (directive.kind, value.is_null()) {
            ('s', _) => plain,
            ('I', true) => {
                return Err(SqlError::new(
                    state::NULL_VALUE_NOT_ALLOWED,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            ('I', false) => quote_identifier(&plain),
            ('L', true) => "NULL".to_owned(),
            ('L', false) => quote_string(&plain),
            (kind, _) => {
                return Err(invalid(format!("unrecognized format() type specifier \"{kind}\""))
                    .with_hint("For a single \"%\" use \"%%\"."));
            }
        };
        let missing = (width as usize).saturating_sub(characters(&shown));
        if !left {
            out.extend(std::iter::repeat_n(' ', missing));
        }
        out.push_str(&shown);
        if left {
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }
    out.push_str(rest);
    Ok(Datum::text(&out))
}

struct Directive {
    position: Option<usize>,
    left: bool,
    width: i64,
    width_from_argument: bool,
    width_position: Option<usize>,
    kind: char,
}

impl Directive {
    fn parse(rest: &mut &str) -> Option<Directive> {
        fn number(rest: &mut &str) -> Option<usize> {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let value = rest[..digits].parse().ok()?;
            *rest = &rest[digits..];
            Some(value)
        }
        let mut d = Directive {
            position: None,
            left: false,
            width: 0,
            width_from_argument: false,
            width_position: None,
            kind: 's',
        };
        let start = *rest;
        if let Some(n) = number(rest) {
            match rest.strip_prefix('$') {
                Some(after) => {
                    d.position = Some(n);
                    *rest = after;
                }
                None => *rest = start,
            }
        }
        while let Some(after) = rest.strip_prefix('-') {
            d.left = true;
            *rest = after;
        }
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            d.width_from_argument = true;
            let start = *rest;
            if let Some(n) = number(rest) {
                match rest.strip_prefix('$') {
                    Some(after) => {
                        d.width_position = Some(n.max(1));
                        *rest = after;
                    }
                    None => *rest = start,
                }
            }
        } else if let Some(n) = number(rest) {
            d.width = n as i64;
        }
        d.kind = rest.chars().next()?;
        *rest = &rest[d.kind.len_utf8()..];
        Some(d)
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(1258, "textcat", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, text_cat),
    Function::row(2011, "byteacat", &[Oid::BYTEA, Oid::BYTEA], Oid::BYTEA, bytes_cat),
    Function::typed(2003, "textanycat", &[Oid::TEXT, Oid::ANYNONARRAY], Oid::TEXT, any_cat).stable(),
    Function::typed(2004, "anytextcat", &[Oid::ANYNONARRAY, Oid::TEXT], Oid::TEXT, any_cat).stable(),
    Function::row(1317, "length", &[Oid::TEXT], Oid::INT4, char_length).vector(vector_char_length),
    Function::row(1381, "char_length", &[Oid::TEXT], Oid::INT4, char_length).vector(vector_char_length),
    Function::row(1369, "character_length", &[Oid::TEXT], Oid::INT4, char_length).vector(vector_char_length),
    Function::row(1318, "length", &[Oid::BPCHAR], Oid::INT4, bpchar_length),
    Function::row(1372, "char_length", &[Oid::BPCHAR], Oid::INT4, bpchar_length),
    Function::row(1367, "character_length", &[Oid::BPCHAR], Oid::INT4, bpchar_length),
    Function::row(2010, "length", &[Oid::BYTEA], Oid::INT4, octet_length),
    Function::row(1374, "octet_length", &[Oid::TEXT], Oid::INT4, octet_length),
    Function::row(1375, "octet_length", &[Oid::BPCHAR], Oid::INT4, octet_length),
    Function::row(720, "octet_length", &[Oid::BYTEA], Oid::INT4, octet_length),
    Function::row(1811, "bit_length", &[Oid::TEXT], Oid::INT4, bit_length),
    Function::row(1810, "bit_length", &[Oid::BYTEA], Oid::INT4, bit_length),
    Function::row(870, "lower", &[Oid::TEXT], Oid::TEXT, lower).vector(vector_lower),
    Function::row(871, "upper", &[Oid::TEXT], Oid::TEXT, upper).vector(vector_upper),
    Function::row(872, "initcap", &[Oid::TEXT], Oid::TEXT, initcap),
    Function::row(883, "substr", &[Oid::TEXT, Oid::INT4], Oid::TEXT, substring),
    Function::row(877, "substr", &[Oid::TEXT, Oid::INT4, Oid::INT4], Oid::TEXT, substring),
    Function::row(937, "substring", &[Oid::TEXT, Oid::INT4], Oid::TEXT, substring),
    Function::row(936, "substring", &[Oid::TEXT, Oid::INT4, Oid::INT4], Oid::TEXT, substring),
    Function::row(2086, "substr", &[Oid::BYTEA, Oid::INT4], Oid::BYTEA, bytes_substring),
    Function::row(2085, "substr", &[Oid::BYTEA, Oid::INT4, Oid::INT4], Oid::BYTEA, bytes_substring),
    Function::row(2013, "substring", &[Oid::BYTEA, Oid::INT4], Oid::BYTEA, bytes_substring),
    Function::row(2012, "substring", &[Oid::BYTEA, Oid::INT4, Oid::INT4], Oid::BYTEA, bytes_substring),
    Function::row(1405, "overlay", &[Oid::TEXT, Oid::TEXT, Oid::INT4], Oid::TEXT, overlay),
    Function::row(1404, "overlay", &[Oid::TEXT, Oid::TEXT, Oid::INT4, Oid::INT4], Oid::TEXT, overlay),
    Function::row(3060, "left", &[Oid::TEXT, Oid::INT4], Oid::TEXT, left),
    Function::row(3061, "right", &[Oid::TEXT, Oid::INT4], Oid::TEXT, right),
    Function::row(879, "lpad", &[Oid::TEXT, Oid::INT4], Oid::TEXT, lpad),
    Function::row(873, "lpad", &[Oid::TEXT, Oid::INT4, Oid::TEXT], Oid::TEXT, lpad),
    Function::row(880, "rpad", &[Oid::TEXT, Oid::INT4], Oid::TEXT, rpad),
    Function::row(874, "rpad", &[Oid::TEXT, Oid::INT4, Oid::TEXT], Oid::TEXT, rpad),
    Function::row(885, "btrim", &[Oid::TEXT], Oid::TEXT, btrim),
    Function::row(884, "btrim", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, btrim),
    Function::row(2015, "btrim", &[Oid::BYTEA, Oid::BYTEA], Oid::BYTEA, bytes_trim),
    Function::row(881, "ltrim", &[Oid::TEXT], Oid::TEXT, ltrim),
    Function::row(875, "ltrim", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, ltrim),
    Function::row(882, "rtrim", &[Oid::TEXT], Oid::TEXT, rtrim),
    Function::row(876, "rtrim", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, rtrim),
    Function::row(849, "position", &[Oid::TEXT, Oid::TEXT], Oid::INT4, position),
    Function::row(868, "strpos", &[Oid::TEXT, Oid::TEXT], Oid::INT4, position),
    Function::row(2014, "position", &[Oid::BYTEA, Oid::BYTEA], Oid::INT4, bytes_position),
    Function::row(2087, "replace", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, replace),
    Function::row(878, "translate", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, translate),
    Function::row(2088, "split_part", &[Oid::TEXT, Oid::TEXT, Oid::INT4], Oid::TEXT, split_part),
    Function::row(1622, "repeat", &[Oid::TEXT, Oid::INT4], Oid::TEXT, repeat),
    Function::row(3062, "reverse", &[Oid::TEXT], Oid::TEXT, reverse),
    Function::typed(3058, "concat", &[Oid::ANY], Oid::TEXT, concat).stable().lax().variadic(),
    Function::typed(3059, "concat_ws", &[Oid::TEXT, Oid::ANY], Oid::TEXT, concat_ws).stable().lax().variadic(),
    Function::row(1620, "ascii", &[Oid::TEXT], Oid::INT4, ascii),
    Function::row(1621, "chr", &[Oid::INT4], Oid::TEXT, chr),
    Function::row(2089, "to_hex", &[Oid::INT4], Oid::TEXT, to_hex),
    Function::row(2090, "to_hex", &[Oid::INT8], Oid::TEXT, to_hex),
    Function::row(3696, "starts_with", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, starts_with),
    Function::row(1282, "quote_ident", &[Oid::TEXT], Oid::TEXT, quote_ident),
    Function::typed(1283, "quote_literal", &[Oid::TEXT], Oid::TEXT, quote_literal),
    Function::typed(1285, "quote_literal", &[Oid::ANYELEMENT], Oid::TEXT, quote_literal).stable(),
    Function::typed(1289, "quote_nullable", &[Oid::TEXT], Oid::TEXT, quote_nullable).lax(),
    Function::typed(1290, "quote_nullable", &[Oid::ANYELEMENT], Oid::TEXT, quote_nullable).stable().lax(),
    Function::row(1268, "parse_ident", &[Oid::TEXT, Oid::BOOL], Oid::TEXT_ARRAY, parse_ident),
    Function::row(9001, "parse_ident", &[Oid::TEXT], Oid::TEXT_ARRAY, parse_ident),
    Function::typed(3539, "format", &[Oid::TEXT, Oid::ANY], Oid::TEXT, format).stable().lax().variadic(),
    Function::typed(3540, "format", &[Oid::TEXT], Oid::TEXT, format).stable().lax(),
];
