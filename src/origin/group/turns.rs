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

use super::body::{self, GroupBody};
use super::error::GroupError;
use super::health::{Health, Ticket};
use super::member::{Member, ServedBy};
use super::policy::GroupPolicy;

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
struct Turn<'a, B> {
    /// In the order of this request.
    place: usize,
    seat: &'a Seat<B>,
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

    pub(super) async fn ask_in_turn(&self, request: Request<B>) -> Answer {
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
