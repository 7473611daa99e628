//! A client of the workloads over PostgreSQL's protocol, through one node at a time.
//!
//! What must stay true: an answer that does not come in time is a connection that is lost, and it is closed, so that nothing
//! that was said in it is taken for an answer later; nothing is ever said twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_jepsen::workload::{Answer, BoxFuture, Chance, Client, Refusal};
use rand::RngCore;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};

use super::samples::{Outcome, Samples};
use super::wire::{Standing, Wire};

/// A paused process still accepts connections: its kernel does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a client waits for an answer before it gives the connection up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A node as clients see it.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    pub number: usize,
    pub sql: SocketAddr,
}

pub struct Session {
    gateways: Arc<Vec<Gateway>>,
    home: usize,
    at: usize,
    /// When it went to where it is, if that is not its home.
    away: Option<Instant>,
    wire: Option<Wire>,
    samples: Arc<Samples>,
    /// When the transaction began that is open.
    begun: Option<Instant>,
    /// Whether the last attempt to connect has failed.
    pub is_turned_away: bool,
}

impl Session {
    pub fn new(gateways: Arc<Vec<Gateway>>, home: usize, samples: Arc<Samples>) -> Session {
        Session {
            gateways,
            home,
            at: home,
            away: None,
            wire: None,
            samples,
            begun: None,
            is_turned_away: false,
        }
    }

    pub fn away_for(&self) -> Duration {
        self.away.map(|since| since.elapsed()).unwrap_or_default()
    }

    pub fn go_home(&mut self) {
        self.close();
        (self.at, self.away) = (self.home, None);
    }

    fn gateway_now(&self) -> Gateway {
        self.gateways[self.at % self.gateways.len()]
    }

    async fn open(&mut self) -> Result<(), Refusal> {
        if self.wire.is_some() {
            return Ok(());
        }
        let (gateway, begun) = (self.gateway_now(), Instant::now());
        let opened = match timeout(CONNECT_TIMEOUT, Wire::open(gateway.sql)).await {
            Ok(opened) => opened,
            Err(_) => Err(Refusal::new("08001", "no connection in time")),
        };
        self.is_turned_away = opened.is_err();
        match opened {
            Ok(wire) => self.wire = Some(wire),
            Err(e) => {
                self.samples.enter(gateway.number, begun, Outcome::Refused(e.code.clone()));
                return Err(e);
            }
        }
        Ok(())
    }

    async fn ask(&mut self, text: &str) -> Result<Answer, Refusal> {
        let Some(wire) = &mut self.wire else { return Err(Refusal::lost("there is no session")) };
        let before = wire.standing;
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let said = match timeout(ANSWER_TIMEOUT, wire.say(text)).await {
            Ok(said) => said,
            Err(_) => Err(Refusal::lost(format!("no answer within {ANSWER_TIMEOUT:?}"))),
        };
        let after = wire.standing;
        let may_commit = before == Standing::Idle || text.eq_ignore_ascii_case("COMMIT");
        let outcome = match &said {
            Ok(answer) => match answer.tags.last().map(String::as_str) {
                // Taken back, by the client's own choice or after an error that was entered.
                Some("ROLLBACK") => None,
                _ => (after == Standing::Idle).then_some(Outcome::Done),
            },
            Err(_) if before == Standing::InFailedBlock => None,
            Err(e) if may_commit && e.leaves_commit_open() => Some(Outcome::Unknown(e.code.clone())),
            Err(e) => Some(Outcome::Refused(e.code.clone())),
        };
        if let Some(outcome) = outcome {
            self.samples.enter(self.gateway_now().number, begun, outcome);
        }
        let over = said.as_ref().is_err_and(Refusal::ends_session);
        if over {
            self.wire = None;
        }
        if over || after == Standing::Idle {
            self.begun = None;
        }
        said
    }

    fn close(&mut self) {
        self.wire = None;
        self.begun = None;
    }
}

impl Client for Session {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.open())
    }

    fn say<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(self.ask(text))
    }

    fn leave(&mut self) -> BoxFuture<'_, ()> {
        self.close();
        Box::pin(async {})
    }

    fn go_elsewhere<'a>(&'a mut self, chance: &'a mut dyn Chance) -> BoxFuture<'a, ()> {
        self.close();
        self.at = chance.below(self.gateways.len() as u64) as usize;
        self.away = Some(Instant::now());
        Box::pin(async {})
    }

    fn rest(&mut self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(sleep(time))
    }

    fn gateway(&self) -> String {
        format!("n{}", self.gateway_now().number)
    }
}

pub struct Dice(pub StdRng);

impl Chance for Dice {
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
}
