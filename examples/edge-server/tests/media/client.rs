//! A viewer of HTTP/1.1.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    client: legacy::Client<HttpConnector, Empty<Bytes>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, client: legacy::Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The head, and the body as it comes.
    pub(crate) async fn open(
        &self,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Response<hyper::body::Incoming> {
        let mut request = Request::get(format!("http://{}{target}", self.address));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Empty::new()).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Response<Bytes> {
        let (head, body) = self.open(target, fields).await.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}
