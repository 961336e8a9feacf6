//! What the command line promises.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use crate::support::{Edge, read_head, run};

#[test]
fn a_wrong_flag_or_value_is_one_line_and_status_2() {
    for flags in [
        &["--orign", "http://127.0.0.1:1"][..],
        &["extra"],
        &["--origin"],
        &["--origin", "127.0.0.1:3000"],
        &["--origin", "https://example.com"],
        &["--origin", "http://example.com/path"],
        &["--listen", "nowhere"],
        &["--capacity", "much"],
        &["--ttl", "60"],
        &["--name", "two words"],
        &["--origin-host", "other"],
    ] {
        let output = run(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{flags:?}: {error}");
        assert!(error.starts_with("edge-server: "), "{flags:?}: {error}");
    }
}

#[test]
fn help_is_no_error() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("--origin"));
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
