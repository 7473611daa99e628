//! Finishing a transaction that somebody else began, or that nobody knows the outcome of.
//!
//! A staging record is decided by its in-flight writes: each is asked for, which at the same time makes sure that a
//! missing one stays missing. Then the record is made to say what is the case. Any number may do that at once: they
//! come to the same result, because the first explicit decision in the record is final.

use futures::future::join_all;
use meridian_storage::base::{BoxFuture, Key};

use crate::record::{TxnRecord, TxnStatus};
use crate::rpc::{BatchRequest, BatchResponse, Header, KvError, Request, Response, TxnMeta};

/// Sends a batch to whichever range holds `key`: what ranges ask of each other.
pub trait KeySender: Send + Sync + 'static {
    fn send_to_key<'a>(
        &'a self,
        key: &'a Key,
        batch: BatchRequest,
    ) -> BoxFuture<'a, Result<BatchResponse, KvError>>;
}

/// Brings the record of `txn` to a final state if it can be, and answers it.
///
/// `in_flight`: for the coordinator itself, who knows the list even where the record was never written; an absent
/// record then becomes an aborted one. For all others the record says it, and an absent record is `None`.
pub async fn settle(
    sender: &dyn KeySender,
    txn: &TxnMeta,
    in_flight: Option<&[Key]>,
) -> Result<Option<TxnRecord>, KvError> {
    let record = query(sender, txn).await?;
    let (staged, keys) = match (&record, in_flight) {
        (Some(r), _) if r.status.is_final() => return Ok(record),
        (Some(r), _) if r.status == TxnStatus::Staging => (r.meta.clone(), r.in_flight.clone()),
        (_, Some(keys)) => (txn.clone(), keys.to_vec()),
        _ => return Ok(record),
    };
    let answers = join_all(keys.iter().map(|key| found(sender, key, &staged))).await;
    let mut all_found = true;
    for answer in answers {
        all_found &= answer?;
    }
    let recover = Request::RecoverTxn { txn: staged.clone(), all_found };
    match one(sender, &staged.anchor, recover).await? {
        Response::Record { record, .. } => Ok(record.map(|r| *r)),
        _ => Err(KvError::internal("a recovery was answered with something else")),
    }
}

async fn query(sender: &dyn KeySender, txn: &TxnMeta) -> Result<Option<TxnRecord>, KvError> {
    match one(sender, &txn.anchor, Request::QueryTxn { txn: txn.clone() }).await? {
        Response::Record { record, .. } => Ok(record.map(|r| *r)),
        _ => Err(KvError::internal("a query was answered with something else")),
    }
}

async fn found(sender: &dyn KeySender, key: &Key, txn: &TxnMeta) -> Result<bool, KvError> {
    match one(sender, key, Request::QueryIntent { key: key.clone(), txn: txn.clone() }).await? {
        Response::Found { found } => Ok(found),
        _ => Err(KvError::internal("a query was answered with something else")),
    }
}

async fn one(sender: &dyn KeySender, key: &Key, request: Request) -> Result<Response, KvError> {
    let batch = BatchRequest { header: Header::default(), requests: vec![request] };
    let mut response = sender.send_to_key(key, batch).await?;
    response.responses.pop().ok_or_else(|| KvError::internal("a response is missing"))
}
