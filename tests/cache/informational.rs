//! Interim answers (1xx) reach who asked for them with hyper's callback, which travels in the request's extensions, and
//! are no part of what is stored. The origin is a real one, on TCP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service};
use tower_edge::{Cache, Edge, ManualClock};

use super::support::{Reply, RequestBody, read, request, start};

const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-Early: yes\r\n\r\n";
const NEW: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n\
    Content-Length: 4\r\nConnection: close\r\n\r\nbody";
const NOT_MODIFIED: &str =
    "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\nConnection: close\r\n\r\n";

/// What hyper's callback is told: each interim answer's status, and its `Link`.
type Told = Vec<(u16, Option<String>)>;

fn both() -> Told {
    vec![(100, None), (103, Some("</style.css>; rel=preload".to_owned()))]
}

/// Sends every request two interim answers, then the final one. A body is read first, and is always "note".
async fn origin(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    let mut received = Vec::new();
    let request = loop {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "the request is whole");
        let text = String::from_utf8_lossy(&received).to_ascii_lowercase();
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if !head.contains("content-length") || body == "note" => break text,
            _ => {}
        }
    };
    let last = if request.contains("if-none-match") { NOT_MODIFIED } else { NEW };
    let last = if request.starts_with("head") { last.trim_end_matches("body") } else { last };
    stream.write_all(INTERIM.as_bytes()).await.unwrap();
    stream.write_all(last.as_bytes()).await.unwrap();
}

struct Site {
    cache: Cache<Client<HttpConnector, tower_edge::RequestBody<RequestBody>>>,
    clock: ManualClock,
    address: String,
}

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(origin(listener));
        let clock = ManualClock::new(start());
        let edge = Edge::builder().outcomes(true).name("test").clock(clock.clone()).build().unwrap();
        let cache = edge.layer().layer(Client::builder(TokioExecutor::new()).build_http());
        Self { cache, clock, address }
    }

    /// Sends a request with a callback. Returns the answer, and what the callback was told.
    async fn ask(&self, method: &str, headers: &[(&str, &str)], body: &'static str) -> (Reply, Told) {
        let mut request = request(method, &format!("http://{}/", self.address), headers).map(|_| body.into());
        request.headers_mut().insert("host", self.address.parse().unwrap());
        let told = Arc::new(Mutex::new(Told::new()));
        let tell = Arc::clone(&told);
        hyper::ext::on_informational(&mut request, move |interim| {
            let link = interim.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            tell.lock().unwrap().push((interim.status().as_u16(), link));
        });
        let reply = read(self.cache.clone().call(request).await.unwrap()).await.unwrap();
        let told = told.lock().unwrap().clone();
        (reply, told)
    }
}

/// A method, fields and body, and what `Cache-Status` says.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);

#[tokio::test]
async fn whoever_asks_the_origin_is_told_of_interim_answers() {
    let cases: &[Case] = &[
        ("GET", &[], "", "fwd=uri-miss; stored"),
        ("GET", &[("authorization", "Basic YTpi")], "", "fwd=uri-miss"),
        ("GET", &[("cache-control", "no-store")], "", "fwd=uri-miss"),
        ("GET", &[("accept", "text/event-stream")], "", "fwd=bypass"),
        ("GET", &[], "note", "fwd=bypass"),
        ("HEAD", &[], "", "fwd=uri-miss"),
        ("POST", &[("expect", "100-continue")], "note", "fwd=method"),
        ("OPTIONS", &[], "", "fwd=method"),
    ];
    for (method, headers, body, status) in cases {
        let site = Site::start().await;
        let (reply, told) = site.ask(method, headers, body).await;
        let case = format!("{method} {headers:?} {body}: {:?}", reply.headers);
        assert_eq!(told, both(), "{case}");
        assert_eq!(reply.status, 200, "{case}");
        assert!(reply.header("cache-status").unwrap().starts_with(&format!("test; {status}")), "{case}");
        assert_eq!((reply.header("link"), reply.header("x-early")), (None, None), "{case}");
    }
}

#[tokio::test]
async fn an_interim_answer_is_not_stored_and_a_hit_has_none() {
    let site = Site::start().await;
    let (_, told) = site.ask("GET", &[], "").await;
    assert_eq!(told, both());

    for age in ["0", "59"] {
        let (reply, told) = site.ask("GET", &[], "").await;
        assert!(reply.is_hit());
        assert_eq!(told, []);
        assert_eq!((reply.status.as_u16(), reply.text(), reply.header("age")), (200, "body", Some(age)));
        assert_eq!((reply.header("link"), reply.header("x-early")), (None, None));
        site.clock.advance(Duration::from_secs(59));
    }

    // Stale by now. The stored fields are updated by the 304 (RFC 9111 §3.2), not by what came before it.
    let (reply, told) = site.ask("GET", &[], "").await;
    assert_eq!(told, both());
    assert_eq!(reply.outcome().fwd_status, Some(http::StatusCode::NOT_MODIFIED));
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "body"));
    let (reply, told) = site.ask("GET", &[], "").await;
    assert!(reply.is_hit());
    assert_eq!(told, []);
    assert_eq!((reply.header("link"), reply.header("x-early")), (None, None));
}
