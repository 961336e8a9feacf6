//! A blocking HTTP/1.1 client that hides nothing: it shows what was on the wire, in one piece.
//!
//! It keeps its connection, so an answer with wrong framing (a HEAD with a body, a byte too many) spoils the
//! answer after it, and a body that ends early is an error.

use std::fmt;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to one server, opened again when the server closed it.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// One answer, whole.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order they came.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The lines of one field, combined as RFC 9110 §5.3 says.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let lines: Vec<&str> =
            self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// Whether `Cache-Status` says that the store answered (RFC 9211 §2.1).
    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status")
            .is_some_and(|status| status.split(';').any(|parameter| parameter.trim() == "hit"))
    }
}

impl fmt::Debug for Answer {
    /// A failing test prints answers; their bodies are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} and {} bytes", self.status, self.fields, self.body.len())
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// `GET` without any field of its own.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    /// One exchange. Anything short of a whole answer ends the test.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.exchange(method, target, fields, body)
            .unwrap_or_else(|error| panic!("{method} {target} at {}: {error}", self.address))
    }

    fn exchange(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.address)?,
        };
        // Every server is asked under the same name, so that answers can be compared.
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: docs.test\r\n").into_bytes();
        for (name, value) in fields {
            write!(request, "{name}: {value}\r\n")?;
        }
        if !body.is_empty() {
            write!(request, "Content-Length: {}\r\n", body.len())?;
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        connection.get_mut().write_all(&request)?;

        let mut answer = read_head(&mut connection)?;
        answer.body = read_body(&mut connection, method, &answer)?;
        if answer.field("connection").as_deref() != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn read_head(from: &mut impl BufRead) -> Result<Answer> {
    let status_line = read_line(from)?;
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed("status line", &status_line))?;
    let mut fields = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("field", &line))?;
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Answer { status, fields, body: Vec::new() })
}

// RFC 9112 §6.3: what tells the length of a body, in order.
fn read_body(from: &mut impl BufRead, method: &str, answer: &Answer) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if method == "HEAD" || matches!(answer.status, 204 | 304) {
        return Ok(body);
    }
    if answer.field("transfer-encoding").as_deref() == Some("chunked") {
        loop {
            let line = read_line(from)?;
            let size = u64::from_str_radix(&line, 16).map_err(|_| malformed("chunk size", &line))?;
            read_exactly(from, size, &mut body)?;
            let end = read_line(from)?;
            if !end.is_empty() {
                return Err(malformed("end of chunk", &end));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = answer
        .field("content-length")
        .ok_or_else(|| malformed("framing", "no Content-Length and not chunked"))?;
    let length = length.parse().map_err(|_| malformed("Content-Length", &length))?;
    read_exactly(from, length, &mut body)?;
    Ok(body)
}

fn read_exactly(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> Result<()> {
    let read = from.take(length).read_to_end(body)?;
    if read as u64 == length {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::UnexpectedEof, format!("the body ended after {read} of {length} bytes")))
    }
}

fn read_line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(malformed("line", &line)),
    }
}

fn malformed(what: &str, found: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("bad {what}: {found:?}"))
}
