//! The functions, by area: each file holds the bodies and, at its end, its part of the table.

pub mod comparison;
pub mod integer;
pub mod float;
pub mod numeric;
pub mod cast;
pub mod string;
pub mod pattern;
pub mod regexp;
pub mod encoding;
pub mod datetime;
pub mod datetime_parts;
pub mod to_char;
pub mod to_char_number;
pub mod array;
pub mod aggregate;
pub mod statistics;
pub mod collect;
pub mod window;
pub mod series;
pub mod json;
pub mod system;
mod arguments;

use super::function::Function;

/// All parts of the function table.
pub static AREAS: &[&[Function]] = &[
    comparison::FUNCTIONS,
    integer::FUNCTIONS,
    float::FUNCTIONS,
    numeric::FUNCTIONS,
    cast::FUNCTIONS,
    string::FUNCTIONS,
    pattern::FUNCTIONS,
    regexp::FUNCTIONS,
    encoding::FUNCTIONS,
    datetime::FUNCTIONS,
    datetime_parts::FUNCTIONS,
    to_char::FUNCTIONS,
    to_char_number::FUNCTIONS,
    array::FUNCTIONS,
    aggregate::FUNCTIONS,
    statistics::FUNCTIONS,
    collect::FUNCTIONS,
    window::FUNCTIONS,
    series::FUNCTIONS,
    json::FUNCTIONS,
    system::FUNCTIONS,
];
