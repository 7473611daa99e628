//! A runtime with one thread, virtual time and one seed: what happens in it happens again.
//!
//! Tasks that are ready run in the order in which they became ready or, if asked for, in an order that the seed chooses.
//! When none is, time jumps to the next timer. When there is no timer either, nothing can ever go on: that is a deadlock
//! in the code under test, and a panic.
//!
//! A simulated machine is a [`Process`]: its tasks can be stopped for a while, and die together.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
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
    tasks: BTreeMap<u64, Task>,
    timers: BTreeMap<(Duration, u64), Waker>,
    random: u64,
    /// Chooses the next of the tasks that are ready; `None`: the first.
    order: Option<u64>,
    /// Over every step so far: which task, when.
    fingerprint: u64,
}

struct Task {
    future: BoxFuture<'static, ()>,
    life: Arc<Life>,
}

/// What the tasks of a process share.
#[derive(Default)]
struct Life {
    state: AtomicU8,
    /// Woken while the process was stopped.
    parked: Mutex<Vec<u64>>,
}

const RUNS: u8 = 0;
const STOPPED: u8 = 1;
const DEAD: u8 = 2;

impl SimRuntime {
    pub fn new(seed: u64) -> Self {
        let clock = ManualClock::new(1_700_000_000_000_000_000);
        let state = State {
            next_id: 1,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            order: None,
            fingerprint: 0,
        };
        SimRuntime {
            shared: Arc::new(Shared { clock, state: Mutex::new(state), ready: Mutex::new(VecDeque::new()) }),
        }
    }

    /// As [`SimRuntime::new`]; which of several tasks that are ready goes first is left to the seed, too.
    pub fn shuffled(seed: u64) -> Self {
        let runtime = Self::new(seed);
        runtime.shared.state.lock().order = Some(seed.rotate_left(32) ^ 0x6a09_e667_f3bc_c909);
        runtime
    }

    /// A group of tasks with a life of its own.
    pub fn process(&self) -> Process {
        Process { runtime: self.clone(), life: Arc::default() }
    }

    /// A number that two runs share as long as they took the same steps at the same times.
    pub fn fingerprint(&self) -> u64 {
        let state = self.shared.state.lock();
        state.fingerprint ^ state.random
    }

    /// Drops all tasks, whoever they belong to.
    pub fn shut_down(&self) {
        loop {
            // Outside the lock: what is dropped may spawn, and sets timers free.
            let tasks = std::mem::take(&mut self.shared.state.lock().tasks);
            if tasks.is_empty() {
                return;
            }
            tasks.values().for_each(|t| t.life.state.store(DEAD, SeqCst));
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
        let mut ready = self.shared.ready.lock();
        let mut state = self.shared.state.lock();
        let next = match &mut state.order {
            Some(order) if ready.len() > 1 => {
                let at = split_mix(order) as usize % ready.len();
                ready.remove(at)
            }
            _ => ready.pop_front(),
        }?;
        let step = next ^ self.shared.clock.wall_ns().rotate_left(24);
        state.fingerprint = (state.fingerprint.rotate_left(5) ^ step).wrapping_mul(0x517c_c1b7_2722_0a95);
        Some(next)
    }

    fn waker(&self, id: u64) -> Waker {
        Arc::new(TaskWaker { id, shared: self.shared.clone() }).into()
    }

    fn poll_task(&self, id: u64) {
        let Some(mut task) = self.shared.state.lock().tasks.remove(&id) else { return };
        if task.life.state.load(SeqCst) == STOPPED {
            task.life.parked.lock().push(id);
            self.shared.state.lock().tasks.insert(id, task);
            return;
        }
        let waker = self.waker(id);
        let pending = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        if pending && task.life.state.load(SeqCst) != DEAD {
            self.shared.state.lock().tasks.insert(id, task);
        }
    }

    fn spawn_in(&self, life: &Arc<Life>, future: BoxFuture<'static, ()>) {
        if life.state.load(SeqCst) == DEAD {
            return;
        }
        let id = {
            let mut state = self.shared.state.lock();
            let id = state.next_id;
            state.next_id += 1;
            state.tasks.insert(id, Task { future, life: life.clone() });
            id
        };
        self.shared.ready.lock().push_back(id);
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
        self.spawn_in(&Arc::default(), task);
    }

    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.shared.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        let key = (self.shared.clock.monotonic() + d, id);
        Box::pin(Sleep { shared: self.shared.clone(), key })
    }

    fn random(&self) -> u64 {
        split_mix(&mut self.shared.state.lock().random)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The tasks of one simulated machine. Time and chance are those of its runtime.
#[derive(Clone)]
pub struct Process {
    runtime: SimRuntime,
    life: Arc<Life>,
}

impl Process {
    /// Drops all its tasks; what it spawns from now on never runs. Not to be called by one of them.
    pub fn kill(&self) {
        self.life.state.store(DEAD, SeqCst);
        let dead: Vec<Task> = {
            let mut state = self.runtime.shared.state.lock();
            let mine = |t: &Task| Arc::ptr_eq(&t.life, &self.life);
            let ids: Vec<u64> = state.tasks.iter().filter(|(_, t)| mine(t)).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| state.tasks.remove(id)).collect()
        };
        // Outside the lock: dropping a task sets its timers free.
        drop(dead);
    }

    /// Lets none of its tasks go on, while its clock does.
    pub fn pause(&self) {
        let _ = self.life.state.compare_exchange(RUNS, STOPPED, SeqCst, SeqCst);
    }

    pub fn resume(&self) {
        if self.life.state.compare_exchange(STOPPED, RUNS, SeqCst, SeqCst).is_ok() {
            let parked = std::mem::take(&mut *self.life.parked.lock());
            self.runtime.shared.ready.lock().extend(parked);
        }
    }

    pub fn is_paused(&self) -> bool {
        self.life.state.load(SeqCst) == STOPPED
    }
}

impl Runtime for Process {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.runtime.spawn_in(&self.life, task);
    }

    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(d)
    }

    fn random(&self) -> u64 {
        self.runtime.random()
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
    fn a_process_stops_and_dies_with_all_its_tasks() {
        let rt = SimRuntime::new(1);
        let process = rt.process();
        let beats = Arc::new(Mutex::new(0));
        let (counted, own) = (beats.clone(), process.clone());
        let beat = async move {
            loop {
                own.sleep(Duration::from_millis(10)).await;
                *counted.lock() += 1;
            }
        };
        process.spawn("beat", Box::pin(beat));
        rt.run_for(Duration::from_millis(35));
        assert_eq!(*beats.lock(), 3);
        process.pause();
        rt.run_for(Duration::from_millis(35));
        assert_eq!(*beats.lock(), 3, "stopped");
        process.resume();
        rt.run_for(Duration::from_millis(15));
        assert_eq!(*beats.lock(), 5, "one beat late, one in time");
        process.kill();
        rt.run_for(Duration::from_millis(35));
        assert_eq!(*beats.lock(), 5);
        assert_eq!(Arc::strong_count(&beats), 1, "its tasks are gone");
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn waiting_for_nothing_is_noticed() {
        SimRuntime::new(1).block_on(futures::future::pending::<()>());
    }
}
