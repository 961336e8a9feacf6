//! What a connection has open: [`Streams`].

use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, sleep_until};

/// The requests of one connection. Over HTTP/2 those are counted whose answers have not ended: each is a task of its own, and
/// this is what spawns them. HTTP/1.1 has one at a time, and hyper gives the head of each its time.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// Of HTTP/2.
struct Open {
    number: usize,
    /// When the number last changed.
    since: Instant,
}

impl Streams {
    /// Whether there has been a request.
    pub(crate) fn any(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// A request has come.
    pub(crate) fn note(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    fn count(&self, next: impl Fn(usize) -> usize) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = next(open.as_ref().map_or(0, |open| open.number));
        *open = Some(Open { number, since: Instant::now() });
    }

    /// Ends once nothing has been open for so long. Over HTTP/1.1 that is never.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let until = match &*self.0.open.lock().unwrap_or_else(PoisonError::into_inner) {
                None => None,
                Some(Open { number: 0, since }) => Some(*since + limit),
                // Should the last one end right now.
                Some(_) => Some(Instant::now() + limit),
            };
            match until {
                None => pending().await,
                Some(until) if until <= Instant::now() => return,
                Some(until) => sleep_until(until).await,
            }
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.count(|number| number + 1);
        let stream = Stream(self.clone());
        tokio::spawn(async move {
            future.await;
            drop(stream);
        });
    }
}

/// An open stream, until it is dropped.
struct Stream(Streams);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.count(|number| number.saturating_sub(1));
    }
}
