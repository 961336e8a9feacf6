//! [`Door`]: what a request has to pass on its way to the cache of a server by flags.

use hyper::Request;
use hyper::body::Incoming;
use hyper::http::uri::Scheme;
use tower_edge::distribution::Token;
use tower_edge::origin::{Upstream, Viewer};

use crate::admit::admit;
use crate::answer::Answer;
use crate::front::Front;
use crate::page::page;
use crate::single::Single;

#[derive(Clone)]
pub(crate) struct Door {
    front: Front<Single>,
    /// What other edges show.
    token: Option<Token>,
    /// A request that this upstream has sent before has come in a circle, and would wait for the answer to itself.
    upstream: Option<Upstream>,
}

impl Door {
    pub(crate) fn new(front: Front<Single>, token: Option<Token>, upstream: Option<Upstream>) -> Self {
        Self { front, token, upstream }
    }

    pub(crate) fn answer(&self, mut request: Request<Incoming>, viewer: &Viewer) -> Answer {
        if self.token.is_some() {
            request.extensions_mut().insert(viewer.clone());
        }
        if let Err(refusal) = admit(&mut request, &Scheme::HTTP, self.token.as_ref()) {
            return page(refusal.status(), refusal.reason()).into();
        }
        if let Some(upstream) = &self.upstream
            && let Err(error) = upstream.refuse_loop(request.headers())
        {
            return page(error.status(), error.page()).into();
        }
        Answer::Cache(self.front.answer(request, |extensions| {
            extensions.get_or_insert_with(|| viewer.clone());
        }))
    }
}
