//! An origin that panics, wherever it does, frees everyone who waits for it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};
use tower_edge::{BodyErrorKind, Edge};

use crate::support::services::{pause, whole};
use crate::support::{Origin, OriginDown, OriginResult, get, read, response, settle, streamed};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Ready,
    Call,
    Future,
    SizeHint,
    Frame,
    EndStream,
}

/// Panics once, at one place, and then never again.
#[derive(Clone)]
struct Panics {
    inner: Origin,
    place: Place,
    calm: Arc<AtomicBool>,
}

impl Panics {
    fn at(&self, place: Place) {
        assert!(self.place != place || self.calm.swap(true, Ordering::SeqCst), "the origin panics");
    }
}

impl<B> Service<Request<B>> for Panics {
    type Response = http::Response<crate::support::OriginBody>;
    type Error = OriginDown;
    type Future = BoxFuture<'static, OriginResult>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginDown>> {
        self.at(Place::Ready);
        Service::<Request<B>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.at(Place::Call);
        let answer = self.inner.call(request);
        let panics = self.clone();
        Box::pin(async move {
            pause(3).await;
            panics.at(Place::Future);
            let response = answer.await?;
            let body = PanickingBody { panics, begun: false };
            Ok(match panics_in_body(body.panics.place) {
                true => streamed(MINUTE, body),
                false => response,
            })
        })
    }
}

fn panics_in_body(place: Place) -> bool {
    matches!(place, Place::SizeHint | Place::Frame | Place::EndStream)
}

/// "answer", with a chance to panic.
struct PanickingBody {
    panics: Panics,
    begun: bool,
}

impl Body for PanickingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.begun {
            self.panics.at(Place::Frame);
            return Poll::Ready(None);
        }
        self.begun = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from("answer")))))
    }

    fn is_end_stream(&self) -> bool {
        if self.begun {
            self.panics.at(Place::EndStream);
        }
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.panics.at(Place::SizeHint);
        SizeHint::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_origin_frees_everyone() {
    for place in [Place::Ready, Place::Call, Place::Future, Place::SizeHint, Place::Frame, Place::EndStream] {
        let edge = Edge::builder().build().unwrap();
        let inner = Origin::new(|_| async { Ok(response(200, MINUTE, "answer")) });
        let cache = edge.layer().layer(Panics { inner, place, calm: Arc::default() });
        let leader = AssertUnwindSafe(whole(cache.clone(), get("/a"))).catch_unwind();
        let followers = join_all((0..5).map(|_| whole(cache.clone(), get("/a"))));
        // Nobody waits for a timer either.
        let everyone = timeout(Duration::from_secs(1), join(leader, followers)).await;
        let (leader, followers) = everyone.unwrap_or_else(|_| panic!("{place:?}: somebody waits"));
        match place {
            // Whoever asked an origin that panics panics like without a cache.
            Place::Ready | Place::Call | Place::Future => assert!(leader.is_err(), "{place:?}"),
            Place::SizeHint => assert_eq!(leader.unwrap().unwrap().status, 502),
            Place::Frame | Place::EndStream => {
                assert!(leader.unwrap().unwrap_err().contains("given up"), "{place:?}");
            }
        }
        for follower in followers {
            match (place, follower) {
                (Place::Frame | Place::EndStream, Err(error)) => assert!(error.contains("given up")),
                (_, Ok(reply)) => assert_eq!(reply.text(), "answer", "{place:?}"),
                (_, Err(error)) => panic!("{place:?}: {error}"),
            }
        }
        settle().await;
        let stats = edge.stats();
        assert_eq!((stats.fills, stats.bytes_in_flight), (0, 0), "{place:?}");
        assert_eq!(whole(cache, get("/a")).await.unwrap().text(), "answer", "{place:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_is_not_stored() {
    let edge = Edge::builder().build().unwrap();
    let inner = Origin::new(|_| async { Ok(response(200, MINUTE, "answer")) });
    let mut cache = edge.layer().layer(Panics { inner, place: Place::Frame, calm: Arc::default() });
    let response = cache.call(get("/a")).await.unwrap();
    assert_eq!(read(response).await.unwrap_err().kind(), BodyErrorKind::Aborted);
    assert_eq!((edge.stats().objects, edge.stats().failed_bodies), (0, 1));
}
