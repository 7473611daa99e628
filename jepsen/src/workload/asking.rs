//! One transaction of a client, and what the client knows of it afterwards.
//!
//! What must stay true: `Refused` is said only of what surely did not happen. Until the message that may commit has been
//! sent, nothing can have happened, whatever was lost; once it has been, only an error that rules a commit out is a refusal.

use std::time::Duration;

use super::client::{Answer, Client, Refusal, Row};
use super::setting::Level;
use super::tally::Tally;

/// What a client knows of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    Done(T),
    /// It did not happen, and never will.
    Refused(Refusal),
    /// It happened, or will happen, or never does.
    Unknown(Refusal),
}

impl<T> Told<T> {
    /// For whoever needs the answer: why there is none.
    pub fn into_result(self) -> Result<T, Refusal> {
        match self {
            Told::Done(value) => Ok(value),
            Told::Refused(e) | Told::Unknown(e) => Err(e),
        }
    }

    /// Whether it is worthwhile to try the same again.
    pub fn may_be_repeated(&self) -> bool {
        matches!(self, Told::Refused(e) if e.code == "40001" || e.code == "40P01")
    }
}

/// A transaction while it is made. Only its last message may commit.
pub struct Asking<'c> {
    client: &'c mut dyn Client,
    tally: &'c Tally,
    excused: &'c [&'c str],
    connected: bool,
    /// Whether a block is open, as far as the client knows.
    in_block: bool,
    /// Whether what may commit has been sent.
    committing: bool,
    /// Whether the session is not to be used again.
    spoilt: bool,
}

impl<'c> Asking<'c> {
    /// `excused`: SQLSTATEs that the statements themselves may give, without any fault.
    pub fn new(client: &'c mut dyn Client, tally: &'c Tally, excused: &'c [&'c str]) -> Self {
        Asking { client, tally, excused, connected: false, in_block: false, committing: false, spoilt: false }
    }

    /// SQLSTATEs that the next statements may give, instead of those so far; [`Self::commit`] may give none of them.
    pub fn excuse(&mut self, excused: &'c [&'c str]) {
        self.excused = excused;
    }

    async fn connect(&mut self) -> Result<(), Refusal> {
        if !self.connected {
            self.client.connect().await?;
            self.connected = true;
        }
        Ok(())
    }

    /// A statement inside a block, or one that changes nothing.
    pub async fn say(&mut self, text: &str) -> Result<Answer, Refusal> {
        self.connect().await?;
        self.client.say(text).await
    }

    /// What may commit by itself: statements outside of a block.
    pub async fn say_alone(&mut self, text: &str) -> Result<Answer, Refusal> {
        self.connect().await?;
        self.committing = true;
        self.client.say(text).await
    }

    /// A transaction of one statement: by itself at the default level, in a block at the others.
    pub async fn change(&mut self, level: Level, text: &str) -> Result<Answer, Refusal> {
        if level == Level::Serializable {
            return self.say_alone(text).await;
        }
        self.begin(level).await?;
        let answer = self.say(text).await?;
        self.commit().await?;
        Ok(answer)
    }

    /// A transaction of one query, in a block that may only read.
    pub async fn query(&mut self, level: Level, text: &str) -> Result<Vec<Row>, Refusal> {
        self.begin_read_only(level).await?;
        let rows = self.say(text).await?.rows;
        self.commit().await?;
        Ok(rows)
    }

    pub async fn begin(&mut self, level: Level) -> Result<(), Refusal> {
        self.say(&format!("BEGIN ISOLATION LEVEL {}", level.sql())).await?;
        self.in_block = true;
        Ok(())
    }

    pub async fn begin_read_only(&mut self, level: Level) -> Result<(), Refusal> {
        self.say(&format!("BEGIN ISOLATION LEVEL {} READ ONLY", level.sql())).await?;
        self.in_block = true;
        Ok(())
    }

    pub async fn commit(&mut self) -> Result<(), Refusal> {
        self.commit_excusing(&[]).await
    }

    /// A commit writes what was put off, and may wait for locks then: it may give the SQLSTATEs of that.
    pub async fn commit_excusing(&mut self, excused: &'c [&'c str]) -> Result<(), Refusal> {
        self.excuse(excused);
        let ended = self.say_alone("COMMIT").await?;
        self.in_block = false;
        match &ended.tags[..] {
            [tag] if tag == "COMMIT" => Ok(()),
            tags => {
                Err(Refusal::wrong(format!("COMMIT says {tags:?}, though nothing of the block has failed")))
            }
        }
    }

    pub async fn rollback(&mut self) -> Result<(), Refusal> {
        self.say("ROLLBACK").await?;
        self.in_block = false;
        Ok(())
    }

    /// Does nothing for a while, in the middle of it.
    pub async fn rest(&mut self, time: Duration) {
        self.client.rest(time).await;
    }

    /// What was said has changed the session: no other transaction is to be made in it.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// Leaves the session in order, and says what the client knows.
    pub async fn end<T>(self, done: Result<T, Refusal>) -> Told<T> {
        let lost = done.as_ref().is_err_and(Refusal::ends_session);
        let clean = self.connected && !self.spoilt && !lost;
        let open = self.in_block || done.is_err();
        if !clean || (open && self.client.say("ROLLBACK").await.is_err()) {
            self.client.leave().await;
        }
        let refusal = match done {
            Ok(value) => {
                self.tally.done();
                return Told::Done(value);
            }
            Err(refusal) => refusal,
        };
        let is_wrong = refusal.code == Refusal::WRONG;
        if is_wrong {
            self.tally.violation(refusal.message.clone());
        } else {
            self.tally.error(&refusal, self.excused);
        }
        if self.committing && (is_wrong || refusal.leaves_commit_open()) {
            self.tally.unknown();
            return Told::Unknown(refusal);
        }
        self.tally.refused();
        Told::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Scripted, ready, tag};
    use super::*;

    /// What a client is told of BEGIN, a statement, COMMIT, if `at` is answered with `code`.
    fn told(at: &'static str, code: &'static str) -> (Told<()>, Tally, Scripted) {
        let mut client = Scripted::new(move |text| match text {
            _ if text == at => Err(Refusal::new(code, "no")),
            _ => tag(text),
        });
        let tally = Tally::default();
        let told = ready(async {
            let mut asking = Asking::new(&mut client, &tally, &["23505"]);
            let done = async {
                asking.begin(Level::Serializable).await?;
                asking.say("UPDATE").await?;
                asking.commit().await
            };
            let done = done.await;
            asking.end(done).await
        });
        (told, tally, client)
    }

    #[test]
    fn only_a_commit_leaves_open_what_happened() {
        for code in ["08006", "57P01", "40003"] {
            assert!(matches!(told("UPDATE", code).0, Told::Refused(_)), "{code}");
            assert!(matches!(told("COMMIT", code).0, Told::Unknown(_)), "{code}");
        }
        for code in ["40001", "23505", "40P01"] {
            assert!(matches!(told("COMMIT", code).0, Told::Refused(_)), "{code}");
        }
        assert_eq!(told("nothing", "").0, Told::Done(()));
    }

    #[test]
    fn what_nothing_excuses_is_a_violation() {
        assert_eq!(told("UPDATE", "23505").1.take_violations(), [""; 0]);
        assert_eq!(
            told("COMMIT", "23505").1.take_violations().len(),
            1,
            "it is the statement that may give it"
        );
        assert_eq!(told("UPDATE", "55P03").1.take_violations().len(), 1, "nobody has asked not to wait");
        let (_, tally, _) = told("UPDATE", "XX000");
        assert_eq!(tally.take_violations(), ["no fault excuses the error XX000: no"]);
        assert_eq!(tally.counts().errors["XX000"], 1);
        assert_eq!(tally.take_violations(), [""; 0], "they were taken");
    }

    #[test]
    fn a_session_is_left_in_order() {
        let (_, _, client) = told("UPDATE", "40001");
        assert_eq!((client.said.last().map(String::as_str), client.left), (Some("ROLLBACK"), 0));
        let (_, _, client) = told("UPDATE", "08006");
        assert_eq!((client.said.last().map(String::as_str), client.left), (Some("UPDATE"), 1));
    }

    #[test]
    fn a_commit_that_rolls_back_is_a_violation() {
        let mut client = Scripted::new(|text| tag(if text == "COMMIT" { "ROLLBACK" } else { text }));
        let tally = Tally::default();
        let mut asking = Asking::new(&mut client, &tally, &[]);
        let done = ready(async {
            asking.begin(Level::Serializable).await?;
            asking.commit().await
        });
        assert!(matches!(ready(asking.end(done)), Told::Unknown(_)));
        assert!(tally.take_violations()[0].starts_with("COMMIT says [\"ROLLBACK\"]"));
    }
}
