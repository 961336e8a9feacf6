//! The body of an answer of any member: [`GroupBody`].

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::BoxError;

use super::health::Ticket;
use super::takeover::Takeover;

pub(crate) type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// The body of a member's answer, as it comes. How it ends tells the group how the member is.
///
/// Where another member can go on with it (see [`Group`](super::Group)), that one's bytes follow, and trailers do not.
pub struct GroupBody {
    leg: Leg,
    takeover: Option<Box<Takeover>>,
}

/// The first of a body whose length is known, once it has come. Another may only begin when there is news, and is not
/// waited for.
pub(super) async fn first(body: &mut BoxBody) -> Result<Option<Frame<Bytes>>, BoxError> {
    if body.is_end_stream() || body.size_hint().exact().is_none() {
        return Ok(None);
    }
    poll_fn(|cx| body.as_mut().poll_frame(cx)).await.transpose()
}

impl GroupBody {
    pub(super) fn new(mut leg: Leg, takeover: Option<Takeover>) -> Self {
        if leg.is_end_stream() && takeover.is_none() {
            leg.ended();
        }
        Self { leg, takeover: takeover.map(Box::new) }
    }
}

impl Body for GroupBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { leg, takeover } = &mut *self;
        if let Some(takeover) = takeover {
            return takeover.poll_frame(leg, cx);
        }
        let frame = ready!(leg.poll_frame(cx));
        match &frame {
            // Who reads a body of known length may stop before it says that it has ended.
            Some(Ok(_)) if leg.is_end_stream() => leg.ended(),
            Some(Ok(_)) => {}
            Some(Err(_)) => leg.failed(),
            None => leg.ended(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.takeover {
            Some(takeover) => takeover.is_end_stream(&self.leg),
            None => self.leg.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.takeover {
            Some(takeover) => takeover.size_hint(),
            None => self.leg.size_hint(),
        }
    }
}

impl fmt::Debug for GroupBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBody").finish_non_exhaustive()
    }
}

/// A body as one member gives it.
pub(super) struct Leg {
    /// What has come of it already.
    first: Option<Frame<Bytes>>,
    body: BoxBody,
    ticket: Option<Ticket>,
    /// So many bytes come before those that are wanted.
    pub(super) before: u64,
    /// It goes on after those.
    pub(super) goes_on: bool,
}

impl Leg {
    pub(super) fn new(first: Option<Frame<Bytes>>, body: BoxBody, ticket: Option<Ticket>) -> Self {
        Self { first, body, ticket, before: 0, goes_on: false }
    }

    /// That only these bytes are wanted of those it has.
    pub(super) fn wanted(&mut self, bytes: &Range<u64>, of: &Range<u64>) {
        self.before = bytes.start - of.start;
        self.goes_on = bytes.end < of.end;
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.body.as_mut().poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if let Some(data) = self.first.as_ref().and_then(Frame::data_ref) {
            let length = data.len() as u64;
            let lower = hint.lower().saturating_add(length);
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(length));
            }
            hint.set_lower(lower);
        }
        hint
    }

    /// It ended as it should.
    pub(super) fn ended(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.ended();
        }
    }

    /// It broke off.
    pub(super) fn failed(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.failed();
        }
    }
}

pin_project! {
    /// A body with the types that all members' bodies share.
    pub(crate) struct Common<R> {
        #[pin]
        body: R,
    }
}

impl<R> Common<R> {
    pub(crate) fn boxed(body: R) -> BoxBody
    where
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        Box::pin(Self { body })
    }
}

impl<R> Body for Common<R>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
