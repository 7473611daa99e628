//! The binary as its users meet it: real processes, real sockets, real folders.
//!
//! What is checked here is what no layer can check alone: that data outlives a killed process, that a cluster outlives a
//! killed node, that a wrong start ends at once with a sentence that says what to do, and that nothing a client sends can end
//! the process. Each test has nodes of its own, on free ports, and leaves nothing behind.

mod check;
mod disk;
mod deep;
mod garbage;
mod protocol;
mod refusals;
mod restarts;
mod splits;
mod three_nodes;
mod wire;
mod node;
