//! A body that comes frame by frame, each in its own time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tower::BoxError;

#[derive(Debug, Default)]
pub(crate) struct Frames {
    frames: VecDeque<(Duration, Result<Bytes, &'static str>)>,
    /// Before the end is seen.
    last: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
}

impl Frames {
    /// A body whose length is known, and true as long as nothing is cut off.
    pub(crate) fn new(body: &[u8], mut times: impl Iterator<Item = Duration>, pieces: usize) -> Self {
        let mut frames = VecDeque::new();
        for piece in body.chunks(body.len().div_ceil(pieces.max(1)).max(1)) {
            frames.push_back((times.next().unwrap_or_default(), Ok(Bytes::copy_from_slice(piece))));
        }
        let last = times.next().unwrap_or_default();
        Self { frames, last, waiting: None, length: Some(body.len() as u64) }
    }

    /// Does not say beforehand how long it is.
    pub(crate) fn of_unknown_length(self) -> Self {
        Self { length: None, ..self }
    }

    /// Ends after this many frames as if that were all.
    pub(crate) fn cut_after(mut self, frames: usize) -> Self {
        self.frames.truncate(frames);
        self
    }

    /// Fails after this many frames.
    pub(crate) fn broken_after(mut self, frames: usize) -> Self {
        self.frames.truncate(frames);
        self.frames.push_back((self.last, Err("the connection broke")));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.waiting.is_none() {
            let time = match this.frames.front_mut() {
                Some((time, _)) => time,
                None => &mut this.last,
            };
            let time = std::mem::take(time);
            if !time.is_zero() {
                this.waiting = Some(Box::pin(sleep(time)));
            }
        }
        if let Some(waiting) = &mut this.waiting {
            ready!(waiting.as_mut().poll(cx));
            this.waiting = None;
        }
        let frame = this.frames.pop_front().map(|(_, frame)| frame);
        if let (Some(left), Some(Ok(data))) = (&mut this.length, &frame) {
            *left -= data.len() as u64;
        }
        Poll::Ready(frame.map(|frame| frame.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.waiting.is_none() && self.last.is_zero()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
