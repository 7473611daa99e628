//! A scan, range by range and block by block, merged with what the transaction itself has written.
//!
//! The transaction's writes are those of the moment in which the scan began: a statement that updates what it scans does
//! not meet its own new rows (the Halloween problem). Under READ COMMITTED a scan that outlives its statement - a
//! cursor - goes on in the snapshot of that statement.
//!
//! A scan of what is newest takes the time anew for every request. Who asks for it holds a lock that keeps the answer
//! true; should that get lost, with the lease under which it was held, the commit finds it out: from what has changed since
//! in what was scanned, if the scan locks rows too, else from the lock that is gone.

use std::cmp::Ordering;
use std::sync::Arc;

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span, Timestamp};
use parking_lot::Mutex;

use super::read::{MAX_TRIES, Noted, too_many_tries};
use super::spills::SinceMoment;
use super::state::State;
use super::{ScanOptions, Txn, TxnError, TxnErrorKind, TxnResult};
use crate::route::Route;
use crate::rpc::{
    BatchRequest, BatchResponse, Header, Isolation, KvBlock, KvBlockBuilder, KvError, LockStrength, Request,
    Response, Write,
};

pub struct Scanner {
    txn: Txn,
    options: ScanOptions,
    /// What is left to be scanned; `None` at the end.
    rest: Option<Span>,
    /// Rows still allowed; 0 for no limit (an exhausted limit ends the scan).
    limit: u64,
    /// The transaction's own writes in the span, ascending.
    own: Vec<Write>,
    snapshot: Snapshot,
    /// A scan of what is newest has met a version of this age.
    met: Timestamp,
    /// The last answer may lack what the transaction had spilled.
    doubtful: bool,
}

/// The statement in which the scan began, and its snapshot.
#[derive(Clone)]
pub(super) struct Snapshot {
    statement: u64,
    read_ts: Timestamp,
    uncertainty_limit: Timestamp,
    undone_over_intents: u64,
    /// Where it has moved to since; of a scan that ends with its statement, the transaction's does.
    drift: Option<Arc<Mutex<Drift>>>,
    /// Of a moment: what has been spilled since it.
    since: Option<Arc<SinceMoment>>,
}

/// Where a snapshot is by now that is read in after its statement.
struct Drift {
    read_ts: Timestamp,
    /// The latest version met that may be older than the statement.
    met: Timestamp,
    /// It no longer moves with the transaction's, though the statement be still its last.
    alone: bool,
}

impl Snapshot {
    pub fn of(state: &State) -> Self {
        Snapshot {
            statement: state.statement,
            read_ts: state.meta.read_ts,
            uncertainty_limit: state.uncertainty_limit,
            undone_over_intents: state.buffer.undone_over_intents(),
            drift: None,
            since: None,
        }
    }

    /// For reads that come later. Clones move together.
    pub fn lasting(state: &State, since: Arc<SinceMoment>) -> Self {
        let read_ts = state.meta.read_ts;
        let drift = Drift { read_ts, met: Timestamp::default(), alone: false };
        Snapshot { drift: Some(Arc::new(Mutex::new(drift))), since: Some(since), ..Snapshot::of(state) }
    }

    pub fn read_ts(&self) -> Timestamp {
        self.drift.as_ref().map_or(self.read_ts, |drift| drift.lock().read_ts)
    }

    /// Has a request read in it, whatever the transaction's snapshot is by now.
    pub fn put_into(&self, header: &mut Header) {
        read_at(header, self.read_ts(), self.uncertainty_limit);
    }

    /// Something has been read in it. In its own statement it moves with the transaction's.
    pub fn follow(&self, state: &State) {
        if let Some(drift) = &self.drift
            && !self.outlived(state)
        {
            drift.lock().read_ts.forward(state.meta.read_ts);
        }
    }

    /// A version of this age was met, of which nobody knows whether it is older than the statement.
    pub fn note_met(&self, ts: Timestamp) {
        if let Some(drift) = &self.drift {
            drift.lock().met.forward(ts);
        }
    }

    /// Goes over the version that was met: what was read before is not what is read from now on. Returns where to, if it
    /// makes a difference.
    pub fn pass_met(&self) -> Option<Timestamp> {
        let mut drift = self.drift.as_ref()?.lock();
        // What is later is no older than the statement, whatever was met.
        let to = drift.met.min(self.uncertainty_limit);
        if to <= drift.read_ts {
            return None;
        }
        drift.read_ts = to;
        drift.alone = true;
        Some(to)
    }

    /// Whether reads that do not see today's buffer are right still.
    pub fn check(&self, state: &State) -> TxnResult<()> {
        if self.undone_over_intents == state.buffer.undone_over_intents() {
            return Ok(());
        }
        let what =
            "a cursor cannot go on where ROLLBACK TO SAVEPOINT has taken back more than is kept in memory";
        Err(TxnError::new(TxnErrorKind::Unsupported, what))
    }

    /// Whether what was read in the span is right: nothing there was spilled after the moment.
    fn check_seen(&self, span: &Span) -> TxnResult<()> {
        match &self.since {
            Some(since) if since.hides(span) => Err(hidden()),
            _ => Ok(()),
        }
    }

    /// Whether the transaction has another one by now.
    pub fn outlived(&self, state: &State) -> bool {
        let alone = || self.drift.as_ref().is_some_and(|drift| drift.lock().alone);
        state.meta.isolation == Isolation::ReadCommitted && (state.statement != self.statement || alone())
    }
}

/// What is to be read lies beneath what the transaction has spilled since.
pub(super) fn hidden() -> TxnError {
    let what = "a cursor cannot go on where its transaction has since written more than is kept in memory";
    TxnError::new(TxnErrorKind::Unsupported, what)
        .with_detail("The cursor must not see these writes, and what they have replaced is not known any more.")
        .with_hint("Fetch the cursor's rows before writing so much to the same tables, or close it and open it again.")
}

fn read_at(header: &mut Header, read_ts: Timestamp, uncertainty_limit: Timestamp) {
    header.read_ts = read_ts;
    header.uncertainty_limit = uncertainty_limit;
    if let Some(txn) = &mut header.txn {
        txn.read_ts = read_ts;
    }
}

impl Scanner {
    pub(super) fn new(txn: Txn, span: Span, options: ScanOptions) -> Self {
        let (own, snapshot) = {
            let state = txn.lock_state();
            (state.buffer.in_span(&span), Snapshot::of(&state))
        };
        Scanner::over(txn, span, options, own, snapshot)
    }

    /// `own`: the writes in the span that it is to see.
    pub(super) fn over(
        txn: Txn,
        span: Span,
        options: ScanOptions,
        own: Vec<Write>,
        snapshot: Snapshot,
    ) -> Self {
        Scanner {
            txn,
            options,
            rest: Some(span),
            limit: options.limit,
            own,
            snapshot,
            met: Timestamp::default(),
            doubtful: false,
        }
    }

    /// The next rows, at least one; `None` at the end.
    pub async fn next_block(&mut self) -> TxnResult<Option<KvBlock>> {
        while let Some(rest) = self.rest.clone() {
            let block = self.step(rest).await?;
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// One request to one range.
    async fn step(&mut self, rest: Span) -> TxnResult<KvBlock> {
        let first_key = if self.options.lock.is_some() { Some(&rest.start) } else { None };
        self.txn.prepare(first_key).await?;
        for _ in 0..MAX_TRIES {
            let (route, piece) = match self.next_piece(&rest).await {
                Ok(found) => found,
                Err(e) => {
                    self.txn.react(e).await?;
                    continue;
                }
            };
            let batch = {
                let mut state = self.txn.lock_state();
                state.check_active()?;
                self.snapshot.check(&state)?;
                if self.options.lock.is_some() {
                    state.locks.add_span(piece.clone());
                }
                self.batch(&state, &piece)
            };
            let at = batch.header.read_ts;
            match self.txn.router().send_to(&route, batch).await {
                Ok(response) => {
                    if let Some(block) = self.take(response, at, &rest, piece)? {
                        if self.doubtful {
                            self.txn.not_aborted_before().await?;
                        }
                        return Ok(block);
                    }
                }
                Err(e) => self.react(e).await?,
            }
        }
        Err(too_many_tries())
    }

    /// The part of what is left that lies in one range.
    async fn next_piece(&self, rest: &Span) -> Result<(Arc<Route>, Span), KvError> {
        let router = self.txn.router();
        if self.options.reverse {
            let route = router.route_before(&rest.end).await?;
            let start = rest.start.clone().max(route.descriptor.start.clone());
            let piece = Span::new(start, rest.end.clone());
            Ok((route, piece))
        } else {
            let route = router.route(&rest.start).await?;
            let end = rest.end.clone().min(route.descriptor.end.clone());
            let piece = Span::new(rest.start.clone(), end);
            Ok((route, piece))
        }
    }

    fn batch(&self, state: &State, piece: &Span) -> BatchRequest {
        let mut header = state.header(self.options.lock.map(|l| l.1).unwrap_or_default());
        header.gateway = self.txn.router().node();
        if self.newest(state) {
            let now = self.txn.inner.db.clock().now().max(self.met);
            read_at(&mut header, now, self.txn.inner.db.clocks().uncertainty_limit(now));
        } else if self.outlived(state) {
            self.snapshot.put_into(&mut header);
        }
        header.max_bytes = match self.options.batch_bytes {
            0 => self.txn.limits().scan_block_bytes,
            wanted => wanted,
        };
        if self.limit > 0 {
            // Rows that the transaction has deleted are returned, and do not count.
            let deleted = self.own.iter().filter(|(k, v)| v.is_none() && piece.contains(k)).count();
            header.max_rows = self.limit + deleted as u64;
        }
        let lock = self.options.lock.map(|l| l.0);
        let scan = Request::Scan { span: piece.clone(), reverse: self.options.reverse, lock };
        BatchRequest { header, requests: vec![scan] }
    }

    fn outlived(&self, state: &State) -> bool {
        self.snapshot.outlived(state)
    }

    fn newest(&self, state: &State) -> bool {
        self.options.newest && !state.serializable() && !state.fixed
    }

    async fn react(&mut self, e: KvError) -> TxnResult<()> {
        let (outlived, newest) = {
            let state = self.txn.lock_state();
            (self.outlived(&state), self.newest(&state))
        };
        match e {
            KvError::ReadWithinUncertainty { ts, .. } | KvError::WriteTooOld { ts, .. } if newest => {
                self.met.forward(ts);
                Ok(())
            }
            e => {
                if let KvError::ReadWithinUncertainty { ts, .. } = &e {
                    self.snapshot.note_met(*ts);
                    if outlived {
                        return Err(e.into());
                    }
                }
                self.txn.react(e).await
            }
        }
    }

    /// Takes in an answer; `None` if it came too late to be of use.
    fn take(
        &mut self,
        mut response: BatchResponse,
        at: Timestamp,
        rest: &Span,
        piece: Span,
    ) -> TxnResult<Option<KvBlock>> {
        let Some(Response::Scan { rows, resume }) = response.responses.pop() else {
            return Err(KvError::internal("a scan was answered with something else").into());
        };
        let (seen, left) = split_at_resume(rest, piece, resume, self.options.reverse);
        if let Some(seen) = &seen {
            self.snapshot.check_seen(seen)?;
            let mut state = self.txn.lock_state();
            if self.note(&mut state, seen, &rows, at, (response.ts, response.now)) == Noted::Stale {
                return Ok(None);
            }
        }
        self.doubtful = seen.as_ref().is_some_and(|seen| self.txn.lock_state().may_have_spilled_in(seen));
        self.rest = left;
        let mut block = match &seen {
            Some(seen) => self.merge(rows, seen),
            None => rows,
        };
        if self.limit > 0 {
            if block.len() as u64 >= self.limit {
                block = truncate(block, self.limit as usize);
                self.rest = None;
            } else {
                self.limit -= block.len() as u64;
            }
        }
        Ok(Some(block))
    }

    /// Enters what was read at `at` into the books; `ts` and `now` are those of the answer.
    fn note(
        &self,
        state: &mut State,
        seen: &Span,
        rows: &KvBlock,
        at: Timestamp,
        (ts, now): (Timestamp, Timestamp),
    ) -> Noted {
        let newest = self.newest(state);
        let outlived = self.outlived(state) && !newest;
        if self.options.lock.is_none() && newest {
            state.held.rely_on_locks();
            return Noted::Kept;
        }
        if self.options.lock.is_none() && outlived {
            return Noted::Kept;
        }
        if !newest && !outlived && at != state.meta.read_ts {
            return Noted::Stale;
        }
        self.snapshot.follow(state);
        let forgets = planted::is(Planted::ForgetReadSpans);
        if state.tracks_reads() && !newest && !outlived && !forgets {
            state.reads.add_span(seen.clone());
        }
        let from = ts.max(at);
        if newest {
            // All of it, not only what is there.
            state.held.add_span(seen.clone(), from);
            if self.options.lock.is_some_and(|(lock, _)| lock == LockStrength::Update) {
                rows.iter().for_each(|(key, _)| state.held.note_exclusive(Key::copy_from(key), now));
            }
            state.meta.write_ts.forward(from);
        } else if let Some((lock, _)) = self.options.lock.filter(|_| !state.serializable()) {
            for (key, _) in rows.iter() {
                state.held.add_row(Key::copy_from(key), lock, from, now);
            }
            state.meta.write_ts.forward(from);
        }
        Noted::Kept
    }

    /// Puts the transaction's own writes in `seen` into the rows from there.
    fn merge(&self, rows: KvBlock, seen: &Span) -> KvBlock {
        let from = self.own.partition_point(|(k, _)| *k < seen.start);
        let to = self.own.partition_point(|(k, _)| *k < seen.end);
        let own = &self.own[from..to];
        if own.is_empty() {
            return rows;
        }
        let mut merged = KvBlockBuilder::new();
        let mut own: Box<dyn Iterator<Item = &Write>> =
            if self.options.reverse { Box::new(own.iter().rev()) } else { Box::new(own.iter()) };
        let mut next_own = own.next();
        for (key, value) in rows.iter() {
            let mut hidden = false;
            while let Some((own_key, own_value)) = next_own {
                let order = own_key.as_bytes().cmp(key);
                let order = if self.options.reverse { order.reverse() } else { order };
                if order == Ordering::Greater {
                    break;
                }
                if let Some(own_value) = own_value {
                    merged.push(own_key, own_value);
                }
                hidden |= order == Ordering::Equal;
                next_own = own.next();
            }
            if !hidden {
                merged.push(key, value);
            }
        }
        while let Some((own_key, own_value)) = next_own {
            if let Some(own_value) = own_value {
                merged.push(own_key, own_value);
            }
            next_own = own.next();
        }
        merged.build()
    }
}

/// What has been looked at, and what is left of the whole.
fn split_at_resume(
    rest: &Span,
    piece: Span,
    resume: Option<Key>,
    reverse: bool,
) -> (Option<Span>, Option<Span>) {
    let span = |start: &Key, end: &Key| (start < end).then(|| Span::new(start.clone(), end.clone()));
    if reverse {
        let at = resume.unwrap_or(piece.start);
        (span(&at, &piece.end), span(&rest.start, &at))
    } else {
        let at = resume.unwrap_or(piece.end);
        (span(&piece.start, &at), span(&at, &rest.end))
    }
}

fn truncate(block: KvBlock, rows: usize) -> KvBlock {
    if block.len() <= rows {
        return block;
    }
    let mut shorter = KvBlockBuilder::new();
    for (key, value) in block.iter().take(rows) {
        shorter.push(key, value);
    }
    shorter.build()
}

impl Scanner {
    /// All that is left, for callers who know that it is little.
    pub async fn collect(mut self) -> Result<Vec<(Key, bytes::Bytes)>, TxnError> {
        let mut rows = Vec::new();
        while let Some(block) = self.next_block().await? {
            rows.extend((0..block.len()).map(|i| (Key::new(block.key_bytes(i)), block.value_bytes(i))));
        }
        Ok(rows)
    }
}
