//! What a group goes by: [`GroupPolicy`].

use std::time::Duration;

use http::StatusCode;

use super::health::HealthPolicy;
use crate::error::ConfigError;

/// When a [`Group`](super::Group) asks the next member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPolicy {
    /// The statuses with which a member's answer counts as none, from 400 on. 500, 502, 503 and 504 by default.
    ///
    /// One from 500 on counts as a failure of the member; a 404 or 403 speaks of the one thing that was asked for.
    pub statuses: Vec<StatusCode>,
    /// How long a member may take to give the head of its answer, its connection and the wait for its readiness included;
    /// and the first of the body, where the head says how long it is.
    /// Not for requests that go to the first member alone. `None`, by default, leaves it to the members' own time-outs.
    pub head_time: Option<Duration>,
    /// How long a body that has begun may be silent while somebody waits for it, until another member is asked for the rest;
    /// the silent one is still listened to. Only where the rest can be told to be the same ([`Group`](super::Group)). `None`,
    /// by default, leaves it to the members' own time-outs: then another is asked when they have given the body up.
    pub body_time: Option<Duration>,
    /// When a member is skipped.
    pub health: HealthPolicy,
    /// The name of this hop, by which it says in `Proxy-Status` (RFC 9209) which member gave an answer:
    /// `fra-1; next-hop=eu`. A stored answer keeps the field, and so tells where the stored copy came from. `None`, by
    /// default, sends no such field.
    pub proxy_status: Option<String>,
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            statuses: vec![
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            head_time: None,
            body_time: None,
            health: HealthPolicy::default(),
            proxy_status: None,
        }
    }
}

impl GroupPolicy {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(status) = self.statuses.iter().find(|status| status.as_u16() < 400) {
            return Err(ConfigError::new("statuses", format!("{} is no failure", status.as_u16())));
        }
        if self.head_time == Some(Duration::ZERO) {
            return Err(ConfigError::new("head_time", "is zero: nobody could answer"));
        }
        if self.body_time == Some(Duration::ZERO) {
            return Err(ConfigError::new("body_time", "is zero: every body would be taken over"));
        }
        let health = &self.health;
        if health.failures > 0 && health.back_off == Duration::ZERO {
            return Err(ConfigError::new("health.back_off", "is zero: nobody would ever be skipped"));
        }
        if health.longest_back_off < health.back_off {
            let reason =
                format!("{:?} is under health.back_off ({:?})", health.longest_back_off, health.back_off);
            return Err(ConfigError::new("health.longest_back_off", reason));
        }
        Ok(())
    }
}
