//! What a coordinator reports of commits that others have decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use meridian_storage::base::{BoxFuture, NodeId, Timestamp};

use super::*;
use crate::participant::{NodeLiveness, Participant};
use crate::record::Standing;
use crate::route::RouterParts;
use crate::rpc::{KvTransport, Request, TransportError, codec, serve};
use crate::testing::{FixedSeeds, first_range};

/// The answer to one of the writes is lost. Before it is sent again, somebody who takes the coordinator for dead has found
/// everything there, and ended the transaction: what comes again is refused.
#[test]
fn a_write_that_is_refused_may_be_that_of_a_commit() {
    let runtime = SimRuntime::new(1);
    let clock = Hlc::new(runtime.clock(), Duration::ZERO, true);
    let node = local_node(&runtime, clock.clone());
    node.participant.set_liveness(Arc::new(Gone));
    let network = Arc::new(Meddler {
        participant: node.participant.clone(),
        db: node.db.clone(),
        puts: AtomicU32::new(0),
    });
    let there = Db::new(RouterParts {
        node: NodeId(2),
        clock,
        runtime: Arc::new(runtime.clone()),
        transport: Arc::new(Wire(network.clone())),
        seeds: Arc::new(FixedSeeds(first_range())),
    });
    runtime.block_on(async {
        node.db.split_at(table("m")).await.expect("split");
        let txn = begin(&there);
        txn.put(table("a"), "1".into());
        txn.put(table("x"), "1".into());
        txn.commit().await.expect("somebody has read what it wrote");
        assert!(txn.is_committed());
        assert_eq!(network.puts.load(Ordering::SeqCst), 2);
        assert_eq!(read(&node.db, &table("a")).await.as_deref(), Some("1"));
    });
}

/// Everybody believes that node 2 was restarted.
struct Gone;

impl NodeLiveness for Gone {
    fn standing(&self, node: NodeId, _: Timestamp) -> Standing {
        if node == NodeId(2) { Standing::Restarted } else { Standing::Alive }
    }
}

/// Between node 2 and node 1, where the ranges are.
struct Meddler {
    participant: Arc<Participant>,
    db: Db,
    puts: AtomicU32,
}

struct Wire(Arc<Meddler>);

impl KvTransport for Wire {
    fn call(&self, _: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let meddler = self.0.clone();
        Box::pin(async move {
            let batch = codec::decode_request(request.clone()).expect("well formed");
            let put = matches!(batch.requests[..], [Request::PutIntents { .. }]);
            let nth = if put { meddler.puts.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
            if nth == 2 {
                assert_eq!(read(&meddler.db, &table("x")).await.as_deref(), Some("1"));
            }
            let answer = serve(&*meddler.participant, request).await;
            if nth == 1 { Err(TransportError::Lost("the first".into())) } else { Ok(answer) }
        })
    }
}
