//! An invalidation by every scope, through the control port and by the command line: what it names is gone, and the rest stays.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Edge, origin, run};

const PAGES: [&str; 4] = ["/images/a", "/images/b?x", "/news", "/other"];

/// Numbers its answers. `/news` has a tag, `/other` a group, and all have an entity tag by which they are confirmed.
pub(crate) fn site() -> SocketAddr {
    let answered = Arc::new(AtomicUsize::new(0));
    origin(move |head, mut stream| {
        let number = answered.fetch_add(1, Ordering::Relaxed);
        let label = match head.split(' ').nth(1) {
            Some("/news") => "Cache-Tag: News, front\r\n",
            Some("/other") => "Cache-Groups: \"g1\"\r\n",
            _ => "",
        };
        let (status, length, body) = match head.to_ascii_lowercase().contains("if-none-match: \"v\"") {
            true => ("304 Not Modified", String::new(), String::new()),
            false => ("200 OK", "Content-Length: 6\r\n".into(), format!("{number:06}")),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{length}Connection: close\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\n{label}\r\n{body}"
        );
        // The edge may have gone away.
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// What `Cache-Status` says of a page.
fn status(edge: &Edge, page: &str) -> String {
    let answer = edge.get(page, "").to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{page}: {answer}");
    answer.lines().find_map(|line| line.strip_prefix("cache-status: tower-edge; ")).unwrap().to_owned()
}

fn hits(edge: &Edge) -> [bool; 4] {
    PAGES.map(|page| status(edge, page).starts_with("hit"))
}

/// By which way an invalidation is made.
#[derive(Clone, Copy, Debug)]
enum By {
    Port,
    CommandLine,
}

/// Makes an invalidation and returns what it cleared, once it is completed.
fn invalidate(edge: &Edge, by: By, body: &str, words: &[&str]) -> u64 {
    match by {
        By::Port => {
            let made = edge.tell("POST /invalidations", body);
            assert_eq!(made.status, 201, "{made:?}");
            let id = made.body["id"].as_str().unwrap();
            assert!(
                made.head.contains(&format!("location: /invalidations/{}\r\n", id.to_lowercase())),
                "{made:?}"
            );
            let receipt = edge.ask(&format!("GET /invalidations/{id}?wait=30"), "", "");
            assert_eq!((receipt.status, &receipt.body["state"]), (200, &"completed".into()), "{receipt:?}");
            receipt.body["objects"].as_u64().unwrap()
        }
        By::CommandLine => {
            let control = edge.control().to_string();
            let fixed = ["invalidate", "--wait", "--json", "--control", &control];
            let output = run(&[&fixed, words].concat());
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let receipt: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(receipt["state"], "completed");
            receipt["objects"].as_u64().unwrap()
        }
    }
}

#[test]
fn what_is_named_is_gone_and_the_rest_stays() {
    let edge = Edge::controlled(site(), &[]);
    type Case = (&'static str, &'static [&'static str], [bool; 4]);
    let cases: [Case; 11] = [
        (r#"{"paths": ["/images/a"]}"#, &["/images/a"], [false, true, true, true]),
        (r#"{"paths": ["/images/*"]}"#, &["/images/*"], [false, false, true, true]),
        (r#"{"paths": ["/news", "/other"]}"#, &["/news", "/other"], [true, true, false, false]),
        (r#"{"tags": ["NEWS"]}"#, &["--tag", "NEWS"], [true, true, false, true]),
        (
            r#"{"groups": ["g1"], "host": "site"}"#,
            &["--group", "g1", "--host", "site"],
            [true, true, true, false],
        ),
        (r#"{"groups": ["g1"], "host": "else"}"#, &["--group", "g1", "--host", "else"], [true; 4]),
        (r#"{"all": true}"#, &["--all"], [false; 4]),
        (r#"{"all": true, "host": "Site"}"#, &["--all", "--host", "Site"], [false; 4]),
        (r#"{"all": true, "host": "else"}"#, &["--all", "--host", "else"], [true; 4]),
        (
            r#"{"paths": ["/news"], "host": "site:80"}"#,
            &["/news", "--host", "site:80"],
            [true, true, false, true],
        ),
        (r#"{"paths": ["/news"], "host": "else"}"#, &["/news", "--host", "else"], [true; 4]),
    ];
    for (body, words, expected) in cases {
        for by in [By::Port, By::CommandLine] {
            hits(&edge);
            assert_eq!(hits(&edge), [true; 4]);
            let cleared = invalidate(&edge, by, body, words);
            assert_eq!(hits(&edge), expected, "{by:?} {body}");
            assert_eq!(cleared, expected.iter().filter(|kept| !**kept).count() as u64, "{by:?} {body}");
        }
    }
}

#[test]
fn softly_invalidated_is_confirmed_and_otherwise_fetched_anew() {
    let edge = Edge::controlled(site(), &[]);
    for (by, body, words, expected) in [
        (
            By::Port,
            r#"{"paths": ["/news"], "soft": true}"#,
            &["/news", "--soft"][..],
            "fwd=stale; fwd-status=304",
        ),
        (By::CommandLine, "", &["/news", "--soft"], "fwd=stale; fwd-status=304"),
        (By::Port, r#"{"paths": ["/news"]}"#, &["/news"], "fwd=uri-miss"),
    ] {
        status(&edge, "/news");
        assert!(status(&edge, "/news").starts_with("hit"));
        assert_eq!(invalidate(&edge, by, body, words), 1);
        let status = status(&edge, "/news");
        assert!(status.starts_with(expected), "{by:?} {body}: {status}");
    }
}

#[test]
fn a_repeated_reference_clears_nothing_again() {
    let edge = Edge::controlled(site(), &[]);
    let body = r#"{"paths": ["/news"], "reference": "release-7"}"#;
    let first = edge.tell("POST /invalidations", body);
    assert_eq!((first.status, &first.body["reference"]), (201, &"release-7".into()));
    status(&edge, "/news");
    let again = edge.tell("POST /invalidations", body);
    assert_eq!((again.status, &again.body["id"]), (200, &first.body["id"]));
    let control = edge.control().to_string();
    let output = run(&["invalidate", "/news", "--reference", "release-7", "--control", &control]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(first.body["id"].as_str().unwrap()), "{text}");
    assert!(text.contains("release-7"), "{text}");
    assert!(status(&edge, "/news").starts_with("hit"));
    assert_eq!(edge.ask("GET /usage", "", "").body["paths"], 1);
}
