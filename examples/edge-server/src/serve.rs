//! The listeners: accept viewers and operators, bound what each may take, and end together.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::{Service as HttpService, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{Builder, UpgradeableConnection};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer};
use tower_edge::origin::Viewer;
use tower_http::trace::{DefaultOnFailure, TraceLayer};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::alarm::Alarm;
use crate::answer::Answer;
use crate::config::{HEAD_FIELDS, Limits};
use crate::gather::Gather;
use crate::patience::Patience;
use crate::quiet::Quiet;
use crate::streams::Streams;

/// Open connections of operators; more wait in the listener's queue.
const CONTROL_CONNECTIONS: usize = 256;

/// Answers viewers by `answer` and operators by `control` until SIGINT or SIGTERM, then lets running requests end.
/// `ends` is told of the signal first, and `closing` says so to whoever waits for something else.
pub(crate) async fn serve(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>, &Viewer) -> Answer + Clone + Send + 'static,
    control: Option<(TcpListener, Router)>,
    ends: impl FnOnce(),
    closing: watch::Sender<bool>,
) {
    until_signal(vec![viewers(listener, answer, &closing)], control, ends, &closing).await;
}

/// Answers viewers on one listener, without end.
pub(crate) fn viewers(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>, &Viewer) -> Answer + Clone + Send + 'static,
    closing: &watch::Sender<bool>,
) -> BoxFuture<'_, ()> {
    let limits = Limits::default();
    let service = move |viewer: Viewer| {
        let answer = answer.clone();
        service_fn(move |request| answer(request, &viewer))
    };
    Box::pin(listen(listener, Protocols::All, limits, service, closing))
}

/// Answers viewers and operators until SIGINT or SIGTERM, of which `ends` is told, then lets running requests end.
pub(crate) async fn until_signal(
    viewers: Vec<BoxFuture<'_, ()>>,
    control: Option<(TcpListener, Router)>,
    ends: impl FnOnce(),
    closing: &watch::Sender<bool>,
) {
    let operators = operators(control, closing);
    tokio::select! {
        // None ends; when the signal comes, all let go of their listeners.
        _ = futures_util::future::join(futures_util::future::join_all(viewers), operators) => {}
        () = signal() => {}
    }
    ends();
    close(closing, Limits::default().shutdown_time).await;
}

/// Answers operators, where there is a control port.
pub(crate) async fn operators(control: Option<(TcpListener, Router)>, closing: &watch::Sender<bool>) {
    if let Some((listener, control)) = control {
        let limits = Limits { connections: CONTROL_CONNECTIONS, ..Limits::default() };
        // One request at a time on a connection, so that their number bounds that of the requests.
        let control = TowerToHyperService::new(control);
        let service = move |_| control.clone();
        listen(listener, Protocols::Http1, limits, service, closing).await;
    }
}

/// Tells every connection to end, and waits for it.
pub(crate) async fn close(closing: &watch::Sender<bool>, time: Duration) {
    tracing::info!("closing {} connections", closing.receiver_count());
    closing.send_replace(true);
    if timeout(time, closing.closed()).await.is_err() {
        tracing::warn!("{} connections did not end in time", closing.receiver_count());
    }
}

async fn listen<S, B>(
    listener: TcpListener,
    protocols: Protocols,
    limits: Limits,
    service: impl Fn(Viewer) -> S,
    closing: &watch::Sender<bool>,
) where
    S: HttpService<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Display,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let (stream, address, slot) = accept(&listener, &slots).await;
        let viewer = viewer(&stream, address, false, slot);
        let service = service(viewer.clone());
        let connection = connection(protocols, limits, stream, viewer, service, closing.subscribe());
        tokio::spawn(connection);
    }
}

/// Who is at the other end of a connection. The slot counts it for as long as anything is left of it, such as a tunnel.
pub(crate) fn viewer(
    stream: &TcpStream,
    address: SocketAddr,
    https: bool,
    slot: OwnedSemaphorePermit,
) -> Viewer {
    // Answers are written whole; a delay would gather nothing.
    let _ = stream.set_nodelay(true);
    Viewer::new(address).https(https).keep(Arc::new(slot))
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    Http1,
    /// And HTTP/2.
    All,
}

/// Limits on what a viewer may send are set here, so that no default of a library decides them.
fn server(protocols: Protocols, limits: &Limits, streams: &Streams) -> Builder<Streams> {
    let mut server = Builder::new(streams.clone());
    server.http1().header_read_timeout(limits.head_time).max_buf_size(limits.head_size as usize);
    if limits.head_fields != HEAD_FIELDS {
        server.http1().max_headers(limits.head_fields);
    }
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
    match protocols {
        Protocols::Http1 => server.http1_only(),
        Protocols::All => server,
    }
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

/// Answers the requests of one connection, until `closing` says that no more shall come, or none does for too long. It counts
/// until then, whether or not its requests go on with their viewer.
pub(crate) async fn connection<IO, S, B>(
    protocols: Protocols,
    limits: Limits,
    stream: IO,
    viewer: Viewer,
    answers: S,
    closing: watch::Receiver<bool>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Display,
{
    let streams = Streams::default();
    let seen = streams.clone();
    let answers = service_fn(move |request: Request<Incoming>| {
        seen.note();
        answers.call(request)
    });
    let mut server = server(protocols, &limits, &streams);
    // For the time of its heads.
    server.http1().timer(Alarm::default());
    let stream = TokioIo::new(Patience::new(Gather::new(stream), limits.unread_time));
    // All that the layer writes is for debugging. Each request would pay for it whether it is written or not.
    if LevelFilter::current() >= LevelFilter::DEBUG {
        let answers = tower::service_fn(move |request| answers.call(request));
        let answers =
            TraceLayer::new_for_http().on_failure(DefaultOnFailure::new().level(Level::DEBUG)).layer(answers);
        let connection = server.serve_connection_with_upgrades(stream, TowerToHyperService::new(answers));
        drive(connection, UpgradeableConnection::graceful_shutdown, limits, &streams, closing).await;
    } else {
        let connection = server.serve_connection_with_upgrades(stream, answers);
        drive(connection, UpgradeableConnection::graceful_shutdown, limits, &streams, closing).await;
    }
    drop(viewer);
}

/// How a connection ends that does not end by itself.
enum End {
    Now,
    Gracefully,
}

/// Sees a connection through to its end. `shut_down` tells it that no more requests shall come.
async fn drive<C, E>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    limits: Limits,
    streams: &Streams,
    mut closing: watch::Receiver<bool>,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let end = async {
        // hyper's own limit on the first head starts only when it knows the protocol, for which it waits without one.
        if timeout(limits.head_time, closing.changed()).await.is_err() {
            if !streams.any() {
                return End::Now;
            }
            tokio::select! {
                _ = closing.changed() => {}
                () = streams.idle(limits.head_time) => {}
            }
        }
        End::Gracefully
    };
    let mut end = pin!(Quiet::new(end));
    let mut is_closing = false;
    loop {
        tokio::select! {
            // In this order no connection is too busy to hear of the end, and no dice are thrown at each turn.
            biased;
            end = &mut end, if !is_closing => match end {
                End::Now => return,
                End::Gracefully => {
                    is_closing = true;
                    shut_down(connection.as_mut());
                }
            },
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
        }
    }
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

#[cfg(test)]
mod tests;
