//! The disk log over simulated files: whatever a crash leaves of what was not synced, what was synced is there, in order, and
//! nothing but a beginning of what was written; damage to what was synced is seen.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::clock::ManualClock;
use crate::files::SimFiles;
use crate::files::simulated::Crash;
use crate::log::MemLog;

/// A log on a disk of its own.
struct Simulated {
    files: SimFiles,
    clock: Arc<ManualClock>,
    options: DiskLogOptions,
    log: Option<DiskLog>,
}

impl Simulated {
    fn new(seed: u64, options: DiskLogOptions) -> Self {
        let clock = ManualClock::new(0);
        let files = SimFiles::new(clock.clone(), seed);
        let mut made = Simulated { files, clock, options, log: None };
        DiskLog::found(made.folder(), OWNER).expect("founded");
        made.open().expect("opened");
        made
    }

    fn folder(&self) -> Folder {
        Folder { files: Arc::new(self.files.clone()), path: "/store/log".into() }
    }

    fn open(&mut self) -> StorageResult<()> {
        self.log = Some(DiskLog::open(self.folder(), OWNER, self.options)?);
        self.wait();
        Ok(())
    }

    /// Until the disk has done everything.
    fn wait(&self) {
        self.clock.advance(self.files.rest());
    }

    fn crash_now(&mut self, how: Crash) {
        self.log = None;
        self.files.crash(how);
    }
}

impl Crashable for Simulated {
    fn log(&self) -> &dyn LogStore {
        self.log.as_ref().expect("open")
    }

    fn crash(mut self) -> Self {
        self.wait();
        self.crash_now(Crash::Power);
        self.open().expect("opened again");
        self
    }
}

conformance!(Simulated::new(7, SMALL));

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Of as many entries, this many below the end; durably or not.
    Append {
        range: u64,
        back: u64,
        count: u64,
        sync: bool,
    },
    Truncate {
        range: u64,
        ahead: u64,
    },
    Reset {
        range: u64,
    },
    Destroy {
        range: u64,
    },
    Purge,
    /// From now on the disk is not waited for, and the next crash comes when it has done so much of what it was asked.
    Hurry {
        percent: u64,
    },
    /// Syncs take time from now on.
    Slow,
    Fill {
        overwrites: bool,
    },
    /// So many of a hundred syncs fail from now on.
    Spoil {
        percent: u64,
    },
    Crash(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let range = || 1..3u64;
    prop_oneof![
        12 => (range(), 0..3u64, 0..12u64, any::<bool>())
            .prop_map(|(range, back, count, sync)| Step::Append { range, back, count, sync }),
        3 => (range(), 0..9u64).prop_map(|(range, ahead)| Step::Truncate { range, ahead }),
        1 => range().prop_map(|range| Step::Reset { range }),
        1 => range().prop_map(|range| Step::Destroy { range }),
        2 => Just(Step::Purge),
        2 => (0..100u64).prop_map(|percent| Step::Hurry { percent }),
        1 => Just(Step::Slow),
        1 => any::<bool>().prop_map(|overwrites| Step::Fill { overwrites }),
        1 => prop_oneof![Just(20), Just(100)].prop_map(|percent| Step::Spoil { percent }),
        2 => any::<bool>().prop_map(Step::Crash),
    ]
}

/// What was written, batch by batch, and how many are known to be durable.
#[derive(Default)]
struct Written {
    batches: Vec<LogBatch>,
    durable: usize,
}

impl Written {
    fn model(&self, batches: usize) -> MemLog {
        let model = MemLog::new();
        self.batches[..batches].iter().for_each(|batch| model.write(batch, true).expect("as before"));
        model
    }

    /// Finds what the log is: a beginning of what was written, with all that is durable.
    fn found_in(&mut self, log: &dyn LogStore) {
        let view = |log: &dyn LogStore| {
            let ranges = (1..3).map(RangeId);
            let one = |range| {
                let state = log.state(range).expect("read").map(|s| s.hard_state);
                (shown(log, range), state)
            };
            ranges.map(one).collect::<Vec<_>>()
        };
        let found = view(log);
        let beginnings = (self.durable..=self.batches.len()).rev();
        let same = beginnings.clone().find(|n| view(&self.model(*n)) == found);
        let Some(n) = same else {
            let could: Vec<_> = beginnings.map(|n| view(&self.model(n))).collect();
            panic!("found {found:?}, which is none of {could:#?}");
        };
        self.batches.truncate(n);
        self.durable = n;
    }
}

/// A log and its model, step by step.
struct Run {
    log: Simulated,
    written: Written,
    /// The disk was full, or a sync has failed.
    failed: bool,
    hurry: Option<u64>,
    term: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        Run {
            log: Simulated::new(seed, SMALL),
            written: Written::default(),
            failed: false,
            hurry: None,
            term: 0,
        }
    }

    fn write(&mut self, range: u64, op: LogOp, sync: bool) {
        let mut ops = vec![(RangeId(range), op)];
        if !matches!(ops[0].1, LogOp::Destroy) {
            let hard_state = HardState { term: self.term, vote: range, commit: 0 };
            ops.push((RangeId(range), LogOp::SetHardState(hard_state)));
        }
        let batch = LogBatch { ops };
        let refused = self.log.log().write(&batch, sync).is_err();
        if !self.failed {
            // Of the one that has failed, anything may be there.
            self.written.batches.push(batch);
        }
        assert!(refused || !self.failed, "nothing is written after an error");
        self.failed |= refused;
    }

    fn wait(&mut self, sync: bool) {
        self.log.wait();
        if sync && !self.failed {
            self.written.durable = self.written.batches.len();
        }
    }

    fn take(&mut self, step: Step) {
        self.term += 1;
        let model = self.written.model(self.written.batches.len());
        let bounds = |range| {
            let state = model.state(RangeId(range)).expect("read").unwrap_or_default();
            (state.truncated.0, state.last_index)
        };
        let synced = match step {
            Step::Append { range, back, count, sync } => {
                let (truncated, last) = bounds(range);
                let from = (last + 1).saturating_sub(back).max(truncated + 1);
                self.write(range, LogOp::Append(entries(from, from + count, self.term)), sync);
                sync
            }
            Step::Truncate { range, ahead } => {
                let (truncated, last) = bounds(range);
                let first = (truncated + ahead).min(last) + 1;
                let prev_term = model.term(RangeId(range), first - 1).expect("read").unwrap_or_default();
                self.write(range, LogOp::Truncate { first, prev_term }, false);
                false
            }
            Step::Reset { range } => {
                self.write(range, LogOp::Reset { index: bounds(range).1 + 5, term: self.term }, true);
                true
            }
            Step::Destroy { range } => {
                self.write(range, LogOp::Destroy, true);
                true
            }
            Step::Purge => {
                let purged = self.log.log().purge();
                self.failed |= purged.is_err();
                false
            }
            Step::Slow => {
                let takes = (Duration::from_millis(1), Duration::from_millis(900));
                self.log.files.ail(|a| a.sync_takes = takes);
                false
            }
            Step::Fill { overwrites } => {
                self.log.files.ail(|a| (a.is_full, a.overwrites_need_room) = (true, overwrites));
                false
            }
            Step::Spoil { percent } => {
                self.log.files.ail(|a| a.failing_syncs = percent);
                false
            }
            Step::Hurry { percent } => {
                self.hurry = Some(percent);
                false
            }
            Step::Crash(power) => return self.crash(power),
        };
        if self.hurry.is_none() {
            self.wait(synced);
        }
    }

    fn crash(&mut self, power: bool) {
        let busy = self.log.files.rest();
        self.log.clock.advance(busy * self.hurry.take().unwrap_or(100) as u32 / 100);
        self.log.crash_now(if power { Crash::Power } else { Crash::Process });
        if self.log.files.ailments().failing_syncs > 0 {
            // Which refuses, most often, and leaves more that no sync will write.
            let _ = self.log.open();
            self.log.crash_now(Crash::Process);
        }
        self.log.files.ail(|a| *a = Default::default());
        self.log.open().unwrap_or_else(|e| panic!("what a crash leaves is refused: {e}"));
        self.failed = false;
        self.written.found_in(self.log.log.as_ref().expect("open"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever the machine goes down: everything that was acknowledged is there, and of the rest a beginning.
    #[test]
    fn a_crash_at_any_point_leaves_a_beginning_with_all_that_was_synced(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::new(seed);
        steps.iter().for_each(|step| run.take(*step));
        run.crash(true);
        run.crash(true);
    }

    /// A start that is cut short, again and again, loses nothing either.
    #[test]
    fn a_crash_while_the_log_is_opened_loses_nothing(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..20),
        cuts in prop::collection::vec((0..100u64, any::<bool>()), 1..6),
    ) {
        let mut run = Run::new(seed);
        steps.iter().for_each(|step| run.take(*step));
        run.crash(false);
        run.log.files.ail(|a| a.sync_takes = (Duration::from_millis(1), Duration::from_millis(9)));
        run.wait(false);
        let ops = vec![(RangeId(1), LogOp::SetHardState(HardState { term: 1 << 20, vote: 1, commit: 0 }))];
        run.written.batches.push(LogBatch { ops });
        run.log.log().write(&run.written.batches[run.written.batches.len() - 1], false).expect("written");
        run.log.wait();
        run.log.crash_now(Crash::Process);
        for (cut, power) in cuts {
            run.log.crash_now(if power { Crash::Power } else { Crash::Process });
            run.log.log = Some(DiskLog::open(run.log.folder(), OWNER, SMALL).expect("a beginning"));
            let busy = run.log.files.rest();
            run.log.clock.advance(busy * cut as u32 / 100);
        }
        run.crash(true);
    }

    /// One bit of what was synced has flipped: whoever reads it is told, and what is not refused is right.
    #[test]
    fn a_flip_in_what_was_synced_is_refused_or_does_not_matter(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 10..40),
        restart in any::<bool>(),
    ) {
        let mut run = Run::new(seed);
        for step in steps.iter().filter(|step| !matches!(step, Step::Fill { .. } | Step::Spoil { .. })) {
            run.take(*step);
        }
        run.log.wait();
        let Some((file, at)) = run.log.files.flip() else { return Ok(()) };
        if restart {
            run.log.crash_now(Crash::Power);
            match DiskLog::open(run.log.folder(), OWNER, SMALL) {
                Err(StorageError::Corruption(_)) => return Ok(()),
                Err(other) => panic!("a flip in {} at {at} is told as {other}", file.display()),
                Ok(log) => run.log.log = Some(log),
            }
        }
        let log = run.log.log();
        for range in (1..3).map(RangeId) {
            let Some(state) = log.state(range).expect("in memory") else { continue };
            match log.entries(range, state.truncated.0 + 1, state.last_index + 1, u64::MAX) {
                Err(StorageError::Corruption(_)) => return Ok(()),
                Err(other) => panic!("a flip in {} at {at} is told as {other}", file.display()),
                Ok(_) => {}
            }
        }
        run.written.found_in(log);
    }
}

/// Of all that lies in the log's files, some is in use: its damage must be seen. (That nothing wrong is served is above.)
#[test]
fn flips_are_seen() {
    let seen = (0..200).filter(|seed| {
        let mut c = Simulated::new(*seed, DiskLogOptions { segment_bytes: 1024, cache_bytes: 0 });
        (1..=40).for_each(|index| append(c.log(), R1, index, index, 1));
        let (path, _) = c.files.flip().expect("much has been synced");
        let read = c.log().entries(R1, 1, 41, u64::MAX);
        c.crash_now(Crash::Power);
        let opened = DiskLog::open(c.folder(), OWNER, SMALL);
        let seen = matches!(opened, Err(StorageError::Corruption(_)));
        assert!(seen || read.is_ok(), "{}: seen by a reader, and not by a start", path.display());
        seen
    });
    assert!(seen.count() > 150);
}

/// What was refused for want of room is not there; what was acknowledged before, is.
#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    for (seed, overwrites) in (0..40).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut c = Simulated::new(seed, SMALL);
        append(c.log(), R1, 1, 5, 1);
        c.files.ail(|a| (a.is_full, a.overwrites_need_room) = (true, overwrites));
        let mut acknowledged = 5;
        let error = loop {
            let next = acknowledged + 1;
            let ops = vec![(R1, LogOp::Append(entries(next, next, 1)))];
            match c.log().write(&LogBatch { ops }, true) {
                Ok(()) => acknowledged = next,
                Err(e) => break e,
            }
        };
        assert!(error.to_string().contains("is full: free some space"), "{error}");
        assert!(c.files.has_failed());
        c.crash_now(if seed % 2 == 0 { Crash::Process } else { Crash::Power });
        if overwrites {
            assert!(DiskLog::open(c.folder(), OWNER, SMALL).is_err(), "there is still no room");
            c.crash_now(Crash::Process);
        }
        c.files.ail(|a| *a = Default::default());
        c.open().expect("there is room");
        let last = c.log().state(R1).expect("read").expect("there").last_index;
        assert!(last == acknowledged || last == acknowledged + 1, "{last} of {acknowledged}");
    }
}

/// A start finds what a sync has failed to write, and Raft counts on what it finds: from then on it is durable, whether or
/// not it was.
#[test]
fn what_is_found_after_a_failed_sync_stays() {
    let (mut found, mut lost) = (0, 0);
    for seed in 0..60 {
        let mut c = Simulated::new(seed, SMALL);
        append(c.log(), R1, 1, 5, 1);
        c.files.ail(|a| a.failing_syncs = 100);
        let ops = vec![(R1, LogOp::Append(entries(6, 6, 1)))];
        assert!(matches!(c.log().write(&LogBatch { ops }, true), Err(StorageError::Io(_))));
        c.crash_now(Crash::Process);
        assert!(DiskLog::open(c.folder(), OWNER, SMALL).is_err(), "syncs still fail");
        c.crash_now(Crash::Process);
        c.files.ail(|a| *a = Default::default());
        let last = |c: &Simulated| c.log().state(R1).expect("read").expect("there").last_index;
        c.open().expect("syncs succeed");
        let before = last(&c);
        c.crash_now(Crash::Power);
        c.open().expect("opened");
        assert_eq!(last(&c), before);
        *(if before == 6 { &mut found } else { &mut lost }) += 1;
    }
    assert!(found > 5 && lost > 5, "{found} found, {lost} lost");
}

/// The manifest, too: a start that goes on with a segment which only a dropped slot names is cut short.
#[test]
fn a_start_after_a_failed_sync_may_be_cut_short() {
    let takes = Duration::from_millis(10);
    for (seed, cut) in (0..150).flat_map(|seed| [1, 2, 3, 4, 5, 6].map(|cut| (seed, cut))) {
        // Almost each record is in a segment of its own.
        let tiny = DiskLogOptions { segment_bytes: 256, ..SMALL };
        let mut c = Simulated::new(seed, tiny);
        c.files.ail(|a| a.failing_syncs = 15);
        let append = |c: &Simulated, index| {
            let ops = vec![(R1, LogOp::Append(entries(index, index, 1)))];
            c.log().write(&LogBatch { ops }, true)
        };
        let failed = (1..).find(|index| append(&c, *index).is_err()).expect("at last");
        c.crash_now(Crash::Process);
        c.files.ail(|a| (a.failing_syncs, a.sync_takes) = (0, (takes, takes)));
        c.log = Some(DiskLog::open(c.folder(), OWNER, tiny).expect("syncs succeed"));
        c.clock.advance(takes * cut + takes / 2);
        c.crash_now(Crash::Power);
        c.open().unwrap_or_else(|e| panic!("after {cut} syncs: {e}"));
        let last = c.log().state(R1).expect("read").unwrap_or_default().last_index;
        assert!(last + 1 >= failed, "{last} of {failed}");
    }
}

#[test]
fn a_read_that_fails_is_an_error_and_no_damage() {
    let mut c = Simulated::new(1, DiskLogOptions { cache_bytes: 0, ..SMALL });
    append(c.log(), R1, 1, 5, 1);
    c.files.ail(|a| a.failing_reads = 100);
    assert!(matches!(c.log().entries(R1, 1, 6, u64::MAX), Err(StorageError::Io(_))));
    c.crash_now(Crash::Process);
    assert!(matches!(c.open(), Err(StorageError::Io(_))));
    c.crash_now(Crash::Process);
    c.files.ail(|a| *a = Default::default());
    c.open().expect("it can be read again");
    assert_eq!(c.log().state(R1).expect("read").expect("there").last_index, 5);
}

/// The disk is busy for as long as its syncs take, and what it had not begun has not happened.
#[test]
fn a_crash_in_the_middle_of_a_sync() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..60 {
        let mut c = Simulated::new(seed, ROOMY);
        append(c.log(), R1, 1, 5, 1);
        let takes = Duration::from_millis(100);
        c.files.ail(|a| a.sync_takes = (takes, takes));
        append(c.log(), R1, 6, 6, 1);
        assert_eq!(c.files.rest(), takes);
        append(c.log(), R1, 7, 7, 1);
        assert_eq!(c.files.rest(), 2 * takes);
        c.clock.advance(takes / 2);
        c.crash_now(Crash::Power);
        c.open().expect("opened");
        match c.log().state(R1).expect("read").expect("there").last_index {
            5 => lost += 1,
            6 => kept += 1,
            other => panic!("{other}: the disk had not come to it"),
        }
    }
    assert!(lost > 5 && kept > 5, "{lost} lost, {kept} kept");
}
