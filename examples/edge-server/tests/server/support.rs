//! The edge server as a process, and both its neighbours written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-server"));
    command.args(flags).stdin(Stdio::null());
    command
}

/// What a run that ends by itself says.
pub(crate) fn run(flags: &[&str]) -> Output {
    command(flags).output().unwrap()
}

/// A running edge server; it ends with this value.
pub(crate) struct Edge {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Edge {
    /// On a free port, with these flags besides.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut process =
            command(&["--listen", "127.0.0.1:0"]).args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |label| {
            let line = lines.next().unwrap().unwrap();
            let (found, url) = line.split_once(char::is_whitespace).unwrap();
            assert_eq!(found, label);
            url.trim().strip_prefix("http://").unwrap().parse().unwrap()
        };
        let (edge, _) = (address("edge"), address("origin"));
        Self { process, address: edge }
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
        let mut stream = self.connect();
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

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
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
