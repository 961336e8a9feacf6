//! A log in Redis, for edges on many machines: [`Redis`].
//!
//! # What it needs
//!
//! | what | why | if not |
//! |---|---|---|
//! | Redis 6.0 or later, or Valkey | scripts that write what they have read the time for | [`BusError::Unfit`] |
//! | a primary | records are written | [`BusError::Unfit`] |
//! | `maxmemory-policy noeviction`, where `maxmemory` is set | the log must not be evicted | [`BusError::Unfit`] |
//! | `appendonly yes` | or each restart clears every edge | a [`Concern`] |
//! | `min-replicas-to-write`, where a replica may take over | a primary that was cut off must not go on as one | edges cut off with it follow it, and what it acknowledges without [`copies`](RedisSettings::copies) is lost; a [`Concern`] |
//! | no proxy that moves a connection from one server to another | a connection stands for one run of a server | nobody notices |
//!
//! The server is asked for this whenever a connection is made. Its address is a URL such as `redis://:password@host:6379/0`,
//! or `unix:///path`. For `rediss://` add the crate `redis` of the same version with its feature `tokio-rustls-comp`.
//!
//! # What an answer means
//!
//! [`append`](Bus::append) returns when the server has answered, so what is then known depends on its settings:
//!
//! | setting | what an acknowledged record outlives |
//! |---|---|
//! | `appendonly no` | whatever happens to edges, and nothing that happens to Redis |
//! | `appendonly yes`, `appendfsync everysec` | a crash of Redis; of the machine, but for its last second |
//! | `appendonly yes`, `appendfsync always` | a crash of the machine |
//! | [`copies`](RedisSettings::copies) (`WAIT`) | the loss of the machine, if a replica that has it takes over |
//!
//! A server that takes over, comes back empty, or has been restarted may not have all that was acknowledged, and nobody
//! could tell from the records that are left. So each of these is another [`Incarnation`], and every edge that finds itself in
//! another one treats everything as invalidated. Nothing acknowledged is lost that way: the price is cold edges.
//! With `appendfsync always` on a server that has no replicas that could take over, a restart loses nothing, and
//! [`trust_restarts`](RedisSettings::trust_restarts) has edges replay what they missed instead.
//!
//! # What it holds
//!
//! All keys begin with `tower-edge:{NAMESPACE}:`, so distributions can share a server. By the braces a namespace is in one slot
//! of a cluster; but this is no client of Redis Cluster, and follows no redirections.
//!
//! | key | what |
//! |---|---|
//! | `meta` | a hash: the log's random marker, the number of its last record, the server's run, since when it has that marker and run |
//! | `log` | a stream of records, whose ids are their numbers (`17-0`) |
//! | `edges` | a hash: what each edge said last, and when by the server's clock |
//! | `ref:…` | the number of the record under a reference; for a day |
//! | `turn` | somebody has tidied up a moment ago |
//!
//! Records that every edge has applied are trimmed, but for the last [`keep`](RedisSettings::keep). For an edge that does not
//! come, no more than [`limit`](RedisSettings::limit) are kept; it then starts over.

mod link;
mod reader;
mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Client, IntoConnectionInfo, RedisError, Script};
use tokio::time::{Instant, timeout};

use self::link::{Link, Links};
pub use self::server::Concern;
use super::{Bus, BusError, BusFuture, BusReader, Incarnation, Position, Record, Report, Roll, check_length};
use crate::error::ConfigError;

/// How a log in Redis is used. Every edge of a distribution has to have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisSettings {
    /// Tells distributions on one server apart: 1 to 64 letters, digits, `.`, `_` and `-`. `default` by default.
    pub namespace: String,
    /// How long a call may take in all, connecting included: 10 milliseconds to a day. A second by default.
    pub patience: Duration,
    /// A server that was restarted has all it ever acknowledged, so edges replay instead of starting over. Refused unless the
    /// server has `appendonly yes` and `appendfsync always`; it is on you that no replica takes its place. Not by default.
    pub trust_restarts: bool,
    /// Replicas that have to confirm a record before it counts as appended. None by default.
    pub copies: u32,
    /// The fewest records that are kept, though every edge has them. 10,000 by default.
    pub keep: u64,
    /// The most records that are kept, though an edge lacks them. 100,000 by default.
    pub limit: u64,
    /// An edge that has not reported for so long is struck off the roll, unless it trusts itself for longer. An hour by
    /// default.
    pub forget: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            patience: Duration::from_secs(1),
            trust_restarts: false,
            copies: 0,
            keep: 10_000,
            limit: 100_000,
            forget: Duration::from_secs(3_600),
        }
    }
}

/// A log in Redis, or Valkey.
pub struct Redis {
    shared: Arc<Shared>,
    links: Links,
}

struct Shared {
    client: Client,
    settings: RedisSettings,
    keys: Keys,
    scripts: Scripts,
}

struct Keys {
    meta: String,
    log: String,
    edges: String,
    turn: String,
    references: String,
}

struct Scripts {
    open: Script,
    append: Script,
    report: Script,
    roll: Script,
    renew: Script,
}

/// How long a reference is known.
const REFERENCE: Duration = Duration::from_secs(86_400);
/// How often somebody tidies up.
const TURN: Duration = Duration::from_secs(10);

impl Redis {
    /// The log on a server. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// If the address is none, or a setting cannot work.
    pub fn new(url: &str, settings: RedisSettings) -> Result<Self, ConfigError> {
        let wrong = |setting: &str, reason: String| Err(ConfigError::new(setting, reason));
        let name = &settings.namespace;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !(1..=64).contains(&name.len()) || !name.chars().all(plain) {
            return wrong("namespace", format!("{name:?} is not 1 to 64 letters, digits, '.', '_' and '-'"));
        }
        if settings.patience < Duration::from_millis(10) {
            return wrong("patience", "is under 10 milliseconds".into());
        }
        check_length("patience", settings.patience)?;
        if settings.keep > settings.limit || settings.limit == 0 {
            return wrong("limit", format!("{} is under keep ({}), or zero", settings.limit, settings.keep));
        }
        // The address may hold a password: it stands in no error.
        let client = url
            .into_connection_info()
            .map(|info| {
                let tcp = info.tcp_settings().clone().set_nodelay(true);
                info.set_tcp_settings(tcp)
            })
            .and_then(Client::open)
            .map_err(|error| ConfigError::new("redis", reason(url, &error)))?;
        let key = |name: &str| format!("tower-edge:{{{}}}:{name}", settings.namespace);
        let keys = Keys {
            meta: key("meta"),
            log: key("log"),
            edges: key("edges"),
            turn: key("turn"),
            references: key("ref:"),
        };
        let scripts = Scripts {
            open: Script::new(include_str!("open.lua")),
            append: Script::new(include_str!("append.lua")),
            report: Script::new(include_str!("report.lua")),
            roll: Script::new(include_str!("roll.lua")),
            renew: Script::new(include_str!("renew.lua")),
        };
        let shared = Arc::new(Shared { client, settings, keys, scripts });
        Ok(Self { links: Links::new(Arc::clone(&shared)), shared })
    }

    /// Connects, and says what about the server is not as it should be.
    ///
    /// # Errors
    /// If the server cannot be reached, or cannot serve at all.
    pub async fn check(&self) -> Result<Vec<Concern>, BusError> {
        self.within(async { Ok(Link::open(&self.shared).await?.concerns) }).await
    }

    /// Bounds a call. What takes longer is over, and so is its connection.
    async fn within<T>(&self, call: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
        timeout(self.shared.settings.patience, call).await.unwrap_or_else(|_| {
            self.links.forget();
            Err(BusError::unreachable("no answer in time"))
        })
    }

    async fn append(&self, record: &Record) -> Result<Position, BusError> {
        let began = Instant::now();
        let Shared { settings, keys, scripts, .. } = &*self.shared;
        let mut link = self.links.get().await?;
        let mut call = scripts.append.prepare_invoke();
        call.key(&keys.meta).key(&keys.log);
        if let Some(reference) = record.reference() {
            call.key(format!("{}{reference}", keys.references));
        }
        call.arg(&link.marker).arg(record.encode()).arg(settings.limit).arg(millis(REFERENCE));
        let appended = call.invoke_async(&mut link.connection).await;
        let number: u64 = self.links.checked(appended)?;
        if number == 0 {
            self.links.forget();
            return Err(BusError::Changed);
        }
        if settings.copies > 0 {
            // It says how many there are before the call is given up.
            let wait = millis(settings.patience.saturating_sub(began.elapsed()) * 3 / 4).max(1);
            let mut command = ::redis::cmd("WAIT");
            let waited = command.arg(settings.copies).arg(wait).query_async(&mut link.connection).await;
            let confirmed = self.links.checked(waited)?;
            if confirmed < settings.copies {
                return Err(BusError::TooFewCopies { confirmed, wanted: settings.copies });
            }
        }
        Ok(Position { incarnation: link.incarnation, number })
    }

    async fn report(&self, report: &Report) -> Result<(), BusError> {
        let Shared { settings, keys, scripts, .. } = &*self.shared;
        let mut link = self.links.get().await?;
        let mut call = scripts.report.prepare_invoke();
        call.key(&keys.edges).key(&keys.meta).key(&keys.log).key(&keys.turn);
        call.arg(&report.id)
            .arg(written(report))
            .arg(millis(TURN))
            .arg(millis(settings.forget))
            .arg(settings.keep);
        let told = call.invoke_async(&mut link.connection).await;
        self.links.checked::<i64>(told).map(drop)
    }

    async fn roll(&self) -> Result<Roll, BusError> {
        let Shared { keys, scripts, .. } = &*self.shared;
        let mut link = self.links.get().await?;
        let called = scripts.roll.key(&keys.edges).key(&keys.meta).invoke_async(&mut link.connection).await;
        let roll: Vec<String> = self.links.checked(called)?;
        let [marker, age, edges @ ..] = &roll[..] else {
            return Err(BusError::unreachable("an answer that is no roll"));
        };
        if *marker != link.marker {
            self.links.forget();
            return Err(BusError::Changed);
        }
        let age = link.age(Duration::from_millis(age.parse().unwrap_or_default()));
        let members = edges.chunks_exact(3).filter_map(|edge| {
            let heard = Duration::from_millis(edge[1].parse().ok()?);
            Some((read_report(&edge[0], &edge[2])?, heard))
        });
        Ok(Roll { incarnation: link.incarnation, age, members: members.collect() })
    }

    async fn leave(&self, id: &str) -> Result<(), BusError> {
        let mut link = self.links.get().await?;
        let mut command = ::redis::cmd("HDEL");
        let left = command.arg(&self.shared.keys.edges).arg(id).query_async(&mut link.connection).await;
        self.links.checked::<i64>(left).map(drop)
    }

    async fn renew(&self, seen: Incarnation) -> Result<(), BusError> {
        let Shared { keys, scripts, .. } = &*self.shared;
        let mut link = self.links.get().await?;
        if link.incarnation == seen {
            let mut call = scripts.renew.prepare_invoke();
            call.key(&keys.meta).arg(&link.marker).arg(link::fresh_marker());
            let renewed = call.invoke_async(&mut link.connection).await;
            self.links.checked::<i64>(renewed)?;
            self.links.forget();
        }
        Ok(())
    }
}

impl Bus for Redis {
    fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position> {
        Box::pin(self.within(self.append(record)))
    }

    fn reader(&self) -> BusFuture<'_, Box<dyn BusReader>> {
        Box::pin(self.within(async {
            let link = Link::open(&self.shared).await?;
            Ok(Box::new(reader::Reader::new(Arc::clone(&self.shared), link)) as Box<dyn BusReader>)
        }))
    }

    fn report<'a>(&'a self, report: &'a Report) -> BusFuture<'a, ()> {
        Box::pin(self.within(self.report(report)))
    }

    fn leave<'a>(&'a self, id: &'a str) -> BusFuture<'a, ()> {
        Box::pin(self.within(self.leave(id)))
    }

    fn roll(&self) -> BusFuture<'_, Roll> {
        Box::pin(self.within(self.roll()))
    }

    fn renew(&self, seen: Incarnation) -> BusFuture<'_, ()> {
        Box::pin(self.within(self.renew(seen)))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// Why an address is none, without what it says.
fn reason(url: &str, error: &RedisError) -> String {
    if url.starts_with("rediss:") && error.to_string().contains("the feature is not enabled") {
        return "rediss:// is TLS, which the crate redis was built without".to_owned();
    }
    "names no Redis, such as redis://127.0.0.1:6379".to_owned()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 12)
}

/// Behind a name, in which there is none.
const MARK: char = '\t';
const DRAINING: &str = "draining";

/// For how long the edge trusts itself, what it has applied and swept, its name and whether it drains; `report.lua` reads the
/// second. The mark is part of the name to who does not know of marks: that is the name of no edge that viewers are sent to.
fn written(report: &Report) -> String {
    let position = |at: Option<Position>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let trusts_for = report.trusts_for.map_or_else(|| "-".to_owned(), |after| millis(after).to_string());
    let mut said =
        format!("{trusts_for}|{}|{}|{}", position(report.applied), position(report.swept), report.name);
    if report.is_draining {
        said.push(MARK);
        said.push_str(DRAINING);
    }
    said
}

fn read_report(id: &str, said: &str) -> Option<Report> {
    let mut parts = said.splitn(4, '|');
    let mut known = || parts.next().map(|part| Some(part).filter(|part| *part != "-"));
    let trusts_for = known()?.map(|after| after.parse().map(Duration::from_millis)).transpose().ok()?;
    let applied = known()?.map(str::parse).transpose().ok()?;
    let swept = known()?.map(str::parse).transpose().ok()?;
    let mut named = parts.next()?.split(MARK);
    let name = named.next()?.to_owned();
    let is_draining = named.any(|mark| mark == DRAINING);
    Some(Report { id: id.to_owned(), name, applied, swept, is_draining, trusts_for })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let at = |number| Some(Position { incarnation: Incarnation(7), number });
        for (applied, swept, trusts_for) in
            [(None, None, None), (at(3), at(2), Some(Duration::from_secs(9))), (at(3), None, None)]
        {
            for is_draining in [false, true] {
                let (id, name) = ("a/1".to_owned(), "\"a|b\"".to_owned());
                let report = Report { id, name, applied, swept, is_draining, trusts_for };
                assert_eq!(read_report("a/1", &written(&report)), Some(report));
            }
        }
        // Of edges that know of no marks, and of others.
        for (said, is_draining) in [("-|-|-|a", false), ("-|-|-|a\tx", false), ("-|-|-|a\tx\tdraining", true)]
        {
            let report = read_report("a/1", said).unwrap();
            assert_eq!((report.name.as_str(), report.is_draining), ("a", is_draining), "{said}");
        }
        for said in ["", "-", "-|-|-", "x|-|-|a", "-|7|-|a", "-|-|x-1|a"] {
            assert_eq!(read_report("a/1", said), None, "{said}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let with = |change: fn(&mut RedisSettings)| {
            let mut settings = RedisSettings::default();
            change(&mut settings);
            Redis::new("redis://127.0.0.1/", settings).unwrap_err().setting().to_owned()
        };
        assert_eq!(with(|settings| settings.namespace = "a{b".into()), "namespace");
        assert_eq!(with(|settings| settings.namespace.clear()), "namespace");
        assert_eq!(with(|settings| settings.patience = Duration::ZERO), "patience");
        assert_eq!(with(|settings| settings.patience = Duration::MAX), "patience");
        assert_eq!(with(|settings| settings.limit = 9), "limit");
        let error = Redis::new("redis://:secret@host:port/", RedisSettings::default()).unwrap_err();
        assert_eq!(error.setting(), "redis");
        assert!(!error.to_string().contains("secret"), "{error}");
        // By the features of the crate redis, which others may add to.
        if let Err(error) = Redis::new("rediss://:secret@host/", RedisSettings::default()) {
            let said = error.to_string();
            assert!(said.contains("built without") && !said.contains("secret"), "{said}");
        }
    }
}
