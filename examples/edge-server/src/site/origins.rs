//! The origins and groups of a configuration as services: [`Origins`].

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};
use tower_edge::origin::Member;
use tower_edge::origin::upstream::{self, HostField, Identity, Protocol, Timeouts, Tls, Upstream};
use tower_edge::{ConfigError, RequestBody};

use crate::config::{Config, Group, Kind, Place, Problem};
use crate::demo;
use crate::page::{OriginBody, erased_body};

pub(crate) type Upload = RequestBody<Incoming>;
/// An origin of any kind, or a group.
pub(crate) type Source = BoxCloneSyncService<Request<Upload>, Response<OriginBody>, BoxError>;

/// An origin, and what it was built of.
struct Built {
    kind: Kind,
    files: Files,
    source: Source,
    upstream: Option<Upstream>,
}

/// What the files hold that an origin's configuration names.
#[derive(Clone, Default, PartialEq, Eq)]
struct Files {
    roots: Vec<Vec<u8>>,
    identity: Option<Identity>,
}

impl Files {
    fn read(kind: &Kind) -> Result<Self, String> {
        let Kind::Upstream(upstream) = kind else { return Ok(Self::default()) };
        let read = |key: &str, file: &Path| {
            fs::read(file).map_err(|error| format!("{key}: {}: {error}", file.display()))
        };
        let roots = match &upstream.ca_file {
            Some(file) => vec![read("ca-file", file)?],
            None => Vec::new(),
        };
        let identity = match &upstream.identity {
            Some((certificate, key)) => Some(Identity {
                certificates: read("client-certificate", certificate)?,
                key: read("client-key", key)?,
            }),
            None => None,
        };
        Ok(Self { roots, identity })
    }
}

/// Services by their names.
#[derive(Default)]
pub(super) struct Origins {
    edge: String,
    origins: BTreeMap<String, Built>,
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
            let built = match Files::read(&origin.kind) {
                Ok(files) => {
                    let before = kept.and_then(|kept| kept.origins.get(&origin.name));
                    match before.filter(|before| before.kind == origin.kind && before.files == files) {
                        Some(before) => Ok((before.source.clone(), before.upstream.clone(), files)),
                        None => origins
                            .build(&origin.kind, &files)
                            .await
                            .map(|(source, upstream)| (source, upstream, files)),
                    }
                }
                Err(reason) => Err(reason),
            };
            match built {
                Ok((source, upstream, files)) => {
                    let built = Built { kind: origin.kind.clone(), files, source, upstream };
                    origins.origins.insert(origin.name.clone(), built);
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
                let parts = |built: &Built| (built.kind.clone(), built.files.clone());
                let same_member =
                    |name| kept.origins.get(name).map(parts) == origins.origins.get(name).map(parts);
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
        let origin = self.origins.get(name).map(|built| &built.source);
        origin.or_else(|| self.groups.get(name).map(|(_, source)| source))
    }

    /// What the origin, or the members of the group, of this name call themselves.
    pub(super) fn names(&self, name: &str) -> Vec<(Scheme, Authority)> {
        let one = |name: &str| match &self.origins.get(name)?.kind {
            Kind::Upstream(upstream) => Some((upstream.scheme.clone(), upstream.authority.clone())),
            Kind::Bucket(_) | Kind::Demo => None,
        };
        self.members(name).into_iter().filter_map(one).collect()
    }

    /// The upstreams among the origin, or the members of the group, of this name.
    pub(super) fn upstreams(&self, name: &str) -> Vec<Upstream> {
        let one = |name: &str| self.origins.get(name)?.upstream.clone();
        self.members(name).into_iter().filter_map(one).collect()
    }

    fn members<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        match self.groups.get(name) {
            Some((group, _)) => group.members.iter().map(String::as_str).collect(),
            None => vec![name],
        }
    }

    async fn build(&mut self, kind: &Kind, files: &Files) -> Result<(Source, Option<Upstream>), String> {
        match kind {
            Kind::Upstream(upstream) => {
                let url = format!("{}://{}", upstream.scheme, upstream.authority);
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
                let Files { roots, identity } = files.clone();
                let system_roots = roots.is_empty();
                self.upstream(builder.tls(Tls { system_roots, roots, identity, ..Tls::default() }))
            }
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => super::bucket::build(bucket).map(|bucket| (erased(bucket), None)),
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

    fn upstream(&self, builder: upstream::Builder) -> Result<(Source, Option<Upstream>), String> {
        let upstream = builder.name(self.edge.as_str()).build().map_err(|error| as_in_the_file(&error))?;
        Ok((erased(upstream.clone()), Some(upstream)))
    }

    fn build_group(&self, group: &Group) -> Result<Source, String> {
        let members = group
            .members
            .iter()
            .filter_map(|name| Some(Member::new(name.as_str(), self.origins.get(name)?.source.clone())));
        let service = tower_edge::origin::Group::new(members, group.policy.clone());
        service.map(erased).map_err(|error| error.to_string())
    }
}

/// What is wrong with an upstream, by the keys of the file.
fn as_in_the_file(error: &ConfigError) -> String {
    let keys = [
        ("tls.roots[0]:", "ca-file:"),
        ("tls.identity.certificates:", "client-certificate:"),
        ("tls.identity.key:", "client-key:"),
    ];
    let error = error.to_string();
    let key = keys.iter().find_map(|(setting, key)| Some((key, error.strip_prefix(setting)?)));
    key.map(|(key, reason)| format!("{key}{reason}")).unwrap_or(error)
}

fn problem(place: Place, name: &str, reason: &str) -> Problem {
    Problem { place: Some(place), reason: format!("{name}: {reason}") }
}

/// A service as one of any kind.
pub(crate) fn erased<S, R>(service: S) -> Source
where
    S: Service<Request<Upload>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    R: hyper::body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let service = service
        .map_response(|response: Response<R>| response.map(erased_body))
        .map_err(|error: S::Error| error.into());
    BoxCloneSyncService::new(service)
}
