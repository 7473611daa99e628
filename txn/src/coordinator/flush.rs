//! Spilling the write buffer into replicated intents, and taking spilled writes back.

use bytes::Bytes;
use meridian_storage::base::Key;

use super::read::{MAX_TRIES, too_many_tries};
use super::{Txn, TxnResult};
use crate::rpc::{BatchRequest, KvError, RefreshSpan, Request, Response, WaitPolicy, Write};

/// A buffer beyond this size is spilled.
const LARGE: usize = 8 << 20;

impl Txn {
    /// Spills a large write buffer into replicated intents. To be called now and then by statements that write much,
    /// but not while they scan what they write: spilled rows are seen by scans that have begun before.
    pub async fn flush_if_large(&self) -> TxnResult<()> {
        if self.lock_state().buffer.bytes() < LARGE {
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
            self.heartbeat().await?;
        }
        self.remember_overwritten().await?;
        for _ in 0..MAX_TRIES {
            let (writes, header, locked) = {
                let mut state = self.lock_state();
                state.check_active()?;
                state.meta.sequence += 1;
                let writes = state.buffer.writes_in_tables();
                state.buffer.note_spilling(&writes);
                (writes, state.header(WaitPolicy::Block), state.locked.clone())
            };
            let sent = self.router().fan_out(writes, |writes: &[Write]| BatchRequest {
                header: header.clone(),
                requests: vec![put_intents(writes, &locked)],
            });
            match sent.await.into_result() {
                Ok(done) => {
                    let mut state = self.lock_state();
                    for (writes, response) in done {
                        state.meta.write_ts.forward(response.ts);
                        state.buffer.note_spilled(&writes);
                        // From now on the intents protect these rows.
                        let written =
                            |r: &RefreshSpan| writes.binary_search_by(|(k, _)| k.cmp(&r.span.start)).is_ok();
                        state.locked.retain(|r| !(r.span.is_point() && written(r)));
                    }
                    return Ok(());
                }
                Err(e @ KvError::RefreshFailed { .. }) => return Err(self.refresh_error(e)),
                Err(e) => self.react(e).await?,
            }
        }
        Err(too_many_tries())
    }

    /// A savepoint may need what an intent says that is about to be overwritten.
    async fn remember_overwritten(&self) -> TxnResult<()> {
        let keys = self.lock_state().buffer.needed_before_spilling();
        if keys.is_empty() {
            return Ok(());
        }
        let header = self.lock_state().header(WaitPolicy::Block);
        let sent = self.router().fan_out(keys, |keys: &[Key]| BatchRequest {
            header: header.clone(),
            requests: keys.iter().map(|key| Request::Get { key: key.clone(), lock: None }).collect(),
        });
        for (keys, response) in sent.await.into_result()? {
            for (key, answer) in keys.iter().zip(response.responses) {
                let value: Option<Bytes> = match answer {
                    Response::Get { value, .. } => value,
                    _ => return Err(KvError::internal("a read was answered with something else").into()),
                };
                self.lock_state().buffer.remember(key, value);
            }
        }
        Ok(())
    }

    /// Removes the intents of writes that were rolled back, and, for an old transaction that is about to take its first
    /// lock, writes the record: a lock without a record must not look abandoned.
    pub(super) async fn settle(&self, locking: bool) -> TxnResult<()> {
        let (record, void, header) = {
            let mut state = self.lock_state();
            let record = locking && !state.has_record && state.locks.is_empty() && self.is_old(&state);
            let void = state.buffer.void();
            if !void.is_empty() {
                state.meta.sequence += 1;
            }
            (record, void, state.header(WaitPolicy::Block))
        };
        if record {
            self.heartbeat().await?;
        }
        if void.is_empty() {
            return Ok(());
        }
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

/// Rows that were read under a lock must still be as they were when their intents are written.
pub(super) fn put_intents(writes: &[Write], locked: &[RefreshSpan]) -> Request {
    let written = |r: &&RefreshSpan| {
        r.span.is_point() && writes.binary_search_by(|(k, _)| k.cmp(&r.span.start)).is_ok()
    };
    let refresh = locked.iter().filter(written).cloned().collect();
    Request::PutIntents { writes: writes.to_vec(), refresh }
}
