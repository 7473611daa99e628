//! The `meridian` binary: a node of the database, and the tools to look after one.

mod rpc;
mod node;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
