//! What a transaction sees at one moment, for reads that come later: those of a cursor, which reads bit by bit while its
//! transaction goes on to write.
//!
//! A moment holds the writes that were buffered then, and, for READ COMMITTED, the statement's snapshot. Reads at a moment
//! put those writes, and not today's, on top of what the ranges say.
//!
//! A statement's snapshot may lie before a version that is older than the statement on another node's clock. As long as the
//! statement runs, the transaction moves over it. A moment that the transaction has left does so only if all is read anew
//! that was read at it: whoever can do that asks for it ([`move_moment`](Txn::move_moment)).
//!
//! What must stay true: a moment is of no use after a rollback to a savepoint that is older than it, nor after a restart.
//!
//! Writes that come after the moment and are spilled into intents hide what they replace: the ranges know only the newest of a
//! transaction's intents. What is spilled is noted as long as there are moments ([`spills`](super::spills)), and a read at a
//! moment that meets it is refused (0A000); what lies elsewhere can be read still. What was buffered at the moment is always
//! known, wherever it is by now. If values are rolled back that lie beneath intents, all reads at the moment are refused.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use meridian_storage::base::{Key, Span, Timestamp};

use super::intents::Known;
use super::read::{MAX_TRIES, take_value, too_many_tries};
use super::scanner::{Snapshot, hidden};
use super::spills::{SinceMoment, is_same_write};
use super::state::State;
use super::{ScanOptions, Scanner, Txn, TxnResult};
use crate::rpc::{BatchRequest, Isolation, KvError, Request, WaitPolicy};

pub struct Moment {
    since: Arc<SinceMoment>,
    snapshot: Snapshot,
}

impl Moment {
    /// The time of a snapshot that the transaction has left.
    pub(super) fn time_of_its_own(&self, state: &State) -> Option<Timestamp> {
        self.snapshot.outlived(state).then(|| self.snapshot.read_ts())
    }
}

impl Txn {
    /// What the transaction sees now.
    pub fn moment(&self) -> Moment {
        let mut state = self.lock_state();
        let since = state.buffer.moment();
        Moment { snapshot: Snapshot::lasting(&state, since.clone()), since }
    }

    /// Whether a row is not one that the transaction has written since the moment; `value`: what it has now. Refused where
    /// that is not known any more.
    pub fn stands_since(&self, moment: &Moment, key: &Key, value: &[u8]) -> TxnResult<bool> {
        let state = self.lock_state();
        let written = match (moment.since.own.get(key), state.buffer.get(key)) {
            (None, Some(_)) => Known::Yes,
            (None, None) => moment.since.spilled(key),
            (Some(then), Some(now)) if is_same_write(then, &now) => Known::No,
            (Some(_), Some(_)) => Known::Yes,
            (Some(then), None) if then.as_deref() != Some(value) => Known::Yes,
            (Some(_), None) => moment.since.rewritten(key),
        };
        match written {
            Known::No => Ok(true),
            Known::Perhaps => Err(hidden()),
            // Unless it was only put back.
            Known::Yes => moment.snapshot.check(&state).map(|()| false),
        }
    }

    /// After a read at a moment of READ COMMITTED has failed with a retryable error: moves the moment over the version that
    /// may be older than it. Returns whether there is one. What was read at the moment before is void.
    pub fn move_moment(&self, moment: &Moment) -> bool {
        let mut state = self.lock_state();
        if state.meta.isolation != Isolation::ReadCommitted || state.check_active().is_err() {
            return false;
        }
        let Some(to) = moment.snapshot.pass_met() else { return false };
        // Nothing is written before what was read.
        state.meta.write_ts.forward(to);
        true
    }

    /// As [`scan`](Self::scan), of what there was at the moment.
    pub fn scan_at(&self, moment: &Moment, span: Span, options: ScanOptions) -> Scanner {
        let own = moment.since.own.range::<Key, _>(&span.start..&span.end);
        let own = own.map(|(k, v)| (k.clone(), v.clone())).collect();
        Scanner::over(self.clone(), span, options, own, moment.snapshot.clone())
    }

    /// The values that the keys had at the moment, in their order.
    pub async fn get_at(&self, moment: &Moment, keys: &[Key]) -> TxnResult<Vec<Option<Bytes>>> {
        let mut values = vec![None; keys.len()];
        // Those that are as they were; that lie beneath a later write; that lie in a snapshot that is no more.
        let (mut same, mut beneath, mut past) = (Vec::new(), Vec::new(), Vec::new());
        {
            let state = self.lock_state();
            state.check_active()?;
            moment.snapshot.check(&state)?;
            let outlived = moment.snapshot.outlived(&state);
            for (i, key) in keys.iter().enumerate() {
                match moment.since.own.get(key) {
                    Some(own) => values[i] = own.clone(),
                    None if moment.since.spilled(key) != Known::No => return Err(hidden()),
                    None if outlived => past.push((i, key.clone())),
                    None if state.buffer.get(key).is_some() => beneath.push(i),
                    None => same.push(i),
                }
            }
        }
        self.get_same(moment, keys, &same, &mut values).await?;
        let read = beneath
            .iter()
            .map(|i| self.scan_at(moment, Span::point(keys[*i].clone()), ScanOptions::default()).collect());
        for (i, rows) in beneath.iter().zip(try_join_all(read).await?) {
            values[*i] = rows.into_iter().next().map(|(_, value)| value);
        }
        if !past.is_empty() {
            self.get_past(moment, past, &mut values).await?;
        }
        Ok(values)
    }

    /// From the transaction's snapshot, which is the moment's still.
    async fn get_same(
        &self,
        moment: &Moment,
        keys: &[Key],
        wanted: &[usize],
        values: &mut [Option<Bytes>],
    ) -> TxnResult<()> {
        let read = match wanted {
            [] => return Ok(()),
            [only] => self.get(&keys[*only]).await.map(|value| vec![value]),
            _ => {
                let keys: Vec<Key> = wanted.iter().map(|i| keys[*i].clone()).collect();
                self.get_many(&keys, None).await
            }
        };
        let found = read.inspect_err(|e| {
            if e.is_retryable() {
                // It could not move over something; that is older than this.
                moment.snapshot.note_met(self.inner.db.clock().now());
            }
        })?;
        moment.snapshot.follow(&self.lock_state());
        for (i, value) in wanted.iter().zip(found) {
            values[*i] = value;
        }
        Ok(())
    }

    /// From a snapshot of READ COMMITTED that the transaction has left: it cannot move any more.
    async fn get_past(
        &self,
        moment: &Moment,
        wanted: Vec<(usize, Key)>,
        values: &mut [Option<Bytes>],
    ) -> TxnResult<()> {
        self.prepare(None).await?;
        for _ in 0..MAX_TRIES {
            let header = {
                let state = self.lock_state();
                state.check_active()?;
                let mut header = state.header(WaitPolicy::Block);
                header.gateway = self.router().node();
                moment.snapshot.put_into(&mut header);
                header
            };
            let sent = self.router().fan_out(wanted.clone(), |wanted: &[(usize, Key)]| BatchRequest {
                header: header.clone(),
                requests: wanted
                    .iter()
                    .map(|(_, key)| Request::Get { key: key.clone(), lock: None })
                    .collect(),
            });
            match sent.await.into_result() {
                Ok(done) => {
                    for (wanted, response) in done {
                        for ((i, _), answer) in wanted.iter().zip(response.responses) {
                            values[*i] = take_value(Some(answer))?;
                        }
                    }
                    if wanted.iter().any(|(_, key)| self.lock_state().may_have_spilled(key)) {
                        self.not_aborted_before().await?;
                    }
                    return Ok(());
                }
                Err(KvError::ReadWithinUncertainty { key, ts }) => {
                    moment.snapshot.note_met(ts);
                    return Err(KvError::ReadWithinUncertainty { key, ts }.into());
                }
                Err(e) => self.react(e).await?,
            }
        }
        Err(too_many_tries())
    }
}
