//! A client that can break the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message from the server: its type and its body.
pub type Message = (u8, Vec<u8>);

pub struct Wire(TcpStream);

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut m = vec![kind];
    m.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    m.extend_from_slice(body);
    m
}

pub fn query(sql: &[u8]) -> Vec<u8> {
    framed(b'Q', &[sql, b"\0"].concat())
}

impl Wire {
    /// A socket, nothing sent.
    pub async fn raw(to: SocketAddr) -> Wire {
        Wire(TcpStream::connect(to).await.expect("the server listens"))
    }

    /// A session that is ready for queries.
    pub async fn session(to: SocketAddr) -> Wire {
        let mut wire = Wire::raw(to).await;
        let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        wire.send(&[&(body.len() as i32 + 4).to_be_bytes()[..], body].concat()).await;
        let (answer, open) = wire.answer().await;
        assert!(open, "{answer:?}");
        wire
    }

    /// The server may have hung up already: then what it said before is of interest.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Messages up to ReadyForQuery, or to the end of the stream (then `false`).
    pub async fn answer(&mut self) -> (Vec<Message>, bool) {
        let read = async {
            let mut messages = Vec::new();
            loop {
                let mut head = [0; 5];
                if self.0.read_exact(&mut head).await.is_err() {
                    return (messages, false);
                }
                let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                let mut body = vec![0; length as usize - 4];
                if self.0.read_exact(&mut body).await.is_err() {
                    return (messages, false);
                }
                messages.push((head[0], body));
                if head[0] == b'Z' {
                    return (messages, true);
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server answers")
    }

    /// Sends, and gives the answer's SQLSTATE, and whether the connection lives.
    pub async fn error(&mut self, bytes: &[u8]) -> (Option<String>, bool) {
        self.send(bytes).await;
        let (messages, open) = self.answer().await;
        (messages.iter().find(|m| m.0 == b'E').map(|m| field(&m.1, b'C')), open)
    }

    /// The connection is as good as new.
    pub async fn works(&mut self) {
        self.send(&query(b"SELECT 42")).await;
        let (messages, open) = self.answer().await;
        assert!(open && messages.iter().any(|m| m.0 == b'D' && m.1.ends_with(b"42")), "{messages:?}");
    }
}

/// A field of an error message.
pub fn field(body: &[u8], code: u8) -> String {
    let fields = body.split(|b| *b == 0);
    let mut found =
        fields.filter(|f| f.first() == Some(&code)).map(|f| String::from_utf8_lossy(&f[1..]).into_owned());
    found.next_back().unwrap_or_default()
}
