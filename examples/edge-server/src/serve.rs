//! The listeners: accept viewers and operators, bound what each may take, and end together.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_edge::origin::{Viewer, upstream};
use tower_http::trace::{DefaultOnFailure, TraceLayer};
use tracing::Level;

use crate::admit::admit;
use crate::page::{Body, page};
use crate::patience::Patience;

/// Open connections of viewers; more wait in the listener's queue.
const CONNECTIONS: usize = 10_000;
/// The same of operators.
const CONTROL_CONNECTIONS: usize = 256;
/// From a connection's start, or the last answer on it, to the end of the next request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a viewer may leave an answer unread. Those who never read would keep their connections, and so everyone else
/// out.
const UNREAD_TIME: Duration = Duration::from_secs(60);
const HEAD_BYTES: usize = 64 * 1024;
const HEAD_FIELDS: usize = 128;
/// From a signal to the end, whatever is still running.
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);

/// Where a connection was accepted. It travels in the extensions of its requests, as their [`Viewer`] does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local(pub(crate) SocketAddr);

/// Answers viewers from `cache` and operators from `control` until SIGINT or SIGTERM, then lets running requests end.
/// `closing` says so to whoever waits for something else.
pub(crate) async fn serve<C, B>(
    listener: TcpListener,
    cache: C,
    control: Option<(TcpListener, Router)>,
    closing: watch::Sender<bool>,
) where
    C: Service<Request<Incoming>, Response = Response<B>, Error = upstream::Error> + Clone + Send + 'static,
    C::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let public = service_fn(move |request| answer(cache.clone(), request));
    let viewers = listen(listener, server(), CONNECTIONS, public, &closing);
    let operators = async {
        if let Some((listener, control)) = control {
            // One request at a time on a connection, so that their number bounds that of the requests.
            listen(listener, server().http1_only(), CONTROL_CONNECTIONS, control, &closing).await;
        }
    };
    tokio::select! {
        // Neither ends; when the signal comes, both let go of their listeners.
        ((), ()) = futures_util::future::join(viewers, operators) => {}
        () = signal() => {}
    }
    tracing::info!("closing {} connections", closing.receiver_count());
    closing.send_replace(true);
    if timeout(SHUTDOWN_TIME, closing.closed()).await.is_err() {
        tracing::warn!("{} connections did not end in time", closing.receiver_count());
    }
}

async fn listen<S, B>(
    listener: TcpListener,
    server: Builder<TokioExecutor>,
    connections: usize,
    service: S,
    closing: &watch::Sender<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Display,
{
    let slots = Arc::new(Semaphore::new(connections));
    loop {
        let (stream, address, slot) = accept(&listener, &slots).await;
        // A connection that is gone already is answered nothing.
        let Ok(local) = stream.local_addr() else { continue };
        // The slot counts the connection for as long as anything is left of it, such as a tunnel.
        let from = (Viewer::new(address).keep(Arc::new(slot)), Local(local));
        tokio::spawn(connection(server.clone(), stream, from, service.clone(), closing.subscribe()));
    }
}

/// Limits on what a viewer may send are set here, so that no default of a library decides them.
fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    server
}

async fn accept(
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

async fn connection<S, B>(
    server: Builder<TokioExecutor>,
    stream: TcpStream,
    (viewer, local): (Viewer, Local),
    answers: S,
    mut closing: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Display,
{
    // Answers are written whole; a delay would gather nothing.
    let _ = stream.set_nodelay(true);

    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http().on_failure(DefaultOnFailure::new().level(Level::DEBUG)))
        .service(service_fn(move |mut request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(viewer.clone());
            request.extensions_mut().insert(local);
            answers.clone().oneshot(request)
        }));
    let stream = TokioIo::new(Patience::new(stream, UNREAD_TIME));
    let mut connection =
        pin!(server.serve_connection_with_upgrades(stream, TowerToHyperService::new(service)));

    // hyper's own limit on the first head starts only when it knows the protocol, for which it waits without one.
    let mut first_head = pin!(sleep(HEAD_TIME));
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
    C: Service<Request<Incoming>, Response = Response<B>, Error = upstream::Error>,
{
    if let Err(refusal) = admit(&mut request) {
        return Ok(page(refusal.status(), refusal.reason()));
    }
    Ok(match cache.oneshot(request).await {
        Ok(response) => response.map(Body::Left),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no answer");
            page(error.status(), error.page())
        }
    })
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        // It cannot be caught, so it ends the process by itself.
        std::future::pending().await
    }
}
