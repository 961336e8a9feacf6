//! The bundled demonstration: an origin with one page for each thing an edge does.

mod answers;
pub(crate) mod distribution;
mod film;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tokio::time::sleep;

use self::answers::Document;

const LINES_OF_SLOW: u32 = 10;
const PAUSE_OF_SLOW: Duration = Duration::from_millis(300);

#[derive(Clone)]
struct Site {
    started: SystemTime,
    counted: Arc<AtomicU64>,
}

/// Starts the site on a free loopback port. It runs for as long as the process.
///
/// # Errors
///
/// No port can be had.
pub(crate) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, site()).await });
    Ok(address)
}

fn site() -> Router {
    Router::new()
        .route("/", get(index))
        .route("/picture.svg", get(picture))
        .route("/hello", get(hello))
        .route("/counter", get(counter))
        .route("/slow", get(slow))
        .route("/me", get(me))
        .route("/film", get(film::page))
        .route("/film/{file}", get(film::file))
        .route("/events", get(events))
        .with_state(Site { started: SystemTime::now(), counted: Arc::default() })
}

/// A page for a minute; for half a minute more while the edge asks for a new one.
async fn index(State(site): State<Site>, request: HeaderMap) -> Response {
    Document {
        media_type: "text/html; charset=utf-8",
        cache_control: "max-age=60, stale-while-revalidate=30",
        modified: site.started,
        content: include_bytes!("index.html"),
    }
    .answer(&request)
}

/// A file that never changes under its name.
async fn picture(State(site): State<Site>, request: HeaderMap) -> Response {
    Document {
        media_type: "image/svg+xml",
        cache_control: "max-age=31536000, immutable",
        modified: site.started,
        content: include_bytes!("picture.svg"),
    }
    .answer(&request)
}

/// A page in the viewer's language: one URL, several variants.
async fn hello(State(site): State<Site>, request: HeaderMap) -> Response {
    let (language, text) = answers::greeting(&request);
    let document = Document {
        media_type: "text/plain; charset=utf-8",
        cache_control: "max-age=60",
        modified: site.started,
        content: text.as_bytes(),
    };
    let language = [(header::CONTENT_LANGUAGE, language), (header::VARY, "accept-language")];
    (language, document.answer(&request)).into_response()
}

/// A page that shows how often the origin was asked for it.
async fn counter(State(site): State<Site>) -> impl IntoResponse {
    let visits = site.counted.fetch_add(1, Ordering::Relaxed) + 1;
    ([(header::CACHE_CONTROL, "max-age=10")], format!("Times the origin was asked: {visits}\n"))
}

/// A page that takes three seconds to come, a line at a time.
async fn slow() -> impl IntoResponse {
    let lines = stream::unfold(1, |line| async move {
        if line > LINES_OF_SLOW {
            return None;
        }
        sleep(PAUSE_OF_SLOW).await;
        Some((format!("line {line} of {LINES_OF_SLOW}\n"), line + 1))
    });
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "max-age=30")],
        Body::from_stream(lossless(lines)),
    )
}

/// A page for one viewer alone.
async fn me(request: HeaderMap) -> Response {
    let personal = [(header::CACHE_CONTROL, "private"), (header::VARY, "cookie")];
    match answers::visitor(&request) {
        Some(visitor) => (personal, format!("You are visitor {visitor}.\n")).into_response(),
        None => {
            let cookie = format!("visitor={}; Path=/; HttpOnly; SameSite=Lax", answers::new_visitor());
            let cookie = [(header::SET_COOKIE, cookie)];
            (personal, cookie, "Welcome. Next time you are known.\n").into_response()
        }
    }
}

/// A stream of events, one a second.
async fn events() -> impl IntoResponse {
    let ticks = stream::unfold(1_u64, |tick| async move {
        sleep(Duration::from_secs(1)).await;
        Some((format!("data: tick {tick}\n\n"), tick + 1))
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")],
        Body::from_stream(lossless(ticks)),
    )
}

fn lossless(
    items: impl Stream<Item = String> + Send + 'static,
) -> impl Stream<Item = Result<String, Infallible>> + Send + 'static {
    use futures_util::StreamExt;
    items.map(Ok)
}
