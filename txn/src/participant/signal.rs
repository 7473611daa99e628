//! An event that happens once and may be awaited by many: a latch is released, a lock queue moves.
//!
//! What must stay true: once [`Signal::set`] has returned, every waiter registered before it has been woken and every
//! later [`Signal::wait`] resolves at once. Dropping a waiting future leaves at most a stale waker behind.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;

#[derive(Default)]
pub struct Signal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    set: bool,
    wakers: SmallVec<[Waker; 2]>,
}

impl Signal {
    pub fn set(&self) {
        let wakers = {
            let mut state = self.state.lock();
            state.set = true;
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    pub fn is_set(&self) -> bool {
        self.state.lock().set
    }

    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.set {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn wakes_those_who_wait_and_those_who_come_late() {
        let signal = Signal::default();
        let mut early = Box::pin(signal.wait());
        assert!((&mut early).now_or_never().is_none());
        signal.set();
        assert!(early.now_or_never().is_some());
        assert!(signal.wait().now_or_never().is_some());
    }
}
