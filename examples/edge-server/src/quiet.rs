//! [`Quiet`]: a future that is polled only when it was woken itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;

pin_project! {
    /// Beside a busy future in one task, it is left alone while the other is woken: that costs two loads, where a poll of
    /// tokio's futures takes a lock that all connections share.
    pub(crate) struct Quiet<F> {
        #[pin]
        future: F,
        bell: Arc<Bell>,
        waker: Waker,
    }
}

struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F> Quiet<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future, waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // In this order: who rings after the look wakes the task that is registered.
        this.bell.task.register(cx.waker());
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.bell.rung.store(false, Ordering::Relaxed);
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::{interval, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_busy_neighbour_does_not_have_it_polled() {
        let (sender, mut receiver) = oneshot::channel();
        let polls = Cell::new(0);
        let mut quiet = std::pin::pin!(Quiet::new(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            Pin::new(&mut receiver).poll(cx)
        })));
        let mut busy = interval(Duration::from_secs(1));
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = &mut quiet => panic!("nobody has sent anything"),
                _ = busy.tick() => {}
            }
        }
        assert_eq!(polls.get(), 1);
        sender.send(7).unwrap();
        assert_eq!(timeout(Duration::from_secs(1), quiet).await, Ok(Ok(7)));
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_polls_it_last() {
        let (sender, receiver) = oneshot::channel();
        let mut quiet = Box::pin(Quiet::new(receiver));
        assert!(futures_util::poll!(&mut quiet).is_pending());
        let elsewhere = tokio::spawn(quiet);
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(timeout(Duration::from_secs(10), elsewhere).await.unwrap().unwrap(), Ok(7));
    }
}
