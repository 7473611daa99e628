//! A node's HTTP face: whether it is well, and its numbers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The body of a page, if it is answered with 200 within a second.
pub async fn get(at: SocketAddr, path: &str) -> Option<String> {
    let request = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_string())
    };
    timeout(Duration::from_secs(1), request).await.ok()?
}

/// A number of a Prometheus page.
pub fn metric(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let page = "# HELP meridian_ranges Replicas.\nmeridian_ranges_x 9\nmeridian_ranges 3\n";
        assert_eq!(metric(page, "meridian_ranges"), Some(3.0));
        assert_eq!(metric(page, "meridian_leases"), None);
    }
}
