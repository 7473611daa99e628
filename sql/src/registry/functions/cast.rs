//! The functions behind casts between booleans, strings and the one-byte "char".

use super::arguments::{boolean, int, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, Function};
use crate::types::{Datum, Oid, text as forms};

fn bool_to_int4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(i32::from(boolean(&args[0]))))
}

fn int4_to_bool(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(int(&args[0]) != 0))
}

fn bool_to_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(if boolean(&args[0]) { "true" } else { "false" }))
}

/// char(n) loses its padding when it becomes text.
fn bpchar_to_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = text(&args[0]);
    let trimmed = value.trim_end_matches(' ');
    Ok(if trimmed.len() == value.len() { args[0].clone() } else { Datum::text(trimmed) })
}

fn same(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(args[0].clone())
}

fn to_name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(forms::truncate_name(text(&args[0]))))
}

fn bpchar_to_name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(forms::truncate_name(text(&args[0]).trim_end_matches(' '))))
}

fn to_char(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let value = text(&args[0]);
    Ok(Datum::text(value.chars().next().map_or("", |c| &value[..c.len_utf8()])))
}

fn char_to_int4(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(text(&args[0]).chars().next().map_or(0, |c| c as i32)))
}

fn int4_to_char(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    match int(&args[0]) {
        0 => Ok(Datum::text("")),
        code @ 1..=127 => Ok(Datum::text((code as u8 as char).encode_utf8(&mut [0; 4]))),
        _ => Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "\"char\" out of range")),
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(2558, "int4", &[Oid::BOOL], Oid::INT4, bool_to_int4),
    Function::row(2557, "bool", &[Oid::INT4], Oid::BOOL, int4_to_bool),
    Function::row(2971, "text", &[Oid::BOOL], Oid::TEXT, bool_to_text),
    Function::row(401, "text", &[Oid::BPCHAR], Oid::TEXT, bpchar_to_text),
    Function::row(946, "text", &[Oid::CHAR], Oid::TEXT, same),
    Function::row(406, "text", &[Oid::NAME], Oid::TEXT, same),
    Function::row(860, "bpchar", &[Oid::CHAR], Oid::BPCHAR, same),
    Function::row(408, "bpchar", &[Oid::NAME], Oid::BPCHAR, same),
    Function::row(1401, "varchar", &[Oid::NAME], Oid::VARCHAR, same),
    Function::row(407, "name", &[Oid::TEXT], Oid::NAME, to_name),
    Function::row(1400, "name", &[Oid::VARCHAR], Oid::NAME, to_name),
    Function::row(409, "name", &[Oid::BPCHAR], Oid::NAME, bpchar_to_name),
    Function::row(944, "char", &[Oid::TEXT], Oid::CHAR, to_char),
    Function::row(77, "int4", &[Oid::CHAR], Oid::INT4, char_to_int4),
    Function::row(78, "char", &[Oid::INT4], Oid::CHAR, int4_to_char),
];
