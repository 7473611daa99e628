//! Rooms that are booked from one hour to another, if a query finds them free, and set free again. At SERIALIZABLE no two
//! bookings of a room overlap, though no constraint says so; what was acknowledged and not given up is there.

use std::collections::BTreeSet;

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::known::{self, Known, State, States};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, first_number, number, text};

/// For each unit of scale.
const ROOMS: u64 = 3;
const HOURS: u64 = 60;

pub struct Bookings {
    rooms: u64,
    tally: Tally,
    known: Known,
}

impl Bookings {
    pub fn new(setting: Setting) -> Self {
        Bookings { rooms: ROOMS * setting.scale, tally: Tally::new(setting.excused), known: Known::default() }
    }

    async fn book(&self, client: &mut dyn Client, id: &str, chance: &mut dyn Chance) {
        let (room, from) = (chance.below(self.rooms), chance.below(HOURS));
        let until = from + 1 + chance.below(8);
        self.known.set(id, State::Open);
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = match chance.percent(70) {
            true => look_and_book(&mut asking, id, room, from, until).await,
            false => book_at_once(&mut asking, id, room, from, until).await,
        };
        let state = match asking.end(done).await {
            Told::Done(false) => State::Refused,
            told => State::made(&told),
        };
        self.known.set(id, state);
    }

    /// Gives up one of those that are known to be there.
    async fn give_up(&self, client: &mut dyn Client, chance: &mut dyn Chance) {
        let Some(id) = self.known.open_one(|there| chance.below(there)) else { return };
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = asking.say_alone(&format!("DELETE FROM bookings WHERE id = '{id}'")).await;
        let told = asking.end(done).await;
        if let Told::Done(answer) = &told
            && answer.count() != 1
        {
            self.tally.violation(format!("acknowledged, but not there to be deleted: {id}: {answer:?}"));
        }
        self.known.set(&id, State::taken(&told));
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let before = self.known.now();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(check(&seen, &before, &self.known.now()));
        Ok(())
    }
}

impl Workload for Bookings {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE bookings (id text PRIMARY KEY, room int8 NOT NULL, since int8 NOT NULL, until int8 NOT NULL)"
                .into(),
            "CREATE INDEX bookings_room ON bookings (room, since)".into(),
            // Where ranges may be split.
            "INSERT INTO bookings SELECT 'w' || i, -1, i, i FROM generate_series(0, 5) AS i".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match chance.below(10) {
                0..6 => self.book(client, id, chance).await,
                6..9 => self.give_up(client, chance).await,
                // What cannot be read now proves nothing.
                _ => drop(self.look(client).await),
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.look(client))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

fn overlapping(room: u64, from: u64, until: u64) -> String {
    format!("SELECT count(*) FROM bookings WHERE room = {room} AND since < {until} AND until > {from}")
}

/// Whether the room was free.
async fn look_and_book(
    asking: &mut Asking<'_>,
    id: &str,
    room: u64,
    from: u64,
    until: u64,
) -> Result<bool, Refusal> {
    asking.begin(Level::Serializable).await?;
    let free = first_number(&asking.say(&overlapping(room, from, until)).await?)? == 0;
    if free {
        asking.say(&format!("INSERT INTO bookings VALUES ('{id}', {room}, {from}, {until})")).await?;
    }
    asking.commit().await?;
    Ok(free)
}

/// The same in one statement.
async fn book_at_once(
    asking: &mut Asking<'_>,
    id: &str,
    room: u64,
    from: u64,
    until: u64,
) -> Result<bool, Refusal> {
    let free = overlapping(room, from, until);
    let insert = format!("INSERT INTO bookings SELECT '{id}', {room}, {from}, {until} WHERE ({free}) = 0");
    Ok(asking.say_alone(&insert).await?.count() == 1)
}

/// Room, from, until, id.
async fn read(asking: &mut Asking<'_>) -> Result<Vec<(i64, i64, i64, String)>, Refusal> {
    let all = "SELECT room, since, until, id FROM bookings WHERE room >= 0";
    let rows = asking.query(Level::Serializable, all).await?;
    let booking = |row: &Row| Ok((number(&row[0])?, number(&row[1])?, number(&row[2])?, text(&row[3])?));
    let mut bookings = rows.iter().map(booking).collect::<Result<Vec<_>, Refusal>>()?;
    bookings.sort();
    Ok(bookings)
}

/// What is wrong with what a reader saw, sorted; `before`: what was known when it began.
fn check(seen: &[(i64, i64, i64, String)], before: &States, now: &States) -> Vec<String> {
    let there: BTreeSet<&str> = seen.iter().map(|(.., id)| id.as_str()).collect();
    let mut wrong = known::wrong(before, now, |id| there.contains(id));
    wrong.extend(known::strangers(now, there.iter().copied()));
    // Of a room, in the order in which they begin: if any two overlap, then two neighbours do.
    for pair in seen.windows(2) {
        if pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2 {
            wrong.push(format!("two bookings of a room overlap: {pair:?}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_is_found_out() {
        let known = |state| States::from([("a".to_string(), state), ("b".to_string(), State::Open)]);
        let booking = |room, from, until, id: &str| (room, from, until, id.to_string());
        let checked = |seen: &[_], state| check(seen, &known(state), &known(state));
        let right = [booking(1, 2, 5, "a"), booking(1, 5, 6, "b")];
        assert_eq!(checked(&right, State::There), [""; 0]);
        assert_eq!(checked(&[booking(1, 2, 5, "a"), booking(2, 3, 6, "b")], State::There), [""; 0]);
        let over = checked(&[booking(1, 2, 5, "a"), booking(1, 4, 6, "b")], State::There);
        assert!(over[0].starts_with("two bookings of a room overlap"), "{over:?}");
        assert_eq!(checked(&right[1..], State::There), ["acknowledged, but not there: a"]);
        assert_eq!(checked(&right, State::Gone), ["taken away, but there: a"]);
        assert_eq!(checked(&[booking(1, 1, 2, "c")], State::Open), ["nobody made c"]);
    }
}
