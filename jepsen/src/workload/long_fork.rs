//! Counters that are increased one at a time, each by its own transactions, and readers of several of them: no two readers may
//! disagree about the order of the increments. One that has seen the first without the second, and another that has seen the
//! second without the first, have seen a fork (of parallel snapshot isolation: Y. Sovran and others, "Transactional storage
//! for geo-replicated systems", SOSP 2011, section 3.2).
//!
//! What is checked: what the readers of a group saw can be put in one row in which no counter ever goes back. A reader is one
//! transaction at REPEATABLE READ or above, or one statement.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, fill, first_number, number};

/// For each unit of scale.
const GROUPS: u64 = 2;
/// Counters of a group.
const COUNTERS: u64 = 4;

pub struct LongFork {
    groups: u64,
    tally: Tally,
    /// What readers saw, by group.
    seen: Mutex<Vec<Versions>>,
}

/// All that was seen of a group, by the sum: of two different sights, that with the smaller sum is the earlier one.
#[derive(Default)]
struct Versions(BTreeMap<i64, Vec<i64>>);

impl Versions {
    /// What is wrong with a sight.
    fn add(&mut self, sight: Vec<i64>) -> Option<String> {
        let sum = sight.iter().sum();
        let before = |a: &[i64], b: &[i64]| a.iter().zip(b).all(|(a, b)| a <= b);
        let lower =
            self.0.range(..=sum).next_back().map(|(_, seen)| seen).filter(|seen| !before(seen, &sight));
        let upper = self.0.range(sum..).next().map(|(_, seen)| seen).filter(|seen| !before(&sight, seen));
        let fork = lower.or(upper).map(|seen| format!("one reader saw {seen:?}, and another {sight:?}"));
        if fork.is_none() {
            self.0.insert(sum, sight);
        }
        fork
    }
}

impl LongFork {
    pub fn new(setting: Setting) -> Self {
        let groups = GROUPS * setting.scale;
        let seen = Mutex::new((0..groups).map(|_| Versions::default()).collect());
        LongFork { groups, tally: Tally::new(setting.excused), seen }
    }

    async fn read(&self, client: &mut dyn Client, group: u64, how: u64) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = match how % 4 {
            0 => in_one_statement(&mut asking, group).await,
            1 => one_by_one(&mut asking, group, how, Level::RepeatableRead).await,
            _ => one_by_one(&mut asking, group, how, Level::Serializable).await,
        };
        let sight = asking.end(done).await.into_result()?;
        self.tally.looked();
        let fork = self.seen.lock()[group as usize].add(sight);
        self.tally.violations(fork.map(|fork| format!("group {group}: {fork}")));
        Ok(())
    }
}

impl Workload for LongFork {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE forks (id int8 PRIMARY KEY, n int8 NOT NULL)".into(),
            fill("forks", "i, 0", self.groups * COUNTERS),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let group = chance.below(self.groups);
            if chance.percent(50) {
                // What cannot be read proves nothing.
                let _ = self.read(client, group, chance.bits()).await;
                return;
            }
            let id = group * COUNTERS + chance.below(COUNTERS);
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = asking.say_alone(&format!("UPDATE forks SET n = n + 1 WHERE id = {id}")).await;
            asking.end(done).await;
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            for group in 0..self.groups {
                self.read(client, group, 0).await?;
                self.read(client, group, 3).await?;
            }
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// A statement has one snapshot at any level.
async fn in_one_statement(asking: &mut Asking<'_>, group: u64) -> Result<Vec<i64>, Refusal> {
    let first = group * COUNTERS;
    let range = format!("id >= {first} AND id < {}", first + COUNTERS);
    let all = format!("SELECT n FROM forks WHERE {range} ORDER BY id");
    let rows = asking.query(Level::ReadCommitted, &all).await?;
    if rows.len() as u64 != COUNTERS {
        return Err(Refusal::wrong(format!(
            "of the {COUNTERS} counters of group {group} there are {rows:?}"
        )));
    }
    rows.iter().map(|row| number(&row[0])).collect()
}

/// Beginning anywhere.
async fn one_by_one(
    asking: &mut Asking<'_>,
    group: u64,
    begin: u64,
    level: Level,
) -> Result<Vec<i64>, Refusal> {
    asking.begin_read_only(level).await?;
    let mut sight = vec![0; COUNTERS as usize];
    for i in 0..COUNTERS {
        let at = (begin / 4 + i) % COUNTERS;
        let id = group * COUNTERS + at;
        let answer = asking.say(&format!("SELECT n FROM forks WHERE id = {id}")).await?;
        sight[at as usize] = first_number(&answer)?;
    }
    asking.commit().await?;
    Ok(sight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_found_out() {
        let mut versions = Versions::default();
        for sight in [[0, 0], [3, 1], [1, 1], [1, 1], [3, 2]] {
            assert_eq!(versions.add(sight.to_vec()), None);
        }
        for fork in [[0, 1], [2, 0], [2, 2], [4, 0], [0, 5]] {
            // Whether it comes first or last.
            let told = versions.add(fork.to_vec());
            assert_eq!(told.is_some(), fork != [0, 1], "{fork:?}: {told:?}");
        }
        let mut versions = Versions::default();
        versions.add(vec![1, 0]);
        let fork = versions.add(vec![0, 1]);
        assert_eq!(fork.as_deref(), Some("one reader saw [1, 0], and another [0, 1]"));
    }
}
