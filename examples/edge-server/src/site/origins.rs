//! The origins and groups of a configuration as services: [`Origins`].

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};
use tower_edge::RequestBody;
use tower_edge::origin::Member;

use crate::config::{Config, Group, Kind, Place, Problem};
use crate::demo;
use crate::upstream::Upstream;

pub(super) type Upload = RequestBody<Incoming>;
pub(crate) type OriginBody = UnsyncBoxBody<Bytes, BrokeOff>;
/// An origin of any kind, or a group.
pub(super) type Source = BoxCloneSyncService<Request<Upload>, Response<OriginBody>, BoxError>;

/// Services by their names.
#[derive(Default)]
pub(super) struct Origins {
    edge: String,
    origins: BTreeMap<String, (Kind, Source)>,
    groups: BTreeMap<String, (Group, Source)>,
    demo: Option<SocketAddr>,
}

impl Origins {
    /// Builds what is new, and takes over from `before` what is as it was: its connections, and what is known of its health.
    pub(super) async fn new(config: &Config, before: Option<&Self>) -> Result<Self, Vec<Problem>> {
        let same_edge = |before: &&Self| before.edge == config.name;
        let kept = before.filter(same_edge);
        let mut origins = Self {
            edge: config.name.clone(),
            demo: before.and_then(|before| before.demo),
            ..Self::default()
        };
        let mut problems = Vec::new();
        for origin in &config.origins {
            let as_before = kept.and_then(|kept| kept.origins.get(&origin.name));
            let source = match as_before {
                Some((kind, source)) if *kind == origin.kind => Ok(source.clone()),
                _ => origins.build(&origin.kind).await,
            };
            match source {
                Ok(source) => {
                    drop(origins.origins.insert(origin.name.clone(), (origin.kind.clone(), source)))
                }
                Err(reason) => problems.push(problem(origin.place, &origin.name, &reason)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for group in &config.groups {
            let as_before = kept.and_then(|kept| {
                let (before, source) = kept.groups.get(&group.name)?;
                // Where it stands in the file does not matter.
                let is_same = before.members == group.members && before.policy == group.policy;
                let same_member = |name| {
                    kept.origins.get(name).map(|origin| &origin.0)
                        == origins.origins.get(name).map(|origin| &origin.0)
                };
                (is_same && group.members.iter().all(same_member)).then(|| source.clone())
            });
            let source = match as_before {
                Some(source) => Ok(source),
                None => origins.build_group(group),
            };
            match source {
                Ok(source) => drop(origins.groups.insert(group.name.clone(), (group.clone(), source))),
                Err(reason) => problems.push(problem(group.place, &group.name, &reason)),
            }
        }
        if problems.is_empty() { Ok(origins) } else { Err(problems) }
    }

    /// The service of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Source> {
        let origin = self.origins.get(name).map(|(_, source)| source);
        origin.or_else(|| self.groups.get(name).map(|(_, source)| source))
    }

    async fn build(&mut self, kind: &Kind) -> Result<Source, String> {
        match kind {
            Kind::Upstream(upstream) => {
                if upstream.scheme != Scheme::HTTP {
                    return Err("https:// is not built in".to_owned());
                }
                if upstream.ca_file.is_some() || upstream.http2 {
                    return Err("ca-file and http2 are not built in".to_owned());
                }
                Ok(self.upstream(upstream.authority.clone(), upstream.rewrite_host))
            }
            Kind::Bucket(_) => Err("kind = \"bucket\" is not built in".to_owned()),
            Kind::Demo => {
                let address = match self.demo {
                    Some(address) => address,
                    None => demo::start().await.map_err(|error| error.to_string())?,
                };
                self.demo = Some(address);
                let authority = address.to_string().parse().map_err(|_| "has no address")?;
                Ok(self.upstream(authority, false))
            }
        }
    }

    fn upstream(&self, authority: Authority, rewrite_host: bool) -> Source {
        erased(Upstream::new(authority, self.edge.clone(), rewrite_host))
    }

    fn build_group(&self, group: &Group) -> Result<Source, String> {
        let members = group.members.iter().filter_map(|name| {
            let (_, source) = self.origins.get(name)?;
            Some(Member::new(name.as_str(), source.clone()))
        });
        let service = tower_edge::origin::Group::new(members, group.policy.clone());
        service.map(erased).map_err(|error| error.to_string())
    }
}

/// Why an origin's body broke off. A boxed error itself is none.
#[derive(Debug)]
pub(crate) struct BrokeOff(BoxError);

impl fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for BrokeOff {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

fn problem(place: Place, name: &str, reason: &str) -> Problem {
    Problem { place: Some(place), reason: format!("{name}: {reason}") }
}

fn erased<S, R>(service: S) -> Source
where
    S: Service<Request<Upload>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    R: hyper::body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let service = service
        .map_response(|response: Response<R>| {
            response.map(|body| body.map_err(|error| BrokeOff(error.into())).boxed_unsync())
        })
        .map_err(|error: S::Error| error.into());
    BoxCloneSyncService::new(service)
}
