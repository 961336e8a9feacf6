//! What a server says of itself, and whether it can hold a log.

use std::fmt;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;

use super::RedisSettings;
use super::link::failed;
use crate::distribution::bus::BusError;

/// Something about the server that works, and should be otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    setting: &'static str,
    reason: &'static str,
}

impl Concern {
    /// The server's setting, such as `appendonly`.
    pub fn setting(&self) -> &str {
        self.setting
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.reason)
    }
}

/// The earliest version whose scripts may write after they asked for the time, and that has `INFO` in sections.
const OLDEST: u64 = 6;

/// What it says of itself.
#[derive(Debug, Default)]
pub(super) struct Server {
    version: String,
    /// Random for each start.
    pub(super) run: String,
    pub(super) uptime: Duration,
    is_primary: bool,
    maxmemory: u64,
    policy: String,
    appends: bool,
    replicas: u64,
    /// It takes no writes while it is cut off from its replicas.
    stops_alone: bool,
    /// `appendfsync`, where it may be asked for.
    fsync: Option<String>,
}

impl Server {
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, BusError> {
        let info: String = ::redis::cmd("INFO").query_async(connection).await.map_err(failed)?;
        let mut server = Self::read(&info);
        // Servers that others run refuse this.
        let mut command = ::redis::cmd("CONFIG");
        let fsync: Result<Vec<String>, _> =
            command.arg("GET").arg("appendfsync").query_async(connection).await;
        server.fsync = fsync.ok().and_then(|pair| pair.into_iter().nth(1));
        Ok(server)
    }

    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let value = |line: &'_ str| {
                line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned())
            };
            info.lines().find_map(value)
        };
        let number = |name: &str| field(name).and_then(|value| value.parse().ok()).unwrap_or_default();
        Self {
            version: field("redis_version").unwrap_or_default(),
            run: field("run_id").unwrap_or_default(),
            uptime: Duration::from_secs(number("uptime_in_seconds")),
            is_primary: field("role").as_deref() == Some("master"),
            maxmemory: number("maxmemory"),
            policy: field("maxmemory_policy").unwrap_or_default(),
            appends: field("aof_enabled").as_deref() == Some("1"),
            replicas: number("connected_slaves"),
            // It is told only where there is such a rule.
            stops_alone: field("min_slaves_good_slaves").is_some(),
            fsync: None,
        }
    }

    /// What should be otherwise, unless something has to be.
    pub(super) fn check(&self, settings: &RedisSettings) -> Result<Vec<Concern>, BusError> {
        let unfit = |setting: &str, reason: String| Err(BusError::Unfit { setting: setting.into(), reason });
        let major = self.version.split('.').next().and_then(|major| major.parse().ok());
        if major.is_none_or(|major: u64| major < OLDEST) {
            return unfit("redis_version", format!("is {:?}: at least {OLDEST}.0 is needed", self.version));
        }
        if self.run.is_empty() {
            return unfit("run_id", "is not told, so a restart would go unnoticed".into());
        }
        if !self.is_primary {
            return unfit("role", "is not that of a primary: records could not be written".into());
        }
        if self.maxmemory > 0 && self.policy != "noeviction" {
            return unfit(
                "maxmemory-policy",
                format!("is {:?}, under which the log may be evicted", self.policy),
            );
        }
        let durable = self.appends && self.fsync.as_deref() == Some("always");
        if settings.trust_restarts && !durable {
            let reason = "is not yes, with appendfsync always: a restart cannot be trusted to lose nothing";
            return unfit("appendonly", reason.into());
        }
        let mut concerns = Vec::new();
        if !self.appends {
            concerns.push(Concern { setting: "appendonly", reason: "is not yes: a restart loses the log" });
        }
        if self.maxmemory == 0 && self.policy != "noeviction" && !self.policy.is_empty() {
            let reason = "is not noeviction: once maxmemory is set, the log may be evicted";
            concerns.push(Concern { setting: "maxmemory-policy", reason });
        }
        if self.replicas > 0 && !self.stops_alone {
            let reason =
                "is 0: a primary that is cut off from its replicas goes on beside the one that takes over";
            concerns.push(Concern { setting: "min-replicas-to-write", reason });
        }
        Ok(concerns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123\r\nuptime_in_seconds:9\r\n# Memory\r\n\
                        maxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\n\
                        aof_enabled:1\r\n# Replication\r\nrole:master\r\n";

    #[test]
    fn a_server_that_cannot_hold_a_log_is_refused_by_the_setting() {
        for (find, replace, setting) in [
            ("", "", ""),
            ("7.0.15", "5.0.14", "redis_version"),
            ("7.0.15", "8.1.0", ""),
            ("7.0.15", "", "redis_version"),
            ("run_id:0123", "", "run_id"),
            ("role:master", "role:slave", "role"),
            ("maxmemory:0", "maxmemory:1048576", ""),
            (
                "maxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction",
                "maxmemory:9\r\nmaxmemory_policy:allkeys-lru",
                "maxmemory-policy",
            ),
        ] {
            let server = Server::read(&INFO.replacen(find, replace, 1));
            let refused = match server.check(&RedisSettings::default()) {
                Ok(_) => String::new(),
                Err(BusError::Unfit { setting, .. }) => setting,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(refused, setting, "{find} {replace}");
        }
    }

    #[test]
    fn what_works_and_should_be_otherwise_is_told() {
        for (find, replace, settings) in [
            ("", "", vec![]),
            ("aof_enabled:1", "aof_enabled:0", vec!["appendonly"]),
            ("noeviction", "allkeys-lru", vec!["maxmemory-policy"]),
            ("role:master", "role:master\r\nconnected_slaves:0", vec![]),
            ("role:master", "role:master\r\nconnected_slaves:1", vec!["min-replicas-to-write"]),
            ("role:master", "role:master\r\nconnected_slaves:1\r\nmin_slaves_good_slaves:1", vec![]),
        ] {
            let server = Server::read(&INFO.replacen(find, replace, 1));
            let concerns = server.check(&RedisSettings::default()).unwrap();
            assert_eq!(concerns.iter().map(Concern::setting).collect::<Vec<_>>(), settings);
        }
    }

    #[test]
    fn restarts_are_trusted_only_where_every_record_is_on_disk() {
        let trusting = RedisSettings { trust_restarts: true, ..RedisSettings::default() };
        for (appends, fsync, trusted) in [
            (true, Some("always"), true),
            (true, Some("everysec"), false),
            (true, None, false),
            (false, Some("always"), false),
        ] {
            let server = Server { appends, fsync: fsync.map(str::to_owned), ..Server::read(INFO) };
            assert_eq!(server.check(&trusting).is_ok(), trusted, "{appends} {fsync:?}");
        }
    }
}
