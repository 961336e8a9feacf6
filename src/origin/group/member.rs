//! One origin of a group: [`Member`].

use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use super::body::{BoxBody, Common};
use super::health::MemberState;

/// An origin, by the name it has in its [`Group`](super::Group).
///
/// Members may be of different types; only the request's body is the same for all.
pub struct Member<B> {
    pub(super) name: Arc<str>,
    pub(super) service: BoxCloneSyncService<Request<B>, Response<BoxBody>, BoxError>,
}

impl<B> Member<B> {
    /// The origin `service`, called `name` in fields, errors and figures.
    pub fn new<S, R>(name: impl Into<String>, service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
        B: 'static,
    {
        let service = service
            .map_response(|response: Response<R>| response.map(Common::boxed))
            .map_err(|error: S::Error| error.into());
        Self { name: name.into().into(), service: BoxCloneSyncService::new(service) }
    }
}

impl<B> fmt::Debug for Member<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which member of a [`Group`](super::Group) gave an answer. It stands in the response's extensions.
///
/// An answer out of the store has no extensions of the origin's; for those, see
/// [`GroupPolicy::proxy_status`](super::GroupPolicy::proxy_status).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    pub(super) name: Arc<str>,
    pub(super) failed: usize,
}

impl ServedBy {
    /// The member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many members were asked before it, in vain, for this request.
    pub fn failed_before(&self) -> usize {
        self.failed
    }
}

/// How one member of a [`Group`](super::Group) does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Whether it is asked.
    pub state: MemberState,
    /// Heads that came and were no failure.
    pub answered: u64,
    /// Errors, answers with a failure's status, heads that did not come in time, and bodies that broke off.
    pub failed: u64,
}
