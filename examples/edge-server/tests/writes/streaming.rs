//! Writes stream: nothing of one waits in the edge, however large it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::files::{Answer, Files};
use crate::support::{Edge, read_head};
use crate::{body, cache_status};

const MIB: usize = 1 << 20;

#[test]
fn a_put_that_is_broken_off_leaves_nothing() {
    let files = Files::start();
    files.keep("/a", "before");
    let edge = files.edge(&["--writes", "through", "--ttl", "60s"]);
    edge.get("/a", "");
    let mut stream = edge.connect();
    stream.write_all(b"PUT /a HTTP/1.1\r\nHost: site\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    drop(stream);
    // Sooner or later the edge knows that nobody can say what became of it.
    let cleared = (0..200).any(|_| {
        thread::sleep(Duration::from_millis(20));
        let answer = edge.get("/a", "");
        assert_eq!(body(&answer), "before");
        !cache_status(&answer).contains("hit")
    });
    assert!(cleared);
}

#[test]
fn a_chunked_put_is_written_through_as_well() {
    let files = Files::start();
    let edge = files.edge(&["--writes", "through", "--ttl", "60s"]);
    let written = edge.talk(
        "PUT /a HTTP/1.1\r\nHost: site\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(cache_status(&written), "tower-edge; fwd=method; stored");
    let read = edge.get("/a", "");
    assert_eq!((body(&read), cache_status(&read)), ("abcde", "tower-edge; hit; ttl=60"));
    assert_eq!(files.count("GET /a"), 0);
}

#[test]
fn a_writer_that_waits_for_100_continue_gets_it() {
    for flag in ["around", "through"] {
        let files = Files::start();
        let edge = files.edge(&["--writes", flag]);
        let mut stream = edge.connect();
        let head = "PUT /a HTTP/1.1\r\nHost: site\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"after").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        assert_eq!(files.kept("/a").as_deref(), Some("after"));
    }
}

#[test]
fn a_writer_hears_a_refusal_before_it_has_sent_its_content() {
    let files = Files::start();
    let edge = files.edge(&[]);
    files.answer_next("PUT", Answer::RefuseUnread(413));
    let mut stream = edge.connect();
    let head = "PUT /a HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 413"));
}

/// An origin that reads content only when it is told to, and says how much has come in all.
fn reluctant() -> (SocketAddr, mpsc::Sender<()>, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    let (count, counted) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse().ok())
            .unwrap();
        told.recv().unwrap();
        let (mut came, mut buffer) = (0, vec![0; MIB]);
        while came < length {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                more => came += more,
            }
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nETag: \"v\"\r\nContent-Length: 0\r\n\r\n").unwrap();
        count.send(came).unwrap();
    });
    (address, tell, counted)
}

/// Memory of a process that was in use at most, in bytes.
fn peak(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn head(length: usize) -> String {
    format!("PUT /large HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_writer_goes_no_faster_than_the_origin_reads() {
    let length = 256 * MIB;
    let (origin, tell, counted) = reluctant();
    let edge = Edge::before(origin);
    let mut stream = edge.connect();
    stream.write_all(head(length).as_bytes()).unwrap();
    // What the sockets' buffers and hyper's hold; after that nothing moves.
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut sent, block) = (0, vec![0; MIB]);
    while sent < length {
        match stream.write(&block[..MIB.min(length - sent)]) {
            Ok(more) => sent += more,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(sent < 64 * MIB, "{sent} bytes went in before anyone read");
    tell.send(()).unwrap();
    stream.set_write_timeout(None).unwrap();
    while sent < length {
        sent += stream.write(&block[..MIB.min(length - sent)]).unwrap();
    }
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 201"));
    assert_eq!(counted.recv().unwrap(), length);
}

#[test]
#[ignore = "sends a gigabyte twice: tests/all.sh runs it in release"]
fn a_put_of_a_gigabyte_takes_no_more_memory_than_a_small_one() {
    for flag in ["around", "through"] {
        let length = 1024 * MIB;
        let (origin, tell, counted) = reluctant();
        tell.send(()).unwrap();
        let edge = Edge::start(&["--origin", &format!("http://{origin}"), "--writes", flag]);
        let before = peak(edge.id());
        let mut stream: TcpStream = edge.connect();
        stream.write_all(head(length).as_bytes()).unwrap();
        let block = vec![7; MIB];
        for _ in 0..length / MIB {
            stream.write_all(&block).unwrap();
        }
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 201"));
        assert_eq!(counted.recv().unwrap(), length);
        let grown = peak(edge.id()) - before;
        println!("--writes {flag}: 1 GiB was put, and memory grew by {} KiB at most", grown / 1024);
        assert!(grown < 32 * MIB, "{grown}");
    }
}
