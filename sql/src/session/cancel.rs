//! Stopping a running statement from outside: cancel requests, statement timeouts, shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// One session's switch. The executor looks at the flag once per batch; what waits is woken.
#[derive(Default)]
pub struct CancelHandle {
    flag: Arc<AtomicBool>,
    waker: AtomicWaker,
}

impl CancelHandle {
    /// Stops the statement that runs now; without effect when none does.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// When the client asks for something to be run, once: a request that came while nothing ran is void, one that comes
    /// between the parts of what runs is not.
    pub fn clear(&self) {
        self.flag.store(false, Ordering::SeqCst);
    }

    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// For use in the poll function of what runs.
    pub fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}
