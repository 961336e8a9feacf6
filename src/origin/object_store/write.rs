//! PUT and DELETE.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, UpdateVersion};
use tokio::time::timeout;

use super::body::ObjectBody;
use super::builder::Upload;
use super::conditions;
use super::fields;
use super::intact::Promise;
use super::key::Named;
use super::refusal::Refusal;
use super::service::Inner;
use super::upload;

impl Inner {
    pub(super) async fn put<B>(
        &self,
        request: &Parts,
        body: B,
        upload: Upload,
    ) -> Result<Response<ObjectBody>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send,
    {
        let key = self.written(request)?;
        whole_and_plain(&request.headers)?;
        let attributes = fields::attributes(&request.headers)?;
        let promise = Promise::read(&request.headers)?;
        let mode = self.mode(&key, &request.headers).await?;
        let status = if mode == PutMode::Create { StatusCode::CREATED } else { StatusCode::OK };
        let object = upload::Object { store: &self.store, key: &key, attributes, mode };
        let stored = upload::receive(object, body, promise, upload, self.between_bytes).await?;
        let mut response = Response::new(ObjectBody::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        // RFC 9110 §9.3.4: a validator says that the body was stored as it came, which it was.
        if let Some(tag) = fields::entity_tag(stored.e_tag.as_deref()) {
            headers.insert(ETAG, tag);
        }
        Ok(response)
    }

    pub(super) async fn delete(&self, request: &Parts) -> Result<Response<ObjectBody>, Refusal> {
        let key = self.written(request)?;
        if conditions::on_write(&request.headers) {
            // No store deletes on a condition: an object that changes right now may go with the one that was meant.
            self.current(&key, &request.headers).await?;
        }
        timeout(self.first_byte, self.store.delete(&key)).await??;
        let mut response = Response::new(ObjectBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// The object that a write is about.
    fn written(&self, request: &Parts) -> Result<Path, Refusal> {
        // In the language of S3, a query makes it another operation: on a part, on an access list, on a version.
        if request.uri.query().is_some() {
            return Err(Refusal::Malformed("400: only whole objects are written, without a query\n"));
        }
        match self.named(request)? {
            Named::Object(key) => Ok(key),
            // What is shown of a folder is an object with a path of its own.
            Named::Index(_) | Named::Folder => Err(Refusal::Method("GET, HEAD, OPTIONS")),
        }
    }

    /// On what condition the store is to take the object. What came between the look at it and the write, only the store can
    /// tell.
    async fn mode(&self, key: &Path, request: &HeaderMap) -> Result<PutMode, Refusal> {
        if !conditions::on_write(request) {
            return Ok(PutMode::Overwrite);
        }
        if conditions::only_new(request) {
            return Ok(PutMode::Create);
        }
        match self.current(key, request).await? {
            None => Ok(PutMode::Create),
            Some(version) => Ok(PutMode::Update(version)),
        }
    }

    /// The object as it is, if there is one, once the request's conditions are found to hold for it.
    async fn current(&self, key: &Path, request: &HeaderMap) -> Result<Option<UpdateVersion>, Refusal> {
        match self.head(key).await {
            Ok(object) => {
                conditions::write(request, Some(&fields::of(&object.meta, &object.attributes)))?;
                let object_store::ObjectMeta { e_tag, version, .. } = object.meta;
                Ok(Some(UpdateVersion { e_tag, version }))
            }
            Err(Refusal::NoObject) => conditions::write(request, None).map(|()| None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Whether the body of a PUT is the object, and nothing but the object.
fn whole_and_plain(request: &HeaderMap) -> Result<(), Refusal> {
    // RFC 9110 §14.5: stored as if it were the whole, a part would destroy it.
    if request.contains_key(CONTENT_RANGE) {
        return Err(Refusal::Malformed("400: only whole objects are written\n"));
    }
    if request.contains_key("x-amz-copy-source") {
        return Err(Refusal::NotSupported("501: objects are not copied\n"));
    }
    // A body that the sender has cut into chunks with signatures between them.
    let says = |name: &str, what: &str| {
        let lines = request.get_all(name).iter();
        lines
            .map(HeaderValue::as_bytes)
            .any(|line| line.to_ascii_lowercase().windows(what.len()).any(|run| run == what.as_bytes()))
    };
    if says(CONTENT_ENCODING.as_str(), "aws-chunked") || says("x-amz-content-sha256", "streaming-") {
        return Err(Refusal::Framed);
    }
    Ok(())
}
