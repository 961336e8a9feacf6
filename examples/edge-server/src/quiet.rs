//! [`Quiet`]: a future that is polled only when it was woken itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

pin_project! {
    /// Beside a busy future in one task, it is left alone while the other is woken: that costs two loads, where a poll of
    /// tokio's futures takes a lock that all connections share.
    pub(crate) struct Quiet<F> {
        #[pin]
        future: F,
        bell: Arc<Bell>,
        // The bell's.
        waker: Waker,
        // The same as the bell's task, for who polls.
        registered: Waker,
    }
}

struct Bell {
    rung: AtomicBool,
    /// Who is woken: whoever polled last. It stays when the bell rings, so that nobody need register again.
    task: Mutex<Waker>,
}

impl Bell {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order: whoever comes to the task after this sees that it rang.
        self.rung.store(true, Ordering::Release);
        // What a waker does is not to be done under the lock.
        let task = self.task().clone();
        task.wake();
    }
}

impl<F> Quiet<F> {
    pub(crate) fn new(future: F) -> Self {
        let (rung, task) = (AtomicBool::new(true), Mutex::new(Waker::noop().clone()));
        let bell = Arc::new(Bell { rung, task });
        Self { future, waker: Waker::from(Arc::clone(&bell)), registered: Waker::noop().clone(), bell }
    }
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !this.registered.will_wake(cx.waker()) {
            this.registered.clone_from(cx.waker());
            this.bell.task().clone_from(cx.waker());
        }
        // After that: who rang before woke another.
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // A store might come after the poll, and undo a ring that the poll does not know of.
        this.bell.rung.swap(false, Ordering::AcqRel);
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
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
        assert!(quiet.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let elsewhere = tokio::spawn(quiet);
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(timeout(Duration::from_secs(10), elsewhere).await.unwrap().unwrap(), Ok(7));
    }

    /// By a future that takes no lock, as tokio's do: with that a bell unrung by a plain store hides.
    #[test]
    fn what_it_was_woken_for_is_seen() {
        const ROUNDS: usize = 4_000;
        let (come, told, begun) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let waker = Cell::new(None);
        let round = Cell::new(0);
        let mut quiet = std::pin::pin!(Quiet::new(poll_fn(|cx| {
            // Only at first: to clone it is an order of its own.
            if round.get() == 0 {
                waker.set(Some(cx.waker().clone()));
            }
            if come.load(Ordering::Acquire) >= round.get() { Poll::Ready(()) } else { Poll::Pending }
        })));
        let mut poll = || quiet.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(poll());
        let waker: Waker = waker.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    while begun.load(Ordering::Acquire) < round {
                        std::hint::spin_loop();
                    }
                    // Once for nothing, so that it is being polled when it comes.
                    waker.wake_by_ref();
                    for _ in 0..round % 16 {
                        std::hint::spin_loop();
                    }
                    come.store(round, Ordering::Release);
                    waker.wake_by_ref();
                    told.store(round, Ordering::Release);
                }
            });
            let mut lost = 0;
            for number in 1..=ROUNDS {
                round.set(number);
                begun.store(number, Ordering::Release);
                loop {
                    let was_told = told.load(Ordering::Acquire) >= number;
                    if poll() {
                        break;
                    }
                    if was_told {
                        lost += 1;
                        break;
                    }
                }
                while told.load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                }
                // What was rung for after it was seen.
                poll();
            }
            assert_eq!(lost, 0);
        });
    }
}
