//! What is fetched ahead of viewers, once one of them was answered: the walk of requests that nobody made.
//!
//! It takes the same way as a viewer's request: policy, key, lookup, and a fill in the background, which everyone who asks
//! meanwhile joins.

use std::marker::PhantomData;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderName, PRAGMA, REFERER};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use tokio::runtime::Handle;

use super::miss::Miss;
use super::reader::Reader;
use super::write::absolute;
use crate::behind::Origin;
use crate::contact::Trust;
use crate::edge::EdgeInner;
use crate::key::{self, KeyBuf};
use crate::lookup::{Look, Query};
use crate::policy::CachePolicy;
use crate::prefetch::{Prefetch, Served};
use crate::request::{Facts, path_is_ambiguous};
use crate::semantics::directives::RequestCacheControl;
use crate::semantics::headers;
use crate::store::{Selected, Stored};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::upload::RequestBody;

/// Fetched because of one response.
const MOST: usize = 16;
/// Fetched ahead by an edge at a time.
const MOST_RUNNING: usize = 64;

/// Fields that are about one viewer or one request, beside those that no fill has.
const PERSONAL: [HeaderName; 7] = [
    AUTHORIZATION,
    COOKIE,
    REFERER,
    CACHE_CONTROL,
    PRAGMA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// A request after which others may follow.
pub(super) struct Ahead<S, B> {
    edge: Arc<EdgeInner>,
    prefetch: Arc<dyn Prefetch>,
    key: KeyBuf,
    origin: S,
    uri: Uri,
    headers: HeaderMap,
    body: PhantomData<fn() -> B>,
}

impl<S: Clone, B> Ahead<S, B> {
    pub(super) fn of(reader: &Reader, origin: &S, parts: &Parts) -> Option<Self> {
        let prefetch = reader.policy.prefetch.as_ref()?;
        if reader.method != Method::GET || reader.facts.authorization || reader.ranged {
            return None;
        }
        Some(Self::new(&reader.edge, prefetch, &reader.key, origin, &parts.uri, &reader.headers))
    }

    fn new(
        edge: &Arc<EdgeInner>,
        prefetch: &Arc<dyn Prefetch>,
        key: &KeyBuf,
        origin: &S,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            edge: Arc::clone(edge),
            prefetch: Arc::clone(prefetch),
            key: key.clone(),
            origin: origin.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            body: PhantomData,
        }
    }
}

impl<S, B> Ahead<S, B>
where
    S: Origin<B>,
    B: http_body::Body + Send + 'static,
{
    /// A viewer was answered from the store, for the first time with this response.
    pub(super) fn after_hit(
        edge: &Arc<EdgeInner>,
        policy: &CachePolicy,
        key: &KeyBuf,
        origin: &S,
        parts: &Parts,
        facts: &Facts,
        stored: &Arc<Stored>,
    ) {
        if let (Some(prefetch), false) = (&policy.prefetch, facts.authorization)
            && let Ok(runtime) = Handle::try_current()
        {
            let ahead = Self::new(edge, prefetch, key, origin, &parts.uri, &parts.headers);
            let stored = Arc::clone(stored);
            runtime.spawn(async move { ahead.follow(&stored) });
        }
    }

    /// A viewer's fill has ended: what it stored is looked at.
    pub(super) fn after_fill(self) -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            let slot = self.edge.store.get(&self.key);
            let selected = slot.map(|slot| slot.select(self.key.as_bytes(), &self.headers, &self.edge.log));
            if let Some(Selected::Variant(stored)) = selected
                && stored.first_served()
            {
                self.follow(&stored);
            }
        })
    }

    fn follow(mut self, stored: &Stored) {
        if stored.head.status != StatusCode::OK || !stored.is_whole() {
            return;
        }
        let Some(served) = absolute(&self.edge, self.uri.clone(), &self.headers) else { return };
        headers::prepare_fill(&mut self.headers);
        for name in &PERSONAL {
            self.headers.remove(name);
        }
        let next = self.prefetch.after(&Served::new(&served, stored, self.edge.clock.wall()));
        for uri in next.into_iter().take(MOST) {
            let same_origin = uri.scheme() == served.scheme() && uri.authority() == served.authority();
            if !same_origin || path_is_ambiguous(&uri) {
                continue;
            }
            let Some(running) = Running::begin(&self.edge.ahead) else { return };
            self.fetch(uri, running);
        }
    }

    fn fetch(&self, uri: Uri, running: Running) {
        let edge = &self.edge;
        let (mut parts, ()) = Request::new(()).into_parts();
        // In the form in which the viewer's own request came.
        parts.uri = match (self.uri.authority(), uri.path_and_query()) {
            (None, Some(path)) => Uri::from(path.clone()),
            _ => uri,
        };
        parts.headers = self.headers.clone();
        let facts = Facts::read(&parts.headers);
        let policy = edge.policy_for(&parts.uri);
        key::rewrite(&mut parts, &policy.key, policy.normalise);
        let Ok(key) = KeyBuf::new(&parts, &facts, &policy.key, edge.https) else { return };
        let control = RequestCacheControl::default();
        let query = Query { key: &key, headers: &parts.headers, facts: &facts, control: &control, policy };
        let now = edge.clock.elapsed();
        let trust = edge.contact.trust(now);
        if trust != Trust::Full {
            // It would be asked for again by whoever wants it.
            return;
        }
        if let Look::Ask(ask) = edge.look(query, now, trust) {
            let (origin, body) = (self.origin.clone(), RequestBody::empty());
            let miss = Miss::new(edge, policy, key, origin, parts, body, facts, control);
            if miss.ahead(ask, move || drop(running)) {
                edge.counters.prefetched();
            }
        }
    }
}

/// A place among those that run. Dropping it gives it back.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(running: &Arc<AtomicUsize>) -> Option<Self> {
        let running = Self(Arc::clone(running));
        (running.0.fetch_add(1, Ordering::Relaxed) < MOST_RUNNING).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
