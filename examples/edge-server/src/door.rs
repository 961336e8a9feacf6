//! [`Door`]: what a request has to pass on its way to the cache of a server by flags.

use hyper::Request;
use hyper::body::Incoming;
use hyper::http::uri::Scheme;
use tower_edge::origin::{Upstream, Viewer};

use crate::admit::admit;
use crate::answer::Answer;
use crate::front::Front;
use crate::page::page;
use crate::single::Single;
use crate::trust::Trust;

#[derive(Clone)]
pub(crate) struct Door {
    front: Front<Single>,
    trust: Trust,
    /// A request that this upstream has sent before has come in a circle, and would wait for the answer to itself.
    upstream: Option<Upstream>,
}

impl Door {
    pub(crate) fn new(front: Front<Single>, trust: Trust, upstream: Option<Upstream>) -> Self {
        Self { front, trust, upstream }
    }

    pub(crate) fn answer(&self, mut request: Request<Incoming>, viewer: &Viewer) -> Answer {
        if !self.trust.is_in_nobody() {
            request.extensions_mut().insert(viewer.clone());
        }
        let admitted = match admit(&mut request, &Scheme::HTTP, &self.trust) {
            Ok(admitted) => admitted,
            Err(refusal) => return page(refusal.status(), refusal.reason()).into(),
        };
        if admitted.may_loop
            && let Some(upstream) = &self.upstream
            && let Err(error) = upstream.refuse_loop(request.headers())
        {
            return page(error.status(), error.page()).into();
        }
        Answer::Cache(self.front.answer(request, |extensions| {
            extensions.get_or_insert_with(|| viewer.clone());
        }))
    }
}
