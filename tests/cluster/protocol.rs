//! Whatever a client sends: the right SQLSTATE, and the process serves on.

use super::node::{Node, Ports};
use super::wire::{Wire, field, framed, query};

async fn node() -> Node {
    Node::start("mem".as_ref(), Ports::free(), None).await
}

/// The process lives and takes new sessions.
async fn serves(node: &mut Node) {
    assert!(node.runs());
    Wire::session(node.sql).await.works().await;
}

/// A first packet.
fn opening(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32 + 4).to_be_bytes()[..], body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_that_are_none() {
    let mut node = node().await;
    for (what, bytes, code) in [
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "08P01"),
        ("a length of 0", vec![0, 0, 0, 0], "08P01"),
        ("a negative length", vec![0xff; 8], "08P01"),
        ("a length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0], "08P01"),
        ("protocol 2.0", opening(b"\0\x02\0\0user\0postgres\0\0"), "0A000"),
        ("protocol 4.0", opening(b"\0\x04\0\0user\0postgres\0\0"), "0A000"),
        ("no user", opening(b"\0\x03\0\0database\0postgres\0\0"), "28000"),
        ("no terminator", opening(b"\0\x03\0\0user\0postgres"), "08P01"),
        ("a name without a value", opening(b"\0\x03\0\0user\0\0"), "08P01"),
        ("a name that is not UTF-8", opening(b"\0\x03\0\0user\0\xff\0\0"), "22021"),
    ] {
        let answer = Wire::raw(node.sql).await.error(&bytes).await;
        assert_eq!(answer, (Some(code.into()), false), "{what}");
    }
    // Gone in the middle of it.
    for bytes in [&b"\0\0"[..], &b"\0\0\0\x20\0\x03"[..]] {
        Wire::raw(node.sql).await.send(bytes).await;
    }
    serves(&mut node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none() {
    let mut node = node().await;
    for (what, bytes) in [
        ("an unknown type", b"\x16\x03\x01\0\xa5".to_vec()),
        ("a length of 0", b"Q\0\0\0\0".to_vec()),
        ("a negative length", b"Q\xff\xff\xff\xff".to_vec()),
        ("a length of 2 GiB", b"Q\x7f\xff\xff\xff".to_vec()),
        ("a query without an end", framed(b'Q', b"SELECT 1")),
        ("a Bind that ends early", framed(b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x04")),
        ("a Bind that promises 65535 values", framed(b'B', b"\0\0\0\0\xff\xff")),
        ("a Describe of nothing", framed(b'D', b"X\0")),
        ("a Sync with a body", framed(b'S', b"x")),
    ] {
        let answer = Wire::session(node.sql).await.error(&bytes).await;
        assert_eq!(answer, (Some("08P01".into()), false), "{what}");
    }
    // Gone in the middle of a message.
    Wire::session(node.sql).await.send(b"Q\0\x10\0\0SELECT").await;
    serves(&mut node).await;
}

/// Errors of a statement: the session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_refused() {
    let mut node = node().await;
    let mut wire = Wire::session(node.sql).await;
    let nested = ["SELECT ".to_string(), "(".repeat(10_000), "1".into(), ")".repeat(10_000)].concat();
    let operators = ["SELECT 1", &" + 1".repeat(100_000)].concat();
    let not = ["SELECT ", &"NOT ".repeat(100_000), "true"].concat();
    let arrays = ["SELECT ", &"ARRAY[".repeat(10_000), "1", &"]".repeat(10_000)].concat();
    for (what, sql, code) in [
        ("invalid UTF-8", &b"SELECT '\xc3\x28'"[..], "22021"),
        ("a trigger", b"CREATE TRIGGER t BEFORE INSERT ON x EXECUTE FUNCTION f()", "0A000"),
        ("LISTEN", b"LISTEN x", "0A000"),
        ("nonsense", b"SELEKT 1", "42601"),
        ("10,000 parentheses", nested.as_bytes(), "54001"),
        ("100,000 operators", operators.as_bytes(), "54001"),
        ("100,000 NOTs", not.as_bytes(), "54001"),
        ("10,000 arrays", arrays.as_bytes(), "54001"),
        ("a division by zero", b"SELECT 1/0", "22012"),
    ] {
        let answer = wire.error(&query(sql)).await;
        assert_eq!(answer, (Some(code.into()), true), "{what}");
        wire.works().await;
    }
    assert!(node.runs());
    serves(&mut node).await;
}

/// Parse, Bind with these values, Execute, Sync.
fn extended(sql: &[u8], formats: &[u8], values: &[u8]) -> Vec<u8> {
    let parse = framed(b'P', &[b"\0", sql, b"\0\0\0"].concat());
    let bind = framed(b'B', &[b"\0\0", formats, values, b"\0\0"].concat());
    let execute = framed(b'E', b"\0\0\0\0\0");
    [parse, bind, execute, framed(b'S', b"")].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit() {
    let mut node = node().await;
    let mut wire = Wire::session(node.sql).await;
    let (text, binary) = (b"\0\x01\0\0", b"\0\x01\0\x01");
    for (what, bytes, code) in [
        ("an integer of 3 bytes", extended(b"SELECT $1::int4", binary, b"\0\x01\0\0\0\x03abc"), "08P01"),
        ("an integer of 8 bytes", extended(b"SELECT $1::int4", binary, b"\0\x01\0\0\0\x08abcdefgh"), "22P03"),
        ("a text that is not UTF-8", extended(b"SELECT $1::text", binary, b"\0\x01\0\0\0\x01\xff"), "22021"),
        ("a text that is no integer", extended(b"SELECT $1::int4", text, b"\0\x01\0\0\0\x01x"), "22P02"),
        ("too few values", extended(b"SELECT $1::int4", text, b"\0\0"), "08P01"),
        ("a statement that is not UTF-8", extended(b"SELECT '\xff'", text, b"\0\0"), "22021"),
        ("a portal that is not there", [framed(b'E', b"p\0\0\0\0\0"), framed(b'S', b"")].concat(), "34000"),
        ("a statement that is not there", [framed(b'D', b"Ss\0"), framed(b'S', b"")].concat(), "26000"),
    ] {
        let answer = wire.error(&bytes).await;
        assert_eq!(answer, (Some(code.into()), true), "{what}");
        wire.works().await;
    }
    serves(&mut node).await;
}

/// 64 MiB in one statement, and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_literal() {
    const LENGTH: usize = 64 << 20;
    let mut node = node().await;
    let mut wire = Wire::session(node.sql).await;
    wire.send(&query(&[b"SELECT length('", &vec![b'x'; LENGTH][..], b"')"].concat())).await;
    let (messages, open) = wire.answer().await;
    assert!(open && messages.iter().any(|m| m.0 == b'D' && m.1.ends_with(LENGTH.to_string().as_bytes())));
    wire.send(&query(format!("SELECT repeat('x', {LENGTH})").as_bytes())).await;
    let (messages, _) = wire.answer().await;
    assert!(messages.iter().any(|m| m.0 == b'D' && m.1.len() == 2 + 4 + LENGTH));
    wire.works().await;
    serves(&mut node).await;
}

/// Sends a message of `length` bytes after its type, filled up with `x` after `begin`.
async fn send_long(wire: &mut Wire, kind: u8, begin: &[u8], length: usize) {
    wire.send(&[&[kind], &(length as u32).to_be_bytes()[..], begin].concat()).await;
    let chunk = vec![b'x'; 1 << 20];
    let mut left = length - 4 - begin.len();
    while left > 0 {
        let n = left.min(chunk.len());
        wire.send(&chunk[..n]).await;
        left -= n;
    }
}

/// What would take the node's memory is refused without taking it, and nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn messages_and_rows_that_are_too_long() {
    let mut node = node().await;
    let mut other = Wire::session(node.sql).await;
    other.send(&query(b"CREATE TABLE big (k int PRIMARY KEY, v text)")).await;
    other.answer().await;

    // More than PostgreSQL's gigabyte: the length makes no sense, the connection ends.
    let mut wire = Wire::session(node.sql).await;
    send_long(&mut wire, b'Q', b"SELECT '", 0x4000_0000 + 4).await;
    let (messages, open) = wire.answer().await;
    assert!(!open, "the connection lives on");
    // The answer may be lost in a connection that is reset while the client still writes.
    if let Some((_, error)) = messages.iter().find(|m| m.0 == b'E') {
        assert_eq!(field(error, b'C'), "08P01");
    }
    other.works().await;

    // Less than that: the statement is refused, the session goes on.
    let mut wire = Wire::session(node.sql).await;
    for (kind, begin) in [(b'Q', &b"INSERT INTO big VALUES (1, '"[..]), (b'P', b"\0SELECT '")] {
        send_long(&mut wire, kind, begin, 300 << 20).await;
        other.works().await;
        if kind == b'P' {
            wire.send(&framed(b'S', b"")).await;
        }
        let (messages, open) = wire.answer().await;
        let error = messages.iter().find(|m| m.0 == b'E').map(|m| field(&m.1, b'C'));
        assert_eq!((error.as_deref(), open), (Some("54000"), true));
        wire.works().await;
    }
    let answer = wire.error(&query(b"INSERT INTO big SELECT 1, repeat('x', 100000000)")).await;
    assert_eq!(answer, (Some("54000".into()), true));
    other.works().await;
    assert!(node.peak_bytes().is_none_or(|b| b < 1 << 30), "{:?} bytes of memory", node.peak_bytes());
    serves(&mut node).await;
}

/// The statement's time is one, however many rows it hands over on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_has_one_timeout() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), Ports::free(), None).await;
    let client = node.connect().await;
    client.batch_execute("SET statement_timeout = '1s'").await.expect("sets");
    let slow = "SELECT pg_sleep(0.6) UNION ALL SELECT pg_sleep(0.6) UNION ALL SELECT pg_sleep(0.6)";
    let simple = client.batch_execute(slow).await;
    let extended = client.query(slow, &[]).await.map(|_| ());
    for result in [simple, extended] {
        assert_eq!(result.expect_err("too slow").code().expect("the node's").code(), "57014");
    }
    // Each of several has a time of its own.
    client.batch_execute("SELECT pg_sleep(0.6); SELECT pg_sleep(0.6)").await.expect("in time");
}
