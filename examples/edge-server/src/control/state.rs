//! What there is: objects, figures, costs.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED, PROXY_AUTHORIZATION,
};
use serde::Deserialize;
use tower_edge::StoredObject;

use super::Shared;
use super::invalidations::query;
use super::problem::Problem;
use crate::api;

/// GET /usage
pub(super) async fn usage(State(control): Shared) -> Json<api::Usage> {
    let usage = (control.edge)().invalidator().usage();
    let (year, month) = usage.month;
    Json(api::Usage {
        month: format!("{year:04}-{month:02}"),
        paths: usage.paths,
        free_paths: control.tariff.free_paths,
        price_micro_usd: control.tariff.price,
        amount_micro_usd: usage.amount,
        budget_micro_usd: control.tariff.budget,
    })
}

/// GET /stats
pub(super) async fn stats(State(control): Shared) -> Json<api::Stats> {
    let stats = (control.edge)().stats();
    Json(api::Stats {
        requests: stats.requests,
        hits: stats.hits,
        stale_hits: stats.stale_hits,
        misses: stats.misses,
        revalidations: stats.revalidations,
        collapsed: stats.collapsed,
        passed: stats.passed,
        stored: stats.stored,
        refreshed: stats.refreshed,
        not_stored: stats.not_stored,
        prefetched: stats.prefetched,
        failed_bodies: stats.failed_bodies,
        invalidations: stats.invalidations,
        objects: stats.objects,
        bytes: stats.bytes,
        fills: stats.fills,
        bytes_in_flight: stats.bytes_in_flight,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    url: String,
}

/// GET /objects
pub(super) async fn objects(
    State(control): Shared,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<api::Objects>, Problem> {
    let url = query(wanted)?.url;
    let found = (control.edge)().objects(&url).await.map_err(|error| Problem::query("url", &error))?;
    let objects: Vec<_> = found.iter().map(object).collect();
    Ok(Json(api::Objects { url, stored: !objects.is_empty(), objects }))
}

fn object(object: &StoredObject) -> api::StoredObject {
    let header = |name: HeaderName| object.headers.get(name).map(text);
    let part = api::Part { start: object.range.start, end: object.range.end };
    api::StoredObject {
        status: object.status.as_u16(),
        age: object.age.as_secs(),
        ttl: object.ttl,
        softly_invalidated: object.softly_invalidated,
        size: object.length,
        part: Some(part).filter(|_| !object.is_whole()),
        weight: object.weight,
        tags: object.tags.clone(),
        groups: object.groups.clone(),
        vary: object.vary.iter().map(|(name, value)| field(name, value.as_ref())).collect(),
        key_fields: object.key_fields.iter().map(|(name, value)| field(name, Some(value))).collect(),
        content_type: header(CONTENT_TYPE),
        etag: header(ETAG),
        last_modified: header(LAST_MODIFIED),
    }
}

/// Whoever reads this needs nobody's password.
fn field(name: &HeaderName, value: Option<&HeaderValue>) -> api::Field {
    let withheld = value.is_some() && [COOKIE, AUTHORIZATION, PROXY_AUTHORIZATION].contains(name);
    api::Field { name: name.to_string(), value: value.filter(|_| !withheld).map(text), withheld }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_somebody_is_withheld() {
        let secret = HeaderValue::from_static("sid=1");
        assert_eq!(
            field(&COOKIE, Some(&secret)),
            api::Field { name: "cookie".into(), value: None, withheld: true }
        );
        assert!(!field(&COOKIE, None).withheld);
        assert_eq!(field(&ETAG, Some(&secret)).value.as_deref(), Some("sid=1"));
    }
}
