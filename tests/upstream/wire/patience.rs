//! How long the origin is waited for.

use std::future::pending;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Channel};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_edge::origin::upstream::{ErrorKind, Pool, Protocol, Timeouts, Upstream};

use crate::support::{Origin, ask, get, kind_of, read_head, until};

const LIMIT: Duration = Duration::from_millis(300);

fn short() -> Timeouts {
    Timeouts { first_byte: LIMIT, between_bytes: LIMIT, ..Timeouts::default() }
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_given_up_and_so_is_its_connection() {
    let origin = Origin::by_hand(|_, stream| async move {
        let _stream = stream;
        pending().await
    })
    .await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let upstream = Upstream::builder(origin.url()).timeouts(short()).protocol(protocol).build().unwrap();
        let before = origin.connections();
        for _ in 0..2 {
            let asked = Instant::now();
            let error = ask(&upstream, get("/")).await.unwrap_err();
            assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::FirstByteTime, 504));
            assert!(asked.elapsed() >= LIMIT && asked.elapsed() < LIMIT * 5, "{:?}", asked.elapsed());
        }
        assert_eq!(origin.connections() - before, 2, "{protocol:?}: nobody else is put on it");
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_an_error_and_one_that_trickles_is_not() {
    let origin = Origin::by_hand(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").await.unwrap();
        for byte in b"slowly" {
            if head.starts_with("get /silent") && *byte == b'w' {
                pending::<()>().await;
            }
            stream.write_all(&[*byte]).await.unwrap();
            sleep(LIMIT / 3).await;
        }
    })
    .await;
    let upstream = Upstream::builder(origin.url()).timeouts(short()).build().unwrap();
    assert_eq!(ask(&upstream, get("/")).await.unwrap().text, "slowly");
    let error = ask(&upstream, get("/silent")).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::BetweenBytesTime, 504));
}

#[tokio::test]
async fn an_event_stream_may_be_quiet_for_longer() {
    let origin = Origin::by_hand(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.unwrap();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            sleep(LIMIT * 2).await;
            stream.write_all(event.as_bytes()).await.unwrap();
        }
        if head.starts_with("get /silent") {
            pending::<()>().await;
        }
    })
    .await;
    let timeouts = Timeouts { quiet: LIMIT * 5, ..short() };
    let upstream = Upstream::builder(origin.url()).timeouts(timeouts).build().unwrap();
    assert_eq!(ask(&upstream, get("/")).await.unwrap().text, "data: 1\n\ndata: 2\n\n");
    let error = ask(&upstream, get("/silent")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BetweenBytesTime);
}

#[tokio::test]
async fn an_upload_may_take_its_time_while_it_moves() {
    let origin = Origin::echo().await;
    let upstream = Upstream::builder(origin.url()).timeouts(short()).build().unwrap();
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let upload = tokio::spawn(async move {
        for _ in 0..6 {
            sleep(LIMIT / 2).await;
            sender.send_data(Bytes::from_static(b"x")).await.unwrap();
        }
    });
    let request = Request::put("/").header("host", "site").body(body).unwrap();
    assert!(ask(&upstream, request).await.unwrap().text.ends_with("body: xxxxxx\n"));
    upload.await.unwrap();
}

#[tokio::test]
async fn no_more_exchanges_than_allowed_are_under_way() {
    let origin = Origin::by_hand(|_, mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo").await.unwrap();
            sleep(LIMIT / 3).await;
            // The reader may have gone.
            let _ = stream.write_all(b"dy").await;
        }
    })
    .await;
    let timeouts = Timeouts { connect: LIMIT, ..Timeouts::default() };
    let pool = Pool { exchanges: 2, ..Pool::default() };
    let upstream = Upstream::builder(origin.url()).timeouts(timeouts).pool(pool).build().unwrap();

    let mut bodies = Vec::new();
    for _ in 0..2 {
        bodies.push(upstream.clone().oneshot(get("/")).await.unwrap().into_body());
    }
    // As long as a body is not read to its end, its exchange is under way.
    let asked = Instant::now();
    let error = ask(&upstream, get("/")).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::Busy, 503));
    assert!(asked.elapsed() >= LIMIT && asked.elapsed() < LIMIT * 5);
    drop(bodies.pop());
    ask(&upstream, get("/")).await.unwrap();
    for body in bodies {
        body.collect().await.unwrap();
    }
    // Everyone has a turn, and two connections at a time are enough.
    let before = origin.connections();
    let all = (0..4).map(|_| ask(&upstream, get("/")));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.unwrap().text, "body");
    }
    assert!(origin.connections() <= before + 1, "{} after {before}", origin.connections());
}

#[tokio::test]
async fn an_unused_connection_is_closed_in_time() {
    let (sender, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::by_hand(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
            sender.send(()).unwrap();
        }
    })
    .await;
    let pool = Pool { idle_time: LIMIT, ..Pool::default() };
    let upstream = Upstream::builder(origin.url()).pool(pool).build().unwrap();
    for _ in 0..3 {
        ask(&upstream, get("/")).await.unwrap();
    }
    assert_eq!(origin.connections(), 1);
    until("the connection is closed", || closed.try_recv().is_ok()).await;
    ask(&upstream, get("/")).await.unwrap();
    assert_eq!(origin.connections(), 2);
    // So is one that nobody can use any more.
    drop(upstream);
    until("the other is closed", || closed.try_recv().is_ok()).await;
}

#[tokio::test]
async fn a_future_or_body_that_is_dropped_ends_its_exchange() {
    let (sender, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::by_hand(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            if read_head(&mut stream).await.starts_with("get /body") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo").await.unwrap();
            }
            assert!(read_head(&mut stream).await.is_empty());
            sender.send(()).unwrap();
        }
    })
    .await;
    let pool = Pool { exchanges: 1, ..Pool::default() };
    let upstream = Upstream::builder(origin.url()).pool(pool).build().unwrap();
    for _ in 0..2 {
        assert!(tokio::time::timeout(LIMIT, ask(&upstream, get("/head"))).await.is_err());
        until("the connection is closed", || closed.try_recv().is_ok()).await;
        let body = upstream.clone().oneshot(get("/body")).await.unwrap().into_body();
        drop(body);
        until("the connection is closed", || closed.try_recv().is_ok()).await;
    }
    assert_eq!(origin.connections(), 4);
}

#[tokio::test]
async fn one_connection_of_http_2_carries_many_and_another_the_rest() {
    let origin = Origin::by_hand(|_, stream| async move {
        use hyper::service::service_fn;
        let answer = service_fn(|_| async {
            sleep(LIMIT).await;
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let server = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        // It ends with the client's.
        let _ = server.serve_connection(hyper_util::rt::TokioIo::new(stream), answer).await;
    })
    .await;
    let pool = Pool { streams: 10, ..Pool::default() };
    let upstream = Upstream::builder(origin.url()).protocol(Protocol::Http2).pool(pool).build().unwrap();
    for (requests, connections) in [(10, 1), (20, 2), (20, 2)] {
        let all = (0..requests).map(|_| ask(&upstream, get("/")));
        for answer in futures_util::future::join_all(all).await {
            answer.unwrap();
        }
        assert_eq!(origin.connections(), connections, "{requests} at once");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_broken_exchange() {
    for words in [
        "",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n",
    ] {
        let origin = Origin::by_hand(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(words.as_bytes()).await.unwrap();
        })
        .await;
        let upstream = Upstream::builder(origin.url()).build().unwrap();
        assert_eq!(kind_of(&upstream).await, ErrorKind::Exchange, "{words:?}");
        assert_eq!(origin.connections(), 1, "{words:?}: a new connection's failure is the origin's answer");
    }
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let origin = Origin::by_hand(move |_, mut stream| {
        let large = large.clone();
        async move {
            read_head(&mut stream).await;
            // It is cut off in the middle.
            let _ = stream.write_all(large.as_bytes()).await;
        }
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    assert_eq!(kind_of(&upstream).await, ErrorKind::Exchange);
}
