//! An edge in front of a site: `upstream-example https://example.com [127.0.0.1:8080]`.
//!
//! The origin is the library's own `Upstream`. What goes wrong there becomes a page here; `edge-server` shows what a server
//! on the open net needs besides.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_edge::Edge;
use tower_edge::origin::upstream::{HostField, Upstream};
use tower_edge::origin::{Viewer, upstream};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upstream-example: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let origin = args
        .next()
        .ok_or("usage: upstream-example ORIGIN [LISTEN], such as: upstream-example https://example.com 127.0.0.1:8080")?;
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    let edge = Edge::builder().capacity(256 * 1024 * 1024).build()?;
    let upstream = Upstream::builder(origin).host(HostField::Origin).build()?;
    let site = ServiceBuilder::new().layer(edge.layer()).service(upstream);

    let listener = TcpListener::bind(&listen).await.map_err(|error| format!("LISTEN {listen:?}: {error}"))?;
    println!("edge    http://{}", listener.local_addr()?);
    loop {
        let (stream, address) = listener.accept().await?;
        let site = site.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Viewer::new(address));
            let answer = site.clone().oneshot(request);
            async {
                Ok::<_, Infallible>(match answer.await {
                    Ok(response) => response.map(|body| body.map_err(BoxError::from).boxed_unsync()),
                    Err(error) => {
                        eprintln!("{error}");
                        page(&error).map(|text| text.map_err(BoxError::from).boxed_unsync())
                    }
                })
            }
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(answer))
                .with_upgrades();
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

fn page(error: &upstream::Error) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::from(error.page()));
    *page.status_mut() = error.status();
    page
}
