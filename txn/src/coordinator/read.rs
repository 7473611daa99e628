//! Reading keys: the transaction's own writes first, then the ranges; moving the snapshot where a range asks for it.

use bytes::Bytes;
use meridian_storage::base::{Key, Timestamp};

use super::state::State;
use super::{Txn, TxnError, TxnErrorKind, TxnResult};
use crate::rpc::{
    BatchRequest, BatchResponse, Isolation, KvError, LockStrength, Request, Response, WaitPolicy,
};

/// How often one read may be sent back before something must be wrong.
pub(super) const MAX_TRIES: u32 = 200;

/// Whether what was read fits the transaction as it is by now.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Noted {
    Kept,
    /// The snapshot has moved meanwhile: read again.
    Stale,
}

impl Txn {
    pub async fn get(&self, key: &Key) -> TxnResult<Option<Bytes>> {
        self.read_one(key, None).await
    }

    /// Takes the lock, even if the key does not exist, then reads: under READ COMMITTED the newest version.
    /// With [`WaitPolicy::Skip`], a key that is locked by another transaction reads as `None`.
    pub async fn get_locked(
        &self,
        key: &Key,
        lock: LockStrength,
        wait: WaitPolicy,
    ) -> TxnResult<Option<Bytes>> {
        self.read_one(key, Some((lock, wait))).await
    }

    async fn read_one(
        &self,
        key: &Key,
        lock: Option<(LockStrength, WaitPolicy)>,
    ) -> TxnResult<Option<Bytes>> {
        self.prepare(lock.is_some().then_some(key)).await?;
        for _ in 0..MAX_TRIES {
            let mut batch = {
                let mut state = self.lock_state();
                state.check_active()?;
                let own = state.buffer.get(key);
                match own {
                    Some(own) if lock.is_none() => return Ok(own),
                    _ => {}
                }
                if lock.is_some() {
                    state.locks.add_point(key);
                }
                self.read_batch(&state, lock, [key])
            };
            let at = batch.header.read_ts;
            let fast =
                self.router().cached(key).and_then(|route| self.router().try_local(&route, &mut batch));
            let answer = match fast {
                Some(answer) => answer,
                None => self.send_to_key(key, batch).await,
            };
            match answer {
                Ok(mut response) => {
                    let answer = response.responses.pop();
                    let read = (!is_skipped(answer.as_ref())).then_some(key);
                    let value = take_value(answer)?;
                    let (value, doubtful) = {
                        let mut state = self.lock_state();
                        if note_reads(&mut state, read, at, &response, lock.map(|l| l.0)) == Noted::Stale {
                            continue;
                        }
                        (state.buffer.get(key).unwrap_or(value), state.may_have_spilled(key))
                    };
                    if doubtful {
                        self.not_aborted_before().await?;
                    }
                    return Ok(value);
                }
                Err(e) => self.react(e).await?,
            }
        }
        Err(too_many_tries())
    }

    /// Values in the order of the keys; asks all ranges at once.
    pub async fn get_many(
        &self,
        keys: &[Key],
        lock: Option<(LockStrength, WaitPolicy)>,
    ) -> TxnResult<Vec<Option<Bytes>>> {
        self.prepare(keys.first().filter(|_| lock.is_some())).await?;
        for _ in 0..MAX_TRIES {
            let mut values = vec![None; keys.len()];
            let (wanted, header) = {
                let mut state = self.lock_state();
                state.check_active()?;
                let mut wanted = Vec::with_capacity(keys.len());
                for (i, key) in keys.iter().enumerate() {
                    match state.buffer.get(key) {
                        Some(own) if lock.is_none() => values[i] = own,
                        _ => wanted.push((i, key.clone())),
                    }
                    if lock.is_some() {
                        state.locks.add_point(key);
                    }
                }
                (wanted, self.read_header(&state, lock))
            };
            if wanted.is_empty() {
                return Ok(values);
            }
            let at = header.read_ts;
            let sent = self.router().fan_out(wanted, |wanted: &[(usize, Key)]| {
                let requests =
                    wanted.iter().map(|(_, key)| Request::Get { key: key.clone(), lock: lock.map(|l| l.0) });
                BatchRequest { header: header.clone(), requests: requests.collect() }
            });
            match sent.await.into_result() {
                Ok(done) => {
                    if self.note_many(done, at, lock.map(|l| l.0), &mut values)? == Noted::Kept {
                        if self.any_may_have_spilled(keys) {
                            self.not_aborted_before().await?;
                        }
                        return Ok(values);
                    }
                }
                Err(e) => self.react(e).await?,
            }
        }
        Err(too_many_tries())
    }

    fn any_may_have_spilled(&self, keys: &[Key]) -> bool {
        let state = self.lock_state();
        keys.iter().any(|key| state.may_have_spilled(key))
    }

    fn note_many(
        &self,
        done: Vec<(Vec<(usize, Key)>, BatchResponse)>,
        at: Timestamp,
        lock: Option<LockStrength>,
        values: &mut [Option<Bytes>],
    ) -> TxnResult<Noted> {
        let mut state = self.lock_state();
        for (wanted, response) in done {
            let answered = wanted.iter().zip(&response.responses);
            let keys = answered.filter(|(_, answer)| !is_skipped(Some(answer))).map(|((_, key), _)| key);
            if note_reads(&mut state, keys, at, &response, lock) == Noted::Stale {
                return Ok(Noted::Stale);
            }
            for ((i, key), answer) in wanted.iter().zip(response.responses) {
                let value = take_value(Some(answer))?;
                values[*i] = state.buffer.get(key).unwrap_or(value);
            }
        }
        Ok(Noted::Kept)
    }

    /// What must have happened before a read: rolled-back intents are gone; before the first lock, the heart beats.
    pub(super) async fn prepare(&self, to_lock: Option<&Key>) -> TxnResult<()> {
        let settled = {
            let mut state = self.lock_state();
            state.check_active()?;
            let first_lock = match to_lock {
                Some(key) => {
                    state.set_anchor(key);
                    self.register(&mut state);
                    !state.has_record && state.locks.is_empty() && self.is_old(&state)
                }
                None => false,
            };
            !state.buffer.has_void() && !first_lock
        };
        if settled { Ok(()) } else { self.settle(to_lock.is_some()).await }
    }

    fn read_header(&self, state: &State, lock: Option<(LockStrength, WaitPolicy)>) -> crate::rpc::Header {
        let mut header = state.header(lock.map(|l| l.1).unwrap_or_default());
        header.gateway = self.router().node();
        header
    }

    fn read_batch<const N: usize>(
        &self,
        state: &State,
        lock: Option<(LockStrength, WaitPolicy)>,
        keys: [&Key; N],
    ) -> BatchRequest {
        let mut header = self.read_header(state, lock);
        let newest = lock.is_some() && header.isolation() == Isolation::ReadCommitted;
        header.can_forward_read = !newest && state.can_forward();
        let requests = keys.map(|key| Request::Get { key: key.clone(), lock: lock.map(|l| l.0) });
        BatchRequest { header, requests: requests.into() }
    }

    /// To whichever range holds the key.
    pub(super) async fn send_to_key(&self, key: &Key, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let route = self.router().route(key).await?;
        self.router().send_to(&route, batch).await
    }
}

/// Enters what was read at `at` into the books. The answer's time is the one up to which the range has looked.
pub(super) fn note_reads<'k>(
    state: &mut State,
    keys: impl IntoIterator<Item = &'k Key>,
    at: Timestamp,
    answer: &BatchResponse,
    lock: Option<LockStrength>,
) -> Noted {
    let seen = answer.ts;
    if at != state.meta.read_ts {
        return Noted::Stale;
    }
    let newest = lock.is_some() && state.meta.isolation == Isolation::ReadCommitted;
    if seen > at && !newest {
        // The range has moved the read, as it was allowed to while nothing else had been read.
        if !state.can_forward() {
            return Noted::Stale;
        }
        state.meta.read_ts = seen;
        state.meta.write_ts.forward(seen);
    }
    let keep = state.tracks_reads() && !newest;
    let held = lock.filter(|lock| !state.serializable() || *lock == LockStrength::KeyShare);
    for key in keys {
        if keep {
            state.reads.add_point(key);
        }
        if let Some(lock) = held {
            state.held.add_row(key.clone(), lock, seen.max(at), answer.now);
        }
    }
    if newest {
        state.meta.write_ts.forward(seen);
    }
    Noted::Kept
}

/// Whether somebody else has locked the row, and the transaction goes without it.
fn is_skipped(answer: Option<&Response>) -> bool {
    matches!(answer, Some(Response::Get { skipped: true, .. }))
}

pub(super) fn take_value(response: Option<Response>) -> TxnResult<Option<Bytes>> {
    match response {
        Some(Response::Get { value, .. }) => Ok(value),
        _ => Err(KvError::internal("a read was answered with something else").into()),
    }
}

pub(super) fn too_many_tries() -> TxnError {
    TxnError::new(TxnErrorKind::Retry, "could not serialize access due to concurrent update")
        .with_detail("The snapshot had to be moved again and again.")
}
