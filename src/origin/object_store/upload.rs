//! How does a body get into the store? In one request if it fits into one part, else in parts at the same time.
//!
//! Nothing is visible before the end: a part belongs to an upload that is an object only once it is completed, and it is
//! completed only when the whole body is there and is what was promised.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutPayloadMut,
    PutResult,
};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::builder::Upload;
use super::intact::Promise;
use super::refusal::Refusal;

/// S3 takes no more parts, nor do those that speak like it.
const MAX_PARTS: u64 = 10_000;
/// A frame of the body is a piece of a read buffer, which it would keep whole: so bytes are copied into blocks.
const BLOCK: usize = 32 * 1024;

/// The object that is to be.
pub(super) struct Object<'a> {
    pub(super) store: &'a Arc<dyn object_store::ObjectStore>,
    pub(super) key: &'a Path,
    pub(super) attributes: Attributes,
    pub(super) mode: PutMode,
}

/// Reads `body` into the store. Dropped on its way, or failing, it leaves nothing there.
pub(super) async fn receive<B>(
    object: Object<'_>,
    body: B,
    mut promise: Promise,
    upload: Upload,
    between_bytes: Duration,
) -> Result<PutResult, Refusal>
where
    B: Body<Data = Bytes>,
{
    let single = object.single(upload);
    object.check_length(promise.length().unwrap_or(0), single, upload)?;
    let mut body = pin!(body);
    let mut buffer = new_buffer();
    let mut parts: Option<Parts> = None;
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        let Some(frame) = timeout(between_bytes, frame).await.map_err(|_| Refusal::Stalled)? else { break };
        let frame = frame.map_err(|_| Refusal::Broken("400: the body broke off\n"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        promise.receive(&data)?;
        while !data.is_empty() {
            let size = if parts.is_some() { upload.part } else { single };
            // A part leaves when there is something to follow it, so that the last one is not empty.
            if buffer.content_length() == size {
                let payload = std::mem::replace(&mut buffer, new_buffer()).freeze();
                let parts = match &mut parts {
                    Some(parts) => parts,
                    none => none.insert(object.begin(upload).await?),
                };
                parts.send(payload).await?;
                continue;
            }
            let piece = data.split_to(data.len().min(size - buffer.content_length()));
            buffer.extend_from_slice(&piece);
        }
        if let Some(parts) = &mut parts {
            parts.check()?;
        }
    }
    let Some(mut parts) = parts else {
        promise.kept()?;
        let options =
            PutOptions { mode: object.mode, attributes: object.attributes, ..PutOptions::default() };
        let put = object.store.put_opts(object.key, buffer.freeze(), options);
        return Ok(timeout(upload.patience, put).await??);
    };
    parts.send(buffer.freeze()).await?;
    // Only once all is in, so that a broken promise is found while nothing is visible.
    promise.kept()?;
    parts.complete().await
}

fn new_buffer() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK)
}

impl Object<'_> {
    /// The largest body that goes into the store in one request. No store takes parts on a condition, so as much of a
    /// conditional body is held as an upload may hold.
    fn single(&self, upload: Upload) -> usize {
        match self.mode {
            PutMode::Overwrite => upload.part,
            _ => upload.part * upload.parallel,
        }
    }

    /// Whether a body of this length can be stored.
    fn check_length(&self, length: u64, single: usize, upload: Upload) -> Result<(), Refusal> {
        if length <= single as u64 {
            return Ok(());
        }
        if self.mode != PutMode::Overwrite {
            return Err(Refusal::NotSupported("501: too large to be stored on a condition\n"));
        }
        if length.div_ceil(upload.part as u64) > MAX_PARTS { Err(Refusal::TooLarge) } else { Ok(()) }
    }

    /// Begins an upload in parts.
    async fn begin(&self, upload: Upload) -> Result<Parts, Refusal> {
        // The body had no length, or `check_length` would have said so.
        self.check_length(self.single(upload) as u64 + 1, self.single(upload), upload)?;
        let (store, key) = (Arc::clone(self.store), self.key.clone());
        let options =
            PutMultipartOptions { attributes: self.attributes.clone(), ..PutMultipartOptions::default() };
        // In a task of its own: once the store was asked, someone has to be there to clean up what it began, even if nobody
        // waits any more.
        let begun = tokio::spawn(async move {
            let begun = timeout(upload.patience, store.put_multipart_opts(&key, options)).await;
            Ok(Parts {
                upload: Some(begun??),
                running: JoinSet::new(),
                sent: 0,
                settings: upload,
                runtime: Handle::current(),
            })
        });
        begun.await.map_err(panicked)?
    }
}

/// An upload in parts. Dropped before it is complete, it has the store forget what it was sent.
struct Parts {
    /// `None` once it is an object.
    upload: Option<Box<dyn MultipartUpload>>,
    running: JoinSet<Result<(), Refusal>>,
    sent: u64,
    settings: Upload,
    runtime: Handle,
}

impl Parts {
    /// Sends the next part, as soon as fewer than the permitted number are under way.
    async fn send(&mut self, payload: PutPayload) -> Result<(), Refusal> {
        while self.running.len() >= self.settings.parallel {
            self.one_ends().await?;
        }
        if self.sent == MAX_PARTS {
            return Err(Refusal::TooLarge);
        }
        self.sent += 1;
        let upload = self.upload.as_mut().expect("it is not complete while parts are sent");
        let part = timeout(self.settings.patience, upload.put_part(payload));
        self.running.spawn_on(async move { Ok(part.await??) }, &self.runtime);
        Ok(())
    }

    async fn one_ends(&mut self) -> Result<(), Refusal> {
        self.running.join_next().await.map_or(Ok(()), |ended| ended.map_err(panicked)?)
    }

    /// Whether none of the parts has failed so far.
    fn check(&mut self) -> Result<(), Refusal> {
        while let Some(ended) = self.running.try_join_next() {
            ended.map_err(panicked)??;
        }
        Ok(())
    }

    /// Makes an object of the parts.
    ///
    /// From here on it does not matter whether the client still waits: it has sent all, and what the store was told cannot be
    /// taken back.
    async fn complete(mut self) -> Result<PutResult, Refusal> {
        while !self.running.is_empty() {
            self.one_ends().await?;
        }
        let completed = tokio::spawn(async move {
            let upload = self.upload.as_mut().expect("it is completed once");
            let stored = timeout(self.settings.patience, upload.complete()).await??;
            drop(self.upload.take());
            Ok(stored)
        });
        completed.await.map_err(panicked)?
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let mut running = std::mem::take(&mut self.running);
        let patience = self.settings.patience;
        self.runtime.spawn(async move {
            // First the parts under way, lest one comes to the store after it forgot the others.
            running.shutdown().await;
            // What cannot be cleaned up here is left to the store's own rule for unfinished uploads.
            let _ = timeout(patience, upload.abort()).await;
        });
    }
}

fn panicked(_: JoinError) -> Refusal {
    Refusal::Failed
}
