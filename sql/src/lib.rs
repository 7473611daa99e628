//! Text to rows. Knows no ranges, no Raft, no sockets; sees keys through the transaction layer's public face.
//!
//! The path of a statement, in reading order: `session` takes a statement, `parse` makes its syntax tree, `bind`
//! resolves names and types into a logical plan, `optimize` rewrites it and picks the physical plan, `exec` pulls
//! batches of columns through it. Below them are the nouns that they share. A module uses only those declared
//! below it.

/// The stack that a thread needs which runs statements, whatever their text: walks over plans, and operators that ask
/// operators, recurse as deep as the limits of `parse`, `bind` and `optimize` let a statement become. Only what is used
/// of it takes memory.
pub const STACK_BYTES: usize = 256 << 20;

pub mod check;
pub mod testing;
pub mod session;
pub mod schema_change;
pub mod bind;
pub mod parse;
pub mod optimize;
pub mod exec;
pub mod plan;
pub mod row;
pub mod catalog;
pub mod expr;
pub mod registry;
pub mod types;
pub mod cancel;
pub mod error;
