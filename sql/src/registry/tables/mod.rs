//! The registry's data.

pub mod casts;
pub mod operators;
pub mod types;
