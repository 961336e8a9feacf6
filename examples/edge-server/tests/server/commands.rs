//! The commands that talk to a running server.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::clearing::site;
use crate::support::{Edge, origin, run};

fn text(edge: &Edge, words: &[&str]) -> String {
    let control = edge.control().to_string();
    let output = run(&[words, &["--control", &control]].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_says_what_it_was_asked() {
    let edge = Edge::controlled(site(), &[]);
    edge.get("/news", "");
    let objects = text(&edge, &["objects", "http://site/news"]);
    assert!(
        objects.contains("tags           news, front\n") && objects.contains("etag           \"v\"\n"),
        "{objects}"
    );
    let receipt = text(&edge, &["invalidate", "/images/*", "--tag", "news", "--wait"]);
    for line in
        ["I00000001  completed\n", "cleared        1 object (", "cost           nothing for 2 paths\n"]
    {
        assert!(receipt.contains(line), "{line}: {receipt}");
    }
    assert_eq!(text(&edge, &["objects", "http://site/news"]), "nothing is stored for http://site/news\n");
    assert!(text(&edge, &["usage"]).contains("paths          2, of which 1000 are free\n"));
    assert!(text(&edge, &["stats"]).contains("invalidations  1\n"));
    assert!(text(&edge, &["invalidations"]).starts_with("I00000001  20"));
    assert_eq!(text(&edge, &["invalidations", "I00000001"]), receipt);
    let json: serde_json::Value = serde_json::from_str(&text(&edge, &["usage", "--json"])).unwrap();
    assert_eq!(json["paths"], 2);
}

#[test]
fn what_is_refused_is_one_line_and_status_1() {
    let edge = Edge::controlled(site(), &[]);
    let control = edge.control().to_string();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let other = origin(|_, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    });
    let other = other.to_string();
    for (words, control, says) in [
        (&["invalidate", "news"][..], &control, "paths[0]: \"news\" does not start with '/'"),
        (&["invalidate", "/news", "--host", "a b"], &control, "host: \"a b\" is no host"),
        (&["invalidations", "I0"], &control, "no such invalidation"),
        (&["objects", "site/news"], &control, "is no absolute http or https URL"),
        (&["usage"], &nobody, "is a server running with --control"),
        (&["usage"], &other, "no control port"),
    ] {
        let output = run(&[words, &["--control", control]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{words:?}: {error}");
        assert!(error.starts_with("edge-server: ") && error.contains(says), "{words:?}: {error}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn what_is_not_understood_is_one_line_and_status_2() {
    for words in [
        &["invalidate"][..],
        &["invalidate", "--soft"],
        &["invalidate", "--group", "g"],
        &["invalidate", "/a", "--contrl", "x"],
        &["invalidate", "/a", "--control", "https://127.0.0.1:9090"],
        &["objects"],
        &["purge", "/a"],
        &["--listen", "127.0.0.1:0", "usage"],
    ] {
        let output = run(words);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{words:?}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_both_sides() {
    let mut edge = Edge::controlled(site(), &[]);
    // Nothing was asked on it yet.
    let idle = TcpStream::connect(edge.control()).unwrap();
    edge.get("/news", "");
    assert_eq!(edge.ask("GET /usage", "", "").status, 200);
    let killed = Command::new("kill").arg(edge.id().to_string()).status();
    assert!(killed.unwrap().success());
    let asked = Instant::now();
    assert_eq!(edge.wait(), Some(0));
    // Nobody waits until those are cut off that do not end.
    assert!(asked.elapsed() < Duration::from_secs(8));
    drop(idle);
    assert!(TcpStream::connect(edge.control()).is_err());
}

#[test]
fn what_is_printed_of_an_answer_moves_no_cursor() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let other = origin(move |_, mut stream| {
            let problem = r#"{"type": "about:blank", "title": "", "status": 401, "detail": "\u001b[2Jfine"}"#;
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                problem.len()
            );
            let _ = stream.write_all((head + problem).as_bytes());
        });
        let output = run(&["usage", "--control", &other.to_string()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("[2Jfine") && !error.contains('\u{1b}'), "{error:?}");
    }
}
