//! Behind proxies that say whom they speak for.

use std::io::Write;
use std::net::SocketAddr;

use crate::configured::{Configured, Folder, LISTENER, upstream};
use crate::support::{Edge, origin, run};

/// An origin that says what it is told of viewers, and is kept for a minute.
fn told() -> SocketAddr {
    origin(|head, mut stream| {
        let head = head.to_lowercase();
        let is_told = |line: &&str| line.contains("forwarded") || line.starts_with("x-real-ip");
        let body: String = head.lines().filter(is_told).flat_map(|line| [line, "\n"]).collect();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// All that the origin is told, of a viewer at this address who came by this scheme.
fn all(address: &str, scheme: &str) -> String {
    let node = if address.contains(':') { format!("\"[{address}]\"") } else { address.to_owned() };
    format!(
        "x-forwarded-for: {address}\nx-forwarded-host: site\nx-forwarded-proto: {scheme}\n\
         forwarded: for={node};host=\"site\";proto={scheme}\n"
    )
}

/// What a viewer makes up, and what the proxy adds.
const LINES: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9, 10.1.1.1\r\n\
                     X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\n\
                     Forwarded: for=6.6.6.6;proto=http, for=\"[2001:db9::1]\";proto=https\r\n";

#[test]
fn the_origin_is_told_what_a_trusted_proxy_says_and_nothing_that_others_say() {
    let site = format!("http://{}", told());
    for (flags, address, scheme) in [
        (&[][..], "127.0.0.1", "http"),
        (&["--trusted-proxy", "10.0.0.0/8"], "127.0.0.1", "http"),
        (&["--trusted-proxy", "127.0.0.1"], "10.1.1.1", "https"),
        (&["--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "10.0.0.0/8"], "203.0.113.9", "https"),
        (&["--trusted-proxy", "127.0.0.1", "--proxy-fields", "forwarded"], "2001:db9::1", "https"),
    ] {
        let edge = Edge::start(&[&["--origin", &site], flags].concat());
        let answer = edge.get("/", LINES);
        assert!(answer.starts_with("HTTP/1.1 200"), "{flags:?}: {answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, all(address, scheme), "{flags:?}");
    }
}

#[test]
fn a_viewer_whose_tls_ends_in_front_is_not_sent_there_again_and_has_objects_of_its_own() {
    let site = told();
    let text = |first: &str| {
        format!(
            "{first}\n{}{LISTENER}[[behavior]]\npath = \"/any/*\"\norigin = \"o\"\n\
             [[behavior]]\npath = \"*\"\norigin = \"o\"\nhttps = \"redirect\"\n",
            upstream("o", site)
        )
    };
    let trusting = text("trusted-proxies = [\"127.0.0.0/8\"]");
    let edge = Configured::start(Folder::new("proxies"), 1, &trusting);
    let ask = |path: &str, scheme: &str| {
        edge.talk(&format!(
            "GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\n\
             X-Forwarded-Proto: {scheme}\r\n\r\n"
        ))
    };
    let redirected =
        |answer: &str| answer.starts_with("HTTP/1.1 308") && answer.contains("location: https://site/x\r\n");
    assert!(redirected(&ask("/x", "http")));
    let answer = ask("/x", "https");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&all("203.0.113.9", "https")), "{answer}");
    assert!(ask("/x", "https").contains("; hit"));

    assert!(ask("/any/x", "https").ends_with(&all("203.0.113.9", "https")));
    let answer = ask("/any/x", "http");
    assert!(!answer.contains("; hit") && answer.ends_with(&all("203.0.113.9", "http")), "{answer}");
    assert!(ask("/any/x", "http").contains("; hit") && ask("/any/x", "https").contains("; hit"));

    // Trusted by the next configuration no more, and by that after it again.
    edge.reload(&text(""), "reconfigured from");
    assert!(redirected(&ask("/x", "https")));
    edge.reload(&text("trusted-proxies = [\"10.0.0.0/8\"]"), "reconfigured from");
    assert!(redirected(&ask("/x", "https")));
    edge.reload(&trusting, "reconfigured from");
    assert!(ask("/x", "https").contains("; hit"));
}

#[test]
fn proxies_that_are_none_are_refused_with_the_reason() {
    let folder = Folder::new("no-proxies");
    let text = format!(
        "trusted-proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\", \"10.0.0.1/8\", \"lb\"]\n\
         {}{LISTENER}[[behavior]]\npath = \"*\"\norigin = \"o\"\n",
        upstream("o", "127.0.0.1:1".parse().unwrap())
    );
    let file = folder.write("edge.toml", &text);
    for flags in [["check", &file], ["--config", &file]] {
        let output = run(&flags);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        let expected = [
            format!("{file}:1:34: trusted-proxies: \"10.0.0.0/33\": a prefix has a length from 0 to 32"),
            format!(
                "{file}:1:49: trusted-proxies: \"10.0.0.1/8\": the address has more than its first 8 bits set"
            ),
            format!("{file}:1:63: trusted-proxies: \"lb\": not an address, or a prefix such as 192.0.2.0/24"),
        ];
        assert_eq!(error.lines().collect::<Vec<_>>(), expected, "{flags:?}");
    }
    for (flags, reason) in [
        (
            &["--trusted-proxy", "10.0.0.0/33"][..],
            "'10.0.0.0/33' for '--trusted-proxy <ADDRESSES>': a prefix has",
        ),
        (&["--trusted-proxy", "::1", "--proxy-fields", "via"], "'via' for '--proxy-fields <WHICH>'"),
        (&["--proxy-fields", "forwarded"], "--trusted-proxy <ADDRESSES>"),
    ] {
        let output = run(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}
