//! One transaction of a client, and what the client knows of it afterwards.
//!
//! What must stay true: `Refused` is said only of what surely did not happen.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use futures::channel::oneshot;
use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::session::Session;
use meridian_sql::testing::{Answer, query};
use meridian_storage::base::{BoxFuture, Runtime};
use meridian_txn::TxnError;

use crate::simulate::cluster::Cluster;
use crate::simulate::coverage::Coverage;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;
use crate::simulate::trace::Trace;

/// What a client knows of a transaction.
#[derive(Debug)]
pub enum Told<T> {
    Done(T),
    Refused,
    Unknown,
}

/// A session, and whether the transaction has been asked to commit.
pub struct Asking {
    session: Session,
    committing: Arc<AtomicBool>,
    id: String,
    trace: Trace,
}

impl Asking {
    pub async fn say(&mut self, text: &str) -> SqlResult<Answer> {
        self.trace.say(format_args!("{}: {text}", self.id));
        let answer = query(&mut self.session, text).await;
        match &answer {
            Ok(answer) => self.trace.say(format_args!("{}: {answer:?}", self.id)),
            Err(e) => self.trace.say(format_args!("{}: {e:?}", self.id)),
        }
        answer
    }

    /// What may commit by itself: a statement outside a block.
    pub async fn say_alone(&mut self, text: &str) -> SqlResult<Answer> {
        self.committing.store(true, SeqCst);
        self.say(text).await
    }

    pub async fn commit(&mut self) -> SqlResult<()> {
        let ended = self.say_alone("COMMIT").await?;
        assert_eq!(ended.tags, ["COMMIT"], "nothing of the block has failed");
        Ok(())
    }
}

pub type Deed<T> = Box<dyn for<'a> FnOnce(&'a mut Asking) -> BoxFuture<'a, SqlResult<T>> + Send>;

/// Runs a transaction through a gateway. `excused`: SQLSTATEs that the statements themselves may give.
pub async fn ask<T: Send + 'static>(
    cluster: &Cluster,
    up: &Up,
    id: &str,
    excused: &'static [&'static str],
    deed: Deed<T>,
) -> Told<T> {
    let committing = Arc::new(AtomicBool::new(false));
    let (gateway, committing_too) = (up.clone(), committing.clone());
    let (id_too, trace) = (id.to_string(), cluster.world.trace.clone());
    let done = on_machine(up, "session", async move {
        let session = connect(&gateway).await?;
        let mut asking = Asking { session, committing: committing_too, id: id_too, trace };
        let done = deed(&mut asking).await;
        asking.session.close().await;
        done
    });
    let coverage = &cluster.world.coverage;
    match done.await {
        Some(Ok(value)) => {
            Coverage::add(&coverage.commits);
            return Told::Done(value);
        }
        Some(Err(e)) => {
            let e = Failure::from(e);
            if !excused.contains(&e.code) {
                e.must_be_expected(id);
            }
            cluster.world.trace.say(format_args!("{id} {e:?}"));
            if e.code != "40003" {
                Coverage::add(&coverage.refused);
                return Told::Refused;
            }
        }
        // The machine died. What it was not asked to commit, it has not committed.
        None if !committing.load(SeqCst) => {
            Coverage::add(&coverage.refused);
            return Told::Refused;
        }
        None => {}
    }
    Coverage::add(&coverage.unknown);
    Told::Unknown
}

/// Runs `deed` as the machine does it; `None`: the machine died before it could answer.
pub async fn on_machine<T: Send + 'static>(
    up: &Up,
    name: &'static str,
    deed: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (done, answer) = oneshot::channel();
    let deed = async move {
        // Whoever asked may have gone.
        let _ = done.send(deed.await);
    };
    up.process.spawn(name, Box::pin(deed));
    answer.await.ok()
}

/// An error as a client sees it.
#[derive(Debug)]
pub struct Failure {
    pub code: &'static str,
    #[expect(dead_code, reason = "for the trace")]
    text: String,
}

impl From<TxnError> for Failure {
    fn from(e: TxnError) -> Self {
        Failure { code: e.sqlstate(), text: e.message }
    }
}

impl From<SqlError> for Failure {
    fn from(e: SqlError) -> Self {
        Failure { code: e.code(), text: e.message().into() }
    }
}

impl Failure {
    /// Faults may make a request fail, but only in ways that a client can make sense of.
    pub fn must_be_expected(&self, what: &str) {
        const EXPECTED: [&str; 7] = ["40001", "40003", "40P01", "55P03", "57P03", "23514", "57P01"];
        assert!(EXPECTED.contains(&self.code), "{what}: {self:?}");
    }
}
