//! Upgrades, such as WebSocket: once both sides have switched, bytes are passed both ways.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, Version};
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{sleep, timeout};

use super::body::Count;
use crate::semantics::headers::strip_hop_by_hop;

/// How long the viewer's side may take to have sent the 101.
const SWITCH_TIME: Duration = Duration::from_secs(60);

/// A viewer's wish to switch to another protocol.
pub(super) struct Upgrade {
    pub(super) protocol: HeaderValue,
    viewer: OnUpgrade,
}

/// The upgrade a request asks for (RFC 9110 §7.8). HTTP/1.0 and HTTP/2 have none.
pub(super) fn wanted<B>(request: &mut Request<B>) -> Option<Upgrade> {
    let nominated = request
        .headers()
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    if !nominated || request.version() != Version::HTTP_11 {
        return None;
    }
    let protocol = request.headers().get(UPGRADE)?.clone();
    // The viewer's protocol is HTTP/1.1; `h2c` would have the edge carry frames it does not see (RFC 9113 §3.1).
    if protocol.to_str().is_ok_and(|protocol| protocol.to_ascii_lowercase().contains("h2c")) {
        return None;
    }
    request.extensions().get::<OnUpgrade>()?;
    Some(Upgrade { protocol, viewer: on(request) })
}

impl Upgrade {
    /// Joins the two connections as soon as the 101 has gone to the viewer. `kept` lives as long as the tunnel; that ends when
    /// either side does, or nothing has passed for as long as `limit`.
    pub(super) fn join<B>(self, response: &mut Response<B>, limit: Duration, kept: impl Send + 'static) {
        let origin = on(&mut *response);
        let headers = response.headers_mut();
        let protocol = headers.get(UPGRADE).cloned().unwrap_or(self.protocol);
        strip_hop_by_hop(headers);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
        tokio::spawn(async move {
            let _kept = kept;
            let switched = async { tokio::try_join!(self.viewer, origin) };
            if let Ok(Ok((viewer, origin))) = timeout(SWITCH_TIME, switched).await {
                pass(TokioIo::new(viewer), TokioIo::new(origin), limit).await;
            }
        });
    }
}

/// Passes bytes both ways. However it ends, both connections end with it.
async fn pass(
    viewer: impl AsyncRead + AsyncWrite + Unpin,
    mut origin: impl AsyncRead + AsyncWrite + Unpin,
    limit: Duration,
) {
    let moved = Count::default();
    let mut viewer = Watched { stream: viewer, moved: moved.clone() };
    let silence = async {
        let mut before = None;
        while before != Some(moved.get()) {
            before = Some(moved.get());
            sleep(limit).await;
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut viewer, &mut origin) => {}
        () = silence => {}
    }
}

/// A stream that counts how often something was read from it, or written to it.
struct Watched<S> {
    stream: S,
    moved: Count,
}

impl<S> Watched<S> {
    fn seen<T>(&self, moved: Poll<T>) -> Poll<T> {
        if moved.is_ready() {
            self.moved.add();
        }
        moved
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.seen(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.seen(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.seen(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_in_which_nothing_moves_ends_and_one_in_which_little_moves_does_not() {
        let (mut viewer, edge) = duplex(8);
        let (other, mut origin) = duplex(8);
        let start = Instant::now();
        let tunnel = tokio::spawn(pass(edge, other, LIMIT));
        for _ in 0..5 {
            sleep(LIMIT * 9 / 10).await;
            // Either way counts.
            viewer.write_u8(1).await.unwrap();
            assert_eq!(origin.read_u8().await.unwrap(), 1);
            sleep(LIMIT * 9 / 10).await;
            origin.write_u8(2).await.unwrap();
            assert_eq!(viewer.read_u8().await.unwrap(), 2);
        }
        tunnel.await.unwrap();
        assert!(start.elapsed() >= LIMIT * 10 && start.elapsed() <= LIMIT * 11);
        assert!(viewer.read_u8().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_side_reaches_the_other() {
        let (mut viewer, edge) = duplex(8);
        let (other, mut origin) = duplex(8);
        let tunnel = tokio::spawn(pass(edge, other, LIMIT));
        viewer.shutdown().await.unwrap();
        assert!(origin.read_u8().await.is_err());
        origin.write_u8(2).await.unwrap();
        assert_eq!(viewer.read_u8().await.unwrap(), 2);
        drop(origin);
        tunnel.await.unwrap();
    }
}
