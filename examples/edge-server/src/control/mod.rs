//! The control port: what an operator asks and tells an edge, in JSON, on a listener of its own.
//!
//! `openapi.json` describes it and is served. `guard` decides who may ask; `invalidations` clears; `state` tells what there
//! is; `problem` is every error.

mod distribution;
mod guard;
mod invalidations;
mod problem;
mod state;

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_edge::{Edge, Tariff};

use self::problem::Problem;
use crate::args::ControlArgs;
use crate::distribution::Membership;
use crate::token::Token;

const BODY_BYTES: usize = 64 * 1024;
/// From a request's head to its answer's. Longer than the longest wait that may be asked for.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// What the control port knows.
struct Control {
    edge: CurrentEdge,
    /// If it is one of a distribution.
    membership: Option<Membership>,
    tariff: Tariff,
    /// Whoever waits for an invalidation ends when the server does.
    closing: watch::Sender<bool>,
    /// One invalidation is made at a time, to tell a new one from a repeated one.
    making: Mutex<()>,
    /// Of the distribution.
    receipts: Mutex<distribution::Receipts>,
}

/// The edge under the rules of the moment.
pub(crate) type CurrentEdge = Arc<dyn Fn() -> Edge + Send + Sync>;

type Shared = axum::extract::State<Arc<Control>>;

/// Where it listens, and what answers there; nothing if it is off.
///
/// # Errors
///
/// What is wrong with the address or the token.
pub(crate) async fn open(
    args: &ControlArgs,
    membership: Option<Membership>,
    edge: CurrentEdge,
    tariff: Tariff,
    closing: watch::Sender<bool>,
) -> Result<Option<(TcpListener, Router)>, String> {
    let Some((address, token)) = may_open(args)? else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))?;
    let (making, receipts) = (Mutex::default(), Mutex::default());
    let control = Control { edge, membership, tariff, closing, making, receipts };
    let expected = token.as_ref().map(Token::expected);
    let description = description(token.is_some());
    let router = Router::new()
        .route("/openapi.json", get(move || ready(Json(description.clone()))))
        .route("/invalidations", get(invalidations::list).post(invalidations::make))
        .route("/invalidations/{id}", get(invalidations::one))
        .route("/usage", get(state::usage))
        .route("/stats", get(state::stats))
        .route("/objects", get(state::objects))
        .route("/distribution", get(distribution::edges))
        .route("/distribution/invalidations", post(distribution::invalidate))
        .route("/distribution/invalidations/{id}", get(distribution::invalidated))
        .route("/nearest", get(distribution::nearest))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "there is no such resource (see /openapi.json)")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has no such method (see Allow)")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(expected, guard::guard))
        .with_state(Arc::new(control));
    Ok(Some((listener, router)))
}

/// Where it is to listen, and the token to show.
///
/// # Errors
///
/// What is wrong with either.
pub(crate) fn may_open(args: &ControlArgs) -> Result<Option<(SocketAddr, Option<Token>)>, String> {
    let Some(address) = args.control else { return Ok(None) };
    let token = Token::find(args.control_token_file.as_deref())?;
    if token.is_none() && !address.ip().is_loopback() {
        return Err(format!(
            "--control {address}: anything but a loopback address needs a token (--control-token-file)"
        ));
    }
    Ok(Some((address, token)))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    format!("--control {address}: cannot listen: {error}")
}

async fn in_time(request: Request, next: Next) -> Response {
    timeout(ANSWER_TIME, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response()
    })
}

/// The description, which asks for a token only where there is one.
fn description(token: bool) -> Value {
    let mut description: Value =
        serde_json::from_str(include_str!("openapi.json")).expect("the description is JSON");
    if !token {
        description["security"] = Value::Array(Vec::new());
    }
    description
}
