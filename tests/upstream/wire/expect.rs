//! `Expect: 100-continue`, from the viewer to the origin and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tower_edge::origin::upstream::{Protocol, Upstream};

use crate::passage::front;
use crate::support::{Certificate, Origin, PATIENCE, read_head, secure};

const WISH: &[u8] = b"PUT /x HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

async fn viewer(upstream: Upstream) -> TcpStream {
    let mut viewer = front(upstream, Arc::default()).await;
    viewer.write_all(WISH).await.unwrap();
    viewer
}

/// Takes the body and says it back.
async fn take(stream: &mut TcpStream) {
    let mut body = [0; 5];
    stream.read_exact(&mut body).await.unwrap();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(&[&head[..], &body].concat()).await.unwrap();
}

async fn answered(viewer: &mut TcpStream) {
    viewer.write_all(b"hello").await.unwrap();
    let head = read_head(viewer).await;
    assert!(head.starts_with("http/1.1 200 ") && !head.contains("connection: close"), "{head}");
    let mut body = [0; 5];
    viewer.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hello");
}

#[tokio::test]
async fn a_viewer_is_told_to_go_on_when_the_origin_says_so() {
    let go = Arc::new(Notify::new());
    let notified = Arc::clone(&go);
    let origin = Origin::by_hand(move |_, mut stream| {
        let go = Arc::clone(&notified);
        async move {
            // On one connection, twice.
            for _ in 0..2 {
                assert!(read_head(&mut stream).await.contains("expect: 100-continue"));
                go.notified().await;
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                take(&mut stream).await;
            }
        }
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    for _ in 0..2 {
        let mut viewer = viewer(upstream.clone()).await;
        timeout(Duration::from_millis(300), viewer.read_u8()).await.expect_err("nobody wants it yet");
        go.notify_one();
        assert_eq!(read_head(&mut viewer).await, "http/1.1 100 continue\r\n\r\n");
        answered(&mut viewer).await;
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_answer_without_100_reaches_the_viewer_and_no_body_is_asked_for() {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let origin = Origin::by_hand(move |_, mut stream| {
        let closed = Arc::clone(&notify);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 4\r\n\r\nnope").await.unwrap();
            let mut rest = Vec::new();
            // Not a byte of a body comes, and the connection is of no more use.
            assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
            closed.notify_one();
        }
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    for number in 1..=2 {
        let mut viewer = viewer(upstream.clone()).await;
        let mut answer = String::new();
        timeout(PATIENCE, viewer.read_to_string(&mut answer)).await.expect("it is closed").unwrap();
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 417 ") && answer.ends_with("\r\n\r\nnope"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        timeout(Duration::from_secs(5), closed.notified()).await.expect("the origin's connection ends");
        assert_eq!(origin.connections(), number);
    }
}

#[tokio::test]
async fn an_origin_that_knows_nothing_of_it_gets_the_body_after_a_second() {
    let origin = Origin::by_hand(|_, mut stream| async move {
        read_head(&mut stream).await;
        take(&mut stream).await;
    })
    .await;
    let start = Instant::now();
    let mut viewer = viewer(Upstream::builder(origin.url()).build().unwrap()).await;
    assert_eq!(read_head(&mut viewer).await, "http/1.1 100 continue\r\n\r\n");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    answered(&mut viewer).await;
}

#[tokio::test]
async fn over_http_2_nothing_is_waited_for() {
    let certificate = Certificate::of("localhost");
    let origin = Origin::secure_echo(&certificate, &["h2"]).await;
    let upstream = secure(&origin, &certificate).protocol(Protocol::Http2).build().unwrap();
    let mut viewer = viewer(upstream).await;
    let start = Instant::now();
    assert_eq!(read_head(&mut viewer).await, "http/1.1 100 continue\r\n\r\n");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    viewer.write_all(b"hello").await.unwrap();
    assert!(read_head(&mut viewer).await.starts_with("http/1.1 200 "));
    viewer.shutdown().await.unwrap();
    let mut answer = String::new();
    viewer.read_to_string(&mut answer).await.unwrap();
    let answer = answer.to_lowercase();
    assert!(answer.contains("body: hello") && !answer.contains("expect:"), "{answer}");
}
