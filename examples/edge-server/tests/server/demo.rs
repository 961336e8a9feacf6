//! The edge with its bundled origin, as a newcomer meets it.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::Edge;

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn every_page_is_there() {
    let edge = Edge::start(&[]);
    for (path, expected) in [
        ("/", "An edge and its origin"),
        ("/picture.svg", "<svg"),
        ("/hello", "Hello!"),
        ("/counter", "asked: 1\n"),
        ("/slow", "line 10 of 10"),
        ("/me", "Welcome"),
        ("/film", "A film through the edge"),
        ("/film/index.m3u8", "#EXT-X-MAP:URI=\"init.mp4\""),
    ] {
        let answer = edge.get(path, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.contains(expected), "{path}: {answer}");
    }
}

#[test]
fn the_counter_is_asked_for_once() {
    let edge = Edge::start(&["--name", "fra-1"]);
    let first = edge.get("/counter", "");
    let second = edge.get("/counter", "");
    assert_eq!(body(&first), body(&second));
    assert!(second.to_lowercase().contains("cache-status: fra-1; hit"), "{second}");
}

#[test]
fn the_personal_page_is_everyones_own() {
    let edge = Edge::start(&[]);
    assert!(edge.get("/me", "").to_lowercase().contains("set-cookie: visitor="));
    assert!(edge.get("/me", "Cookie: visitor=17\r\n").ends_with("You are visitor 17.\n"));
    assert!(edge.get("/me", "Cookie: visitor=18\r\n").ends_with("You are visitor 18.\n"));
}

#[test]
fn languages_are_variants() {
    let edge = Edge::start(&[]);
    for _ in 0..2 {
        assert!(edge.get("/hello", "Accept-Language: de\r\n").ends_with("Guten Tag!\n"));
        assert!(edge.get("/hello", "Accept-Language: fr\r\n").ends_with("Bonjour !\n"));
    }
}

#[test]
fn the_slow_page_and_the_events_come_as_they_are_sent() {
    let edge = Edge::start(&[]);
    for (path, piece) in [("/slow", "line 1"), ("/events", "data: tick 1")] {
        let mut stream = edge.connect();
        let asked = Instant::now();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: site\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.contains(piece) {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "{path} ended: {answer}");
            answer += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        assert!(asked.elapsed() < Duration::from_millis(2500), "{path}");
    }
}

#[test]
fn the_origin_answers_a_conditional_request() {
    let edge = Edge::start(&[]);
    let first = edge.get("/picture.svg", "").to_lowercase();
    let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let second = edge.get("/picture.svg", &format!("If-None-Match: {tag}\r\n"));
    assert!(second.starts_with("HTTP/1.1 304"), "{second}");
}
