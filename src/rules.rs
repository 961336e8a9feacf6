//! Which policies make sense, and for which paths: [`Rules`].

use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::glob::Glob;
use crate::policy::{Behavior, CachePolicy};

const MAX_OBJECT: u64 = 64 * 1024 * 1024;
/// An object may take this part of the capacity, so that it cannot sweep out everything else.
const OBJECT_SHARE: u64 = 8;
/// Under this a slice costs more to ask for than to send.
const MIN_SLICE: u64 = 4 * 1024;
/// Each viewer may hold so many slices besides the one it reads.
const MAX_READ_AHEAD: usize = 16;

/// Policies that make sense, and the largest object they let in.
pub(crate) struct Rules {
    pub(crate) behaviors: Vec<(Glob, Arc<CachePolicy>)>,
    pub(crate) policy: Arc<CachePolicy>,
    pub(crate) largest: u64,
}

impl Rules {
    pub(crate) fn new(
        policy: CachePolicy,
        behaviors: impl IntoIterator<Item = Behavior>,
        capacity: u64,
    ) -> Result<Self, ConfigError> {
        let mut largest = check(&policy, capacity, "policy")?;
        let mut checked = Vec::new();
        for Behavior { pattern, policy } in behaviors {
            let place = format!("behavior {pattern:?}");
            if !pattern.starts_with(['/', '*', '?']) {
                return Err(ConfigError::new(
                    place,
                    "a pattern starts with '/', '*' or '?', or it matches no path",
                ));
            }
            largest = largest.max(check(&policy, capacity, &place)?);
            checked.push((Glob::new(&pattern), Arc::new(policy)));
        }
        Ok(Self { behaviors: checked, policy: Arc::new(policy), largest })
    }
}

/// The largest object a policy lets in, if the policy makes sense.
fn check(policy: &CachePolicy, capacity: u64, place: &str) -> Result<u64, ConfigError> {
    let wrong = |setting: &str, reason: String| Err(ConfigError::new(format!("{place}: {setting}"), reason));
    let share = capacity / OBJECT_SHARE;
    let object = max_object(policy, capacity);
    if object > share {
        let reason = format!(
            "{object} bytes is over an eighth of the capacity ({share} bytes), so it could not be held"
        );
        return wrong("limits.object_size", reason);
    }
    if object == 0 {
        return wrong("limits.object_size", "is zero".into());
    }
    if policy.ttl.min > policy.ttl.max {
        return wrong("ttl.min", format!("{:?} is over ttl.max ({:?})", policy.ttl.min, policy.ttl.max));
    }
    if policy.limits.variants == 0 {
        return wrong("limits.variants", "is zero".into());
    }
    if policy.heuristic.percent > 100 {
        return wrong("heuristic.percent", format!("{} is over 100", policy.heuristic.percent));
    }
    if policy.limits.follower_wait == Duration::ZERO {
        return wrong("limits.follower_wait", "is zero: nobody could share a fill".into());
    }
    let Some(slices) = policy.slices else { return Ok(object) };
    if slices.size < MIN_SLICE {
        return wrong("slices.size", format!("{} is under {MIN_SLICE} bytes", slices.size));
    }
    if slices.size > share {
        let reason = format!(
            "{} bytes is over an eighth of the capacity ({share} bytes), so no slice could be held",
            slices.size
        );
        return wrong("slices.size", reason);
    }
    if slices.threshold < slices.size {
        let reason = format!("{} bytes is under slices.size ({} bytes)", slices.threshold, slices.size);
        return wrong("slices.threshold", reason);
    }
    if slices.read_ahead > MAX_READ_AHEAD {
        return wrong("slices.read_ahead", format!("{} is over {MAX_READ_AHEAD}", slices.read_ahead));
    }
    Ok(object.max(slices.size))
}

/// The largest body that is stored under a policy.
pub(crate) fn max_object(policy: &CachePolicy, capacity: u64) -> u64 {
    policy.limits.object_size.unwrap_or(MAX_OBJECT.min(capacity / OBJECT_SHARE))
}
