//! The public side: accepts viewers, bounds what each may take, and answers through the cache.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::uri::Scheme;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::trace::{DefaultOnFailure, TraceLayer};
use tracing::Level;

use crate::admit::admit;
use crate::config::Limits;
use crate::page::{Body, page};
use crate::patience::Patience;
use crate::upstream::OriginError;

/// Who sent a request. It travels in the request's extensions, past the cache, to the origin side.
#[derive(Clone)]
pub(crate) struct Viewer {
    pub(crate) address: SocketAddr,
    /// It came by TLS.
    pub(crate) https: bool,
    /// Counts the connection for as long as anything is left of it, such as a tunnel.
    slot: Arc<OwnedSemaphorePermit>,
}

impl Viewer {
    pub(crate) fn new(address: SocketAddr, https: bool, slot: OwnedSemaphorePermit) -> Self {
        Self { address, https, slot: Arc::new(slot) }
    }

    pub(crate) fn into_slot(self) -> Arc<OwnedSemaphorePermit> {
        self.slot
    }
}

/// Answers from `cache` until SIGINT or SIGTERM, then lets running requests end.
pub(crate) async fn serve<C, B>(listener: TcpListener, cache: C)
where
    C: Service<Request<Incoming>, Response = Response<B>, Error = OriginError> + Clone + Send + 'static,
    C::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let limits = Limits::default();
    let server = server(&limits);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (closing, _) = watch::channel(());
    let mut signal = pin!(signal());
    loop {
        let (stream, address, slot) = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut signal => break,
        };
        // Answers are written whole; a delay would gather nothing.
        let _ = stream.set_nodelay(true);
        let (viewer, cache) = (Viewer::new(address, false, slot), cache.clone());
        let answers = service_fn(move |request| answer(cache.clone(), request));
        tokio::spawn(connection(server.clone(), limits, stream, viewer, answers, closing.subscribe()));
    }
    drop(listener);
    tracing::info!("closing {} connections", closing.receiver_count());
    closing.send_replace(());
    if timeout(limits.shutdown_time, closing.closed()).await.is_err() {
        tracing::warn!("{} connections did not end in time", closing.receiver_count());
    }
}

/// Limits on what a viewer may send are set here, so that no default of a library decides them.
pub(crate) fn server(limits: &Limits) -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_size as usize)
        .max_headers(limits.head_fields);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(limits.head_size)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    server
}

pub(crate) async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("nobody closes this semaphore");
    let mut pause = Duration::from_millis(5);
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, slot),
            // The viewer is gone again: nothing is wrong here.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            // Out of file descriptors, most likely. They come back when connections end.
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// Answers the requests of one connection, until `closing` says that no more shall come.
pub(crate) async fn connection<IO, S, B>(
    server: Builder<TokioExecutor>,
    limits: Limits,
    stream: IO,
    viewer: Viewer,
    answers: S,
    mut closing: watch::Receiver<()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Display,
{
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http().on_failure(DefaultOnFailure::new().level(Level::DEBUG)))
        .service(service_fn(move |mut request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(viewer.clone());
            answers.clone().oneshot(request)
        }));
    let stream = TokioIo::new(Patience::new(stream, limits.unread_time));
    let mut connection =
        pin!(server.serve_connection_with_upgrades(stream, TowerToHyperService::new(service)));

    // hyper's own limit on the first head starts only when it knows the protocol, for which it waits without one.
    let mut first_head = pin!(sleep(limits.head_time));
    let mut waits_for_head = true;
    let mut is_closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            () = &mut first_head, if waits_for_head => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                waits_for_head = false;
            }
            _ = closing.changed(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer<C, B>(cache: C, mut request: Request<Incoming>) -> Result<Response<Body<B>>, Infallible>
where
    C: Service<Request<Incoming>, Response = Response<B>, Error = OriginError>,
{
    if let Err(refusal) = admit(&mut request, &Scheme::HTTP) {
        return Ok(page(refusal.status(), refusal.reason()));
    }
    Ok(match cache.oneshot(request).await {
        Ok(response) => response.map(Body::Left),
        Err(error) => {
            tracing::debug!("no answer: {error}");
            page(error.status(), error.page())
        }
    })
}

#[cfg(unix)]
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        // It cannot be caught, so it ends the process by itself.
        std::future::pending().await
    }
}
