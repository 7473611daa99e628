//! What exists: databases, schemas, tables, indexes, sequences, constraints, as versioned descriptors.
//!
//! Descriptors stand under `system/catalog/` ([`store`]), every node keeps them all in memory ([`cache`]), and a session
//! looks at them through its [`SessionCatalog`]: the node's newest version, or its own changed copy while it runs a
//! transaction that changes the schema.
//!
//! What must stay true:
//! - **While a transaction uses a table, its descriptor does not change.** Statements *pin* the tables that they touch until the
//!   transaction ends; a change of a descriptor first *closes* the table on every node ([`gate`]): it waits for the
//!   pins of others to go and keeps new ones waiting until the change has committed and every node has it.
//! - A transaction never reads a table through a descriptor newer than its snapshot: it begins again.
//! - Looking something up reads no key.

pub mod virtual_tables;
pub mod session;
pub mod sequence;
pub mod past;
pub mod cache;
pub mod gate;
pub mod cluster;
pub mod store;
pub mod codec;
pub mod bootstrap;
pub mod lookup;
pub mod descriptor;

pub use cache::CatalogCache;
pub use descriptor::*;
pub use lookup::{CATALOG_SCHEMA, INFORMATION_SCHEMA};
pub use session::{CatalogSavepoint, SessionCatalog};
