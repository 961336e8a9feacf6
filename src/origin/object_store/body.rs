//! The body of an answer: [`ObjectBody`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::error::{BodyError, BodyErrorKind};

/// A body from an object store: the object as it is read, or a text of this origin's own.
///
/// One that ends early, goes on too long or stops coming is an error for its reader.
pub struct ObjectBody {
    inner: Inner,
}

enum Inner {
    /// Nothing, where another answer would have something.
    Absent,
    Once(Option<Bytes>),
    Flowing {
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        left: u64,
        /// How long to wait for the next bytes.
        patience: Duration,
        /// Runs while there are none.
        waiting: Option<Pin<Box<Sleep>>>,
    },
}

impl ObjectBody {
    /// The body of an answer to HEAD, or of a 304.
    pub(super) fn absent() -> Self {
        Self { inner: Inner::Absent }
    }

    pub(super) fn empty() -> Self {
        Self { inner: Inner::Once(None) }
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self { inner: Inner::Once(Some(bytes)) }
    }

    /// `length` bytes, as they come.
    pub(super) fn flowing(
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        length: u64,
        patience: Duration,
    ) -> Self {
        Self { inner: Inner::Flowing { stream, left: length, patience, waiting: None } }
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (stream, left, patience, waiting) = match &mut self.inner {
            Inner::Absent => return Poll::Ready(None),
            Inner::Once(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Flowing { stream, left, patience, waiting } => (stream, left, patience, waiting),
        };
        loop {
            let Poll::Ready(next) = stream.as_mut().poll_next(cx) else {
                let sleep = waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(*patience)));
                ready!(sleep.as_mut().poll(cx));
                self.inner = Inner::Once(None);
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Poll::Ready(Some(Err(BodyError::origin(Box::new(late)))));
            };
            *waiting = None;
            let end = match next {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
                    Some(rest) => {
                        *left = rest;
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    None => Some(BodyError::new(BodyErrorKind::Length)),
                },
                Some(Err(error)) => Some(BodyError::origin(Box::new(error))),
                None if *left > 0 => Some(BodyError::new(BodyErrorKind::Length)),
                None => None,
            };
            self.inner = Inner::Once(None);
            return Poll::Ready(end.map(Err));
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Absent => true,
            Inner::Once(bytes) => bytes.is_none(),
            Inner::Flowing { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            // Lest a server make a `Content-Length` of it (RFC 9110 §8.6).
            Inner::Absent => SizeHint::default(),
            Inner::Once(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Flowing { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::Absent => "ObjectBody::Absent",
            Inner::Once(_) => "ObjectBody::Once",
            Inner::Flowing { .. } => "ObjectBody::Flowing",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    async fn read(pieces: Vec<object_store::Result<Bytes>>, length: u64) -> Result<Bytes, BodyErrorKind> {
        let body = ObjectBody::flowing(stream::iter(pieces).boxed(), length, PATIENCE);
        body.collect().await.map(|body| body.to_bytes()).map_err(|error| error.kind())
    }

    fn bytes(text: &'static str) -> object_store::Result<Bytes> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_body_is_whole_or_an_error() {
        let failed = || Err(object_store::Error::Generic { store: "test", source: "gone".into() });
        assert_eq!(read(vec![bytes("ab"), bytes(""), bytes("c")], 3).await.as_deref(), Ok(&b"abc"[..]));
        assert_eq!(read(vec![], 0).await.as_deref(), Ok(&b""[..]));
        assert_eq!(read(vec![bytes("ab")], 3).await, Err(BodyErrorKind::Length));
        assert_eq!(read(vec![bytes("ab"), bytes("cd")], 3).await, Err(BodyErrorKind::Length));
        assert_eq!(read(vec![bytes("ab"), failed()], 3).await, Err(BodyErrorKind::Origin));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stops_sending_is_waited_for_only_so_long() {
        let slow = stream::iter([1, 2, 3]).then(|_| async {
            tokio::time::sleep(PATIENCE - Duration::from_millis(1)).await;
            bytes("x")
        });
        let started = Instant::now();
        let mut body = ObjectBody::flowing(slow.chain(stream::pending()).boxed(), 4, PATIENCE);
        for _ in 0..3 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
        assert!((PATIENCE * 4 - Duration::from_millis(10)..PATIENCE * 5).contains(&started.elapsed()));
    }
}
