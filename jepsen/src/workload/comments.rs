//! Two writers one after the other, at different gateways and in different tables: whoever sees the second must see the first
//! (causal reverse, which serializability alone allows: <https://jepsen.io/consistency/phenomena/causal-reverse>; the
//! name "comments" is that of Jepsen's test of CockroachDB).
//!
//! What is checked: where the cluster is strict, no serializable reader sees a comment without all those that had been
//! acknowledged before it was sent. Strict or not, a reader sees whatever was acknowledged before it began, since each
//! key is linearizable, and nothing that was refused.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, number};

const TABLES: u64 = 3;
/// Comments of a thread: those of the next are then looked at.
const THREAD: u64 = 40;

pub struct Comments {
    strict: bool,
    tally: Tally,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Moments: everything that begins or ends has one of its own.
    now: u64,
    written: u64,
    threads: BTreeMap<u64, BTreeMap<u64, Comment>>,
}

#[derive(Clone, Copy, Debug)]
struct Comment {
    began: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It may be there.
    Open,
    /// Acknowledged at this moment.
    There(u64),
    Refused,
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn thread(&self) -> u64 {
        self.written / THREAD
    }

    /// Thread and number of a new comment.
    fn begin(&mut self) -> (u64, u64) {
        let (thread, id) = (self.thread(), self.written);
        self.written += 1;
        let began = self.tick();
        self.threads.entry(thread).or_default().insert(id, Comment { began, state: State::Open });
        (thread, id)
    }

    fn end<T>(&mut self, (thread, id): (u64, u64), told: &Told<T>) {
        let now = self.tick();
        let state = match told {
            Told::Done(_) => State::There(now),
            Told::Refused(_) => State::Refused,
            Told::Unknown(_) => State::Open,
        };
        if let Some(comment) = self.threads.entry(thread).or_default().get_mut(&id) {
            comment.state = state;
        }
    }

    /// What is wrong with what a reader saw that began then.
    fn check(&self, thread: u64, began: u64, seen: &BTreeSet<u64>, strict: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let none = BTreeMap::new();
        let comments = self.threads.get(&thread).unwrap_or(&none);
        for id in seen {
            match comments.get(id) {
                None => wrong.push(format!("nobody wrote {id}")),
                Some(comment) if comment.state == State::Refused => {
                    wrong.push(format!("refused, but there: {id} {comment:?}"));
                }
                Some(_) => {}
            }
        }
        let last_begun = comments.iter().filter(|(id, _)| seen.contains(id)).map(|(_, c)| c.began).max();
        for (id, comment) in comments.iter().filter(|(id, _)| !seen.contains(id)) {
            let State::There(at) = comment.state else { continue };
            if at < began {
                wrong.push(format!("acknowledged at {at}, not seen by a reader that began at {began}: {id}"));
            } else if let Some(later) = last_begun.filter(|later| strict && at < *later) {
                wrong.push(format!(
                    "acknowledged at {at}, not seen beside what was sent at {later}: {id} in {seen:?}"
                ));
            }
        }
        wrong
    }
}

impl Comments {
    pub fn new(setting: Setting) -> Self {
        Comments { strict: setting.strict, tally: Tally::new(setting.excused), book: Mutex::default() }
    }

    async fn write(&self, client: &mut dyn Client, chance: &mut dyn Chance) -> bool {
        let (thread, id) = self.book.lock().begin();
        let table = chance.below(TABLES);
        let mut asking = Asking::new(client, &self.tally, &[]);
        let insert = format!("INSERT INTO comments_{table} VALUES ({thread}, {id})");
        let done = asking.say_alone(&insert).await;
        let told = asking.end(done).await;
        self.book.lock().end((thread, id), &told);
        matches!(told, Told::Done(_))
    }

    async fn read(&self, client: &mut dyn Client, thread: u64, first: u64) -> Result<(), Refusal> {
        let began = self.book.lock().tick();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking, thread, first).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        let wrong = self.book.lock().check(thread, began, &seen, self.strict);
        self.tally.violations(wrong);
        Ok(())
    }
}

impl Workload for Comments {
    fn open(&self) -> Vec<String> {
        let table = |t| {
            let create =
                format!("CREATE TABLE comments_{t} (thread int8, id int8, PRIMARY KEY (thread, id))");
            // Where ranges may be split.
            [create, format!("INSERT INTO comments_{t} VALUES (-1, {t})")]
        };
        (0..TABLES).flat_map(table).collect()
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if chance.percent(50) {
                let thread = self.book.lock().thread();
                // What cannot be read proves nothing.
                let _ = self.read(client, thread, chance.below(TABLES)).await;
                return;
            }
            for _ in 0..3 {
                if !self.write(client, chance).await {
                    return;
                }
                client.go_elsewhere(chance).await;
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let last = self.book.lock().thread();
            for thread in 0..=last {
                self.read(client, thread, 0).await?;
            }
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// All comments of a thread, one table after the other.
async fn read(asking: &mut Asking<'_>, thread: u64, first: u64) -> Result<BTreeSet<u64>, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let mut seen = BTreeSet::new();
    for t in 0..TABLES {
        let table = (first + t) % TABLES;
        let select = format!("SELECT id FROM comments_{table} WHERE thread = {thread}");
        for row in asking.say(&select).await?.rows {
            let id = number(&row[0])? as u64;
            if !seen.insert(id) {
                return Err(Refusal::wrong(format!("{id} is there twice, once in comments_{table}")));
            }
        }
    }
    asking.commit().await?;
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_without_its_cause_is_found_out() {
        let mut book = Book::default();
        let early = book.tick();
        let (a, b, c) = (book.begin(), book.begin(), book.begin());
        book.end(a, &Told::Done(()));
        book.end(c, &Told::<()>::Refused(Refusal::new("40001", "")));
        let d = book.begin();
        let late = book.tick();
        let check =
            |began, seen: &[u64], strict| book.check(0, began, &seen.iter().copied().collect(), strict);
        let (a, b, c, d) = (a.1, b.1, c.1, d.1);
        assert_eq!(check(early, &[], true), [""; 0]);
        assert_eq!(check(early, &[b], true), [""; 0], "b was sent before a was acknowledged");
        assert_eq!(check(late, &[a, d], true), [""; 0]);
        assert_eq!(check(early, &[d], false), [""; 0], "an order, but not that of real time");
        assert!(check(early, &[d], true)[0].contains("not seen beside"));
        assert!(check(late, &[], false)[0].contains("not seen by a reader"));
        assert!(check(early, &[c], false)[0].starts_with("refused, but there"));
        assert!(check(early, &[99], false)[0].starts_with("nobody wrote"));
    }
}
