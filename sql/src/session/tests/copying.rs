//! COPY FROM STDIN: where the client is told that its data is wrong.

use bytes::Bytes;

use super::{Recorder, say, with_session};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const ROW: &[u8] = b"\0\x02\0\0\0\x01x\0\0\0\x04\0\0\0\x07";

/// A statement's data, and the code, message and context of the error that it gives: those of PostgreSQL 15.
fn refused(script: &[(&str, Vec<u8>, &str)]) {
    with_session(async |s| {
        assert_eq!(say(s, "CREATE TABLE c (a text, b int)").await.1, None);
        for (statement, data, expected) in script {
            for size in [1, data.len()] {
                let data = data.chunks(size).map(Bytes::copy_from_slice).collect();
                let mut client = Recorder { data, ..Default::default() };
                let e = s.simple_query(statement, &mut client).await.expect_err("wrong data");
                s.fail(&e, &mut client).await;
                let context = e.fields().context.as_deref().unwrap_or_default();
                assert_eq!(format!("{}: {}: {context}", e.code(), e.message()), *expected);
            }
        }
        assert_eq!(say(s, "SELECT * FROM c").await.0, ["SELECT 0"]);
    });
}

/// The line is that of the data, not of what has been inserted so far.
#[test]
fn an_error_in_binary_data_names_row_and_column() {
    let statement = "COPY c FROM STDIN BINARY";
    let third = |row: &[u8]| [HEADER, ROW, ROW, row].concat();
    let many = [HEADER, &ROW.repeat(5000), b"\0\x03"].concat();
    refused(&[
        (statement, b"PGCOPYPGCOPY".to_vec(), "22P04: COPY file signature not recognized: "),
        (statement, third(b"\0\x03"), "22P04: row field count is 3, expected 2: COPY c, line 3"),
        (statement, many, "22P04: row field count is 3, expected 2: COPY c, line 5001"),
        (statement, third(b"\0\x02\xff\xff\xff\xfe"), "22P04: invalid field size: COPY c, line 3, column a"),
        (
            statement,
            third(b"\0\x02\0\0\0\x01x\0\0\0\x04\0"),
            "22P04: unexpected EOF in COPY data: COPY c, line 3, column b",
        ),
        (statement, third(b"\xff\xff\0"), "22P04: received copy data after EOF marker: COPY c, line 3"),
    ]);
}

#[test]
fn an_error_in_text_names_its_line() {
    refused(&[
        (
            "COPY c FROM STDIN",
            b"x\t1\ny\\\nz\t2\r\n".to_vec(),
            "22P04: literal carriage return found in data: COPY c, line 2",
        ),
        (
            "COPY c FROM STDIN CSV",
            b"x,1\n\"y\nz\",two\n".to_vec(),
            "22P02: invalid input syntax for type integer: \"two\": COPY c, line 3, column b: \"two\"",
        ),
    ]);
}

/// What has been collected is inserted before much more is: an early row is refused before a later one is read, whatever
/// the types of what is large.
#[test]
fn large_rows_are_inserted_as_they_come() {
    const LARGE: usize = 600_000;
    let text = |value: &str| format!("1\t{value}\n").repeat(3) + "x\t\n";
    let value = vec![b'7'; LARGE];
    let row = [b"\0\x02\0\0\0\x04\0\0\0\x01", &(LARGE as i32).to_be_bytes()[..], &value].concat();
    let hex = format!("\\\\x{}", "77".repeat(LARGE));
    for (ty, statement, data) in [
        ("text", "COPY c FROM STDIN", text(&"7".repeat(LARGE)).into_bytes()),
        ("bytea", "COPY c FROM STDIN", text(&hex).into_bytes()),
        ("bytea", "COPY c FROM STDIN BINARY", [HEADER, &row.repeat(3), b"\0\x03"].concat()),
    ] {
        with_session(async |s| {
            let create = format!("CREATE TABLE c (k int PRIMARY KEY, v {ty})");
            assert_eq!(say(s, &create).await.1, None);
            let mut client = Recorder { data: [Bytes::from(data)].into(), ..Default::default() };
            let e = s.simple_query(statement, &mut client).await.expect_err("twice the same key");
            assert_eq!(e.code(), "23505", "{ty}: {}", e.message());
        });
    }
}
