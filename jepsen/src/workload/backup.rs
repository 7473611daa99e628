//! Readers that take their time, as backups do: one transaction reads a table part by part, at rest in between, while others
//! move money from part to part and write the same rows again and again.
//!
//! What is checked: whatever a reader sees adds up to what there was in the beginning; what it reads twice it reads the same;
//! and the versions that it needs are not taken away under it: a reader may be refused as any transaction may, and by
//! nothing else.

use std::time::Duration;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, number};

const PARTS: u64 = 4;
/// For each unit of scale.
const ROWS_PER_PART: u64 = 12;
const OPENING: i64 = 100;
/// Between two parts, at most.
const REST_MS: u64 = 2_000;

/// How a reader reads.
#[derive(Clone, Copy, Debug)]
enum How {
    /// Sums, part by part.
    Sums,
    /// Rows, part by part.
    Rows,
    /// A cursor over all of it.
    Cursor,
}

pub struct Backup {
    rows: u64,
    tally: Tally,
}

impl Backup {
    pub fn new(setting: Setting) -> Self {
        Backup { rows: ROWS_PER_PART * setting.scale, tally: Tally::new(setting.excused) }
    }

    fn total(&self) -> i64 {
        (PARTS * self.rows) as i64 * OPENING
    }

    async fn back_up(
        &self,
        client: &mut dyn Client,
        level: Level,
        how: How,
        rests: &[u64],
    ) -> Result<(), Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = match how {
            How::Cursor => with_cursor(&mut asking, level, rests).await,
            _ => part_by_part(&mut asking, level, how, rests).await,
        };
        let total = asking.end(done).await.into_result()?;
        self.tally.looked();
        if total != self.total() {
            let expected = self.total();
            self.tally
                .violation(format!("{how:?} at {level:?}: {total} was read of what is always {expected}"));
        }
        Ok(())
    }

    async fn transfer(&self, client: &mut dyn Client, chance: &mut dyn Chance) {
        let mut row = || (chance.below(PARTS), chance.below(self.rows));
        let (from, to) = (row(), row());
        let amount = 1 + chance.below(10);
        let update = |sign, (part, row)| {
            format!("UPDATE vault SET balance = balance {sign} {amount} WHERE part = {part} AND id = {row}")
        };
        let mut asking = Asking::new(client, &self.tally, &[]);
        // An implicit transaction.
        let done = asking.say_alone(&format!("{}; {}", update('-', from), update('+', to))).await;
        asking.end(done).await;
    }
}

impl Workload for Backup {
    fn open(&self) -> Vec<String> {
        let (parts, rows) = (PARTS - 1, self.rows - 1);
        vec![
            "CREATE TABLE vault (part int8, id int8, balance int8 NOT NULL, PRIMARY KEY (part, id))".into(),
            format!(
                "INSERT INTO vault SELECT p, i, {OPENING} FROM generate_series(0, {parts}) AS p, \
                 generate_series(0, {rows}) AS i"
            ),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        _: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if !chance.percent(5) {
                return self.transfer(client, chance).await;
            }
            let level = if chance.percent(50) { Level::RepeatableRead } else { Level::Serializable };
            let how = [How::Sums, How::Rows, How::Cursor][chance.below(3) as usize];
            let rests: Vec<u64> = (0..PARTS).map(|_| chance.below(REST_MS)).collect();
            // What cannot be read now proves nothing.
            let _ = self.back_up(client, level, how, &rests).await;
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.back_up(client, Level::Serializable, How::Sums, &[0; PARTS as usize]))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn part_by_part(
    asking: &mut Asking<'_>,
    level: Level,
    how: How,
    rests: &[u64],
) -> Result<i64, Refusal> {
    asking.begin_read_only(level).await?;
    let mut parts = Vec::new();
    for (part, rest) in rests.iter().enumerate() {
        parts.push(read_part(asking, how, part).await?);
        asking.rest(Duration::from_millis(*rest)).await;
    }
    for (part, rows) in parts.iter().enumerate() {
        let again = read_part(asking, how, part).await?;
        if again != *rows {
            return Err(Refusal::wrong(format!("{level:?}: part {part} is {rows:?}, and then {again:?}")));
        }
    }
    asking.commit().await?;
    parts.iter().map(|rows| add_up(rows)).sum()
}

/// Its rows, or their sum.
async fn read_part(asking: &mut Asking<'_>, how: How, part: usize) -> Result<Vec<Row>, Refusal> {
    let (what, order) = match how {
        How::Sums => ("sum(balance)::int8", ""),
        How::Rows | How::Cursor => ("balance", " ORDER BY id"),
    };
    Ok(asking.say(&format!("SELECT {what} FROM vault WHERE part = {part}{order}")).await?.rows)
}

async fn with_cursor(asking: &mut Asking<'_>, level: Level, rests: &[u64]) -> Result<i64, Refusal> {
    asking.begin_read_only(level).await?;
    asking.say("DECLARE slow CURSOR FOR SELECT balance FROM vault").await?;
    let mut total = 0;
    for rest in rests {
        asking.rest(Duration::from_millis(*rest)).await;
        total += add_up(&asking.say(&format!("FETCH {ROWS_PER_PART} FROM slow")).await?.rows)?;
    }
    total += add_up(&asking.say("FETCH ALL FROM slow").await?.rows)?;
    asking.commit().await?;
    Ok(total)
}

fn add_up(rows: &[Row]) -> Result<i64, Refusal> {
    rows.iter().map(|row| number(&row[0])).sum()
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Scripted, ready, rows, tag};
    use super::*;

    /// Looks of each kind at a server that answers the n-th sum, or row, like this.
    fn looked(mut answer: impl FnMut(usize) -> i64 + Send + 'static, how: How) -> Vec<String> {
        let work = Backup::new(Setting::default());
        let mut asked = 0;
        let mut client = Scripted::new(move |text| match text.split(' ').next() {
            Some("SELECT" | "FETCH") => {
                asked += 1;
                Ok(Answer { rows: rows(&[&[&answer(asked).to_string()]]), tags: vec![] })
            }
            _ => tag(text),
        });
        let _ = ready(work.back_up(&mut client, Level::RepeatableRead, how, &[0; 4]));
        work.tally.take_violations()
    }

    #[test]
    fn what_does_not_add_up_is_found_out() {
        assert_eq!(looked(|_| 1200, How::Sums), [""; 0]);
        assert_eq!(looked(|n| if n <= 4 { 1200 } else { 0 }, How::Cursor), [""; 0]);
        assert!(looked(|_| 1199, How::Sums)[0].ends_with("4796 was read of what is always 4800"));
        assert!(looked(|_| 1200, How::Cursor)[0].ends_with("6000 was read of what is always 4800"));
        let moved = looked(|n| if n < 6 { 1200 } else { 1201 }, How::Rows);
        let told = r#"part 1 is [[Some("1200")]], and then [[Some("1201")]]"#;
        assert!(moved[0].ends_with(told), "{moved:?}");
    }
}
