//! Whom to trust at the other end, and which protocols to offer there.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, crypto};

use super::settings::{Identity, Protocol, Tls};
use crate::error::ConfigError;

const HTTP_1: &[u8] = b"http/1.1";
pub(super) const HTTP_2: &[u8] = b"h2";

/// How connections are secured.
pub(super) struct Secure {
    pub(super) name: ServerName<'static>,
    /// Offers what the origin may speak.
    any: TlsConnector,
    /// Offers HTTP/1.1 alone, which upgrades need.
    http_1: TlsConnector,
}

impl Secure {
    /// Everything that can be wrong with certificates and names comes up here, not at the first request.
    pub(super) fn new(tls: &Tls, name: &str, protocol: Protocol) -> Result<Self, ConfigError> {
        // An IPv6 address stands in brackets in a URL only.
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            ConfigError::new("tls.name", format!("{name:?} is neither a DNS name nor an address"))
        })?;
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new("tls", error.to_string()))?
            .with_root_certificates(roots(tls)?);
        let config = match &tls.identity {
            Some(identity) => shown(config, identity)?,
            None => config.with_no_client_auth(),
        };
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let any = offering(match protocol {
            Protocol::Negotiated => &[HTTP_2, HTTP_1],
            Protocol::Http1 => &[HTTP_1],
            Protocol::Http2 => &[HTTP_2],
        });
        Ok(Self { name, any, http_1: offering(&[HTTP_1]) })
    }

    pub(super) fn connector(&self, http_1: bool) -> &TlsConnector {
        if http_1 { &self.http_1 } else { &self.any }
    }
}

fn shown(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: &Identity,
) -> Result<ClientConfig, ConfigError> {
    let wrong = |setting: &str, reason: String| ConfigError::new(format!("tls.identity.{setting}"), reason);
    let chain = CertificateDer::pem_slice_iter(&identity.certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong("certificates", format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(wrong("certificates", "holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key)
        .map_err(|error| wrong("key", format!("holds no key: {error}")))?;
    config.with_client_auth_cert(chain, key).map_err(|error| wrong("key", error.to_string()))
}

fn roots(tls: &Tls) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if tls.system_roots {
        // Stores hold all kinds of old certificates. Those that can be used are used.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for (number, pem) in tls.roots.iter().enumerate() {
        let wrong = |reason: String| ConfigError::new(format!("tls.roots[{number}]"), reason);
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| wrong(format!("not PEM: {error}")))?;
            roots.add(certificate).map_err(|error| wrong(format!("not a root certificate: {error}")))?;
        }
        if roots.len() == before {
            return Err(wrong("holds no certificate".to_owned()));
        }
    }
    if roots.is_empty() {
        let reason = "no certificate to trust: the system has none, and none is given";
        return Err(ConfigError::new("tls", reason));
    }
    Ok(roots)
}
