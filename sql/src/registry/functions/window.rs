//! Window functions: entries only, the window operator implements them by name.

use crate::registry::Function;
use crate::types::Oid;

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::window(3100, "row_number", &[], Oid::INT8),
    Function::window(3101, "rank", &[], Oid::INT8),
    Function::window(3102, "dense_rank", &[], Oid::INT8),
    Function::window(3103, "percent_rank", &[], Oid::FLOAT8),
    Function::window(3104, "cume_dist", &[], Oid::FLOAT8),
    Function::window(3105, "ntile", &[Oid::INT4], Oid::INT4),
    Function::window(3106, "lag", &[Oid::ANYELEMENT], Oid::ANYELEMENT),
    Function::window(3107, "lag", &[Oid::ANYELEMENT, Oid::INT4], Oid::ANYELEMENT),
    Function::window(3108, "lag", &[Oid::ANYCOMPATIBLE, Oid::INT4, Oid::ANYCOMPATIBLE], Oid::ANYCOMPATIBLE),
    Function::window(3109, "lead", &[Oid::ANYELEMENT], Oid::ANYELEMENT),
    Function::window(3110, "lead", &[Oid::ANYELEMENT, Oid::INT4], Oid::ANYELEMENT),
    Function::window(3111, "lead", &[Oid::ANYCOMPATIBLE, Oid::INT4, Oid::ANYCOMPATIBLE], Oid::ANYCOMPATIBLE),
    Function::window(3112, "first_value", &[Oid::ANYELEMENT], Oid::ANYELEMENT),
    Function::window(3113, "last_value", &[Oid::ANYELEMENT], Oid::ANYELEMENT),
    Function::window(3114, "nth_value", &[Oid::ANYELEMENT, Oid::INT4], Oid::ANYELEMENT),
];
