//! Who may ask the control port.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::clearing::site;
use crate::support::{Edge, TemporaryFile, command, output, run};

const TOKEN: &str = "7f3a9c0de5b81246f0e9d8c7b6a5948372615f4e3d2c1b0a99887766554433ff";

#[test]
fn a_token_is_asked_for_and_compared() {
    let file = TemporaryFile::new(&format!("{TOKEN}\n"));
    let edge = Edge::controlled(site(), &["--control-token-file", file.path()]);
    let wrong = format!("{}e", &TOKEN[..63]);
    for (lines, status) in [
        (String::new(), 401),
        ("Authorization: Bearer\r\n".into(), 401),
        (format!("Authorization: Bearer {wrong}\r\n"), 401),
        (format!("Authorization: Bearer {TOKEN}0\r\n"), 401),
        (format!("Authorization: Basic {TOKEN}\r\n"), 401),
        (format!("Authorization: {TOKEN}\r\n"), 401),
        (format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n"), 401),
        (format!("Authorization: Bearer {TOKEN}\r\n"), 200),
        (format!("Authorization: bearer {TOKEN}\r\n"), 200),
        // No browser sends it for a site that gave itself this name.
        (format!("Host: control.example\r\nAuthorization: Bearer {TOKEN}\r\n"), 200),
        ("Host: control.example\r\n".into(), 401),
    ] {
        for what in ["GET /usage", "GET /openapi.json"] {
            let answer = edge.ask(what, &lines, "");
            assert_eq!(answer.status, status, "{what} {lines}: {answer:?}");
            assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401, "{answer:?}");
        }
        let lines = format!("{lines}Content-Type: application/json\r\n");
        let made = edge.ask("POST /invalidations", &lines, r#"{"all": true}"#);
        assert_eq!(made.status, if status == 200 { 201 } else { 401 }, "{lines}: {made:?}");
    }
    let stats = edge.ask("GET /stats", &format!("Authorization: Bearer {TOKEN}\r\n"), "");
    assert_eq!(stats.body["invalidations"], 3, "those with the token");
}

#[test]
fn the_command_line_shows_its_token() {
    let file = TemporaryFile::new(TOKEN);
    let origin = format!("http://{}", site());
    let edge = Edge::spawn(
        command(&["--listen", "127.0.0.1:0", "--origin", &origin, "--control", "127.0.0.1:0"])
            .env("EDGE_CONTROL_TOKEN", TOKEN),
    );
    let control = edge.control().to_string();
    let usage = ["usage", "--control", &control];
    let without = run(&usage);
    let error = String::from_utf8(without.stderr).unwrap();
    assert_eq!(without.status.code(), Some(1), "{error}");
    assert!(error.contains("--control-token-file") && error.lines().count() == 1, "{error}");
    assert!(run(&[&usage[..], &["--control-token-file", file.path()]].concat()).status.success());
    assert!(output(command(&usage).env("EDGE_CONTROL_TOKEN", TOKEN)).status.success());
}

#[test]
fn another_site_is_refused() {
    let edge = Edge::controlled(site(), &[]);
    let control = edge.control();
    for (lines, status) in [
        (format!("Origin: http://{control}\r\nSec-Fetch-Site: same-origin\r\n"), 201),
        ("Sec-Fetch-Site: cross-site\r\n".into(), 403),
        ("Origin: http://evil.example\r\n".into(), 403),
        ("Origin: null\r\n".into(), 403),
        (format!("Origin: http://{}\r\n", edge.address), 403),
    ] {
        let lines = format!("{lines}Content-Type: application/json\r\n");
        let answer = edge.ask("POST /invalidations", &lines, r#"{"all": true}"#);
        assert_eq!(answer.status, status, "{lines}: {answer:?}");
        assert!(!answer.head.contains("access-control"), "{answer:?}");
    }
    // What a form can send without asking first.
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
    {
        let lines = format!("Content-Type: {media_type}\r\n");
        assert_eq!(edge.ask("POST /invalidations", &lines, r#"{"all": true}"#).status, 415, "{media_type}");
    }
    assert_eq!(edge.ask("POST /invalidations", "", r#"{"all": true}"#).status, 415);
    for (host, status) in
        [("evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost", 200), ("127.0.0.1:1", 200)]
    {
        assert_eq!(edge.ask("GET /usage", &format!("Host: {host}\r\n"), "").status, status, "{host}");
    }
    let absolute = edge.ask("GET http://evil.example/usage", &format!("Host: {control}\r\n"), "");
    assert_eq!(absolute.status, 400, "{absolute:?}");
    assert_eq!(edge.ask("GET /stats", "", "").body["invalidations"], 1);
}

#[test]
fn there_is_no_control_on_the_public_port_nor_without_the_flag() {
    let edge = Edge::before(site());
    let purge = edge.talk("PURGE /news HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    assert!(purge.starts_with("HTTP/1.1 200"), "the origin's answer: {purge}");
    assert!(edge.get("/invalidations", "").contains("\r\n\r\n000"), "the origin's page");
}

#[test]
fn a_control_port_that_would_be_open_is_refused_at_the_start() {
    let short = TemporaryFile::new(&TOKEN[..62]);
    let empty = TemporaryFile::new("\n");
    let other = TemporaryFile::new("not a token at all, but a sentence of sufficient length\n");
    for (flags, variable, says) in [
        (&["--control", "0.0.0.0:0"][..], None, "needs a token"),
        (&["--control", "[::]:0"], None, "needs a token"),
        (&["--control", "127.0.0.1:0", "--control-token-file", short.path()], None, short.path()),
        (&["--control", "127.0.0.1:0", "--control-token-file", empty.path()], None, "is empty"),
        (&["--control", "127.0.0.1:0", "--control-token-file", other.path()], None, "holds no token"),
        (
            &["--control", "127.0.0.1:0", "--control-token-file", "/no/such/file"],
            Some(TOKEN),
            "/no/such/file",
        ),
        (&["--control", "127.0.0.1:0"], Some(""), "EDGE_CONTROL_TOKEN: is empty"),
        (&["--control", "0.0.0.0:0"], Some("short"), "EDGE_CONTROL_TOKEN: is too short"),
        (&["--control", "nowhere"], None, "--control"),
        (&["--control-token-file", short.path()], None, "--control"),
    ] {
        let mut command = command(&[&["--listen", "127.0.0.1:0"], flags].concat());
        if let Some(variable) = variable {
            command.env("EDGE_CONTROL_TOKEN", variable);
        }
        let output = output(&mut command);
        let error = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> = error.lines().filter(|line| !line.contains(" WARN ")).collect();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert_eq!(lines.len(), 1, "{flags:?}: {error}");
        assert!(lines[0].starts_with("edge-server: ") && lines[0].contains(says), "{flags:?}: {error}");
        assert!(!error.contains(&TOKEN[..62]), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_token_that_everyone_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        let file = TemporaryFile::new(TOKEN);
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        // The address is not one of this machine: the server ends after it has read the token.
        let flags =
            ["--listen", "127.0.0.1:0", "--control", "192.0.2.1:1", "--control-token-file", file.path()];
        let mut server = command(&flags).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines: Vec<_> =
            BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
        assert_eq!(server.wait().unwrap().code(), Some(2), "{lines:?}");
        assert_eq!(lines.iter().any(|line| line.contains("can read the token")), warned, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("192.0.2.1:1")), "{lines:?}");
    }
}
