//! The process dies at once and comes back on its store.

use crate::cluster::Node;

pub async fn inject(node: &mut Node) -> Result<(), String> {
    node.kill().await
}

pub fn heal(node: &mut Node) -> Result<(), String> {
    node.start()
}
