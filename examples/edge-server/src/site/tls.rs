//! Certificates, read again when their files change: [`Certificates`].

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// A listener's certificate and key.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<Inner>);

struct Inner {
    files: Tls,
    http2: bool,
    current: Mutex<Arc<ServerConfig>>,
}

impl Certificates {
    /// # Errors
    ///
    /// Which file is wrong, and why.
    pub(crate) fn read(files: &Tls, http2: bool) -> Result<Self, String> {
        let current = Mutex::new(Arc::new(read(files, http2)?));
        Ok(Self(Arc::new(Inner { files: files.clone(), http2, current })))
    }

    /// What takes a connection by the certificate of the moment.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.current.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks at the files again and again. What cannot be used, such as a certificate whose key is not there yet, is looked
    /// at once more next time.
    pub(crate) async fn watch(self) {
        let mut used = stamps(&self.0.files);
        let mut told = used;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = stamps(&self.0.files);
            if now == used {
                continue;
            }
            match read(&self.0.files, self.0.http2) {
                Ok(config) => {
                    *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    used = now;
                    tracing::info!(certificate = %self.0.files.certificate.display(), "read again");
                }
                Err(reason) if told != now => tracing::warn!("the certificate stays as it was: {reason}"),
                Err(_) => {}
            }
            told = now;
        }
    }
}

type Stamp = Option<(SystemTime, u64)>;

fn stamps(files: &Tls) -> (Stamp, Stamp) {
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    (stamp(&files.certificate), stamp(&files.key))
}

fn read(files: &Tls, http2: bool) -> Result<ServerConfig, String> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&files.certificate, &error))?;
    config.alpn_protocols =
        if http2 { vec![b"h2".into(), b"http/1.1".into()] } else { vec![b"http/1.1".into()] };
    Ok(config)
}
