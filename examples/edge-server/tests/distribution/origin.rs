//! An origin whose content has versions. It takes its time between reading one and answering with it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::truth::{Truth, path_of, tag};

#[derive(Clone)]
pub(crate) struct Origin {
    truth: Arc<Truth>,
    asked: Arc<AtomicU64>,
    confirmed: Arc<AtomicU64>,
}

impl Origin {
    pub(crate) fn new(truth: Arc<Truth>) -> Self {
        Self { truth, asked: Arc::default(), confirmed: Arc::default() }
    }

    /// Answers at an address of this machine's, too.
    pub(crate) async fn listen(&self, at: Ipv4Addr) -> SocketAddr {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = answering.clone();
                let service = service_fn(move |request| answer(origin.clone(), request));
                // An edge that is killed leaves in the middle.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// How often it had only to say that what is stored is right.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::SeqCst)
    }
}

async fn answer(origin: Origin, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut chance = Chance::new(origin.asked.fetch_add(1, Ordering::SeqCst));
    let Some(path) = path_of(request.uri().path()) else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let version = origin.truth.version(path);
    if chance.below(4) == 0 {
        sleep(Duration::from_micros(chance.below(5_000))).await;
    }
    let etag = format!("\"{version}\"");
    let response = Response::builder()
        .header("cache-control", "max-age=3600")
        .header("cache-tag", format!("t{}", tag(path)))
        .header("etag", &etag)
        .header("x-version", version);
    Ok(match request.headers().get("if-none-match").is_some_and(|known| *known == *etag) {
        true => {
            origin.confirmed.fetch_add(1, Ordering::SeqCst);
            response.status(StatusCode::NOT_MODIFIED).body(Full::default()).unwrap()
        }
        false => response.body(Full::from(format!("path {path}, version {version}"))).unwrap(),
    })
}
