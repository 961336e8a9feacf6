//! Runs a server by its file: opens the listeners, answers by the site of the moment, reads the file again when told to.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hyper::Request;
use hyper::body::Incoming;
use hyper::http::uri::Scheme;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_edge::origin::Viewer;

use crate::args::ControlArgs;
use crate::config::{self, Config, Limits, Listener, Problem, Report};
use crate::control;
use crate::distribution::Membership;
use crate::serve::{self, Protocols};
use crate::site::{Certificates, Site};

/// Says what is wrong with a file: with its text, and with the files it names.
///
/// # Errors
///
/// That.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn check(file: &Path) -> Result<(), Report> {
    let config = Config::load(file)?;
    let site = Site::new(&config).await;
    let mut problems = site.err().unwrap_or_default();
    let control = |control: &config::Control| {
        let reason = control::may_open(&control_args(&config)).err()?;
        Some(Problem { place: Some(control.place), reason })
    };
    problems.extend(config.control.as_ref().and_then(control));
    problems.extend(Membership::check(&config).err());
    problems.extend(config.listeners.iter().filter_map(|listener| certificates(listener).err()));
    if problems.is_empty() { Ok(()) } else { Err(report(file, problems)) }
}

/// Serves until a signal ends it.
///
/// # Errors
///
/// What is wrong with the file, or with an address.
#[tokio::main]
pub(crate) async fn run(file: PathBuf, config: Config) -> Result<(), Box<dyn Error>> {
    let mut site = Site::new(&config).await.map_err(|problems| report(&file, problems))?;
    let membership = Membership::configured(site.edge(), &config).await;
    let membership = membership.map_err(|problem| report(&file, vec![problem]))?;
    if let Some(membership) = &membership {
        site = site.joined(membership, &config).map_err(|problems| report(&file, problems))?;
    }
    let mut server = Server {
        limits: config.limits,
        slots: Arc::new(Semaphore::new(config.limits.connections)),
        site: Arc::new(RwLock::new(Arc::new(site))),
        https_port: 443,
        closing: watch::Sender::new(false),
    };
    let site = Arc::clone(&server.site);
    let edge = Arc::new(move || current(&site).edge().clone());
    let control = control::open(
        &control_args(&config),
        membership.clone(),
        edge,
        config.tariff,
        server.closing.clone(),
    )
    .await?;
    let mut listeners = Vec::with_capacity(config.listeners.len());
    let mut lines = String::new();
    for listener in &config.listeners {
        let certificates = certificates(listener).map_err(|problem| report(&file, vec![problem]))?;
        let socket = TcpListener::bind(listener.address).await.map_err(|error| {
            let reason = format!("cannot listen on {}: {error}", listener.address);
            report(&file, vec![Problem { place: Some(listener.place), reason }])
        })?;
        let scheme = if certificates.is_some() { "https" } else { "http" };
        lines += &format!("edge    {scheme}://{}\n", socket.local_addr()?);
        listeners.push((socket, certificates, listener.http2));
    }
    server.https_port = https_port(&listeners);
    if let Some((socket, _)) = &control {
        lines += &format!("control http://{}\n", socket.local_addr()?);
    }
    // Before anybody can know of the server: a hangup that nobody waits for ends the process.
    let hangups = hangups();
    // Nobody may be reading, and the edge works all the same.
    let _ = io::stdout().write_all(lines.as_bytes());

    let mut tasks = Vec::new();
    for (socket, certificates, http2) in listeners {
        tasks.extend(certificates.clone().map(|certificates| tokio::spawn(certificates.watch())));
        tasks.push(tokio::spawn(server.clone().listen(socket, certificates, http2)));
    }
    let closing = server.closing.clone();
    tasks.push(tokio::spawn(async move { serve::operators(control, &closing).await }));
    tasks.push(tokio::spawn(reload(hangups, Arc::clone(&server.site), membership.clone(), file, config)));
    serve::signal().await;
    if let Some(membership) = &membership {
        membership.drain();
    }
    for task in &tasks {
        task.abort();
    }
    server.close().await;
    if let Some(membership) = membership {
        membership.leave().await;
    }
    Ok(())
}

fn report(file: &Path, problems: Vec<Problem>) -> Report {
    Report::new(file.display().to_string(), problems)
}

/// How the control port is asked for by flags.
fn control_args(config: &Config) -> ControlArgs {
    match &config.control {
        Some(control) => {
            ControlArgs { control: Some(control.address), control_token_file: control.token_file.clone() }
        }
        None => ControlArgs { control: None, control_token_file: None },
    }
}

fn certificates(listener: &Listener) -> Result<Option<Certificates>, Problem> {
    let Some(tls) = &listener.tls else { return Ok(None) };
    let problem = |reason| Problem { place: Some(tls.place), reason: format!("tls: {reason}") };
    Certificates::read(tls, listener.http2).map(Some).map_err(problem)
}

/// Where viewers have TLS: at its usual port if there is a listener, or none with TLS at all, which then ends in front of
/// this server; else at that of the first.
fn https_port(listeners: &[(TcpListener, Option<Certificates>, bool)]) -> u16 {
    let secure = listeners.iter().filter(|(_, certificates, _)| certificates.is_some());
    let ports: Vec<_> = secure.filter_map(|(socket, ..)| Some(socket.local_addr().ok()?.port())).collect();
    if ports.contains(&443) { 443 } else { ports.first().copied().unwrap_or(443) }
}

/// The site of the moment. A request takes it once.
type Current = Arc<RwLock<Arc<Site>>>;

fn current(site: &Current) -> Arc<Site> {
    Arc::clone(&site.read().unwrap_or_else(PoisonError::into_inner))
}

/// What all listeners share.
#[derive(Clone)]
struct Server {
    limits: Limits,
    slots: Arc<Semaphore>,
    site: Current,
    https_port: u16,
    closing: watch::Sender<bool>,
}

impl Server {
    async fn listen(self, listener: TcpListener, certificates: Option<Certificates>, http2: bool) {
        let protocols = if http2 { Protocols::All } else { Protocols::Http1 };
        loop {
            let (stream, address, slot) = serve::accept(&listener, &self.slots).await;
            let viewer = serve::viewer(&stream, address, certificates.is_some(), slot);
            let connection = self.clone().connection(protocols, stream, viewer, certificates.clone());
            tokio::spawn(connection);
        }
    }

    async fn connection(
        self,
        protocols: Protocols,
        stream: TcpStream,
        viewer: Viewer,
        certificates: Option<Certificates>,
    ) {
        let closing = self.closing.subscribe();
        let (limits, site, https_port) = (self.limits, self.site, self.https_port);
        let scheme = if viewer.is_https() { Scheme::HTTPS } else { Scheme::HTTP };
        let kept = viewer.clone();
        let answers = service_fn(move |request: Request<Incoming>| {
            current(&site).answer(request, &viewer, &scheme, https_port)
        });
        // Only these two are told to close.
        drop(self.closing);
        match certificates {
            None => serve::connection(protocols, limits, stream, kept, answers, closing).await,
            Some(certificates) => {
                match timeout(limits.head_time, certificates.acceptor().accept(stream)).await {
                    Ok(Ok(stream)) => {
                        serve::connection(protocols, limits, stream, kept, answers, closing).await;
                    }
                    Ok(Err(error)) => tracing::debug!("no TLS: {error}"),
                    Err(_) => tracing::debug!("no TLS in time"),
                }
            }
        }
    }

    async fn close(self) {
        let Self { limits, site, closing, .. } = self;
        serve::close(&closing, limits.shutdown_time).await;
        tracing::info!(stats = ?current(&site).edge().stats(), "stopped");
    }
}

#[cfg(unix)]
type Hangups = tokio::signal::unix::Signal;

#[cfg(unix)]
fn hangups() -> Hangups {
    use tokio::signal::unix::{SignalKind, signal};

    signal(SignalKind::hangup()).expect("SIGHUP can be handled")
}

#[cfg(not(unix))]
type Hangups = ();

#[cfg(not(unix))]
fn hangups() {}

/// Reads the file at each SIGHUP. Requests that are running keep the site they have.
#[cfg(unix)]
async fn reload(
    mut hangups: Hangups,
    site: Current,
    membership: Option<Membership>,
    file: PathBuf,
    started: Config,
) {
    while hangups.recv().await.is_some() {
        let outcome = async {
            let config = Config::load(&file)?;
            let differs = config.differs_where_fixed(&started);
            let config = config.keeping(&started);
            let new = current(&site).reconfigured(&config).await.and_then(|new| match &membership {
                Some(membership) => new.joined(membership, &config),
                None => Ok(new),
            });
            let new = new.map_err(|problems| report(&file, problems))?;
            let sources = read_sources(config).await.map_err(|problem| report(&file, vec![problem]))?;
            Ok::<_, Report>((new, sources, differs))
        };
        match outcome.await {
            Ok((new, sources, differs)) => {
                if let Some(membership) = &membership {
                    membership.follower.reconfigured(new.edge());
                    membership.locate_by(sources);
                }
                *site.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                if let Some(fixed) = differs {
                    tracing::warn!("{fixed} changed, and is read at the start alone");
                }
                tracing::info!("reconfigured from {}", file.display());
            }
            Err(report) => {
                for line in report.to_string().lines() {
                    tracing::error!("not reconfigured: {line}");
                }
            }
        }
    }
}

/// What says where addresses are. A database may be large, and requests go on meanwhile.
#[cfg(unix)]
async fn read_sources(config: Config) -> Result<crate::distribution::Sources, Problem> {
    use crate::distribution::{Sources, sources};

    let Some(distribution) = config.distribution else { return Ok(Sources::default()) };
    let reading = tokio::task::spawn_blocking(move || sources(&distribution));
    reading.await.unwrap_or_else(|error| Err(Problem { place: None, reason: error.to_string() }))
}

#[cfg(not(unix))]
async fn reload((): Hangups, _: Current, _: Option<Membership>, _: PathBuf, _: Config) {
    std::future::pending().await
}
