//! An origin that fails as it is told to, over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// What befalls an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It takes requests, and gives no answer.
    HangBeforeHead,
    /// It gives a head that promises a body, and nothing of that.
    HangBeforeBody,
    /// It gives nothing of its page from this byte on.
    HangInBody(usize),
    /// There it closes the connection.
    CloseInBody(usize),
    /// There it resets the connection, when it is [told](Origin::go_on) to.
    ResetInBody(usize),
    /// It answers 503.
    Busy,
}

/// An HTTP server with one page.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    site: Arc<Site>,
    running: Option<Running>,
}

struct Site {
    page: &'static [u8],
    tag: Option<&'static str>,
    fault: Mutex<Fault>,
    goes_on: AtomicBool,
    /// The range of each request.
    asked: Mutex<Vec<String>>,
    streams: Mutex<Vec<Weak<TcpStream>>>,
}

struct Running {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Origin {
    /// Its page is its name.
    pub(crate) fn start(name: &'static str) -> Self {
        Self::with(name.as_bytes(), None)
    }

    /// With this page under this entity tag.
    pub(crate) fn with(page: &'static [u8], tag: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let site = Site {
            page,
            tag,
            fault: Mutex::new(Fault::None),
            goes_on: AtomicBool::default(),
            asked: Mutex::default(),
            streams: Mutex::default(),
        };
        let mut origin = Self { address, site: site.into(), running: None };
        origin.serve(listener);
        origin
    }

    /// What it does from now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.site.goes_on.store(false, Ordering::Relaxed);
        *self.site.fault.lock().unwrap() = fault;
    }

    /// What it waits for happens.
    pub(crate) fn go_on(&self) {
        self.site.goes_on.store(true, Ordering::Relaxed);
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> usize {
        self.site.asked.lock().unwrap().len()
    }

    /// The ranges that were asked for since so many requests had come, and nothing for a whole.
    pub(crate) fn ranges(&self, since: usize) -> Vec<String> {
        self.site.asked.lock().unwrap()[since..].to_vec()
    }

    /// Every connection ends, and from here on they are refused.
    pub(crate) fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.ends.store(true, Ordering::Relaxed);
        // It looks when somebody comes.
        drop(TcpStream::connect(self.address));
        running.thread.join().unwrap();
        for stream in self.site.streams.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// On the same port as before.
    pub(crate) fn revive(&mut self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    fn serve(&mut self, listener: TcpListener) {
        let site = Arc::clone(&self.site);
        let ends = Arc::<AtomicBool>::default();
        let told = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let (site, stream) = (Arc::clone(&site), Arc::new(stream.unwrap()));
                site.streams.lock().unwrap().push(Arc::downgrade(&stream));
                thread::spawn(move || site.answer(&stream));
            }
        });
        self.running = Some(Running { ends, thread });
    }
}

impl Site {
    fn answer(&self, mut stream: &TcpStream) {
        let head = almost_read_head(stream);
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if head.is_empty() {
            return;
        }
        let range = field("range:").unwrap_or_default();
        self.asked.lock().unwrap().push(range.to_owned());
        let fault = *self.fault.lock().unwrap();
        if !matches!(fault, Fault::ResetInBody(_)) {
            let _ = stream.read_exact(&mut [0]);
        }

        let whole = self.page.len();
        let is_same = field("if-range:").is_none_or(|tag| Some(tag) == self.tag);
        let part = parse_range(range, whole).filter(|_| is_same);
        let bytes = part.clone().unwrap_or(0..whole);
        let mut lines = match part {
            _ if fault == Fault::Busy => "HTTP/1.1 503 Service Unavailable\r\n".to_owned(),
            None => "HTTP/1.1 200 OK\r\n".to_owned(),
            Some(Range { start, end }) => {
                format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{whole}\r\n",
                    end - 1
                )
            }
        };
        if let Some(tag) = self.tag {
            lines += &format!("ETag: {tag}\r\n");
        }
        let length = bytes.len();
        lines +=
            &format!("Content-Length: {length}\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n");
        let mut said = lines.into_bytes();
        let mut say = |until: usize| {
            said.extend_from_slice(&self.page[bytes.start..until.clamp(bytes.start, bytes.end)])
        };
        match fault {
            Fault::None | Fault::Busy => say(whole),
            Fault::HangInBody(at) | Fault::CloseInBody(at) | Fault::ResetInBody(at) => say(at),
            Fault::HangBeforeBody => {}
            Fault::HangBeforeHead => said.clear(),
        }
        // Who asked may have left.
        let _ = stream.write_all(&said);
        match fault {
            Fault::None | Fault::Busy | Fault::CloseInBody(_) => {}
            Fault::ResetInBody(_) => self.wait(),
            // Until the edge has had enough.
            Fault::HangBeforeHead | Fault::HangBeforeBody | Fault::HangInBody(_) => {
                almost_read_head(stream);
            }
        }
    }

    fn wait(&self) {
        let since = Instant::now();
        while !self.goes_on.load(Ordering::Relaxed) && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// All of a head in lower case, but for its last byte: a connection on which something is left unread is reset when it is
/// closed.
fn almost_read_head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// A part with both ends given, which are all there is need of.
fn parse_range(field: &str, whole: usize) -> Option<Range<usize>> {
    let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse::<usize>().ok()?);
    (first <= last && first < whole).then(|| first..whole.min(last + 1))
}
