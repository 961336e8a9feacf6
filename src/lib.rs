//! An embeddable HTTP edge cache: a Tower [`Layer`](tower::Layer) that turns any origin service into a CDN's edge location.
//!
//! An [`Edge`] is one shared cache and all it remembers. Its [layer](Edge::layer) puts it in front of a service: an axum
//! `Router`, a hyper client, a function. What the service answers is stored and reused by the rules of RFC 9111, within the
//! bounds of a [`CachePolicy`]; every answer says in `Cache-Status` what happened, and in an [`Outcome`] if you wish.
//!
//! ```
//! use std::convert::Infallible;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty, Full};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_edge::{Edge, Outcome};
//!
//! async fn origin<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let answer = Response::builder().header("cache-control", "max-age=60");
//!     Ok(answer.body(Full::from("rendered")).expect("well-formed fields"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let edge = Edge::builder().name("fra-1").outcomes(true).build()?;
//! let site = edge.layer().layer(service_fn(origin));
//! for (number, status) in ["fra-1; fwd=uri-miss; stored", "fra-1; hit; ttl=60"].iter().enumerate() {
//!     let request = Request::get("http://example.com/").body(Empty::<Bytes>::new())?;
//!     let response = site.clone().oneshot(request).await?;
//!     assert_eq!(response.headers()["cache-status"], status);
//!     assert_eq!(response.extensions().get::<Outcome>().map(Outcome::is_hit), Some(number == 1));
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), "rendered");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Before you use it
//!
//! - **It is a shared cache.** What one viewer got, another may get, if the answer allows it. An answer that is for one viewer
//!   has to say so, by `private`, `no-store` or `Vary`; one that sets a cookie is not stored.
//! - **A request needs a host**, in its URI or in `Host`: it is part of the cache key. One without, or with two, is forwarded
//!   and nothing is stored.
//! - **Misses need a tokio runtime** with time enabled: the exchange with the origin is a task of its own. Outside one, requests
//!   are forwarded. Hits need none.
//! - **Nested routers** strip a prefix from the path, so two of them may see the same path for different things. Put the layer
//!   around the outermost router, or give each an edge of its own.
//! - **Hop-by-hop fields** are the business of what sits on the connection: a client used as an origin takes them out with
//!   [`semantics::headers::strip_hop_by_hop`], as the origins of this crate do.
//! - **A request's extensions** go to the origin with it, so hyper's callback for interim answers (1xx) works: for the request
//!   that asks the origin, not for those that share its answer. A refresh in the background may call it after the answer.
//!
//! # Map
//!
//! | what | where |
//! |---|---|
//! | the cache, its configuration, its figures | [`Edge`], [`EdgeBuilder`], [`Stats`] |
//! | in front of a service | [`CacheLayer`], [`Cache`], [`RequestBody`], [`ResponseFuture`], [`Body`] |
//! | what is kept, and how long | [`CachePolicy`] and its parts, [`Behavior`] for patterns of paths |
//! | ready-made policies for live and on-demand video | [`preset`] |
//! | what is fetched before anybody asks for it | [`prefetch`] |
//! | what a handler says of its answer | [`CacheHints`] |
//! | what makes two requests the same | [`KeyPolicy`], [`Select`], [`CustomKey`] |
//! | what is stored for a URL | [`Edge::objects`], [`StoredObject`] |
//! | clearing | [`Invalidator`], [`Invalidation`] |
//! | what happened to a request | [`Outcome`], [`Disposition`], [`ForwardReason`], [`Detail`] |
//! | what went wrong | [`ConfigError`] when building, [`BodyError`] while reading a body |
//! | ready-made origins, and several as one with failover | [`origin`], [`origin::Group`] |
//! | several edges cleared as one | [`distribution`] |
//! | time, for tests | [`Clock`], [`ManualClock`] |
//! | the rules of HTTP caching, by themselves | [`semantics`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `upstream` | `origin::Upstream`: an HTTP site as the origin, by hyper and rustls |
//! | `object-store` | `origin::ObjectStore`: a bucket, a folder or memory as the origin, by `object_store` |
//! | `maxmind` | `distribution::viewer::MaxMind`: where viewers are, by a MaxMind database |
//! | `redis` | `distribution::bus::Redis`: the log of invalidations that edges on several machines share |
//!
//! `faults` leaves out checks, for this crate's own tests, and comes with no promise of any kind.

mod answer;
mod behind;
mod body;
mod builder;
mod clock;
mod contact;
pub mod distribution;
mod edge;
mod error;
mod fill;
mod future;
mod glob;
mod hints;
mod invalidation;
mod key;
mod layer;
mod lookup;
mod name;
mod objects;
mod observe;
pub mod origin;
mod outcome;
mod policy;
pub mod prefetch;
pub mod preset;
#[cfg(all(test, shuttle))]
mod race;
mod request;
mod rules;
pub mod semantics;
mod service;
mod signature;
mod slices;
mod store;
mod sync;
mod upload;

pub use body::Body;
pub use builder::EdgeBuilder;
pub use clock::{Clock, ManualClock, SystemClock};
pub use edge::Edge;
pub use error::{BodyError, BodyErrorKind, ConfigError};
pub use future::ResponseFuture;
pub use hints::CacheHints;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use invalidation::Check;
pub use invalidation::{
    Charge, InvalidateError, Invalidation, InvalidationState, Invalidator, Receipt, ScopeError, Tariff, Usage,
};
pub use key::{CustomKey, KeyPolicy, Select};
pub use layer::CacheLayer;
pub use objects::StoredObject;
pub use observe::Stats;
pub use outcome::{Detail, Disposition, ForwardReason, Outcome};
pub use policy::{
    Authorization, Behavior, CachePolicy, Heuristic, Limits, Normalise, RequestDirectives, SetCookie, Slices,
    Stale, TagField, TagSeparator, Tags, Targeted, Ttl, Writes,
};
pub use service::Cache;
pub use upload::RequestBody;

// The examples in the README compile and hold.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
