//! An edge in front of a plain HTTP site: `upstream http://127.0.0.1:3000 [127.0.0.1:8080]`.
//!
//! Any client that is a `tower::Service` can be the origin. The one here is hyper-util's, with its pool of
//! connections. An origin that fails ends the viewer's connection here: `edge-server` shows what a server on the
//! open net needs besides.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::uri::{Authority, Parts, Scheme};
use hyper::server::conn::http1;
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_edge::semantics::headers::strip_hop_by_hop;
use tower_edge::{Edge, RequestBody};

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let mut args = env::args().skip(1);
    let origin: Uri = args
        .next()
        .ok_or("usage: upstream ORIGIN [LISTEN], such as: upstream http://127.0.0.1:3000 127.0.0.1:8080")?
        .parse()?;
    // Asking such an origin without TLS would send what was meant to be secret in the clear.
    if origin.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP) {
        eprintln!("upstream: {origin}: the origin must start with http://, this example speaks no TLS");
        return Ok(ExitCode::from(2));
    }
    let origin = origin.into_parts().authority.ok_or("the origin names no host")?;
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    let edge = Edge::builder().capacity(256 * 1024 * 1024).build()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<RequestBody<Incoming>>();
    let site = ServiceBuilder::new()
        .layer(edge.layer())
        .map_request(move |request| to_origin(request, &origin))
        .map_response(|mut response: Response<Incoming>| {
            strip_hop_by_hop(response.headers_mut());
            response
        })
        .service(client);

    let listener = TcpListener::bind(listen).await?;
    println!("edge    http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let site = TowerToHyperService::new(site.clone());
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), site);
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// Turns a viewer's request into one for the origin: its address, and nothing of the viewer's connection.
fn to_origin<B>(mut request: Request<B>, origin: &Authority) -> Request<B> {
    let mut target = Parts::default();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(origin.clone());
    target.path_and_query = request.uri().path_and_query().cloned().or_else(|| "/".parse().ok());
    if let Ok(target) = Uri::from_parts(target) {
        *request.uri_mut() = target;
    }
    *request.version_mut() = Version::HTTP_11;
    strip_hop_by_hop(request.headers_mut());
    request.headers_mut().remove(HOST);
    request
}
