//! The example as a process, and clients of it and of the S3 server behind it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// An S3 server.
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    pub(crate) bucket: &'static str,
    pub(crate) access_key: &'static str,
    pub(crate) secret_key: &'static str,
}

/// The example, in front of a bucket. It ends with this.
pub(crate) struct Site {
    edge: Child,
    address: String,
    client: Client<HttpConnector, Body>,
    /// The bucket, past the edge.
    pub(crate) store: Arc<AmazonS3>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Site {
    pub(crate) async fn start(s3: S3, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3-example"));
        command.args(["--endpoint", &s3.endpoint]).args(flags);
        Self::spawn(s3, command).await
    }

    /// Told by variables where the server is, and that it is no secret what is said to it.
    pub(crate) async fn by_variables(s3: S3) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3-example"));
        command.env("AWS_ENDPOINT", &s3.endpoint).env("AWS_ALLOW_HTTP", "true");
        Self::spawn(s3, command).await
    }

    async fn spawn(s3: S3, mut command: Command) -> Self {
        let mut edge = command
            .args(["--listen", "127.0.0.1:0", "--bucket", s3.bucket])
            .env("AWS_ACCESS_KEY_ID", s3.access_key)
            .env("AWS_SECRET_ACCESS_KEY", s3.secret_key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(edge.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(address.starts_with("http://"), "{line:?}");

        // As in the example: either may be first to set it up.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = AmazonS3Builder::new()
            .with_endpoint(&s3.endpoint)
            .with_allow_http(true)
            .with_bucket_name(s3.bucket)
            .with_access_key_id(s3.access_key)
            .with_secret_access_key(s3.secret_key)
            .build()
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { edge, address, client, store: Arc::new(store) }
    }

    /// Sends a request, whose body may be long.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.address));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(body).unwrap()).await.unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> Answer {
        let body = Full::from(body).map_err(|never| match never {}).boxed();
        let (parts, body) = self.send(method, path, fields, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, fields, "").await
    }

    /// What the bucket has at a key.
    pub(crate) async fn stored(&self, key: &str) -> Option<Bytes> {
        self.store.get(&Path::parse(key).unwrap()).await.ok()?.bytes().await.ok()
    }

    /// The most memory the edge has had so far, in MiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.edge.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.edge.kill();
        let _ = self.edge.wait();
    }
}

/// The path of a key: all that is not a letter or digit is encoded.
pub(crate) fn path_of(key: &str) -> String {
    let mut path = String::from("/");
    for byte in key.bytes() {
        match byte {
            b'/' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}
