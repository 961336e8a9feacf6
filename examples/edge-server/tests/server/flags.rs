//! What the command line promises.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::support::{Edge, origin, read_head, run};

#[test]
fn a_wrong_flag_or_value_is_one_line_and_status_2() {
    for flags in [
        &["--orign", "http://127.0.0.1:1"][..],
        &["extra"],
        &["--origin"],
        &["--origin", "127.0.0.1:3000"],
        &["--origin", "ftp://example.com"],
        &["--origin", "http://example.com/path"],
        &["--listen", "nowhere"],
        &["--capacity", "much"],
        &["--ttl", "60"],
        &["--name", "two words"],
        &["--origin-host", "other"],
        &["--set-cookie", "keep"],
        &["--preset", "mp4"],
        &["--prefetch", "0"],
        &["--slice", "1KiB"],
        &["--slice", "65MiB"],
        &["--prefetch", "17"],
        &["--without-contact", "serve"],
        &["--redis", "redis://127.0.0.1:1", "--without-contact", "refuse"],
        &["--redis", "redis://127.0.0.1:1", "--without-contact", "refuse:1s"],
        &["--targeted", "two words"],
        &["--targeted", "cache-control"],
    ] {
        let output = run(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{flags:?}: {error}");
        assert!(error.starts_with("edge-server: "), "{flags:?}: {error}");
    }
}

/// Answers every request with these lines.
fn site(lines: &'static str) -> SocketAddr {
    origin(move |_, mut stream| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n{lines}\r\nhi");
        // The edge may have gone away.
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
fn set_cookie_says_what_becomes_of_an_answer_with_a_cookie() {
    let url = format!("http://{}", site("Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n"));
    for (what, hit, cookie) in [
        (None, false, true),
        (Some("no-store"), false, true),
        (Some("strip"), true, false),
        (Some("store"), true, true),
    ] {
        let mut flags = vec!["--origin", url.as_str()];
        flags.extend(what.into_iter().flat_map(|what| ["--set-cookie", what]));
        let edge = Edge::start(&flags);
        edge.get("/", "");
        let second = edge.get("/", "").to_ascii_lowercase();
        assert_eq!(second.contains("; hit"), hit, "{what:?}: {second}");
        assert_eq!(second.contains("set-cookie: a=b"), cookie, "{what:?}: {second}");
    }
}

#[test]
fn targeted_names_the_fields_that_count_before_cache_control() {
    let url = format!("http://{}", site("Cache-Control: no-store\r\nSurrogate-Control: max-age=60\r\n"));
    for (flags, hit) in [
        (&[][..], false),
        (&["--targeted", "surrogate-control"], true),
        (&["--targeted", "cdn-cache-control", "--targeted", "Surrogate-Control"], true),
    ] {
        let edge = Edge::start(&[&["--origin", url.as_str()], flags].concat());
        edge.get("/", "");
        let second = edge.get("/", "").to_ascii_lowercase();
        assert_eq!(second.contains("; hit"), hit, "{flags:?}: {second}");
    }
}

#[test]
fn help_is_no_error() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("--origin"));
}

#[test]
fn an_error_names_its_flag_and_comes_before_the_addresses() {
    let redis = ["--redis", "redis://127.0.0.1:1"];
    for (flags, says) in [
        (&["--redis", "nowhere"][..], "--redis: names no Redis"),
        (&["--redis", "rediss://127.0.0.1:1"], "--redis: rediss:// is TLS"),
        (&["--namespace", "", redis[0], redis[1]], "--namespace: "),
        (&["--parent", "nowhere", "--edge-token-file", "none", redis[0], redis[1]], "'--parent <URL>'"),
        (&["--edge-token-file", "none", redis[0], redis[1]], "--edge-token-file: none: cannot be read"),
        (&["--slice", "1KiB"], "--slice: not from 4KiB to an eighth of the capacity"),
        (&["--slice", "65MiB"], "--slice: not from 4KiB to an eighth of the capacity"),
        (&["--listen", "localhost:8080"], "not an address and a port"),
        (&["--control", "9090"], "not an address and a port"),
    ] {
        let output = run(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.contains(says), "{flags:?}: {error}");
        assert!(output.stdout.is_empty(), "{flags:?}");
    }
}

#[test]
fn an_address_in_use_is_one_line_and_status_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["--listen", &address]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(&address) && error.contains("in use"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_signal_lets_running_requests_end() {
    let mut edge = Edge::start(&[]);
    let mut stream = edge.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: site\r\n\r\n").unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    let killed = Command::new("kill").arg(edge.id().to_string()).status();
    assert!(killed.unwrap().success());
    let mut body = String::new();
    stream.read_to_string(&mut body).unwrap();
    assert!(body.contains("line 10 of 10"), "{body}");
    assert_eq!(edge.wait(), Some(0));
}
