//! A client that says anything, in pieces of any size, to the real server: from its first byte to its last.
//!
//! Whatever it says: the server answers or hangs up, and comes to an end when the client does. What it answers is framed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::pgwire::server::PgServer;
use super::choices::Choices;
use super::database::{Database, with_stack};

/// The server is a part of the binary, which is no library: its sources are built into this one, too.
#[path = "../../../src/pgwire/mod.rs"]
#[allow(dead_code, reason = "nothing listens here")]
mod pgwire;

/// Statements with parameters of every type, and those that begin a COPY.
const STATEMENTS: [&str; 24] = [
    "SELECT $1::int, $2::text",
    "SELECT $1::bigint + 1, $2::smallint",
    "SELECT $1::numeric * 2, $2::float8",
    "SELECT $1::timestamptz, $2::timestamp, $3::date",
    "SELECT $1::time, $2::interval",
    "SELECT $1::bool, $2::bytea, $3::uuid",
    "SELECT $1::int[], $2::text[]",
    "SELECT $1::jsonb, $2::json",
    "SELECT $1::numeric[], $2::float8[]",
    "SELECT $1::oid, $2::name, $3::char(3), $4::varchar(2)",
    "SELECT a, b FROM t WHERE a = $1 OR b = $2",
    "INSERT INTO t (a, b, c) VALUES ($1, $2, $3)",
    "UPDATE t SET e = $1, g = $2, h = $3 WHERE a = 1",
    "SELECT * FROM t, u ORDER BY 1",
    "COPY t (a, b, c) FROM STDIN",
    "COPY t (a, b, e) FROM STDIN (FORMAT csv, HEADER, NULL 'x')",
    "COPY w FROM STDIN (FORMAT binary)",
    "COPY u FROM STDIN (DELIMITER '|')",
    "COPY t TO STDOUT (FORMAT binary)",
    "BEGIN; SAVEPOINT a; SELECT 1; ROLLBACK TO a; COMMIT",
    "DECLARE c CURSOR FOR SELECT * FROM w",
    "FETCH 2 FROM c",
    "BEGIN",
    "ROLLBACK",
];

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let pieces = pieces(&mut choices);
    let stream = match choices.u8() % 4 {
        0 => choices.all().to_vec(),
        _ => conversation(&mut choices),
    };
    with_stack(|| talk(&stream, pieces));
}

/// How long the pieces are, again and again.
fn pieces(choices: &mut Choices<'_>) -> VecDeque<usize> {
    (0..1 + choices.below(3)).map(|_| 1 + usize::from(choices.u8()) * usize::from(choices.u8())).collect()
}

fn conversation(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match choices.u8() {
        0 => framed(&mut out, None, choices.some_bytes()),
        1 => framed(&mut out, None, &80_877_103i32.to_be_bytes()),
        _ => {}
    }
    framed(&mut out, None, b"\0\x03\0\0user\0postgres\0\0");
    while !choices.is_empty() {
        message(&mut out, choices);
    }
    out
}

fn message(out: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let name = |choices: &mut Choices<'_>| choices.one_of(&[&b"\0"[..], b"a\0"]);
    let mut body = Vec::new();
    match choices.u8() % 12 {
        0 => {
            let raw = choices.some_bytes();
            out.extend_from_slice(raw);
        }
        1 => {
            let kind = choices.one_of(b"QPBDECHSXdcfpFz");
            framed(out, Some(kind), choices.some_bytes());
        }
        2 => {
            body.extend_from_slice(choices.some_bytes());
            body.push(0);
            framed(out, Some(b'Q'), &body);
        }
        3 => {
            body.extend_from_slice(choices.one_of(&STATEMENTS).as_bytes());
            body.push(0);
            framed(out, Some(b'Q'), &body);
        }
        4 | 5 => {
            body.extend_from_slice(name(choices));
            body.extend_from_slice(choices.one_of(&STATEMENTS).as_bytes());
            body.push(0);
            body.extend_from_slice(&[0, 0]);
            framed(out, Some(b'P'), &body);
        }
        6 | 7 => {
            bind(&mut body, choices);
            framed(out, Some(b'B'), &body);
        }
        8 => {
            body.extend_from_slice(name(choices));
            body.extend_from_slice(&u32::from(choices.u8()).to_be_bytes());
            framed(out, Some(b'E'), &body);
        }
        9 => {
            body.push(choices.one_of(b"SP"));
            body.extend_from_slice(name(choices));
            framed(out, Some(choices.one_of(b"DC")), &body);
        }
        10 => framed(out, Some(b'd'), choices.some_bytes()),
        _ => framed(out, Some(choices.one_of(b"SSHcS")), b""),
    }
}

/// Parameters in both formats, most of them of a length that some type has.
fn bind(body: &mut Vec<u8>, choices: &mut Choices<'_>) {
    body.extend_from_slice(choices.one_of(&[&b"\0\0"[..], b"a\0\0", b"\0a\0", b"a\0a\0"]));
    body.extend_from_slice(&[0, 1, 0, choices.below(8).min(1) as u8]);
    let count = choices.below(5);
    body.extend_from_slice(&(count as u16).to_be_bytes());
    for _ in 0..count {
        let value = match choices.u8() % 6 {
            0 => {
                body.extend_from_slice(&(-1i32).to_be_bytes());
                continue;
            }
            1 => choices.bytes(2),
            2 => choices.bytes(4),
            3 => choices.bytes(8),
            4 => choices.bytes(16),
            _ => choices.some_bytes(),
        };
        body.extend_from_slice(&(value.len() as i32).to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend_from_slice(&[0, 1, 0, choices.flag().into()]);
}

fn framed(out: &mut Vec<u8>, kind: Option<u8>, body: &[u8]) {
    out.extend(kind);
    out.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    out.extend_from_slice(body);
}

fn talk(stream: &[u8], mut pieces: VecDeque<usize>) {
    let database = Database::new();
    let (_stop, drain) = tokio::sync::watch::channel(false);
    let server = PgServer {
        node: database.node.clone(),
        runtime: Arc::new(database.runtime.clone()),
        cancels: Default::default(),
        connections: AtomicUsize::new(0),
        drain,
    };
    // For its timers only, none of which ever ends: time is the database's.
    let timers = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("timers");
    let _entered = timers.enter();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut from, mut to) = tokio::io::split(near);
    let mut answer = Vec::new();
    let says = async {
        let mut rest = stream;
        while !rest.is_empty() {
            pieces.rotate_left(1);
            let (piece, behind) = rest.split_at(pieces[0].min(rest.len()));
            if to.write_all(piece).await.is_err() {
                break;
            }
            rest = behind;
        }
        let _ = to.shutdown().await;
    };
    let hears = async { from.read_to_end(&mut answer).await };
    let serves = async {
        let _ = server.drive(far, 0).await;
    };
    let _ = database.runtime.block_on(async { futures::join!(serves, says, hears) });
    check_framed(&answer);
}

/// Declined encryption, then messages one behind the other.
fn check_framed(answer: &[u8]) {
    let mut rest = answer;
    while let Some((kind, behind)) = rest.split_first() {
        rest = behind;
        if *kind == b'N' && !matches!(behind.first(), Some(0)) {
            continue;
        }
        let length = behind.first_chunk().map_or(0, |n| u32::from_be_bytes(*n) as usize);
        assert!(
            length >= 4 && length <= behind.len(),
            "an answer that is not framed: {:?}",
            rest.escape_ascii().to_string()
        );
        rest = &behind[length..];
    }
}
