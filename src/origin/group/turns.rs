//! Who is asked when, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::timeout;
use tower::ServiceExt;

use super::body::{self, BoxBody, GroupBody, Leg};
use super::error::GroupError;
use super::health::{Health, Ticket};
use super::member::{Member, ServedBy};
use super::policy::GroupPolicy;
use super::takeover::{Asking, Rest, Successors, Takeover};
use crate::semantics::rest::Promise;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

pub(super) struct Shared<B> {
    pub(super) members: Box<[Seat<B>]>,
    pub(super) policy: GroupPolicy,
    pub(super) order: Order,
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
pub(super) struct Seat<B> {
    pub(super) member: Member<B>,
    pub(super) health: Arc<Health>,
    pub(super) proxy_status: Option<HeaderValue>,
}

/// A member to be asked, and the leave to do so.
struct Turn {
    /// In the order of this request.
    place: usize,
    member: usize,
    ticket: Ticket,
}

pub(super) type Answer = Result<Response<GroupBody>, GroupError>;

impl<B> Shared<B>
where
    B: Body + Default + Send + 'static,
{
    pub(super) async fn ask_one(&self, request: Request<B>) -> Answer {
        let (head, body) = request.into_parts();
        let turn = match &self.order {
            Order::AsGiven => Turn { place: 0, member: 0, ticket: self.members[0].health.admit_anyway() },
            Order::ByRequest(_) => {
                let order = self.order(&head);
                self.next(&order, 0).unwrap_or_else(|| self.due_next(&order))
            }
        };
        let member = turn.member;
        let answer = self.ask(turn, Request::from_parts(head, body), None, |_| false).await?;
        Ok(self.answer(member, 0, answer, None))
    }

    pub(super) async fn ask_in_turn(self: Arc<Self>, request: Request<B>) -> Answer {
        let (head, _) = request.into_parts();
        let order = self.order(&head);
        let mut turn = self.next(&order, 0).unwrap_or_else(|| self.due_next(&order));
        let mut asked = Indices::new();
        let is_good = |status| !self.policy.statuses.contains(&status);
        loop {
            let Turn { place, member, .. } = turn;
            asked.push(member);
            let request = Request::from_parts(head.clone(), B::default());
            let answer =
                self.ask(turn, request, self.policy.head_time, |answer| is_good(answer.status())).await;
            let failed = asked.len() - 1;
            if answer.as_ref().is_ok_and(|answer| is_good(answer.status())) {
                let answer = answer?;
                let rest = Promise::of(answer.status(), answer.headers(), answer.body().size_hint().exact())
                    .and_then(|promise| Rest::of(head, promise, order, asked));
                let takeover =
                    rest.map(|rest| Takeover::new(Arc::clone(&self) as _, rest, self.policy.body_time));
                return Ok(self.answer(member, failed, answer, takeover));
            }
            // Only now that there is need of it: leave to probe is not to be had for nothing.
            match self.next(&order, place + 1) {
                Some(next) => turn = next,
                None => return Ok(self.answer(member, failed, answer?, None)),
            }
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
    fn next(&self, order: &[usize], from: usize) -> Option<Turn> {
        let mut members = order.iter().copied().enumerate().skip(from);
        members.find_map(|(place, member)| {
            Some(Turn { place, member, ticket: self.members[member].health.admit()? })
        })
    }

    /// Of members that are all to be skipped, the one for the shortest time.
    fn due_next(&self, order: &[usize]) -> Turn {
        let (place, member) = order
            .iter()
            .copied()
            .enumerate()
            .min_by_key(|(_, member)| self.members[*member].health.retry_at())
            .expect("there is a member in every order");
        Turn { place, member, ticket: self.members[member].health.admit_anyway() }
    }

    /// Asks one member. An answer that is wanted is here when its body has begun.
    async fn ask(
        &self,
        turn: Turn,
        request: Request<B>,
        head_time: Option<Duration>,
        is_wanted: impl FnOnce(&Response<BoxBody>) -> bool,
    ) -> Result<Response<Leg>, GroupError> {
        let Turn { member, mut ticket, .. } = turn;
        let member = &self.members[member].member;
        let name = &member.name;
        let exchange = async {
            let mut response = member.service.clone().oneshot(request).await?;
            let first = if is_wanted(&response) { body::first(response.body_mut()).await? } else { None };
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
        Ok(response.map(|body| Leg::new(first, body, ticket)))
    }

    /// A member's answer, as the group's.
    fn answer(
        &self,
        member: usize,
        failed: usize,
        response: Response<Leg>,
        takeover: Option<Takeover>,
    ) -> Response<GroupBody> {
        let seat = &self.members[member];
        let mut response = response.map(|leg| GroupBody::new(leg, takeover));
        response.extensions_mut().insert(ServedBy { name: Arc::clone(&seat.member.name), failed });
        if let Some(field) = &seat.proxy_status {
            response.headers_mut().append(PROXY_STATUS, field.clone());
        }
        response
    }
}

impl<B> Successors for Shared<B>
where
    B: Body + Default + Send + 'static,
{
    fn go_on(self: Arc<Self>, rest: &mut Rest, is_in_need: bool) -> Option<Asking> {
        let order = rest.order();
        let due_next = || (is_in_need && !order.is_empty()).then(|| self.due_next(&order));
        let turn = self.next(&order, 0).or_else(due_next)?;
        let (head, promise, wanted) = rest.ask(turn.member);
        Some(Box::pin(async move {
            let mut bytes = None;
            let is_wanted = |answer: &Response<BoxBody>| {
                let length = answer.body().size_hint().exact();
                bytes = promise.kept_by(&wanted, answer.status(), answer.headers(), length);
                bytes.is_some()
            };
            let request = Request::from_parts(head, B::default());
            let answer = self.ask(turn, request, self.policy.head_time, is_wanted).await.ok()?;
            let mut leg = answer.into_body();
            leg.wanted(&wanted, &bytes?);
            Some(leg)
        }))
    }
}
