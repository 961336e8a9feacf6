//! The origin, for whoever needs a slice and does not know its types: [`Asks`].

use std::marker::PhantomData;
use std::sync::Arc;

use http::header::RANGE;
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use tokio::runtime::Handle;

use crate::behind::Origin;
use crate::fill::{Recorder, SliceExchange};
use crate::key;
use crate::semantics::{headers, slices};
use crate::store::Stored;
use crate::sync::Mutex;
use crate::upload::RequestBody;

/// Asks the origin for slices.
pub(crate) trait Asks: Send + Sync {
    /// Starts the exchange for a slice of `stored`. The recorder's fill tells what comes of it.
    fn ask(
        &self,
        recorder: Box<Recorder>,
        stored: Arc<Stored>,
        index: u64,
        fields: HeaderMap,
        runtime: &Handle,
    );
}

/// An origin service, and a request for it but for its fields.
pub(crate) struct SliceOrigin<S, B> {
    /// Only ever cloned, by one reader at a time: a service need not be `Sync`, and a body that is read may have to be.
    service: Mutex<S>,
    parts: Parts,
    types: PhantomData<fn() -> B>,
}

impl<S, B> SliceOrigin<S, B> {
    pub(crate) fn new(service: S, mut parts: Parts) -> Self {
        parts.headers = HeaderMap::new();
        parts.method = Method::GET;
        Self { service: Mutex::new(service), parts, types: PhantomData }
    }
}

impl<S, B> Asks for SliceOrigin<S, B>
where
    S: Origin<B>,
    B: Send + 'static,
{
    fn ask(
        &self,
        recorder: Box<Recorder>,
        stored: Arc<Stored>,
        index: u64,
        fields: HeaderMap,
        runtime: &Handle,
    ) {
        let origin = self.service.lock().clone();
        let mut parts = self.parts.clone();
        parts.headers = fields;
        headers::prepare_fill(&mut parts.headers);
        key::spell_authority(&mut parts, recorder.key());
        parts.headers.insert(RANGE, slices::range_field(&stored.slice(index)));
        let request = Request::from_parts(parts, RequestBody::empty());
        runtime.spawn(SliceExchange { recorder, stored, index, origin, request }.run());
    }
}
