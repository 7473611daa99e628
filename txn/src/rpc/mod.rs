//! The key-value protocol between the coordinator (at the gateway) and the participant (at the leaseholder).
//!
//! A [`BatchRequest`] is for one range and is answered wholly: by a [`BatchResponse`] with one response for each
//! request, or by a [`KvError`]. Within a process it travels as it is; between nodes as bytes ([`codec`]).
//!
//! What must stay true:
//! - An error other than [`KvError::Ambiguous`] means that nothing of the batch was or will be replicated. In-memory
//!   locks may have been taken; they are kept until the transaction ends or gives them up.
//! - Dropping the future of [`Sender::send`] gives up waiting for locks, but does not recall what was proposed.
//! - Times travel with every message and move the receiver's clock: effect follows cause on all clocks.

pub mod wire;
pub mod block;
pub mod header;
pub mod request;
pub mod response;
pub mod error;
pub mod codec;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, Key, NodeId};

pub use block::{KvBlock, KvBlockBuilder};
pub use error::{AbortReason, KvError, TransportError};
pub use header::{Header, Isolation, LockStrength, TxnMeta, WaitPolicy};
pub use request::{
    BatchRequest, EndKind, IntentSpan, PushKind, RefreshSpan, Request, Resolution, WaitEdge, Write,
};
pub use response::{BatchResponse, OldLock, RangeStats, Response};

/// Evaluates a batch whose range is known: the participant of this node.
pub trait Sender: Send + Sync + 'static {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse, KvError>>;

    /// The hot path: answers at once, without a future, if that needs no waiting (a read on a range that is led here,
    /// with nothing in its way). `None`: nothing has happened, use [`send`](Self::send).
    fn try_send_local(&self, batch: &BatchRequest) -> Option<Result<BatchResponse, KvError>> {
        let _ = batch;
        None
    }
}

/// Finds the range that holds a key and sends it a batch: the router. The participant uses it to ask about the records of
/// transactions that are in the way, wherever they are.
pub trait KeySender: Send + Sync + 'static {
    /// Fills in the routing part of the header. All requests must be for the range that holds `key`.
    fn send_to_key(
        &self,
        key: Key,
        batch: BatchRequest,
    ) -> BoxFuture<'static, Result<BatchResponse, KvError>>;

    /// Resolves the intents that `txn` has in the spans, whichever ranges hold them.
    fn resolve_spans(
        &self,
        header: Header,
        txn: &TxnMeta,
        to: Resolution,
        spans: Vec<IntentSpan>,
    ) -> BoxFuture<'static, Result<(), KvError>>;
}

/// Carries encoded batches to other nodes: gRPC streams in production, a simulated network in tests.
///
/// The other side passes the bytes to [`serve`] and sends back what it answers.
pub trait KvTransport: Send + Sync + 'static {
    fn call(&self, to: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// Answers an encoded batch from another node.
pub async fn serve(local: &dyn Sender, request: Bytes) -> Bytes {
    let reply = match codec::decode_request(request) {
        Ok(batch) => local.send(batch).await,
        Err(malformed) => Err(KvError::internal(malformed.to_string())),
    };
    codec::encode_reply(reply)
}
