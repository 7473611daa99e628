//! Regular expressions: `~` and its kin, regexp_replace, regexp_match and so on, SIMILAR TO.
//!
//! PostgreSQL's advanced syntax is translated to the `regex` crate's. What that engine cannot do - back references and
//! lookaround - is refused. Where alternatives match at the same place, it takes the first and not the longest.

use std::cell::RefCell;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use rustc_hash::FxHashMap;

use super::arguments::{int, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{CallTypes, EvalContext, Function};
use crate::types::{Array, Datum, Oid};

/// What the letters of a `flags` argument say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Flags {
    global: bool,
    ignore_case: bool,
    /// `.` and `[^…]` do not match newlines, which `^` and `$` do.
    newline: bool,
    extended: bool,
    literal: bool,
}

impl Flags {
    fn parse(letters: &str) -> SqlResult<Flags> {
        let mut flags = Flags::default();
        for c in letters.chars() {
            match c {
                'g' => flags.global = true,
                'i' => flags.ignore_case = true,
                'c' => flags.ignore_case = false,
                'n' | 'm' => flags.newline = true,
                's' => flags.newline = false,
                'x' => flags.extended = true,
                't' | 'e' | 'b' => {}
                'q' => flags.literal = true,
                _ => {
                    return Err(SqlError::new(
                        state::INVALID_PARAMETER_VALUE,
                        format!("invalid regular expression option: \"{c}\""),
                    ));
                }
            }
        }
        Ok(flags)
    }

    fn argument(args: &[Datum], at: usize) -> SqlResult<Flags> {
        args.get(at).map_or(Ok(Flags::default()), |f| Flags::parse(text(f)))
    }

    fn not_global(self, function: &str) -> SqlResult<Flags> {
        if self.global {
            return Err(SqlError::new(
                state::INVALID_PARAMETER_VALUE,
                format!("{function}() does not support the \"global\" option"),
            ));
        }
        Ok(self)
    }
}

thread_local! {
    /// Compiled patterns: a pattern is nearly always used again at once, for the next row.
    static CACHE: RefCell<FxHashMap<(String, Flags), Regex>> = RefCell::default();
}

const CACHE_ENTRIES: usize = 128;

fn compile(pattern: &str, flags: Flags) -> SqlResult<Regex> {
    let flags = Flags { global: false, ..flags };
    let key = (pattern.to_owned(), flags);
    if let Some(regex) = CACHE.with_borrow(|cache| cache.get(&key).cloned()) {
        return Ok(regex);
    }
    let source = if flags.literal { regex::escape(pattern) } else { translate(pattern)? };
    let regex = RegexBuilder::new(&source)
        .case_insensitive(flags.ignore_case)
        .dot_matches_new_line(!flags.newline)
        .multi_line(flags.newline)
        .ignore_whitespace(flags.extended)
        .size_limit(10 << 20)
        .build()
        .map_err(|e| invalid_expression(&e))?;
    CACHE.with_borrow_mut(|cache| {
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        cache.insert(key, regex.clone());
    });
    Ok(regex)
}

/// The engine's complaint in PostgreSQL's words, where it has some.
fn invalid_expression(error: &regex::Error) -> SqlError {
    let message = error.to_string();
    let last = message.lines().last().unwrap_or("").trim_start_matches("error: ");
    let reason = match last {
        "unclosed group" | "unopened group" => "parentheses () not balanced",
        "unclosed character class" => "brackets [] not balanced",
        "repetition operator missing expression" => "quantifier operand invalid",
        "invalid repetition count range, the start must be <= the end" => "invalid repetition count(s)",
        "unclosed counted repetition" => "braces {} not balanced",
        "invalid character class range, the start must be <= the end" => "invalid character range",
        other => other,
    };
    SqlError::new("2201B", format!("invalid regular expression: {reason}"))
}

/// PostgreSQL's escapes in the `regex` crate's words.
fn translate(pattern: &str) -> SqlResult<String> {
    let pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    if let Some(literal) = pattern.strip_prefix("***=") {
        return Ok(regex::escape(literal));
    }
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('y') => out.push_str("\\b"),
                Some('Y') => out.push_str("\\B"),
                Some('m') => out.push_str("\\b{start}"),
                Some('M') => out.push_str("\\b{end}"),
                Some('A') => out.push_str("\\A"),
                Some('Z') => out.push_str("\\z"),
                Some(d @ '1'..='9') if !in_class => {
                    return Err(SqlError::unsupported(format!(
                        "back reference \\{d} in a regular expression"
                    )));
                }
                Some(
                    e @ ('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' | 'x' | 'u'),
                ) => {
                    out.push('\\');
                    out.push(e);
                }
                Some(e) if e.is_ascii_alphabetic() => {
                    return Err(SqlError::new(
                        "2201B",
                        "invalid regular expression: invalid escape \\ sequence",
                    ));
                }
                Some(e) => out.push_str(&regex::escape(e.encode_utf8(&mut [0; 4]))),
                None => {
                    return Err(SqlError::new(
                        "2201B",
                        "invalid regular expression: invalid escape \\ sequence",
                    ));
                }
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                // A bracket that comes first stands for itself.
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '(' if !in_class && chars.peek() == Some(&'?') => {
                let mut ahead = chars.clone();
                ahead.next();
                if matches!(ahead.peek(), Some('=' | '!' | '<')) {
                    return Err(SqlError::unsupported("lookaround in a regular expression"));
                }
                out.push('(');
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn matches(args: &[Datum], ignore_case: bool) -> SqlResult<bool> {
    let regex = compile(text(&args[1]), Flags { ignore_case, ..Flags::default() })?;
    Ok(regex.is_match(text(&args[0])))
}

fn regex_eq(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    matches(args, false).map(Datum::Bool)
}

fn regex_ne(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    matches(args, false).map(|m| Datum::Bool(!m))
}

fn icregex_eq(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    matches(args, true).map(Datum::Bool)
}

fn icregex_ne(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    matches(args, true).map(|m| Datum::Bool(!m))
}

/// PostgreSQL's replacement syntax: `\1` a group, `\&` the whole match, `\\` a backslash.
fn expand(replacement: &str, captures: &regex::Captures<'_>, out: &mut String) {
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(d @ '1'..='9') => {
                let group = d as usize - '0' as usize;
                out.push_str(captures.get(group).map_or("", |m| m.as_str()));
            }
            Some('&') => out.push_str(&captures[0]),
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}

fn replace(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let (value, replacement) = (text(&args[0]), text(&args[2]));
    let flags = Flags::argument(args, 3)?;
    let regex = compile(text(&args[1]), flags)?;
    let mut out = String::with_capacity(value.len());
    let mut last = 0;
    for captures in regex.captures_iter(value) {
        let whole = captures.get(0).expect("group 0 is the match");
        out.push_str(&value[last..whole.start()]);
        expand(replacement, &captures, &mut out);
        last = whole.end();
        if !flags.global {
            break;
        }
    }
    out.push_str(&value[last..]);
    Ok(Datum::text(&out))
}

/// The groups of a match, or the whole match if there are none.
fn groups(captures: &regex::Captures<'_>) -> Datum {
    let group = |m: Option<regex::Match<'_>>| m.map_or(Datum::Null, |m| Datum::text(m.as_str()));
    let values = if captures.len() == 1 {
        vec![group(captures.get(0))]
    } else {
        captures.iter().skip(1).map(group).collect()
    };
    Datum::Array(Arc::new(Array::from_elements(Oid::TEXT, values)))
}

fn first_match(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let flags = Flags::argument(args, 2)?
        .not_global("regexp_match")
        .map_err(|e| e.with_hint("Use the regexp_matches function instead."))?;
    let regex = compile(text(&args[1]), flags)?;
    Ok(regex.captures(text(&args[0])).map_or(Datum::Null, |c| groups(&c)))
}

fn all_matches(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<Vec<Datum>>> {
    let flags = Flags::argument(args, 2)?;
    let regex = compile(text(&args[1]), flags)?;
    let limit = if flags.global { usize::MAX } else { 1 };
    Ok(regex.captures_iter(text(&args[0])).take(limit).map(|c| vec![groups(&c)]).collect())
}

/// The pieces between matches; an empty match splits between characters but not at the ends.
fn split(args: &[Datum], function: &str) -> SqlResult<Vec<Datum>> {
    let value = text(&args[0]);
    let flags = Flags::argument(args, 2)?.not_global(function)?;
    let regex = compile(text(&args[1]), flags)?;
    let mut parts = Vec::new();
    let mut last = 0;
    for found in regex.find_iter(value) {
        if found.is_empty() && (found.start() == last || found.start() == value.len()) {
            continue;
        }
        parts.push(Datum::text(&value[last..found.start()]));
        last = found.end();
    }
    parts.push(Datum::text(&value[last..]));
    Ok(parts)
}

fn split_to_array(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let parts = split(args, "regexp_split_to_array")?;
    Ok(Datum::Array(Arc::new(Array::from_elements(Oid::TEXT, parts))))
}

fn split_to_table(_: &EvalContext<'_>, _: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Vec<Vec<Datum>>> {
    Ok(split(args, "regexp_split_to_table")?.into_iter().map(|p| vec![p]).collect())
}

/// The rest of a text from a 1-based character on.
fn from_character(value: &str, start: i64) -> SqlResult<&str> {
    if start < 1 {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"start\": {start}"),
        ));
    }
    Ok(value.char_indices().nth(start as usize - 1).map_or("", |(at, _)| &value[at..]))
}

fn count(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = from_character(text(&args[0]), args.get(2).map_or(1, int))?;
    let regex = compile(text(&args[1]), Flags::argument(args, 3)?.not_global("regexp_count")?)?;
    Ok(Datum::Int4(regex.find_iter(value).count() as i32))
}

fn is_like(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let regex = compile(text(&args[1]), Flags::argument(args, 2)?.not_global("regexp_like")?)?;
    Ok(Datum::Bool(regex.is_match(text(&args[0]))))
}

fn nth_match(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = from_character(text(&args[0]), args.get(2).map_or(1, int))?;
    let n = args.get(3).map_or(1, int);
    if n < 1 {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"n\": {n}"),
        ));
    }
    let regex = compile(text(&args[1]), Flags::argument(args, 4)?.not_global("regexp_substr")?)?;
    Ok(regex.find_iter(value).nth(n as usize - 1).map_or(Datum::Null, |m| Datum::text(m.as_str())))
}

/// `substring(text from pattern)`: the first group, or the match.
fn substring(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let regex = compile(text(&args[1]), Flags::default())?;
    let Some(captures) = regex.captures(text(&args[0])) else { return Ok(Datum::Null) };
    let found = if captures.len() > 1 { captures.get(1) } else { captures.get(0) };
    Ok(found.map_or(Datum::Null, |m| Datum::text(m.as_str())))
}

/// A SIMILAR TO pattern as a regular expression.
fn similar(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    let mut quotes = 0;
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => match chars.next() {
                // `#"`: the part that substring() returns stands between two of them.
                Some('"') => {
                    out.push_str(if quotes == 0 { "){1,1}?(" } else { "){1,1}(?:" });
                    quotes += 1;
                }
                Some(next) => out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
                None => {}
            },
            '[' => {
                in_class = true;
                out.push('[');
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '%' if !in_class => out.push_str(".*"),
            '_' if !in_class => out.push('.'),
            '(' if !in_class => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' if !in_class => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    out
}

fn similar_to_escape(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let escape = match args.get(1) {
        None => Some('\\'),
        Some(escape) => {
            let mut chars = text(escape).chars();
            match (chars.next(), chars.next()) {
                (escape, None) => escape,
                _ => {
                    return Err(SqlError::new(state::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                        .with_hint("Escape string must be empty or one character."));
                }
            }
        }
    };
    Ok(Datum::text(&similar(text(&args[0]), escape)))
}

/// `substring(text similar pattern escape e)`.
fn similar_substring(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let pattern = similar_to_escape(ctx, &args[1..])?;
    substring(ctx, &[args[0].clone(), pattern])
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(1254, "textregexeq", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, regex_eq),
    Function::row(1256, "textregexne", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, regex_ne),
    Function::row(1238, "texticregexeq", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, icregex_eq),
    Function::row(1239, "texticregexne", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, icregex_ne),
    Function::row(79, "nameregexeq", &[Oid::NAME, Oid::TEXT], Oid::BOOL, regex_eq),
    Function::row(1252, "nameregexne", &[Oid::NAME, Oid::TEXT], Oid::BOOL, regex_ne),
    Function::row(1240, "nameicregexeq", &[Oid::NAME, Oid::TEXT], Oid::BOOL, icregex_eq),
    Function::row(1241, "nameicregexne", &[Oid::NAME, Oid::TEXT], Oid::BOOL, icregex_ne),
    Function::row(1658, "bpcharregexeq", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, regex_eq),
    Function::row(1659, "bpcharregexne", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, regex_ne),
    Function::row(1656, "bpcharicregexeq", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, icregex_eq),
    Function::row(1657, "bpcharicregexne", &[Oid::BPCHAR, Oid::TEXT], Oid::BOOL, icregex_ne),
    Function::row(2284, "regexp_replace", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, replace),
    Function::row(2285, "regexp_replace", &[Oid::TEXT, Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, replace),
    Function::row(3396, "regexp_match", &[Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, first_match),
    Function::row(3397, "regexp_match", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, first_match),
    Function::set(2763, "regexp_matches", &[Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, all_matches),
    Function::set(2764, "regexp_matches", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, all_matches),
    Function::row(2767, "regexp_split_to_array", &[Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, split_to_array),
    Function::row(2768, "regexp_split_to_array", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT_ARRAY, split_to_array),
    Function::set(2765, "regexp_split_to_table", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, split_to_table),
    Function::set(2766, "regexp_split_to_table", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, split_to_table),
    Function::row(6254, "regexp_count", &[Oid::TEXT, Oid::TEXT], Oid::INT4, count),
    Function::row(6255, "regexp_count", &[Oid::TEXT, Oid::TEXT, Oid::INT4], Oid::INT4, count),
    Function::row(6256, "regexp_count", &[Oid::TEXT, Oid::TEXT, Oid::INT4, Oid::TEXT], Oid::INT4, count),
    Function::row(6263, "regexp_like", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, is_like),
    Function::row(6264, "regexp_like", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::BOOL, is_like),
    Function::row(6265, "regexp_substr", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, nth_match),
    Function::row(6266, "regexp_substr", &[Oid::TEXT, Oid::TEXT, Oid::INT4], Oid::TEXT, nth_match),
    Function::row(6267, "regexp_substr", &[Oid::TEXT, Oid::TEXT, Oid::INT4, Oid::INT4], Oid::TEXT, nth_match),
    Function::row(6268, "regexp_substr", &[Oid::TEXT, Oid::TEXT, Oid::INT4, Oid::INT4, Oid::TEXT], Oid::TEXT, nth_match),
    Function::row(2073, "substring", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, substring),
    Function::row(2074, "substring", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::TEXT, similar_substring),
    Function::row(1987, "similar_to_escape", &[Oid::TEXT], Oid::TEXT, similar_to_escape),
    Function::row(1986, "similar_to_escape", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, similar_to_escape),
];
