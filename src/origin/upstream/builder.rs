//! [`Builder`]: an upstream's configuration, and what is wrong with it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::uri::{Authority, Scheme, Uri};

use super::connect::Connector;
use super::head::Rules;
use super::pool::Connections;
use super::resolve::{Resolve, System};
use super::service::{Shared, Upstream};
use super::settings::{HostField, Pool, Protocol, Timeouts, Tls};
use super::tls::Secure;
use crate::error::ConfigError;

/// Configures an [`Upstream`]. Made by [`Upstream::builder`].
#[must_use]
pub struct Builder {
    origin: String,
    name: String,
    host: HostField,
    protocol: Protocol,
    tls: Tls,
    timeouts: Timeouts,
    pool: Pool,
    resolver: Arc<dyn Resolve>,
}

impl Builder {
    pub(super) fn new(origin: String) -> Self {
        Self {
            origin,
            name: "tower-edge".to_owned(),
            host: HostField::default(),
            protocol: Protocol::default(),
            tls: Tls::default(),
            timeouts: Timeouts::default(),
            pool: Pool::default(),
            resolver: Arc::new(System::default()),
        }
    }

    /// This hop's name in `Via` and `CDN-Loop`: a token of at most 64 characters. `tower-edge` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The `Host` the origin is asked for. The viewer's by default.
    pub fn host(mut self, host: HostField) -> Self {
        self.host = host;
        self
    }

    /// The protocol spoken to the origin.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// How the origin proves who it is, and the edge to it. Without meaning for an origin without TLS.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How long to wait for the origin.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How many connections there may be, and for how long.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// Who finds the origin's addresses. The system by default.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// The upstream. Reads the system's certificates, if they are needed.
    ///
    /// # Errors
    /// If the origin is not a scheme and an authority, another setting cannot work, or there is no certificate to trust.
    pub fn build(self) -> Result<Upstream, ConfigError> {
        let (https, origin) = site(&self.origin)?;
        check_name(&self.name)?;
        self.timeouts.check()?;
        self.pool.check()?;
        let host = match self.host {
            HostField::Keep => None,
            HostField::Origin => Some(origin.clone()),
            HostField::Name(name) => Some(authority("host", &name)?),
        };
        let fixed = match &self.tls.name {
            Some(name) => name.as_str(),
            // The name of `HostField::Origin` is the origin's in any case.
            None => host.as_ref().unwrap_or(&origin).host(),
        };
        let secure = if https { Some(Secure::new(&self.tls, fixed, self.protocol)?) } else { None };
        let port = origin.port_u16().unwrap_or(if https { 443 } else { 80 });
        let connector = Connector::new(origin.host(), port, self.resolver, secure, self.protocol);
        let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
        // Unlike a name, which the next edge may have as well.
        let id = format!("{:016x}", RandomState::new().hash_one(()));
        Ok(Upstream(Arc::new(Shared {
            rules: Rules::new(scheme, origin, host, &self.name, id),
            upgrades: self.protocol != Protocol::Http2,
            timeouts: self.timeouts,
            connections: Arc::new(Connections::new(connector, self.pool, self.timeouts.connect)),
        })))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Whether the origin has TLS, and where it is.
fn site(text: &str) -> Result<(bool, Authority), ConfigError> {
    let wrong = |reason: &str| ConfigError::new("origin", format!("{text:?} {reason}"));
    let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
    let https = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(wrong("must start with http:// or https://")),
    };
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("must be only a scheme, a host and a port"));
    }
    let named = uri.authority().map_or("", Authority::as_str);
    Ok((https, authority("origin", named)?))
}

/// A host, and a port if any.
fn authority(setting: &str, text: &str) -> Result<Authority, ConfigError> {
    let wrong = |reason: &str| ConfigError::new(setting, format!("{text:?} {reason}"));
    let authority: Authority = text.parse().map_err(|_| wrong("is not a host, with or without a port"))?;
    if authority.host().is_empty() || text.contains('@') {
        return Err(wrong("names no host, or a user"));
    }
    if text.len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong("has a port that is none"));
    }
    Ok(authority)
}

/// RFC 9110 §7.6.3: a pseudonym in `Via` is a token.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
        return Err(ConfigError::new("name", format!("{name:?} is not a token of 1 to 64 characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::origin::upstream::Identity;

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let at = |origin: &str| Upstream::builder(origin);
        let http = || at("http://a");
        let showing = |certificates: &[u8], key: &[u8]| Tls {
            identity: Some(Identity { certificates: certificates.to_vec(), key: key.to_vec() }),
            ..Tls::default()
        };
        const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n";
        for (builder, setting) in [
            (at(""), "origin"),
            (at("a"), "origin"),
            (at("ftp://a"), "origin"),
            (at("http://"), "origin"),
            (at("http://a/path"), "origin"),
            (at("http://a?query"), "origin"),
            (at("http://user@a"), "origin"),
            (at("http://a:0"), "origin"),
            (at("http://a:65536"), "origin"),
            (http().name(""), "name"),
            (http().name("two words"), "name"),
            (http().host(HostField::Name("a b".to_owned())), "host"),
            (http().host(HostField::Name("a:".to_owned())), "host"),
            (
                http().timeouts(Timeouts { connect: Duration::ZERO, ..Timeouts::default() }),
                "timeouts.connect",
            ),
            (http().pool(Pool { exchanges: 0, ..Pool::default() }), "pool.exchanges"),
            (http().pool(Pool { exchanges: usize::MAX, ..Pool::default() }), "pool.exchanges"),
            (http().pool(Pool { streams: 0, ..Pool::default() }), "pool.streams"),
            (at("https://a").tls(Tls { system_roots: false, ..Tls::default() }), "tls"),
            (at("https://a").tls(Tls { roots: vec![b"x".to_vec()], ..Tls::default() }), "tls.roots[0]"),
            (at("https://a").tls(showing(b"", b"")), "tls.identity.certificates"),
            (at("https://a").tls(showing(CERTIFICATE, b"")), "tls.identity.key"),
            (at("https://a").tls(Tls { name: Some("a b".to_owned()), ..Tls::default() }), "tls.name"),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.setting(), setting, "{error}");
        }
    }

    #[test]
    fn origins_are_hosts_with_or_without_a_port() {
        for origin in ["http://a", "http://a/", "HTTP://A:8080", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert!(Upstream::builder(origin).build().is_ok(), "{origin}");
        }
    }
}
