//! Accepts PostgreSQL connections and runs each to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian_sql::error::{SqlError, state};
use meridian_sql::session::{Session, SessionOptions, SqlNode};
use meridian_storage::base::Runtime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::backend;
use super::cancel::CancelRegistry;
use super::connection::{End, Stream, Wire, serve};
use super::startup::{self, Opening};

/// As PostgreSQL's `max_connections`.
pub const MAX_CONNECTIONS: usize = 1000;

pub struct PgServer {
    pub node: Arc<SqlNode>,
    pub runtime: Arc<dyn Runtime>,
    pub cancels: CancelRegistry,
    pub connections: AtomicUsize,
    /// True once the node is stopping: sessions end when they are between transactions.
    pub drain: watch::Receiver<bool>,
}

impl PgServer {
    /// Accepts until the node drains.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut drain = self.drain.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let server = self.clone();
                        tokio::spawn(async move { server.connection(stream, peer).await });
                    }
                    Err(e) => {
                        // Out of file descriptors, mostly: give those in use time to end.
                        tracing::warn!(error = %e, "cannot accept a connection");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
                changed = drain.changed() => {
                    if changed.is_err() || *drain.borrow() {
                        return;
                    }
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let count = self.connections.fetch_add(1, Ordering::Relaxed);
        let end = self.drive(stream, count).await;
        self.connections.fetch_sub(1, Ordering::Relaxed);
        match end {
            Ok(End::Closed) => {}
            Ok(End::Protocol(e)) => {
                tracing::info!(%peer, error = %e, "closed a connection that broke the protocol")
            }
            Err(e) => tracing::debug!(%peer, error = %e, "connection lost"),
        }
    }

    /// Serves one client from its first byte to its last; `count` others are connected.
    pub async fn drive<S: Stream>(&self, stream: S, count: usize) -> std::io::Result<End> {
        let mut wire = Wire::new(stream);
        let parameters = match startup::open(&mut wire, startup::STARTUP_TIMEOUT).await? {
            Opening::Closed => return Ok(End::Closed),
            Opening::Cancel { pid, secret } => {
                self.cancels.cancel(pid, secret);
                return Ok(End::Closed);
            }
            Opening::Session(p) => p,
        };
        if count >= MAX_CONNECTIONS {
            let e = SqlError::new(state::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
            return self.refuse(wire, &e).await;
        }
        let mut session = match Session::start(self.node.clone(), SessionOptions { parameters }).await {
            Ok(s) => s,
            Err(e) => return self.refuse(wire, &e).await,
        };
        startup::accept(wire.out());
        for (name, value) in session.reported_settings() {
            backend::parameter_status(wire.out(), name, &value);
        }
        let secret = self.runtime.random() as u32;
        let (pid, secret) = self.cancels.register(secret, session.cancel_handle());
        session.set_backend_pid(pid);
        startup::key_data(wire.out(), pid, secret);
        backend::ready_for_query(wire.out(), session.status());
        let end = match wire.send().await {
            Ok(()) => serve(&mut wire, &mut session, self.drain.clone()).await,
            Err(_) => End::Closed,
        };
        self.cancels.unregister(pid);
        session.close().await;
        Ok(end)
    }

    async fn refuse<S: Stream>(&self, mut wire: Wire<S>, e: &SqlError) -> std::io::Result<End> {
        backend::fatal(wire.out(), e);
        wire.send().await?;
        Ok(End::Closed)
    }
}
