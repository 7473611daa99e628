//! A runtime with one thread, virtual time and one seed: what happens in it happens again.
//!
//! Tasks that are ready run in the order in which they became ready. When none is, time jumps to the next timer. When
//! there is no timer either, nothing can ever go on: that is a deadlock in the code under test, and a panic.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use meridian_storage::base::clock::ManualClock;
use meridian_storage::base::{BoxFuture, PhysicalClock, Runtime};
use parking_lot::Mutex;

/// The task that `block_on` was called with.
const MAIN: u64 = 0;

#[derive(Clone)]
pub struct SimRuntime {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
    ready: Mutex<VecDeque<u64>>,
}

struct State {
    next_id: u64,
    tasks: BTreeMap<u64, BoxFuture<'static, ()>>,
    timers: BTreeMap<(Duration, u64), Waker>,
    random: u64,
}

impl SimRuntime {
    pub fn new(seed: u64) -> Self {
        let clock = ManualClock::new(1_700_000_000_000_000_000);
        let state = State {
            next_id: 1,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
        };
        SimRuntime {
            shared: Arc::new(Shared { clock, state: Mutex::new(state), ready: Mutex::new(VecDeque::new()) }),
        }
    }

    /// The clock that the timers go by.
    pub fn clock(&self) -> Arc<ManualClock> {
        self.shared.clock.clone()
    }

    /// Runs `main` to its end, and everything that was spawned as far as it gets meanwhile.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        futures::pin_mut!(main);
        self.shared.ready.lock().push_back(MAIN);
        loop {
            match self.next_ready() {
                Some(MAIN) => {
                    let waker = self.waker(MAIN);
                    if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return value;
                    }
                }
                Some(id) => self.poll_task(id),
                None => assert!(self.fire_next_timer(), "deadlock: no task can go on, and no timer is set"),
            }
        }
    }

    /// Runs what is ready, without letting time pass.
    pub fn run_until_stalled(&self) {
        while let Some(id) = self.next_ready() {
            if id != MAIN {
                self.poll_task(id);
            }
        }
    }

    /// Lets `d` pass.
    pub fn run_for(&self, d: Duration) {
        let end = self.shared.clock.monotonic() + d;
        loop {
            self.run_until_stalled();
            let first = self.shared.state.lock().timers.first_key_value().map(|((at, _), _)| *at);
            if first.is_none_or(|at| at > end) {
                break;
            }
            self.fire_next_timer();
        }
        let now = self.shared.clock.monotonic();
        if end > now {
            self.shared.clock.advance(end - now);
        }
    }

    fn next_ready(&self) -> Option<u64> {
        self.shared.ready.lock().pop_front()
    }

    fn waker(&self, id: u64) -> Waker {
        Arc::new(TaskWaker { id, shared: self.shared.clone() }).into()
    }

    fn poll_task(&self, id: u64) {
        let Some(mut task) = self.shared.state.lock().tasks.remove(&id) else { return };
        let waker = self.waker(id);
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.shared.state.lock().tasks.insert(id, task);
        }
    }

    fn fire_next_timer(&self) -> bool {
        let first = self.shared.state.lock().timers.pop_first();
        let Some(((at, _), waker)) = first else { return false };
        let now = self.shared.clock.monotonic();
        if at > now {
            self.shared.clock.advance(at - now);
        }
        waker.wake();
        true
    }
}

struct TaskWaker {
    id: u64,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.shared.ready.lock();
        if !ready.contains(&self.id) {
            ready.push_back(self.id);
        }
    }
}

impl Runtime for SimRuntime {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        let id = {
            let mut state = self.shared.state.lock();
            let id = state.next_id;
            state.next_id += 1;
            state.tasks.insert(id, task);
            id
        };
        self.shared.ready.lock().push_back(id);
    }

    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.shared.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        let key = (self.shared.clock.monotonic() + d, id);
        Box::pin(Sleep { shared: self.shared.clone(), key })
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Sleep {
    shared: Arc<Shared>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.clock.monotonic() >= self.key.0 {
            return Poll::Ready(());
        }
        self.shared.state.lock().timers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.shared.state.lock().timers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_to_the_next_timer() {
        let rt = SimRuntime::new(1);
        let log = Arc::new(Mutex::new(Vec::new()));
        for (name, ms) in [("b", 20), ("a", 10)] {
            let (log, sleep) = (log.clone(), rt.sleep(Duration::from_millis(ms)));
            rt.spawn(
                "test",
                Box::pin(async move {
                    sleep.await;
                    log.lock().push(name);
                }),
            );
        }
        let before = rt.clock().wall_ns();
        rt.block_on(rt.sleep(Duration::from_millis(30)));
        assert_eq!(*log.lock(), ["a", "b"]);
        assert_eq!(rt.clock().wall_ns() - before, 30_000_000);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn waiting_for_nothing_is_noticed() {
        SimRuntime::new(1).block_on(futures::future::pending::<()>());
    }
}
