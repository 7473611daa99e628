//! Decodes the messages of the query phase.
//!
//! What must stay true: no input, however malformed, panics or allocates more than its own length.

use bytes::{Buf, Bytes, BytesMut};

/// The longest message that can be meant: PostgreSQL's limit of one gigabyte. Beyond it the stream makes no sense.
pub const MAX_MESSAGE: usize = 0x3fff_ffff;
/// The longest message that is taken: a value of 64 MiB with a statement around it. A statement is held several times over
/// while it is parsed, planned and replicated, so a longer one could take the node's memory.
pub const MAX_TAKEN: usize = 65 << 20;

#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Query(Bytes),
    Parse {
        name: Text,
        query: Bytes,
        types: Vec<u32>,
    },
    Bind {
        portal: Text,
        statement: Text,
        formats: Vec<i16>,
        values: Vec<Option<Bytes>>,
        result_formats: Vec<i16>,
    },
    Describe {
        statement: bool,
        name: Text,
    },
    Execute {
        portal: Text,
        max_rows: u32,
    },
    Close {
        statement: bool,
        name: Text,
    },
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(Text),
    /// Password, SASL initial response, SASL response: told apart by the authentication's state.
    Password(Bytes),
    /// The fast-path function call, which nobody uses.
    FunctionCall,
    /// Longer than [`MAX_TAKEN`]: its body still stands in the stream and is to be skipped.
    TooLong {
        kind: u8,
        body: usize,
    },
}

/// A name: checked UTF-8, sharing the message's buffer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text(Bytes);

impl Text {
    pub fn as_str(&self) -> &str {
        // Checked when it was made.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("invalid frontend message type {0}")]
    UnknownType(u8),
    #[error("invalid message length {length} of message type \"{}\"", *kind as char)]
    Length { kind: u8, length: i64 },
    #[error("insufficient data left in message of type \"{}\"", *kind as char)]
    Short { kind: u8 },
    #[error("invalid message format of type \"{}\"", *kind as char)]
    Trailing { kind: u8 },
    #[error("invalid string in message of type \"{}\"", *kind as char)]
    Unterminated { kind: u8 },
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Utf8,
}

/// Takes one message off the front of `input`; `None` when it has not arrived wholly, with the bytes that are still
/// missing reserved.
pub fn decode(input: &mut BytesMut) -> Result<Option<Message>, DecodeError> {
    if input.len() < 5 {
        // An unknown type is known at once: do not wait for the length of nonsense.
        return match input.first() {
            Some(&kind) if !known(kind) => Err(DecodeError::UnknownType(kind)),
            _ => Ok(None),
        };
    }
    let kind = input[0];
    if !known(kind) {
        return Err(DecodeError::UnknownType(kind));
    }
    let length = i32::from_be_bytes([input[1], input[2], input[3], input[4]]);
    let body = usize::try_from(length).ok().and_then(|n| n.checked_sub(4)).filter(|n| *n <= MAX_MESSAGE);
    let Some(body) = body else {
        return Err(DecodeError::Length { kind, length: length.into() });
    };
    if body > MAX_TAKEN {
        input.advance(5);
        return Ok(Some(Message::TooLong { kind, body }));
    }
    if input.len() < 5 + body {
        // Grow as data comes, not by what the client claims.
        input.reserve((5 + body - input.len()).min(1 << 20));
        return Ok(None);
    }
    input.advance(5);
    let mut reader = Reader { kind, rest: input.split_to(body).freeze() };
    let message = reader.message()?;
    if !reader.rest.is_empty() {
        return Err(DecodeError::Trailing { kind });
    }
    Ok(Some(message))
}

/// Whether a whole Sync message is next in `input`.
pub fn sync_is_next(input: &[u8]) -> bool {
    input.starts_with(b"S\0\0\0\x04")
}

fn known(kind: u8) -> bool {
    b"QPBDECHSXdcfpF".contains(&kind)
}

struct Reader {
    kind: u8,
    rest: Bytes,
}

impl Reader {
    fn message(&mut self) -> Result<Message, DecodeError> {
        Ok(match self.kind {
            b'Q' => Message::Query(self.cstring()?),
            b'P' => {
                let name = self.text()?;
                let query = self.cstring()?;
                let n = self.u16()?;
                let types = self.counted(n, 4, |r| r.u32())?;
                Message::Parse { name, query, types }
            }
            b'B' => {
                let portal = self.text()?;
                let statement = self.text()?;
                let n = self.u16()?;
                let formats = self.counted(n, 2, |r| r.i16())?;
                let n = self.u16()?;
                let values = self.counted(n, 4, |r| r.value())?;
                let n = self.u16()?;
                let result_formats = self.counted(n, 2, |r| r.i16())?;
                Message::Bind { portal, statement, formats, values, result_formats }
            }
            b'D' => Message::Describe { statement: self.is_statement()?, name: self.text()? },
            b'C' => Message::Close { statement: self.is_statement()?, name: self.text()? },
            b'E' => Message::Execute { portal: self.text()?, max_rows: self.u32()? },
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => {
                self.rest.clear();
                Message::Terminate
            }
            b'd' => Message::CopyData(std::mem::take(&mut self.rest)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(self.text()?),
            b'p' => Message::Password(std::mem::take(&mut self.rest)),
            _ => {
                self.rest.clear();
                Message::FunctionCall
            }
        })
    }

    fn need(&self, n: usize) -> Result<(), DecodeError> {
        if self.rest.len() < n { Err(DecodeError::Short { kind: self.kind }) } else { Ok(()) }
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.need(2)?;
        Ok(self.rest.get_u16())
    }

    fn i16(&mut self) -> Result<i16, DecodeError> {
        self.need(2)?;
        Ok(self.rest.get_i16())
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    fn counted<T>(
        &mut self,
        n: u16,
        least: usize,
        mut each: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.need(n as usize * least)?;
        (0..n).map(|_| each(self)).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>, DecodeError> {
        self.need(4)?;
        match self.rest.get_i32() {
            -1 => Ok(None),
            n => {
                let n = usize::try_from(n)
                    .map_err(|_| DecodeError::Length { kind: self.kind, length: n.into() })?;
                self.need(n)?;
                Ok(Some(self.rest.split_to(n)))
            }
        }
    }

    fn cstring(&mut self) -> Result<Bytes, DecodeError> {
        let end =
            self.rest.iter().position(|&b| b == 0).ok_or(DecodeError::Unterminated { kind: self.kind })?;
        let s = self.rest.split_to(end);
        self.rest.advance(1);
        Ok(s)
    }

    fn text(&mut self) -> Result<Text, DecodeError> {
        let s = self.cstring()?;
        std::str::from_utf8(&s).map_err(|_| DecodeError::Utf8)?;
        Ok(Text(s))
    }

    fn is_statement(&mut self) -> Result<bool, DecodeError> {
        self.need(1)?;
        match self.rest.get_u8() {
            b'S' => Ok(true),
            b'P' => Ok(false),
            _ => Err(DecodeError::Trailing { kind: self.kind }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u8, body: &[u8]) -> BytesMut {
        let mut b = BytesMut::new();
        b.extend_from_slice(&[kind]);
        b.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
        b.extend_from_slice(body);
        b
    }

    const BIND: &[u8] = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\0";

    #[test]
    fn a_bind_is_read() {
        let m = decode(&mut framed(b'B', BIND)).expect("well formed").expect("whole");
        let Message::Bind { statement, formats, values, result_formats, .. } = m else { panic!("{m:?}") };
        assert_eq!(statement.as_str(), "s");
        assert_eq!(formats, [1]);
        assert_eq!(values, [Some(Bytes::from_static(b"\0\0\0\x07")), None]);
        assert!(result_formats.is_empty());
    }

    #[test]
    fn a_message_that_is_too_long_is_known_by_its_length() {
        let body = MAX_TAKEN + 1;
        let mut input = BytesMut::from(&b"Q"[..]);
        input.extend_from_slice(&(body as i32 + 4).to_be_bytes());
        input.extend_from_slice(b"SELECT");
        assert_eq!(decode(&mut input), Ok(Some(Message::TooLong { kind: b'Q', body })));
        assert_eq!(input, &b"SELECT"[..]);
    }

    #[test]
    fn every_truncation_is_an_error_or_incomplete() {
        for n in 0..BIND.len() {
            assert!(decode(&mut framed(b'B', &BIND[..n])).is_err(), "body of {n} bytes");
        }
        let whole = framed(b'B', BIND);
        for n in 0..whole.len() {
            assert_eq!(decode(&mut BytesMut::from(&whole[..n])), Ok(None), "{n} bytes arrived");
        }
    }

    #[test]
    fn nonsense_is_refused_at_once() {
        assert_eq!(decode(&mut BytesMut::from(&b"\x16"[..])), Err(DecodeError::UnknownType(0x16)));
        assert!(matches!(decode(&mut BytesMut::from(&b"Q\0\0\0\0"[..])), Err(DecodeError::Length { .. })));
        assert!(matches!(
            decode(&mut BytesMut::from(&b"Q\x7f\xff\xff\xff"[..])),
            Err(DecodeError::Length { .. })
        ));
        assert_eq!(decode(&mut framed(b'S', b"x")), Err(DecodeError::Trailing { kind: b'S' }));
        assert_eq!(decode(&mut framed(b'Q', b"abc")), Err(DecodeError::Unterminated { kind: b'Q' }));
        assert_eq!(decode(&mut framed(b'D', b"S\xff\0")), Err(DecodeError::Utf8));
    }
}
