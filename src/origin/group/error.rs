//! Why nobody in a group gave an answer: [`GroupError`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;

/// The failure of the member that was asked last.
#[derive(Debug)]
pub struct GroupError {
    member: Arc<str>,
    failure: Failure,
}

#[derive(Debug)]
enum Failure {
    Member(BoxError),
    HeadTime(Duration),
}

impl GroupError {
    pub(super) fn member(member: &Arc<str>, error: BoxError) -> Self {
        Self { member: Arc::clone(member), failure: Failure::Member(error) }
    }

    pub(super) fn head_time(member: &Arc<str>, limit: Duration) -> Self {
        Self { member: Arc::clone(member), failure: Failure::HeadTime(limit) }
    }

    /// The name of the member that failed.
    pub fn name(&self) -> &str {
        &self.member
    }

    /// Whether it was given up since its head did not come in [time](super::GroupPolicy::head_time). If not, its own error is
    /// the [`source`](Error::source).
    pub fn is_head_time(&self) -> bool {
        matches!(self.failure, Failure::HeadTime(_))
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Failure::Member(_) => write!(f, "the origin {} failed", self.member),
            Failure::HeadTime(limit) => write!(f, "no answer from the origin {} in {limit:?}", self.member),
        }
    }
}

impl Error for GroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.failure {
            Failure::Member(error) => Some(&**error),
            Failure::HeadTime(_) => None,
        }
    }
}
