//! The same over sockets: children ask their parents by HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::uri::{Authority, Parts, Scheme};
use http::{Request, Response, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, service_fn};
use tower_edge::distribution::bus::{Follower, Local};
use tower_edge::distribution::{Announce, Parent, Parents, TierPolicy};
use tower_edge::origin::GroupPolicy;
use tower_edge::{EdgeBuilder, Invalidation, RequestBody};

use crate::held::Held;
use crate::support::{Answer, Origin, ask, edge, follow, get, invalidate, token};

type Body = RequestBody<Full<Bytes>>;

/// Serves on a free port for as long as the test runs.
async fn serve<S, R>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Asks what listens at an address. The viewer's `Host` stays.
fn at(
    address: SocketAddr,
) -> BoxCloneSyncService<Request<Body>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
    let client = Client::builder(TokioExecutor::new()).set_host(false).build_http::<Body>();
    BoxCloneSyncService::new(service_fn(move |mut request: Request<Body>| {
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(Authority::try_from(address.to_string()).unwrap());
        parts.path_and_query = request.uri().path_and_query().cloned();
        if let Some(host) = request.uri().authority() {
            let host = host.as_str().parse().unwrap();
            request.headers_mut().insert(header::HOST, host);
        }
        // As `Upstream` does.
        let scheme = request.uri().scheme_str().unwrap_or("http").parse().unwrap();
        request.headers_mut().append("x-forwarded-proto", scheme);
        *request.uri_mut() = Uri::from_parts(parts).unwrap();
        let answer = client
            .request(request)
            .map_ok(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()));
        answer.map_err(BoxError::from)
    }))
}

struct Shield {
    way: Arc<Held>,
    follower: Arc<Follower>,
    address: SocketAddr,
}

async fn shield(bus: &Arc<Local>, builder: EdgeBuilder, origin: &Origin) -> Shield {
    let way = Held::on(bus);
    let edge = builder.build().unwrap();
    let follower = follow(&edge, way.clone()).await;
    let mut policy = TierPolicy::default();
    policy.token = Some(token());
    let parent = Parent::new(&edge, origin.clone(), Arc::clone(&follower), policy);
    Shield { way, follower, address: serve(parent).await }
}

const URI: &str = "http://site.example/x";

/// What the child has at once and for good after everything was cleared, which the parent does not know yet.
async fn refilled(shield_edge: EdgeBuilder) -> (Answer, String) {
    let (bus, origin) = (Arc::new(Local::new()), Origin::cacheable());
    let shield = shield(&bus, shield_edge, &origin).await;
    let child = edge("fra-1").build().unwrap();
    let follower = follow(&child, bus.clone()).await;
    let site = child.layer().layer(Announce::new(at(shield.address), Arc::clone(&follower), token()));
    let first = get(&site, URI).await;
    assert_eq!(first.status(), "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored");
    shield.way.hold(true);
    origin.change();
    let receipt = invalidate(bus.clone(), Invalidation::all()).await;
    follower.reached(receipt.position().unwrap()).await;
    assert_ne!(shield.follower.applied(), receipt.position());
    let at_once = get(&site, URI).await;
    shield.way.hold(false);
    let completed =
        tokio::time::timeout(Duration::from_secs(10), receipt.completed()).await.unwrap().unwrap();
    assert_eq!(completed.len(), 2);
    (at_once, get(&site, URI).await.body)
}

#[tokio::test]
async fn a_child_does_not_refill_over_http_with_what_its_parent_does_not_know_to_be_cleared() {
    let (at_once, for_good) = refilled(edge("shield")).await;
    assert_eq!(at_once.status(), "shield; fwd=bypass; detail=behind, fra-1; fwd=uri-miss; stored");
    assert_eq!((at_once.body.as_str(), for_good.as_str()), ("content 2", "content 2"));
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn without_the_check_of_positions_what_was_cleared_comes_back_over_http() {
    let (at_once, for_good) = refilled(edge("shield").leave_out(tower_edge::Check::Position)).await;
    assert_eq!((at_once.body.as_str(), for_good.as_str()), ("content 1", "content 1"));
}

#[tokio::test]
async fn what_viewers_asked_for_by_tls_is_cleared_by_its_url_on_a_parent_without() {
    const URI: &str = "https://site.example/x";
    let (bus, origin) = (Arc::new(Local::new()), Origin::cacheable());
    let shield = shield(&bus, edge("shield"), &origin).await;
    let child = edge("fra-1").build().unwrap();
    let follower = follow(&child, bus.clone()).await;
    let site = child.layer().layer(Announce::new(at(shield.address), follower, token()));
    get(&site, URI).await;
    origin.change();
    let receipt = invalidate(bus.clone(), Invalidation::url(URI).unwrap()).await;
    receipt.completed().await.unwrap();
    let answer = get(&site, URI).await;
    assert_eq!(answer.status(), "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored");
    assert_eq!(answer.body, "content 2");
}

#[tokio::test]
async fn the_next_parent_answers_for_one_that_is_gone_and_then_the_origin() {
    let (bus, origin) = (Arc::new(Local::new()), Origin::cacheable());
    let one = shield(&bus, edge("shield-1"), &origin).await;
    let gone = {
        // Nobody listens any more where this did.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let child = edge("fra-1").build().unwrap();
    let follower = follow(&child, bus.clone()).await;
    let parents = |first, second| {
        Parents::new(Arc::clone(&follower), token())
            .otherwise("origin", origin.clone())
            .parent("shield-1", at(first))
            .parent("shield-2", at(second))
            .build(GroupPolicy::default())
            .unwrap()
    };
    let site = child.layer().layer(parents(one.address, gone));
    // Whichever they choose, it comes from the one that is there.
    for n in 0..8 {
        let answer = get(&site, &format!("http://site.example/{n}")).await;
        assert_eq!(answer.status(), "shield-1; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored");
    }
    let site = child.layer().layer(parents(gone, gone));
    let answer = get(&site, "http://site.example/other").await;
    assert_eq!(answer.status(), "fra-1; fwd=uri-miss; stored");
    let (_, seen) = origin.last();
    assert!(!seen.contains_key("tower-edge-token") && !seen.contains_key("tower-edge-position"), "{seen:?}");
    // A write goes to one that is not known to be gone.
    let site = child.layer().layer(parents(one.address, gone));
    for n in 0..20 {
        get(&site, &format!("http://site.example/w{n}")).await;
    }
    let posted = Request::post("http://site.example/w").body(Full::from("x")).unwrap();
    assert_eq!(ask(&site, posted).await.status(), "shield-1; fwd=method, fra-1; fwd=method");
}
