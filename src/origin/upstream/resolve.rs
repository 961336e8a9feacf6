//! Names into addresses: [`Resolve`], and the system's way.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The addresses of a name, on their way.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of an origin. Asked for every new connection, so an answer that changes is followed; whoever
/// keeps answers should keep them no longer than DNS allows.
///
/// A closure will do:
///
/// ```
/// use std::net::SocketAddr;
/// use tower_edge::origin::Upstream;
///
/// let resolver = |_host: &str, port| async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) };
/// let upstream = Upstream::builder("http://origin.internal:3000").resolver(resolver).build();
/// assert!(upstream.is_ok());
/// ```
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, the preferred first. All may be tried.
    fn resolve(&self, host: &str, port: u16) -> Resolving;
}

impl<F, R> Resolve for F
where
    F: Fn(&str, u16) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn resolve(&self, host: &str, port: u16) -> Resolving {
        Box::pin(self(host, port))
    }
}

/// Lookups at a time. Each takes a thread, for as long as the system's resolver likes, even when nobody waits any more.
const LOOKUPS: usize = 16;

/// The system's resolver: `/etc/hosts`, DNS, and whatever else it is set up to ask.
#[derive(Clone, Debug)]
pub(super) struct System {
    slots: Arc<Semaphore>,
}

impl Default for System {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Resolve for System {
    fn resolve(&self, host: &str, port: u16) -> Resolving {
        let (slots, host) = (Arc::clone(&self.slots), host.to_owned());
        Box::pin(async move {
            let slot = slots.acquire_owned().await.expect("nobody closes this semaphore");
            let lookup = tokio::task::spawn_blocking(move || {
                let _slot = slot;
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect)
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let addresses = System::default().resolve("localhost", 81).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 81));
        assert!(!addresses.is_empty());
    }
}
