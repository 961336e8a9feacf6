//! A configured site: which behavior a request falls under, where its content comes from, and what is allowed.
//!
//! [`Site::answer`] is the walk of one request. It finds the behavior once; the edge, which has the same behaviors in the same
//! order, finds its policy by the same rule, and `route` carries the rest past the cache to the origin's side. A site never
//! changes: a new configuration makes a new one over the same edge, so a request sees one configuration from beginning to end.

#[cfg(feature = "bucket")]
mod bucket;
mod origins;
mod route;
mod tls;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST, HeaderValue, LOCATION};
use hyper::http::Extensions;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, StatusCode};
use tower::Layer;
use tower_edge::origin::Viewer;
use tower_edge::{CachePolicy, Edge};

use self::origins::Origins;
pub(crate) use self::origins::{Source, Upload, erased};
pub(crate) use self::route::BadTarget;
use self::route::{Routes, ToOrigin};
pub(crate) use self::tls::Certificates;
use crate::admit::{Admitted, admit, spell_out};
use crate::answer::Answer;
use crate::config::{Config, Https, Problem};
use crate::distribution::Membership;
use crate::front::Front;
use crate::page::{EdgeBody, page};
use crate::trust::Trust;

pub(crate) struct Site {
    edge: Edge,
    front: Front<ToOrigin>,
    routes: Routes,
    origins: Origins,
    /// Where viewers have TLS, if the file says it.
    https_port: Option<u16>,
    trust: Trust,
}

impl Site {
    /// A site, and the edge for it.
    ///
    /// # Errors
    ///
    /// What cannot be built, as it stands in the file.
    pub(crate) async fn new(config: &Config) -> Result<Self, Vec<Problem>> {
        let (behaviors, policy) = rules(config);
        let mut builder = Edge::builder()
            .name(config.name.as_str())
            .capacity(config.capacity)
            .max_fills(config.max_fills)
            .tariff(config.tariff)
            .policy(policy);
        for behavior in behaviors {
            builder = builder.behavior(behavior);
        }
        let edge = builder.build().map_err(unplaced)?;
        Self::with(edge, config, None).await
    }

    /// This site as one of a distribution.
    ///
    /// # Errors
    ///
    /// What is wrong with its parents.
    pub(crate) fn joined(self, membership: &Membership, config: &Config) -> Result<Self, Vec<Problem>> {
        let parents = config.distribution.as_ref().map_or(&[][..], |distribution| &distribution.parents);
        let behind = membership.before(erased(ToOrigin(self.routes.clone())), &config.name, parents);
        let behind = behind.map_err(|reason| vec![Problem { place: None, reason }])?;
        let front = Front::Member(membership.parent(&self.edge, behind));
        let trust = Trust { token: membership.token.clone(), ..self.trust };
        Ok(Self { front, trust, ..self })
    }

    /// This site under another configuration: the edge keeps what it has, and so do origins that are as they were.
    pub(crate) async fn reconfigured(&self, config: &Config) -> Result<Self, Vec<Problem>> {
        let (behaviors, policy) = rules(config);
        let edge = self.edge.reconfigured(policy, behaviors).map_err(unplaced)?;
        Self::with(edge, config, Some(&self.origins)).await
    }

    async fn with(edge: Edge, config: &Config, before: Option<&Origins>) -> Result<Self, Vec<Problem>> {
        let origins = Origins::new(config, before).await?;
        let routes = Routes::new(edge.clone(), &config.behaviors, &origins);
        let front = Front::Alone(edge.layer().layer(ToOrigin(routes.clone())));
        let trust = Trust { proxies: config.proxies.clone(), token: None };
        Ok(Self { edge, front, routes, origins, https_port: config.https_port, trust })
    }

    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Answers a request that came over a connection of this scheme. A listener with TLS has `https_port`.
    pub(crate) fn answer(
        &self,
        mut request: Request<Incoming>,
        viewer: &Viewer,
        scheme: &Scheme,
        https_port: u16,
    ) -> Answer {
        if !self.trust.is_in_nobody() {
            request.extensions_mut().insert(viewer.clone());
        }
        let Admitted { scheme: viewers, may_loop } = match admit(&mut request, scheme, &self.trust) {
            Ok(admitted) => admitted,
            Err(refusal) => return page(refusal.status(), refusal.reason()).into(),
        };
        let route = self.routes.of(request.uri());
        if viewers == Scheme::HTTP {
            match route.https {
                Https::Any => {}
                Https::Redirect => return redirect(&request, self.https_port.unwrap_or(https_port)).into(),
                Https::Only => return only_https().into(),
            }
        }
        if let Some(allow) = route.refuses(request.method()) {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed here.\n");
            response.headers_mut().insert(ALLOW, allow);
            return response.into();
        }
        if may_loop && let Err(error) = route.refuse_loop(request.headers()) {
            return page(error.status(), error.page()).into();
        }
        if viewers == Scheme::HTTPS {
            // One edge stands behind both kinds of listeners.
            spell_out(&mut request, &viewers);
        }
        let extend = |extensions: &mut Extensions| {
            extensions.get_or_insert_with(|| viewer.clone());
            extensions.insert(Arc::clone(route));
        };
        Answer::Cache(self.front.answer(request, extend))
    }
}

/// The edge's behaviors, and its own policy for what none of them takes: that of the last in the file.
fn rules(config: &Config) -> (Vec<tower_edge::Behavior>, CachePolicy) {
    let (last, others) = config.behaviors.split_last().expect("a configuration has a last behavior");
    let mut behaviors: Vec<_> = others.iter().flat_map(crate::config::Behavior::rules).collect();
    behaviors.extend(last.media.behaviors(&last.path, &last.policy));
    (behaviors, last.policy.clone())
}

fn unplaced(error: tower_edge::ConfigError) -> Vec<Problem> {
    vec![Problem { place: None, reason: error.to_string() }]
}

/// RFC 9110 §15.4.9: with the same method, for good.
fn redirect(request: &Request<Incoming>, port: u16) -> Response<EdgeBody> {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let location =
        host.and_then(|host| HeaderValue::try_from(format!("https://{}{port}{path}", host.host())).ok());
    match location {
        Some(location) if path.starts_with('/') => {
            let mut response = page(StatusCode::PERMANENT_REDIRECT, "This is to be had by https:// alone.\n");
            response.headers_mut().insert(LOCATION, location);
            response
        }
        // HTTP/1.0 without a host, `OPTIONS *`.
        _ => only_https(),
    }
}

fn only_https() -> Response<EdgeBody> {
    page(StatusCode::FORBIDDEN, "This is to be had by https:// alone.\n")
}
