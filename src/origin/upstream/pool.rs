//! Connections that are used again: one of HTTP/1.1 by one exchange after the other, one of HTTP/2 by many at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::body::Outgoing;
use super::connect::{Connector, Made};
use super::error::{Error, ErrorKind};
use super::settings::Pool;
use crate::sync::Mutex;

/// All connections to one origin.
pub(super) struct Connections {
    connector: Connector,
    settings: Pool,
    connect_time: Duration,
    exchanges: Arc<Semaphore>,
    kept: Mutex<Kept>,
    /// Held while a connection is made that many may use.
    making: tokio::sync::Mutex<()>,
    /// The last connection for which the origin had the choice spoke HTTP/1.1.
    speaks_http_1: AtomicBool,
}

#[derive(Default)]
struct Kept {
    /// The one used last is the last.
    idle: Vec<Idle>,
    shared: Vec<Arc<Http2>>,
    /// A task closes what is kept for too long.
    swept: bool,
}

struct Idle {
    connection: Http1,
    since: Instant,
}

/// A connection of HTTP/1.1, for one exchange at a time.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Outgoing>,
    born: Instant,
}

/// A connection of HTTP/2. Each exchange on it holds a reference, and so does the pool while it takes new ones.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Outgoing>,
    born: Instant,
}

/// A connection for one exchange.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// It has been used before, so the origin may be closing it just now.
    pub(super) used: bool,
}

pub(super) enum Connection {
    Http1(Http1),
    Http2(Arc<Http2>),
}

/// What an exchange needs of its connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Needs {
    /// HTTP/1.1, for an upgrade.
    pub(super) http_1: bool,
    /// One made after this. Those from before may have died together.
    pub(super) after: Option<Instant>,
}

impl Connections {
    pub(super) fn new(connector: Connector, settings: Pool, connect_time: Duration) -> Self {
        Self {
            connector,
            settings,
            connect_time,
            exchanges: Arc::new(Semaphore::new(settings.exchanges)),
            kept: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            speaks_http_1: AtomicBool::new(false),
        }
    }

    /// Leave to have an exchange, for as long as the permit lives.
    pub(super) async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        // Mostly there is no wait, and no clock need be set for it.
        if let Ok(permit) = Arc::clone(&self.exchanges).try_acquire_owned() {
            return Ok(permit);
        }
        match timeout(self.connect_time, Arc::clone(&self.exchanges).acquire_owned()).await {
            Ok(permit) => Ok(permit.expect("nobody closes this semaphore")),
            Err(_) => Err(ErrorKind::Busy.into()),
        }
    }

    /// A connection for an exchange: one that is there, or a new one.
    pub(super) async fn take(self: &Arc<Self>, needs: Needs) -> Result<Link, Error> {
        if let Some(link) = self.find(needs) {
            return Ok(link);
        }
        timeout(self.connect_time, self.make(needs)).await.map_err(|_| ErrorKind::ConnectTime)?
    }

    fn find(&self, needs: Needs) -> Option<Link> {
        let now = Instant::now();
        let Pool { streams, idle_time, life, .. } = self.settings;
        let fits = |born: Instant| needs.after.is_none_or(|after| born > after);
        // What is found unfit ends when the lock is free again.
        let (mut ended, mut over) = (Vec::new(), Vec::new());
        let mut kept = self.kept.lock();
        over.extend(
            kept.shared.extract_if(.., |shared| shared.sender.is_closed() || now - shared.born >= life),
        );
        if !needs.http_1 {
            // Each exchange holds one reference besides the pool's.
            let has_room = |shared: &&Arc<Http2>| Arc::strong_count(shared) <= streams && fits(shared.born);
            if let Some(shared) = kept.shared.iter().find(has_room) {
                return Some(Link { connection: Connection::Http2(Arc::clone(shared)), used: true });
            }
        }
        for at in (0..kept.idle.len()).rev() {
            let Idle { connection, since } = &kept.idle[at];
            let is_young = now - *since < idle_time && now - connection.born < life;
            if !is_young || !connection.sender.is_ready() {
                ended.push(kept.idle.remove(at));
            } else if fits(connection.born) {
                let Idle { connection, .. } = kept.idle.remove(at);
                return Some(Link { connection: Connection::Http1(connection), used: true });
            }
        }
        None
    }

    async fn make(self: &Arc<Self>, needs: Needs) -> Result<Link, Error> {
        let alone =
            needs.http_1 || !self.connector.may_speak_http_2() || self.speaks_http_1.load(Ordering::Relaxed);
        // Many may use what is made, so one makes it and the others wait.
        let _turn = if alone { None } else { Some(self.making.lock().await) };
        if !alone && let Some(link) = self.find(needs) {
            return Ok(link);
        }
        // In a box, since few exchanges need it, and the handshake of TLS alone takes 6 KiB.
        let made = Box::pin(self.connector.connect(needs.http_1)).await?;
        let born = Instant::now();
        let connection = match made {
            Made::Http1(sender) => Connection::Http1(Http1 { sender, born }),
            Made::Http2(sender) => {
                let shared = Arc::new(Http2 { sender, born });
                self.keep(|kept| kept.shared.push(Arc::clone(&shared)));
                Connection::Http2(shared)
            }
        };
        if !needs.http_1 {
            self.speaks_http_1.store(matches!(connection, Connection::Http1(_)), Ordering::Relaxed);
        }
        Ok(Link { connection, used: false })
    }

    /// Takes a connection back whose exchange has ended. It may need a moment to notice, or have to send the rest of a
    /// request that was answered early; the exchange counts until then.
    pub(super) fn give_back(self: &Arc<Self>, mut connection: Http1, permit: OwnedSemaphorePermit) {
        if connection.sender.is_ready() {
            return self.keep_idle(connection);
        }
        if connection.sender.is_closed() {
            return;
        }
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let _permit = permit;
            let ready = timeout(pool.settings.idle_time, connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                pool.keep_idle(connection);
            }
        });
    }

    /// No new exchange goes onto this connection.
    pub(super) fn retire(&self, connection: &Arc<Http2>) {
        // The caller's reference is left, so nothing ends under the lock.
        self.kept.lock().shared.retain(|shared| !Arc::ptr_eq(shared, connection));
    }

    fn keep_idle(self: &Arc<Self>, connection: Http1) {
        let since = Instant::now();
        if since - connection.born < self.settings.life {
            let most = self.settings.idle;
            self.keep(|kept| {
                if kept.idle.len() < most {
                    kept.idle.push(Idle { connection, since });
                }
            });
        }
    }

    fn keep(self: &Arc<Self>, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept.lock();
        change(&mut kept);
        if !std::mem::replace(&mut kept.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes what nobody has used for too long, for as long as there is anything.
async fn sweep(pool: Weak<Connections>) {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        sleep(PAUSE).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let Pool { idle_time, life, .. } = pool.settings;
        // These end when the lock is free again.
        let (mut ended, mut over) = (Vec::new(), Vec::new());
        let mut kept = pool.kept.lock();
        ended.extend(
            kept.idle
                .extract_if(.., |idle| now - idle.since >= idle_time || idle.connection.sender.is_closed()),
        );
        over.extend(
            kept.shared.extract_if(.., |shared| shared.sender.is_closed() || now - shared.born >= life),
        );
        if kept.idle.is_empty() && kept.shared.is_empty() {
            kept.swept = false;
            return;
        }
    }
}
