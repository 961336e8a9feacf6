//! Names, their addresses, and what becomes of those that do not answer.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower_edge::origin::upstream::{ErrorKind, Pool, Protocol, Timeouts, Upstream};

use crate::support::{Certificate, Origin, ask, get, kind_of, only, secure, serve};

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// An address that takes no connection and refuses none: its queue is full. It ends with the values.
async fn black_hole() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
        assert!(queued.len() < 64, "the queue has an end");
    }
    (address, queued, listener)
}

fn numbered(number: usize) -> impl Future<Output = Origin> {
    Origin::by_hand(move |_, stream| serve(stream, format!("origin {number}\n")))
}

#[tokio::test]
async fn a_name_that_moves_is_followed_though_its_connection_is_never_idle() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (first, second) = (numbered(1).await, numbered(2).await);
        let answer = Arc::new(Mutex::new(first.address));
        let current = Arc::clone(&answer);
        let upstream = Upstream::builder("http://site.internal")
            .protocol(protocol)
            .pool(Pool { life: Duration::from_millis(300), ..Pool::default() })
            .resolver(move |host: &str, port: u16| {
                assert_eq!((host, port), ("site.internal", 80));
                std::future::ready(Ok(vec![*current.lock().unwrap()]))
            })
            .build()
            .unwrap();
        for _ in 0..3 {
            assert!(ask(&upstream, get("/")).await.unwrap().text.starts_with("origin 1\n"));
        }
        assert_eq!(first.connections(), 1, "one connection serves one after the other");
        *answer.lock().unwrap() = second.address;
        let moved = Instant::now();
        while ask(&upstream, get("/")).await.unwrap().text.starts_with("origin 1\n") {
            assert!(moved.elapsed() < Duration::from_secs(10), "{protocol:?}: the old connection goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(first.connections(), 1);
    }
}

#[tokio::test]
async fn a_dead_address_does_not_fail_the_request() {
    let origin = Origin::echo().await;
    let (hole, _queued, _listener) = black_hole().await;
    for addresses in [
        vec![nobody().await, origin.address],
        vec![hole, origin.address],
        vec![hole, nobody().await, hole, origin.address],
        vec![origin.address, hole],
    ] {
        let upstream =
            Upstream::builder("http://site.internal").resolver(only(addresses.clone())).build().unwrap();
        ask(&upstream, get("/")).await.unwrap_or_else(|error| panic!("{addresses:?}: {error:?}"));
    }
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_told_by_its_kind() {
    let (hole, _queued, _listener) = black_hole().await;
    let silent = Origin::by_hand(|_, stream| async move {
        let _stream = stream;
        pending().await
    })
    .await;
    let short = Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() };
    let named = || Upstream::builder("http://site.internal").timeouts(short);
    let never = |_: &str, _: u16| pending::<io::Result<Vec<SocketAddr>>>();
    let unknown = |_: &str, _: u16| std::future::ready(Err(io::Error::other("no such name")));
    for (builder, kind, status) in [
        (named().resolver(only(vec![nobody().await, nobody().await])), ErrorKind::Connect, 502),
        (named().resolver(only(vec![hole])), ErrorKind::ConnectTime, 504),
        (named().resolver(never), ErrorKind::ConnectTime, 504),
        (named().resolver(unknown), ErrorKind::Name, 502),
        (named().resolver(only(Vec::new())), ErrorKind::Name, 502),
        (secure(&silent, &Certificate::of("localhost")).timeouts(short), ErrorKind::ConnectTime, 504),
    ] {
        let upstream = builder.build().unwrap();
        let asked = Instant::now();
        let error = ask(&upstream, get("/")).await.unwrap_err();
        assert_eq!((error.kind(), error.status().as_u16()), (kind, status));
        assert!(asked.elapsed() < Duration::from_secs(3), "{kind:?} took {:?}", asked.elapsed());
        // Those who wait for a connection that many would share wait no longer.
        let both = tokio::join!(kind_of(&upstream), kind_of(&upstream));
        assert_eq!(both, (kind, kind));
    }
}

#[tokio::test]
async fn the_system_is_asked_when_nobody_else_is_set() {
    let origin = Origin::echo().await;
    let upstream = Upstream::builder(format!("http://localhost:{}", origin.address.port())).build().unwrap();
    ask(&upstream, get("/")).await.unwrap();
    let upstream = Upstream::builder("http://name.invalid").build().unwrap();
    // RFC 6761 §6.4: never resolved. A system without any resolver may take its time to say so.
    assert!(matches!(kind_of(&upstream).await, ErrorKind::Name | ErrorKind::ConnectTime));
}
