//! The body of a response that came through the edge: [`Body`].

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::BoxError;

use crate::error::{BodyError, BodyErrorKind};
use crate::fill::Participant;
use crate::slices::Sliced;
use crate::store::Stored;

pin_project! {
    /// A response body: from the store, from a fill while it grows, or the origin's own, `R`.
    pub struct Body<R> {
        #[pin]
        inner: Inner<R>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<R> {
        // Nothing, or what fits in one frame.
        Once { bytes: Option<Bytes> },
        // Nothing, where another answer would have something.
        Absent,
        // One run of bytes of a source.
        Run { source: Source, range: Range<u64>, known: bool },
        // Runs of bytes, each with an opening before it, and a closing.
        Multipart { source: Source, parts: VecDeque<Part>, left: u64 },
        // The origin's body as it comes.
        Origin { #[pin] body: R },
        // A run of bytes of the origin's body.
        Cut { #[pin] body: R, skip: u64, left: u64 },
    }
}

/// Where the bytes of a shared response come from.
#[derive(Debug)]
pub(crate) enum Source {
    Stored(Arc<Stored>),
    Fill(Participant),
    Sliced(Box<Sliced>),
}

/// A piece of a multipart body.
#[derive(Debug)]
pub(crate) enum Part {
    Frame(Bytes),
    Run(Range<u64>),
}

impl Source {
    fn poll_run(
        &mut self,
        range: &Range<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Stored(stored) => {
                let run = stored.run(range);
                Poll::Ready(if run.is_empty() { None } else { Some(Ok(run)) })
            }
            Self::Fill(participant) => participant.poll_read(range, cx),
            Self::Sliced(sliced) => sliced.poll_run(range, cx),
        }
    }
}

impl<R> Body<R> {
    pub(crate) fn empty() -> Self {
        Self { inner: Inner::Once { bytes: None } }
    }

    /// The body of a 304 or an answer to HEAD. It says nothing about a length, lest a server make a `Content-Length` of it,
    /// which would be taken for that of the answer to a GET (RFC 9110 §8.6).
    pub(crate) fn absent() -> Self {
        Self { inner: Inner::Absent }
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { inner: Inner::Once { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    pub(crate) fn origin(body: R) -> Self {
        Self { inner: Inner::Origin { body } }
    }

    /// `range` of the origin's body. The rest is not read.
    pub(crate) fn cut(body: R, range: Range<u64>) -> Self {
        Self { inner: Inner::Cut { body, skip: range.start, left: range.end - range.start } }
    }

    /// A whole body, `length` bytes long as far as that is known.
    pub(crate) fn whole(source: Source, length: Option<u64>) -> Self {
        if let Source::Stored(stored) = &source
            && let Some(bytes) = stored.single()
        {
            return Self::full(bytes);
        }
        Self { inner: Inner::Run { source, range: 0..length.unwrap_or(u64::MAX), known: length.is_some() } }
    }

    pub(crate) fn run(source: Source, range: Range<u64>) -> Self {
        Self { inner: Inner::Run { source, range, known: true } }
    }

    /// Waits until the first byte from a slice is about to come, if any is to come.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match &mut self.inner {
            Inner::Run { source: Source::Sliced(sliced), range, .. } if !range.is_empty() => {
                sliced.poll_ready(range.start, cx)
            }
            Inner::Multipart { source: Source::Sliced(sliced), parts, .. } => {
                let first = parts.iter().find_map(|part| match part {
                    Part::Run(range) => Some(range.start),
                    Part::Frame(_) => None,
                });
                first.map_or(Poll::Ready(Ok(())), |first| sliced.poll_ready(first, cx))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn multipart(source: Source, parts: VecDeque<Part>, length: u64) -> Self {
        Self { inner: Inner::Multipart { source, parts, left: length } }
    }
}

/// A body of a server's own, such as that of a page about an error: its answers then have one type.
impl<R> From<Bytes> for Body<R> {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl<R> http_body::Body for Body<R>
where
    R: http_body::Body,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project().inner.project() {
            InnerProj::Once { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            InnerProj::Absent => Poll::Ready(None),
            InnerProj::Run { source, range, known } => poll_run(source, range, *known, cx),
            InnerProj::Multipart { source, parts, left } => {
                let frame = ready!(poll_part(source, parts, cx));
                if let Some(Ok(frame)) = &frame {
                    *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(frame)
            }
            InnerProj::Origin { body } => {
                let frame = ready!(body.poll_frame(cx));
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
                    Err(error) => Err(BodyError::origin(error.into())),
                }))
            }
            InnerProj::Cut { mut body, skip, left } => loop {
                if *left == 0 {
                    return Poll::Ready(None);
                }
                let mut data = match ready!(body.as_mut().poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => data,
                        Err(_) => continue,
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::origin(error.into())))),
                    None => return Poll::Ready(Some(Err(BodyError::new(BodyErrorKind::Length)))),
                };
                let skipped = (*skip).min(data.remaining() as u64);
                data.advance(skipped as usize);
                *skip -= skipped;
                let taken = (*left).min(data.remaining() as u64);
                if taken > 0 {
                    *left -= taken;
                    return Poll::Ready(Some(Ok(Frame::data(data.copy_to_bytes(taken as usize)))));
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Once { bytes } => bytes.is_none(),
            Inner::Absent => true,
            Inner::Run { range, known, .. } => *known && range.is_empty(),
            Inner::Multipart { parts, .. } => parts.is_empty(),
            Inner::Origin { body } => body.is_end_stream(),
            Inner::Cut { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Once { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Absent | Inner::Run { known: false, .. } => SizeHint::default(),
            Inner::Run { range, .. } => SizeHint::with_exact(range.end.saturating_sub(range.start)),
            Inner::Multipart { left, .. } | Inner::Cut { left, .. } => SizeHint::with_exact(*left),
            Inner::Origin { body } => body.size_hint(),
        }
    }
}

fn poll_run(
    source: &mut Source,
    range: &mut Range<u64>,
    known: bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    if range.is_empty() {
        return Poll::Ready(None);
    }
    Poll::Ready(match ready!(source.poll_run(range, cx)) {
        Some(Ok(bytes)) => {
            range.start += bytes.len() as u64;
            Some(Ok(Frame::data(bytes)))
        }
        Some(Err(error)) => Some(Err(error)),
        // A known length was checked before the body ended cleanly; should it be wrong all the same, nobody takes
        // what came for the whole.
        None if known => Some(Err(BodyError::new(BodyErrorKind::Length))),
        None => None,
    })
}

fn poll_part(
    source: &mut Source,
    parts: &mut VecDeque<Part>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    loop {
        match parts.front_mut() {
            None => return Poll::Ready(None),
            Some(Part::Frame(bytes)) => {
                let bytes = std::mem::take(bytes);
                parts.pop_front();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Some(Part::Run(range)) if range.is_empty() => drop(parts.pop_front()),
            Some(Part::Run(range)) => return poll_run(source, range, true, cx),
        }
    }
}

impl<R> fmt::Debug for Body<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::Once { .. } => "Body::Once",
            Inner::Absent => "Body::Absent",
            Inner::Run { .. } => "Body::Run",
            Inner::Multipart { .. } => "Body::Multipart",
            Inner::Origin { .. } => "Body::Origin",
            Inner::Cut { .. } => "Body::Cut",
        })
    }
}
