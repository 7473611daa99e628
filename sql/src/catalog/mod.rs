//! What exists: databases, schemas, tables, indexes, sequences, constraints, as versioned descriptors.

pub mod descriptor;

pub use descriptor::*;
