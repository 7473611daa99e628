//! Sessions without a server: for benchmarks and for the simulation of whole clusters.
//!
//! What must stay true: a session cannot tell [`Recorder`] from a client on a socket. What it was told before a flush it
//! may be asked to forget; what was flushed stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::BoxFuture;

use crate::error::{SqlError, SqlResult};
use crate::plan::Field;
use crate::session::{Client, Format, Session, SessionOptions, Severity, SqlNode};
use crate::types::text::{TextContext, write_row};
use crate::types::{Batch, Column};

/// A row as text; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// What a string of statements was answered with.
#[derive(Default, Debug)]
pub struct Answer {
    pub rows: Vec<TextRow>,
    pub tags: Vec<String>,
}

/// A session of the superuser.
pub async fn connect(node: Arc<SqlNode>) -> SqlResult<Session> {
    let parameters = BTreeMap::from([("user".to_string(), "postgres".to_string())]);
    let pid = node.runtime().random() as u32;
    let mut session = Session::start(node, SessionOptions { parameters }).await?;
    // Its transactions count among those of the node.
    session.set_backend_pid(pid);
    Ok(session)
}

/// Runs one string of statements. After an error the session is where a client would find it: in a failed block, or idle.
pub async fn query(session: &mut Session, text: &str) -> SqlResult<Answer> {
    let mut client = Recorder::default();
    let mut done = session.simple_query(text, &mut client).await;
    if done.is_ok() {
        done = client.flush().await;
    }
    if let Err(e) = done {
        session.fail(&e, &mut client).await;
        return Err(e);
    }
    let mut answer = Answer::default();
    for told in client.told {
        match told {
            Told::Row(row) => answer.rows.push(row),
            Told::Tag(tag) => answer.tags.push(tag),
        }
    }
    Ok(answer)
}

/// A client that writes down what it is told, in order.
#[derive(Default)]
pub struct Recorder {
    told: Vec<Told>,
    flushes: u64,
}

enum Told {
    Row(TextRow),
    Tag(String),
}

impl Client for Recorder {
    fn describe_rows(&mut self, _: &[Field], _: &[Format]) {}

    fn rows(
        &mut self,
        batch: &Batch,
        fields: &[Field],
        _: &[Format],
        text: &TextContext<'_>,
    ) -> SqlResult<()> {
        for row in 0..batch.rows {
            let value = |(column, field): (&Arc<Column>, &Field)| {
                (!column.is_null(row)).then(|| {
                    let mut out = String::new();
                    write_row(field.ty.oid, column, row, text, &mut out);
                    out
                })
            };
            self.told.push(Told::Row(batch.columns.iter().zip(fields).map(value).collect()));
        }
        Ok(())
    }

    fn complete(&mut self, tag: &str) {
        self.told.push(Told::Tag(tag.into()));
    }

    fn empty_query(&mut self) {}
    fn portal_suspended(&mut self) {}
    fn notice(&mut self, _: Severity, _: &SqlError) {}
    fn parameter_status(&mut self, _: &str, _: &str) {}

    fn pending(&self) -> usize {
        self.told.len() * 16
    }

    fn mark(&self) -> (u64, usize) {
        (self.flushes, self.told.len())
    }

    fn rewind(&mut self, mark: (u64, usize)) -> bool {
        let unsent = mark.0 == self.flushes;
        if unsent {
            self.told.truncate(mark.1);
        }
        unsent
    }

    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        self.flushes += 1;
        Box::pin(async { Ok(()) })
    }

    fn copy_in_begin(&mut self, _: Format, _: usize) {}

    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>> {
        Box::pin(async { Ok(None) })
    }

    fn copy_out_begin(&mut self, _: Format, _: usize) {}
    fn copy_out_data(&mut self, _: &[u8]) {}
    fn copy_out_end(&mut self) {}
}
