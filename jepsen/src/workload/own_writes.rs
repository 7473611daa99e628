//! A row is written through one gateway and read through another at once: whatever was acknowledged is there, at every
//! isolation level and by every way to read it. Each client works on rows of its own.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, number, text};

pub struct OwnWrites {
    level: Level,
    tally: Tally,
    /// What every step has left, which all of them must find in the end.
    left: Mutex<BTreeMap<String, Known>>,
}

/// What is known of a row: its value, or `None` if there is no row.
#[derive(Clone, Debug, Default)]
struct Known {
    last: Option<u64>,
    /// Of these nothing was heard. They may come at any time, even after what was written later.
    may_come: Vec<Option<u64>>,
}

impl Known {
    /// Takes in what became of a write.
    fn written<T>(&mut self, value: Option<u64>, told: &Told<T>) {
        match told {
            Told::Done(_) => self.last = value,
            Told::Refused(_) => {}
            Told::Unknown(_) => self.may_come.push(value),
        }
    }

    fn read(&self, found: Option<u64>) -> Option<String> {
        let known = found == self.last || self.may_come.contains(&found);
        (!known).then(|| format!("{found:?} was read, and {:?} written", self.last))
    }
}

impl OwnWrites {
    pub fn new(setting: Setting) -> Self {
        OwnWrites { level: setting.level, tally: Tally::new(setting.excused), left: Mutex::default() }
    }

    async fn write(&self, client: &mut dyn Client, key: &str, value: Option<u64>) -> Told<()> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let text = match value {
            Some(v) => {
                let upsert = "ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, v2 = EXCLUDED.v2";
                format!("INSERT INTO own VALUES ('{key}', '{key}', {v}, {v}) {upsert}")
            }
            None => format!("DELETE FROM own WHERE id = '{key}'"),
        };
        let done = asking.change(self.level, &text).await.map(drop);
        asking.end(done).await
    }

    async fn read(&self, client: &mut dyn Client, key: &str, how: u64) -> Result<Option<u64>, Refusal> {
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking, self.level, key, how).await;
        asking.end(done).await.into_result()
    }
}

async fn read(asking: &mut Asking<'_>, level: Level, key: &str, how: u64) -> Result<Option<u64>, Refusal> {
    let condition = match how {
        0 => format!("id = '{key}'"),
        1 => format!("id2 = '{key}'"),
        // Of rows beside it, too.
        2 => format!("id >= '{key}' AND id < '{key}x'"),
        _ => format!("id || id2 = '{key}{key}'"),
    };
    let rows = asking.query(level, &format!("SELECT v, v2 FROM own WHERE {condition}")).await?;
    match &rows[..] {
        [] => Ok(None),
        [row] if row[0] == row[1] => number(&row[0]).map(|v| Some(v as u64)),
        rows => Err(Refusal::wrong(format!("{key} is {rows:?}, which nobody wrote"))),
    }
}

async fn read_all(asking: &mut Asking<'_>, level: Level) -> Result<BTreeMap<String, u64>, Refusal> {
    let rows = asking.query(level, "SELECT id, v FROM own WHERE length(id) > 2").await?;
    let found = rows.iter().map(|row| Ok((text(&row[0])?, number(&row[1])? as u64)));
    let found = found.collect::<Result<BTreeMap<_, _>, Refusal>>()?;
    match found.len() == rows.len() {
        true => Ok(found),
        false => Err(Refusal::wrong(format!("a row is there twice: {rows:?}"))),
    }
}

/// What is wrong with all rows, in the end.
fn wrong(left: &BTreeMap<String, Known>, found: &BTreeMap<String, u64>) -> Vec<String> {
    let known = left.iter().filter_map(|(id, known)| {
        known.read(found.get(id).copied()).map(|wrong| format!("in the end of {id}: {wrong}"))
    });
    let strange = found.keys().filter(|id| !left.contains_key(*id)).map(|id| format!("nobody made {id}"));
    known.chain(strange).collect()
}

impl Workload for OwnWrites {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE own (id text PRIMARY KEY, id2 text NOT NULL, v int8 NOT NULL, v2 int8 NOT NULL)"
                .into(),
            "CREATE UNIQUE INDEX own_id2 ON own (id2)".into(),
            "CREATE INDEX own_v ON own (v)".into(),
            // Where ranges may be split.
            "INSERT INTO own SELECT 'w' || i, 'w' || i, i, i FROM generate_series(0, 9) AS i".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // Mostly nothing is left, so that the table stays small.
            let stays = chance.percent(10);
            let mut known = Known::default();
            for round in 0..4 {
                let exists = if round < 3 { !chance.percent(25) } else { stays };
                let value = exists.then(|| 1 + chance.below(1_000_000));
                let told = self.write(client, id, value).await;
                known.written(value, &told);
                self.left.lock().insert(id.into(), known.clone());
                client.go_elsewhere(chance).await;
                // What cannot be read proves nothing.
                let Ok(found) = self.read(client, id, chance.below(4)).await else { return };
                self.tally.looked();
                let at = client.gateway();
                self.tally.violations(known.read(found).map(|wrong| format!("{id} at {at}: {wrong}")));
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = read_all(&mut asking, self.level).await;
            let found = asking.end(done).await.into_result()?;
            self.tally.looked();
            self.tally.violations(wrong(&self.left.lock(), &found));
            Ok(())
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, tag};
    use super::*;

    #[test]
    fn a_write_that_is_not_seen_is_found_out() {
        let mut known = Known::default();
        known.written(Some(1), &Told::Done(()));
        assert_eq!(known.read(Some(1)), None);
        assert!(known.read(None).is_some(), "it was written");
        known.written(Some(3), &Told::<()>::Refused(Refusal::new("40001", "")));
        assert!(known.read(Some(3)).is_some(), "it was refused");
        known.written(None, &Told::Done(()));
        assert!(known.read(Some(1)).is_some(), "it was deleted");
        known.written(Some(2), &Told::<()>::Unknown(Refusal::lost("")));
        assert_eq!((known.read(Some(2)), known.read(None)), (None, None));
    }

    #[test]
    fn what_is_lost_or_comes_back_in_the_end_is_found_out() {
        let mut known = Known::default();
        known.written(Some(1), &Told::Done(()));
        let left = |known: &Known| BTreeMap::from([("a".to_string(), known.clone())]);
        let found = |v: u64| BTreeMap::from([("a".to_string(), v)]);
        assert_eq!(wrong(&left(&known), &found(1)), [""; 0]);
        assert!(wrong(&left(&known), &BTreeMap::new())[0].starts_with("in the end of a: None was read"));
        known.written(None, &Told::Done(()));
        assert_eq!(wrong(&left(&known), &BTreeMap::new()), [""; 0]);
        assert!(wrong(&left(&known), &found(1))[0].starts_with("in the end of a: Some(1) was read"));
        assert_eq!(wrong(&BTreeMap::new(), &found(1)), ["nobody made a"]);
    }

    #[test]
    fn a_server_that_forgets_is_found_out() {
        let work = OwnWrites::new(Setting::default());
        let mut client = Scripted::new(|text| match text.split(' ').next() {
            Some("SELECT") => Ok(Answer::default()),
            _ => tag(text),
        });
        ready(work.step(&mut client, "c", &mut Dice(3)));
        assert!(work.tally.take_violations()[0].starts_with("c at n1: None was read, and Some("));
    }
}
