//! What can be set of a follower: [`FollowerSettings`].

use std::time::Duration;

use super::check_length;
use crate::contact::WithoutContact;
use crate::error::ConfigError;

/// How an edge follows a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerSettings {
    /// What the edge does while it has no contact. It goes on serving by default.
    pub without_contact: WithoutContact,
    /// It reports at least so often: every 10 milliseconds to once a day. One second by default.
    pub heartbeat: Duration,
    /// After a failure it tries again so soon, and then at twice the distance each time, up to
    /// [`heartbeat`](Self::heartbeat). A day at most; 50 milliseconds by default.
    pub retry: Duration,
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self {
            without_contact: WithoutContact::default(),
            heartbeat: Duration::from_secs(1),
            retry: Duration::from_millis(50),
        }
    }
}

impl FollowerSettings {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.heartbeat < Duration::from_millis(10) {
            return Err(ConfigError::new("heartbeat", "is under 10 milliseconds"));
        }
        if self.retry.is_zero() {
            return Err(ConfigError::new(
                "retry",
                "is zero: a log that is away would be asked without a pause",
            ));
        }
        check_length("heartbeat", self.heartbeat)?;
        check_length("retry", self.retry)?;
        // A reading that waits for a record proves contact only as of when it began.
        let least = self.heartbeat.saturating_mul(3);
        match self.without_contact.trusts_for() {
            Some(after) if after < least => {
                let reason = format!(
                    "after {after:?} would be without contact between heartbeats: at least {least:?}"
                );
                Err(ConfigError::new("without_contact", reason))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::distribution::bus::{Follower, Local};
    use crate::edge::Edge;

    #[tokio::test]
    async fn settings_that_cannot_work_are_refused_by_name() {
        let with = |change: fn(&mut FollowerSettings)| {
            let edge = Edge::builder().build().unwrap();
            let mut settings = FollowerSettings::default();
            change(&mut settings);
            Follower::start(&edge, Arc::new(Local::new()), settings).unwrap_err().setting().to_owned()
        };
        assert_eq!(with(|settings| settings.heartbeat = Duration::from_millis(9)), "heartbeat");
        assert_eq!(with(|settings| settings.heartbeat = Duration::MAX), "heartbeat");
        assert_eq!(with(|settings| settings.retry = Duration::ZERO), "retry");
        assert_eq!(with(|settings| settings.retry = Duration::MAX), "retry");
        let after = |settings: &mut FollowerSettings| {
            settings.without_contact = WithoutContact::Refuse { after: Duration::from_millis(2_999) };
        };
        assert_eq!(with(after), "without_contact");
    }
}
