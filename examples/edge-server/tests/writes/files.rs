//! An origin that keeps what is put, with a new entity tag each time, and does something else where it is told to.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::Edge;

/// Longer than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it does instead of the usual.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This status and these lines, and no change to what it keeps.
    Refuse(u16),
    /// The usual without this field.
    Without(&'static str),
    /// The usual with these lines besides.
    With(String),
    /// It does as it is asked and closes the connection without a word.
    Reset,
    /// It does as it is asked and says nothing.
    Silence,
    /// It refuses without having read the content.
    RefuseUnread(u16),
}

#[derive(Default)]
struct State {
    kept: HashMap<String, Kept>,
    versions: u64,
    /// Methods and targets.
    seen: Vec<String>,
    next: HashMap<&'static str, VecDeque<Answer>>,
}

#[derive(Clone)]
struct Kept {
    media_type: Option<String>,
    tag: String,
    content: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Files {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl Files {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let files = Self { state: Arc::default(), address: listener.local_addr().unwrap() };
        let serving = files.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (files, stream) = (serving.clone(), stream.unwrap());
                thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    // The edge may leave in the middle of an exchange.
                    let _ = files.serve(stream);
                });
            }
        });
        files
    }

    /// An edge server in front of it.
    pub(crate) fn edge(&self, flags: &[&str]) -> Edge {
        let origin = format!("http://{}", self.address);
        Edge::start(&[&["--origin", origin.as_str()], flags].concat())
    }

    pub(crate) fn keep(&self, path: &str, content: &str) {
        self.state.lock().unwrap().keep(path, None, content.into());
    }

    pub(crate) fn kept(&self, path: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        state.kept.get(path).map(|kept| String::from_utf8(kept.content.clone()).unwrap())
    }

    /// How often it was asked this.
    pub(crate) fn count(&self, request: &str) -> usize {
        self.state.lock().unwrap().seen.iter().filter(|seen| *seen == request).count()
    }

    pub(crate) fn answer_next(&self, method: &'static str, answer: Answer) {
        self.state.lock().unwrap().next.entry(method).or_default().push_back(answer);
    }

    /// Answers the requests of one connection.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            if !self.exchange(&lines, &mut reader, &stream)? {
                return Ok(());
            }
        }
    }

    /// Whether the connection goes on.
    fn exchange(
        &self,
        lines: &[String],
        reader: &mut impl Read,
        stream: &TcpStream,
    ) -> std::io::Result<bool> {
        let mut words = lines[0].split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.seen.push(format!("{method} {target}"));
            state.next.get_mut(method.as_str()).and_then(VecDeque::pop_front)
        };
        if let Some(Answer::RefuseUnread(status)) = answer {
            let mut writer = stream;
            write!(writer, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            stream.shutdown(Shutdown::Write)?;
            return Ok(false);
        }
        let field = |name: &str| {
            let of = |line: &String| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            };
            lines[1..].iter().find_map(of)
        };
        if field("expect").is_some() {
            let mut writer = stream;
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let content = if field("transfer-encoding").is_some() {
            read_chunks(reader)?
        } else {
            let length = field("content-length").map_or(0, |length| length.parse().unwrap());
            let mut content = vec![0; length];
            reader.read_exact(&mut content)?;
            content
        };
        let mut usual = self.usual(&method, &target, field("content-type"), content, &answer);
        match answer {
            Some(Answer::Reset) => return Ok(false),
            Some(Answer::Silence) => {
                // Until the edge has had enough.
                let _ = reader.read(&mut [0]);
                return Ok(false);
            }
            Some(Answer::Without(name)) => {
                usual.lines.retain(|line| !line.to_ascii_lowercase().starts_with(&format!("{name}:")));
            }
            Some(Answer::With(lines)) => usual.lines.push(lines),
            Some(Answer::Refuse(_) | Answer::RefuseUnread(_)) | None => {}
        }
        usual.lines.push(format!("Content-Length: {}", usual.content.len()));
        let mut writer = stream;
        write!(writer, "HTTP/1.1 {} -\r\n{}\r\n\r\n", usual.status, usual.lines.join("\r\n"))?;
        if method != "HEAD" {
            writer.write_all(&usual.content)?;
        }
        Ok(true)
    }

    fn usual(
        &self,
        method: &str,
        target: &str,
        media_type: Option<String>,
        content: Vec<u8>,
        answer: &Option<Answer>,
    ) -> Usual {
        let mut state = self.state.lock().unwrap();
        if let Some(Answer::Refuse(status)) = answer {
            return Usual { status: *status, lines: Vec::new(), content: Vec::new() };
        }
        match method {
            "GET" | "HEAD" => match state.kept.get(target).cloned() {
                None => Usual { status: 404, lines: Vec::new(), content: Vec::new() },
                Some(kept) => {
                    let media_type = kept.media_type.map(|media_type| format!("Content-Type: {media_type}"));
                    let lines = media_type.into_iter().chain([format!("ETag: {}", kept.tag)]).collect();
                    Usual { status: 200, lines, content: kept.content }
                }
            },
            "DELETE" => {
                state.kept.remove(target);
                Usual { status: 204, lines: Vec::new(), content: Vec::new() }
            }
            _ => {
                let tag = state.keep(target, media_type, content);
                Usual { status: 204, lines: vec![format!("ETag: {tag}")], content: Vec::new() }
            }
        }
    }
}

/// The answer as it would be.
struct Usual {
    status: u16,
    lines: Vec<String>,
    content: Vec<u8>,
}

impl State {
    fn keep(&mut self, path: &str, media_type: Option<String>, content: Vec<u8>) -> String {
        self.versions += 1;
        let tag = format!("\"v{}\"", self.versions);
        self.kept.insert(path.to_owned(), Kept { media_type, tag: tag.clone(), content });
        tag
    }
}

fn read_chunks(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        let start = content.len();
        content.resize(start + length, 0);
        reader.read_exact(&mut content[start..])?;
        reader.read_exact(&mut [0; 2])?;
        if length == 0 {
            return Ok(content);
        }
    }
}

/// A PUT with these lines besides, and its whole answer.
pub(crate) fn put(edge: &Edge, path: &str, lines: &str, content: &str) -> String {
    write_to(edge, "PUT", path, lines, content)
}

pub(crate) fn write_to(edge: &Edge, method: &str, path: &str, lines: &str, content: &str) -> String {
    let length = content.len();
    edge.talk(&format!(
        "{method} {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n{content}"
    ))
}
