//! The body of an answer of any member: [`GroupBody`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::BoxError;

use super::health::Ticket;

pub(crate) type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// The body of a member's answer, as it comes. How it ends tells the group how the member is.
pub struct GroupBody {
    /// What has come of it already.
    first: Option<Frame<Bytes>>,
    body: BoxBody,
    ticket: Option<Ticket>,
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
    pub(super) fn new(first: Option<Frame<Bytes>>, body: BoxBody, ticket: Option<Ticket>) -> Self {
        let mut body = Self { first, body, ticket };
        body.look_for_end();
        body
    }

    /// Who reads a body of known length may stop before it says that it has ended.
    fn look_for_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(ticket) = self.ticket.take()
        {
            ticket.ended();
        }
    }
}

impl Body for GroupBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.look_for_end(),
            Some(Err(_)) => {
                if let Some(ticket) = self.ticket.take() {
                    ticket.failed();
                }
            }
            None => {
                if let Some(ticket) = self.ticket.take() {
                    ticket.ended();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
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
}

impl fmt::Debug for GroupBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBody").finish_non_exhaustive()
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
