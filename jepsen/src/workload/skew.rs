//! Constraints over rows that each transaction reads and of which it changes only one (write skew: H. Berenson and others,
//! "A Critique of ANSI SQL Isolation Levels", SIGMOD 1995, A5B), three ways:
//!
//! - doctors of a shift: one at least is on call; each may leave if a count of the others allows it;
//! - the two accounts of a customer: each may go below zero, not their sum;
//! - guards of a gate are rows: one leaves, by deleting its row, if a count by condition finds another (the predicate's version).
//!
//! At SERIALIZABLE plain reads keep all of them. Below, whoever locks the rows that it reads keeps the first two.

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, first_number, number};

/// For each unit of scale: of shifts, customers and gates.
const GROUPS: u64 = 3;
/// Doctors of a shift; at most so many guards of a gate.
const TEAM: u64 = 3;

/// How a transaction makes sure of what it has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Care {
    /// It need not: SERIALIZABLE.
    None,
    Locks(Level),
}

impl Care {
    fn choose(chance: &mut dyn Chance) -> Self {
        match chance.below(4) {
            0 => Care::Locks(Level::ReadCommitted),
            1 => Care::Locks(Level::RepeatableRead),
            _ => Care::None,
        }
    }

    fn level(self) -> Level {
        match self {
            Care::None => Level::Serializable,
            Care::Locks(level) => level,
        }
    }

    fn clause(self) -> &'static str {
        if self == Care::None { "" } else { " FOR UPDATE" }
    }
}

pub struct Skew {
    groups: u64,
    tally: Tally,
}

impl Skew {
    pub fn new(setting: Setting) -> Self {
        Skew { groups: GROUPS * setting.scale, tally: Tally::new(setting.excused) }
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        match seen.wrong(self.groups) {
            Ok(wrong) => self.tally.violations(wrong),
            Err(e) => self.tally.violation(e.message),
        }
        Ok(())
    }
}

impl Workload for Skew {
    fn open(&self) -> Vec<String> {
        let last = self.groups - 1;
        let members = format!("generate_series(0, {last}) AS g, generate_series(0, {}) AS m", TEAM - 1);
        vec![
            "CREATE TABLE doctors (shift int8, id int8, on_call bool NOT NULL, PRIMARY KEY (shift, id))".into(),
            format!("INSERT INTO doctors SELECT g, m, true FROM {members}"),
            "CREATE TABLE purses (customer int8, kind int8, balance int8 NOT NULL, PRIMARY KEY (kind, customer))"
                .into(),
            format!("INSERT INTO purses SELECT g, k, 50 FROM generate_series(0, {last}) AS g, generate_series(0, 1) AS k"),
            "CREATE TABLE guards (id text PRIMARY KEY, gate int8 NOT NULL)".into(),
            "CREATE INDEX guards_gate ON guards (gate)".into(),
            format!("INSERT INTO guards SELECT 'first' || g || '-' || m, g FROM {members}"),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (group, member, care) = (chance.below(self.groups), chance.below(TEAM), Care::choose(chance));
            let amount = chance.below(60) as i64 - 20;
            let kind = chance.below(10);
            if kind == 9 {
                // What cannot be read now proves nothing.
                let _ = self.look(client).await;
                return;
            }
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = match kind {
                0..2 => leave_shift(&mut asking, care, group, member).await,
                2 => {
                    let come =
                        format!("UPDATE doctors SET on_call = true WHERE shift = {group} AND id = {member}");
                    asking.say_alone(&come).await.map(drop)
                }
                3..6 => draw(&mut asking, care, group, member % 2, amount).await,
                6..8 => leave_gate(&mut asking, group).await,
                _ => guard(&mut asking, group, id).await,
            };
            asking.end(done).await;
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.look(client))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn leave_shift(asking: &mut Asking<'_>, care: Care, shift: u64, id: u64) -> Result<(), Refusal> {
    asking.begin(care.level()).await?;
    let lock = care.clause();
    let team = asking
        .say(&format!("SELECT id, on_call FROM doctors WHERE shift = {shift} ORDER BY id{lock}"))
        .await?;
    let me = Some(id.to_string());
    if team.rows.iter().any(|row| row[1].as_deref() == Some("t") && row[0] != me) {
        let go = format!("UPDATE doctors SET on_call = false WHERE shift = {shift} AND id = {id}");
        asking.say(&go).await?;
    }
    asking.commit().await
}

async fn draw(
    asking: &mut Asking<'_>,
    care: Care,
    customer: u64,
    kind: u64,
    amount: i64,
) -> Result<(), Refusal> {
    asking.begin(care.level()).await?;
    let lock = care.clause();
    let mut sum = 0;
    // In one order, so that lockers do not wait for one another.
    for kind in 0..2 {
        let purse = format!("customer = {customer} AND kind = {kind}");
        sum += first_number(&asking.say(&format!("SELECT balance FROM purses WHERE {purse}{lock}")).await?)?;
    }
    // A customer who has much spends it.
    let amount = if sum > 100 { amount.abs() } else { amount };
    if amount <= sum {
        let purse = format!("customer = {customer} AND kind = {kind}");
        asking.say(&format!("UPDATE purses SET balance = balance - {amount} WHERE {purse}")).await?;
    }
    asking.commit().await
}

async fn leave_gate(asking: &mut Asking<'_>, gate: u64) -> Result<(), Refusal> {
    asking.begin(Level::Serializable).await?;
    let count = asking.say(&format!("SELECT count(*) FROM guards WHERE gate = {gate}")).await?;
    if first_number(&count)? > 1 {
        let first = format!("(SELECT min(id) FROM guards WHERE gate = {gate})");
        asking.say(&format!("DELETE FROM guards WHERE id = {first}")).await?;
    }
    asking.commit().await
}

async fn guard(asking: &mut Asking<'_>, gate: u64, id: &str) -> Result<(), Refusal> {
    asking.begin(Level::Serializable).await?;
    let count = asking.say(&format!("SELECT count(*) FROM guards WHERE gate = {gate}")).await?;
    if first_number(&count)? < TEAM as i64 {
        asking.say(&format!("INSERT INTO guards VALUES ('{id}', {gate})")).await?;
    }
    asking.commit().await
}

/// All of it, as one snapshot shows it: counts and sums by group.
struct Seen {
    on_call: Vec<Row>,
    sums: Vec<Row>,
    guards: Vec<Row>,
}

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let on_call = "SELECT shift, count(*) FROM doctors WHERE on_call GROUP BY shift";
    let seen = Seen {
        on_call: asking.say(on_call).await?.rows,
        sums: asking.say("SELECT customer, sum(balance)::int8 FROM purses GROUP BY customer").await?.rows,
        guards: asking.say("SELECT gate, count(*) FROM guards GROUP BY gate").await?.rows,
    };
    asking.commit().await?;
    Ok(seen)
}

impl Seen {
    fn wrong(&self, groups: u64) -> Result<Vec<String>, Refusal> {
        let mut wrong = Vec::new();
        for group in 0..groups as i64 {
            let of = |rows: &[Row]| -> Result<Option<i64>, Refusal> {
                for row in rows {
                    if number(&row[0])? == group {
                        return number(&row[1]).map(Some);
                    }
                }
                Ok(None)
            };
            if of(&self.on_call)?.unwrap_or(0) < 1 {
                wrong.push(format!("nobody is on call in shift {group}"));
            }
            match of(&self.sums)? {
                Some(0..) => {}
                sum => wrong.push(format!("customer {group} has {sum:?}, where nobody may have less than 0")),
            }
            match of(&self.guards)?.unwrap_or(0) {
                guards if (1..=TEAM as i64).contains(&guards) => {}
                guards => {
                    wrong.push(format!("{guards} guards are at gate {group}, where there are 1 to {TEAM}"))
                }
            }
        }
        Ok(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::rows;
    use super::*;

    #[test]
    fn a_constraint_that_is_broken_is_found_out() {
        let wrong = |on_call: &[&[&str]], sum: &str, guards: &str| {
            let seen =
                Seen { on_call: rows(on_call), sums: rows(&[&["0", sum]]), guards: rows(&[&["0", guards]]) };
            seen.wrong(1).expect("numbers")
        };
        assert_eq!(wrong(&[&["0", "1"]], "0", "3"), [""; 0]);
        assert_eq!(wrong(&[], "0", "1"), ["nobody is on call in shift 0"]);
        assert!(wrong(&[&["0", "1"]], "-1", "1")[0].starts_with("customer 0 has Some(-1)"));
        assert!(wrong(&[&["0", "1"]], "0", "4")[0].starts_with("4 guards"));
    }
}
