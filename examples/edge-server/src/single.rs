//! The one origin of a server by flags: [`Single`].

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{Request, Response};
use tower::{BoxError, Service, ServiceExt};
use tower_edge::origin::Upstream;

use crate::page::{OriginBody, erased_body};
use crate::relocate::{self, Relocate};
use crate::{compress, forms};

/// An upstream, whose answers say where things are for the viewer and are compressed, if so wished.
#[derive(Clone)]
pub(crate) struct Single {
    upstream: Upstream,
    relocate: Arc<Relocate>,
    compress: bool,
}

impl Single {
    /// `url` is the upstream's.
    pub(crate) fn new(upstream: Upstream, url: &str, compress: bool) -> Self {
        let relocate = Relocate { names: forms::site(url).into_iter().collect(), ..Relocate::default() };
        Self { upstream, relocate: Arc::new(relocate), compress }
    }
}

impl<B> Service<Request<B>> for Single
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<OriginBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // As an upstream is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Self { upstream, relocate, compress } = self.clone();
        let asked = relocate::Asked::of(&request);
        let coding = compress.then(|| compress::Asked::of(&mut request));
        Box::pin(async move {
            let mut response = upstream.oneshot(request).await?;
            relocate.to_viewer(&asked, "", response.headers_mut());
            let response = response.map(erased_body);
            Ok(match coding {
                Some(coding) => coding.answer(response),
                None => response,
            })
        })
    }
}
