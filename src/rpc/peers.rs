//! The outgoing side: a stream to every node that we talk to, opened on first use and again after it breaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, NodeId};
use meridian_txn::rpc::TransportError;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::generated::node_client::NodeClient;
use super::proto::{Ask, Frame, FrameKind, Hello, Request, Response};

/// Frames that may wait for one peer. Raft frames beyond are dropped, requests refused.
const QUEUE: usize = 4096;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an address that did not answer is left alone.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The largest message: a snapshot chunk or a scan's block, with room.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Who we are, to others.
#[derive(Clone)]
pub struct Identity {
    pub cluster: String,
    pub node: NodeId,
}

pub struct Peers {
    identity: Identity,
    /// Messages are sent from the store's thread too, which is no task of the runtime.
    runtime: tokio::runtime::Handle,
    addresses: RwLock<BTreeMap<NodeId, String>>,
    streams: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    /// For unary calls: connected when they are used.
    channels: Mutex<BTreeMap<NodeId, (String, Channel)>>,
}

/// One stream, in whatever state.
struct Peer {
    queue: mpsc::Sender<Frame>,
    pending: Arc<Pending>,
    /// The stream's task has ended: the address may be dialled again.
    over: Arc<AtomicBool>,
}

/// Requests that wait for their response; failed all at once when the stream breaks.
#[derive(Default)]
struct Pending {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Result<Bytes, TransportError>>>>,
}

impl Pending {
    fn fail_all(&self, why: &TransportError) {
        for (_, waiter) in std::mem::take(&mut *self.waiting.lock()) {
            let _ = waiter.send(Err(why.clone()));
        }
    }
}

impl Peers {
    /// For use inside a tokio runtime, on which the streams will run.
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Peers {
            identity,
            runtime: tokio::runtime::Handle::current(),
            addresses: RwLock::default(),
            streams: Mutex::default(),
            channels: Mutex::default(),
        })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn set_address(&self, node: NodeId, address: &str) {
        let old = self.addresses.write().insert(node, address.to_string());
        if old.is_some_and(|old| old != address) {
            // Whoever answers at the old address is not this node any more.
            self.streams.lock().remove(&node);
        }
    }

    pub fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.read().get(&node).cloned()
    }

    /// Every node whose address is known, but this one.
    pub fn others(&self) -> Vec<NodeId> {
        self.addresses.read().keys().copied().filter(|n| *n != self.identity.node).collect()
    }

    /// Sends a batch of Raft envelopes, if it can be done at once.
    pub fn send_raft(self: &Arc<Self>, to: NodeId, body: Bytes) {
        if let Some(peer) = self.peer(to) {
            let _ = peer.queue.try_send(Frame { kind: FrameKind::Raft as i32, id: 0, body });
        }
    }

    /// Sends a key-value request and waits for its response.
    pub fn call(
        self: &Arc<Self>,
        to: NodeId,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let Some(peer) = self.peer(to) else {
            return Box::pin(async move {
                Err(TransportError::NotSent(format!("the address of {to} is not known")))
            });
        };
        Box::pin(async move {
            let id = peer.pending.next.fetch_add(1, Ordering::Relaxed);
            let (tx, rx) = oneshot::channel();
            peer.pending.waiting.lock().insert(id, tx);
            // A request that is given up takes its place in the table along.
            let _guard = Forget { pending: peer.pending.clone(), id };
            if peer.queue.send(Frame { kind: FrameKind::KvRequest as i32, id, body }).await.is_err() {
                return Err(TransportError::NotSent(format!("no connection to {to}")));
            }
            match rx.await {
                Ok(result) => result,
                Err(_) => Err(TransportError::Lost(format!("connection to {to} ended"))),
            }
        })
    }

    /// A unary call to a node of the cluster.
    pub async fn ask(&self, to: NodeId, ask: Ask, timeout: Duration) -> Result<Response, String> {
        let address = self.address(to).ok_or_else(|| format!("the address of {to} is not known"))?;
        let channel = {
            let mut channels = self.channels.lock();
            match channels.get(&to) {
                Some((a, channel)) if *a == address => channel.clone(),
                _ => {
                    let channel = endpoint(&address).map_err(|e| e.to_string())?.connect_lazy();
                    channels.insert(to, (address, channel.clone()));
                    channel
                }
            }
        };
        let request = Request { cluster: self.identity.cluster.clone(), ask: Some(ask) };
        let mut client = client(channel);
        match tokio::time::timeout(timeout, client.call(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(e)) => Err(e.message().to_string()),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    }

    fn peer(self: &Arc<Self>, to: NodeId) -> Option<Arc<Peer>> {
        let mut streams = self.streams.lock();
        if let Some(peer) = streams.get(&to)
            && !peer.over.load(Ordering::Acquire)
        {
            return Some(peer.clone());
        }
        let address = self.address(to)?;
        let (tx, rx) = mpsc::channel(QUEUE);
        let pending = Arc::new(Pending::default());
        let over = Arc::new(AtomicBool::new(false));
        let peer = Arc::new(Peer { queue: tx, pending: pending.clone(), over: over.clone() });
        streams.insert(to, peer.clone());
        let stream = stream(self.identity.clone(), to, address, rx, pending);
        self.runtime.spawn(async move {
            stream.await;
            over.store(true, Ordering::Release);
        });
        Some(peer)
    }
}

struct Forget {
    pending: Arc<Pending>,
    id: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.pending.waiting.lock().remove(&self.id);
    }
}

/// Runs one stream to its end, then fails what waited for it.
async fn stream(
    identity: Identity,
    to: NodeId,
    address: String,
    mut queue: mpsc::Receiver<Frame>,
    pending: Arc<Pending>,
) {
    let end = match connect(&address).await {
        Err(e) => {
            tracing::debug!(%to, address, error = %e, "cannot connect");
            queue.close();
            let end = TransportError::NotSent(format!("{to} at {address}: {e}"));
            pending.fail_all(&end);
            // The queue stays closed for a moment, so that a dead address is not dialled for each message.
            tokio::time::sleep(RETRY_AFTER).await;
            end
        }
        Ok(channel) => run(identity, to, channel, &mut queue, &pending).await,
    };
    queue.close();
    pending.fail_all(&end);
}

async fn run(
    identity: Identity,
    to: NodeId,
    channel: Channel,
    queue: &mut mpsc::Receiver<Frame>,
    pending: &Arc<Pending>,
) -> TransportError {
    let hello = Hello { cluster: identity.cluster.clone(), from: identity.node.0, to: to.0 };
    let (tx, rx) = mpsc::channel(64);
    let first = Frame { kind: FrameKind::Hello as i32, id: 0, body: hello.encode_to_vec().into() };
    if tx.send(first).await.is_err() {
        return TransportError::NotSent(format!("no connection to {to}"));
    }
    let mut client = client(channel);
    let mut answers = match client.exchange(ReceiverStream::new(rx)).await {
        Ok(r) => r.into_inner(),
        Err(e) => return TransportError::NotSent(format!("{to}: {}", e.message())),
    };
    loop {
        tokio::select! {
            biased;
            answer = answers.message() => match answer {
                Ok(Some(frame)) => {
                    if let Some(waiter) = pending.waiting.lock().remove(&frame.id) {
                        let _ = waiter.send(Ok(frame.body));
                    }
                }
                Ok(None) => return TransportError::Lost(format!("{to} closed the connection")),
                Err(e) => return TransportError::Lost(format!("{to}: {}", e.message())),
            },
            frame = queue.recv() => match frame {
                Some(frame) => {
                    if tx.send(frame).await.is_err() {
                        return TransportError::Lost(format!("connection to {to} ended"));
                    }
                }
                None => return TransportError::Lost(format!("connection to {to} was given up")),
            },
        }
    }
}

fn client(channel: Channel) -> NodeClient<Channel> {
    NodeClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    endpoint(address)?.connect().await
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // A peer that vanished without a word is found out by these.
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20))
}

/// A unary call to an address, for nodes that are not (yet) peers.
pub async fn call_address(address: &str, request: Request, timeout: Duration) -> Result<Response, String> {
    let call = async {
        let channel = connect(address).await.map_err(|e| {
            let mut text = e.to_string();
            let mut source = std::error::Error::source(&e);
            while let Some(s) = source {
                text = format!("{text}: {s}");
                source = s.source();
            }
            text
        })?;
        let answer = client(channel).call(request).await.map_err(|e| e.message().to_string())?;
        Ok(answer.into_inner())
    };
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}
