//! A client of a simulated machine: sessions that the machine runs, one message at a time.
//!
//! What must stay true: the client is not a part of the machine. What the machine does for it ends when the machine dies;
//! the client learns of it, and nothing else.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use meridian_jepsen::workload::{Answer, BoxFuture, Chance as Random, Client, Refusal};
use meridian_sql::error::{SqlError, state};
use meridian_sql::session::Session;
use meridian_sql::testing::query;
use meridian_storage::base::Runtime;
use meridian_storage::store::testing::Chance;

use crate::simulate::cluster::Cluster;
use crate::simulate::machine::Up;
use crate::simulate::sql::connect;

/// A machine cannot read its disk.
pub const MISREAD: &str = state::IO_ERROR;

pub struct SimClient {
    cluster: Arc<Cluster>,
    up: Up,
    /// Of what is being done, for the trace.
    id: String,
    session: Option<Session>,
}

impl SimClient {
    pub fn new(cluster: Arc<Cluster>, up: Up, id: String) -> Self {
        SimClient { cluster, up, id, session: None }
    }

    fn died() -> Refusal {
        Refusal::lost("the machine has died")
    }

    fn refusal(&self, e: SqlError) -> Refusal {
        if self.cluster.world.is_of_a_disk(e.code(), e.message()) {
            // Told as what it is: nothing of the statement has happened.
            return Refusal::new(MISREAD, e.message());
        }
        if e.code() == MISREAD {
            return Refusal::new(state::INTERNAL_ERROR, format!("no disk has failed: {}", e.message()));
        }
        Refusal::new(e.code(), e.message())
    }
}

impl Client for SimClient {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            if self.session.is_some() {
                return Ok(());
            }
            let gateway = self.up.clone();
            let connected = on_machine(&self.up, "session", async move { connect(&gateway).await });
            self.session = Some(connected.await.ok_or_else(Self::died)?.map_err(|e| self.refusal(e))?);
            Ok(())
        })
    }

    fn say<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(async move {
            let trace = self.cluster.world.trace.clone();
            trace.say(format_args!("{}: {text}", self.id));
            let mut session = self.session.take().ok_or_else(|| Refusal::lost("there is no session"))?;
            let message = text.to_string();
            let answered = on_machine(&self.up, "session", async move {
                let answer = query(&mut session, &message).await;
                (session, answer)
            });
            let answer = match answered.await {
                Some((session, answer)) => {
                    self.session = Some(session);
                    answer.map_err(|e| self.refusal(e))
                }
                None => Err(Self::died()),
            };
            trace.say(format_args!("{}: {answer:?}", self.id));
            let answer = answer?;
            Ok(Answer { rows: answer.rows, tags: answer.tags })
        })
    }

    fn leave(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(session) = self.session.take() {
                // A machine that dies has closed it, too.
                let _ = on_machine(&self.up, "session", session.close()).await;
            }
        })
    }

    fn go_elsewhere<'a>(&'a mut self, chance: &'a mut dyn Random) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.leave().await;
            let up = self.cluster.all_up();
            let at = chance.below(up.len() as u64) as usize;
            if let Some((_, up)) = up.into_iter().nth(at) {
                self.up = up;
            }
        })
    }

    fn rest(&mut self, time: Duration) -> BoxFuture<'_, ()> {
        self.cluster.world.runtime.sleep(time)
    }

    fn gateway(&self) -> String {
        self.up.store.node().to_string()
    }
}

/// The chance of a simulation, as workloads ask for it.
pub struct Dice<'a>(pub &'a mut Chance);

impl Random for Dice<'_> {
    fn bits(&mut self) -> u64 {
        self.0.bits()
    }
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
