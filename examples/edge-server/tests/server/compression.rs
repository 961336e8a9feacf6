//! What is compressed on its way into the cache, and what its viewers and its origin make of that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Edge, origin};

const TEXT: &str = "All work and no play makes Jack a dull boy.\n";

fn text() -> Vec<u8> {
    TEXT.repeat(100).into_bytes()
}

/// An origin of text that says how often it was asked, and by what.
struct Site {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

/// How it compares the tags of a condition with its own.
#[derive(Clone, Copy)]
enum Compares {
    /// As RFC 9110 §13.1.2 has it.
    Weakly,
    /// Letter by letter.
    Letters,
}

impl Site {
    fn new(lines: &'static str, compares: Compares) -> Self {
        let (asked, heads) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (count, seen) = (Arc::clone(&asked), Arc::clone(&heads));
        let address = origin(move |head, mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let head = head.to_ascii_lowercase();
            seen.lock().unwrap().push(head.clone());
            let condition = head.lines().find_map(|line| line.strip_prefix("if-none-match: "));
            let same = condition.is_some_and(|tags| {
                tags.split(", ").any(|tag| match compares {
                    Compares::Weakly => tag.trim_start_matches("w/") == "\"v\"",
                    Compares::Letters => tag == "\"v\"",
                })
            });
            let range = head.contains("\r\nrange: bytes=0-9\r\n") && !head.contains("\r\nif-range: ");
            let (status, body) = match () {
                () if same => ("304 Not Modified", Vec::new()),
                () if range => {
                    ("206 Partial Content\r\nContent-Range: bytes 0-9/4400", text()[..10].to_vec())
                }
                () => ("200 OK", text()),
            };
            let lines = if same { KEPT } else { lines };
            let length = if same { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let answer = format!(
                "HTTP/1.1 {status}\r\n{length}Content-Type: text/plain\r\nETag: \"v\"\r\nAccept-Ranges: bytes\r\n\
                 Repr-Digest: sha-256=:eA==:\r\nConnection: close\r\n{lines}\r\n"
            );
            let body = if head.starts_with("head") { &[][..] } else { &body };
            let _ = stream.write_all(&[answer.as_bytes(), body].concat());
        });
        Self { address, asked, heads }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn edge(&self) -> Edge {
        Edge::start(&["--origin", &format!("http://{}", self.address), "--compress"])
    }
}

const KEPT: &str = "Cache-Control: max-age=60\r\n";
/// Asked about once more; what confirms it says [`KEPT`].
const CHECKED: &str = "Cache-Control: no-cache\r\n";

/// The head, in lower case, and the body.
fn ask(edge: &Edge, method: &str, lines: &str) -> (String, Vec<u8>) {
    let mut stream = edge.connect();
    let request = format!("{method} /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    split(stream)
}

fn split(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let body = match head.contains("transfer-encoding: chunked") {
        true => unchunked(&answer[end..]),
        false => answer[end..].to_vec(),
    };
    (head, body)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}

fn decoded(head: &str, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match line(head, "content-encoding") {
        Some("gzip") => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut text).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(body, 4096).read_to_end(&mut text).unwrap()),
        None => text = body.to_vec(),
        Some(other) => panic!("{other}"),
    }
    text
}

fn line<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

const GZIP: &str = "Accept-Encoding: gzip\r\n";
const BR: &str = "Accept-Encoding: gzip, br\r\n";

#[test]
fn each_coding_is_made_once_and_kept_beside_the_others() {
    let site = Site::new(KEPT, Compares::Weakly);
    let edge = site.edge();
    for round in 0..2 {
        for (accept, coding) in
            [(GZIP, Some("gzip")), (BR, Some("br")), ("", None), ("Accept-Encoding: gzip;q=0\r\n", None)]
        {
            let (head, body) = ask(&edge, "GET", accept);
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert_eq!(line(&head, "content-encoding"), coding, "{head}");
            assert_eq!(decoded(&head, &body), text());
            assert_eq!(head.contains("; hit"), round == 1, "{head}");
            assert_eq!(line(&head, "vary"), Some("accept-encoding"), "{head}");
            assert_eq!(
                line(&head, "etag"),
                Some(if coding.is_some() { "w/\"v\"" } else { "\"v\"" }),
                "{head}"
            );
            // What was said of the bytes as they were.
            assert_eq!(head.contains("repr-digest"), coding.is_none(), "{head}");
            assert!(coding.is_none() || body.len() < 1000);
        }
    }
    assert_eq!(site.asked(), 4);
}

#[test]
fn who_asks_for_the_head_is_told_what_who_asks_for_the_whole_is() {
    let site = Site::new("Cache-Control: no-store\r\n", Compares::Weakly);
    let edge = site.edge();
    for accept in [GZIP, BR, ""] {
        let heads = ["GET", "HEAD"].map(|method| {
            let (head, body) = ask(&edge, method, accept);
            assert_eq!(body.is_empty(), method == "HEAD");
            let about = |line: &&str| {
                !["date", "transfer-encoding", "cache-status"].iter().any(|name| line.starts_with(name))
            };
            let mut lines: Vec<String> = head.lines().filter(about).map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        });
        assert_eq!(heads[0], heads[1]);
    }
}

#[test]
fn conditions_match_in_the_cache_and_at_the_origin() {
    for compares in [Compares::Weakly, Compares::Letters] {
        for (lines, asked) in [(KEPT, 1), (CHECKED, 2)] {
            let site = Site::new(lines, compares);
            let edge = site.edge();
            let (first, body) = ask(&edge, "GET", GZIP);
            assert_eq!(line(&first, "content-encoding"), Some("gzip"), "{first}");
            // Its own weak tag, as the viewer has it.
            let (head, _) = ask(&edge, "GET", &format!("{GZIP}If-None-Match: W/\"v\"\r\n"));
            assert!(head.starts_with("http/1.1 304") && head.contains("etag: w/\"v\""), "{head}");
            let (head, _) = ask(&edge, "GET", &format!("{GZIP}If-None-Match: W/\"u\"\r\n"));
            assert!(head.starts_with("http/1.1 200"), "{head}");
            // The 304 of the origin, with its strong tag, is about what is stored, and leaves it as it was.
            let (again, same) = ask(&edge, "GET", GZIP);
            assert_eq!(same, body);
            for name in ["content-encoding", "etag", "vary", "accept-ranges", "repr-digest"] {
                assert_eq!(line(&again, name), line(&first, name), "{name}: {again}");
            }
            assert_eq!(decoded(&again, &same), text());
            assert_eq!(site.asked(), asked, "{lines}");
            let heads = site.heads.lock().unwrap();
            let conditions = heads[1..].iter().filter(|head| head.contains("if-none-match: w/\"v\", \"v\""));
            assert_eq!(conditions.count(), asked - 1, "{heads:?}");
        }
    }
}

#[test]
fn no_part_of_one_coding_is_joined_to_another() {
    let site = Site::new(KEPT, Compares::Weakly);
    let edge = site.edge();
    let (_, whole) = ask(&edge, "GET", GZIP);
    // RFC 9110 §13.1.5: a weak tag matches nothing.
    let (head, body) = ask(&edge, "GET", &format!("{GZIP}Range: bytes=0-9\r\nIf-Range: W/\"v\"\r\n"));
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body, whole);
    // Without that it is a part of the coding that was asked for, and says so.
    let (head, body) = ask(&edge, "GET", &format!("{GZIP}Range: bytes=0-9\r\n"));
    assert!(head.starts_with("http/1.1 206") && head.contains("etag: w/\"v\""), "{head}");
    assert_eq!(line(&head, "content-encoding"), Some("gzip"));
    assert_eq!(body, whole[..10]);
    // The part that an origin makes is one of what it has.
    let site = Site::new("Cache-Control: no-store\r\n", Compares::Weakly);
    let edge = site.edge();
    ask(&edge, "GET", GZIP);
    let (head, body) = ask(&edge, "GET", &format!("{GZIP}Range: bytes=0-9\r\n"));
    assert!(head.starts_with("http/1.1 206") && head.contains("\r\netag: \"v\""), "{head}");
    assert_eq!((line(&head, "content-encoding"), &body[..]), (None, &text()[..10]));
}

#[test]
fn what_must_not_be_compressed_is_not() {
    for lines in [
        "Cache-Control: max-age=60, No-Transform\r\n",
        "CDN-Cache-Control: no-transform, max-age=60\r\n",
        "Content-Encoding: zstd\r\n",
    ] {
        let edge = Site::new(lines, Compares::Weakly).edge();
        let (head, body) = ask(&edge, "GET", GZIP);
        assert_eq!(body, text(), "{lines}");
        assert!(head.contains("\r\netag: \"v\"") && line(&head, "vary").is_none(), "{head}");
        assert_eq!(line(&head, "content-length"), Some("4400"), "{head}");
    }
    let short = origin(|_, mut stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhi",
        );
    });
    let edge = Edge::start(&["--origin", &format!("http://{short}"), "--compress"]);
    let (head, body) = ask(&edge, "GET", GZIP);
    assert_eq!((line(&head, "content-encoding"), &body[..]), (None, &b"hi"[..]));
    let site = Site::new(KEPT, Compares::Weakly);
    let (head, _) = ask(&Edge::before(site.address), "GET", GZIP);
    assert_eq!(line(&head, "content-encoding"), None, "without the flag: {head}");
}

#[test]
fn events_come_as_they_are_sent() {
    let site = origin(|_, mut stream| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n";
        stream.write_all(head).unwrap();
        // No more until the viewer leaves.
        let _ = stream.read(&mut [0]);
    });
    let edge = Edge::start(&["--origin", &format!("http://{site}"), "--compress"]);
    let mut stream = edge.connect();
    stream.write_all(format!("GET /x HTTP/1.1\r\nHost: site\r\n{GZIP}\r\n").as_bytes()).unwrap();
    let mut heard = String::new();
    while !heard.contains("data: 1\n\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "{heard}");
        heard += std::str::from_utf8(&piece[..read]).unwrap();
    }
}

#[test]
fn what_a_put_sent_is_not_given_to_who_would_have_it_compressed() {
    let site = Site::new(KEPT, Compares::Weakly);
    let edge =
        Edge::start(&["--origin", &format!("http://{}", site.address), "--compress", "--writes", "through"]);
    let put = format!("Content-Type: text/plain\r\nContent-Length: 4400\r\n\r\n{}", TEXT.repeat(100));
    let mut stream = edge.connect();
    stream
        .write_all(format!("PUT /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n{put}").as_bytes())
        .unwrap();
    let (head, _) = split(stream);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let (head, body) = ask(&edge, "GET", GZIP);
    assert_eq!(line(&head, "content-encoding"), Some("gzip"), "{head}");
    assert_eq!(decoded(&head, &body), text());
}
