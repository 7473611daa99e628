//! The incoming side: takes streams and calls from other nodes and hands them to the node.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use meridian_storage::base::{BoxFuture, NodeId};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};

use super::generated::node_server::{Node, NodeServer};
use super::peers::{Identity, MAX_MESSAGE_BYTES};
use super::proto::{Frame, FrameKind, Hello, Request, Response};

/// Larger messages come in pieces; HTTP/2's default is 16 KiB.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// What the node does with what arrives.
pub trait Handler: Send + Sync + 'static {
    /// Raft envelopes from another node; may be malformed.
    fn raft(&self, from: NodeId, body: Bytes);
    /// A key-value request; the answer carries errors inside.
    fn kv(&self, body: Bytes) -> BoxFuture<'static, Bytes>;
    fn call(&self, peer: Option<SocketAddr>, request: Request) -> BoxFuture<'_, Result<Response, String>>;
}

pub struct RpcServer {
    pub identity: Identity,
    pub handler: Arc<dyn Handler>,
}

impl RpcServer {
    /// Serves until `stop` resolves.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let service = NodeServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        // tonic sets this only for listeners of its own. Without it, an answer of more than one frame waits for an ACK.
        let incoming = TcpListenerStream::new(listener).map(|stream| {
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        });
        tonic::transport::Server::builder()
            .max_frame_size(MAX_FRAME_BYTES)
            .http2_keepalive_interval(Some(std::time::Duration::from_secs(2)))
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop)
            .await
    }

    fn greet(&self, frame: Option<Frame>) -> Result<NodeId, Status> {
        let hello = frame
            .filter(|f| f.kind == FrameKind::Hello as i32)
            .and_then(|f| Hello::decode(f.body).ok())
            .ok_or_else(|| Status::invalid_argument("a stream begins with a greeting"))?;
        if hello.cluster != self.identity.cluster {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {}, not to {}",
                self.identity.cluster, hello.cluster
            )));
        }
        if hello.to != self.identity.node.0 {
            return Err(Status::failed_precondition(format!(
                "this is node {}, not node {}",
                self.identity.node.0, hello.to
            )));
        }
        Ok(NodeId(hello.from))
    }
}

#[tonic::async_trait]
impl Node for RpcServer {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn exchange(
        &self,
        request: tonic::Request<Streaming<Frame>>,
    ) -> Result<tonic::Response<Self::ExchangeStream>, Status> {
        let mut frames = request.into_inner();
        let from = self.greet(frames.message().await?)?;
        let (tx, rx) = mpsc::channel(1024);
        let handler = self.handler.clone();
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                match FrameKind::try_from(frame.kind) {
                    Ok(FrameKind::Raft) => handler.raft(from, frame.body),
                    Ok(FrameKind::KvRequest) => {
                        let (handler, tx) = (handler.clone(), tx.clone());
                        tokio::spawn(async move {
                            let body = handler.kv(frame.body).await;
                            let answer = Frame { kind: FrameKind::KvResponse as i32, id: frame.id, body };
                            let _ = tx.send(Ok(answer)).await;
                        });
                    }
                    _ => tracing::debug!(%from, kind = frame.kind, "ignored a frame of unknown kind"),
                }
            }
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn call(&self, request: tonic::Request<Request>) -> Result<tonic::Response<Response>, Status> {
        let peer = request.remote_addr();
        let request = request.into_inner();
        if !request.cluster.is_empty() && request.cluster != self.identity.cluster {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {}, not to {}",
                self.identity.cluster, request.cluster
            )));
        }
        match self.handler.call(peer, request).await {
            Ok(answer) => Ok(tonic::Response::new(answer)),
            Err(e) => Err(Status::failed_precondition(e)),
        }
    }
}
