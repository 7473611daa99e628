//! A bank of two branches, each with a table of its own: accounts are closed when they are empty and opened again when they
//! get something, and move from one branch to the other, so that rows are deleted and inserted under the same keys all the
//! time.
//!
//! What is checked, in every snapshot: the total is what it was; no account is in both branches, and none is empty.

use std::collections::BTreeMap;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, first_number, number};

/// For each unit of scale.
const ACCOUNTS: u64 = 8;
const OPENING: i64 = 20;
const BRANCHES: [&str; 2] = ["branch_a", "branch_b"];
const MAX_ATTEMPTS: u32 = 20;

pub struct Branches {
    accounts: u64,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    /// From one account to another, and the branch of one that must be opened.
    Transfer(u64, u64, i64, usize),
    /// To the other branch.
    Move(u64),
}

impl Branches {
    pub fn new(setting: Setting) -> Self {
        Branches { accounts: ACCOUNTS * setting.scale, tally: Tally::new(setting.excused) }
    }

    async fn carry_out(&self, client: &mut dyn Client, deed: Deed) {
        for attempt in 0.. {
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = transact(&mut asking, deed).await;
            if !asking.end(done).await.may_be_repeated() || attempt == MAX_ATTEMPTS {
                return;
            }
            self.tally.retried();
        }
    }

    async fn audit(&self, client: &mut dyn Client, level: Level) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking, level).await;
        let branches = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(wrong(&branches, self.accounts as i64 * OPENING));
        Ok(())
    }
}

impl Workload for Branches {
    fn open(&self) -> Vec<String> {
        let create = |name| format!("CREATE TABLE {name} (id int8 PRIMARY KEY, balance int8 NOT NULL)");
        let fill = |(at, name)| {
            let last = self.accounts - 1;
            format!(
                "INSERT INTO {name} SELECT i, {OPENING} FROM generate_series(0, {last}) AS i WHERE i % 2 = {at}"
            )
        };
        BRANCHES.into_iter().map(create).chain(BRANCHES.into_iter().enumerate().map(fill)).collect()
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let from = chance.below(self.accounts);
            let to = (from + 1 + chance.below(self.accounts - 1)) % self.accounts;
            match chance.below(10) {
                // What cannot be read now proves nothing.
                0 => drop(self.audit(client, Level::Serializable).await),
                1 => drop(self.audit(client, Level::RepeatableRead).await),
                2..5 => self.carry_out(client, Deed::Move(from)).await,
                _ => {
                    // Often all that there is.
                    let amount = 1 + chance.below(2 * OPENING as u64) as i64;
                    let deed = Deed::Transfer(from, to, amount, chance.below(2) as usize);
                    self.carry_out(client, deed).await;
                }
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.audit(client, Level::Serializable))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn transact(asking: &mut Asking<'_>, deed: Deed) -> Result<(), Refusal> {
    asking.begin(Level::Serializable).await?;
    match deed {
        Deed::Move(id) => {
            if let Some((branch, balance)) = close(asking, id).await? {
                let other = BRANCHES[1 - branch];
                asking.say(&format!("INSERT INTO {other} VALUES ({id}, {balance})")).await?;
            }
        }
        Deed::Transfer(from, to, amount, opened) => {
            if let Some((branch, balance)) = close(asking, from).await? {
                // Whoever has less gives all of it.
                let amount = amount.min(balance);
                if balance > amount {
                    let rest = balance - amount;
                    asking.say(&format!("INSERT INTO {} VALUES ({from}, {rest})", BRANCHES[branch])).await?;
                }
                credit(asking, to, amount, opened).await?;
            }
        }
    }
    asking.commit().await
}

/// Closes an account. Gives where it was and what was on it.
async fn close(asking: &mut Asking<'_>, id: u64) -> Result<Option<(usize, i64)>, Refusal> {
    for (branch, name) in BRANCHES.into_iter().enumerate() {
        let closed = asking.say(&format!("DELETE FROM {name} WHERE id = {id} RETURNING balance")).await?;
        if !closed.rows.is_empty() {
            return Ok(Some((branch, first_number(&closed)?)));
        }
    }
    Ok(None)
}

async fn credit(asking: &mut Asking<'_>, id: u64, amount: i64, opened: usize) -> Result<(), Refusal> {
    for name in BRANCHES {
        let update = format!("UPDATE {name} SET balance = balance + {amount} WHERE id = {id}");
        if asking.say(&update).await?.count() == 1 {
            return Ok(());
        }
    }
    asking.say(&format!("INSERT INTO {} VALUES ({id}, {amount})", BRANCHES[opened])).await.map(drop)
}

type Branch = BTreeMap<i64, i64>;

async fn read(asking: &mut Asking<'_>, level: Level) -> Result<[Branch; 2], Refusal> {
    asking.begin_read_only(level).await?;
    let mut branches = [Branch::new(), Branch::new()];
    for (branch, name) in branches.iter_mut().zip(BRANCHES) {
        let rows = asking.say(&format!("SELECT id, balance FROM {name}")).await?.rows;
        let account = |row: &Row| Ok((number(&row[0])?, number(&row[1])?));
        *branch = rows.iter().map(account).collect::<Result<_, Refusal>>()?;
        if branch.len() != rows.len() {
            return Err(Refusal::wrong(format!("an account is in {name} twice: {rows:?}")));
        }
    }
    asking.commit().await?;
    Ok(branches)
}

fn wrong(branches: &[Branch; 2], total: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let found: i64 = branches.iter().flat_map(BTreeMap::values).sum();
    if found != total {
        wrong.push(format!("the total is {found}, and was {total}: {branches:?}"));
    }
    if let Some(id) = branches[0].keys().find(|id| branches[1].contains_key(id)) {
        wrong.push(format!("account {id} is in both branches: {branches:?}"));
    }
    if branches.iter().flat_map(BTreeMap::values).any(|balance| *balance <= 0) {
        wrong.push(format!("an account is empty and not closed: {branches:?}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_is_found_out() {
        let checked = |a: &[(i64, i64)], b: &[(i64, i64)]| {
            wrong(&[a.iter().copied().collect(), b.iter().copied().collect()], 10)
        };
        assert_eq!(checked(&[(1, 4)], &[(2, 6)]), [""; 0]);
        assert!(checked(&[(1, 4)], &[])[0].starts_with("the total is 4"));
        assert!(checked(&[(1, 4)], &[(1, 6)])[0].starts_with("account 1 is in both"));
        assert!(checked(&[(1, 10)], &[(2, 0)])[0].starts_with("an account is empty"));
    }
}
