//! SQL over the simulated cluster: the real sessions of every machine, with a client that writes down what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_sql::catalog::CatalogCache;
use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::plan::Field;
use meridian_sql::schema_change::jobs;
use meridian_sql::session::{Client, Counters, Format, Session, SessionOptions, Severity, SqlNode};
use meridian_sql::types::Batch;
use meridian_sql::types::text::{TextContext, write_row};
use meridian_storage::base::{BoxFuture, Runtime};

use crate::machine::{Up, World};

/// Opens the catalog, however long that takes, and then takes statements.
pub async fn open(up: Up, world: Arc<World>) {
    let catalog = loop {
        match CatalogCache::open(up.db.clone()).await {
            Ok(catalog) => break catalog,
            Err(e) => world.trace.say(format_args!("{}: no catalog yet: {}", up.store.node(), e.message())),
        }
        up.process.sleep(Duration::from_millis(300)).await;
    };
    let node = Arc::new(SqlNode {
        db: up.db.clone(),
        catalog: catalog.clone(),
        consistency: String::new(),
        started: 0,
        sessions: Default::default(),
        counters: Counters::default(),
        admission: Default::default(),
    });
    world.trace.say(format_args!("{} takes statements", up.store.node()));
    assert!(up.sql.set(node).is_ok(), "a machine opens its catalog once");
    jobs::run_loop(catalog).await;
}

pub async fn connect(up: &Up) -> SqlResult<Session> {
    let refused = || SqlError::new("57P03", "the database system is starting up");
    let node = up.sql.get().cloned().ok_or_else(refused)?;
    let parameters = BTreeMap::from([("user".to_string(), "postgres".to_string())]);
    Session::start(node, SessionOptions { parameters }).await
}

/// Everything that a client was told, in order.
#[derive(Default)]
pub struct Recorder {
    said: Vec<Said>,
    flushes: u64,
}

enum Said {
    Row(Vec<Option<String>>),
    Tag(String),
}

pub struct Answer {
    pub rows: Vec<Vec<Option<String>>>,
    pub tags: Vec<String>,
}

/// Runs one string of statements.
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
    let mut answer = Answer { rows: Vec::new(), tags: Vec::new() };
    for said in client.said {
        match said {
            Said::Row(row) => answer.rows.push(row),
            Said::Tag(tag) => answer.tags.push(tag),
        }
    }
    Ok(answer)
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
            let value = |(column, field): (&Arc<meridian_sql::types::Column>, &Field)| {
                let mut out = String::new();
                if column.is_null(row) {
                    return None;
                }
                write_row(field.ty.oid, column, row, text, &mut out);
                Some(out)
            };
            self.said.push(Said::Row(batch.columns.iter().zip(fields).map(value).collect()));
        }
        Ok(())
    }

    fn complete(&mut self, tag: &str) {
        self.said.push(Said::Tag(tag.into()));
    }

    fn empty_query(&mut self) {}
    fn portal_suspended(&mut self) {}
    fn notice(&mut self, _: Severity, _: &SqlError) {}
    fn parameter_status(&mut self, _: &str, _: &str) {}

    fn pending(&self) -> usize {
        self.said.len() * 16
    }

    fn mark(&self) -> (u64, usize) {
        (self.flushes, self.said.len())
    }

    fn rewind(&mut self, mark: (u64, usize)) -> bool {
        let unsent = mark.0 == self.flushes;
        if unsent {
            self.said.truncate(mark.1);
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
