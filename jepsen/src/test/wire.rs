//! The PostgreSQL protocol, as far as simple queries need it: what the server says is passed on as it was said, with the
//! command tags and the state of the transaction, neither of which tokio-postgres shows.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use meridian_jepsen::workload::{Answer, Refusal, Row};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where a session stands, by the server's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Idle,
    InBlock,
    InFailedBlock,
}

pub struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
    pub standing: Standing,
}

/// What a message was answered with, until the server was ready again.
pub type Said = Result<Answer, Refusal>;

impl Wire {
    pub async fn open(at: SocketAddr) -> Result<Wire, Refusal> {
        let stream = TcpStream::connect(at).await.map_err(|e| Refusal::new("08001", e.to_string()))?;
        let mut wire = Wire { stream, buffer: BytesMut::new(), standing: Standing::Idle };
        wire.stream.set_nodelay(true).map_err(lost)?;
        let mut hello = BytesMut::new();
        frontend::startup_message([("user", "postgres"), ("database", "postgres")], &mut hello)
            .map_err(lost)?;
        wire.stream.write_all(&hello).await.map_err(lost)?;
        wire.until_ready().await?;
        Ok(wire)
    }

    pub async fn say(&mut self, text: &str) -> Said {
        let mut message = BytesMut::new();
        frontend::query(text, &mut message).map_err(lost)?;
        self.stream.write_all(&message).await.map_err(lost)?;
        self.until_ready().await
    }

    /// Of several errors the first counts; one that ends the session comes without readiness after it.
    async fn until_ready(&mut self) -> Said {
        let (mut answer, mut refusal) = (Answer::default(), None);
        loop {
            let message = match self.message().await {
                Ok(message) => message,
                Err(e) => return Err(refusal.unwrap_or_else(|| lost(e))),
            };
            match message {
                Message::DataRow(row) => answer.rows.push(values(&row).map_err(lost)?),
                Message::CommandComplete(done) => answer.tags.push(done.tag().map_err(lost)?.to_string()),
                Message::EmptyQueryResponse => answer.tags.push(String::new()),
                Message::ErrorResponse(e) => {
                    refusal.get_or_insert(reason(&e).map_err(lost)?);
                }
                Message::ReadyForQuery(ready) => {
                    self.standing = match ready.status() {
                        b'I' => Standing::Idle,
                        b'T' => Standing::InBlock,
                        _ => Standing::InFailedBlock,
                    };
                    return refusal.map_or(Ok(answer), Err);
                }
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = Message::parse(&mut self.buffer)? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }
}

fn lost(e: Error) -> Refusal {
    Refusal::lost(e.to_string())
}

fn values(row: &DataRowBody) -> Result<Row, Error> {
    let text = |range: Option<std::ops::Range<usize>>| {
        range.map(|r| String::from_utf8_lossy(&row.buffer()[r]).into_owned())
    };
    row.ranges().map(|range| Ok(text(range))).collect()
}

fn reason(e: &ErrorResponseBody) -> Result<Refusal, Error> {
    let (mut code, mut message) = ("XX000".to_string(), String::new());
    let mut fields = e.fields();
    while let Some(field) = fields.next()? {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    Ok(Refusal::new(&code, message))
}
