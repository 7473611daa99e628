//! The functions, by area: each file holds the bodies and, at its end, its part of the table.

pub mod comparison;
pub mod integer;

use super::function::Function;

/// All parts of the function table.
pub static AREAS: &[&[Function]] = &[comparison::FUNCTIONS, integer::FUNCTIONS];
