//! GET and HEAD.

use std::ops::Range;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult};
use tokio::time::timeout;

use super::body::ObjectBody;
use super::conditions;
use super::fields;
use super::key::{self, Named, NotAKey};
use super::refusal::Refusal;
use super::service::Inner;
use crate::semantics::part;
use crate::semantics::preconditions::Verdict;
use crate::semantics::range::{self, Selection, Spec};

impl Inner {
    pub(super) async fn read(&self, request: &Parts) -> Response<ObjectBody> {
        let head_only = request.method == Method::HEAD;
        let answer = match self.named(request) {
            Ok(Named::Object(key) | Named::Index(key)) => {
                self.object(&key, &request.headers, head_only).await
            }
            Ok(Named::Folder) => Err(Refusal::NoObject),
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok(response) => response,
            Err(refusal) => self.refused(refusal, head_only).await,
        }
    }

    pub(super) fn named(&self, request: &Parts) -> Result<Named, Refusal> {
        key::named(request.uri.path(), &self.prefix, self.index.as_deref())
            .map_err(|NotAKey| Refusal::NotAKey)
    }

    async fn object(
        &self,
        key: &Path,
        request: &HeaderMap,
        head_only: bool,
    ) -> Result<Response<ObjectBody>, Refusal> {
        // Of a 304, a store hands on no fields. HEAD has them, and costs no body where the conditions stop the read, which
        // is what they are sent for.
        if head_only || conditions::on_read(request) {
            let object = self.head(key).await?;
            let mut headers = fields::of(&object.meta, &object.attributes);
            if let Some(response) = stopped(request, &mut headers)? {
                return Ok(response);
            }
            if head_only {
                headers.insert(CONTENT_LENGTH, object.meta.size.into());
                return Ok(answer(StatusCode::OK, headers, ObjectBody::absent()));
            }
        }
        if let Some(spec) = range::only_spec(request)
            && let Some(response) = self.part(key, request, spec).await?
        {
            return Ok(response);
        }
        let object = self.get(key, GetOptions::default()).await?;
        let mut headers = fields::of(&object.meta, &object.attributes);
        // It may have become another one since the HEAD.
        if let Some(response) = stopped(request, &mut headers)? {
            return Ok(response);
        }
        let length = object.meta.size;
        if object.range != (0..length) {
            return Err(Refusal::Failed);
        }
        headers.insert(CONTENT_LENGTH, length.into());
        Ok(answer(StatusCode::OK, headers, self.body(object, length)))
    }

    /// The answer with a range of the object; `None` where the whole is called for.
    async fn part(
        &self,
        key: &Path,
        request: &HeaderMap,
        spec: Spec,
    ) -> Result<Option<Response<ObjectBody>>, Refusal> {
        let options = GetOptions { range: Some(store_range(spec)), ..GetOptions::default() };
        let (object, is_part) = match self.get(key, options).await {
            Ok(object) => (object, true),
            // Stores do not tell a range that cannot be satisfied from other trouble. The length does.
            Err(Refusal::Failed) => (self.head(key).await?, false),
            Err(refusal) => return Err(refusal),
        };
        let mut headers = fields::of(&object.meta, &object.attributes);
        if let Some(response) = stopped(request, &mut headers)? {
            return Ok(Some(response));
        }
        let length = object.meta.size;
        match range::select(request, &headers, length, 1) {
            Selection::Whole => Ok(None),
            Selection::Unsatisfiable => {
                let headers = HeaderMap::from_iter([
                    (CONTENT_RANGE, part::unsatisfied_range(length)),
                    (CONTENT_LENGTH, HeaderValue::from(0)),
                    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
                ]);
                Ok(Some(answer(StatusCode::RANGE_NOT_SATISFIABLE, headers, ObjectBody::empty())))
            }
            Selection::Parts(parts) if is_part && parts[..] == [object.range.clone()] => {
                let Range { start, end } = object.range;
                headers.insert(CONTENT_RANGE, part::content_range(&object.range, length));
                headers.insert(CONTENT_LENGTH, (end - start).into());
                Ok(Some(answer(StatusCode::PARTIAL_CONTENT, headers, self.body(object, end - start))))
            }
            Selection::Parts(_) => Err(Refusal::Failed),
        }
    }

    pub(super) async fn head(&self, key: &Path) -> Result<GetResult, Refusal> {
        self.get(key, GetOptions { head: true, ..GetOptions::default() }).await
    }

    async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult, Refusal> {
        Ok(timeout(self.first_byte, self.store.get_opts(key, options)).await??)
    }

    fn body(&self, object: GetResult, length: u64) -> ObjectBody {
        ObjectBody::flowing(object.into_stream(), length, self.between_bytes)
    }

    /// The answer to a read that failed: the page for its status, or a line of text.
    async fn refused(&self, refusal: Refusal, head_only: bool) -> Response<ObjectBody> {
        let status = refusal.status();
        let page = self.pages.iter().find(|(of, _)| *of == status);
        let page = match page {
            Some((_, key)) if head_only => self.object(key, &HeaderMap::new(), true).await.ok(),
            Some((_, key)) => self.object(key, &HeaderMap::new(), false).await.ok(),
            None => None,
        };
        let Some(mut response) = page else {
            let response = refusal.response();
            return if head_only { response.map(|_| ObjectBody::absent()) } else { response };
        };
        *response.status_mut() = status;
        // What the page is, is not what was asked for.
        let headers = response.headers_mut();
        for name in [ETAG, LAST_MODIFIED, http::header::ACCEPT_RANGES, HeaderName::from_static("cache-tag")] {
            headers.remove(name);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The answer to a read that its own conditions stop.
fn stopped(request: &HeaderMap, object: &mut HeaderMap) -> Result<Option<Response<ObjectBody>>, Refusal> {
    match conditions::read(request, object)? {
        Verdict::Proceed => Ok(None),
        Verdict::NotModified => {
            conditions::not_modified_fields(object);
            Ok(Some(answer(StatusCode::NOT_MODIFIED, std::mem::take(object), ObjectBody::absent())))
        }
    }
}

fn store_range(spec: Spec) -> GetRange {
    match spec {
        Spec::From(first) => GetRange::Offset(first),
        Spec::FromTo(first, last) => GetRange::Bounded(first..last.saturating_add(1)),
        Spec::Suffix(length) => GetRange::Suffix(length),
    }
}

fn answer(status: StatusCode, headers: HeaderMap, body: ObjectBody) -> Response<ObjectBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
