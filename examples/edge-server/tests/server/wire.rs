//! What crosses the wire, on both sides of the edge.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::{Edge, origin, read_head};

/// An origin that says what it was sent.
fn echo() -> SocketAddr {
    origin(|head, mut stream| {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Connection: close, x-hop\r\nX-Hop: 1\r\nX-End: 1\r\n\r\n{head}",
            head.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

#[test]
fn a_request_that_may_be_read_in_two_ways_is_refused() {
    let edge = Edge::before(echo());
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nHost: a:port\r\n",
        "GET / HTTP/1.1\r\nHost: a:65536\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    ] {
        let answer = edge.talk(&format!("{head}Connection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
    let answer = edge.talk("GET https://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    assert!(answer.contains("cache-control: no-store"), "{answer}");
}

#[test]
fn a_head_without_end_is_refused() {
    let edge = Edge::before(echo());
    let answer = edge.get("/", &format!("X-Long: {}\r\n", "x".repeat(70_000)));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = edge.get("/", &"X-Many: 1\r\n".repeat(200));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn the_origin_sees_who_asked_by_the_edges_word_alone() {
    let edge = Edge::start(&["--name", "fra-1", "--origin", &format!("http://{}", echo())]);
    let answer = edge.get(
        "/a?b",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=evil\r\nKeep-Alive: x\r\n",
    );
    let (head, seen) = answer.split_once("\r\n\r\n").unwrap();
    let seen = seen.to_lowercase();
    assert!(seen.starts_with("get /a?b http/1.1\r\n"), "{seen}");
    for line in [
        "host: site",
        "via: 1.1 fra-1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: site",
        "x-forwarded-proto: http",
        "forwarded: for=127.0.0.1;host=\"site\";proto=http",
    ] {
        assert_eq!(seen.lines().filter(|seen| *seen == line).count(), 1, "{line}: {seen}");
    }
    for gone in ["evil", "6.6.6.6", "keep-alive", "connection"] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
    let head = head.to_lowercase();
    assert!(head.contains("via: 1.1 fra-1"), "{head}");
    assert!(head.contains("x-end: 1") && !head.contains("x-hop"), "{head}");
}

#[test]
fn the_origins_own_host_is_sent_when_told_so() {
    let address = echo();
    let edge = Edge::start(&["--origin-host", "rewrite", "--origin", &format!("http://{address}")]);
    let answer = edge.get("/", "").to_lowercase();
    assert!(answer.contains(&format!("host: {address}\r\n")), "{answer}");
    assert!(answer.contains("x-forwarded-host: site\r\n"), "{answer}");
}

#[test]
fn an_origin_that_is_not_there_is_502() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answer = Edge::before(free).get("/", "");
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("cache-control: no-store"), "{answer}");
}

#[test]
fn an_origin_that_does_not_speak_http_is_502() {
    for words in ["", "SSH-2.0-x\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"] {
        let address = origin(move |_, mut stream| stream.write_all(words.as_bytes()).unwrap());
        let answer = Edge::before(address).get("/", "");
        assert!(answer.starts_with("HTTP/1.1 502"), "{words}: {answer}");
    }
}

#[test]
fn a_request_that_reached_the_origin_is_sent_once() {
    let (sender, seen) = mpsc::channel();
    // The first answer leaves the connection in the pool; the second request dies on it.
    let address = origin(move |head, mut stream| {
        sender.send(head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n").unwrap();
        let second = read_head(&mut stream);
        if !second.is_empty() {
            sender.send(second).unwrap();
        }
    });
    let edge = Edge::before(address);
    assert!(edge.get("/1", "").starts_with("HTTP/1.1 200"));
    let post = "POST /2 HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(edge.talk(post).starts_with("HTTP/1.1 502"));
    thread::sleep(Duration::from_millis(100));
    assert_eq!(seen.try_iter().count(), 2);
}

#[test]
fn a_body_that_ends_early_is_never_a_whole_one() {
    let address = origin(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
    });
    let edge = Edge::before(address);
    let mut stream = edge.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as a close.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn bodies_and_trailers_pass() {
    let address = origin(|head, mut stream| {
        let mut body = [0; 14];
        stream.read_exact(&mut body).unwrap();
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        assert!(head.to_lowercase().contains("te: trailers"), "{head}");
        assert_eq!(&body, b"4\r\nbody\r\n0\r\n\r\n");
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
            )
            .unwrap();
    });
    let answer = Edge::before(address).talk(
        "POST / HTTP/1.1\r\nHost: site\r\nConnection: close, te\r\nTE: trailers\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("ok\r\n") && answer.contains("x-sum: 42"), "{answer}");
}

#[test]
fn an_upgraded_connection_passes_bytes_both_ways() {
    let address = origin(|head, mut stream| {
        let head = head.to_lowercase();
        assert!(head.contains("connection: upgrade") && head.contains("upgrade: echo"), "{head}");
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst",
            )
            .unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let edge = Edge::before(address);
    let mut stream = edge.connect();
    stream
        .write_all(
            b"GET /chat HTTP/1.1\r\nHost: site\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .unwrap();
    let head = read_head(&mut stream).to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("connection: upgrade") && head.contains("upgrade: echo"), "{head}");
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "firsthello");
}

#[test]
fn an_upgrade_to_another_http_is_not_passed() {
    let edge = Edge::before(echo());
    let answer = edge.talk(
        "GET / HTTP/1.1\r\nHost: site\r\nConnection: close, upgrade, http2-settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n",
    );
    let (_, seen) = answer.split_once("\r\n\r\n").unwrap();
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert!(!seen.to_lowercase().contains(gone), "{seen}");
    }
}

#[test]
fn targets_reach_the_origin_as_they_were() {
    let edge = Edge::before(echo());
    for (asked, expected) in [
        ("GET /a//b/../%2f?x=%20&y=+", "get /a//b/../%2f?x=%20&y=+ "),
        ("GET /a?", "get /a? "),
        ("GET http://site/a", "get /a "),
        ("GET http://site?a", "get /?a "),
        ("OPTIONS *", "options * "),
    ] {
        let answer = edge.talk(&format!("{asked} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n"));
        let (_, seen) = answer.split_once("\r\n\r\n").unwrap();
        assert!(seen.to_lowercase().starts_with(expected), "{asked}: {answer}");
    }
}

#[test]
fn a_viewer_of_http_1_0_may_name_no_host() {
    let address = echo();
    let answer = Edge::before(address).talk("GET / HTTP/1.0\r\n\r\n").to_lowercase();
    assert!(answer.contains(&format!("host: {address}\r\n")), "{answer}");
    assert!(answer.contains("via: 1.0 tower-edge\r\n"), "{answer}");
}

#[test]
fn http_2_is_spoken_by_prior_knowledge() {
    let edge = Edge::before(echo());
    let mut stream = edge.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).unwrap();
    // RFC 7541, appendix A: GET, http, `/`, and a literal `:authority`.
    let fields = [&[0x82, 0x86, 0x84, 0x41, 4][..], b"site"].concat();
    let headers = [0, 0, fields.len() as u8, 1, 0x4 | 0x1, 0, 0, 0, 1];
    stream.write_all(&headers).unwrap();
    stream.write_all(&fields).unwrap();
    let (mut status, mut body) = (None, String::new());
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).unwrap();
        match frame[3] {
            // The table's entry for 200.
            1 => status = Some(payload[0] == 0x88),
            0 => body += std::str::from_utf8(&payload).unwrap(),
            _ => {}
        }
        if frame[3] < 2 && frame[4] & 1 == 1 {
            break;
        }
    }
    assert_eq!(status, Some(true));
    let seen = body.to_lowercase();
    assert!(seen.contains("host: site\r\n") && seen.contains("via: 2.0 tower-edge\r\n"), "{seen}");
}
