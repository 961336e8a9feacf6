//! `pingora-cache` as a service. It is made for Pingora's proxy, which calls it step by step; these are the steps of a hit
//! and of a miss in `pingora-proxy`, without the proxy. The storage is the one the crate has, a map in memory.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use pingora_cache::key::HashBinary;
use pingora_cache::{CacheKey, CacheMeta, HitStatus, HttpCache, MemCache, VarianceBuilder};
use pingora_http::ResponseHeader;
use tower::Service;

use crate::site::{BoxError, Site};

#[derive(Clone)]
pub(crate) struct Pingora {
    storage: &'static MemCache,
    site: Site,
}

impl Pingora {
    pub(crate) fn new(site: Site) -> Self {
        // Its users keep the storage for as long as the process lives: that is what it asks for.
        Self { storage: Box::leak(Box::new(MemCache::new())), site }
    }
}

impl Service<Request<Body>> for Pingora {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let mut cache = HttpCache::new();
            cache.enable(this.storage, None, None, None, None);
            cache.set_cache_key(key(&request));
            while let Some((meta, hit)) = cache.cache_lookup().await? {
                // As in `proxy_cache.rs`: the fields that `Vary` names, hashed; look again if this is another variant.
                let variance = variance(&meta, &request);
                if let Some(variance) = variance
                    && !cache.cache_vary_lookup(variance, &meta)
                {
                    continue;
                }
                if !meta.is_fresh(SystemTime::now()) {
                    break;
                }
                cache.cache_found(meta, hit, HitStatus::Fresh);
                return answer(&mut cache).await;
            }
            cache.cache_miss();
            this.fill(cache, request).await
        })
    }
}

impl Pingora {
    async fn fill(
        mut self,
        mut cache: HttpCache,
        request: Request<Body>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let kept = (request.headers().clone(), request.uri().clone());
        let Ok::<_, Infallible>(response) = self.site.call(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut header = ResponseHeader::build(parts.status, Some(parts.headers.len()))?;
        for (name, value) in &parts.headers {
            header.append_header(name, value)?;
        }
        let now = SystemTime::now();
        let mut meta = CacheMeta::new(now + Duration::from_secs(86_400), now, 0, 0, header);
        let mut asked = Request::new(Body::empty());
        (*asked.headers_mut(), *asked.uri_mut()) = kept;
        if let Some(variance) = variance(&meta, &asked) {
            meta.set_variance(variance);
        }
        cache.set_cache_meta(meta);
        cache.set_miss_handler().await?;
        let miss = cache.miss_handler().ok_or("no handler of the miss")?;
        miss.write_body(body.clone(), true).await?;
        cache.finish_miss_handler().await?;
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

/// Scheme and host, then the target, each with its length in front: the crate's documentation asks for that.
fn key(request: &Request<Body>) -> CacheKey {
    let uri = request.uri();
    let mut primary = Vec::with_capacity(96);
    for part in [
        uri.scheme_str().unwrap_or_default(),
        uri.authority().map_or("", |authority| authority.as_str()),
        uri.path_and_query().map_or("/", |target| target.as_str()),
    ] {
        primary.extend_from_slice(&(part.len() as u32).to_le_bytes());
        primary.extend_from_slice(part.as_bytes());
    }
    CacheKey::new(primary, "")
}

fn variance(meta: &CacheMeta, request: &Request<Body>) -> Option<HashBinary> {
    let mut variance = VarianceBuilder::new();
    for line in meta.headers().get_all(http::header::VARY) {
        for name in line.to_str().unwrap_or_default().split(',') {
            let name = name.trim();
            variance.add_value(name, request.headers().get(name).map_or(&b""[..], |value| value.as_bytes()));
        }
    }
    variance.finalize()
}

async fn answer(cache: &mut HttpCache) -> Result<Response<Full<Bytes>>, BoxError> {
    let meta = cache.cache_meta();
    let mut response = Response::new(Full::default());
    *response.status_mut() = meta.response_header().status;
    // The proxy copies the stored head, and adds the age.
    *response.headers_mut() = meta.headers().clone();
    response.headers_mut().insert(http::header::AGE, meta.age().as_secs().into());
    // The storage hands out a whole body at once.
    let body = cache.hit_handler().read_body().await?.unwrap_or_default();
    cache.finish_hit_handler().await?;
    *response.body_mut() = Full::new(body);
    Ok(response)
}
