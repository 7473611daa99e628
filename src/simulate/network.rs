//! The network between the simulated machines: both transports of the real system, with the real codecs.
//!
//! Batches between stores are delayed, lost, repeated and overtaken one by one. Calls of the transaction layer travel as on
//! a connection: they overtake one another, but what is lost takes its connection along, and then every call in flight
//! between the two machines fails some time later, its effect unknown. A machine that is down, or known to be out of reach,
//! refuses at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use meridian_storage::base::{BoxFuture, NodeId, Runtime};
use meridian_storage::store::testing::Chance;
use meridian_storage::store::{MessageBatch, RaftTransport, StoreHandle};
use meridian_txn::rpc::{self, KvTransport, Sender, TransportError};
use meridian_txn::testing::{Process, SimRuntime};
use parking_lot::Mutex;

use super::trace::{Trace, hash};

/// How good the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of ten thousand batches between stores, how many are lost; calls lose their connection a tenth as often.
    pub lost_per_10k: u64,
    pub repeated_per_10k: u64,
    /// Of ten thousand messages, how many take twenty times as long.
    pub slow_per_10k: u64,
    pub delay_min: Duration,
    pub delay_max: Duration,
}

/// How messages reach a machine that is up.
#[derive(Clone)]
pub struct Doors {
    pub store: StoreHandle,
    pub process: Process,
    pub kv: Arc<dyn Sender>,
}

type Reply = oneshot::Sender<Result<Bytes, TransportError>>;

struct Call {
    from: NodeId,
    to: NodeId,
    reply: Reply,
}

struct State {
    chance: Chance,
    weather: Weather,
    /// Directed: nothing passes from the first to the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    up: BTreeMap<NodeId, Doors>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
}

#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    runtime: SimRuntime,
    trace: Trace,
    state: Mutex<State>,
}

impl Network {
    pub fn new(runtime: SimRuntime, trace: Trace, weather: Weather) -> Self {
        let state = State {
            chance: Chance::new(runtime.random()),
            weather,
            cut: BTreeSet::new(),
            up: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
        };
        Network(Arc::new(Inner { runtime, trace, state: Mutex::new(state) }))
    }

    /// The machine's own end of the network.
    pub fn port(&self, node: NodeId) -> Arc<Port> {
        Arc::new(Port { network: self.clone(), node })
    }

    pub fn connect(&self, node: NodeId, doors: Doors) {
        self.0.state.lock().up.insert(node, doors);
    }

    /// The machine is down: calls to it and from it come to nothing.
    pub fn disconnect(&self, node: NodeId) {
        self.0.state.lock().up.remove(&node);
        self.break_calls(|c| c.from == node || c.to == node);
    }

    /// Lets go of all machines, which hold their ends of this network.
    pub fn shut_down(&self) {
        // Outside the lock: what is dropped may have a last word.
        let (up, calls) = {
            let mut state = self.0.state.lock();
            (std::mem::take(&mut state.up), std::mem::take(&mut state.calls))
        };
        drop((up, calls));
    }

    /// Nothing passes from `from` to `to` any more; connections between the two break.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.0.state.lock().cut.insert((from, to));
        self.break_calls(|c| (c.from, c.to) == (from, to) || (c.to, c.from) == (from, to));
    }

    /// Undoes [`cut`](Self::cut).
    pub fn mend(&self, from: NodeId, to: NodeId) {
        self.0.state.lock().cut.remove(&(from, to));
    }

    pub fn heal(&self) {
        self.0.state.lock().cut.clear();
    }

    pub fn set_weather(&self, weather: Weather) {
        self.0.state.lock().weather = weather;
    }

    /// Each call concerned hears of it in its own time.
    fn break_calls(&self, concerned: impl Fn(&Call) -> bool) {
        let mut broken = Vec::new();
        {
            let mut state = self.0.state.lock();
            let ids: Vec<u64> = state.calls.iter().filter(|(_, c)| concerned(c)).map(|(id, _)| *id).collect();
            for id in ids {
                let after = Duration::from_micros(1000 + state.chance.below(1_500_000));
                broken.extend(state.calls.remove(&id).map(|c| (c, after)));
            }
        }
        for (call, after) in broken {
            self.later(after, move |_| {
                // A caller that has gone needs no answer.
                let _ = call.reply.send(Err(TransportError::Lost("the connection broke".into())));
            });
        }
    }

    fn later(&self, after: Duration, deed: impl FnOnce(&Network) + Send + 'static) {
        let (network, sleep) = (self.clone(), self.0.runtime.sleep(after));
        self.0.runtime.spawn(
            "network",
            Box::pin(async move {
                sleep.await;
                deed(&network);
            }),
        );
    }

    fn send_raft(&self, batch: &MessageBatch) {
        let (from, to) = (batch.from, batch.to);
        let bytes = Bytes::from(batch.encode());
        let mut copies = Vec::new();
        {
            let mut state = self.0.state.lock();
            let w = state.weather;
            if state.chance.below(10_000) < w.lost_per_10k {
                self.0.trace.say(format_args!("lost {from}>{to}"));
                return;
            }
            copies.push(state.delay());
            if state.chance.below(10_000) < w.repeated_per_10k {
                copies.push(state.delay());
            }
        }
        for delay in copies {
            let bytes = bytes.clone();
            self.later(delay, move |network| network.deliver_raft(from, to, bytes));
        }
    }

    fn deliver_raft(&self, from: NodeId, to: NodeId, bytes: Bytes) {
        let store = {
            let state = self.0.state.lock();
            if state.cut.contains(&(from, to)) {
                return;
            }
            state.up.get(&to).map(|d| d.store.clone())
        };
        if let Some(store) = store {
            self.0.trace.say(format_args!("raft {from}>{to} {:016x}", hash(&bytes)));
            store.receive(MessageBatch::decode(bytes).expect("what was encoded"));
        }
    }

    async fn call(self, from: NodeId, to: NodeId, request: Bytes) -> Result<Bytes, TransportError> {
        let started = {
            let mut state = self.0.state.lock();
            let reachable = state.up.contains_key(&to) && !state.is_cut(from, to);
            if reachable {
                let (reply, answer) = oneshot::channel();
                let id = state.next_call;
                state.next_call += 1;
                state.calls.insert(id, Call { from, to, reply });
                let breaks = state.chance.below(100_000) < state.weather.lost_per_10k;
                Ok((id, answer, state.delay(), breaks))
            } else {
                Err(state.delay())
            }
        };
        let (id, answer, delay, breaks) = match started {
            Ok(started) => started,
            Err(delay) => {
                self.0.runtime.sleep(delay).await;
                return Err(TransportError::NotSent(format!("{to} cannot be reached")));
            }
        };
        if breaks {
            self.0.trace.say(format_args!("broken {from}-{to}"));
            self.break_calls(|c| (c.from, c.to) == (from, to) || (c.to, c.from) == (from, to));
        } else {
            self.later(delay, move |network| network.deliver_call(id, request));
        }
        answer.await.unwrap_or_else(|_| Err(TransportError::Lost("the call was forgotten".into())))
    }

    fn deliver_call(&self, id: u64, request: Bytes) {
        let (from, to, doors) = {
            let state = self.0.state.lock();
            // A call whose connection broke on the way never arrives.
            let Some(call) = state.calls.get(&id) else { return };
            let Some(doors) = state.up.get(&call.to) else { return };
            (call.from, call.to, doors.clone())
        };
        self.0.trace.say(format_args!("call {id} {from}>{to} {:016x}", hash(&request)));
        let (network, kv) = (self.clone(), doors.kv);
        let answer = async move {
            let reply = rpc::serve(&*kv, request).await;
            let delay = network.0.state.lock().delay();
            network.later(delay, move |network| network.deliver_reply(id, reply));
        };
        doors.process.spawn("serve", Box::pin(answer));
    }

    fn deliver_reply(&self, id: u64, reply: Bytes) {
        let Some(call) = self.0.state.lock().calls.remove(&id) else { return };
        self.0.trace.say(format_args!("reply {id} {}>{} {:016x}", call.to, call.from, hash(&reply)));
        let _ = call.reply.send(Ok(reply));
    }
}

impl State {
    fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }

    fn delay(&mut self) -> Duration {
        let w = self.weather;
        let spread = (w.delay_max - w.delay_min).as_nanos() as u64;
        let delay = w.delay_min + Duration::from_nanos(self.chance.below(spread));
        if self.chance.below(10_000) < w.slow_per_10k { delay * 20 } else { delay }
    }
}

/// What a machine sends through.
pub struct Port {
    network: Network,
    node: NodeId,
}

impl RaftTransport for Port {
    fn send(&self, batch: MessageBatch) {
        assert_eq!(batch.from, self.node, "a store speaks for itself");
        self.network.send_raft(&batch);
    }
}

impl KvTransport for Port {
    fn call(&self, to: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        Box::pin(self.network.clone().call(self.node, to, request))
    }
}
