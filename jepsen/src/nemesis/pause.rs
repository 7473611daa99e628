//! The process stands still and goes on: nothing it believed of leases and clocks is true any more.

use crate::cluster::Node;

pub fn inject(node: &Node) -> Result<(), String> {
    node.signal(libc::SIGSTOP)
}

pub fn heal(node: &Node) -> Result<(), String> {
    node.signal(libc::SIGCONT)
}
