//! The connection to a control port.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::show::escaped;
use crate::api;
use crate::token::{Token, VARIABLE};

const CONNECT_TIME: Duration = Duration::from_secs(5);
/// From a request to the end of its answer.
const ANSWER_TIME: Duration = Duration::from_secs(70);
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A control port, and the token for it.
pub(super) struct Port {
    client: Client<HttpConnector, Full<Bytes>>,
    address: Authority,
    token: Option<HeaderValue>,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    Token(String),
    /// Nobody answered.
    Unreachable {
        address: Authority,
        reason: String,
    },
    /// The server said no.
    Refused {
        status: StatusCode,
        detail: String,
    },
    /// What answered is no control port.
    Nonsense(String),
    /// It took too long; how far it is.
    Unfinished(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(reason) => f.write_str(reason),
            Self::Unreachable { address, reason } => {
                write!(
                    f,
                    "no answer from {address}: {reason} (is a server running with --control {address}?)"
                )
            }
            Self::Refused { status: StatusCode::UNAUTHORIZED, detail } => {
                write!(f, "refused: {} (--control-token-file, or {VARIABLE})", escaped(detail))
            }
            Self::Refused { detail, .. } => write!(f, "refused: {}", escaped(detail)),
            Self::Nonsense(reason) => write!(f, "what answers there is no control port: {reason}"),
            Self::Unfinished(what) => write!(f, "{what}, and not completed yet"),
        }
    }
}

impl Port {
    pub(super) fn new(address: Authority, token_file: Option<&Path>) -> Result<Self, Failure> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let token = Token::find(token_file).map_err(Failure::Token)?.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.as_str()))
                .expect("a token is letters, digits and a few marks");
            value.set_sensitive(true);
            value
        });
        Ok(Self { client, address, token })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Nonsense(error.to_string()))?;
        self.send(Method::POST, path, body.into()).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Value, Failure> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).map_err(|error| Failure::Nonsense(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| cause(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let exchange = timeout(ANSWER_TIME, exchange).await;
        let (status, body) = exchange
            .unwrap_or_else(|_| Err("it took too long".to_owned()))
            .map_err(|reason| Failure::Unreachable { address: self.address.clone(), reason })?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| Failure::Nonsense(format!("status {status}, and {error}")));
        }
        match serde_json::from_slice::<api::Problem>(&body) {
            Ok(problem) => Err(Failure::Refused { status, detail: problem.detail }),
            Err(_) => Err(Failure::Nonsense(format!("status {status}"))),
        }
    }
}

/// The innermost reason, which says most.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

pub(super) fn understood<T: for<'de> Deserialize<'de>>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|error| Failure::Nonsense(error.to_string()))
}

/// For a place in a URL where only letters and digits mean themselves (RFC 3986 §2.1).
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_encoded() {
        assert_eq!(encoded("http://a/b?c=\u{e9}&d"), "http%3A%2F%2Fa%2Fb%3Fc%3D%C3%A9%26d");
    }
}
