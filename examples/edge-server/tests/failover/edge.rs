//! An edge server before a pair of origins, and who looks at its pages.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::str;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::support::{TemporaryFile, command};

/// An edge server before a group; it ends with this value.
pub(crate) struct Edge {
    process: Child,
    address: SocketAddr,
    /// Every request is for a page of its own, and so a miss.
    pages: Cell<usize>,
    _file: TemporaryFile,
}

impl Edge {
    /// With this time between bytes, these settings of the group, and after them behaviors before the one for everything.
    pub(crate) fn before(primary: &str, secondary: SocketAddr, between_bytes: &str, group: &str) -> Self {
        let file = TemporaryFile::new(&format!(
            r#"
            [[listener]]
            address = "127.0.0.1:0"
            [origin.primary]
            kind = "upstream"
            url = "http://{primary}"
            connect-time = "500ms"
            first-byte-time = "5s"
            between-bytes-time = "{between_bytes}"
            [origin.secondary]
            kind = "upstream"
            url = "http://{secondary}"
            [group.pair]
            members = ["primary", "secondary"]
            head-time = "300ms"
            {group}
            [[behavior]]
            path = "*"
            origin = "pair"
            "#
        ));
        let mut process = command(&["--config", file.path()]).stdout(Stdio::piped()).spawn().unwrap();
        let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let address = line.strip_prefix("edge    http://").unwrap().parse().unwrap();
        Self { process, address, pages: Cell::new(0), _file: file }
    }

    /// A page that nobody has asked for.
    pub(crate) fn new_page(&self) -> usize {
        self.pages.set(self.pages.get() + 1);
        self.pages.get()
    }

    /// A page that is not stored.
    pub(crate) fn miss(&self) -> Answer {
        self.get(self.new_page())
    }

    pub(crate) fn get(&self, page: usize) -> Answer {
        self.ask(&format!("/{page}"), "").answer()
    }

    /// A GET with these lines besides.
    pub(crate) fn ask(&self, path: &str, lines: &str) -> Viewer {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n{lines}\r\n").unwrap();
        Viewer { stream, asked, answer: Vec::new() }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody who waits for an answer.
pub(crate) struct Viewer {
    stream: TcpStream,
    asked: Instant,
    answer: Vec<u8>,
}

impl Viewer {
    /// Waits until so much of the body has come.
    pub(crate) fn wait_for(&mut self, bytes: usize) {
        let mut piece = [0; 1 << 16];
        while self.body().is_none_or(|body| self.answer.len() - body < bytes) {
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "it ended too soon");
            self.answer.extend_from_slice(&piece[..read]);
        }
    }

    /// Where the body begins, once the head has come.
    fn body(&self) -> Option<usize> {
        Some(self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4)
    }

    /// Everything.
    pub(crate) fn answer(mut self) -> Answer {
        // A connection that is reset is one way for an answer to break off.
        let ended = self.stream.read_to_end(&mut self.answer).is_ok();
        let took = self.asked.elapsed();
        assert!(took < PATIENCE, "the viewer waits for ever");
        let body = self.body().unwrap();
        let body = self.answer.split_off(body);
        let head = String::from_utf8(self.answer).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = ended && length.unwrap().parse() == Ok(body.len());
        Answer { status: head[9..12].parse().unwrap(), head, body, whole, took }
    }
}

/// What a viewer got, and how long it took.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
    pub(crate) took: Duration,
}

impl Answer {
    /// Whose page it is; anything else is what no viewer should get.
    pub(crate) fn from(&self) -> &str {
        let page = str::from_utf8(&self.body).unwrap();
        assert_eq!((self.status, self.whole), (200, true), "{page:?}");
        page
    }

    /// Whether this line is in its head.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|found| found == line)
    }

    /// Whether it was stored before.
    pub(crate) fn is_hit(&self) -> bool {
        self.head.contains("; hit")
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
