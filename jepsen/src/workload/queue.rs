//! Jobs in a table, and workers that each take some that nobody else has: they pass over what is locked (SKIP LOCKED), or
//! fail at once (NOWAIT), or wait for no longer than a lock timeout or a statement timeout lets them. Some think for a while
//! about what they hold, and some give it back.
//!
//! What is checked, in every snapshot: each job is in the queue or done, and is done once; what was acknowledged is there,
//! what was refused is not, of jobs and of work. A worker that commits has taken what it had locked. Whoever does not want
//! to wait is told so (55P03, 57014) and nobody else is. In the end nothing is locked that nobody holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::asking::Asking;
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::known::{self, Known, State, States};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, differ, text};

/// Queues in the one table, for each unit of scale: workers take the first job of one of them, or of all.
const KINDS: u64 = 2;
/// There are fewer looks when there is more to read: one operation in ten, and in one more for each so many jobs.
const JOBS_PER_LOOK: u64 = 200;
/// A worker holds what it has locked for so long at most.
const REST_MS: u64 = 400;
/// How long others wait for it at most.
const PATIENCE_MS: u64 = 150;
/// In the end: how often it is tried to lock all jobs, and the rest between.
const ATTEMPTS_MAX: u32 = 20;
const REST: Duration = Duration::from_millis(500);

const NOT_AVAILABLE: &[&str] = &["55P03"];
const CANCELED: &[&str] = &["57014"];

/// How a worker gets at a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Skip,
    /// In the same statement that deletes it.
    SkipWithin,
    NoWait,
    LockTimeout,
    StatementTimeout,
}

impl How {
    fn choose(chance: &mut dyn Chance) -> Self {
        match chance.below(10) {
            0..3 => How::Skip,
            3..5 => How::SkipWithin,
            5..7 => How::NoWait,
            7..9 => How::LockTimeout,
            _ => How::StatementTimeout,
        }
    }

    fn clause(self) -> &'static str {
        match self {
            How::Skip | How::SkipWithin => "FOR UPDATE SKIP LOCKED",
            How::NoWait => "FOR UPDATE NOWAIT",
            How::LockTimeout | How::StatementTimeout => "FOR UPDATE",
        }
    }

    /// What begins its block.
    fn setting(self) -> Option<String> {
        let name = match self {
            How::LockTimeout => "lock_timeout",
            How::StatementTimeout => "statement_timeout",
            _ => return None,
        };
        Some(format!("SET LOCAL {name} = '{PATIENCE_MS}ms'"))
    }

    /// What may be said to the statement that locks, and to those after it: they meet only its own locks, but for the
    /// index's, and may take their time.
    fn excused(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            How::Skip | How::SkipWithin => (&[], &[]),
            How::NoWait => (NOT_AVAILABLE, &[]),
            How::LockTimeout => (NOT_AVAILABLE, NOT_AVAILABLE),
            How::StatementTimeout => (CANCELED, CANCELED),
        }
    }
}

/// What a worker is about to do.
#[derive(Clone, Copy, Debug)]
struct Plan {
    how: How,
    level: Level,
    /// Of which kind, or of any.
    kind: Option<u64>,
    jobs: u64,
    rest: Duration,
    gives_back: bool,
}

pub struct Queue {
    kinds: u64,
    level: Level,
    tally: Tally,
    jobs: Known,
    /// By id: what was done, with its jobs once a client knows them.
    works: Known,
}

impl Queue {
    pub fn new(setting: Setting) -> Self {
        let (kinds, level, tally) = (KINDS * setting.scale, setting.level, Tally::new(setting.excused));
        Queue { kinds, level, tally, jobs: Known::default(), works: Known::default() }
    }

    async fn put(&self, client: &mut dyn Client, id: &str, chance: &mut dyn Chance) {
        // Anywhere between the others.
        let ids: Vec<String> =
            (0..1 + chance.below(3)).map(|n| format!("{:02x}-{id}-{n}", chance.below(256))).collect();
        let rows: Vec<String> =
            ids.iter().map(|id| format!("('{id}', {})", chance.below(self.kinds))).collect();
        ids.iter().for_each(|id| self.jobs.set(id, State::Open));
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = asking.change(self.level, &format!("INSERT INTO jobs VALUES {}", rows.join(", "))).await;
        let state = State::made(&asking.end(done).await);
        ids.iter().for_each(|id| self.jobs.set(id, state));
    }

    fn plan(&self, chance: &mut dyn Chance) -> Plan {
        Plan {
            how: How::choose(chance),
            level: self.level,
            kind: chance.percent(60).then(|| chance.below(self.kinds)),
            jobs: 1 + chance.below(2),
            rest: Duration::from_millis(if chance.percent(30) { chance.below(REST_MS) } else { 0 }),
            gives_back: chance.percent(10),
        }
    }

    async fn take(&self, client: &mut dyn Client, id: &str, plan: Plan) {
        self.works.set(id, State::Open);
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = take(&mut asking, id, plan).await;
        let told = asking.end(done).await;
        let state = match told.clone().into_result() {
            // There was nothing to do, or it was given back.
            Ok(0) => State::Refused,
            _ => State::made(&told),
        };
        self.works.set(id, state);
    }

    async fn look(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let before = (self.jobs.now(), self.works.now());
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read(&mut asking).await;
        let seen = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(seen.wrong((&before.0, &self.jobs.now()), (&before.1, &self.works.now())));
        Ok(())
    }

    /// All jobs can be locked, by several at a time: of whoever had locked one nothing is left.
    async fn lock_all(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        for attempt in 0.. {
            let mut asking = Asking::new(client, &self.tally, &[]);
            let done = skipped(&mut asking).await;
            let skipped = asking.end(done).await.into_result()?;
            if skipped.is_empty() {
                break;
            }
            if attempt == ATTEMPTS_MAX {
                self.tally.violation(format!("these jobs are locked, and nobody works: {skipped:?}"));
                break;
            }
            client.rest(REST).await;
        }
        Ok(())
    }
}

/// Gives how many jobs were done. What it has locked must be there to be deleted, if it can be committed at all.
async fn take(asking: &mut Asking<'_>, work: &str, plan: Plan) -> Result<usize, Refusal> {
    let Plan { how, level, kind, jobs, rest, gives_back } = plan;
    let (locking, after) = how.excused();
    asking.begin(level).await?;
    if let Some(setting) = how.setting() {
        asking.say(&setting).await?;
    }
    let of_kind = kind.map(|kind| format!("WHERE kind = {kind} ")).unwrap_or_default();
    let limit = if how == How::SkipWithin { 1 } else { jobs };
    let first = format!("SELECT id FROM jobs {of_kind}ORDER BY id LIMIT {limit} {}", how.clause());
    asking.excuse(locking);
    let taken = match how {
        How::SkipWithin => {
            asking.say(&format!("DELETE FROM jobs WHERE id = ({first}) RETURNING id")).await?.rows
        }
        _ => asking.say(&first).await?.rows,
    };
    asking.excuse(after);
    asking.rest(rest).await;
    let taken: Vec<String> = taken.iter().map(|row| text(&row[0])).collect::<Result<_, _>>()?;
    let mut missing = Vec::new();
    for (n, job) in taken.iter().enumerate() {
        asking.say(&format!("INSERT INTO done VALUES ('{work}', {n}, '{job}')")).await?;
        if how != How::SkipWithin {
            let deleted = asking.say(&format!("DELETE FROM jobs WHERE id = '{job}'")).await?.count();
            missing.extend((deleted != 1).then_some(job));
        }
    }
    if gives_back {
        asking.rollback().await?;
        return Ok(0);
    }
    // The entries of its index are written now, and somebody who came by the index may hold one.
    asking.commit_excusing(if how == How::LockTimeout { NOT_AVAILABLE } else { &[] }).await?;
    if !missing.is_empty() {
        return Err(Refusal::wrong(format!("{work} has locked {missing:?}, which then were not there")));
    }
    Ok(taken.len())
}

/// Jobs that are there and that SKIP LOCKED does not give.
async fn skipped(asking: &mut Asking<'_>) -> Result<Vec<Row>, Refusal> {
    asking.begin(Level::RepeatableRead).await?;
    let all = asking.say("SELECT id FROM jobs ORDER BY id").await?.rows;
    let locked = asking.say("SELECT id FROM jobs ORDER BY id FOR SHARE SKIP LOCKED").await?.rows;
    asking.rollback().await?;
    Ok(all.into_iter().filter(|job| !locked.contains(job)).collect())
}

impl Workload for Queue {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE jobs (id text PRIMARY KEY, kind int8 NOT NULL)".into(),
            "CREATE INDEX jobs_kind ON jobs (kind, id)".into(),
            // Nothing prevents that a job is done twice.
            "CREATE TABLE done (work text, n int8, job text NOT NULL, PRIMARY KEY (work, n))".into(),
            "CREATE INDEX done_job ON done (job)".into(),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let sizes = self.jobs.len() as u64 / JOBS_PER_LOOK;
            match chance.below(10 + sizes) {
                // What cannot be read now proves nothing.
                0 => drop(self.look(client).await),
                1..4 => self.put(client, id, chance).await,
                _ => self.take(client, id, self.plan(chance)).await,
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.look(client).await?;
            self.lock_all(client).await
        })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// All of it, as one snapshot shows it.
#[derive(Default)]
struct Seen {
    /// Id and kind.
    jobs: Vec<Row>,
    /// The same by the index on kinds.
    by_kind: Vec<Row>,
    /// Work, and job.
    done: Vec<Row>,
}

async fn read(asking: &mut Asking<'_>) -> Result<Seen, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let seen = Seen {
        jobs: asking.say("SELECT id, kind FROM jobs").await?.rows,
        by_kind: asking.say("SELECT id, kind FROM jobs WHERE kind >= 0 AND kind < 100000").await?.rows,
        done: asking.say("SELECT work, job FROM done").await?.rows,
    };
    asking.commit().await?;
    Ok(seen)
}

impl Seen {
    /// Of jobs and of work, what was known when the look began and what is known now.
    fn wrong(&self, jobs: (&States, &States), works: (&States, &States)) -> Vec<String> {
        let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for job in &self.jobs {
            places.entry(value(job, 0)).or_default().push("the queue");
        }
        for done in &self.done {
            places.entry(value(done, 1)).or_default().push(value(done, 0));
        }
        let mut wrong = known::wrong(jobs.0, jobs.1, |id| places.contains_key(id));
        wrong.extend(known::strangers(jobs.1, places.keys().copied()));
        for (job, places) in places.iter().filter(|(_, places)| places.len() > 1) {
            wrong.push(format!("job {job} is there more than once, in {places:?}"));
        }
        let there: BTreeSet<&str> = self.done.iter().map(|done| value(done, 0)).collect();
        wrong.extend(known::wrong(works.0, works.1, |id| there.contains(id)));
        wrong.extend(known::strangers(works.1, there.iter().copied()));
        wrong.extend(differ("the index on kinds", &self.by_kind, self.jobs.iter().cloned()));
        wrong
    }
}

fn value(row: &Row, column: usize) -> &str {
    row[column].as_deref().unwrap_or("NULL")
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::super::scripted::{Dice, Scripted, ready, rows, tag};
    use super::*;

    fn plan(how: How) -> Plan {
        let (level, rest) = (Level::RepeatableRead, Duration::ZERO);
        Plan { how, level, kind: None, jobs: 1, rest, gives_back: false }
    }

    #[test]
    fn what_is_lost_or_done_twice_is_found_out() {
        let states = |id: &str, state| States::from([(id.to_string(), state)]);
        let wrong = |jobs: &[&[&str]], done: &[&[&str]], job, work| {
            let seen = Seen { jobs: rows(jobs), by_kind: rows(jobs), done: rows(done) };
            let (job, work) = (states("j", job), states("w", work));
            seen.wrong((&job, &job), (&work, &work))
        };
        use State::*;
        let (queued, done): (&[&[&str]], &[&[&str]]) = (&[&["j", "1"]], &[&["w", "j"]]);
        assert_eq!(wrong(queued, &[], There, Refused), [""; 0]);
        assert_eq!(wrong(&[], done, There, There), [""; 0]);
        assert_eq!(wrong(&[], &[], There, Open), ["acknowledged, but not there: j"]);
        assert_eq!(wrong(queued, &[], Refused, Open), ["refused, but there: j"]);
        assert_eq!(wrong(queued, &[], There, There), ["acknowledged, but not there: w"]);
        assert_eq!(wrong(&[], done, There, Refused), ["refused, but there: w"]);
        assert_eq!(wrong(&[&["k", "1"]], &[], Open, Open), ["nobody made k"]);
        assert_eq!(wrong(&[], &[&["v", "j"]], There, Open), ["nobody made v"]);
        let twice = wrong(&[], &[&["w", "j"], &["w", "j"]], There, There);
        assert_eq!(twice, ["job j is there more than once, in [\"w\", \"w\"]"]);
        let both = wrong(queued, done, There, There);
        assert_eq!(both, ["job j is there more than once, in [\"the queue\", \"w\"]"]);
        let blind = Seen { jobs: rows(queued), ..Seen::default() };
        let open = (&states("j", Open), &States::new());
        assert!(blind.wrong((open.0, open.0), (open.1, open.1))[0].starts_with("the index on kinds says"));
    }

    /// Against a server whose locks hold nobody back: it gives everybody the same job.
    #[test]
    fn a_lock_that_does_not_hold_is_found_out() {
        for how in [How::Skip, How::SkipWithin, How::NoWait, How::LockTimeout, How::StatementTimeout] {
            let work = Queue::new(Setting::default());
            work.jobs.set("j", State::There);
            let mut done: Vec<Row> = Vec::new();
            let mut client = Scripted::new(move |text| {
                if let Some(values) = text.strip_prefix("INSERT INTO done VALUES ('") {
                    done.extend(rows(&[&[&values[..2], "j"]]));
                }
                match text {
                    _ if text.contains("FROM done") => Ok(Answer { rows: done.clone(), tags: vec![] }),
                    _ if text.contains("FOR UPDATE") => Ok(Answer { rows: rows(&[&["j"]]), tags: vec![] }),
                    _ if text.starts_with("DELETE") => tag("DELETE 1"),
                    _ => tag(text),
                }
            });
            ready(work.take(&mut client, "w1", plan(how)));
            assert_eq!(ready(work.look(&mut client)), Ok(()));
            assert_eq!(work.tally.take_violations(), [""; 0]);
            ready(work.take(&mut client, "w2", plan(how)));
            assert_eq!(ready(work.look(&mut client)), Ok(()));
            let found = work.tally.take_violations();
            assert_eq!(found, ["job j is there more than once, in [\"w1\", \"w2\"]"], "{how:?}");
        }
    }

    #[test]
    fn a_job_that_was_locked_and_is_gone_is_found_out() {
        let violations = |commit: &'static str| {
            let work = Queue::new(Setting::default());
            let mut client = Scripted::new(move |text| match text {
                "COMMIT" if commit != "COMMIT" => Err(Refusal::new(commit, "no")),
                _ if text.contains("FOR UPDATE") => Ok(Answer { rows: rows(&[&["j"]]), tags: vec![] }),
                _ if text.starts_with("DELETE") => tag("DELETE 0"),
                _ => tag(text),
            });
            ready(work.take(&mut client, "w", plan(How::Skip)));
            work.tally.take_violations()
        };
        assert_eq!(violations("COMMIT"), ["w has locked [\"j\"], which then were not there"]);
        assert_eq!(violations("40001"), [""; 0], "the lock was lost, and it could not commit");
    }

    /// Who is told that it waits too long must have asked for it. A COMMIT waits for locks only.
    #[test]
    fn nobody_is_turned_away_who_would_have_waited() {
        let counted = |how, at: &'static str, code: &'static str| {
            let work = Queue::new(Setting::default());
            let mut client = Scripted::new(move |text| match text {
                _ if text.contains(at) => Err(Refusal::new(code, "no")),
                _ if text.contains("FOR UPDATE") => Ok(Answer { rows: rows(&[&["j"]]), tags: vec![] }),
                _ => tag(text),
            });
            ready(work.take(&mut client, "w", plan(how)));
            assert_eq!(work.tally.counts().errors[code], 1);
            assert_eq!(work.works.now()["w"], State::Refused);
            work.tally.take_violations().len()
        };
        for (how, code) in
            [(How::NoWait, "55P03"), (How::LockTimeout, "55P03"), (How::StatementTimeout, "57014")]
        {
            let commit = usize::from(how != How::LockTimeout);
            assert_eq!(
                (counted(how, "FOR UPDATE", code), counted(how, "COMMIT", code)),
                (0, commit),
                "{how:?}"
            );
        }
        assert_eq!(counted(How::NoWait, "INSERT", "55P03"), 1);
        assert_eq!(counted(How::Skip, "FOR UPDATE", "55P03"), 1);
        assert_eq!(counted(How::LockTimeout, "FOR UPDATE", "57014"), 1);
    }

    #[test]
    fn a_lock_that_nobody_holds_is_found_out() {
        let looked = |skips: u32| {
            let work = Queue::new(Setting::default());
            work.jobs.set("j", State::There);
            let mut asked = 0;
            let mut client = Scripted::new(move |text| {
                let is_locking = text.contains("SKIP LOCKED");
                asked += u32::from(is_locking);
                let found = text.contains("FROM jobs") && !(is_locking && asked <= skips);
                let row: &[&[&str]] = if text.contains("kind") { &[&["j", "1"]] } else { &[&["j"]] };
                if found { Ok(Answer { rows: rows(row), tags: vec![] }) } else { tag(text) }
            });
            assert_eq!(ready(work.last_look(&mut client)), Ok(()));
            work.tally.take_violations()
        };
        assert_eq!(looked(3), [""; 0], "they are cleaned up after a while");
        assert!(looked(u32::MAX)[0].starts_with("these jobs are locked, and nobody works"));
    }

    #[test]
    fn workers_do_all_that_is_there_to_be_tested() {
        let (work, mut dice) = (Queue::new(Setting::default()), Dice(1));
        let plans: Vec<Plan> = (0..200).map(|_| work.plan(&mut dice)).collect();
        for how in [How::Skip, How::SkipWithin, How::NoWait, How::LockTimeout, How::StatementTimeout] {
            assert!(plans.iter().any(|p| p.how == how && !p.gives_back && p.rest > Duration::ZERO));
        }
        assert!(plans.iter().any(|p| p.gives_back && p.kind.is_none()));
    }
}
