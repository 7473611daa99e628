//! From a fresh socket to a session: encryption requests, cancel requests, protocol version, parameters,
//! authentication.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use meridian_sql::error::{SqlError, state};

use super::backend;
use super::connection::{Stream, Wire};

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// PostgreSQL's `authentication_timeout`, as it is there unless it is set.
pub const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// PostgreSQL's own limit.
const STARTUP_MAX: usize = 10_000;

/// What a new connection turned out to be.
pub enum Opening {
    Session(BTreeMap<String, String>),
    Cancel {
        pid: u32,
        secret: u32,
    },
    /// Gone, or refused with an answer that has been sent.
    Closed,
}

/// Reads the opening exchange, if it is over within `time`: whoever says nothing, or half of it, is let go without a word,
/// as PostgreSQL does.
pub async fn open<S: Stream>(wire: &mut Wire<S>, time: Duration) -> std::io::Result<Opening> {
    tokio::time::timeout(time, exchange(wire)).await.unwrap_or(Ok(Opening::Closed))
}

/// Encryption is declined with `N`, as a server without certificates does.
async fn exchange<S: Stream>(wire: &mut Wire<S>) -> std::io::Result<Opening> {
    loop {
        let Some(mut packet) = packet(wire).await? else { return Ok(Opening::Closed) };
        if packet.len() < 4 {
            return refuse(wire, state::PROTOCOL_VIOLATION, "invalid length of startup packet").await;
        }
        match packet.get_i32() {
            SSL_REQUEST | GSS_REQUEST => {
                wire.out().put_u8(b'N');
                wire.send().await?;
            }
            CANCEL_REQUEST if packet.len() >= 8 => {
                return Ok(Opening::Cancel { pid: packet.get_u32(), secret: packet.get_u32() });
            }
            version => return startup(wire, version, packet).await,
        }
    }
}

/// A packet of the opening: length, then that many bytes less four.
async fn packet<S: Stream>(wire: &mut Wire<S>) -> std::io::Result<Option<BytesMut>> {
    loop {
        if wire.input().len() >= 4 {
            let length = (&wire.input()[..4]).get_u32() as usize;
            if !(8..=STARTUP_MAX).contains(&length) {
                refuse(wire, state::PROTOCOL_VIOLATION, "invalid length of startup packet").await?;
                return Ok(None);
            }
            if wire.input().len() >= length {
                let mut p = wire.input().split_to(length);
                p.advance(4);
                return Ok(Some(p));
            }
        }
        if !wire.fill().await? {
            return Ok(None);
        }
    }
}

async fn startup<S: Stream>(wire: &mut Wire<S>, version: i32, packet: BytesMut) -> std::io::Result<Opening> {
    let (major, minor) = (version >> 16, version & 0xffff);
    if major != 3 {
        let text = format!(
            "unsupported frontend protocol {major}.{minor}: server supports 3.0 and negotiates later 3.x down to it"
        );
        return refuse(wire, state::FEATURE_NOT_SUPPORTED, &text).await;
    }
    let mut parameters = match parameters(&packet) {
        Ok(parameters) => parameters,
        Err(Malformed::Layout) => {
            let text = "invalid startup packet layout: expected terminator as last byte";
            return refuse(wire, state::PROTOCOL_VIOLATION, text).await;
        }
        Err(Malformed::Text(e)) => {
            let text = format!("startup packet: {}", e.message());
            return refuse(wire, e.code(), &text).await;
        }
    };
    let unknown: Vec<String> = parameters.keys().filter(|k| k.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !unknown.is_empty() {
        // We speak 3.0: keys of four bytes, nothing of 3.2 that a client could miss.
        let at = backend::begin(wire.out(), b'v');
        wire.out().put_i32(3 << 16);
        wire.out().put_i32(unknown.len() as i32);
        for name in &unknown {
            backend::cstring(wire.out(), name);
        }
        backend::end(wire.out(), at);
    }
    parameters.retain(|k, _| !k.starts_with("_pq_."));
    if parameters.get("user").is_none_or(|u| u.is_empty()) {
        return refuse(
            wire,
            state::INVALID_AUTHORIZATION,
            "no PostgreSQL user name specified in startup packet",
        )
        .await;
    }
    if parameters.get("replication").is_some_and(|v| v != "false" && v != "off" && v != "0") {
        return refuse(wire, state::FEATURE_NOT_SUPPORTED, "the replication protocol is not supported").await;
    }
    Ok(Opening::Session(parameters))
}

/// What is wrong with a startup packet.
#[derive(Debug, PartialEq, Eq)]
enum Malformed {
    /// Not pairs of strings.
    Layout,
    /// Strings that are not UTF-8.
    Text(SqlError),
}

/// `name\0value\0…\0`, all UTF-8.
fn parameters(packet: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(e) => Err(Malformed::Text(SqlError::invalid_utf8(&bytes[e.valid_up_to()..]))),
    };
    let mut strings = packet.strip_suffix(&[0]).ok_or(Malformed::Layout)?.split(|b| *b == 0);
    let mut map = BTreeMap::new();
    // The last string's own terminator leaves one empty piece at the end.
    loop {
        let name = strings.next().ok_or(Malformed::Layout)?;
        if name.is_empty() {
            return if strings.next().is_none() { Ok(map) } else { Err(Malformed::Layout) };
        }
        let value = strings.next().ok_or(Malformed::Layout)?;
        map.insert(text(name)?, text(value)?);
    }
}

async fn refuse<S: Stream>(wire: &mut Wire<S>, code: &'static str, text: &str) -> std::io::Result<Opening> {
    backend::fatal(wire.out(), &SqlError::new(code, text));
    wire.send().await?;
    Ok(Opening::Closed)
}

/// AuthenticationOk.
pub fn accept(out: &mut BytesMut) {
    out.put_slice(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]);
}

pub fn key_data(out: &mut BytesMut, pid: u32, secret: u32) {
    out.put_slice(&[b'K', 0, 0, 0, 12]);
    out.put_u32(pid);
    out.put_u32(secret);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A client keeps a connection from others by saying nothing, or a part of it, or by asking for encryption only.
    #[tokio::test]
    async fn a_client_that_does_not_open_in_time_is_let_go() {
        let packet = [&18u32.to_be_bytes()[..], b"\0\x03\0\0user\0bob\0\0"].concat();
        let ssl = [8i32.to_be_bytes(), SSL_REQUEST.to_be_bytes()].concat();
        for said in [&[][..], &packet[..10], &ssl, &packet] {
            let (server, mut client) = tokio::io::duplex(64);
            let mut wire = Wire::new(server);
            client.write_all(said).await.expect("room");
            let time = Duration::from_millis(20);
            let opening = tokio::time::timeout(Duration::from_secs(5), open(&mut wire, time)).await;
            match opening.expect("it does not wait for ever").expect("no error") {
                Opening::Session(parameters) => assert_eq!((said, &*parameters["user"]), (&*packet, "bob")),
                Opening::Closed => assert_ne!(said, packet),
                Opening::Cancel { .. } => panic!("nothing was to be cancelled"),
            }
        }
    }

    #[test]
    fn parameters_are_pairs_that_end_with_an_empty_name() {
        let map = parameters(b"user\0bob\0database\0d\0\0").expect("well formed");
        assert_eq!(map["user"], "bob");
        assert_eq!(map["database"], "d");
        assert!(parameters(b"\0").expect("empty").is_empty());
        assert_eq!(parameters(b"user\0bob\0"), Err(Malformed::Layout));
        assert_eq!(parameters(b"user\0bob"), Err(Malformed::Layout));
        let Err(Malformed::Text(e)) = parameters(b"user\0\xff\0\0") else { panic!("it is no UTF-8") };
        assert_eq!((e.code(), e.message()), ("22021", "invalid byte sequence for encoding \"UTF8\": 0xff"));
    }
}
