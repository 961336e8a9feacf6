//! What is sent a second time, and what never is.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_edge::origin::upstream::{ErrorKind, Protocol, Upstream};

use crate::support::{Origin, ask, get, read_head};

/// What each connection was asked.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// An origin that answers `/first` on every connection, and for anything else closes those before number `dying` without
/// an answer, after it was read.
async fn dying(dying: usize) -> (Origin, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let origin = Origin::by_hand(move |number, mut stream| {
        let log = Arc::clone(&log);
        async move {
            loop {
                let head = read_head(&mut stream).await;
                let Some(line) = head.lines().next() else { return };
                log.lock().unwrap().push((number, line.to_owned()));
                if !line.contains("/first") && number < dying {
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    (origin, seen)
}

fn request(method: Method, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri("/second").header("host", "site").body(body.into()).unwrap()
}

fn on(seen: &Seen) -> Vec<usize> {
    let seen = seen.lock().unwrap();
    seen.iter().filter(|(_, line)| line.contains("/second")).map(|(number, _)| *number).collect()
}

#[tokio::test]
async fn what_may_be_repeated_is_sent_once_more_on_a_new_connection() {
    for (method, body, again) in [
        (Method::GET, "", true),
        (Method::HEAD, "", true),
        (Method::OPTIONS, "", true),
        (Method::DELETE, "", true),
        (Method::PUT, "", true),
        (Method::PUT, "body", false),
        (Method::GET, "body", false),
        (Method::POST, "", false),
        (Method::PATCH, "", false),
        (Method::from_bytes(b"UNKNOWN").unwrap(), "", false),
    ] {
        let (origin, seen) = dying(1).await;
        let upstream = Upstream::builder(origin.url()).build().unwrap();
        ask(&upstream, get("/first")).await.unwrap();
        let answer = ask(&upstream, request(method.clone(), body)).await;
        if again {
            answer.unwrap();
            assert_eq!(on(&seen), [0, 1], "{method}");
        } else {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Exchange, "{method}");
            assert_eq!(on(&seen), [0], "{method}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_a_third_time() {
    let (origin, seen) = dying(usize::MAX).await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    ask(&upstream, get("/first")).await.unwrap();
    assert_eq!(ask(&upstream, get("/second")).await.unwrap_err().kind(), ErrorKind::Exchange);
    assert_eq!(on(&seen), [0, 1]);
}

#[tokio::test]
async fn a_new_connection_that_dies_is_an_answer() {
    let (origin, seen) = dying(usize::MAX).await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    assert_eq!(ask(&upstream, get("/second")).await.unwrap_err().kind(), ErrorKind::Exchange);
    assert_eq!(on(&seen), [0]);
}

#[tokio::test]
async fn all_connections_from_before_are_taken_to_be_dead() {
    let (origin, seen) = dying(4).await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    let all = (0..4).map(|_| ask(&upstream, get("/first")));
    for answer in futures_util::future::join_all(all).await {
        answer.unwrap();
    }
    ask(&upstream, get("/second")).await.unwrap();
    let on = on(&seen);
    assert!(on.len() == 2 && on[0] < 4 && on[1] == 4, "{on:?}");
}

#[tokio::test]
async fn nothing_is_lost_in_a_connection_that_was_closed_in_the_meantime() {
    // Each connection has one answer, and does not say that it will be closed.
    let origin = Origin::by_hand(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // All of it has been read, so this is a clean end.
    })
    .await;
    let upstream = Upstream::builder(origin.url()).build().unwrap();
    for _ in 0..50 {
        ask(&upstream, get("/")).await.unwrap();
    }
    for _ in 0..20 {
        // Once the end has come, nothing is sent there, whatever the method.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        ask(&upstream, request(Method::POST, "body")).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_of_http_2_that_dies_is_replaced_once_for_all() {
    let (first, mut second) = (Origin::echo().await, None);
    let address = first.address;
    let upstream = Upstream::builder(first.url()).protocol(Protocol::Http2).build().unwrap();
    ask(&upstream, get("/")).await.unwrap();
    // All its connections end with it.
    drop(first);
    let start = async {
        let listener = loop {
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        };
        second = Some(Origin::on(listener, |_, stream| crate::support::serve(stream, String::new())));
    };
    start.await;
    let all = (0..10).map(|_| {
        ask(&upstream, Request::get("/").header("host", "site").body(Empty::<Bytes>::new()).unwrap())
    });
    for answer in futures_util::future::join_all(all).await {
        answer.unwrap();
    }
    assert_eq!(second.unwrap().connections(), 1);
}

/// A connection of HTTP/2, by hand: answers stream 1 with an empty 200, and to stream 3 says `last` and ends.
async fn refuse_the_second(mut stream: tokio::net::TcpStream, number: usize, last: Vec<u8>) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut frame = [0; 9];
    while stream.read_exact(&mut frame).await.is_ok() {
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        let id = frame[8];
        match (frame[3], id) {
            (1, 3) if number == 0 => {
                stream.write_all(&last).await.unwrap();
                return;
            }
            // RFC 7541, appendix A: the table's entry for 200.
            (1, _) => stream.write_all(&[0, 0, 1, 1, 0x4 | 0x1, 0, 0, 0, id, 0x88]).await.unwrap(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_http_2_refuses_is_sent_once_more_and_what_it_breaks_off_only_if_it_may_be_repeated() {
    let go_away = |last: u8, reason: u8| vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, reason];
    let reset = |reason: u8| vec![0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, reason];
    for (last, method, body, again) in [
        (go_away(1, 0), Method::POST, "", true),
        (go_away(1, 0), Method::GET, "", true),
        (go_away(1, 0), Method::POST, "body", false),
        (reset(7), Method::POST, "", true),
        // It may have been processed.
        (go_away(3, 0), Method::POST, "", false),
        (go_away(3, 0), Method::GET, "", true),
        (Vec::new(), Method::POST, "", false),
        (Vec::new(), Method::GET, "", true),
        // That is an answer.
        (reset(2), Method::POST, "", false),
        (reset(2), Method::GET, "", false),
    ] {
        let what = format!("{last:?} {method} {body}");
        let origin =
            Origin::by_hand(move |number, stream| refuse_the_second(stream, number, last.clone())).await;
        let upstream = Upstream::builder(origin.url()).protocol(Protocol::Http2).build().unwrap();
        ask(&upstream, get("/first")).await.unwrap();
        let answer = ask(&upstream, request(method, body)).await;
        assert_eq!(answer.is_ok(), again, "{what}: {answer:?}");
        assert_eq!(origin.connections(), if again { 2 } else { 1 }, "{what}");
    }
}
