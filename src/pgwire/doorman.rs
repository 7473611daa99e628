//! Whoever knocks while the node cannot take statements yet because of its clock is told so, instead of waiting for ever.
//!
//! A node that waits for its cluster for any other reason lets its clients wait with it: that is soon over.

use std::future::Future;
use std::time::Duration;

use meridian_sql::error::SqlError;
use tokio::net::TcpListener;

use super::backend;
use super::connection::Wire;
use super::startup::{self, Opening};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For the whole of a conversation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does `work`; meanwhile, as long as `reason` gives one, connections are refused.
pub async fn while_waiting<T>(
    listener: &TcpListener,
    reason: impl Fn() -> Option<SqlError>,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = turn_away(listener, reason) => match never {},
    }
}

async fn turn_away(
    listener: &TcpListener,
    reason: impl Fn() -> Option<SqlError>,
) -> std::convert::Infallible {
    loop {
        if reason().is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let Ok(accepted) = tokio::time::timeout(LOOK_EVERY, listener.accept()).await else { continue };
        match (accepted, reason()) {
            (Ok((stream, _)), Some(e)) => {
                tokio::spawn(tokio::time::timeout(PATIENCE, async move {
                    let mut wire = Wire::new(stream);
                    if let Ok(Opening::Session(_)) = startup::open(&mut wire, PATIENCE).await {
                        backend::fatal(wire.out(), &e);
                        // Who has gone needs no answer.
                        let _ = wire.send().await;
                    }
                }));
            }
            (Ok(_), None) => {}
            (Err(e), _) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}
