//! Several origins with the same content as one: [`Group`].

mod body;
mod error;
mod health;
mod member;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::timeout;
use tower::{Service, ServiceExt};

pub use self::body::GroupBody;
pub(crate) use self::body::{BoxBody, Common};
pub use self::error::GroupError;
pub use self::health::{HealthPolicy, MemberState};
pub use self::member::{Member, MemberStatus, ServedBy};

use self::health::{Health, Ticket};
use crate::error::ConfigError;
use crate::name;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// When a [`Group`] asks the next member.
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
            health: HealthPolicy::default(),
            proxy_status: None,
        }
    }
}

/// A service that asks the first of its members and, where that fails, the next.
///
/// A member fails that gives an error, no head in time, or one of the [statuses](GroupPolicy::statuses). So does one whose
/// body, of a length it has given, fails before it begins: such a head is held back until then. What follows is passed on as
/// it comes, and a body that breaks off cannot be taken over by another member. When all fail, the failure of the last is the
/// answer.
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

struct Shared<B> {
    members: Box<[Seat<B>]>,
    policy: GroupPolicy,
    order: Order,
}

/// In which order members are asked.
pub(crate) enum Order {
    /// As they stand. The first is where writes belong.
    AsGiven,
    /// By what is asked for, and then the others as they stand: which of the members come first for a request. Those are as
    /// good as each other, for writes, too.
    ByRequest(Box<dyn Fn(&Parts) -> Indices + Send + Sync>),
}

/// Members, by their place.
pub(crate) type Indices = SmallVec<[usize; 8]>;

/// A member, and what is known of it.
struct Seat<B> {
    member: Member<B>,
    health: Arc<Health>,
    proxy_status: Option<HeaderValue>,
}

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
        check(&policy)?;
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

fn check(policy: &GroupPolicy) -> Result<(), ConfigError> {
    if let Some(status) = policy.statuses.iter().find(|status| status.as_u16() < 400) {
        return Err(ConfigError::new("statuses", format!("{} is no failure", status.as_u16())));
    }
    if policy.head_time == Some(Duration::ZERO) {
        return Err(ConfigError::new("head_time", "is zero: nobody could answer"));
    }
    let health = &policy.health;
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

/// A member to be asked, and the leave to do so.
struct Turn<'a, B> {
    /// In the order of this request.
    place: usize,
    seat: &'a Seat<B>,
    ticket: Ticket,
}

type Answer = Result<Response<GroupBody>, GroupError>;

impl<B> Shared<B>
where
    B: Body + Default + Send + 'static,
{
    async fn ask_one(&self, request: Request<B>) -> Answer {
        let (head, body) = request.into_parts();
        let turn = match &self.order {
            Order::AsGiven => {
                let seat = &self.members[0];
                Turn { place: 0, seat, ticket: seat.health.admit_anyway() }
            }
            Order::ByRequest(_) => {
                let order = self.order(&head);
                self.next(&order, 0).unwrap_or_else(|| self.due_next(&order))
            }
        };
        self.ask(turn, Request::from_parts(head, body), 0, None, false).await
    }

    async fn ask_in_turn(&self, request: Request<B>) -> Answer {
        let (head, _) = request.into_parts();
        let order = self.order(&head);
        let mut turn = self.next(&order, 0).unwrap_or_else(|| self.due_next(&order));
        let mut failed = 0;
        loop {
            let after = turn.place + 1;
            let request = Request::from_parts(head.clone(), B::default());
            let answer = self.ask(turn, request, failed, self.policy.head_time, true).await;
            let is_good =
                answer.as_ref().is_ok_and(|answer| !self.policy.statuses.contains(&answer.status()));
            if is_good {
                return answer;
            }
            // Only now that there is need of it: leave to probe is not to be had for nothing.
            match self.next(&order, after) {
                Some(next) => turn = next,
                None => return answer,
            }
            failed += 1;
        }
    }

    /// Every member once.
    fn order(&self, head: &Parts) -> Indices {
        let all = 0..self.members.len();
        match &self.order {
            Order::AsGiven => all.collect(),
            Order::ByRequest(first) => {
                let mut order = first(head);
                for member in all {
                    if !order.contains(&member) {
                        order.push(member);
                    }
                }
                order
            }
        }
    }

    /// The next member that is not to be skipped.
    fn next(&self, order: &[usize], from: usize) -> Option<Turn<'_, B>> {
        let mut seats = order.iter().map(|member| &self.members[*member]).enumerate().skip(from);
        seats.find_map(|(place, seat)| Some(Turn { place, seat, ticket: seat.health.admit()? }))
    }

    /// Of members that are all to be skipped, the one for the shortest time.
    fn due_next(&self, order: &[usize]) -> Turn<'_, B> {
        let (place, seat) = order
            .iter()
            .map(|member| &self.members[*member])
            .enumerate()
            .min_by_key(|(_, seat)| seat.health.retry_at())
            .expect("a group has members");
        Turn { place, seat, ticket: seat.health.admit_anyway() }
    }

    async fn ask(
        &self,
        turn: Turn<'_, B>,
        request: Request<B>,
        failed: usize,
        head_time: Option<Duration>,
        may_fail_over: bool,
    ) -> Answer {
        let Turn { seat, mut ticket, .. } = turn;
        let name = &seat.member.name;
        let exchange = async {
            let mut response = seat.member.service.clone().oneshot(request).await?;
            let is_wanted = may_fail_over && !self.policy.statuses.contains(&response.status());
            let first = if is_wanted { body::first(response.body_mut()).await? } else { None };
            Ok((response, first))
        };
        let answer = match head_time {
            None => exchange.await,
            Some(limit) => match timeout(limit, exchange).await {
                Ok(answer) => answer,
                Err(_) => {
                    ticket.failed();
                    return Err(GroupError::head_time(name, limit));
                }
            },
        };
        let (response, first) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                ticket.failed();
                return Err(GroupError::member(name, error));
            }
        };
        let status = response.status();
        let ticket = if status.is_server_error() && self.policy.statuses.contains(&status) {
            ticket.failed();
            None
        } else {
            ticket.answered();
            Some(ticket)
        };
        let mut response = response.map(|body| GroupBody::new(first, body, ticket));
        response.extensions_mut().insert(ServedBy { name: Arc::clone(name), failed });
        if let Some(field) = &seat.proxy_status {
            response.headers_mut().append(PROXY_STATUS, field.clone());
        }
        Ok(response)
    }
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
