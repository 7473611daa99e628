//! Stopping a running statement from outside: cancel requests, statement timeouts, shutdown.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use meridian_storage::base::runtime::timeout;
use meridian_txn::Db;

use crate::error::{SqlError, SqlResult, state};

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

/// What ends the statement that runs now: a request to cancel it, and the end of its time.
pub struct Guard {
    pub cancel: Arc<CancelHandle>,
    pub db: Db,
    /// On the monotonic clock.
    pub deadline: Option<Duration>,
}

impl Guard {
    /// Runs a piece of the statement, which is dropped where it waits if the statement is to end.
    pub async fn run<T>(&self, work: impl Future<Output = SqlResult<T>>) -> SqlResult<T> {
        let mut work = std::pin::pin!(work);
        let watched = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.cancel.poll_cancelled(cx).map(|()| Err(cancelled())),
        });
        let Some(deadline) = self.deadline else { return watched.await };
        let left = deadline.saturating_sub(self.db.clock().monotonic());
        let in_time = timeout(&**self.db.runtime(), left, watched).await;
        in_time.unwrap_or_else(|| {
            Err(SqlError::new(state::QUERY_CANCELED, "canceling statement due to statement timeout"))
        })
    }
}

pub(super) fn cancelled() -> SqlError {
    SqlError::new(state::QUERY_CANCELED, "canceling statement due to user request")
}
