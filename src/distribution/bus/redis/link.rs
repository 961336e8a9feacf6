//! Connections, each to one run of a server.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::time::Instant;

use super::Shared;
use super::server::{Concern, Server};
use crate::distribution::bus::record::fnv;
use crate::distribution::bus::{BusError, Incarnation, random};
use crate::sync::Mutex;

/// A connection, and what it is to. It does not connect again by itself: then it might be to something else.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) marker: String,
    pub(super) incarnation: Incarnation,
    pub(super) concerns: Vec<Concern>,
    /// What with the marker makes the incarnation.
    run: String,
    /// When the server was started, or later. `None` if it does not matter.
    started: Option<Instant>,
}

impl Link {
    pub(super) async fn open(shared: &Shared) -> Result<Self, BusError> {
        let Shared { client, settings, keys, scripts } = shared;
        // Calls are bounded by who makes them: reading may wait for a record.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.patience))
            .set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(failed)?;
        let server = Server::ask(&mut connection).await?;
        let concerns = server.check(settings)?;
        let (run, started) = match settings.trust_restarts {
            true => (String::new(), None),
            // In whole seconds, of which one may just have begun.
            false => (
                server.run.clone(),
                Instant::now().checked_sub(server.uptime.saturating_sub(Duration::from_secs(1))),
            ),
        };
        let mut open = scripts.open.prepare_invoke();
        open.key(&keys.meta).key(&keys.log).arg(fresh_marker()).arg(&run);
        let marker: String = open.invoke_async(&mut connection).await.map_err(failed)?;
        let incarnation = incarnation(&marker, &run);
        Ok(Self { connection, marker, incarnation, concerns, run, started })
    }

    /// The incarnation the log has under another marker.
    pub(super) fn incarnation_of(&self, marker: &str) -> Incarnation {
        incarnation(marker, &self.run)
    }

    /// How long the incarnation has lasted, by the age of its marker and that of the server's run.
    pub(super) fn age(&self, marker: Duration) -> Duration {
        self.started.map_or(marker, |started| marker.min(started.elapsed()))
    }
}

fn incarnation(marker: &str, run: &str) -> Incarnation {
    Incarnation(fnv(format!("{marker} {run}").as_bytes()))
}

pub(super) fn fresh_marker() -> String {
    format!("{:016x}{:016x}", random(), random())
}

pub(super) fn failed(error: RedisError) -> BusError {
    match error.kind() {
        ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed => {
            BusError::Unfit { setting: "connection".into(), reason: error.to_string() }
        }
        _ => BusError::unreachable(error),
    }
}

/// The connection by which is written, made when it is needed.
pub(super) struct Links {
    shared: Arc<Shared>,
    link: Mutex<Option<Link>>,
    /// One at a time connects.
    connecting: tokio::sync::Mutex<()>,
}

impl Links {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, link: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(super) async fn get(&self) -> Result<Link, BusError> {
        if let Some(link) = self.known() {
            return Ok(link);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(link) = self.known() {
            return Ok(link);
        }
        let link = Link::open(&self.shared).await?;
        *self.link.lock() = Some(link.clone());
        Ok(link)
    }

    fn known(&self) -> Option<Link> {
        self.link.lock().clone()
    }

    /// The next call connects anew.
    pub(super) fn forget(&self) {
        let forgotten = self.link.lock().take();
        drop(forgotten);
    }

    /// What came by a connection; if that was trouble, the next call connects anew.
    pub(super) fn checked<T: FromRedisValue>(&self, answer: RedisResult<T>) -> Result<T, BusError> {
        answer.map_err(|error| {
            self.forget();
            failed(error)
        })
    }
}
