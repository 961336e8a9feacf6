//! The edge server as a process, and both its neighbours written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-server"));
    command.args(flags).stdin(Stdio::null()).env_remove("EDGE_CONTROL_TOKEN");
    command
}

/// What a run that ends by itself says.
pub(crate) fn run(flags: &[&str]) -> Output {
    output(&mut command(flags))
}

pub(crate) fn output(command: &mut Command) -> Output {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            process.kill().unwrap();
            panic!("it does not end: {:?}", process.wait_with_output());
        }
        thread::sleep(Duration::from_millis(5));
    }
    process.wait_with_output().unwrap()
}

/// A running edge server; it ends with this value.
pub(crate) struct Edge {
    process: Child,
    pub(crate) address: SocketAddr,
    /// Its control port, if the flags switched one on.
    control: Option<SocketAddr>,
}

impl Edge {
    /// On a free port, with these flags besides.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn(command(&["--listen", "127.0.0.1:0"]).args(flags))
    }

    /// In front of an origin, with a control port and these flags besides.
    pub(crate) fn controlled(origin: SocketAddr, flags: &[&str]) -> Self {
        let origin = format!("http://{origin}");
        Self::start(&[&["--origin", &origin, "--control", "127.0.0.1:0"], flags].concat())
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let has_control = command.get_args().any(|flag| flag == "--control");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |label| {
            let line = lines.next().unwrap().unwrap();
            let (found, url) = line.split_once(char::is_whitespace).unwrap();
            assert_eq!(found, label);
            url.trim().strip_prefix("http://").unwrap().parse().unwrap()
        };
        let (edge, _) = (address("edge"), address("origin"));
        let control = has_control.then(|| address("control"));
        Self { process, address: edge, control }
    }

    pub(crate) fn before(origin: SocketAddr) -> Self {
        Self::start(&["--origin", &format!("http://{origin}")])
    }

    /// A GET with these lines besides, and the whole answer.
    pub(crate) fn get(&self, path: &str, lines: &str) -> String {
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n{lines}\r\n"))
    }

    /// Everything that comes back until the connection is closed.
    pub(crate) fn talk(&self, request: &str) -> String {
        Self::exchange(self.connect(), request)
    }

    pub(crate) fn control(&self) -> SocketAddr {
        self.control.unwrap()
    }

    /// A request to the control port with these lines and this body, and its status, head and JSON.
    pub(crate) fn ask(&self, what: &str, lines: &str, body: &str) -> Answer {
        let (control, length) = (self.control(), body.len());
        let stream = TcpStream::connect(control).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Where a test names another, that one counts.
        let host = if lines.starts_with("Host:") { String::new() } else { format!("Host: {control}\r\n") };
        let answer = Self::exchange(
            stream,
            &format!(
                "{what} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
            ),
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// The same with a JSON body.
    pub(crate) fn tell(&self, what: &str, body: &str) -> Answer {
        self.ask(what, "Content-Type: application/json\r\n", body)
    }

    fn exchange(mut stream: TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

/// What the control port answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// What went wrong.
    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A file that is there for as long as this value.
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn new(text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("edge-server-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An origin that hands each connection, once a head was read from it, to `answer`.
pub(crate) fn origin(answer: impl Fn(String, TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let head = read_head(&mut stream);
                if !head.is_empty() {
                    answer(head, stream);
                }
            });
        }
    });
    address
}

/// Up to the empty line; a byte at a time, so that nothing behind it is taken.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}
