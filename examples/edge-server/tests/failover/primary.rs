//! An origin that fails as it is told to, over real sockets.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::support::read_head;

/// What befalls an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It takes requests, and gives no answer.
    HangBeforeHead,
    /// It gives a head that promises a body, and nothing of that.
    HangBeforeBody,
    /// It gives a part of its body.
    HangInBody,
    /// It answers 503.
    Busy,
}

/// An HTTP server with one page, which is its name.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    name: &'static str,
    fault: Arc<Mutex<Fault>>,
    asked: Arc<AtomicUsize>,
    running: Option<Running>,
}

struct Running {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Origin {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut origin = Self {
            address,
            name,
            fault: Mutex::new(Fault::None).into(),
            asked: Arc::default(),
            running: None,
        };
        origin.serve(listener);
        origin
    }

    /// What it does from now on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// From here on connections are refused.
    pub(crate) fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.ends.store(true, Ordering::Relaxed);
        // It looks when somebody comes.
        drop(TcpStream::connect(self.address));
        running.thread.join().unwrap();
    }

    /// On the same port as before.
    pub(crate) fn revive(&mut self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    fn serve(&mut self, listener: TcpListener) {
        let (name, fault, asked) = (self.name, Arc::clone(&self.fault), Arc::clone(&self.asked));
        let ends = Arc::<AtomicBool>::default();
        let told = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let (fault, asked) = (Arc::clone(&fault), Arc::clone(&asked));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    if read_head(&mut stream).is_empty() {
                        return;
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    let fault = *fault.lock().unwrap();
                    answer(&mut stream, name, fault);
                });
            }
        });
        self.running = Some(Running { ends, thread });
    }
}

fn answer(stream: &mut TcpStream, name: &str, fault: Fault) {
    let status = if fault == Fault::Busy { "503 Service Unavailable" } else { "200 OK" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n",
        name.len()
    );
    let said = match fault {
        Fault::None | Fault::Busy => head + name,
        Fault::HangBeforeHead => String::new(),
        Fault::HangBeforeBody => head,
        Fault::HangInBody => head + &name[..3],
    };
    // Who asked may have left.
    let _ = stream.write_all(said.as_bytes());
    if !matches!(fault, Fault::None | Fault::Busy) {
        // Until the edge has had enough.
        read_head(stream);
    }
}
