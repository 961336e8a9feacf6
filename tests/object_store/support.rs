//! A store in memory that keeps account of what it is asked for, and does badly on demand.

use std::convert::Infallible;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore as Store, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use tokio::sync::Semaphore;
use tower::{BoxError, ServiceExt};
use tower_edge::origin::ObjectStore;
use tower_edge::origin::object_store::{ObjectBody, ObjectStoreBuilder};

/// What the store was asked for, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) gets: usize,
    pub(crate) heads: usize,
    pub(crate) puts: usize,
    /// Uploads in parts: begun, completed, aborted.
    pub(crate) begun: usize,
    pub(crate) completed: usize,
    pub(crate) aborted: usize,
    /// The parts' lengths.
    pub(crate) parts: Vec<usize>,
    pub(crate) under_way: usize,
    pub(crate) most_under_way: usize,
    /// The number of the part that fails.
    pub(crate) failing_part: Option<usize>,
    /// Bodies break off after their first byte.
    pub(crate) breaks_off: bool,
    /// Nothing is ever answered.
    pub(crate) hangs: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Probe {
    inner: Arc<InMemory>,
    ledger: Arc<Mutex<Ledger>>,
    /// What parts, and the beginning of an upload, need one permit of each.
    pub(crate) gate: Arc<Semaphore>,
}

impl Probe {
    pub(crate) fn new() -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { inner: Arc::default(), ledger: Arc::default(), gate }
    }

    /// One whose uploads in parts wait for permits.
    pub(crate) fn gated() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..Self::new() }
    }

    pub(crate) fn ledger(&self) -> impl DerefMut<Target = Ledger> + '_ {
        self.ledger.lock().unwrap()
    }

    /// How often it was asked for an object, and for its head alone.
    pub(crate) fn reads(&self) -> (usize, usize) {
        let ledger = self.ledger();
        (ledger.gets, ledger.heads)
    }

    pub(crate) fn builder(&self) -> ObjectStoreBuilder {
        ObjectStore::builder(Arc::new(self.clone()))
    }

    /// Puts an object there, past the account.
    pub(crate) async fn given(&self, key: &str, content: &'static str) {
        self.inner.put(&Path::parse(key).unwrap(), content.into()).await.unwrap();
    }

    /// What is at a key, if anything.
    pub(crate) async fn content(&self, key: &str) -> Option<Bytes> {
        self.inner.get(&Path::parse(key).unwrap()).await.ok()?.bytes().await.ok()
    }

    /// Waits until the account says so.
    pub(crate) async fn until(&self, holds: impl Fn(&Ledger) -> bool) {
        for _ in 0..100_000 {
            if holds(&self.ledger()) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{:?}", *self.ledger());
    }

    async fn hang(&self) {
        let hangs = self.ledger().hangs;
        if hangs {
            std::future::pending::<()>().await;
        }
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

#[async_trait]
impl Store for Probe {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ledger().puts += 1;
        self.hang().await;
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.ledger().begun += 1;
        self.gate.acquire().await.unwrap().forget();
        let inner = self.inner.put_multipart_opts(key, options).await?;
        Ok(Box::new(Parts { inner, probe: self.clone() }))
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        {
            let mut ledger = self.ledger();
            let count = if is_head { &mut ledger.heads } else { &mut ledger.gets };
            *count += 1;
        }
        assert!(options.if_match.is_none() && options.if_none_match.is_none());
        self.hang().await;
        let mut object = self.inner.get_opts(key, options).await?;
        if self.ledger().breaks_off && !is_head {
            let pieces = [Ok(Bytes::from_static(b"x")), Err(failure())];
            object.payload = GetResultPayload::Stream(stream::iter(pieces).boxed());
        }
        Ok(object)
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Parts {
    inner: Box<dyn MultipartUpload>,
    probe: Probe,
}

/// A part on its way; dropped, it is not any more.
struct UnderWay(Probe);

impl UnderWay {
    fn begin(probe: &Probe) -> Self {
        let mut ledger = probe.ledger();
        ledger.under_way += 1;
        ledger.most_under_way = ledger.most_under_way.max(ledger.under_way);
        Self(probe.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ledger().under_way -= 1;
    }
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let probe = self.probe.clone();
        let number = probe.ledger().parts.len();
        probe.ledger().parts.push(payload.content_length());
        let put = self.inner.put_part(payload);
        Box::pin(async move {
            let _under_way = UnderWay::begin(&probe);
            probe.gate.acquire().await.unwrap().forget();
            let fails = probe.ledger().failing_part == Some(number);
            if fails { Err(failure()) } else { put.await }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let stored = self.inner.complete().await?;
        self.probe.ledger().completed += 1;
        Ok(stored)
    }

    async fn abort(&mut self) -> Result<()> {
        assert_eq!(self.probe.ledger().under_way, 0, "parts that arrive after the abort");
        self.probe.ledger().aborted += 1;
        self.inner.abort().await
    }
}

fn failure() -> Error {
    Error::Generic { store: "probe", source: "broken".into() }
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, String>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }
}

pub(crate) async fn read(response: Response<ObjectBody>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string());
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Sends a request without a body, or with this one.
pub(crate) async fn ask(
    origin: &ObjectStore,
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    body: &'static str,
) -> Answer {
    send(origin, request(method, path, fields, Full::from(body))).await
}

pub(crate) async fn get(origin: &ObjectStore, path: &str, fields: &[(&str, &str)]) -> Answer {
    ask(origin, Method::GET, path, fields, "").await
}

pub(crate) fn request<B>(method: Method, path: &str, fields: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

pub(crate) async fn send<B>(origin: &ObjectStore, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Ok(response): Result<_, Infallible> = origin.clone().oneshot(request).await;
    read(response).await
}
