//! The message loop of one connection: reads messages, drives its session, answers.
//!
//! The loop owns two buffers. Input is decoded message by message; output collects until Flush, Sync or [`FLUSH_AT`].
//! While a statement runs the socket is not read, but for COPY data; a cancel request comes over another
//! connection and reaches the session through its [`CancelHandle`](meridian_sql::session::CancelHandle).

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use meridian_sql::error::{SqlError, SqlResult, state};
use meridian_sql::plan::Field;
use meridian_sql::session::{Client, Described, FLUSH_AT, Format, Session, Severity, TransactionStatus};
use meridian_sql::types::Batch;
use meridian_sql::types::text::TextContext;
use meridian_storage::base::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frontend::{self, DecodeError, Message};
use super::{backend, rows};

/// Any byte stream: TCP, TLS over it, or a test's pipe.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why the loop ended.
#[derive(Debug)]
pub enum End {
    /// The client said goodbye or went away.
    Closed,
    Protocol(DecodeError),
}

/// The stream with its buffers; also the session's [`Client`].
pub struct Wire<S> {
    stream: S,
    input: BytesMut,
    out: BytesMut,
    /// What is still to come of a message that was too long: dropped as it comes, before anything else is decoded.
    to_skip: usize,
    /// Bytes that have left the buffer so far, counted with each write: a mark taken before is void if this has moved.
    sent: u64,
    scratch: rows::Scratch,
}

impl<S: Stream> Wire<S> {
    pub fn new(stream: S) -> Self {
        Wire {
            stream,
            input: BytesMut::with_capacity(8 << 10),
            out: BytesMut::with_capacity(8 << 10),
            to_skip: 0,
            sent: 0,
            scratch: rows::Scratch::default(),
        }
    }

    pub fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Sends what waits. May be dropped at any point (a statement that is cancelled while its client is slow): what has
    /// left is out of the buffer, and the next call goes on behind it.
    pub async fn send(&mut self) -> std::io::Result<()> {
        while !self.out.is_empty() {
            let written = self.stream.write_buf(&mut self.out).await?;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.sent += written as u64;
        }
        self.stream.flush().await
    }

    /// Reads more input; `false` at its end.
    pub async fn fill(&mut self) -> std::io::Result<bool> {
        if self.input.capacity() - self.input.len() < 1024 {
            self.input.reserve(8 << 10);
        }
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    /// The next message, reading as long as it takes; `None` at the end of the stream.
    pub async fn message(&mut self) -> Result<Option<Message>, End> {
        loop {
            if let Some(m) = self.decode().map_err(End::Protocol)? {
                return Ok(Some(m));
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Ok(None),
            }
        }
    }
}

impl<S: Stream> Wire<S> {
    /// The next message of what has been read, if it is there.
    fn decode(&mut self) -> Result<Option<Message>, DecodeError> {
        if !self.skip_here() {
            return Ok(None);
        }
        let message = frontend::decode(&mut self.input)?;
        if let Some(Message::TooLong { body, .. }) = message {
            self.to_skip = body;
        }
        Ok(message)
    }

    /// Drops what has been read of a body to be skipped; whether that was the last of it.
    fn skip_here(&mut self) -> bool {
        let here = self.to_skip.min(self.input.len());
        self.input.advance(here);
        self.to_skip -= here;
        self.to_skip == 0
    }

    /// Reads the body of a message that was too long and forgets it; the error says why. May be dropped at any point, as
    /// [`send`](Self::send) may: what is left is skipped before the next message.
    async fn skip(&mut self, body: usize) -> SqlError {
        while !self.skip_here() && matches!(self.fill().await, Ok(true)) {}
        SqlError::new(
            state::PROGRAM_LIMIT_EXCEEDED,
            format!("a message of {body} bytes is longer than the maximum of {}", frontend::MAX_TAKEN),
        )
        .with_hint("Send large amounts of data in several statements, or with COPY.")
    }
}

fn gone() -> SqlError {
    SqlError::new(state::CONNECTION_FAILURE, "connection to client lost")
}

impl<S: Stream> Client for Wire<S> {
    fn describe_rows(&mut self, fields: &[Field], formats: &[Format]) {
        backend::row_description(&mut self.out, fields, formats);
    }

    fn rows(
        &mut self,
        batch: &Batch,
        fields: &[Field],
        formats: &[Format],
        text: &TextContext<'_>,
    ) -> SqlResult<()> {
        rows::encode(&mut self.out, &mut self.scratch, batch, fields, formats, text)
    }

    fn complete(&mut self, tag: &str) {
        backend::command_complete(&mut self.out, tag);
    }

    fn empty_query(&mut self) {
        backend::bare(&mut self.out, b'I');
    }

    fn portal_suspended(&mut self) {
        backend::bare(&mut self.out, b's');
    }

    fn notice(&mut self, severity: Severity, notice: &SqlError) {
        backend::notice(&mut self.out, severity, notice);
    }

    fn parameter_status(&mut self, name: &str, value: &str) {
        backend::parameter_status(&mut self.out, name, value);
    }

    fn pending(&self) -> usize {
        self.out.len()
    }

    fn mark(&self) -> (u64, usize) {
        (self.sent, self.out.len())
    }

    fn rewind(&mut self, mark: (u64, usize)) -> bool {
        let (sent, len) = mark;
        if sent != self.sent {
            return false;
        }
        self.out.truncate(len);
        true
    }

    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        Box::pin(async move { self.send().await.map_err(|_| gone()) })
    }

    fn copy_in_begin(&mut self, format: Format, columns: usize) {
        backend::copy_response(&mut self.out, b'G', format, columns);
    }

    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>> {
        Box::pin(async move {
            self.send().await.map_err(|_| gone())?;
            loop {
                match self.message().await {
                    Ok(Some(Message::CopyData(data))) => return Ok(Some(data)),
                    Ok(Some(Message::CopyDone)) => return Ok(None),
                    Ok(Some(Message::CopyFail(why))) => {
                        return Err(SqlError::new(
                            state::QUERY_CANCELED,
                            format!("COPY from stdin failed: {}", why.as_str()),
                        ));
                    }
                    Ok(Some(Message::TooLong { body, .. })) => return Err(self.skip(body).await),
                    // Allowed while copying, and without effect.
                    Ok(Some(Message::Flush | Message::Sync)) => {}
                    Ok(Some(_)) => {
                        return Err(SqlError::new(
                            state::PROTOCOL_VIOLATION,
                            "unexpected message type during COPY from stdin",
                        ));
                    }
                    Ok(None) => return Err(gone()),
                    Err(End::Protocol(e)) => {
                        return Err(SqlError::new(state::PROTOCOL_VIOLATION, e.to_string()));
                    }
                    Err(End::Closed) => return Err(gone()),
                }
            }
        })
    }

    fn copy_out_begin(&mut self, format: Format, columns: usize) {
        backend::copy_response(&mut self.out, b'H', format, columns);
    }

    fn copy_out_data(&mut self, data: &[u8]) {
        let at = backend::begin(&mut self.out, b'd');
        self.out.extend_from_slice(data);
        backend::end(&mut self.out, at);
    }

    fn copy_out_end(&mut self) {
        backend::bare(&mut self.out, b'c');
    }
}

/// Serves a session that has been started until its client goes, or until `drain` says that the node stops and the
/// session is between transactions.
pub async fn serve<S: Stream>(
    wire: &mut Wire<S>,
    session: &mut Session,
    mut drain: tokio::sync::watch::Receiver<bool>,
) -> End {
    let mut skipping = false;
    loop {
        let message =
            match next(wire, session.status(), session.idle_in_transaction_timeout(), &mut drain).await {
                Next::Message(m) => m,
                Next::End(end) => return end,
                Next::Fatal(e) => {
                    backend::fatal(wire.out(), &e);
                    let _ = wire.send().await;
                    return End::Closed;
                }
            };
        match message {
            Message::Sync => {
                skipping = false;
                if let Err(e) = session.sync(wire).await {
                    backend::error(wire.out(), &e);
                }
                backend::ready_for_query(wire.out(), session.status());
                if wire.send().await.is_err() {
                    return End::Closed;
                }
            }
            Message::Terminate => return End::Closed,
            Message::TooLong { kind, body } => {
                let e = wire.skip(body).await;
                // Left over from a COPY that failed, or behind an error: skipped as any other.
                if skipping || matches!(kind, b'd' | b'c' | b'f') {
                    continue;
                }
                session.fail(&e, wire).await;
                backend::error(wire.out(), &e);
                if kind == b'Q' {
                    backend::ready_for_query(wire.out(), session.status());
                } else {
                    skipping = true;
                }
                if wire.send().await.is_err() {
                    return End::Closed;
                }
            }
            _ if skipping => {}
            Message::Query(text) => {
                simple_query(wire, session, &text).await;
                backend::ready_for_query(wire.out(), session.status());
                if wire.send().await.is_err() {
                    return End::Closed;
                }
            }
            Message::Flush => {
                if wire.send().await.is_err() {
                    return End::Closed;
                }
            }
            // Left over from a COPY that failed: the protocol says to ignore them.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
            Message::Password(_) => return protocol(wire, DecodeError::UnknownType(b'p')).await,
            Message::FunctionCall => {
                let e = SqlError::unsupported("the function call sub-protocol");
                session.fail(&e, wire).await;
                backend::error(wire.out(), &e);
                backend::ready_for_query(wire.out(), session.status());
                if wire.send().await.is_err() {
                    return End::Closed;
                }
            }
            extended => {
                if let Err(e) = extended_message(wire, session, extended).await {
                    session.fail(&e, wire).await;
                    backend::error(wire.out(), &e);
                    skipping = true;
                } else if wire.pending() > FLUSH_AT && wire.send().await.is_err() {
                    return End::Closed;
                }
            }
        }
    }
}

enum Next {
    Message(Message),
    End(End),
    Fatal(SqlError),
}

/// Waits for a message, watching the idle timeouts and the node's shutdown.
async fn next<S: Stream>(
    wire: &mut Wire<S>,
    status: TransactionStatus,
    timeout: Option<Duration>,
    drain: &mut tokio::sync::watch::Receiver<bool>,
) -> Next {
    // The common case: the message is here, or comes and nothing else happens.
    match wire.decode() {
        Ok(Some(m)) => return Next::Message(m),
        Ok(None) => {}
        Err(e) => return protocol_next(e),
    }
    let shutdown =
        || SqlError::new(state::ADMIN_SHUTDOWN, "terminating connection due to administrator command");
    let idle = status == TransactionStatus::Idle;
    if idle && *drain.borrow() {
        return Next::Fatal(shutdown());
    }
    let timeout = if idle { None } else { timeout };
    loop {
        tokio::select! {
            biased;
            message = wire.message() => {
                return match message {
                    Ok(Some(m)) => Next::Message(m),
                    Ok(None) => Next::End(End::Closed),
                    Err(End::Protocol(e)) => protocol_next(e),
                    Err(end) => Next::End(end),
                };
            }
            changed = drain.changed(), if idle => {
                if changed.is_err() || *drain.borrow() {
                    return Next::Fatal(shutdown());
                }
            }
            () = tokio::time::sleep(timeout.unwrap_or(Duration::MAX)), if timeout.is_some() => {
                return Next::Fatal(SqlError::new(
                    "25P03",
                    "terminating connection due to idle-in-transaction timeout",
                ));
            }
        }
    }
}

fn protocol_next(e: DecodeError) -> Next {
    Next::Fatal(SqlError::new(
        if e == DecodeError::Utf8 { state::CHARACTER_NOT_IN_REPERTOIRE } else { state::PROTOCOL_VIOLATION },
        e.to_string(),
    ))
}

async fn protocol<S: Stream>(wire: &mut Wire<S>, e: DecodeError) -> End {
    backend::fatal(wire.out(), &SqlError::new(state::PROTOCOL_VIOLATION, e.to_string()));
    let _ = wire.send().await;
    End::Protocol(e)
}

fn utf8(text: &Bytes) -> SqlResult<&str> {
    std::str::from_utf8(text).map_err(|e| SqlError::invalid_utf8(&text[e.valid_up_to()..]))
}

async fn simple_query<S: Stream>(wire: &mut Wire<S>, session: &mut Session, text: &Bytes) {
    let result = match utf8(text) {
        Ok(text) => session.simple_query(text, wire).await,
        Err(e) => Err(e),
    };
    if let Err(e) = result {
        session.fail(&e, wire).await;
        backend::error(wire.out(), &e);
    }
}

fn formats(codes: &[i16]) -> SqlResult<Vec<Format>> {
    codes
        .iter()
        .map(|c| match c {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            n => Err(SqlError::new(state::INVALID_PARAMETER_VALUE, format!("unsupported format code: {n}"))),
        })
        .collect()
}

async fn extended_message<S: Stream>(
    wire: &mut Wire<S>,
    session: &mut Session,
    message: Message,
) -> SqlResult<()> {
    match message {
        Message::Parse { name, query, types } => {
            session.parse(name.as_str(), utf8(&query)?, &types).await?;
            backend::parse_complete(wire.out());
        }
        Message::Bind { portal, statement, formats: f, values, result_formats } => {
            session
                .bind(portal.as_str(), statement.as_str(), &formats(&f)?, values, formats(&result_formats)?)
                .await?;
            backend::bind_complete(wire.out());
        }
        Message::Describe { statement, name } => {
            let described = if statement {
                session.describe_statement(name.as_str())?
            } else {
                session.describe_portal(name.as_str())?
            };
            describe(wire, &described);
        }
        Message::Execute { portal, max_rows } => {
            let last = frontend::sync_is_next(wire.input());
            session.execute(portal.as_str(), max_rows as usize, last, wire).await?;
        }
        Message::Close { statement: true, name } => {
            session.close_statement(name.as_str());
            backend::close_complete(wire.out());
        }
        Message::Close { statement: false, name } => {
            session.close_portal(name.as_str());
            backend::close_complete(wire.out());
        }
        other => return Err(SqlError::internal(format!("message out of place: {other:?}"))),
    }
    Ok(())
}

fn describe<S: Stream>(wire: &mut Wire<S>, d: &Described) {
    if let Some(params) = &d.params {
        backend::parameter_description(wire.out(), params);
    }
    match &d.fields {
        Some(fields) => backend::row_description(wire.out(), fields, &d.formats),
        None => backend::no_data(wire.out()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement that is cancelled while its rows are being sent drops the flush half-way.
    #[tokio::test]
    async fn a_flush_that_is_dropped_sends_nothing_twice() {
        let (server, mut client) = tokio::io::duplex(16);
        let mut wire = Wire::new(server);
        let before = wire.mark();
        wire.out().extend_from_slice(&[7; 100]);
        {
            let flush = wire.flush();
            tokio::pin!(flush);
            assert!(futures::poll!(&mut flush).is_pending());
        }
        assert_eq!(wire.pending(), 84);
        assert!(!wire.rewind(before), "a part has left");
        assert_eq!(wire.pending(), 84);
        let now = wire.mark();
        wire.out().extend_from_slice(b"taken back");
        assert!(wire.rewind(now));
        wire.out().extend_from_slice(b"an error");
        let mut received = Vec::new();
        let sending = async {
            wire.send().await.expect("the client reads");
            drop(wire);
        };
        tokio::join!(sending, async { client.read_to_end(&mut received).await.expect("all of it") });
        assert_eq!(received, [&[7; 100], &b"an error"[..]].concat());
    }

    /// A COPY that is cancelled while a message that is too long is coming in drops the skipping half-way.
    #[tokio::test]
    async fn a_message_that_is_too_long_is_skipped_to_its_end_however_often_that_is_dropped() {
        let (server, mut client) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(server);
        let body = frontend::MAX_TAKEN + 1;
        client.write_all(b"d").await.expect("there is room");
        client.write_all(&(body as i32 + 4).to_be_bytes()).await.expect("there is room");
        client.write_all(&[b'S'; 1000]).await.expect("there is room");
        {
            let next = wire.copy_in_next();
            tokio::pin!(next);
            assert!(futures::poll!(&mut next).is_pending());
        }
        client.write_all(&[b'S'; 1000]).await.expect("there is room");
        {
            let message = wire.message();
            tokio::pin!(message);
            assert!(futures::poll!(&mut message).is_pending());
        }
        let sending = async {
            client.write_all(&vec![b'S'; body - 2000]).await.expect("is read");
            client.write_all(b"H\0\0\0\x04").await.expect("is read");
        };
        let (message, ()) = tokio::join!(wire.message(), sending);
        assert_eq!(message.expect("in step"), Some(Message::Flush));
    }
}
