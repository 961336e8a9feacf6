//! What passes before the cache has a say: expectations, and requests that come back.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Edge, origin, read_head};

const WISH: &str = "PUT /x HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn a_viewer_sends_its_body_when_the_origin_wants_it() {
    let (go, wanted) = mpsc::channel::<()>();
    let wanted = std::sync::Arc::new(std::sync::Mutex::new(wanted));
    let site = origin(move |head, mut stream| {
        assert!(head.to_ascii_lowercase().contains("expect: 100-continue"), "{head}");
        wanted.lock().unwrap().recv().unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let edge = Edge::before(site);
    let mut viewer = edge.connect();
    viewer.write_all(WISH.as_bytes()).unwrap();
    viewer.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    viewer.read_exact(&mut [0]).expect_err("nobody wants it yet");
    viewer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    go.send(()).unwrap();
    assert_eq!(read_head(&mut viewer), "HTTP/1.1 100 Continue\r\n\r\n");
    viewer.write_all(b"hello").unwrap();
    assert!(read_head(&mut viewer).starts_with("HTTP/1.1 201 "));
}

#[test]
fn a_refusal_comes_before_the_body() {
    let site = origin(|_, mut stream| {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0, "not a byte of a body comes");
    });
    let edge = Edge::before(site);
    let start = Instant::now();
    let answer = edge.talk(WISH);
    assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("100 Continue"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn a_request_that_comes_back_is_refused_at_once() {
    // The edge has to know its address before it has it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = crate::support::command(&["--listen", &address.to_string()]);
    let edge = Edge::spawn(command.args(["--origin", &format!("http://{address}")]));
    let start = Instant::now();
    let answer = edge.get("/x", "");
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
