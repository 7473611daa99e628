//! Tasks, timers and randomness, as a trait: tokio and the operating system in production, one thread with virtual
//! time and one seed in the simulation. Code below the binary spawns and sleeps only through it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub trait Runtime: Send + Sync + 'static {
    /// Runs `task` to its end in the background. `name` is for logs and the simulator's trace.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
    /// As [`Runtime::spawn`], for a task that holds its thread up, with a disk for example: nothing else waits for that thread.
    fn spawn_blocking(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.spawn(name, task);
    }
    /// Resolves after `d`.
    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()>;
    /// Random bits; from the run's seed in the simulation.
    fn random(&self) -> u64;
}

/// Lets other tasks of the same thread run.
pub async fn yield_now() {
    let mut yielded = false;
    futures::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// `task`'s result, or `None` when `d` has passed first.
pub async fn timeout<T>(rt: &dyn Runtime, d: Duration, task: impl Future<Output = T>) -> Option<T> {
    futures::pin_mut!(task);
    match futures::future::select(task, rt.sleep(d)).await {
        futures::future::Either::Left((value, _)) => Some(value),
        futures::future::Either::Right(_) => None,
    }
}
