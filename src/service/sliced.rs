//! A read of an object in slices, or of one that may come to be stored so.
//!
//! The viewer's head is sent when the first slice it needs is there or about to come: should the object turn out to be
//! another by then, the request starts over. Later its body can only end in an error.

use std::future::poll_fn;
use std::sync::Arc;

use http::{Response, StatusCode};
use tokio::runtime::Handle;

use super::miss::Miss;
use crate::answer;
use crate::behind::Origin;
use crate::body::Body;
use crate::error::BodyErrorKind;
use crate::future::ResponseFuture;
use crate::lookup::{Ask, Look, Use};
use crate::outcome::{Detail, ForwardReason, Outcome};
use crate::slices::{SliceOrigin, slice_at_hand};
use crate::store::Stored;
use crate::upload::RequestBody;

/// How often a request starts over, when the origin's object changes under it.
const RESTARTS: usize = 3;
/// A request that takes only what is stored is told no if it needs more slices than this.
const MAX_LOOKED_FOR: u64 = 4_096;

/// Which slices a request needs are not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// None.
    Nothing,
    /// Not the first.
    Later,
    First,
}

impl<S, B> Miss<S, B>
where
    S: Origin<B>,
    B: http_body::Body + Send + 'static,
{
    /// Answers with an object in slices: at once, if the first slice that is needed is stored.
    pub(super) fn answer_sliced(
        mut self: Box<Self>,
        stored: &Arc<Stored>,
        use_: Use,
    ) -> ResponseFuture<S::Body, S::Error> {
        self.reader.reason = ForwardReason::Partial;
        if !self.learns_slices() {
            return ResponseFuture::waiting(self.alone(Some(Detail::Busy)));
        }
        let missing = self.missing(stored);
        let control = &self.reader.control;
        if missing != Missing::Nothing && control.only_if_cached {
            let outcome = Outcome::forward(ForwardReason::Partial).because(Detail::OnlyIfCached);
            self.reader.count(&outcome);
            return ResponseFuture::ready(answer::made_up(
                &self.reader.edge,
                StatusCode::GATEWAY_TIMEOUT,
                outcome,
            ));
        }
        if missing != Missing::Nothing && control.no_store {
            // RFC 9111 §5.2.1.5: no slice that comes for it could be stored.
            return ResponseFuture::waiting(self.alone(None));
        }
        if let Use::Stale { refresh: true, .. } = use_
            && !control.no_store
        {
            self.again().refresh(Arc::clone(stored));
        }
        let outcome = use_.outcome(stored, stored.age(self.reader.edge.clock.elapsed()));
        if missing != Missing::First {
            return ResponseFuture::ready(self.reader.answer_stored(stored, outcome));
        }
        let outcome = Outcome { detail: outcome.detail, ..Outcome::forward(ForwardReason::Partial) };
        let response = self.reader.answer_stored(stored, outcome);
        ResponseFuture::waiting(self.begun(response))
    }

    /// The walk of a miss, where what comes may be an object in slices.
    pub(super) async fn run_sliced(
        mut self: Box<Self>,
        ask: Ask,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        if !self.learns_slices() {
            self.reader.take(ask);
            return self.alone(Some(Detail::Busy)).await;
        }
        let again = self.again();
        let response = self.walk(ask).await?;
        again.begun(response).await
    }

    /// Waits for the first slice of an answer. If the object is another by now, the request starts over; if there is no
    /// slice to be had, it is forwarded.
    pub(super) async fn begun(
        mut self: Box<Self>,
        mut response: Response<Body<S::Body>>,
    ) -> Result<Response<Body<S::Body>>, S::Error> {
        self.reader.is_counted = true;
        for _ in 0..RESTARTS {
            match poll_fn(|cx| response.body_mut().poll_ready(cx)).await {
                Ok(()) => return Ok(response),
                Err(error) if error.kind() == BodyErrorKind::Changed => {}
                Err(_) => break,
            }
            let now = self.reader.edge.clock.elapsed();
            response =
                match self.reader.edge.look(self.reader.query(), now, self.reader.edge.contact.trust(now)) {
                    Look::Answer { stored, age, use_ } => {
                        self.reader.answer_stored(&stored, use_.outcome(&stored, age))
                    }
                    Look::Ask(ask) => Box::pin(self.again().walk(ask)).await?,
                    Look::Unsatisfiable => break,
                };
        }
        self.alone(None).await
    }

    /// Lets the reader get slices. False where there is no runtime to get them in.
    fn learns_slices(&mut self) -> bool {
        Handle::try_current().map(|runtime| self.learns_slices_in(runtime)).is_ok()
    }

    pub(super) fn learns_slices_in(&mut self, runtime: Handle) {
        let asks = SliceOrigin::<S, B>::new(self.origin.clone(), self.parts.clone());
        self.reader.slices = Some((Arc::new(asks), runtime));
    }

    /// The same request once more. Its body, of which there is nothing, stays here.
    pub(super) fn again(&self) -> Box<Self> {
        Box::new(Self {
            origin: self.origin.clone(),
            parts: self.parts.clone(),
            body: RequestBody::empty(),
            reader: self.reader.clone(),
            after: None,
        })
    }

    fn missing(&self, stored: &Stored) -> Missing {
        let Some(generation) = stored.generation() else { return Missing::Nothing };
        let reader = &self.reader;
        let wanted = answer::wanted(&stored.head, stored.total(), reader.view());
        let mut indices = wanted
            .iter()
            .flat_map(|range| range.start / generation.size..range.end.div_ceil(generation.size));
        let has = |index| slice_at_hand(&reader.edge, &reader.key, stored, index).is_some();
        match indices.next() {
            Some(first) if !has(first) => Missing::First,
            // Only these make a difference of what comes later.
            Some(first) if reader.control.only_if_cached || reader.control.no_store => {
                let is_here = |index| index - first < MAX_LOOKED_FOR && has(index);
                if indices.all(is_here) { Missing::Nothing } else { Missing::Later }
            }
            _ => Missing::Nothing,
        }
    }
}
