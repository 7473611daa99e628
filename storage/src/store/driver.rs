//! What turns the crank: a thread in production, a task in a simulation.

use std::task::Poll;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{Either, poll_fn, select};

use super::core::StoreCore;
use crate::base::StorageResult;

impl StoreCore {
    /// Runs until the store is stopped or the disk fails; the body of a thread that the binary starts.
    ///
    /// An error, or a panic, is the end of the node: nothing is answered from then on.
    pub fn run(mut self) -> StorageResult<()> {
        let inbox = self.shared.inbox.clone();
        let _close = CloseOnEnd(inbox.clone());
        loop {
            let wait = block_on(self.turn(self.parts.clock.monotonic()))?;
            if !inbox.wait(wait.max(Duration::from_micros(100))) {
                return Ok(());
            }
        }
    }

    /// As [`StoreCore::run`], for a runtime of one thread.
    pub async fn run_as_task(mut self) -> StorageResult<()> {
        let inbox = self.shared.inbox.clone();
        let _close = CloseOnEnd(inbox.clone());
        let runtime = self.parts.runtime.clone();
        loop {
            let wait = self.turn(self.parts.clock.monotonic()).await?;
            if inbox.is_closed() {
                return Ok(());
            }
            let arrived = poll_fn(|cx| match inbox.poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            });
            futures::pin_mut!(arrived);
            if let Either::Right(_) = select(arrived, runtime.sleep(wait.max(Duration::from_millis(1)))).await
            {
                continue;
            }
        }
    }
}

/// Whatever ends the core, its callers hear of it.
struct CloseOnEnd(std::sync::Arc<super::inbox::Inbox>);

impl Drop for CloseOnEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}
