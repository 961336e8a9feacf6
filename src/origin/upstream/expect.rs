//! `Expect: 100-continue` (RFC 9110 §10.1.1): a body that waits until the origin wants it.
//!
//! hyper's server tells its viewer to go on when the body is first polled. So the body that goes to the origin polls the
//! viewer's only when the origin has said 100, or nothing for a while. An origin that answers at once never gets the body,
//! and no viewer sends it in vain; the connection, on which the origin may still wait for it, is closed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::header::{EXPECT, HeaderMap};
use tokio::time::{Sleep, sleep};

/// How long an origin that may know nothing of the expectation is waited for; as long as curl does.
const PATIENCE: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const GRANTED: u8 = 1;
/// The answer came first: it never will be.
const REFUSED: u8 = 2;
/// And nobody needs the connection any more.
const OVER: u8 = 3;

/// Whether a body may be sent.
#[derive(Default)]
pub(super) struct Leave {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// Whether a request's sender waits to be told to go on.
pub(super) fn is_expected(headers: &HeaderMap) -> bool {
    headers
        .get_all(EXPECT)
        .iter()
        .any(|line| line.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}

impl Leave {
    /// The origin said 100.
    pub(super) fn grant(&self) {
        self.change(WAITING, GRANTED);
    }

    /// The origin has answered. What is returned, if no leave was granted before, is held as long as the answer is read.
    pub(super) fn refuse(self: Arc<Self>) -> Option<Refused> {
        self.change(WAITING, REFUSED).then_some(Refused(self))
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let changed = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.waker.wake();
        changed
    }
}

/// An exchange whose request stays without its body. When it ends, so does the connection.
pub(super) struct Refused(Arc<Leave>);

impl Drop for Refused {
    fn drop(&mut self) {
        self.0.change(REFUSED, OVER);
    }
}

/// A body's side of a [`Leave`].
pub(super) struct Waiting {
    leave: Arc<Leave>,
    /// Runs from the first poll on.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    pub(super) fn new(leave: Arc<Leave>) -> Self {
        Self { leave, patience: None }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unwanted>> {
        self.leave.waker.register(cx.waker());
        match self.leave.state.load(Ordering::Acquire) {
            GRANTED => return Poll::Ready(Ok(())),
            REFUSED => return Poll::Pending,
            OVER => return Poll::Ready(Err(Unwanted)),
            _ => {}
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        match patience.as_mut().poll(cx) {
            // Unless the answer came in this moment.
            Poll::Ready(()) if self.leave.change(WAITING, GRANTED) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

/// A body that the origin answered without.
#[derive(Debug)]
pub(super) struct Unwanted;

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the origin answered without the body")
    }
}

impl std::error::Error for Unwanted {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, timeout};

    use super::*;

    async fn granted(waiting: &mut Waiting) -> Result<(), Unwanted> {
        poll_fn(|cx| waiting.poll(cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_the_100_or_a_second() {
        let start = Instant::now();
        let leave = Arc::<Leave>::default();
        let mut waiting = Waiting::new(Arc::clone(&leave));
        assert!(timeout(PATIENCE / 2, granted(&mut waiting)).await.is_err());
        leave.grant();
        granted(&mut waiting).await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE / 2);
        granted(&mut Waiting::new(Arc::default())).await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE * 3 / 2);
        assert!(leave.refuse().is_none(), "it is being sent");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_request_keeps_its_body_and_then_ends() {
        let leave = Arc::<Leave>::default();
        let mut waiting = Waiting::new(Arc::clone(&leave));
        assert!(timeout(PATIENCE / 2, granted(&mut waiting)).await.is_err());
        let refused = Arc::clone(&leave).refuse().unwrap();
        leave.grant();
        assert!(timeout(PATIENCE * 10, granted(&mut waiting)).await.is_err());
        drop(refused);
        granted(&mut waiting).await.unwrap_err();
    }

    #[test]
    fn the_expectation_is_read_in_any_case() {
        for (value, expected) in [("100-continue", true), ("100-Continue ", true), ("200-ok", false)] {
            let headers = HeaderMap::from_iter([(EXPECT, value.parse().unwrap())]);
            assert_eq!(is_expected(&headers), expected, "{value}");
        }
        assert!(!is_expected(&HeaderMap::new()));
    }
}
