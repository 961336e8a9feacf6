//! A small client: warms caches, fills them, and times first bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::local;

const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that fill.
const FILLERS: usize = 16;

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    /// As the generators of load write it: it is part of a cache's key.
    host: String,
}

impl Client {
    /// # Errors
    ///
    /// Nobody listens.
    pub(crate) fn new(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(local(port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream), host: local(port).to_string() })
    }

    /// Gets a path, whose body must be so long, and returns the time to the first byte of the body.
    ///
    /// # Errors
    ///
    /// Anything but a 200 of that length.
    pub(crate) fn get(&mut self, path: &str, length: u64) -> io::Result<Duration> {
        let start = Instant::now();
        self.ask(path)?;
        let stated = self.head(path)?;
        if stated != Some(length) {
            return Err(io::Error::other(format!("{path} has {stated:?} bytes")));
        }
        let first = self.stream.fill_buf()?.is_empty();
        let time = start.elapsed();
        if first && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = io::copy(&mut self.stream.by_ref().take(length), &mut io::sink())?;
        if read == length { Ok(time) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn ask(&mut self, path: &str) -> io::Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.get_mut().write_all(head.as_bytes())
    }

    /// Reads a head. Returns its `Content-Length`.
    fn head(&mut self, path: &str) -> io::Result<Option<u64>> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!("{path}: {}", line.trim())));
        }
        let mut length = None;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? <= 2 {
                return Ok(length);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
    }
}

/// How many objects the origin has answered with.
///
/// # Errors
///
/// It does not answer that.
pub(crate) fn count(origin: u16) -> io::Result<u64> {
    let mut client = Client::new(origin)?;
    client.ask("/count")?;
    let length = client.head("/count")?.unwrap_or_default();
    let mut text = String::new();
    client.stream.take(length).read_to_string(&mut text)?;
    text.parse().map_err(io::Error::other)
}

/// Gets this many different objects of 4 KiB.
///
/// # Errors
///
/// One cannot be had.
pub(crate) fn fill(port: u16, objects: usize) -> io::Result<()> {
    let workers: Vec<_> = (0..FILLERS)
        .map(|worker| {
            thread::spawn(move || {
                let mut client = Client::new(port)?;
                (worker..objects)
                    .step_by(FILLERS)
                    .try_for_each(|number| client.get(&format!("/4096/filled/{number}"), 4096).map(drop))
            })
        })
        .collect();
    workers.into_iter().try_for_each(|worker| worker.join().expect("a filler does not panic"))
}
