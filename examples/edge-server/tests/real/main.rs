//! WebSocket, gRPC and event streams through the edge server, by the libraries people use for them: over plain
//! connections and TLS, HTTP/1.1 and HTTP/2.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::{Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Told;
use tonic_health::pb::health_client::HealthClient;

use self::support::{Edge, Secured};

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_web_socket_is_echoed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    // HTTP/2 has no upgrade, so an origin that would rather speak it is asked by HTTP/1.1.
    let secured = Secured::before(site, &["h2", "http/1.1"]).await;
    for edge in [Edge::before_plain(site, &[]), secured.edge(&[])] {
        let url = format!("ws://{}/chat", edge.address);
        let (mut socket, answer) =
            timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let large = Bytes::from(vec![7; 1 << 20]);
        for message in [Message::text("hello"), Message::binary(large), Message::text("")] {
            socket.send(message.clone()).await.unwrap();
            let echoed = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
            assert!(echoed == message, "what came back is not what was sent");
        }
        socket.close(None).await.unwrap();
        while let Some(message) = timeout(PATIENCE, socket.next()).await.unwrap() {
            assert!(message.unwrap().is_close());
        }
    }
}

#[tokio::test]
async fn a_grpc_service_is_called_and_watched() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = listener.local_addr().unwrap();
    let (reporter, service) = tonic_health::server::health_reporter();
    let incoming = stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let secured = Secured::before(site, &["h2"]).await;
    for edge in [Edge::before_plain(site, &["--origin-http2"]), secured.edge(&[])] {
        reporter.set_service_status("depot", ServingStatus::Serving).await;
        let endpoint = Endpoint::from_shared(format!("http://{}", edge.address)).unwrap();
        let channel = timeout(PATIENCE, endpoint.connect()).await.unwrap().unwrap();
        let mut client = HealthClient::new(channel);
        let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
        let answer = timeout(PATIENCE, client.check(of("depot"))).await.unwrap().unwrap();
        assert_eq!(answer.into_inner().status(), Told::Serving);

        // The status of this one stands in the trailers, or in a head that is all there is.
        let error = timeout(PATIENCE, client.check(of("unknown"))).await.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::NotFound);

        // A stream says each thing when it happens.
        let mut watched = timeout(PATIENCE, client.watch(of("depot"))).await.unwrap().unwrap().into_inner();
        for (status, told) in [
            (None, Told::Serving),
            (Some(ServingStatus::NotServing), Told::NotServing),
            (Some(ServingStatus::Serving), Told::Serving),
        ] {
            if let Some(status) = status {
                reporter.set_service_status("depot", status).await;
            }
            let update = timeout(PATIENCE, watched.message()).await.unwrap().unwrap().unwrap();
            assert_eq!(update.status(), told);
        }
    }
}

#[tokio::test]
async fn events_come_when_they_happen() {
    let happened = watch::Sender::new(0);
    let news = happened.clone();
    let events = move || {
        let ticks = stream::unfold(news.subscribe(), |mut news| async {
            news.changed().await.ok()?;
            let tick = format!("tick {}", *news.borrow_and_update());
            Some((Ok::<_, Infallible>(Event::default().data(tick)), news))
        });
        async { Sse::new(ticks) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/events", get(events))).await });
    let both = Secured::before(site, &["h2", "http/1.1"]).await;
    let old = Secured::before(site, &["http/1.1"]).await;
    for edge in [
        Edge::before_plain(site, &[]),
        Edge::before_plain(site, &["--origin-http2"]),
        both.edge(&[]),
        old.edge(&[]),
    ] {
        for http_2 in [false, true] {
            let client =
                Client::builder(TokioExecutor::new()).http2_only(http_2).build_http::<Empty<Bytes>>();
            let request = Request::get(format!("http://{}/events", edge.address)).body(Empty::new()).unwrap();
            let answer = timeout(PATIENCE, client.request(request)).await.unwrap().unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let mut body = answer.into_body();
            for _ in 0..3 {
                happened.send_modify(|number| *number += 1);
                let number = *happened.borrow();
                let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), format!("data: tick {number}\n\n"));
            }
        }
    }
}

#[test]
fn an_edge_in_front_of_itself_says_so() {
    let edge = Edge::before_itself();
    let mut stream = TcpStream::connect(edge.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
}
