//! A bucket of an S3 server, in this process, as the origin of a configured edge server.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod store;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use self::store::{ACCESS_KEY, BUCKET, SECRET_KEY, Store};
use self::support::{TemporaryFile, command, run};

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// An edge server before the store; it ends with this value.
struct Edge {
    process: Child,
    address: SocketAddr,
    file: TemporaryFile,
}

impl Edge {
    /// With these lines in the origin's section.
    fn before(store: &Store, lines: &str) -> Self {
        Self::with_secret(store, lines, SECRET_KEY)
    }

    fn with_secret(store: &Store, lines: &str, secret: &str) -> Self {
        let origin = format!("bucket = \"{BUCKET}\"\nendpoint = \"{}\"\n{lines}", store.endpoint);
        let file = TemporaryFile::new(&configuration(&origin));
        let mut command = command(&["--config", file.path()]);
        // Whoever runs the tests may have a bucket, too.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        let mut process = command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let address = line.strip_prefix("edge    http://").unwrap().parse().unwrap();
        Self { process, address, file }
    }

    fn get(&self, path: &str, lines: &str) -> String {
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n{lines}\r\n"))
    }

    fn put(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.talk(&format!(
            "PUT {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn reload(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.file.path()).unwrap();
        fs::write(self.file.path(), change(text)).unwrap();
        let killed = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(killed.unwrap().success());
    }

    fn talk(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A site whose origin is a bucket. What does not say for how long is kept for a minute.
fn configuration(lines: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[policy.kept]\nttl = {{ default = \"1m\" }}\n\
         [[behavior]]\npath = \"*\"\norigin = \"files\"\npolicy = \"kept\"\n\
         [origin.files]\nkind = \"bucket\"\n{lines}"
    )
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn objects_are_read_once_and_then_kept() {
    let store = Store::start();
    store.keep("public/a.txt", "0123456789");
    store.keep("public/index.html", "the front page");
    store.keep("public/404.html", "no such page");
    store.keep("secret.txt", "outside of the folder");
    let lines = "prefix = \"public\"\nindex = \"index.html\"\nerror-page = { 404 = \"404.html\" }\n";
    let edge = Edge::before(&store, lines);

    let answer = edge.get("/a.txt", "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && body(&answer) == "0123456789", "{answer}");
    assert!(answer.contains("fwd=uri-miss; stored"), "{answer}");
    // Gone from the bucket, and still there for viewers.
    store.forget("public/a.txt");
    let answer = edge.get("/a.txt", "");
    assert!(answer.contains("; hit; ") && body(&answer) == "0123456789", "{answer}");
    let answer = edge.get("/a.txt", "Range: bytes=2-4\r\n");
    assert!(answer.starts_with("HTTP/1.1 206 ") && body(&answer) == "234", "{answer}");
    assert!(answer.contains("\r\ncontent-range: bytes 2-4/10\r\n"), "{answer}");

    assert_eq!(body(&edge.get("/", "")), "the front page");
    for path in ["/nothing", "/secret.txt"] {
        let answer = edge.get(path, "");
        assert!(answer.starts_with("HTTP/1.1 404 ") && body(&answer) == "no such page", "{path}: {answer}");
    }
    assert!(edge.get("/../secret.txt", "").starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_range_that_is_not_kept_comes_from_the_bucket() {
    let store = Store::start();
    store.keep("a.txt", "0123456789");
    let edge = Edge::before(&store, "");
    let answer = edge.get("/a.txt", "Range: bytes=-3\r\n");
    assert!(answer.starts_with("HTTP/1.1 206 ") && body(&answer) == "789", "{answer}");
}

#[test]
fn viewers_write_where_they_may() {
    let store = Store::start();
    store.keep("a.txt", "before");
    let edge = Edge::before(&store, "");
    let answer = edge.put("/a.txt", "after");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nallow: GET, HEAD"), "{answer}");
    assert_eq!(store.kept("a.txt"), "before");

    let edge = Edge::before(&store, "writes = true\npart-size = \"5MiB\"\nparallel = 2\n");
    let answer = edge.put("/a.txt", "after");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert_eq!(store.kept("a.txt"), "after");
    assert_eq!(body(&edge.get("/a.txt", "")), "after");
    // Several parts, the last of them short.
    let large = "0123456789abcdef".repeat(1024 * 1024) + "end";
    let answer = edge.put("/large.txt", &large);
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert!(store.kept("large.txt") == large, "what arrived is not what was sent");
}

#[test]
fn a_reload_keeps_the_connections_of_a_bucket_that_is_as_it_was() {
    let store = Store::start();
    store.keep("1", "one");
    store.keep("2", "two");
    let edge = Edge::before(&store, "");
    assert_eq!(body(&edge.get("/1", "")), "one");
    let head = || edge.talk("HEAD /1 HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    assert!(head().starts_with("HTTP/1.1 200 "));
    edge.reload(|text| text.replace("[[behavior]]\n", "[[behavior]]\nmethods = [\"GET\"]\n"));
    let start = Instant::now();
    while !head().starts_with("HTTP/1.1 405 ") {
        assert!(start.elapsed() < PATIENCE, "the new configuration does not come about");
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(body(&edge.get("/2", "")), "two");
    assert_eq!(store.connections(), 1);
}

#[test]
fn credentials_that_do_not_fit_are_no_access() {
    let store = Store::start();
    store.keep("a.txt", "text");
    let edge = Edge::with_secret(&store, "", "another");
    let answer = edge.get("/a.txt", "");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn what_cannot_be_a_bucket_has_the_place_of_its_origin() {
    for (lines, expected) in [
        ("bucket = \"b\"\nprefix = \"a/../b\"\n", "files: prefix: is no folder that a store could have"),
        (
            "bucket = \"b\"\nerror-page = { 404 = \"../x\" }\n",
            "files: error-page: is not the key of an object",
        ),
        ("bucket = \"b\"\nindex = \"a/b\"\n", "files: index: is not the name of an object"),
    ] {
        let file = TemporaryFile::new(&configuration(lines));
        let output = run(&["check", file.path()]);
        assert_eq!(output.status.code(), Some(2), "{lines}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.trim_end(), format!("{}:9:9: {expected}", file.path()));
    }
}
