//! [`Alarm`]: the time that a viewer may take over a head.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::task::unconstrained;

/// The timer of one connection, of which hyper wants a wait for each head. Nearly all are dropped long before they are over. So
/// the runtime is told of one of them only; when that is over, it is told of the one that there is by then.
#[derive(Clone, Default)]
pub(crate) struct Alarm(Arc<Mutex<Set>>);

/// What the runtime knows.
#[derive(Default)]
struct Set(Option<Known>);

struct Known {
    sleep: Pin<Box<tokio::time::Sleep>>,
    /// Whom it wakes.
    waker: Waker,
}

/// One wait. A connection has one at a time.
struct Wait {
    alarm: Alarm,
    deadline: tokio::time::Instant,
}

impl Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { alarm: self.clone(), deadline: deadline.into() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.0.lock().unwrap_or_else(PoisonError::into_inner).poll(self.deadline, cx)
    }
}

impl Set {
    fn poll(&mut self, deadline: tokio::time::Instant, cx: &mut Context<'_>) -> Poll<()> {
        let known = match &mut self.0 {
            Some(known) => {
                let wakes = known.sleep.deadline() <= deadline && known.waker.will_wake(cx.waker());
                if wakes && !known.sleep.is_elapsed() {
                    return Poll::Pending;
                }
                known.waker.clone_from(cx.waker());
                known
            }
            none => none.insert(Known {
                sleep: Box::pin(tokio::time::sleep_until(deadline)),
                waker: cx.waker().clone(),
            }),
        };
        if known.sleep.deadline() != deadline {
            known.sleep.as_mut().reset(deadline);
        }
        // A runtime that asks the task to let others go first would not note whom to wake.
        pin!(unconstrained(known.sleep.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, advance, sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_own_time() {
        let alarm = Alarm::default();
        let start = Instant::now();
        alarm.sleep(LIMIT).await;
        assert_eq!(start.elapsed(), LIMIT);
        // The runtime knows of a wait that was dropped, later than this one, and earlier.
        for (dropped, waits) in [(LIMIT, LIMIT / 2), (LIMIT, LIMIT), (LIMIT / 2, LIMIT)] {
            assert!(timeout(Duration::from_secs(1), alarm.sleep(dropped)).await.is_err());
            let start = Instant::now();
            alarm.sleep(waits).await;
            assert_eq!(start.elapsed(), waits, "{dropped:?} {waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_of_a_connection_has_its_time() {
        let (server, mut viewer) = duplex(1024);
        let pages = service_fn(async |_| Ok::<_, Infallible>(Response::new("page".to_owned())));
        let mut http = http1::Builder::new();
        http.timer(Alarm::default()).header_read_timeout(LIMIT);
        let connection = tokio::spawn(http.serve_connection(TokioIo::new(server), pages));
        for _ in 0..3 {
            sleep(LIMIT * 3 / 4).await;
            viewer.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_ne!(viewer.read(&mut [0; 1024]).await.unwrap(), 0);
        }
        let start = Instant::now();
        viewer.write_all(b"GET / HTTP").await.unwrap();
        sleep(LIMIT * 3 / 4).await;
        viewer.write_all(b"/1.1\r\n").await.unwrap();
        assert!(connection.await.unwrap().unwrap_err().is_timeout());
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_over_is_over_when_it_is_first_asked() {
        let alarm = Alarm::default();
        assert!(timeout(Duration::from_secs(1), alarm.sleep(LIMIT)).await.is_err());
        let wait = alarm.sleep(LIMIT);
        advance(LIMIT * 2).await;
        let start = Instant::now();
        wait.await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_polls_last_is_woken() {
        let alarm = Alarm::default();
        let mut wait = alarm.sleep(LIMIT);
        assert!(timeout(Duration::from_secs(1), &mut wait).await.is_err());
        let start = Instant::now();
        timeout(LIMIT, tokio::spawn(wait)).await.unwrap().unwrap();
        assert_eq!(start.elapsed(), LIMIT - Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_up_its_turn_is_woken() {
        let alarm = Alarm::default();
        let wait = async {
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::coop::consume_budget().await;
            }
            alarm.sleep(LIMIT).await;
        };
        let start = Instant::now();
        timeout(LIMIT * 2, wait).await.unwrap();
        assert_eq!(start.elapsed(), LIMIT);
    }
}
