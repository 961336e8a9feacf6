//! What passes through: interim answers, tunnels, events; and what is refused.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_edge::origin::upstream::{Error, ErrorKind, Pool, Protocol, Timeouts, Upstream};
use tower_edge::origin::{Viewer, upstream};

use crate::support::{Certificate, Origin, ask, get, kind_of, read_head, secure, until};

#[tokio::test]
async fn interim_answers_reach_who_asked_for_them() {
    let origin = Origin::by_hand(|_, mut stream| async move {
        read_head(&mut stream).await;
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        stream.write_all(interim).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let mut request = get("/");
    hyper::ext::on_informational(&mut request, move |answer| {
        let link = answer.headers().get("link").cloned();
        log.lock().unwrap().push((answer.status().as_u16(), link));
    });
    assert_eq!(ask(&upstream, request).await.unwrap().head.status, StatusCode::OK);
    assert_eq!(*told.lock().unwrap(), [(103, Some("</style.css>; rel=preload".parse().unwrap()))]);
}

/// A server that asks `upstream` for its one viewer, who counts for as long as `slot` is held.
pub(crate) async fn front(upstream: Upstream, slot: Arc<()>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let viewer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    let who = Viewer::new(address).keep(slot);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(who.clone());
        let answer = upstream.clone().oneshot(request);
        async {
            Ok::<_, Error>(match answer.await {
                Ok(response) => response.map(|body| body.boxed_unsync()),
                Err(error) => {
                    let page = Empty::new().map_err(|never| match never {});
                    let mut page = Response::new(page.boxed_unsync());
                    *page.status_mut() = error.status();
                    page
                }
            })
        }
    });
    tokio::spawn(async move {
        let server = hyper::server::conn::http1::Builder::new();
        // The viewer sees how it ends.
        let _ = server.serve_connection(TokioIo::new(stream), answer).with_upgrades().await;
    });
    viewer
}

const WISH: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: site\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst";

/// Switches, says `first`, and then whatever it hears.
async fn parrot(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let head = read_head(&mut stream).await;
    assert!(head.contains("connection: upgrade") && head.contains("upgrade: echo"), "{head}");
    stream.write_all(SWITCH).await.unwrap();
    let mut heard = [0; 64];
    while let Ok(read @ 1..) = stream.read(&mut heard).await {
        stream.write_all(&heard[..read]).await.unwrap();
    }
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_that_holds_what_its_viewer_holds() {
    let certificate = Certificate::of("localhost");
    let acceptor = certificate.acceptor(&["h2", "http/1.1"]);
    let plain = Origin::by_hand(|_, stream| parrot(stream)).await;
    // This one would rather speak HTTP/2.
    let tls = Origin::by_hand(move |_, stream| {
        let acceptor = acceptor.clone();
        async move { parrot(acceptor.accept(stream).await.unwrap()).await }
    })
    .await;
    let pool = Pool { exchanges: 1, ..Pool::default() };
    let short = Timeouts { connect: Duration::from_millis(500), ..Timeouts::default() };
    for builder in [Upstream::builder(plain.url()), secure(&tls, &certificate)] {
        let upstream = builder.pool(pool).timeouts(short).build().unwrap();
        let slot = Arc::new(());
        let mut viewer = front(upstream.clone(), Arc::clone(&slot)).await;
        viewer.write_all(WISH).await.unwrap();
        let head = read_head(&mut viewer).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("connection: upgrade") && head.contains("upgrade: echo"), "{head}");
        assert!(head.contains("via: 1.1 tower-edge"), "{head}");
        viewer.write_all(b"hello").await.unwrap();
        let mut heard = [0; 10];
        viewer.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"firsthello");

        assert!(Arc::strong_count(&slot) > 1, "the viewer still counts");
        assert_eq!(kind_of(&upstream).await, ErrorKind::Busy, "and so does the exchange");
        viewer.shutdown().await.unwrap();
        assert_eq!(viewer.read(&mut heard).await.unwrap(), 0);
        until("all is let go", || Arc::strong_count(&slot) == 1).await;
    }
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let origin = Origin::by_hand(|_, stream| parrot(stream)).await;
    let short = Timeouts { tunnel: Duration::from_millis(200), ..Timeouts::default() };
    let upstream = Upstream::builder(origin.url()).timeouts(short).build().unwrap();
    let mut viewer = front(upstream, Arc::default()).await;
    viewer.write_all(WISH).await.unwrap();
    read_head(&mut viewer).await;
    let mut rest = Vec::new();
    viewer.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"first");
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_ordinary_answer() {
    let certificate = Certificate::of("localhost");
    let origin = Origin::secure_echo(&certificate, &["h2", "http/1.1"]).await;
    for (protocol, first) in [
        (Protocol::Negotiated, "sni: localhost\nget /chat http/1.1\n"),
        (Protocol::Http2, "sni: localhost\nget https://site/chat http/2.0\n"),
    ] {
        let upstream = secure(&origin, &certificate).protocol(protocol).build().unwrap();
        let mut viewer = front(upstream, Arc::default()).await;
        viewer.write_all(WISH).await.unwrap();
        let head = read_head(&mut viewer).await;
        assert!(head.starts_with("http/1.1 200 ") && !head.contains("upgrade"), "{head}");
        viewer.shutdown().await.unwrap();
        let mut body = String::new();
        viewer.read_to_string(&mut body).await.unwrap();
        assert!(body.to_lowercase().contains(first), "{body}");
        assert_eq!(body.contains("upgrade: echo"), protocol == Protocol::Negotiated, "{body}");
    }
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_refused() {
    let origin = Origin::by_hand(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(SWITCH).await.unwrap();
        pending().await
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    assert_eq!(kind_of(&upstream).await, ErrorKind::UnaskedUpgrade);
}

#[tokio::test]
async fn events_come_as_they_are_sent() {
    let said = b"data: tick\n\n";
    let certificate = Certificate::of("localhost");
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let go = Arc::new(Notify::new());
        let acceptor = certificate.acceptor(protocols);
        let notified = Arc::clone(&go);
        let origin = Origin::by_hand(move |_, stream| {
            let (acceptor, go) = (acceptor.clone(), Arc::clone(&notified));
            async move {
                let answer = service_fn(move |_: Request<Incoming>| {
                    let go = Arc::clone(&go);
                    async move {
                        let (mut sender, body) = http_body_util::Channel::<Bytes>::new(1);
                        tokio::spawn(async move {
                            loop {
                                go.notified().await;
                                if sender.send_data(Bytes::from_static(said)).await.is_err() {
                                    return;
                                }
                            }
                        });
                        Ok::<_, std::convert::Infallible>(Response::new(body))
                    }
                });
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let server =
                    hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                // The client leaves in the middle.
                let _ = server.serve_connection(stream, answer).await;
            }
        })
        .await;
        let upstream = secure(&origin, &certificate).build().unwrap();
        let mut body = upstream.oneshot(get("/events")).await.unwrap().into_body();
        for _ in 0..3 {
            go.notify_one();
            let frame = tokio::time::timeout(crate::support::PATIENCE, body.frame()).await.unwrap();
            assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), &said[..]);
        }
    }
}

#[tokio::test]
async fn a_request_that_comes_back_is_refused() {
    let upstreams: Arc<Mutex<Option<Upstream>>> = Arc::default();
    let around = Arc::clone(&upstreams);
    let origin = Origin::by_hand(move |_, stream| {
        let upstream = around.lock().unwrap().clone().unwrap();
        async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let upstream = upstream.clone();
                async move {
                    let (status, seen) = match upstream.oneshot(request).await {
                        Ok(answer) => (answer.status(), answer.headers().get("x-hops").cloned()),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Loop);
                            (error.status(), None)
                        }
                    };
                    let hops = seen.map_or(0, |hops| hops.to_str().unwrap().parse::<u32>().unwrap()) + 1;
                    let answer = Response::builder().status(status).header("x-hops", hops);
                    answer.body(Empty::<Bytes>::new())
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        }
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    *upstreams.lock().unwrap() = Some(upstream.clone());
    let answer = ask(&upstream, get("/")).await.unwrap();
    assert_eq!(answer.head.status, StatusCode::LOOP_DETECTED);
    assert_eq!(answer.head.headers["x-hops"], "1", "it came back once");

    // Two edges of one name, one behind the other, are no loop.
    let last = Origin::echo().await;
    *upstreams.lock().unwrap() = Some(Upstream::builder(last.url()).build().unwrap());
    let first = Upstream::builder(origin.url()).build().unwrap();
    assert_eq!(ask(&first, get("/")).await.unwrap().head.status, StatusCode::OK);
}

#[tokio::test]
async fn the_origin_is_told_who_asks() {
    let origin = Origin::echo().await;
    let upstream = Upstream::builder(origin.url()).name("fra-1").build().unwrap();
    let mut request = get("/");
    request.extensions_mut().insert(Viewer::new("[2001:db8::1]:9".parse().unwrap()).https(true));
    let seen = ask(&upstream, request).await.unwrap().text;
    for line in [
        "via: 1.1 fra-1",
        "x-forwarded-for: 2001:db8::1",
        "x-forwarded-host: site",
        "x-forwarded-proto: https",
        "forwarded: for=\"[2001:db8::1]\";host=\"site\";proto=https",
    ] {
        assert_eq!(seen.lines().filter(|seen| *seen == line).count(), 1, "{line}: {seen}");
    }
}

#[tokio::test]
async fn an_error_goes_into_a_layer_with_its_kind() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let edge = tower_edge::Edge::builder().build().unwrap();
    let upstream = Upstream::builder(format!("http://{nobody}")).build().unwrap();
    let site = tower::Layer::layer(&edge.layer(), upstream);
    let error: upstream::Error = site.oneshot(get("http://site/")).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Connect, StatusCode::BAD_GATEWAY));
    assert_eq!(error.page(), "The origin cannot be reached.\n");
    // What went wrong is there for the log.
    assert!(std::error::Error::source(&error).is_some());
}
