//! Rows of a group may be added as long as there are fewer than so many: what each transaction does depends on rows that are
//! not there yet. At SERIALIZABLE no group ever has more; nor does a sum that is kept beside them differ from the rows.
//!
//! (The phantom of A. Adya, "Weak Consistency", 1999, section 2.2, P3.)

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, fill, first_number, number, text};

/// For each unit of scale.
const GROUPS: u64 = 5;
const ROOM: i64 = 4;

pub struct Limits {
    groups: u64,
    tally: Tally,
}

impl Limits {
    pub fn new(setting: Setting) -> Self {
        Limits { groups: GROUPS * setting.scale, tally: Tally::new(setting.excused) }
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        match seen.wrong() {
            Ok(wrong) => self.tally.violations(wrong),
            Err(e) => self.tally.violation(e.message),
        }
        Ok(())
    }
}

impl Workload for Limits {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE duties (id text PRIMARY KEY, team int8 NOT NULL, hours int8 NOT NULL)".into(),
            "CREATE INDEX duties_team ON duties (team)".into(),
            "CREATE TABLE teams (team int8 PRIMARY KEY, hours int8 NOT NULL)".into(),
            fill("teams", "i, 0", self.groups),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (team, hours) = (chance.below(self.groups), 1 + chance.below(8) as i64);
            let kind = chance.below(10);
            if kind == 9 {
                // What cannot be read now proves nothing.
                let _ = self.look(client).await;
                return;
            }
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = match kind {
                0..5 => add(&mut asking, team, id, hours).await,
                _ => drop_first(&mut asking, team).await,
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

/// Takes on a duty if the team has room, which only a count can tell.
async fn add(asking: &mut Asking<'_>, team: u64, id: &str, hours: i64) -> Result<(), Refusal> {
    asking.begin(Level::Serializable).await?;
    let count = asking.say(&format!("SELECT count(*) FROM duties WHERE team = {team}")).await?;
    if first_number(&count)? < ROOM {
        asking.say(&format!("INSERT INTO duties VALUES ('{id}', {team}, {hours})")).await?;
        let sum = "(SELECT COALESCE(sum(hours), 0)::int8 FROM duties WHERE team = teams.team)";
        asking.say(&format!("UPDATE teams SET hours = {sum} WHERE team = {team}")).await?;
    }
    asking.commit().await
}

async fn drop_first(asking: &mut Asking<'_>, team: u64) -> Result<(), Refusal> {
    asking.begin(Level::Serializable).await?;
    let first = format!("SELECT id, hours FROM duties WHERE team = {team} ORDER BY id LIMIT 1");
    if let [row] = &asking.say(&first).await?.rows[..] {
        let (id, hours) = (text(&row[0])?, number(&row[1])?);
        let gone = asking.say(&format!("DELETE FROM duties WHERE id = '{id}'")).await?;
        if gone.count() != 1 {
            return Err(Refusal::wrong(format!("{id} was just read, and DELETE says {gone:?}")));
        }
        asking.say(&format!("UPDATE teams SET hours = hours - {hours} WHERE team = {team}")).await?;
    }
    asking.commit().await
}

/// All of it, as one snapshot shows it.
struct Seen {
    /// Team and hours.
    teams: Vec<Row>,
    /// Team, hours, id.
    duties: Vec<Row>,
    /// How many duties the index has.
    by_index: i64,
}

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let teams = asking.say("SELECT team, hours FROM teams ORDER BY team").await?.rows;
    let duties = asking.say("SELECT team, hours, id FROM duties").await?.rows;
    let by_index = asking.say("SELECT count(*) FROM duties WHERE team >= 0 AND team < 100000").await?;
    asking.commit().await?;
    Ok(Seen { teams, duties, by_index: first_number(&by_index)? })
}

impl Seen {
    /// No team has more than it has room for; the sums are those of the rows.
    fn wrong(&self) -> Result<Vec<String>, Refusal> {
        let mut wrong = Vec::new();
        if self.by_index != self.duties.len() as i64 {
            wrong.push(format!("the index says {}, the rows say {:?}", self.by_index, self.duties));
        }
        for team in &self.teams {
            let of_team: Vec<_> = self.duties.iter().filter(|d| d[0] == team[0]).collect();
            let hours = of_team.iter().map(|d| number(&d[1])).collect::<Result<Vec<_>, _>>()?;
            if of_team.len() as i64 > ROOM {
                wrong.push(format!("there is room for {ROOM} in {team:?}: {of_team:?}"));
            }
            if number(&team[1])? != hours.iter().sum() {
                wrong.push(format!("the hours of {team:?} are not the sum of {of_team:?}"));
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
    fn what_must_not_be_is_found_out() {
        let seen = |hours: &str, duties: &[&[&str]], by_index| {
            let seen = Seen { teams: rows(&[&["1", hours]]), duties: rows(duties), by_index };
            seen.wrong().expect("numbers")
        };
        let four: &[&[&str]] = &[&["1", "2", "a"], &["1", "2", "b"], &["1", "2", "c"], &["1", "2", "d"]];
        assert_eq!(seen("8", four, 4), [""; 0]);
        let five: Vec<&[&str]> = four.iter().copied().chain([&["1", "2", "e"][..]]).collect();
        assert!(seen("10", &five, 5)[0].starts_with("there is room for 4"));
        assert!(seen("6", four, 4)[0].starts_with("the hours of"));
        assert!(seen("8", four, 3)[0].starts_with("the index says 3"));
    }
}
