//! The way of one edge to the log: it can be cut, and it can swallow what is sent until later.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections stay, and nothing comes through; what was sent arrives when it is open again.
    Held,
    /// Connections end, and new ones do at once.
    Cut,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    task: AbortHandle,
}

impl Proxy {
    /// From an address of this machine's to a port of its own.
    pub(crate) async fn new(from: Ipv4Addr, port: u16) -> Self {
        let listener = TcpListener::bind((from, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = watch::Sender::new(Way::Open);
        let seen = way.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *seen.borrow() != Way::Cut {
                    tokio::spawn(carry(near, port, seen.clone()));
                }
            }
        });
        Self { address, way, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub(crate) fn hold(&self) {
        self.way.send_replace(Way::Held);
    }

    pub(crate) fn mend(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn carry(near: TcpStream, port: u16, way: watch::Receiver<Way>) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let mut cut = way.clone();
    tokio::select! {
        () = pump(near_in, far_out, way.clone()) => {}
        () = pump(far_in, near_out, way) => {}
        _ = cut.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if way.wait_for(|way| *way != Way::Held).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
