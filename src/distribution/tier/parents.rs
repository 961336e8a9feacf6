//! Several parents of an edge, over HTTP: [`Parents`].

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::{BoxError, Service};

use super::{Announce, Token, choice};
use crate::distribution::bus::Follower;
use crate::error::ConfigError;
use crate::origin::{Group, GroupBody, GroupError, GroupFuture, GroupPolicy, Member, MemberStatus, Order};

/// The way from an edge to one of several parents, which each [say how new](Announce) their answers have to be.
///
/// By what is asked for, every child chooses the same parent; where that one fails, the next, and at last those that
/// [stand in](Self::otherwise), such as the origin itself. When a parent fails and is skipped, [`GroupPolicy`] says.
pub struct Parents<B> {
    members: Vec<Member<B>>,
    parents: Vec<u64>,
    follower: Arc<Follower>,
    token: Token,
}

impl<B> Parents<B> {
    /// No parents yet, for the edge that `follower` keeps in step with the log.
    pub fn new(follower: Arc<Follower>, token: Token) -> Self {
        Self { members: Vec::new(), parents: Vec::new(), follower, token }
    }

    /// Adds a parent. Its name should be the same on every child: it decides what the parent is asked for.
    #[must_use]
    pub fn parent<S, R>(mut self, name: impl Into<String>, service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
        B: 'static,
    {
        let name = name.into();
        self.parents.push(choice::named(&name));
        let announced = Announce::new(service, Arc::clone(&self.follower), self.token.clone());
        // Before those that stand in.
        self.members.insert(self.parents.len() - 1, Member::new(name, announced));
        self
    }

    /// Adds a service that is asked when all parents fail. It is told nothing.
    #[must_use]
    pub fn otherwise<S, R>(mut self, name: impl Into<String>, service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
        B: 'static,
    {
        self.members.push(Member::new(name, service));
        self
    }

    /// The service.
    ///
    /// # Errors
    /// If there is no parent, two have one name, or a setting cannot work.
    pub fn build(self, policy: GroupPolicy) -> Result<ParentsService<B>, ConfigError> {
        let Self { members, parents, .. } = self;
        if parents.is_empty() {
            return Err(ConfigError::new("parents", "there are none"));
        }
        let order = Order::ByRequest(Box::new(move |head| {
            choice::by_preference(choice::asked(&head.uri, &head.headers), parents.iter().copied())
        }));
        Ok(ParentsService(Group::ordered(members, policy, order)?))
    }
}

impl<B> fmt::Debug for Parents<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parents").field("members", &self.members).finish_non_exhaustive()
    }
}

/// Asks one of several parents. Made by [`Parents`].
#[derive(Debug)]
pub struct ParentsService<B>(Group<B>);

impl<B> ParentsService<B> {
    /// How the parents do, and those that stand in for them.
    pub fn status(&self) -> Vec<MemberStatus> {
        self.0.status()
    }
}

impl<B> Clone for ParentsService<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Service<Request<B>> for ParentsService<B>
where
    B: Body + Default + Send + 'static,
{
    type Response = Response<GroupBody>;
    type Error = GroupError;
    type Future = GroupFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GroupError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> GroupFuture {
        self.0.call(request)
    }
}
