//! The HTTP face of a node: `/health` for load balancers, `/metrics` for Prometheus.
//!
//! Two plain GET pages need no framework: one request per connection is read, answered and closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the pages show.
pub trait Pages: Send + Sync + 'static {
    /// Whether the node takes traffic, and a line about why (not).
    fn health(&self) -> (bool, String);
    /// Prometheus's text format.
    fn metrics(&self) -> String;
}

const REQUEST_MAX: usize = 8 << 10;

pub async fn serve(listener: TcpListener, pages: Arc<dyn Pages>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = pages.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(Duration::from_secs(10), answer(stream, pages)).await;
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, pages: Arc<dyn Pages>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).await?;
        if n == 0 || request.len() + n > REQUEST_MAX {
            return Ok(());
        }
        request.extend_from_slice(&piece[..n]);
    }
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/health") => {
            let (ok, text) = pages.health();
            (if ok { "200 OK" } else { "503 Service Unavailable" }, "text/plain", text + "\n")
        }
        ("GET" | "HEAD", "/metrics") => ("200 OK", "text/plain; version=0.0.4", pages.metrics()),
        ("GET" | "HEAD", "/") => {
            ("200 OK", "text/plain", "Meridian. See /health and /metrics.\n".to_string())
        }
        ("GET" | "HEAD", _) => {
            ("404 Not Found", "text/plain", "There is /health and /metrics.\n".to_string())
        }
        _ => ("405 Method Not Allowed", "text/plain", "Only GET is served here.\n".to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}
