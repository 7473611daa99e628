//! Sessions without a server: what a client is told of.

mod blocks;
mod cancelling;
mod copying;
mod cursors;
mod cursor_moments;
mod extended;
mod fenced;
mod maintenance;
mod modes;
mod parameters;
mod past;
mod savepoints;
mod schema_changes;
mod settings;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::BoxFuture;
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{CancelHandle, Client, Format, Session, SessionOptions, Severity, SqlNode};
use crate::catalog::CatalogCache;
use crate::error::{SqlError, SqlResult};
use crate::plan::Field;
use crate::types::Batch;
use crate::types::text::{TextContext, write_row};

/// A client that keeps what it is told: tags, rows (`1|2`) and settings (`TimeZone=UTC`).
#[derive(Default)]
struct Recorder {
    told: Vec<String>,
    /// To be cancelled when a setting is told of.
    cancel: Option<Arc<CancelHandle>>,
    /// The data of a COPY: all there, without a pause. With `cancel`, that happens at the first piece.
    data: VecDeque<Bytes>,
    /// Much is on its way to it, and it takes nothing.
    stalled: bool,
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
            let values = batch.columns.iter().zip(fields).map(|(column, field)| {
                let mut out = String::new();
                write_row(field.ty.oid, column, row, text, &mut out);
                out
            });
            self.told.push(values.collect::<Vec<_>>().join("|"));
        }
        Ok(())
    }
    fn complete(&mut self, tag: &str) {
        self.told.push(tag.into());
    }
    fn empty_query(&mut self) {}
    fn portal_suspended(&mut self) {
        self.told.push("suspended".into());
    }
    fn notice(&mut self, _: Severity, _: &SqlError) {}
    fn parameter_status(&mut self, name: &str, value: &str) {
        self.told.push(format!("{name}={value}"));
        self.cancel.iter().for_each(|c| c.cancel());
    }
    fn pending(&self) -> usize {
        if self.stalled { usize::MAX } else { 0 }
    }
    fn mark(&self) -> (u64, usize) {
        (0, self.told.len())
    }
    fn rewind(&mut self, mark: (u64, usize)) -> bool {
        self.told.truncate(mark.1);
        true
    }
    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        if self.stalled {
            return Box::pin(std::future::pending());
        }
        Box::pin(async { Ok(()) })
    }
    fn copy_in_begin(&mut self, _: Format, _: usize) {}
    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>> {
        self.cancel.iter().for_each(|c| c.cancel());
        let piece = self.data.pop_front();
        Box::pin(async { Ok(piece) })
    }
    fn copy_out_begin(&mut self, _: Format, _: usize) {}
    fn copy_out_data(&mut self, _: &[u8]) {}
    fn copy_out_end(&mut self) {}
}

async fn nodes(cluster: &Cluster) -> Vec<Arc<SqlNode>> {
    let mut nodes = Vec::new();
    for db in &cluster.gateways {
        let catalog = CatalogCache::open(db.clone()).await.expect("the catalog");
        nodes.push(Arc::new(SqlNode::new(db.clone(), catalog)));
    }
    nodes
}

async fn session(node: &Arc<SqlNode>) -> Session {
    let parameters = BTreeMap::from([("user".to_string(), "postgres".to_string())]);
    Session::start(node.clone(), SessionOptions { parameters }).await.expect("a session")
}

/// What the client was told, and the SQLSTATE of the error that it was given.
async fn say(session: &mut Session, sql: &str) -> (Vec<String>, Option<&'static str>) {
    let mut client = Recorder::default();
    let done = session.simple_query(sql, &mut client).await;
    if let Err(e) = &done {
        session.fail(e, &mut client).await;
    }
    (client.told, done.err().map(|e| e.code()))
}

/// Messages, one after the other in one session, and what the client is told of each: last an error's SQLSTATE.
fn talk(script: &[(&str, &[&str])]) {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut session = session(&node).await;
        for (sql, expected) in script {
            let (mut told, error) = say(&mut session, sql).await;
            told.extend(error.map(String::from));
            assert_eq!(told, *expected, "{sql}");
        }
    });
    runtime.shut_down();
}

/// Works with the one session of a node.
fn with_session(work: impl AsyncFnOnce(&mut Session)) {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        work(&mut session(&node).await).await;
    });
    runtime.shut_down();
}

/// Parses, binds and executes a statement, without a Sync behind it.
async fn extended(session: &mut Session, sql: &str) -> Vec<String> {
    bind(session, "", sql).await;
    execute(session, "", 0).await
}

async fn bind(session: &mut Session, portal: &str, sql: &str) {
    session.parse("", sql, &[]).await.expect("a statement");
    session.bind(portal, "", &[], Vec::new(), Vec::new()).await.expect("a portal");
}

/// What the client is told of a portal's execution: last `suspended` at the row limit, or an error's SQLSTATE.
async fn execute(session: &mut Session, portal: &str, max_rows: usize) -> Vec<String> {
    let mut client = Recorder::default();
    if let Err(e) = session.execute(portal, max_rows, false, &mut client).await {
        session.fail(&e, &mut client).await;
        client.told.push(e.code().into());
    }
    client.told
}
