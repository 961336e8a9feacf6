//! The distribution that this edge is one of: its edges, clearing them as one, and where a viewer should go.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::timeout;
use tower_edge::InvalidationState;
use tower_edge::distribution::Coordinates;
use tower_edge::distribution::bus::{BusError, BusInvalidateError, BusReceipt, EdgeProgress, EdgeState};

use super::invalidations::{MAX_WAIT, Wait, bad_query, invalidation, query, read};
use super::problem::Problem;
use super::{Control, Shared};
use crate::api;
use crate::distribution::Membership;

fn membership(control: &Control) -> Result<&Membership, Problem> {
    let none = || Problem::new(StatusCode::NOT_FOUND, "this edge is in no distribution");
    control.membership.as_ref().ok_or_else(none)
}

/// Why the log did not take an invalidation.
fn not_taken(error: &BusInvalidateError) -> Problem {
    let detail = match error {
        BusInvalidateError::Record(_) => {
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        }
        // The request may have arrived, and its answer not.
        BusInvalidateError::Bus(BusError::Unreachable(_)) => {
            format!("{error}; if it took the invalidation, that comes into force all the same")
        }
        _ => error.to_string(),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, "1")
}

/// GET /distribution
pub(super) async fn edges(State(control): Shared) -> Result<Json<api::Distribution>, Problem> {
    let membership = membership(&control)?;
    let roll = membership.bus.roll().await;
    let follower = &membership.follower;
    let trouble = roll.as_ref().err().cloned().or_else(|| follower.trouble());
    let members = roll.map(|roll| roll.members).unwrap_or_default();
    let edges = members.iter().map(|(report, heard)| api::Member {
        name: report.name.clone(),
        applied: report.applied.map(|position| position.to_string()),
        draining: report.is_draining,
        heard: heard.as_secs_f64(),
    });
    let progress = follower.progress();
    Ok(Json(api::Distribution {
        applied: progress.applied.map(|position| position.to_string()),
        trusted: follower.is_trusted(),
        trouble: trouble.map(|error| error.to_string()),
        resets: progress.resets,
        edges: edges.collect(),
    }))
}

/// POST /distribution/invalidations
pub(super) async fn invalidate(
    State(control): Shared,
    wait: Result<Query<Wait>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let membership = membership(&control)?;
    let wait = seconds(wait)?;
    let asked = read(request).await?;
    let taken = membership.invalidator.invalidate(invalidation(&asked)?).await;
    let receipt = taken.map_err(|error| not_taken(&error))?;
    tracing::info!(id = receipt.id(), soft = asked.soft, "invalidation of the distribution");
    control.receipts.lock().unwrap_or_else(PoisonError::into_inner).keep(receipt.clone());
    let location = [(LOCATION, format!("/distribution/invalidations/{}", receipt.id()))];
    Ok((StatusCode::CREATED, location, Json(document(&control, &receipt, wait).await)).into_response())
}

/// GET /distribution/invalidations/{id}
pub(super) async fn invalidated(
    State(control): Shared,
    Path(id): Path<String>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<api::DistributionReceipt>, Problem> {
    membership(&control)?;
    let wait = seconds(wait)?;
    let receipt = control.receipts.lock().unwrap_or_else(PoisonError::into_inner).find(&id);
    let none =
        || Problem::new(StatusCode::NOT_FOUND, "no such invalidation was made here, or no longer known");
    Ok(Json(document(&control, &receipt.ok_or_else(none)?, wait).await))
}

fn seconds(wait: Result<Query<Wait>, QueryRejection>) -> Result<u64, Problem> {
    let wait = query(wait)?.wait.unwrap_or(0);
    if wait > MAX_WAIT {
        return Err(bad_query(&format!("wait: {wait} is over {MAX_WAIT} seconds")));
    }
    Ok(wait)
}

/// What became of an invalidation within so many seconds. The log has it, and being away it takes nothing back.
async fn document(control: &Control, receipt: &BusReceipt, wait: u64) -> api::DistributionReceipt {
    let mut closing = control.closing.subscribe();
    let completed = tokio::select! {
        completed = timeout(Duration::from_secs(wait), receipt.completed()) => completed.ok(),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    let (state, edges) = match completed {
        Some(Ok(edges)) => (api::State::Completed, Ok(edges)),
        Some(Err(error)) => (api::State::InProgress, Err(error)),
        // It may be completed all the same, where nobody was to wait for it.
        None => match receipt.state().await {
            Ok((InvalidationState::Completed, edges)) => (api::State::Completed, Ok(edges)),
            Ok((InvalidationState::InProgress, edges)) => (api::State::InProgress, Ok(edges)),
            Err(error) => (api::State::InProgress, Err(error)),
        },
    };
    api::DistributionReceipt {
        id: receipt.id(),
        reference: receipt.reference().map(str::to_owned),
        created: humantime::format_rfc3339_seconds(receipt.created()).to_string(),
        position: receipt.position().map(|position| position.to_string()),
        state,
        trouble: edges.as_ref().err().map(ToString::to_string),
        edges: edges.iter().flatten().map(progress).collect(),
    }
}

/// The last receipts of this edge's operators.
#[derive(Default)]
pub(super) struct Receipts(VecDeque<BusReceipt>);

const MAX_RECEIPTS: usize = 1_000;

impl Receipts {
    fn keep(&mut self, receipt: BusReceipt) {
        self.0.truncate(MAX_RECEIPTS - 1);
        self.0.push_front(receipt);
    }

    fn find(&self, id: &str) -> Option<BusReceipt> {
        self.0.iter().find(|receipt| receipt.id() == id).cloned()
    }
}

fn progress(edge: &EdgeProgress) -> api::EdgeProgress {
    let state = match edge.state {
        EdgeState::Silent => "silent",
        EdgeState::Pending => "pending",
        EdgeState::Applied => "applied",
        EdgeState::Swept => "swept",
    };
    api::EdgeProgress { name: edge.name.clone(), state: state.into() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Viewer {
    lat: Option<f64>,
    lon: Option<f64>,
    ip: Option<IpAddr>,
}

/// GET /nearest
pub(super) async fn nearest(
    State(control): Shared,
    viewer: Result<Query<Viewer>, QueryRejection>,
) -> Result<Json<api::Nearest>, Problem> {
    let membership = membership(&control)?;
    let viewer = match query(viewer)? {
        Viewer { lat: Some(latitude), lon: Some(longitude), ip: None } => {
            Coordinates::new(latitude, longitude).map_err(|error| bad_query(&error.to_string()))?
        }
        Viewer { lat: None, lon: None, ip: Some(address) } => {
            let nowhere = || Problem::new(StatusCode::NOT_FOUND, format!("nobody knows where {address} is"));
            membership.locate(address).ok_or_else(nowhere)?
        }
        _ => return Err(bad_query("names either lat and lon, or ip")),
    };
    let none = || Problem::new(StatusCode::NOT_FOUND, "of no edge it is known where it is");
    let place = membership.nearest(viewer).await.ok_or_else(none)?;
    Ok(Json(api::Nearest {
        name: place.name,
        region: place.region,
        at: [place.at.latitude(), place.at.longitude()],
        kilometres: place.at.distance(viewer).round(),
        url: place.url,
    }))
}
