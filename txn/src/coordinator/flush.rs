//! Spilling the write buffer into replicated intents, and taking spilled writes back.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::join_all;
use meridian_storage::base::Key;
use meridian_storage::probe;

use super::held::Rows;
use super::read::{MAX_TRIES, too_many_tries};
use super::{Txn, TxnResult};
use crate::route::FanOut;
use crate::rpc::{BatchRequest, Header, KvError, Request, Response, WaitPolicy, Write};

impl Txn {
    /// Spills a large write buffer into replicated intents. To be called now and then by statements that write much,
    /// but not while they scan what they write: spilled rows are seen by scans that have begun before.
    pub async fn flush_if_large(&self) -> TxnResult<()> {
        if self.lock_state().buffer.bytes() < self.limits().spill_bytes {
            return Ok(());
        }
        self.flush().await
    }

    /// Spills whatever is buffered of tables' data. What belongs to the system - descriptors, the version mark of the
    /// catalog - stays: it is small, and every node reads it several times a second and would wait for an intent.
    pub async fn flush(&self) -> TxnResult<()> {
        let Some(first) = self.lock_state().buffer.first_in_tables() else { return Ok(()) };
        self.prepare(Some(&first)).await?;
        if !self.lock_state().has_record {
            self.heartbeat(false).await?;
        }
        self.remember_overwritten().await?;
        for _ in 0..MAX_TRIES {
            let (writes, header, held) = {
                let mut state = self.lock_state();
                state.check_active()?;
                state.meta.sequence += 1;
                let writes = state.buffer.writes_in_tables();
                state.buffer.note_for_moments(&writes);
                state.buffer.note_spilling(&writes);
                (writes, state.header(WaitPolicy::Block), state.held.rows().snapshot())
            };
            match self.put_in_parts(writes, &header, &held).await.into_result() {
                Ok(done) => {
                    let mut state = self.lock_state();
                    let undoable = state.buffer.has_savepoints();
                    for (writes, response) in done {
                        state.meta.write_ts.forward(response.ts);
                        probe!("buffer: spilled");
                        state.buffer.note_spilled(&writes);
                        // From now on the intents protect these rows.
                        state.held.note_written(&writes, undoable);
                    }
                    return Ok(());
                }
                Err(e @ KvError::RefreshFailed { .. }) => return Err(self.refresh_error(e)),
                Err(e) => self.react(e).await?,
            }
        }
        Err(too_many_tries())
    }

    /// Sends the writes as several commands: one is replicated while the next is being evaluated, and none is so large
    /// that it holds up what else is in the log.
    async fn put_in_parts(&self, writes: Vec<Write>, header: &Header, held: &Rows) -> FanOut<Write> {
        let sent = parts(writes, self.limits().spill_command_bytes).into_iter().map(|part| {
            self.router().fan_out(part, |writes: &[Write]| BatchRequest {
                header: header.clone(),
                requests: vec![put_intents(writes, held)],
            })
        });
        let mut all = FanOut { done: Vec::new(), failed: Vec::new() };
        for part in join_all(sent).await {
            all.done.extend(part.done);
            all.failed.extend(part.failed);
        }
        all
    }

    /// A savepoint may need what an intent says that is about to be overwritten.
    ///
    /// Where it is not known whether there is an intent, the value may be a committed one: going back then writes the same
    /// value again, which is no more than a needless write. (Asking for the intent itself would have to allow for
    /// readers who have moved it to a time that this coordinator does not know.)
    async fn remember_overwritten(&self) -> TxnResult<()> {
        let keys = self.lock_state().buffer.needed_before_spilling();
        if keys.is_empty() {
            return Ok(());
        }
        for _ in 0..MAX_TRIES {
            let header = self.lock_state().header(WaitPolicy::Block);
            let sent = self.router().fan_out(keys.clone(), |keys: &[Key]| BatchRequest {
                header: header.clone(),
                requests: keys.iter().map(|key| Request::Get { key: key.clone(), lock: None }).collect(),
            });
            let done = match sent.await.into_result() {
                Ok(done) => done,
                Err(e) => {
                    self.react(e).await?;
                    continue;
                }
            };
            let mut values = BTreeMap::new();
            for (keys, response) in done {
                for (key, answer) in keys.into_iter().zip(response.responses) {
                    let Response::Get { value, .. } = answer else {
                        return Err(KvError::internal("a read was answered with something else").into());
                    };
                    values.insert(key, value);
                }
            }
            probe!("buffer: a savepoint remembers what is overwritten");
            self.lock_state().buffer.remember(&values);
            return Ok(());
        }
        Err(too_many_tries())
    }

    /// Removes the intents of writes that were rolled back, and, for an old transaction that is about to take its first
    /// lock, writes the record: a lock without a record must not look abandoned.
    pub(super) async fn settle(&self, locking: bool) -> TxnResult<()> {
        let (record, void, header) = {
            let mut state = self.lock_state();
            let record = locking && !state.has_record && state.locks.is_empty() && self.is_old(&state);
            let void: Vec<Key> = state.buffer.void().iter().cloned().collect();
            if !void.is_empty() {
                state.meta.sequence += 1;
            }
            (record, void, state.header(WaitPolicy::Block))
        };
        if record {
            self.heartbeat(false).await?;
        }
        if void.is_empty() {
            return Ok(());
        }
        probe!("buffer: intents that were rolled back are removed");
        let sent = self.router().fan_out(void, |keys: &[Key]| BatchRequest {
            header: header.clone(),
            requests: vec![Request::RemoveIntents { keys: keys.to_vec() }],
        });
        for (keys, _) in sent.await.into_result()? {
            self.lock_state().buffer.note_removed(&keys);
        }
        Ok(())
    }
}

/// Of about `size_max` bytes each.
fn parts(writes: Vec<Write>, size_max: usize) -> Vec<Vec<Write>> {
    let mut parts: Vec<Vec<Write>> = Vec::new();
    let mut room = 0usize;
    for (key, value) in writes {
        let size = key.len() + value.as_ref().map_or(0, Bytes::len) + 64;
        match parts.last_mut() {
            Some(part) if room >= size => part.push((key, value)),
            _ => {
                parts.push(vec![(key, value)]);
                room = size_max;
            }
        }
        room = room.saturating_sub(size);
    }
    parts
}

/// Rows that were read under a lock must still be as they were when their intents are written.
pub(super) fn put_intents(writes: &[Write], held: &Rows) -> Request {
    Request::PutIntents { writes: writes.to_vec(), refresh: held.among(writes) }
}
