//! The distribution that this edge is one of: its edges, clearing them as one, and where a viewer should go.

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::timeout;
use tower_edge::distribution::Coordinates;
use tower_edge::distribution::bus::{EdgeProgress, EdgeState};

use super::invalidations::{MAX_WAIT, Wait, bad_query, invalidation, query, read};
use super::problem::Problem;
use super::{Control, Shared};
use crate::api;
use crate::distribution::Membership;

fn membership(control: &Control) -> Result<&Membership, Problem> {
    let none = || Problem::new(StatusCode::NOT_FOUND, "this edge is in no distribution");
    control.membership.as_ref().ok_or_else(none)
}

/// The log is away, and may be back in a moment.
fn away(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).with(RETRY_AFTER, "1")
}

/// GET /distribution
pub(super) async fn edges(State(control): Shared) -> Result<Json<api::Distribution>, Problem> {
    let membership = membership(&control)?;
    let roll = membership.bus.roll().await.map_err(away)?;
    let edges = roll.members.iter().map(|(report, heard)| api::Member {
        name: report.name.clone(),
        applied: report.applied.map(|position| position.to_string()),
        heard: heard.as_secs_f64(),
    });
    let applied = membership.follower.applied().map(|position| position.to_string());
    Ok(Json(api::Distribution { applied, edges: edges.collect() }))
}

/// POST /distribution/invalidations
pub(super) async fn invalidate(
    State(control): Shared,
    wait: Result<Query<Wait>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let membership = membership(&control)?;
    let wait = query(wait)?.wait.unwrap_or(0);
    if wait > MAX_WAIT {
        return Err(bad_query(&format!("wait: {wait} is over {MAX_WAIT} seconds")));
    }
    let asked = read(request).await?;
    let receipt = membership.invalidator.invalidate(invalidation(&asked)?).await.map_err(away)?;
    tracing::info!(id = receipt.id(), soft = asked.soft, "invalidation of the distribution");
    let mut closing = control.closing.subscribe();
    let completed = tokio::select! {
        completed = timeout(Duration::from_secs(wait), receipt.completed()) => completed.ok(),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    let (state, edges) = match completed {
        Some(edges) => (api::State::Completed, edges.map_err(away)?),
        None => (api::State::InProgress, receipt.edges().await.map_err(away)?),
    };
    let document = api::DistributionReceipt {
        id: receipt.id(),
        reference: receipt.reference().map(str::to_owned),
        created: humantime::format_rfc3339_seconds(receipt.created()).to_string(),
        position: receipt.position().map(|position| position.to_string()),
        state,
        edges: edges.iter().map(progress).collect(),
    };
    Ok((StatusCode::CREATED, Json(document)).into_response())
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
