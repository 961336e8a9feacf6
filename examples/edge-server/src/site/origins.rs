//! The origins and groups of a configuration as services: [`Origins`].

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::{fmt, fs};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};
use tower_edge::RequestBody;
use tower_edge::origin::Member;
use tower_edge::origin::upstream::{self, HostField, Protocol, Timeouts, Tls, Upstream};

use crate::config::{Config, Group, Kind, Place, Problem};
use crate::demo;

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
                let url = format!("{}://{}", upstream.scheme, upstream.authority);
                let roots = match &upstream.ca_file {
                    Some(file) => vec![
                        fs::read(file).map_err(|error| format!("ca-file: {}: {error}", file.display()))?,
                    ],
                    None => Vec::new(),
                };
                let timeouts = Timeouts {
                    connect: upstream.connect_time,
                    first_byte: upstream.first_byte_time,
                    between_bytes: upstream.between_bytes_time,
                    quiet: upstream.quiet_time,
                    ..Timeouts::default()
                };
                let host = if upstream.rewrite_host { HostField::Origin } else { HostField::Keep };
                let protocol = if upstream.http2 { Protocol::Http2 } else { Protocol::Negotiated };
                let builder = Upstream::builder(url).host(host).protocol(protocol).timeouts(timeouts);
                self.upstream(builder.tls(Tls { roots, ..Tls::default() }))
            }
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => super::bucket::build(bucket).map(erased),
            #[cfg(not(feature = "bucket"))]
            Kind::Bucket(_) => Err("kind = \"bucket\" needs the feature bucket of edge-server".to_owned()),
            Kind::Demo => {
                let address = match self.demo {
                    Some(address) => address,
                    None => demo::start().await.map_err(|error| error.to_string())?,
                };
                self.demo = Some(address);
                self.upstream(Upstream::builder(format!("http://{address}")))
            }
        }
    }

    fn upstream(&self, builder: upstream::Builder) -> Result<Source, String> {
        builder.name(self.edge.as_str()).build().map(erased).map_err(|error| error.to_string())
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
