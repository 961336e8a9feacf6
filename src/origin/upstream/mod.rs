//! One HTTP site as an origin: [`Upstream`], over a pool of connections, by HTTP/1.1 or HTTP/2, with TLS or without.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tower::{Layer, ServiceExt};
//! use tower_edge::Edge;
//! use tower_edge::origin::upstream::{HostField, Timeouts, Upstream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let site = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let upstream = Upstream::builder(format!("http://{}", site.local_addr()?))
//!     .name("fra-1")
//!     .host(HostField::Origin)
//!     .timeouts(Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() })
//!     .build()?;
//! # tokio::spawn(async move {
//! #     let (mut stream, _) = site.accept().await.unwrap();
//! #     stream.read(&mut [0; 1024]).await.unwrap();
//! #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello").await.unwrap();
//! # });
//!
//! let edge = Edge::builder().name("fra-1").build()?.layer().layer(upstream);
//! let request = Request::get("http://example.com/").body(Empty::<Bytes>::new())?;
//! let answer = edge.oneshot(request).await?;
//! assert_eq!(answer.headers()["via"], "1.1 fra-1");
//! assert_eq!(answer.into_body().collect().await?.to_bytes(), "Hello");
//! # Ok(())
//! # }
//! ```
//!
//! # What it does with a request
//!
//! - **Where it goes is configuration**, never the request's choice. The name is resolved for every new connection, all its
//!   addresses are tried (RFC 8305), and no connection takes new requests for longer than [`Pool::life`]: a name that moves
//!   is followed.
//! - **It is sent once more**, at most, when a connection that was kept turns out to have been closed: if nothing of it was
//!   sent, or if it has no body and its method is idempotent (RFC 9110 §9.2.2).
//! - **The origin is told** who asks, by `Via`, `Forwarded`, `X-Forwarded-For`, `-Host` and `-Proto`, as far as a
//!   [`Viewer`](super::Viewer) in the extensions says it. What is there already stays in front: a server on the open net removes
//!   it first.
//! - **A loop is refused** ([`ErrorKind::Loop`]): `CDN-Loop` (RFC 8586) carries a random mark of each upstream, so edges that
//!   share a name may stand behind each other.
//! - **Fields of the connection** stay on it, both ways. Trailers pass, and bodies as they come, nothing gathered.
//! - **`Expect: 100-continue`** goes to the origin, and the viewer's body is not asked for before the origin's 100, or a second
//!   without any answer. Where the origin answers instead, the body is never asked for, and both connections are closed.
//! - **Upgrades**, such as WebSocket, become tunnels. They need HTTP/1.1 on both sides, and have a connection to themselves even
//!   where the origin speaks HTTP/2.
//!
//! # Limits
//!
//! - hyper's client hands interim answers (103) of HTTP/1.1 to the callback in the request's extensions
//!   (`hyper::ext::on_informational`), and drops those of HTTP/2; its server cannot send any but the 100 of `Expect`. A
//!   request with `Expect: 100-continue` and a body has that callback replaced; over HTTP/2 the origin sees no `Expect`.
//! - Over HTTP/1.1, hyper sends only those trailers of a request that its `Trailer` field announces.
//! - WebSocket over HTTP/2 (RFC 8441) is not supported: viewers use HTTP/1.1 for it.
//! - It needs a tokio runtime with I/O and time enabled.

mod body;
mod builder;
mod connect;
mod error;
mod expect;
mod head;
mod pool;
mod resolve;
mod service;
mod settings;
mod tls;
mod tunnel;

pub use self::body::Body;
pub use self::builder::Builder;
pub use self::error::{Error, ErrorKind};
pub use self::resolve::{Resolve, Resolving};
pub use self::service::Upstream;
pub use self::settings::{HostField, Identity, Pool, Protocol, Timeouts, Tls};
