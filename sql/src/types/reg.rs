//! Text forms of oid and of the types that name catalog objects by OID.

use std::fmt::Write;

use super::Oid;
use super::text::ObjectNames;
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{format_type, function_by_oid, functions_named, operator_by_oid, operators_named};
use crate::registry::{type_by_name, type_info, type_name};
use crate::types::SqlType;

/// Appends the name of the object, or its number if it has none any more.
pub fn write(ty: Oid, oid: u32, names: &dyn ObjectNames, out: &mut String) {
    let name = match ty {
        _ if oid == 0 && ty != Oid::OID && ty != Oid::XID && ty != Oid::CID => Some("-".to_owned()),
        Oid::REGCLASS => names.relation_name(Oid(oid)),
        Oid::REGTYPE => type_info(Oid(oid)).map(|_| format_type(SqlType::new(Oid(oid)))),
        Oid::REGPROC => function_by_oid(Oid(oid)).map(|f| f.name.to_owned()),
        Oid::REGPROCEDURE => function_by_oid(Oid(oid)).map(|f| {
            let args: Vec<String> = f.args.iter().map(|a| type_name(*a)).collect();
            format!("{}({})", f.name, args.join(","))
        }),
        Oid::REGOPER => operator_by_oid(Oid(oid)).map(|o| o.name.to_owned()),
        Oid::REGOPERATOR => operator_by_oid(Oid(oid)).map(|o| {
            let left = if o.is_prefix() { "NONE".to_owned() } else { type_name(o.left) };
            format!("{}({left},{})", o.name, type_name(o.right))
        }),
        Oid::REGNAMESPACE => names.namespace_name(Oid(oid)),
        Oid::REGROLE => names.role_name(Oid(oid)),
        _ => None,
    };
    match name {
        Some(name) => out.push_str(&name),
        None => write!(out, "{oid}").expect("writing to a string"),
    }
}

/// An unsigned number; PostgreSQL also takes negative ones that fit 32 bits.
pub fn parse_oid(ty: Oid, text: &str) -> SqlResult<u32> {
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let value: i64 = match body.parse() {
        Ok(value) => value,
        Err(_) => return Err(super::text::invalid(ty, text)),
    };
    if (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&value) {
        return Ok(value as u32);
    }
    Err(SqlError::new(
        state::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{body}\" is out of range for type {}", type_name(ty)),
    ))
}

/// The object of a name, a number, or `-` for none.
pub fn parse(ty: Oid, text: &str, names: &dyn ObjectNames) -> SqlResult<u32> {
    let text = text.trim();
    if text == "-" {
        return Ok(0);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return parse_oid(Oid::OID, text);
    }
    let missing = |code, message: String| Err(SqlError::new(code, message));
    let bare = text.strip_prefix("pg_catalog.").unwrap_or(text);
    let found = match ty {
        Oid::REGCLASS => match names.relation_oid(text)? {
            Some(oid) => Some(oid),
            None => return missing(state::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist")),
        },
        Oid::REGTYPE => match type_by_name(text) {
            Some(oid) => Some(oid),
            None => return missing(state::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist")),
        },
        Oid::REGPROC => match functions_named(bare) {
            [] => return missing(state::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist")),
            [f] => Some(f.oid),
            _ => {
                return missing(
                    state::AMBIGUOUS_FUNCTION,
                    format!("more than one function named \"{text}\""),
                );
            }
        },
        Oid::REGPROCEDURE => match procedure(bare) {
            Some(oid) => Some(oid),
            None => return missing(state::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist")),
        },
        Oid::REGOPER => match operators_named(bare) {
            [] => return missing(state::UNDEFINED_FUNCTION, format!("operator does not exist: {text}")),
            [o] => Some(o.oid),
            _ => return missing(state::AMBIGUOUS_FUNCTION, format!("more than one operator named {text}")),
        },
        Oid::REGNAMESPACE => match names.namespace_oid(&unquoted(text)) {
            Some(oid) => Some(oid),
            None => return missing(state::INVALID_SCHEMA_NAME, format!("schema \"{text}\" does not exist")),
        },
        Oid::REGROLE => match names.role_oid(&unquoted(text)) {
            Some(oid) => Some(oid),
            None => return missing(state::UNDEFINED_OBJECT, format!("role \"{text}\" does not exist")),
        },
        _ => None,
    };
    found.map(|oid| oid.0).ok_or_else(|| SqlError::unsupported(format!("input of type {}", type_name(ty))))
}

fn procedure(text: &str) -> Option<Oid> {
    let (name, rest) = text.split_once('(')?;
    let args = rest.trim_end().strip_suffix(')')?;
    let args: Vec<Oid> = match args.trim() {
        "" => Vec::new(),
        list => list.split(',').map(type_by_name).collect::<Option<_>>()?,
    };
    functions_named(name.trim()).iter().find(|f| f.args == args).map(|f| f.oid)
}

/// An identifier as SQL reads it: folded to lower case unless quoted.
fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}
