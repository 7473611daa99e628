//! What a workload needs from whoever runs it: a client that speaks SQL, and chance.
//!
//! What must stay true: an error of [`Client::connect`] has changed nothing in the database; whatever went wrong with a
//! connection has a code of class 08, so that nobody takes it for an answer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// What one message of statements was answered with: the rows of all of them, and a command tag for each.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Answer {
    pub rows: Vec<Row>,
    /// As the server spells them: `UPDATE 1`, `COMMIT`.
    pub tags: Vec<String>,
}

impl Answer {
    /// The first value of the first row.
    pub fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// How many rows the last statement was about, by its tag.
    pub fn count(&self) -> u64 {
        let last = self.tags.last().and_then(|tag| tag.rsplit(' ').next());
        last.and_then(|n| n.parse().ok()).unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The SQLSTATE, or [`Refusal::WRONG`].
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// The code of an answer that no right database gives.
    pub const WRONG: &'static str = "wrong";

    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Refusal { code: code.into(), message: message.into() }
    }

    /// The connection went, or there was no answer for so long that the client has given it up.
    pub fn lost(message: impl Into<String>) -> Self {
        Refusal::new("08006", message)
    }

    /// There was an answer, and it cannot be: what was seen, and what was promised.
    pub fn wrong(message: impl Into<String>) -> Self {
        Refusal::new(Refusal::WRONG, message)
    }

    /// Whether the session is of no further use.
    pub fn ends_session(&self) -> bool {
        self.code.starts_with("08") || self.code.starts_with("57P")
    }

    /// Whether a COMMIT that was answered so may have committed.
    pub fn leaves_commit_open(&self) -> bool {
        self.code == "40003" || self.ends_session()
    }
}

/// A client. It has at most one session, with one gateway at a time.
pub trait Client: Send {
    /// Begins a session, if there is none.
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Refusal>>;

    /// One message of the simple query protocol. After an error the session is where PostgreSQL would leave it.
    fn say<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>>;

    /// Ends the session, if there is one. What is open in it will never commit.
    fn leave(&mut self) -> BoxFuture<'_, ()>;

    /// Leaves, and goes to a gateway that chance chooses, perhaps the same. [`connect`](Client::connect) begins a session there.
    fn go_elsewhere<'a>(&'a mut self, chance: &'a mut dyn Chance) -> BoxFuture<'a, ()>;

    /// Does nothing for a while.
    fn rest(&mut self, time: Duration) -> BoxFuture<'_, ()>;

    /// The gateway, for people.
    fn gateway(&self) -> String;
}

/// Where random numbers come from: a seed in a simulation.
pub trait Chance: Send {
    fn bits(&mut self) -> u64;

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.bits() % n.max(1)
    }

    /// True in `n` of a hundred cases.
    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

/// Chance that repeats itself: the generator of G. Steele, D. Lea and C. Flood ("Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014), from a seed.
pub struct SplitMix(pub u64);

impl Chance for SplitMix {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
