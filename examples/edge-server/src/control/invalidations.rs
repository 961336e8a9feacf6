//! Clearing, and what became of it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tower_edge::{Invalidation, InvalidationState, Receipt, ScopeError};

use super::problem::Problem;
use super::{Control, Shared};
use crate::api::{self, InvalidationRequest, Object};

/// From a request's head to the end of its body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How long a request may wait for an invalidation to complete, in seconds.
pub(super) const MAX_WAIT: u64 = 30;
const PAGE: usize = 50;
const MAX_PAGE: usize = 100;
const MAX_REFERENCE: usize = 256;
const MAX_GROUP: usize = 256;

/// POST /invalidations
pub(super) async fn make(State(control): Shared, request: Request) -> Result<Response, Problem> {
    let asked = read(request).await?;
    let invalidation = invalidation(&asked)?;
    if control.membership.is_some() {
        // It would look as if everything were cleared.
        let detail =
            "this edge is one of a distribution, where /distribution/invalidations clears every edge";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let paths = asked.paths.len() + asked.tags.len() + asked.groups.len() + usize::from(asked.all);
    let wildcards = asked.paths.iter().filter(|path| path.ends_with('*')).count() + usize::from(asked.all);

    let (receipt, is_new) = {
        // Nothing is left half done by a panic.
        let _making = control.making.lock().unwrap_or_else(PoisonError::into_inner);
        let invalidator = (control.edge)().invalidator();
        match asked.reference.as_deref().and_then(|reference| invalidator.receipt_of(reference)) {
            Some(receipt) => (receipt, false),
            None => match invalidator.invalidate(invalidation) {
                Ok(receipt) => (receipt, true),
                Err(error) => return Err(Problem::not_made(error, paths as u64, wildcards as u64)),
            },
        }
    };
    if is_new {
        tracing::info!(id = receipt.id(), paths, soft = receipt.is_soft(), "invalidation");
    }
    let location = [(LOCATION, format!("/invalidations/{}", receipt.id()))];
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, location, Json(document(&receipt))).into_response())
}

pub(super) async fn read(request: Request) -> Result<InvalidationRequest, Problem> {
    // What a form on a page can send is refused by its media type.
    let body = timeout(BODY_TIME, Json::<Object<InvalidationRequest>>::from_request(request, &()));
    match body.await {
        Ok(Ok(Json(Object(asked)))) => Ok(asked),
        Ok(Err(rejection)) => Err(unreadable(&rejection)),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

fn unreadable(rejection: &JsonRejection) -> Problem {
    let reason =
        std::error::Error::source(rejection).map_or_else(|| rejection.body_text(), ToString::to_string);
    let detail = match rejection {
        JsonRejection::JsonSyntaxError(_) => format!("the body is no JSON: {reason}"),
        _ => reason,
    };
    Problem::new(rejection.status(), detail)
}

/// What a request names; the first of it that is wrong is the error.
pub(super) fn invalidation(asked: &InvalidationRequest) -> Result<Invalidation, Problem> {
    let InvalidationRequest { paths, tags, groups, all, host, soft, reference } = asked;
    let host = host.as_deref();
    let on_host = |path: &str| match host {
        Some(host) => Invalidation::host_paths(host, [path]),
        None => Invalidation::paths([path]),
    };
    if let Some(host) = host {
        on_host("/").map_err(|error| Problem::scope("host", &error))?;
        if !is_host(host) {
            return Err(Problem::at("host", "is no host"));
        }
    }
    let mut parts = each("paths", paths, on_host)?;
    parts.extend(each("tags", tags, |tag| Invalidation::tags([tag]))?);
    if !groups.is_empty() {
        let Some(host) = host else {
            return Err(Problem::at(
                "groups",
                "a group is one of its host's (RFC 9875), and there is no host",
            ));
        };
        if let Some(at) = groups.iter().position(|group| !is_text(group, MAX_GROUP)) {
            return Err(Problem::at(&format!("groups[{at}]"), "is not 1 to 256 characters of ASCII"));
        }
        // Its listeners may speak TLS or not, and a group is one of its origin's, scheme included.
        parts.extend(each("groups", groups, |group| Invalidation::host_groups(host, [group]))?);
    }
    if *all {
        parts.push(match host {
            Some(_) => on_host("/*").map_err(|error| Problem::scope("host", &error))?,
            None => Invalidation::all(),
        });
    }
    let Some(whole) = parts.into_iter().reduce(Invalidation::and) else {
        let detail = "names nothing: there must be paths, tags or groups, or all must be true";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    let whole = if *soft { whole.soft() } else { whole };
    match reference {
        None => Ok(whole),
        Some(reference) if is_text(reference, MAX_REFERENCE) => Ok(whole.reference(reference.as_str())),
        Some(_) => Err(Problem::at("reference", "is not 1 to 256 characters of ASCII")),
    }
}

fn each(
    field: &str,
    values: &[String],
    one: impl Fn(&str) -> Result<Invalidation, ScopeError>,
) -> Result<Vec<Invalidation>, Problem> {
    let named = |(at, value): (usize, &String)| {
        one(value).map_err(|error| Problem::scope(&format!("{field}[{at}]"), &error))
    };
    values.iter().enumerate().map(named).collect()
}

/// In the one form that the description has: a name or an address in brackets, and a port that is not empty.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (text, "80"),
    };
    let is_name = match name.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|address| {
            !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
        }),
        None => true,
    };
    is_name && (1..=5).contains(&port.len())
}

/// What can stand in a header field, and in a log.
fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<usize>,
    before: Option<String>,
}

/// GET /invalidations
pub(super) async fn list(
    State(control): Shared,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<api::Receipts>, Problem> {
    let Page { limit, before } = query(page)?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(bad_query(&format!("limit: {limit} is not 1 to {MAX_PAGE}")));
    }
    let before = match before.as_deref().map(|id| (id, number(id))) {
        Some((id, None)) => return Err(bad_query(&format!("before: {id:?} is no id of an invalidation"))),
        Some((_, number)) => number,
        None => None,
    };
    let mut receipts = (control.edge)().invalidator().history();
    receipts.retain(|receipt| before.is_none_or(|before| number(&receipt.id()) < Some(before)));
    let next = if receipts.len() > limit { Some(receipts[limit - 1].id()) } else { None };
    receipts.truncate(limit);
    Ok(Json(api::Receipts { invalidations: receipts.iter().map(document).collect(), next }))
}

/// Ids grow with time.
fn number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix('I').filter(|digits| (8..=16).contains(&digits.len()))?;
    let upper = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    if upper { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    pub(super) wait: Option<u64>,
}

/// GET /invalidations/{id}
pub(super) async fn one(
    State(control): Shared,
    Path(id): Path<String>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<api::Receipt>, Problem> {
    let wait = query(wait)?.wait.unwrap_or(0);
    if wait > MAX_WAIT {
        return Err(bad_query(&format!("wait: {wait} is over {MAX_WAIT} seconds")));
    }
    let receipt = (control.edge)().invalidator().receipt(&id);
    let receipt = receipt
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such invalidation, or no longer"))?;
    completed(&control, &receipt, Duration::from_secs(wait)).await;
    Ok(Json(document(&receipt)))
}

async fn completed(control: &Arc<Control>, receipt: &Receipt, wait: Duration) {
    let mut closing = control.closing.subscribe();
    tokio::select! {
        () = receipt.completed() => {}
        () = sleep(wait) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|rejection| {
        let reason = std::error::Error::source(&rejection).map(ToString::to_string);
        bad_query(&reason.unwrap_or_else(|| rejection.body_text()))
    })
}

pub(super) fn bad_query(reason: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the query: {reason}"))
}

fn document(receipt: &Receipt) -> api::Receipt {
    let charge = receipt.charge();
    api::Receipt {
        id: receipt.id(),
        reference: receipt.reference().map(str::to_owned),
        created: humantime::format_rfc3339_seconds(receipt.created()).to_string(),
        // Before the counts, which are final once it is completed.
        state: match receipt.state() {
            InvalidationState::InProgress => api::State::InProgress,
            InvalidationState::Completed => api::State::Completed,
        },
        soft: receipt.is_soft(),
        objects: receipt.objects(),
        bytes: receipt.bytes(),
        fills_revoked: receipt.fills_revoked(),
        charge: api::Charge {
            paths: charge.paths,
            billed_paths: charge.billed_paths,
            amount_micro_usd: charge.amount,
        },
    }
}
