//! Several origins with the same content as one: [`Group`].

mod body;
mod error;
mod health;
mod member;
mod policy;
mod takeover;
mod turns;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HeaderValue;
use http::{Method, Request, Response};
use http_body::Body;
use tower::Service;

pub use self::body::GroupBody;
pub(crate) use self::body::{BoxBody, Common};
pub use self::error::GroupError;
pub use self::health::{HealthPolicy, MemberState};
pub use self::member::{Member, MemberStatus, ServedBy};
pub use self::policy::GroupPolicy;
pub(crate) use self::turns::Order;

use self::health::Health;
use self::turns::{Answer, Seat, Shared};
use crate::error::ConfigError;
use crate::name;

/// A service that asks the first of its members and, where that fails, the next.
///
/// A member fails that gives an error, no head in time, or one of the [statuses](GroupPolicy::statuses). So does one whose
/// body, of a length it has given, fails before it begins: such a head is held back until then. What follows is passed on as
/// it comes. When all fail, the failure of the last is the answer.
///
/// A body that breaks off later, ends short, or is [silent](GroupPolicy::body_time) is gone on with from where it stopped,
/// if it answers a GET by 200 or by a single part, its length is known, and it has a strong `ETag`, by which the members'
/// bytes can be told to be the same. The next member is then asked for the rest by `Range` and `If-Range`; its answer counts
/// only if it is just that part of a whole of the same length under the same tag, or that whole, if not more than 64 MiB
/// come before what is wanted. A member is asked twice at most for one answer, the one that broke off last of all. If nobody
/// has the rest, the body's own error goes on. Members that serve the same file under different tags, as servers do that
/// make them of its time, cannot stand in for each other in this.
///
/// Only GET, HEAD and OPTIONS without a body are sent to more than one member. Everything else goes to the first, whatever
/// its state: the first is where writes belong, and nothing is written twice.
///
/// A member that fails several times in a row is skipped for a while; then one request finds out how it does while the
/// others go on skipping it ([`HealthPolicy`]). When all are to be skipped, the one that is due next is asked.
///
/// Members are cloned for each request and asked when they are ready, so the group itself always is. Clones of a group share
/// what is known of its members.
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{ServiceExt, service_fn};
/// use tower_edge::origin::{Group, GroupPolicy, Member, ServedBy};
///
/// type Answer = Result<Response<Full<Bytes>>, Infallible>;
///
/// async fn eu(_: Request<Full<Bytes>>) -> Answer {
///     let mut sorry = Response::new(Full::from("down for maintenance"));
///     *sorry.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
///     Ok(sorry)
/// }
///
/// async fn us(_: Request<Full<Bytes>>) -> Answer {
///     Ok(Response::new(Full::from("rendered")))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let members = [Member::new("eu", service_fn(eu)), Member::new("us", service_fn(us))];
/// let group = Group::new(members, GroupPolicy::default())?;
/// let response = group.oneshot(Request::get("http://example.com/").body(Full::default())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// assert_eq!(response.extensions().get::<ServedBy>().map(ServedBy::name), Some("us"));
/// # Ok(())
/// # }
/// ```
pub struct Group<B>(Arc<Shared<B>>);

impl<B> Group<B> {
    /// A group of `members`, to be asked in this order.
    ///
    /// # Errors
    /// If there is no member, two have one name, or a setting cannot work.
    pub fn new(
        members: impl IntoIterator<Item = Member<B>>,
        policy: GroupPolicy,
    ) -> Result<Self, ConfigError> {
        Self::ordered(members, policy, Order::AsGiven)
    }

    /// The same, in another order.
    pub(crate) fn ordered(
        members: impl IntoIterator<Item = Member<B>>,
        policy: GroupPolicy,
        order: Order,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        let hop = policy.proxy_status.as_deref().map(|hop| name::item("proxy_status", hop)).transpose()?;
        let mut seats: Vec<Seat<B>> = Vec::new();
        for member in members {
            let place = format!("member {:?}", member.name);
            let next_hop = name::item(&place, &member.name)?;
            if seats.iter().any(|seat| seat.member.name == member.name) {
                return Err(ConfigError::new(place, "is there twice"));
            }
            let proxy_status = hop.as_ref().map(|hop| {
                HeaderValue::try_from(format!("{hop}; next-hop={next_hop}"))
                    .expect("both names are visible ASCII")
            });
            seats.push(Seat { member, health: Arc::new(Health::new(policy.health)), proxy_status });
        }
        if seats.is_empty() {
            return Err(ConfigError::new("members", "there are none"));
        }
        Ok(Self(Arc::new(Shared { members: seats.into(), policy, order })))
    }

    /// How the members do, in their order.
    pub fn status(&self) -> Vec<MemberStatus> {
        self.0
            .members
            .iter()
            .map(|seat| {
                let (state, answered, failed) = seat.health.snapshot();
                MemberStatus { name: seat.member.name.to_string(), state, answered, failed }
            })
            .collect()
    }
}

impl<B> Clone for Group<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Group<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.0.members.iter().map(|seat| &seat.member.name).collect::<Vec<_>>();
        f.debug_struct("Group").field("members", &members).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Group<B>
where
    B: Body + Default + Send + 'static,
{
    type Response = Response<GroupBody>;
    type Error = GroupError;
    type Future = GroupFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GroupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> GroupFuture {
        let group = Arc::clone(&self.0);
        GroupFuture(Box::pin(async move {
            if may_be_repeated(&request) {
                group.ask_in_turn(request).await
            } else {
                group.ask_one(request).await
            }
        }))
    }
}

/// A method that changes nothing, and a body that can be sent again, since there is none.
fn may_be_repeated<B: Body>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && request.body().is_end_stream()
}

/// The response future of [`Group`].
pub struct GroupFuture(Pin<Box<dyn Future<Output = Answer> + Send>>);

impl Future for GroupFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for GroupFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupFuture").finish_non_exhaustive()
    }
}
