//! Plans: what to compute (logical, from the binder) and how (physical, from the optimizer).

pub mod physical;
mod bounds;
pub mod print;
mod tables;
pub mod walk;
pub mod schema;
pub mod logical;

pub use logical::*;
